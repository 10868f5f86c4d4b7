//! `apnsd.rejections` and `apnsd.feedback`: lists that can be read again, from a cursor on.

use super::{Caller, Method};
use crate::domain::feedback::{Cursor, FeedbackEntry, Rejection};
use crate::domain::token::token_hex;
use crate::rpc::arguments::{app_id, cursor};
use crate::rpc::fault::bad_argument;
use crate::rpc::values::{count, date_time, structure};
use crate::xmlrpc::value::{Fault, Value};

pub(super) const REJECTIONS: Method = Method {
    name: "apnsd.rejections",
    signatures: &[&["struct", "string"], &["struct", "string", "string"]],
    help: "apnsd.rejections(app_id[, cursor]): notifications that will not be delivered, oldest first, after a cursor; \
           also of an app that was deprovisioned. The answer has rejections, an array of structs (app_id, token, reason, \
           status where the provider has a number for it, text, timestamp, batch, row), and the cursor to ask with next.",
    run: |caller, params| Box::pin(rejections(caller, params)),
};

pub(super) const FEEDBACK: Method = Method {
    name: "apnsd.feedback",
    signatures: &[&["struct", "string"], &["struct", "string", "string"]],
    help: "apnsd.feedback(app_id[, cursor]): the device tokens that the provider reported dead, oldest first, after a \
           cursor; whether feedback handed them out does not matter. The answer has feedback, an array of structs \
           (token, timestamp), and the cursor to ask with next.",
    run: |caller, params| Box::pin(feedback(caller, params)),
};

async fn rejections(caller: &Caller<'_>, params: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let [app, more @ ..] = params else { return Err(bad_argument("apnsd.rejections takes 1 or 2 arguments")) };
    let page = caller.service.rejections_after(&app_id(app)?, cursor(more.first())?).await?;
    let rejections = page.entries.iter().map(rejection).collect();
    Ok(structure([("rejections", Some(Value::Array(rejections))), ("cursor", Some(next(page.next)))]))
}

async fn feedback(caller: &Caller<'_>, params: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let [app, more @ ..] = params else { return Err(bad_argument("apnsd.feedback takes 1 or 2 arguments")) };
    let page = caller.service.feedback_after(&app_id(app)?, cursor(more.first())?).await?;
    let entries = page.entries.iter().map(dead_token).collect();
    Ok(structure([("feedback", Some(Value::Array(entries))), ("cursor", Some(next(page.next)))]))
}

fn next(cursor: Cursor) -> Value<'static> {
    Value::string(cursor.0.to_string())
}

fn rejection(rejection: &Rejection) -> Value<'static> {
    structure([
        ("app_id", Some(Value::string(rejection.app.to_string()))),
        ("token", Some(Value::string(token_hex(&rejection.token)))),
        ("reason", Some(Value::string(rejection.reason.name()))),
        ("status", rejection.reason.status().map(|status| Value::Int(status.into()))),
        ("text", Some(Value::string(rejection.reason.to_string()))),
        ("timestamp", Some(date_time(rejection.timestamp))),
        ("batch", Some(Value::string(rejection.batch.0.to_string()))),
        ("row", Some(count(rejection.row.into()))),
    ])
}

fn dead_token(entry: &FeedbackEntry) -> Value<'static> {
    structure([
        ("token", Some(Value::string(token_hex(&entry.token)))),
        ("timestamp", Some(date_time(entry.timestamp))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app::AppId;
    use crate::domain::batch::BatchId;
    use crate::domain::outcome::Reason;
    use crate::domain::time::Timestamp;

    fn rejected_for(reason: Reason) -> Vec<(String, Value<'static>)> {
        let example = Rejection {
            timestamp: Timestamp::from_secs(1_300_000_000),
            app: AppId::parse("myapp").unwrap(),
            token: [0xab; 2].into(),
            reason,
            batch: BatchId(u64::MAX),
            row: 7,
        };
        match rejection(&example) {
            Value::Struct(members) => members.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rejection_says_whose_what_why_when_and_where() {
        let date = jiff::civil::date(2011, 3, 13).at(7, 6, 40, 0);
        let expected = [
            ("app_id", Value::string("myapp")),
            ("token", Value::string("abab")),
            ("reason", Value::string("InvalidToken")),
            ("status", Value::Int(8)),
            ("text", Value::string("invalid token (8)")),
            ("timestamp", Value::DateTime(date)),
            ("batch", Value::string("18446744073709551615")),
            ("row", Value::Int(7)),
        ];
        assert_eq!(rejected_for(Reason::InvalidToken), expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn a_reason_of_our_own_has_no_status() {
        assert!(rejected_for(Reason::Expired).iter().all(|(name, _)| name != "status"));
    }

    #[test]
    fn a_dead_token_is_told_with_its_date() {
        let entry = FeedbackEntry { timestamp: Timestamp::default(), token: [0xab].into() };
        let date = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
        let members = vec![("token".into(), Value::string("ab")), ("timestamp".into(), Value::DateTime(date))];
        assert_eq!(dead_token(&entry), Value::structure(members));
    }
}
