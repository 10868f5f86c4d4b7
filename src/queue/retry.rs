//! When rows that came back are tried again, and when they are given up. Pure.

use std::time::Duration;

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

/// Waits between attempts that the provider answered with a transient error, by how many there were.
const TRANSIENT_DELAYS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(300)];

/// Decides about rows that were tried as `tries` says and now come back with `retry`.
///
/// `attempts_max` bounds the sends of a row that were answered by nothing or by a transient error.
pub fn next(tries: Tries, retry: &Retry, attempts_max: u8) -> Next {
    match retry {
        Retry::NotProcessed => Next::AtOnce(tries),
        Retry::Unknown { alone } => {
            let unknown = tries.unknown.saturating_add(1);
            if unknown > attempts_max {
                return Next::Reject(Reason::AttemptsExhausted);
            }
            Next::AtOnce(Tries { unknown, alone: tries.alone.saturating_add(u8::from(*alone)), ..tries })
        }
        Retry::Transient { reason, after } => {
            let transient = tries.transient.saturating_add(1);
            if transient >= attempts_max {
                return Next::Reject(*reason);
            }
            let delay = TRANSIENT_DELAYS[usize::from(transient - 1).min(TRANSIENT_DELAYS.len() - 1)];
            Next::After(Tries { transient, ..tries }, after.unwrap_or(delay))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPTS_MAX: u8 = 5;

    #[test]
    fn what_was_not_processed_is_sent_again_at_once_and_for_ever() {
        let tries = Tries { unknown: 5, alone: 2, transient: 4 };
        assert_eq!(next(tries, &Retry::NotProcessed, ATTEMPTS_MAX), Next::AtOnce(tries));
    }

    #[test]
    fn five_unknown_attempts_are_resent_and_the_sixth_is_given_up() {
        let mut tries = Tries::default();
        for unknown in 1..=5 {
            let next = next(tries, &Retry::Unknown { alone: false }, ATTEMPTS_MAX);
            tries = Tries { unknown, ..tries };
            assert_eq!(next, Next::AtOnce(tries));
        }
        let next = next(tries, &Retry::Unknown { alone: false }, ATTEMPTS_MAX);
        assert_eq!(next, Next::Reject(Reason::AttemptsExhausted));
    }

    #[test]
    fn a_transient_error_waits_longer_each_time_and_ends_as_a_rejection() {
        let retry = Retry::Transient { reason: Reason::ProcessingError, after: None };
        let mut waits = Vec::new();
        let mut tries = Tries::default();
        let end = loop {
            match next(tries, &retry, ATTEMPTS_MAX) {
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
    fn a_wait_that_the_provider_asks_for_is_obeyed() {
        let after = Some(Duration::from_secs(77));
        let retry = Retry::Transient { reason: Reason::ProcessingError, after };
        let Next::After(_, wait) = next(Tries::default(), &retry, ATTEMPTS_MAX) else { panic!("not deferred") };
        assert_eq!(wait, Duration::from_secs(77));
    }
}
