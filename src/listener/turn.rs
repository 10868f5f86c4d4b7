//! Requests that wait for their turn: nothing was done for them yet, and they may be given up.

use std::future::Future;

use super::progress::SharedProgress;

/// Found among the extensions of every request that a listener serves.
#[derive(Clone, Debug)]
pub struct Turn {
    progress: SharedProgress,
    request: u64,
}

impl Turn {
    pub(super) fn new(progress: SharedProgress, request: u64) -> Self {
        Self { progress, request }
    }

    /// Waits for something without which the request cannot begin. Meanwhile its connection counts as slow: it may be
    /// closed in favour of another one.
    pub async fn wait<T>(&self, wait: impl Future<Output = T>) -> T {
        let _mark = Mark::new(self);
        wait.await
    }
}

/// The request waits as long as this lives.
struct Mark<'a>(&'a Turn);

impl<'a> Mark<'a> {
    fn new(turn: &'a Turn) -> Self {
        turn.progress.lock().waits(turn.request, true);
        Self(turn)
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.0.progress.lock().waits(self.0.request, false);
    }
}
