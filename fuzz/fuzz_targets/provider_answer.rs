//! An answer of the provider API: a line with its status, one with `Retry-After`, then the body.
#![no_main]

use std::time::Duration;

use apnsd::domain::outcome::{Outcome, Retry};
use apnsd::domain::time::Timestamp;
use apnsd::gateway::http2::response::{Answer, Consequence, read};
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let (Some(status), Some(retry_after), Some(body)) = (parts.next(), parts.next(), parts.next()) else { return };
    let Some(status) = str::from_utf8(status).ok().and_then(|status| status.parse().ok()) else { return };
    let retry_after = HeaderValue::from_bytes(retry_after).ok().filter(|value| !value.is_empty());
    let headers: HeaderMap = retry_after.into_iter().map(|value| (header::RETRY_AFTER, value)).collect();
    for is_plain_topic in [true, false] {
        let verdict = read(Answer { status, headers: &headers, body, is_plain_topic }, NOW);
        assert_eq!(verdict.outcome == Outcome::Accepted, status == 200);
        match verdict.outcome {
            Outcome::Retry(Retry::Transient { after, .. }) => assert!(after.is_none_or(|after| after <= HOUR)),
            // What goes back untried, and changes nothing, would come back for ever.
            Outcome::Retry(Retry::NotProcessed) => assert_ne!(verdict.consequence, Consequence::Nothing),
            Outcome::Unregistered { since, .. } => assert!(since <= NOW.plus(DAY)),
            Outcome::Accepted | Outcome::Rejected(_) => (),
            other => panic!("no answer means {other:?}"),
        }
        if let Consequence::Unheard(text) = verdict.consequence {
            assert!(text.chars().count() <= 64 && !text.contains(char::is_control), "{text:?}");
        }
    }
});
