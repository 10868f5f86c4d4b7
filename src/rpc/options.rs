//! How notifications are to be delivered: the options of `notify`, and their defaults in `provision`.

use std::sync::Arc;
use std::time::Duration;

use super::arguments::{Problem, at, members, seconds, wrong_type};
use super::fault::bad_argument;
use crate::service::request::{NotifyOptions, PerRow};
use crate::service::send::SEND_WAIT_MAX;
use crate::xmlrpc::value::{Fault, Value};

/// Names of the options that `provision` can give defaults for. (`topic`, which it can too, is the app's own there.)
pub(super) const DEFAULTS: [&str; 4] = ["expiration", "priority", "collapse_id", "push_type"];
const NAMES: [&str; 6] = ["expiration", "priority", "collapse_id", "push_type", "topic", "request_id"];
/// Names of the options of `apnsd.send`: the same, and how long to wait.
const NAMES_OF_SEND: [&str; 7] =
    ["expiration", "priority", "collapse_id", "push_type", "topic", "request_id", "timeout"];

/// `apns-push-type` ("Sending notification requests to APNs").
const PUSH_TYPES: [&str; 11] = [
    "alert",
    "background",
    "location",
    "voip",
    "complication",
    "fileprovider",
    "mdm",
    "liveactivity",
    "pushtotalk",
    "controls",
    "widgets",
];

/// How long `apnsd.send` waits where its caller does not say.
const WAIT: Duration = Duration::from_secs(10);

/// Longest collapse id, in bytes (HTTP/2 provider API, `apns-collapse-id`).
const COLLAPSE_ID_MAX: usize = 64;
/// Longest of the other texts, in bytes.
const TEXT_MAX: usize = 255;

/// The fourth argument of `notify`, for a call with so many tokens.
pub(super) fn of_notify(value: &Value<'_>, rows: usize) -> Result<NotifyOptions, Fault> {
    let mut options = NotifyOptions::default();
    for (name, value) in members(value, "options", &NAMES)? {
        set_of_call(&mut options, name, value, rows)?;
    }
    Ok(options)
}

/// The fourth argument of `apnsd.send`, and how long to wait.
pub(super) fn of_send(value: &Value<'_>, rows: usize) -> Result<(NotifyOptions, Duration), Fault> {
    let (mut options, mut wait) = (NotifyOptions::default(), WAIT);
    for (name, value) in members(value, "options", &NAMES_OF_SEND)? {
        match name {
            "timeout" => wait = seconds(value, SEND_WAIT_MAX).map_err(at("options.timeout"))?.unwrap_or(WAIT),
            name => set_of_call(&mut options, name, value, rows)?,
        }
    }
    Ok((options, wait))
}

/// The second argument of `feedback`: the id of the call.
pub(super) fn of_feedback(value: &Value<'_>) -> Result<Option<String>, Fault> {
    let mut id = None;
    for (_, value) in members(value, "options", &["request_id"])? {
        id = Some(request_id(value).map_err(at("options.request_id"))?);
    }
    Ok(id)
}

/// How long `apnsd.send` waits without options.
pub(super) const fn default_wait() -> Duration {
    WAIT
}

fn set_of_call(options: &mut NotifyOptions, name: &str, value: &Value<'_>, rows: usize) -> Result<(), Fault> {
    match name {
        "request_id" => {
            options.request_id = Some(request_id(value).map_err(at("options.request_id"))?);
            Ok(())
        }
        name => set(options, name, value, Rows::Count(rows)),
    }
}

/// Sets one of [`DEFAULTS`], the same for all rows.
pub(super) fn set_default(options: &mut NotifyOptions, name: &str, value: &Value<'_>) -> Result<(), Fault> {
    set(options, name, value, Rows::All)
}

/// Whether an option may be an array, and of which length.
#[derive(Clone, Copy)]
enum Rows {
    All,
    Count(usize),
}

fn set(options: &mut NotifyOptions, name: &str, value: &Value<'_>, rows: Rows) -> Result<(), Fault> {
    match name {
        "expiration" => options.expiration = per_row(name, value, rows, |value, _| expiration(value))?,
        "priority" => options.priority = per_row(name, value, rows, |value, _| priority(value))?,
        "collapse_id" => {
            options.collapse_id = per_row(name, value, rows, |value, last| word(value, last, COLLAPSE_ID_MAX))?
        }
        "push_type" => options.push_type = per_row(name, value, rows, push_type)?,
        "topic" => options.topic = per_row(name, value, rows, |value, last| word(value, last, TEXT_MAX))?,
        other => return Err(bad_argument(format!("options.{other}: unknown"))),
    }
    Ok(())
}

/// Reads a scalar or an array of them; `read` also gets the element before.
fn per_row<T>(
    name: &str,
    value: &Value<'_>,
    rows: Rows,
    read: impl Fn(&Value<'_>, Option<&T>) -> Result<T, Problem>,
) -> Result<PerRow<T>, Fault> {
    let place = |index: Option<usize>| match index {
        Some(index) => format!("options.{name}[{index}]"),
        None => format!("options.{name}"),
    };
    match (value, rows) {
        (Value::Array(values), Rows::Count(rows)) if values.len() == rows => {
            let mut each = Vec::with_capacity(rows);
            for (index, value) in values.iter().enumerate() {
                each.push(read(value, each.last()).map_err(at(&place(Some(index))))?);
            }
            Ok(PerRow::Each(each))
        }
        (Value::Array(values), Rows::Count(rows)) => {
            let problem = format!("an array as long as the tokens ({rows}) is needed, not one of {}", values.len());
            Err(at(&place(None))(problem))
        }
        (scalar, _) => read(scalar, None).map(PerRow::All).map_err(at(&place(None))),
    }
}

/// Unix seconds, or a date, which counts as UTC.
fn expiration(value: &Value<'_>) -> Result<u32, Problem> {
    let seconds = match value {
        Value::Int(seconds) => *seconds,
        Value::DateTime(time) => {
            time.to_zoned(jiff::tz::TimeZone::UTC).map_err(|error| error.to_string())?.timestamp().as_second()
        }
        other => return Err(wrong_type("an int (Unix seconds) or a dateTime.iso8601 (UTC)", other)),
    };
    u32::try_from(seconds).map_err(|_| format!("Unix seconds from 0 to {} are needed, not {seconds}", u32::MAX))
}

fn priority(value: &Value<'_>) -> Result<u8, Problem> {
    match value {
        Value::Int(10) => Ok(10),
        Value::Int(5) => Ok(5),
        Value::Int(1) => Ok(1),
        Value::Int(other) => Err(format!("10, 5 or 1 is needed, not {other}")),
        other => Err(wrong_type("an int (10, 5 or 1)", other)),
    }
}

/// A short text that can stand in an HTTP header. Equal neighbours share one allocation.
fn word(value: &Value<'_>, last: Option<&Arc<str>>, bytes_max: usize) -> Result<Arc<str>, Problem> {
    let Value::String(text) = value else {
        return Err(wrong_type("a string", value));
    };
    match last {
        Some(last) if **last == **text => Ok(last.clone()),
        _ if text.is_empty() || text.len() > bytes_max => {
            Err(format!("1 to {bytes_max} bytes are needed, this text has {}", text.len()))
        }
        _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("only ASCII letters, digits and punctuation can be sent, without spaces".to_owned())
        }
        _ => Ok(Arc::from(text.as_ref())),
    }
}

/// One of [`PUSH_TYPES`]. Equal neighbours share one allocation.
fn push_type(value: &Value<'_>, last: Option<&Arc<str>>) -> Result<Arc<str>, Problem> {
    match value {
        Value::String(text) if PUSH_TYPES.contains(&text.as_ref()) => word(value, last, TEXT_MAX),
        Value::String(_) => Err(format!("unknown; there are {}", PUSH_TYPES.join(", "))),
        other => Err(wrong_type("a string", other)),
    }
}

fn request_id(value: &Value<'_>) -> Result<String, Problem> {
    match value {
        Value::String(text) if (1..=TEXT_MAX).contains(&text.len()) => Ok(text.as_ref().to_owned()),
        Value::String(text) => Err(format!("1 to {TEXT_MAX} bytes are needed, this text has {}", text.len())),
        Value::Int(number) => Ok(number.to_string()),
        other => Err(wrong_type("a string or an int, the same for all tokens,", other)),
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn options(name: &'static str, value: Value<'static>, rows: usize) -> Result<NotifyOptions, String> {
        let value = Value::structure(vec![(name.into(), value)]);
        of_notify(&value, rows).map_err(|fault| {
            assert_eq!(fault.code, 8002);
            fault.text
        })
    }

    fn strings(texts: &[&'static str]) -> Value<'static> {
        Value::Array(texts.iter().copied().map(Value::string).collect())
    }

    #[test]
    fn a_scalar_is_for_all_rows_and_an_array_for_each() {
        assert_eq!(options("priority", Value::Int(5), 3).unwrap().priority, PerRow::All(5));
        let each = Value::Array(vec![Value::Int(10), Value::Int(1)]);
        assert_eq!(options("priority", each.clone(), 2).unwrap().priority, PerRow::Each(vec![10, 1]));
        let error = options("priority", each, 3).unwrap_err();
        assert_eq!(error, "options.priority: an array as long as the tokens (3) is needed, not one of 2");
        let options = options("collapse_id", strings(&["a", "a", "b"]), 3).unwrap();
        assert_eq!(options.collapse_id, PerRow::Each(vec!["a".into(), "a".into(), "b".into()]));
    }

    #[test]
    fn nil_is_as_good_as_nothing() {
        assert_eq!(options("expiration", Value::Nil, 1).unwrap(), NotifyOptions::default());
        assert_eq!(of_notify(&Value::structure(vec![]), 1).unwrap(), NotifyOptions::default());
    }

    #[test]
    fn an_expiration_is_unix_seconds_or_a_date_in_utc() {
        let when = Value::DateTime(date(2020, 1, 1).at(0, 0, 0, 0));
        assert_eq!(options("expiration", when, 1).unwrap().expiration, PerRow::All(0x5e0b_e100));
        assert_eq!(options("expiration", Value::Int(0), 1).unwrap().expiration, PerRow::All(0));
        let error = options("expiration", Value::Int(-1), 1).unwrap_err();
        assert_eq!(error, "options.expiration: Unix seconds from 0 to 4294967295 are needed, not -1");
        assert!(options("expiration", Value::Int(1 << 32), 1).is_err());
        assert!(options("expiration", Value::DateTime(date(1969, 12, 31).at(0, 0, 0, 0)), 1).is_err());
    }

    #[test]
    fn bad_values_are_named_with_their_place() {
        let error = options("priority", Value::Array(vec![Value::Int(10), Value::Int(7)]), 2).unwrap_err();
        assert_eq!(error, "options.priority[1]: 10, 5 or 1 is needed, not 7");
        let error = options("collapse_id", Value::string("x".repeat(65)), 1).unwrap_err();
        assert_eq!(error, "options.collapse_id: 1 to 64 bytes are needed, this text has 65");
        let error = options("topic", Value::string("a\r\nb"), 1).unwrap_err();
        assert_eq!(error, "options.topic: only ASCII letters, digits and punctuation can be sent, without spaces");
        assert!(options("collapse_id", Value::string("caf\u{e9}"), 1).is_err());
        let error = options("request_id", strings(&["a"]), 1).unwrap_err();
        assert_eq!(error, "options.request_id: a string or an int, the same for all tokens, is needed, not array");
        let error = options("sound", Value::string("x"), 1).unwrap_err();
        let known = "expiration, priority, collapse_id, push_type, topic, request_id";
        assert_eq!(error, format!("options.sound: unknown; there are {known}"));
    }

    #[test]
    fn a_push_type_is_one_that_apple_names() {
        let given = options("push_type", strings(&["voip", "liveactivity"]), 2).unwrap().push_type;
        assert_eq!(given, PerRow::Each(vec!["voip".into(), "liveactivity".into()]));
        let error = options("push_type", strings(&["alert", "Alert"]), 2).unwrap_err();
        let known = "alert, background, location, voip, complication, fileprovider, mdm, liveactivity, pushtotalk, \
                     controls, widgets";
        assert_eq!(error, format!("options.push_type[1]: unknown; there are {known}"));
    }

    #[test]
    fn a_send_waits_as_long_as_it_is_told_up_to_a_minute() {
        let wait = |value| {
            let told = of_send(&Value::structure(vec![("timeout".into(), value)]), 1);
            told.map(|(_, wait)| wait).map_err(|fault| fault.text)
        };
        assert_eq!(of_send(&Value::structure(vec![]), 1).unwrap().1, Duration::from_secs(10));
        assert_eq!(wait(Value::Double(0.5)), Ok(Duration::from_millis(500)));
        assert_eq!(wait(Value::Int(60)), Ok(Duration::from_secs(60)));
        assert_eq!(wait(Value::Nil), Ok(Duration::from_secs(10)));
        for bad in [0, 61, 86_400, 90_000] {
            let needed = "options.timeout: a number of seconds more than 0 and at most 60 is needed";
            assert_eq!(wait(Value::Int(bad)), Err(format!("{needed}, not {bad}")));
        }
        assert!(wait(Value::string("1")).is_err());
        assert!(options("timeout", Value::Int(1), 1).unwrap_err().starts_with("options.timeout: unknown; there are"));
    }

    #[test]
    fn a_request_id_is_a_short_string_or_an_int() {
        assert_eq!(options("request_id", Value::Int(42), 1).unwrap().request_id.as_deref(), Some("42"));
        assert_eq!(options("request_id", Value::string("a b"), 1).unwrap().request_id.as_deref(), Some("a b"));
        assert!(options("request_id", Value::string(""), 1).is_err());
        assert!(options("request_id", Value::string("x".repeat(256)), 1).is_err());
    }

    #[test]
    fn defaults_are_scalars() {
        let mut options = NotifyOptions::default();
        set_default(&mut options, "priority", &Value::Int(5)).unwrap();
        assert_eq!(options.priority, PerRow::All(5));
        let fault = set_default(&mut options, "priority", &Value::Array(vec![Value::Int(5)])).unwrap_err();
        assert_eq!(fault.text, "options.priority: an int (10, 5 or 1) is needed, not array");
    }
}
