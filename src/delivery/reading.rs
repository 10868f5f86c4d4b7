//! A read of what waits on disk, beside everything else that a worker does.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::clock::Instant;
use crate::queue::AppQueue;

/// At most one read at a time. Dropped, it leaves the queue as it was.
#[derive(Default)]
pub(super) struct Reading(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Reading {
    /// Begins a read if the queue wants one.
    pub(super) fn begin(&mut self, queue: &AppQueue, now: Instant, may_send: bool) {
        if self.0.is_none() && queue.wants_load(now, may_send) {
            let queue = queue.clone();
            self.0 = Some(Box::pin(async move { queue.load(may_send).await }));
        }
    }

    /// Resolves when the read is over; never while there is none.
    pub(super) async fn finished(&mut self) {
        match &mut self.0 {
            Some(read) => read.await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }

    /// Gives up the read.
    pub(super) fn cancel(&mut self) {
        self.0 = None;
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Reading").field(&self.0.is_some()).finish()
    }
}
