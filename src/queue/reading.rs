//! What waits on disk, and how it comes into memory: in parts, one app at a time.

use std::sync::Arc;
use std::time::Duration;

use super::AppQueue;
use super::lanes::Due;
use super::waiting::Line;
use crate::clock::Instant;
use crate::domain::batch::{BatchId, Span, Tries};
use crate::domain::time::Timestamp;
use crate::store::{StoreError, Stored};

/// Bytes of batches that are read from disk at a time: a few milliseconds' work.
const LOAD_BYTES: usize = 1 << 20;
/// The least of them that is worth a query.
const LOAD_BYTES_MIN: usize = 64 << 10;
/// Reading is tried again so much later after it failed.
const LOAD_RETRY: Duration = Duration::from_secs(1);

impl AppQueue {
    /// Whether it is time to read on: something is due on disk, and there is room for it in memory, or nothing in memory
    /// that could be sent.
    pub fn wants_load(&self, now: Instant, may_send: bool) -> bool {
        let state = self.state();
        if state.load_failed.as_ref().is_some_and(|(retry_at, _)| now < *retry_at) {
            return false;
        }
        let has_room = self.0.memory.room() >= LOAD_BYTES_MIN || (may_send && state.waiting.is_line_empty(Line::Ready));
        has_room && state.is_due_on_disk(now)
    }

    /// Reads the next part of what waits on disk, if that is still wanted once all other apps have had their turn. May be
    /// dropped at any time; nothing is lost. An error is kept, and it is tried again after a second.
    pub async fn load(&self, may_send: bool) {
        let shared = &self.0.shared;
        let _turn = shared.reading.lock().await;
        if !self.wants_load(shared.clock.now(), may_send) {
            return;
        }
        let (now, wall) = (shared.clock.now(), shared.clock.timestamp());
        let due = self.state().deferred.next().filter(|due| due.at <= now);
        let loaded = match due {
            Some(due) => self.load_due(due.stored.max(wall)).await,
            None => self.load_fresh().await,
        };
        let mut state = self.state();
        let before = state.load_failed.take().map(|(_, before)| before);
        if let Err(error) = loaded {
            if before.as_ref() != Some(&error) {
                tracing::error!(app = %self.0.app, "what waits cannot be read: {error}");
            }
            state.load_failed = Some((shared.clock.now() + LOAD_RETRY, error));
        }
        drop(state);
        self.0.changed.notify_one();
    }

    /// Hands out the next part of everything up to a batch, and everything that was tried, due or not; empty when there
    /// is no more. For an app whose rows can no longer be sent.
    pub async fn lease_all(&self, up_to: BatchId) -> Result<Vec<Span>, StoreError> {
        loop {
            let spans = self.state().waiting.lease_if(|span| span.id <= up_to || span.tries != Tries::default());
            if !spans.is_empty() {
                return Ok(spans);
            }
            let (has_deferred, has_fresh) = {
                let state = self.state();
                (state.deferred.next().is_some(), state.fresh.has_on_disk(up_to))
            };
            match (has_deferred, has_fresh) {
                (true, _) => self.load_due(Timestamp::from_millis(i64::MAX)).await?,
                (false, true) => self.load_fresh().await?,
                (false, false) => {
                    self.state().deferred.restart();
                    return Ok(Vec::new());
                }
            }
        }
    }

    /// Hands out the next part of what was never tried, up to a batch; empty when there is no more.
    pub async fn lease_until(&self, last: BatchId) -> Result<Vec<Span>, StoreError> {
        loop {
            let spans = self.state().waiting.lease_if(|span| span.id <= last);
            let has_more = self.state().fresh.has_on_disk(last);
            if !spans.is_empty() || !has_more {
                return Ok(spans);
            }
            self.load_fresh().await?;
        }
    }

    async fn load_fresh(&self) -> Result<(), StoreError> {
        let (after, newest) = {
            let state = self.state();
            (state.fresh.loaded_to(), state.fresh.newest())
        };
        let bytes_max = self.0.memory.room().clamp(LOAD_BYTES_MIN, LOAD_BYTES);
        let stored = self.0.shared.store.load(&self.0.app, after, bytes_max).await?;
        let at_end = memory_of(&stored) < bytes_max;
        let mut state = self.state();
        let mut spans = Vec::with_capacity(stored.len());
        for one in stored {
            if state.fresh.load(&one) {
                spans.extend(spans_of(one));
            }
        }
        state.fresh.loaded(at_end.then_some(newest));
        state.waiting.append(spans);
        Ok(())
    }

    async fn load_due(&self, until: Timestamp) -> Result<(), StoreError> {
        let shared = &self.0.shared;
        let after = {
            let mut state = self.state();
            state.deferred.begin(until);
            state.deferred.read_to()
        };
        let bytes_max = self.0.memory.room().clamp(LOAD_BYTES_MIN, LOAD_BYTES);
        let due = shared.store.load_due(&self.0.app, after, until, bytes_max).await?;
        let next = due.next.map(|stored| Due::of(stored, shared.clock.now(), shared.clock.timestamp()));
        let mut state = self.state();
        state.deferred.loaded(&due.stored, next);
        state.waiting.prepend(due.stored.into_iter().flat_map(spans_of).collect());
        Ok(())
    }
}

fn memory_of(stored: &[Stored]) -> usize {
    stored.iter().map(|stored| stored.batch.memory()).sum()
}

fn spans_of(stored: Stored) -> impl Iterator<Item = Span> {
    let Stored { id, batch, rows, tries, .. } = stored;
    rows.into_iter().map(move |rows| Span { id, batch: Arc::clone(&batch), rows, tries })
}
