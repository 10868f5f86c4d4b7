//! Notices that many notifications are put off: a line a minute tells what would fill the log row by row. Pure.

use std::time::Duration;

use crate::clock::Instant;

/// So many ...
const BURST: u64 = 50;
/// ... within this time are worth a line, and one is enough for as long.
const WINDOW: Duration = Duration::from_secs(60);

/// Notifications of one app that the provider put off lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Setbacks {
    since: Option<Instant>,
    count: u64,
    /// When the last line was written.
    told_at: Option<Instant>,
}

impl Setbacks {
    /// Rows are put off. Returns how many were in a burst that is to be told of now; since the last time, where the
    /// burst goes on.
    pub(super) fn put_off(&mut self, rows: u64, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now >= since + WINDOW && self.count < BURST) {
            self.since = Some(now);
            self.count = 0;
        }
        self.count += rows;
        if self.count < BURST || self.told_at.is_some_and(|told_at| now < told_at + WINDOW) {
            return None;
        }
        self.since = Some(now);
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::from_start(Duration::from_secs(secs))
    }

    #[test]
    fn many_are_told_once_a_minute_with_how_many_there_were_since() {
        let mut setbacks = Setbacks::default();
        assert_eq!(setbacks.put_off(49, at(0)), None);
        assert_eq!(setbacks.put_off(1, at(59)), Some(50));
        assert_eq!(setbacks.put_off(500, at(60)), None);
        assert_eq!(setbacks.put_off(2, at(119)), Some(502));
        assert_eq!(setbacks.put_off(60, at(120)), None);
    }

    #[test]
    fn some_now_and_then_are_nothing_unusual() {
        let mut setbacks = Setbacks::default();
        for minute in 0..100 {
            assert_eq!(setbacks.put_off(49, at(minute * 60)), None);
        }
    }
}
