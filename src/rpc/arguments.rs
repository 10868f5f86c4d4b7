//! Arguments that several methods take. Every problem is told in words, with the place it is at.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::fault::bad_argument;
use crate::domain::feedback::Cursor;
use crate::xmlrpc::value::{Fault, Value};

/// Longest `timeout` that a caller may want.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What is wrong with a value, in words that follow its place: `an int is needed, not a string`.
pub(super) type Problem = String;

/// A value is of another type than it has to be.
pub(super) fn wrong_type(needed: &str, given: &Value<'_>) -> Problem {
    format!("{needed} is needed, not {}", given.type_name())
}

/// A problem at a place, as a fault.
pub(super) fn at(place: &str) -> impl FnOnce(Problem) -> Fault {
    move |problem| bad_argument(format!("{place}: {problem}"))
}

/// An app id: a string, or an int, which counts as its decimal text. Whether an app has it is for the verbs to say.
pub(super) fn app_id<'a>(value: &'a Value<'_>) -> Result<Cow<'a, str>, Fault> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Int(number) => Ok(Cow::Owned(number.to_string())),
        other => Err(at("app_id")(wrong_type("a string or an int", other))),
    }
}

/// A string.
pub(super) fn text<'a>(value: &'a Value<'_>) -> Result<&'a str, Problem> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong_type("a string", other)),
    }
}

/// Credentials: text, or the content of a file, as Python's `xmlrpc.client.Binary` sends it. A binary one becomes base64.
pub(super) fn credentials(value: &Value<'_>) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text.as_ref().to_owned()),
        Value::Base64(bytes) => Ok(str::from_utf8(bytes).map_or_else(|_| STANDARD.encode(bytes), str::to_owned)),
        other => Err(wrong_type("a string or base64", other)),
    }
}

/// A truth value.
pub(super) fn boolean(value: &Value<'_>) -> Result<bool, Problem> {
    match value {
        Value::Boolean(truth) => Ok(*truth),
        other => Err(wrong_type("a boolean", other)),
    }
}

/// A number of seconds, more than 0; `None` for nil.
pub(super) fn timeout(value: &Value<'_>) -> Result<Option<Duration>, Problem> {
    seconds(value, TIMEOUT_MAX)
}

/// The same with another bound.
pub(super) fn seconds(value: &Value<'_>, max: Duration) -> Result<Option<Duration>, Problem> {
    let seconds = match value {
        Value::Nil => return Ok(None),
        Value::Int(seconds) => *seconds as f64,
        Value::Double(seconds) => *seconds,
        other => return Err(wrong_type("a number of seconds, or nil,", other)),
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(timeout) if !timeout.is_zero() && timeout <= max => Ok(Some(timeout)),
        Ok(_) | Err(_) => {
            Err(format!("a number of seconds more than 0 and at most {} is needed, not {seconds}", max.as_secs()))
        }
    }
}

/// A cursor as answers give it: a decimal string. An int is accepted too; none at all begins at the start.
pub(super) fn cursor(value: Option<&Value<'_>>) -> Result<Cursor, Fault> {
    let needed = "the cursor of an earlier answer, or \"0\" to begin at the start,";
    let cursor = match value {
        None => Some(0),
        Some(Value::Int(number)) => u64::try_from(*number).ok(),
        Some(Value::String(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Some(Value::String(_)) => None,
        Some(other) => return Err(at("cursor")(wrong_type(needed, other))),
    };
    cursor.map(Cursor).ok_or_else(|| bad_argument(format!("cursor: {needed} is needed")))
}

/// The members of a struct, all of which must have known names. Those that are nil count as not given.
pub(super) fn members<'a, 'b>(
    value: &'a Value<'b>,
    place: &str,
    known: &[&str],
) -> Result<impl Iterator<Item = (&'a str, &'a Value<'b>)>, Fault> {
    let Value::Struct(members) = value else {
        return Err(at(place)(wrong_type("a struct", value)));
    };
    if let Some((unknown, _)) = members.iter().find(|(name, _)| !known.contains(&name.as_ref())) {
        return Err(bad_argument(format!("{place}.{unknown}: unknown; there are {}", known.join(", "))));
    }
    Ok(members.iter().filter(|(_, value)| *value != Value::Nil).map(|(name, value)| (name.as_ref(), value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_int_is_an_app_id_as_its_decimal_text() {
        assert_eq!(app_id(&Value::Int(-7)).unwrap(), "-7");
        assert_eq!(app_id(&Value::string("a")).unwrap(), "a");
        let fault = app_id(&Value::Double(1.0)).unwrap_err();
        assert_eq!((fault.code, &*fault.text), (8002, "app_id: a string or an int is needed, not double"));
    }

    #[test]
    fn timeouts_are_seconds_of_any_number_type_within_a_day() {
        assert_eq!(timeout(&Value::Nil), Ok(None));
        assert_eq!(timeout(&Value::Int(15)), Ok(Some(Duration::from_secs(15))));
        assert_eq!(timeout(&Value::Double(0.5)), Ok(Some(Duration::from_millis(500))));
        for bad in [0.0, -1.0, 86_401.0, f64::NAN, f64::INFINITY, 1e300] {
            let problem = timeout(&Value::Double(bad)).unwrap_err();
            assert_eq!(problem, format!("a number of seconds more than 0 and at most 86400 is needed, not {bad}"));
        }
        assert!(timeout(&Value::string("15")).is_err());
    }

    #[test]
    fn cursors_are_decimal_strings() {
        assert_eq!(cursor(None), Ok(Cursor(0)));
        assert_eq!(cursor(Some(&Value::string("18446744073709551615"))), Ok(Cursor(u64::MAX)));
        assert_eq!(cursor(Some(&Value::Int(3))), Ok(Cursor(3)));
        for bad in [Value::string(""), Value::string("+1"), Value::string("x"), Value::Int(-1), Value::Boolean(true)] {
            assert_eq!(cursor(Some(&bad)).unwrap_err().code, 8002, "{bad:?}");
        }
    }

    #[test]
    fn unknown_members_are_refused_with_the_known_ones() {
        let value =
            Value::structure(vec![("a".into(), Value::Nil), ("b".into(), Value::Int(1)), ("c".into(), Value::Nil)]);
        let given: Vec<_> = members(&value, "options", &["a", "b", "c"]).unwrap().collect();
        assert_eq!(given, [("b", &Value::Int(1))]);
        let Err(fault) = members(&value, "options", &["a", "b"]) else { panic!("c is unknown") };
        assert_eq!(fault.text, "options.c: unknown; there are a, b");
    }
}
