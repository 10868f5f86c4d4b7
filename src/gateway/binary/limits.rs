//! How much may be on the wire without an outcome: isolation in rows, growth in bytes. Pure.

use std::time::Duration;

use crate::clock::Instant;

/// Most bytes of frames, or of the memory of their rows, without an outcome. With nothing settling before `settle_after` (5 s) this is also the bound
/// on an app's rate: 6.4 MB/s, some 45,000 notifications a second; beyond it the window is proven by sentinels.
pub(super) const WINDOW_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What is left of the window after an error packet: what follows a bad token is sent again, so it had better be
/// little while there may be more of them.
const WINDOW_BYTES_MIN: usize = 64 * 1024;
/// A smaller window doubles after each such span without an error.
const DOUBLING: Duration = Duration::from_millis(500);

/// The window in bytes: shrinks at an error packet, then grows with time on a quiet connection.
#[derive(Debug)]
pub(super) struct Growth {
    bytes: usize,
    doubles_at: Option<Instant>,
}

impl Growth {
    /// The whole window.
    pub(super) fn full() -> Self {
        Self { bytes: WINDOW_BYTES_MAX, doubles_at: None }
    }

    /// Most bytes without an outcome now.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it is not growing any more.
    pub(super) fn is_full(&self) -> bool {
        self.bytes == WINDOW_BYTES_MAX
    }

    /// An error packet came.
    pub(super) fn shrink(&mut self) {
        self.bytes = WINDOW_BYTES_MIN;
    }

    /// A connection stands: it grows from now on.
    pub(super) fn opened(&mut self, now: Instant) {
        self.doubles_at = (!self.is_full()).then_some(now + DOUBLING);
    }

    /// Grows by the time that has passed.
    pub(super) fn poll(&mut self, now: Instant) {
        while let Some(due) = self.doubles_at.filter(|due| *due <= now) {
            self.bytes = (self.bytes * 2).min(WINDOW_BYTES_MAX);
            self.doubles_at = (!self.is_full()).then_some(due + DOUBLING);
        }
    }

    /// When it grows next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.doubles_at
    }
}

/// Rows on the wire at which isolation ends: by then ten settlements have gone by without a close.
const ISOLATION_ROWS_MAX: u32 = 1024;

/// After a close without a word the culprit is sought: one row on the wire, then two, four, eight.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    /// Rows that may be on the wire; `None` when nothing is suspected.
    width: Option<u32>,
    /// Rows that settled since it last doubled.
    settled: u32,
}

impl Isolation {
    /// A row is suspected: begin again with a single one.
    pub(super) fn start(&mut self) {
        *self = Self { width: Some(1), settled: 0 };
    }

    /// Rows settled: the width doubles each time that as many as it have.
    pub(super) fn settled(&mut self, rows: u32) {
        self.settled = self.settled.saturating_add(rows);
        while let Some(width) = self.width.filter(|width| *width <= self.settled) {
            self.settled -= width;
            self.width = Some(width * 2).filter(|width| *width <= ISOLATION_ROWS_MAX);
        }
    }

    /// Most rows on the wire.
    pub(super) fn rows(&self) -> u32 {
        self.width.unwrap_or(u32::MAX)
    }
}

/// Rows in whose company a row may be sent that went unanswered this often before.
///
/// A bad row takes everything that is on the wire with it. At the default of five attempts: two go by in any company,
/// the third among at most [`COMPANY_LAST`] rows, and from then on the row is alone, so that good rows never run out of
/// attempts beside a bad one, and a bad one stands alone three times before its own run out.
pub(super) fn company(unknown: u8, max_attempts: u8) -> u32 {
    let alone_from = max_attempts.saturating_sub(2).max(1);
    match unknown {
        _ if unknown >= alone_from => 1,
        _ if unknown > 0 && unknown + 1 == alone_from => COMPANY_LAST,
        _ => u32::MAX,
    }
}

/// Company of the last attempt that is not made alone.
const COMPANY_LAST: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_window_shrinks_at_an_error_and_doubles_each_half_second_until_it_is_whole() {
        let mut growth = Growth::full();
        growth.opened(at(0));
        assert_eq!((growth.bytes(), growth.deadline()), (33_554_432, None));
        growth.shrink();
        growth.opened(at(1000));
        for (millis, bytes) in
            [(1499, 65_536), (1500, 131_072), (2600, 524_288), (5499, 16_777_216), (5500, 33_554_432)]
        {
            growth.poll(at(millis));
            assert_eq!(growth.bytes(), bytes, "at {millis} ms");
        }
        assert_eq!(growth.deadline(), None);
    }

    #[test]
    fn isolation_doubles_with_each_settlement_and_ends() {
        let mut isolation = Isolation::default();
        assert_eq!(isolation.rows(), u32::MAX);
        isolation.start();
        for width in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] {
            assert_eq!(isolation.rows(), width);
            isolation.settled(width - 1);
            assert_eq!(isolation.rows(), width);
            isolation.settled(1);
        }
        assert_eq!(isolation.rows(), u32::MAX);
        isolation.settled(u32::MAX);
    }

    #[test]
    fn company_narrows_with_each_unanswered_attempt() {
        let by_attempts = |max_attempts| [0, 1, 2, 3, 4, 5].map(|unknown| company(unknown, max_attempts));
        assert_eq!(by_attempts(5), [u32::MAX, u32::MAX, 16, 1, 1, 1]);
        assert_eq!(by_attempts(4), [u32::MAX, 16, 1, 1, 1, 1]);
        assert_eq!(by_attempts(1), [u32::MAX, 1, 1, 1, 1, 1]);
    }
}
