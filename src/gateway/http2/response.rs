//! What an answer of the provider API means: for its row, for its connection and for the app. Pure.
//!
//! Source: "Handling notification responses from APNs".

use std::time::Duration;

use http::{HeaderMap, header};
use serde::Deserialize;

use crate::domain::apns::ApnsReason;
use crate::domain::outcome::{Outcome, Reason, Retry};
use crate::domain::time::Timestamp;

/// Longest wait that a provider may ask for; it could keep an app waiting for ever otherwise.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);
/// 2010: no token died before; what claims so counts seconds.
const DEATH_MIN: Timestamp = Timestamp::from_secs(1_262_304_000);
/// How far the provider's clock may be ahead of ours.
const DEATH_AHEAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Characters of an unknown reason that are shown.
const SHOWN_MAX: usize = 64;

/// An answer as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, JSON where it is right.
    pub body: &'a [u8],
    /// Whether the request carried the app's own topic as it is.
    pub is_plain_topic: bool,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// For the row.
    pub outcome: Outcome,
    /// For everything else.
    pub consequence: Consequence,
}

/// What follows from an answer beyond its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// Nothing.
    Nothing,
    /// The connection works.
    Delivered,
    /// The provider's fault, by its name; when it repeats, the connection's.
    ServerError(ApnsReason),
    /// The connection takes no more requests, for a reason; another one may.
    Replace(ApnsReason),
    /// The provider token is too old, and the connection will not believe another one.
    TokenExpired,
    /// The connection began with another key.
    KeyUnrelated,
    /// The provider token changes more often than the provider likes.
    TokenTooNew,
    /// Every other request of the app would fail the same way.
    Refused(ApnsReason),
    /// A reason that no document names; its text, shortened and safe to show.
    Unheard(String),
}

/// Reads an answer.
pub fn read(answer: Answer<'_>, now: Timestamp) -> Verdict {
    if answer.status == 200 {
        return Verdict { outcome: Outcome::Accepted, consequence: Consequence::Delivered };
    }
    let body: Body = serde_json::from_slice(answer.body).unwrap_or_default();
    let after = || retry_after(answer.headers, now);
    match body.reason.as_deref().and_then(ApnsReason::from_name) {
        Some(reason) => of_reason(reason, &body, answer.is_plain_topic, after, now),
        None => of_status(answer.status, body.reason.as_deref(), after),
    }
}

/// The reason that an end of a connection gives (`{"reason":"…"}` in GOAWAY), found in any text around it.
pub(super) fn reason_in(text: &str) -> Option<ApnsReason> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).find_map(ApnsReason::from_name)
}

#[derive(Default, Deserialize)]
struct Body {
    reason: Option<String>,
    timestamp: Option<serde_json::Value>,
}

fn of_reason(
    reason: ApnsReason,
    body: &Body,
    is_plain_topic: bool,
    after: impl Fn() -> Option<Duration>,
    now: Timestamp,
) -> Verdict {
    use ApnsReason as R;
    let named = Reason::Apns(reason);
    let refused = Outcome::Retry(Retry::Refused(named));
    let transient = || Outcome::Retry(Retry::Transient { reason: named, after: after() });
    let (outcome, consequence) = match reason {
        R::BadCollapseId
        | R::BadDeviceToken
        | R::BadExpirationDate
        | R::BadMessageId
        | R::BadPath
        | R::BadPriority
        | R::DeviceTokenNotForTopic
        | R::DuplicateHeaders
        | R::InvalidPushType
        | R::MethodNotAllowed
        | R::MissingDeviceToken
        | R::PayloadEmpty
        | R::PayloadTooLarge => (Outcome::Rejected(named), Consequence::Nothing),
        // One caller's topic must not stop the others.
        R::BadTopic | R::MissingTopic | R::TopicDisallowed if !is_plain_topic => {
            (Outcome::Rejected(named), Consequence::Nothing)
        }
        R::BadTopic
        | R::MissingTopic
        | R::TopicDisallowed
        | R::BadCertificate
        | R::BadCertificateEnvironment
        | R::BadEnvironmentKeyIdInToken
        | R::Forbidden
        | R::InvalidProviderToken
        | R::MissingProviderToken => (refused, Consequence::Refused(reason)),
        R::ExpiredProviderToken => (refused, Consequence::TokenExpired),
        R::UnrelatedKeyIdInToken => (refused, Consequence::KeyUnrelated),
        R::ExpiredToken | R::Unregistered => match death(body, now) {
            Some(since) => (Outcome::Unregistered { reason: named, since }, Consequence::Nothing),
            None => (Outcome::Rejected(named), Consequence::Nothing),
        },
        R::TooManyProviderTokenUpdates => (transient(), Consequence::TokenTooNew),
        R::TooManyRequests => (transient(), Consequence::Nothing),
        R::InternalServerError => (transient(), Consequence::ServerError(reason)),
        R::IdleTimeout | R::ServiceUnavailable | R::Shutdown => (transient(), Consequence::Replace(reason)),
        // `from_name` knows no such name.
        R::Unknown(status) => return of_status(status, None, after),
    };
    Verdict { outcome, consequence }
}

/// An answer whose reason is missing or not known.
fn of_status(status: u16, unheard: Option<&str>, after: impl Fn() -> Option<Duration>) -> Verdict {
    let named = ApnsReason::Unknown(status);
    let reason = Reason::Apns(named);
    let outcome = match status {
        429 => Outcome::Retry(Retry::Transient { reason, after: after() }),
        400..500 => Outcome::Rejected(reason),
        _ => Outcome::Retry(Retry::Transient { reason, after: after() }),
    };
    let consequence = match (status, unheard) {
        (503, _) => Consequence::Replace(named),
        (500.., _) => Consequence::ServerError(named),
        (_, Some(unheard)) => Consequence::Unheard(shown(unheard)),
        (_, None) => Consequence::Nothing,
    };
    Verdict { outcome, consequence }
}

/// When the token died, where the answer says so in milliseconds that can be true.
fn death(body: &Body, now: Timestamp) -> Option<Timestamp> {
    let since = Timestamp::from_millis(body.timestamp.as_ref()?.as_i64()?);
    (DEATH_MIN..=now.plus(DEATH_AHEAD_MAX)).contains(&since).then_some(since)
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Timestamp::from_millis(date.as_millisecond()).since(now)
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// What a provider wrote, shortened and without anything that could forge a line of a log.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);

    fn verdict(status: u16, body: &str, is_plain_topic: bool) -> (Outcome, Consequence) {
        let headers = HeaderMap::new();
        let verdict = read(Answer { status, headers: &headers, body: body.as_bytes(), is_plain_topic }, NOW);
        (verdict.outcome, verdict.consequence)
    }

    fn rejected(reason: ApnsReason) -> (Outcome, Consequence) {
        (Outcome::Rejected(Reason::Apns(reason)), Consequence::Nothing)
    }

    fn refused(reason: ApnsReason) -> (Outcome, Consequence) {
        refused_with(reason, Consequence::Refused(reason))
    }

    fn refused_with(reason: ApnsReason, consequence: Consequence) -> (Outcome, Consequence) {
        (Outcome::Retry(Retry::Refused(Reason::Apns(reason))), consequence)
    }

    fn transient(reason: ApnsReason, consequence: Consequence) -> (Outcome, Consequence) {
        (Outcome::Retry(Retry::Transient { reason: Reason::Apns(reason), after: None }), consequence)
    }

    #[test]
    fn success_is_accepted_whatever_the_body() {
        for body in ["", "{}", r#"{"reason":"BadDeviceToken"}"#, "\u{0}"] {
            assert_eq!(verdict(200, body, true), (Outcome::Accepted, Consequence::Delivered));
        }
    }

    #[test]
    fn every_documented_reason_has_its_outcome_and_consequence() {
        use ApnsReason as R;
        use Consequence as C;
        let dead = |reason| {
            let since = Timestamp::from_millis(1_899_999_999_123);
            (Outcome::Unregistered { reason: Reason::Apns(reason), since }, C::Nothing)
        };
        let table = [
            (400, "BadCollapseId", rejected(R::BadCollapseId)),
            (400, "BadDeviceToken", rejected(R::BadDeviceToken)),
            (400, "BadExpirationDate", rejected(R::BadExpirationDate)),
            (400, "BadMessageId", rejected(R::BadMessageId)),
            (400, "BadPriority", rejected(R::BadPriority)),
            (400, "BadTopic", refused(R::BadTopic)),
            (400, "DeviceTokenNotForTopic", rejected(R::DeviceTokenNotForTopic)),
            (400, "DuplicateHeaders", rejected(R::DuplicateHeaders)),
            (400, "IdleTimeout", transient(R::IdleTimeout, C::Replace(R::IdleTimeout))),
            (400, "InvalidPushType", rejected(R::InvalidPushType)),
            (400, "MissingDeviceToken", rejected(R::MissingDeviceToken)),
            (400, "MissingTopic", refused(R::MissingTopic)),
            (400, "PayloadEmpty", rejected(R::PayloadEmpty)),
            (400, "TopicDisallowed", refused(R::TopicDisallowed)),
            (403, "BadCertificate", refused(R::BadCertificate)),
            (403, "BadCertificateEnvironment", refused(R::BadCertificateEnvironment)),
            (403, "ExpiredProviderToken", refused_with(R::ExpiredProviderToken, C::TokenExpired)),
            (403, "Forbidden", refused(R::Forbidden)),
            (403, "InvalidProviderToken", refused(R::InvalidProviderToken)),
            (403, "MissingProviderToken", refused(R::MissingProviderToken)),
            (403, "UnrelatedKeyIdInToken", refused_with(R::UnrelatedKeyIdInToken, C::KeyUnrelated)),
            (403, "BadEnvironmentKeyIdInToken", refused(R::BadEnvironmentKeyIdInToken)),
            (404, "BadPath", rejected(R::BadPath)),
            (405, "MethodNotAllowed", rejected(R::MethodNotAllowed)),
            (410, "ExpiredToken", dead(R::ExpiredToken)),
            (410, "Unregistered", dead(R::Unregistered)),
            (413, "PayloadTooLarge", rejected(R::PayloadTooLarge)),
            (429, "TooManyProviderTokenUpdates", transient(R::TooManyProviderTokenUpdates, C::TokenTooNew)),
            (429, "TooManyRequests", transient(R::TooManyRequests, C::Nothing)),
            (500, "InternalServerError", transient(R::InternalServerError, C::ServerError(R::InternalServerError))),
            (503, "ServiceUnavailable", transient(R::ServiceUnavailable, C::Replace(R::ServiceUnavailable))),
            (503, "Shutdown", transient(R::Shutdown, C::Replace(R::Shutdown))),
        ];
        for (expected, documented) in table.iter().map(|row| row.1).zip(R::DOCUMENTED) {
            assert_eq!(expected, documented.name());
        }
        for (status, name, expected) in table {
            let body = format!(r#"{{"reason":"{name}","timestamp":1899999999123}}"#);
            assert_eq!(verdict(status, &body, true), expected, "{name}");
        }
    }

    #[test]
    fn a_topic_that_is_not_the_apps_own_blames_its_row_only() {
        for reason in [ApnsReason::BadTopic, ApnsReason::MissingTopic, ApnsReason::TopicDisallowed] {
            let body = format!(r#"{{"reason":"{}"}}"#, reason.name());
            assert_eq!(verdict(400, &body, false), rejected(reason));
        }
    }

    #[test]
    fn a_token_is_dead_only_since_a_moment_that_can_be_true() {
        let timestamp = |timestamp: &str| verdict(410, &format!(r#"{{"reason":"Unregistered"{timestamp}}}"#), true);
        let doubtful = [
            "",
            r#","timestamp":1899999999"#,
            r#","timestamp":"1899999999123""#,
            r#","timestamp":null"#,
            r#","timestamp":-1"#,
            r#","timestamp":1900086400001"#,
            r#","timestamp":99999999999999999999"#,
        ];
        for text in doubtful {
            assert_eq!(timestamp(text), rejected(ApnsReason::Unregistered), "{text}");
        }
        let since = Timestamp::from_millis(1_900_086_400_000);
        let dead = Outcome::Unregistered { reason: Reason::Apns(ApnsReason::Unregistered), since };
        assert_eq!(timestamp(r#","timestamp":1900086400000"#).0, dead);
    }

    #[test]
    fn an_unknown_or_missing_reason_is_judged_by_its_status() {
        let unknown = ApnsReason::Unknown;
        let unheard = |text: &str| Consequence::Unheard(text.to_owned());
        let (outcome, _) = rejected(unknown(400));
        assert_eq!(verdict(400, r#"{"reason":"Bad\u0001Moon"}"#, true), (outcome, unheard("BadMoon")));
        let (outcome, _) = rejected(unknown(403));
        assert_eq!(verdict(403, r#"{"reason":"TooManyMoons"}"#, true), (outcome, unheard("TooManyMoons")));
        assert_eq!(verdict(400, "<html>", true), rejected(unknown(400)));
        assert_eq!(verdict(410, "", true), rejected(unknown(410)));
        assert_eq!(verdict(429, "", true), transient(unknown(429), Consequence::Nothing));
        assert_eq!(verdict(500, "{", true), transient(unknown(500), Consequence::ServerError(unknown(500))));
        assert_eq!(verdict(502, "<html>", true), transient(unknown(502), Consequence::ServerError(unknown(502))));
        assert_eq!(verdict(503, "", true), transient(unknown(503), Consequence::Replace(unknown(503))));
        assert_eq!(verdict(302, "", true), transient(unknown(302), Consequence::Nothing));
        assert_eq!(shown(&"x\ny".repeat(100)).len(), 64);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_an_hour() {
        let after = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
            let body = br#"{"reason":"TooManyRequests"}"#;
            let answer = Answer { status: 429, headers: &headers, body, is_plain_topic: true };
            match read(answer, NOW).outcome {
                Outcome::Retry(Retry::Transient { after, .. }) => after.map(|after| after.as_secs()),
                outcome => panic!("{outcome:?}"),
            }
        };
        assert_eq!(after("77"), Some(77));
        assert_eq!(after("999999"), Some(3600));
        // 2030-03-17T17:46:40Z is now.
        assert_eq!(after("Sun, 17 Mar 2030 17:47:40 GMT"), Some(60));
        assert_eq!(after("Sun, 17 Mar 2030 17:00:00 GMT"), Some(0));
        assert_eq!(after("soon"), None);
        assert_eq!(after("-1"), None);
    }

    #[test]
    fn a_reason_is_found_in_what_surrounds_it() {
        assert_eq!(reason_in(r#"not a result (b"{\"reason\":\"Shutdown\"}")"#), Some(ApnsReason::Shutdown));
        assert_eq!(reason_in(r#"(b"{\"reason\":\"BadCertificate\"}")"#), Some(ApnsReason::BadCertificate));
        assert_eq!(reason_in("ShutdownNow"), None);
    }

    proptest! {
        #[test]
        fn any_answer_has_a_verdict_and_no_wait_is_longer_than_an_hour(
            status in 100..1000_u16,
            body in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..64),
                (r#"[A-Za-z"\\{}]{0,20}"#, any::<i64>())
                    .prop_map(|(reason, since)| format!(r#"{{"reason":"{reason}","timestamp":{since}}}"#).into_bytes()),
            ],
            retry_after in "[ -~]{0,32}",
            is_plain_topic: bool,
        ) {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, retry_after.parse().unwrap())]);
            let verdict = read(Answer { status, headers: &headers, body: &body, is_plain_topic }, NOW);
            prop_assert_eq!(verdict.outcome == Outcome::Accepted, status == 200);
            if let Outcome::Retry(Retry::Transient { after: Some(after), .. }) = verdict.outcome {
                prop_assert!(after <= Duration::from_secs(3600));
            }
            if let Consequence::Unheard(text) = verdict.consequence {
                prop_assert!(text.chars().count() <= 64 && !text.contains(char::is_control));
            }
        }
    }
}
