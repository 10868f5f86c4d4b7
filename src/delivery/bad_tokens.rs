//! Notices that many tokens in a short time are bad: one wrong setting makes every token look so. Pure.

use std::time::Duration;

use crate::clock::Instant;
use crate::domain::apns::ApnsReason;
use crate::domain::outcome::Reason;

/// So many bad tokens ...
const BURST: u64 = 50;
/// ... within this time are worth a warning,
const WINDOW: Duration = Duration::from_secs(60);
/// which is not repeated before.
const QUIET: Duration = Duration::from_secs(10 * 60);

/// Bad tokens of one app lately.
#[derive(Clone, Debug, Default)]
pub(super) struct BadTokens {
    since: Option<Instant>,
    count: u64,
    quiet_until: Option<Instant>,
}

impl BadTokens {
    /// Rows were rejected for a reason. Returns how many bad tokens there were in a burst that is to be warned of now.
    pub(super) fn rejected(&mut self, reason: Reason, rows: u64, now: Instant) -> Option<u64> {
        if !matches!(reason, Reason::InvalidToken | Reason::Apns(ApnsReason::BadDeviceToken)) {
            return None;
        }
        if self.since.is_none_or(|since| now >= since + WINDOW) {
            self.since = Some(now);
            self.count = 0;
        }
        self.count += rows;
        if self.count < BURST || self.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        self.quiet_until = Some(now + QUIET);
        Some(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Reason = Reason::Apns(ApnsReason::BadDeviceToken);

    fn at(secs: u64) -> Instant {
        Instant::from_start(Duration::from_secs(secs))
    }

    #[test]
    fn fifty_bad_tokens_within_a_minute_are_warned_of_once_in_ten_minutes() {
        let mut bad = BadTokens::default();
        assert_eq!(bad.rejected(BAD, 49, at(0)), None);
        assert_eq!(bad.rejected(BAD, 1, at(59)), Some(50));
        assert_eq!(bad.rejected(BAD, 500, at(60)), None);
        assert_eq!(bad.rejected(BAD, 50, at(700)), Some(50));
    }

    #[test]
    fn bad_tokens_now_and_then_are_nothing_unusual() {
        let mut bad = BadTokens::default();
        for minute in 0..100 {
            assert_eq!(bad.rejected(Reason::InvalidToken, 49, at(minute * 60)), None);
        }
    }

    #[test]
    fn other_reasons_do_not_count() {
        let mut bad = BadTokens::default();
        assert_eq!(bad.rejected(Reason::Apns(ApnsReason::Unregistered), 1000, at(0)), None);
        assert_eq!(bad.rejected(Reason::Apns(ApnsReason::DeviceTokenNotForTopic), 1000, at(0)), None);
    }
}
