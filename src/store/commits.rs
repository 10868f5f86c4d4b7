//! What the commits of the store come to: how many calls and settlements share one, and how long it takes.

use crate::telemetry::metrics::histogram::Histogram;

/// Upper bounds of what one transaction takes together; the mailbox hands out 1,024 of each lane at most.
const REQUESTS: [f64; 12] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0];
/// Upper bounds of a transaction's time, in seconds: a sync takes 0.1 ms on a good SSD and 10 ms on a disk.
const SECONDS: [f64; 13] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// The commits since the store was opened; none where it is in memory.
#[derive(Debug)]
pub struct Commits {
    /// Requests of callers and workers that shared a transaction, which has one sync.
    pub requests: Histogram,
    /// Seconds from the begin of a transaction to its end, the sync included; also of those that failed.
    pub seconds: Histogram,
}

impl Default for Commits {
    fn default() -> Self {
        Self { requests: Histogram::new(&REQUESTS), seconds: Histogram::new(&SECONDS) }
    }
}
