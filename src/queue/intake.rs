//! How a batch gets into its app's queue: durable first, then announced to the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bounds::Reserved;
use super::lanes::Place;
use super::waiting::Line;
use super::{AppQueue, QueueError};
use crate::domain::batch::{Batch, BatchId, Span, Tries};
use crate::domain::feedback::Rejection;
use crate::domain::outcome::Reason;
use crate::store::{Commit, RequestKey, StoreError};

/// Memory that the express line of an app may take although the bound is reached.
pub(super) const EXPRESS_BYTES: usize = 1 << 20;
impl AppQueue {
    /// Makes a batch durable and queues it behind the others. When this returns [`Commit::Accepted`], it is accepted;
    /// cancelling before leaves nothing behind but, at worst, a batch that is delivered without an answer.
    pub async fn accept(&self, batch: Batch, request: Option<RequestKey>) -> Result<Commit, QueueError> {
        self.accept_in(Line::Ready, batch, request).await
    }

    /// As [`AppQueue::accept`], but the batch waits in the express line, which is handed out by
    /// [`AppQueue::lease_express`]. That line is in memory only: on disk, and so after a crash, it is a batch like any
    /// other. Where the memory is full it takes a little more, and beyond that the batch waits behind the others.
    pub async fn accept_express(&self, batch: Batch, request: Option<RequestKey>) -> Result<Commit, QueueError> {
        self.accept_in(Line::Express, batch, request).await
    }

    pub(super) async fn accept_in(
        &self,
        line: Line,
        batch: Batch,
        request: Option<RequestKey>,
    ) -> Result<Commit, QueueError> {
        let shared = &self.0.shared;
        let _committing = Committing::begin(self, u64::from(batch.rows()))?;
        let reserved = self.0.memory.reserve(batch.memory());
        if reserved.is_none() && !shared.store.is_durable() {
            return Err(QueueError::Memory(shared.settings.memory_max));
        }
        let (queue, batch) = (self.clone(), Arc::new(batch));
        let is_late = Arc::new(AtomicBool::new(false));
        let announce = {
            let (batch, is_late) = (Arc::clone(&batch), Arc::clone(&is_late));
            move |id| is_late.store(!queue.announce(line, id, batch, reserved), Ordering::Release)
        };
        let commit = shared.store.commit_then(&self.0.app, &batch, request, announce).await?;
        if let Commit::Accepted(id) = commit
            && is_late.load(Ordering::Acquire)
        {
            self.reject_late(Span { id, rows: 0..batch.rows(), batch, tries: Tries::default() }).await?;
        }
        Ok(commit)
    }

    /// The app was deprovisioned while a batch was being committed: it is accepted, and shares the fate of what waited.
    pub(super) async fn reject_late(&self, span: Span) -> Result<(), StoreError> {
        let timestamp = self.0.shared.clock.timestamp();
        let rejections = Rejection::of_span(&self.0.app, &span, Reason::Deprovisioned, timestamp).collect();
        self.0.shared.store.reject(rejections, std::slice::from_ref(&span)).await
    }

    /// Queues a batch that is durable now; whether the queue still takes some.
    pub(super) fn announce(&self, line: Line, id: BatchId, batch: Arc<Batch>, reserved: Option<Reserved>) -> bool {
        let mut state = self.state();
        if state.closed {
            return false;
        }
        if batch.rows() == 0 {
            return true;
        }
        let is_express = line == Line::Express && (reserved.is_some() || state.waiting.express_bytes() < EXPRESS_BYTES);
        if is_express && state.fresh.announce_kept(id) {
            state.waiting.push_express(id, batch, reserved);
        } else if is_express {
            // A read under way brought it first.
            state.waiting.promote(id);
        } else {
            match (state.fresh.announce(id, &batch, reserved.is_some()), reserved) {
                (Place::Memory, Some(reserved)) => state.waiting.push(id, batch, reserved),
                (Place::Memory | Place::Disk | Place::Loaded, _) => (),
            }
        }
        drop(state);
        self.0.changed.notify_one();
        true
    }

    /// Makes rows durable again that were settled too early, in a batch of their own. They are to be queued by
    /// [`AppQueue::prepend`]; `None` when they are in memory already.
    pub async fn readmit(&self, span: &Span) -> Result<Option<Span>, StoreError> {
        let kept = Arc::new(AtomicBool::new(false));
        let announce = {
            let (queue, kept) = (self.clone(), Arc::clone(&kept));
            move |id| kept.store(queue.state().fresh.announce_kept(id), Ordering::Release)
        };
        let span = self.0.shared.store.readmit_then(&self.0.app, span, announce).await?;
        Ok(kept.load(Ordering::Acquire).then_some(span))
    }
}

/// Rows that are being committed, until this is dropped.
struct Committing<'a> {
    queue: &'a AppQueue,
    rows: u64,
}

impl<'a> Committing<'a> {
    /// Counts rows in, if the queue may take so many.
    fn begin(queue: &'a AppQueue, rows: u64) -> Result<Self, QueueError> {
        let queued_max = queue.0.shared.settings.queued_max;
        let mut state = queue.state();
        if state.closed {
            return Err(QueueError::Closed);
        }
        let waiting = state.waiting_rows() + state.waiting.leased() + state.committing;
        if waiting + rows > queued_max {
            return Err(QueueError::Full { waiting, queued_max });
        }
        state.committing += rows;
        drop(state);
        Ok(Self { queue, rows })
    }
}

impl Drop for Committing<'_> {
    fn drop(&mut self) {
        self.queue.state().committing -= self.rows;
    }
}
