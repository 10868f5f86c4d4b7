//! When rows that came back are tried again, and when they are given up. Pure.

use std::time::Duration;

use crate::domain::apns::ApnsReason;
use crate::domain::batch::Tries;
use crate::domain::outcome::{Reason, Retry};

/// What follows for rows that a gateway hands back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To the front of the queue.
    AtOnce(Tries),
    /// Due after a while.
    After(Tries, Duration),
    /// Given up.
    Reject(Reason),
}

/// Waits between attempts that the binary gateway answered with a transient error, by how many there were.
const BINARY_DELAYS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(300)];
/// The same for the HTTP/2 provider API: on a new connection, then as Apple advises, after 15 minutes in the end. The first
/// is for what may be the connection's fault alone: a row that was never answered, or is asked to go elsewhere.
const APNS_DELAYS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
];
/// No provider's `Retry-After` makes a wait shorter.
const DELAY_MIN: Duration = Duration::from_secs(1);
/// Share of such a wait by which it is shortened or lengthened at random.
const JITTER: f64 = 0.2;

/// What becomes of a notification that was sent and never answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// Sent again: at least once.
    #[default]
    Resend,
    /// Given up as a rejection: at most once.
    Reject,
}

/// How long rows are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Sends of a row that was never answered, beyond the first; sends of a row that the binary gateway answers with a
    /// transient error.
    pub attempts_max: u8,
    /// Whether what was never answered is sent again at all.
    pub unknown: Unknown,
}

/// Decides about rows that were tried as `tries` says and now come back with `retry`. `random` is from 0 to 1.
///
/// What the HTTP/2 provider API answers with a transient error is tried until it expires.
pub fn next(tries: Tries, retry: &Retry, policy: Policy, random: f64) -> Next {
    match retry {
        Retry::NotProcessed | Retry::Refused(_) => Next::AtOnce(tries),
        Retry::Unknown { .. } | Retry::Unanswered
            if policy.unknown == Unknown::Reject || tries.unknown >= policy.attempts_max =>
        {
            Next::Reject(Reason::AttemptsExhausted)
        }
        Retry::Unknown { alone } => Next::AtOnce(Tries {
            unknown: tries.unknown + 1,
            alone: tries.alone.saturating_add(u8::from(*alone)),
            ..tries
        }),
        Retry::Unanswered => {
            let again = Tries { unknown: tries.unknown + 1, ..tries };
            after_delay(again, &APNS_DELAYS, tries.unknown, random)
        }
        Retry::Transient { reason, after } => {
            let transient = tries.transient.saturating_add(1);
            let again = Tries { transient, ..tries };
            let delays = match reason {
                Reason::Apns(ApnsReason::IdleTimeout | ApnsReason::Shutdown) => &APNS_DELAYS[..],
                Reason::Apns(_) => &APNS_DELAYS[1..],
                _ if transient >= policy.attempts_max => return Next::Reject(*reason),
                _ => &BINARY_DELAYS,
            };
            match after {
                Some(after) => Next::After(again, (*after).max(DELAY_MIN)),
                None => after_delay(again, delays, transient - 1, random),
            }
        }
    }
}

/// The next attempt after so many earlier ones, its wait shortened or lengthened at random.
fn after_delay(tries: Tries, delays: &[Duration], earlier: u8, random: f64) -> Next {
    match delays[usize::from(earlier).min(delays.len() - 1)] {
        Duration::ZERO => Next::AtOnce(tries),
        delay => Next::After(tries, delay.mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { attempts_max: 5, unknown: Unknown::Resend };
    /// Neither shorter nor longer.
    const EVEN: f64 = 0.5;

    #[test]
    fn what_was_not_processed_is_sent_again_at_once_and_for_ever() {
        let tries = Tries { unknown: 5, alone: 2, transient: 4 };
        assert_eq!(next(tries, &Retry::NotProcessed, POLICY, EVEN), Next::AtOnce(tries));
    }

    #[test]
    fn what_the_app_is_to_blame_for_is_no_attempt_of_the_row() {
        let tries = Tries { unknown: 5, alone: 2, transient: 4 };
        let refused = Retry::Refused(Reason::Apns(ApnsReason::InvalidProviderToken));
        let at_most_once = Policy { unknown: Unknown::Reject, ..POLICY };
        for policy in [POLICY, at_most_once] {
            assert_eq!(next(tries, &refused, policy, EVEN), Next::AtOnce(tries));
        }
    }

    #[test]
    fn five_unknown_attempts_are_resent_and_the_sixth_is_given_up() {
        let mut tries = Tries::default();
        for unknown in 1..=5 {
            let next = next(tries, &Retry::Unknown { alone: false }, POLICY, EVEN);
            tries = Tries { unknown, ..tries };
            assert_eq!(next, Next::AtOnce(tries));
        }
        let next = next(tries, &Retry::Unknown { alone: false }, POLICY, EVEN);
        assert_eq!(next, Next::Reject(Reason::AttemptsExhausted));
    }

    #[test]
    fn a_transient_error_waits_longer_each_time_and_ends_as_a_rejection() {
        let retry = Retry::Transient { reason: Reason::ProcessingError, after: None };
        let mut waits = Vec::new();
        let mut tries = Tries::default();
        let end = loop {
            match next(tries, &retry, POLICY, EVEN) {
                Next::After(next, wait) => {
                    waits.push(wait.as_secs());
                    tries = next;
                }
                end => break end,
            }
        };
        assert_eq!(waits, [1, 10, 60, 300]);
        assert_eq!(end, Next::Reject(Reason::ProcessingError));
    }

    #[test]
    fn what_the_provider_api_may_take_later_is_tried_until_it_expires() {
        let retry = Retry::Transient { reason: Reason::Apns(ApnsReason::ServiceUnavailable), after: None };
        let mut tries = Tries::default();
        let mut waits = Vec::new();
        for _ in 0..300 {
            let Next::After(next, wait) = next(tries, &retry, POLICY, EVEN) else { panic!("given up") };
            waits.push(wait.as_secs());
            tries = next;
        }
        assert_eq!(waits[..6], [1, 60, 300, 900, 900, 900]);
        assert_eq!(waits.last(), Some(&900));
    }

    #[test]
    fn what_wants_another_connection_gets_it_at_once_and_then_waits_longer_each_time() {
        for reason in [ApnsReason::IdleTimeout, ApnsReason::Shutdown] {
            let retry = Retry::Transient { reason: Reason::Apns(reason), after: None };
            let mut tries = Tries { transient: 1, ..Tries::default() };
            assert_eq!(next(Tries::default(), &retry, POLICY, EVEN), Next::AtOnce(tries));
            let waits = [1, 2, 3, 4, 5].map(|_| {
                let Next::After(next, wait) = next(tries, &retry, POLICY, EVEN) else { panic!("not deferred") };
                tries = next;
                wait.as_secs()
            });
            assert_eq!(waits, [1, 60, 300, 900, 900]);
        }
    }

    #[test]
    fn waits_are_a_fifth_shorter_or_longer() {
        let retry = Retry::Transient { reason: Reason::Apns(ApnsReason::InternalServerError), after: None };
        let wait = |random| match next(Tries { transient: 1, ..Tries::default() }, &retry, POLICY, random) {
            Next::After(_, wait) => wait.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!((wait(0.0), wait(1.0)), (48, 72));
    }

    #[test]
    fn where_once_is_enough_nothing_is_sent_twice() {
        let at_most_once = Policy { unknown: Unknown::Reject, ..POLICY };
        let unknown = next(Tries::default(), &Retry::Unknown { alone: false }, at_most_once, EVEN);
        assert_eq!(unknown, Next::Reject(Reason::AttemptsExhausted));
        let tries = Tries::default();
        assert_eq!(next(tries, &Retry::NotProcessed, at_most_once, EVEN), Next::AtOnce(tries));
    }

    #[test]
    fn what_the_provider_api_never_answers_is_tried_at_once_then_later_each_time_and_given_up_in_the_end() {
        let mut tries = Tries::default();
        let mut waits = Vec::new();
        let end = loop {
            match next(tries, &Retry::Unanswered, POLICY, EVEN) {
                Next::AtOnce(again) => {
                    waits.push(0);
                    tries = again;
                }
                Next::After(again, wait) => {
                    waits.push(wait.as_secs());
                    tries = again;
                }
                end @ Next::Reject(_) => break end,
            }
        };
        assert_eq!(waits, [0, 1, 60, 300, 900]);
        assert_eq!(end, Next::Reject(Reason::AttemptsExhausted));
    }

    #[test]
    fn no_provider_has_a_row_sent_again_and_again_without_a_wait() {
        let reason = Reason::Apns(ApnsReason::TooManyRequests);
        let retry = Retry::Transient { reason, after: Some(Duration::ZERO) };
        let Next::After(_, wait) = next(Tries::default(), &retry, POLICY, EVEN) else { panic!("not deferred") };
        assert_eq!(wait, Duration::from_secs(1));
    }

    #[test]
    fn a_wait_that_the_provider_asks_for_is_obeyed() {
        let after = Some(Duration::from_secs(77));
        let retry = Retry::Transient { reason: Reason::ProcessingError, after };
        let Next::After(_, wait) = next(Tries::default(), &retry, POLICY, EVEN) else { panic!("not deferred") };
        assert_eq!(wait, Duration::from_secs(77));
    }
}
