//! `apnsd.trace`: what became of the notifications for one device.

use super::{Caller, Method};
use crate::rpc::arguments::{at, text, wrong_type};
use crate::rpc::fault::bad_argument;
use crate::rpc::values::{count, date_time, structure};
use crate::service::trace::Trace;
use crate::xmlrpc::value::{Fault, Value};

pub(super) const TRACE: Method = Method {
    name: "apnsd.trace",
    signatures: &[&["array", "string"], &["array", "string", "int"]],
    help: "apnsd.trace(prefix[, limit]): what is known of the device tokens that begin with these hex digits, at least 4; \
           oldest first and what waits last, at most the limit newest events, 100 where none is given. Each is a struct: timestamp, token (masked), event, and as \
           far as there are any app_id, batch, row, reason with status and text, due, environment and topic. event is \
           waiting, due (to be tried again at that time), accepted, presumed (the gateway was silent long enough), \
           rejected, retried, unknown (sent and never answered), or dead (the provider says that the device is gone).",
    run: |caller, params| Box::pin(run(caller, params)),
};

const LIMIT_DEFAULT: usize = 100;

async fn run(caller: &Caller<'_>, params: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let [prefix, more @ ..] = params else { return Err(bad_argument("apnsd.trace takes 1 or 2 arguments")) };
    let limit = match more.first() {
        None | Some(Value::Nil) => LIMIT_DEFAULT,
        Some(Value::Int(limit)) => usize::try_from(*limit)
            .map_err(|_| bad_argument(format!("limit: a number of events is needed, not {limit}")))?,
        Some(other) => return Err(at("limit")(wrong_type("an int", other))),
    };
    let apps = caller.user.and_then(|user| user.apps.as_deref());
    let events = caller.service.trace(text(prefix).map_err(at("prefix"))?, apps, limit).await?;
    Ok(Value::Array(events.iter().map(event).collect()))
}

fn event(trace: &Trace) -> Value<'static> {
    let reason = trace.reason;
    let source = trace.source.as_ref();
    structure([
        ("timestamp", Some(date_time(trace.timestamp))),
        ("app_id", trace.app_id.as_ref().map(|app| Value::string(app.to_string()))),
        ("token", Some(Value::string(trace.token.clone()))),
        ("event", Some(Value::string(trace.event))),
        ("reason", reason.map(|reason| Value::string(reason.name()))),
        ("status", reason.and_then(|reason| reason.status()).map(|status| Value::Int(status.into()))),
        ("text", reason.map(|reason| Value::string(reason.to_string()))),
        ("due", trace.due.map(date_time)),
        ("batch", trace.row.map(|(batch, _)| Value::string(batch.0.to_string()))),
        ("row", trace.row.map(|(_, row)| count(row.into()))),
        ("environment", source.map(|(environment, _)| Value::string(environment.to_string()))),
        ("topic", source.map(|(_, topic)| Value::string(topic.to_string()))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app::AppId;
    use crate::domain::batch::BatchId;
    use crate::domain::outcome::Reason;
    use crate::domain::time::Timestamp;

    fn members(trace: &Trace) -> Vec<(String, Value<'static>)> {
        match event(trace) {
            Value::Struct(members) => members.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn named<const N: usize>(members: [(&str, Value<'static>); N]) -> Vec<(String, Value<'static>)> {
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn an_event_has_what_there_is() {
        let date = Value::DateTime(jiff::civil::date(2011, 3, 13).at(7, 6, 40, 0));
        let rejected = Trace {
            timestamp: Timestamp::from_secs(1_300_000_000),
            app_id: Some(AppId::parse("myapp").unwrap()),
            source: None,
            token: "abababab…".into(),
            row: Some((BatchId(u64::MAX), 7)),
            event: "rejected",
            reason: Some(Reason::InvalidToken),
            due: None,
        };
        let expected = named([
            ("timestamp", date.clone()),
            ("app_id", Value::string("myapp")),
            ("token", Value::string("abababab…")),
            ("event", Value::string("rejected")),
            ("reason", Value::string("InvalidToken")),
            ("status", Value::Int(8)),
            ("text", Value::string("invalid token (8)")),
            ("batch", Value::string("18446744073709551615")),
            ("row", Value::Int(7)),
        ]);
        assert_eq!(members(&rejected), expected);
        let source = Some(("sandbox".into(), "com.example".into()));
        let dead = Trace { app_id: None, source, row: None, event: "dead", reason: None, ..rejected };
        let expected = named([
            ("timestamp", date),
            ("token", Value::string("abababab…")),
            ("event", Value::string("dead")),
            ("environment", Value::string("sandbox")),
            ("topic", Value::string("com.example")),
        ]);
        assert_eq!(members(&dead), expected);
    }
}
