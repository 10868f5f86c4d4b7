//! What the connections of one app come to: how many there are, what they allow, why they end. Counted by the gateways,
//! whichever of an app's they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::CloseCause;
use crate::telemetry::metrics::tally::Tally;

/// The word for a connection that is replaced although the gateway did not close it.
pub(super) const REPLACED: &str = "replaced";

/// Why connections end, in words: those of [`CloseCause::word`], and one for those that are [`REPLACED`].
const WORDS: [&str; 9] =
    ["unreachable", "untrusted", "refused", "error", "shutdown", "silent", "dead", "retired", REPLACED];

/// Counts the connections of one app.
#[derive(Debug)]
pub struct Meter {
    opened: AtomicU64,
    open: AtomicU64,
    streams: AtomicU64,
    ended: Tally,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            opened: AtomicU64::new(0),
            open: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            ended: Tally::new(&WORDS),
        }
    }
}

impl Meter {
    /// Connections that were made since the daemon started.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Connections that stand.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// HTTP/2: requests that those which take some allow at the same time.
    pub fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    /// Why connections ended, or attempts to make one, and how many of them, since the daemon started.
    pub fn ended(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.ended.counts()
    }

    /// Counts the end of a connection, or of an attempt to make one.
    pub(super) fn count_end(&self, word: &str) {
        self.ended.add(word);
    }
}

impl CloseCause {
    /// One word for it.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Untrusted(_) => "untrusted",
            Self::Refused(_) => "refused",
            Self::Error(_) => "error",
            Self::Shutdown => "shutdown",
            Self::Silent { .. } => "silent",
            Self::Dead(_) => "dead",
            Self::Retired { .. } => "retired",
        }
    }
}

/// A connection that stands, as long as this lives.
#[derive(Debug)]
pub(super) struct Metered {
    meter: Arc<Meter>,
    streams: u32,
}

impl Metered {
    /// A connection that stands from now on.
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        meter.opened.fetch_add(1, Ordering::Relaxed);
        meter.open.fetch_add(1, Ordering::Relaxed);
        Self { meter, streams: 0 }
    }

    /// It allows so many requests at the same time from now on.
    pub(super) fn set_streams(&mut self, streams: u32) {
        if streams != self.streams {
            // What one takes off, another may have added: the sum never wraps as a whole.
            self.meter.streams.fetch_add(u64::from(streams), Ordering::Relaxed);
            self.meter.streams.fetch_sub(u64::from(self.streams), Ordering::Relaxed);
            self.streams = streams;
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.set_streams(0);
        self.meter.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::Reason;

    #[test]
    fn a_connection_counts_as_long_as_it_stands() {
        let meter = Arc::new(Meter::default());
        let (mut one, mut other) = (Metered::new(Arc::clone(&meter)), Metered::new(Arc::clone(&meter)));
        one.set_streams(1000);
        other.set_streams(500);
        one.set_streams(1);
        assert_eq!((meter.opened(), meter.open(), meter.streams()), (2, 2, 501));
        drop(one);
        assert_eq!((meter.opened(), meter.open(), meter.streams()), (2, 1, 500));
    }

    #[test]
    fn every_cause_has_its_word() {
        let causes = [
            CloseCause::Unreachable(String::new()),
            CloseCause::Untrusted(String::new()),
            CloseCause::Refused(String::new()),
            CloseCause::Error(Reason::InvalidToken),
            CloseCause::Shutdown,
            CloseCause::Silent { settled: false },
            CloseCause::Dead(String::new()),
            CloseCause::Retired { proven: true },
        ];
        let words: Vec<&str> = causes.iter().map(CloseCause::word).chain([REPLACED]).collect();
        assert_eq!(words, WORDS);
    }
}
