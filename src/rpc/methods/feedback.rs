//! `feedback`: dead tokens, each handed out once.

use std::sync::PoisonError;

use super::{Caller, Method};
use crate::domain::feedback::FeedbackEntry;
use crate::domain::token::token_hex;
use crate::rpc::fault::bad_argument;
use crate::rpc::options;
use crate::rpc::values::date_time;
use crate::xmlrpc::value::{Fault, Value};

pub(super) const FEEDBACK: Method = Method {
    name: "feedback",
    signatures: &[&["array", "string"], &["array", "string", "struct"]],
    help: "feedback(app_id[, options]): the device tokens that the provider reported dead and that were not handed out \
           before, as an array of [dateTime (UTC), token in hex]. At most 100,000 come in one answer. They count as \
           handed out once the whole answer has left. A call with options.request_id that is made again, because its answer was lost, is given the same and \
           what has come since.",
    run: |caller, params| Box::pin(run(caller, params)),
};

async fn run(caller: &Caller<'_>, params: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let [app, more @ ..] = params else { return Err(bad_argument("feedback takes 1 or 2 arguments")) };
    let request_id = more.first().map(options::of_feedback).transpose()?.flatten();
    let app = caller.app(app)?;
    if caller.handed_out.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
        // The first keeps its app's turn until the answer has left. If a second waited for a turn meanwhile, two such
        // requests could wait for each other.
        return Err(bad_argument("feedback can be called once in a system.multicall"));
    }
    let (entries, receipt) = caller.service.feedback(&app, request_id).await?.into_parts();
    let answer = Value::Array(entries.iter().map(pair).collect());
    caller.handed_out.lock().unwrap_or_else(PoisonError::into_inner).replace(receipt);
    Ok(answer)
}

fn pair(entry: &FeedbackEntry) -> Value<'static> {
    Value::Array(vec![date_time(entry.timestamp), Value::string(token_hex(&entry.token))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    #[test]
    fn an_entry_is_a_date_and_a_token_in_lower_case_hex() {
        let entry = FeedbackEntry { timestamp: Timestamp::from_secs(1_300_000_000), token: [0xab, 0x01].into() };
        let date = jiff::civil::date(2011, 3, 13).at(7, 6, 40, 0);
        assert_eq!(pair(&entry), Value::Array(vec![Value::DateTime(date), Value::string("ab01")]));
    }
}
