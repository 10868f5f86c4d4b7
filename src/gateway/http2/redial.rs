//! When a gateway makes its next connection. Pure.

use std::time::Duration;

use crate::clock::Instant;

/// Shortest time between two attempts: a provider may take more for abuse.
const SPACING: Duration = Duration::from_secs(1);
/// Longest wait after connections that came to nothing.
const BACK_OFF_MAX: Duration = Duration::from_secs(120);

/// Attempts to connect, and what came of them.
#[derive(Debug, Default)]
pub(super) struct Redial {
    not_before: Instant,
    failures: u32,
}

impl Redial {
    /// When the next attempt may begin.
    pub(super) fn not_before(&self) -> Instant {
        self.not_before
    }

    /// An attempt begins.
    pub(super) fn began(&mut self, now: Instant) {
        self.not_before = now + SPACING;
    }

    /// An attempt failed, or its connection delivered nothing: the next waits longer, up to two minutes.
    pub(super) fn failed(&mut self, now: Instant) {
        let wait = SPACING.saturating_mul(1 << self.failures.min(16)).min(BACK_OFF_MAX);
        self.failures += 1;
        self.not_before = self.not_before.max(now + wait);
    }

    /// A notification was delivered.
    pub(super) fn delivered(&mut self) {
        self.failures = 0;
    }

    /// Somebody else decides when to connect, and does now.
    pub(super) fn asked(&mut self, now: Instant) {
        self.failures = 0;
        self.not_before = self.not_before.min(now + SPACING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::from_start(Duration::from_secs(secs))
    }

    #[test]
    fn attempts_are_a_second_apart_and_failures_make_it_up_to_two_minutes() {
        let mut redial = Redial::default();
        assert_eq!(redial.not_before(), at(0));
        redial.began(at(10));
        assert_eq!(redial.not_before(), at(11));
        let waits: Vec<_> = (0..9)
            .map(|_| {
                let now = redial.not_before();
                redial.failed(now);
                redial.not_before().since(now).as_secs()
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        redial.asked(at(11));
        assert_eq!(redial.not_before(), at(12));
        redial.failed(at(12));
        assert_eq!(redial.not_before(), at(13));
    }
}
