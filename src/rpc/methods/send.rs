//! `apnsd.send`: `notify` that waits for outcomes.

use super::notify::{check_count, without_options};
use super::{Caller, Method};
use crate::domain::token::token_hex;
use crate::rpc::fault::bad_argument;
use crate::rpc::options;
use crate::rpc::values::{date_time, structure};
use crate::service::request::{Notify, NotifyOptions};
use crate::service::send::{SEND_TOKENS_MAX, Sent, too_many};
use crate::xmlrpc::value::{Fault, Value};

pub(super) const SEND: Method = Method {
    name: "apnsd.send",
    signatures: &[
        &["array", "string", "string", "struct"],
        &["array", "string", "array", "array"],
        &["array", "string", "array", "struct"],
        &["array", "string", "string", "struct", "struct"],
        &["array", "string", "array", "array", "struct"],
        &["array", "string", "array", "struct", "struct"],
    ],
    help: "apnsd.send(app_id, token(s), notification(s)[, options]): accepts up to 1000 notifications as notify does, \
           sends them before all that waits, and answers with what became of each, as soon as all is known or the app is \
           paused or refused, and after options.timeout seconds (10, at most 60) at the latest. The answer has for each token, in order, a struct \
           (token, id where it was accepted now, outcome, status where the provider has a number, reason, timestamp of \
           a dead token, retry, cause). outcome: accepted; presumed (the binary gateway stayed silent); rejected; expired; \
           queued (no outcome yet: it stays queued as with notify; retry says whether it was tried, reason what the \
           provider answered then, cause what stands in the way now); repeated (a call \
           with this request_id was accepted before, nothing was sent for this one).",
    run: |caller, params| Box::pin(run(caller, params)),
};

async fn run(caller: &Caller<'_>, params: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let [app, arguments @ ..] = params else { return Err(bad_argument("3 or 4 arguments are needed")) };
    let app = caller.app(app)?;
    let check_count = |given| match given > SEND_TOKENS_MAX {
        true => Err(bad_argument(too_many(given))),
        false => check_count(given, caller.settings.tokens_per_call),
    };
    let (request, given) = without_options(arguments, check_count)?;
    let (options, wait) = match given {
        Some(given) => options::of_send(given, request.tokens.len())?,
        None => (NotifyOptions::default(), options::default_wait()),
    };
    if request.tokens.is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    let sent = caller.service.send(&app, Notify { options, ..request }, wait, &caller.patience).await?;
    Ok(Value::Array(sent.iter().map(row).collect()))
}

fn row(sent: &Sent) -> Value<'static> {
    let status = sent.reason.and_then(|reason| reason.status());
    structure([
        ("token", Some(Value::string(token_hex(&sent.token)))),
        ("id", sent.id.map(|id| Value::string(id.to_string()))),
        ("outcome", Some(Value::string(sent.outcome.name()))),
        ("status", status.map(|status| Value::Int(status.into()))),
        ("reason", sent.reason.map(|reason| Value::string(reason.name()))),
        ("timestamp", sent.dead_since.map(date_time)),
        ("retry", Some(Value::Boolean(sent.retry))),
        ("cause", sent.cause.as_deref().map(|cause| Value::string(cause.to_owned()))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::apns::{ApnsReason, NotificationId};
    use crate::domain::outcome::Reason;
    use crate::domain::time::Timestamp;
    use crate::service::send::SendOutcome;

    #[test]
    fn a_row_says_whose_it_is_and_what_became_of_it() {
        let accepted = Sent {
            token: [0xab; 2].into(),
            id: Some(NotificationId([0x11; 16])),
            outcome: SendOutcome::Accepted,
            reason: None,
            dead_since: None,
            retry: false,
            cause: None,
        };
        let members = [
            ("token", Value::string("abab")),
            ("id", Value::string("11111111-1111-1111-1111-111111111111")),
            ("outcome", Value::string("accepted")),
            ("retry", Value::Boolean(false)),
        ];
        assert_eq!(row(&accepted), Value::Struct(members.map(|(name, value)| (name.into(), value)).into()));

        let dead = Sent {
            id: None,
            outcome: SendOutcome::Rejected,
            reason: Some(Reason::Apns(ApnsReason::Unregistered)),
            dead_since: Some(Timestamp::from_secs(1_300_000_000)),
            ..accepted.clone()
        };
        let members = [
            ("token", Value::string("abab")),
            ("outcome", Value::string("rejected")),
            ("status", Value::Int(410)),
            ("reason", Value::string("Unregistered")),
            ("timestamp", Value::DateTime(jiff::civil::date(2011, 3, 13).at(7, 6, 40, 0))),
            ("retry", Value::Boolean(false)),
        ];
        assert_eq!(row(&dead), Value::Struct(members.map(|(name, value)| (name.into(), value)).into()));

        let refused = Sent {
            id: None,
            outcome: SendOutcome::Queued,
            reason: Some(Reason::Apns(ApnsReason::InvalidProviderToken)),
            retry: true,
            cause: Some("the gateway refuses this app".into()),
            ..accepted
        };
        let members = [
            ("token", Value::string("abab")),
            ("outcome", Value::string("queued")),
            ("status", Value::Int(403)),
            ("reason", Value::string("InvalidProviderToken")),
            ("retry", Value::Boolean(true)),
            ("cause", Value::string("the gateway refuses this app")),
        ];
        assert_eq!(row(&refused), Value::Struct(members.map(|(name, value)| (name.into(), value)).into()));
    }
}
