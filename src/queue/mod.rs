//! What waits, what is due, who holds it. One queue per app, under common bounds.
//!
//! Rows travel as [`Span`]s: [`AppQueue::accept`] puts a batch in, [`AppQueue::lease`] hands spans to the app's worker,
//! which gives each of them back exactly once: [`AppQueue::settle`] (done), [`AppQueue::give_back`] (to the front, in
//! order) or [`AppQueue::defer`] (due later). Waking the worker is level-triggered: a wake-up cannot be refused or lost.

mod bounds;
pub mod retry;
mod waiting;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;

use self::bounds::{Memory, Share};
use self::waiting::Waiting;
use crate::clock::Instant;
use crate::domain::app::AppId;
use crate::domain::batch::{Batch, BatchId, Span};
use crate::domain::time::Timestamp;
use crate::store::{Commit, Store, StoreError};

/// Bounds of all queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Notifications that may wait for one app.
    pub queued_max: u64,
    /// Bytes of memory for the waiting batches of all apps.
    pub memory_max: usize,
    /// How long a notification may wait, whatever its own expiration.
    pub max_age: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { queued_max: 10_000_000, memory_max: 32 << 20, max_age: Duration::from_secs(24 * 60 * 60) }
    }
}

/// Why a batch was not accepted. Nothing of it was queued.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QueueError {
    /// The app has as many notifications waiting as it may.
    #[error(
        "the queue of this app is full: {waiting} notifications wait, {queued_max} may (limits.queued); try again later"
    )]
    Full {
        /// How many wait.
        waiting: u64,
        /// How many may.
        queued_max: u64,
    },
    /// The waiting batches of the app, or of all apps, take as much memory as they may.
    #[error(
        "the waiting notifications take as much of the {0} bytes of memory as they may (limits.memory); try again later"
    )]
    Memory(usize),
    /// The app was deprovisioned meanwhile.
    #[error("the app was deprovisioned")]
    Closed,
    /// The store refused it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes queues that share the same bounds and store.
#[derive(Clone, Debug)]
pub struct Queue {
    store: Store,
    settings: Settings,
    memory: Arc<Memory>,
}

/// The queue of one app. Cheap to clone; clones are the same queue.
#[derive(Clone, Debug)]
pub struct AppQueue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    app: AppId,
    store: Store,
    settings: Settings,
    memory: Arc<Share>,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

/// What a lease hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leased {
    /// To be sent.
    Send(Span),
    /// Waited too long: to be settled as expired.
    Expired(Span),
}

/// How much is in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Rows that wait, those with a due time included.
    pub waiting: u64,
    /// Rows that the worker holds.
    pub leased: u64,
    /// When the oldest waiting row was accepted.
    pub oldest: Option<Timestamp>,
}

impl Queue {
    /// Queues over a store.
    pub fn new(store: Store, settings: Settings) -> Self {
        let memory = Arc::new(Memory::new(settings.memory_max));
        Self { store, settings, memory }
    }

    /// An empty queue for an app.
    pub fn open(&self, app: AppId) -> AppQueue {
        AppQueue(Arc::new(Inner {
            app,
            store: self.store.clone(),
            settings: self.settings.clone(),
            memory: self.memory.share(),
            waiting: Mutex::new(Waiting::new(self.settings.max_age)),
            changed: Notify::new(),
        }))
    }
}

impl AppQueue {
    /// Makes a batch durable and queues it behind the others. When this returns, it is accepted; cancelling before
    /// leaves nothing behind but, at worst, a batch that is delivered without an answer.
    pub async fn accept(&self, batch: Batch) -> Result<BatchId, QueueError> {
        let rows = u64::from(batch.rows());
        let reserved = self.0.memory.reserve(batch.memory()).ok_or(QueueError::Memory(self.0.settings.memory_max))?;
        self.check_room(rows)?;
        let batch = Arc::new(batch);
        let Commit::Accepted(id) = self.0.store.commit(&self.0.app, &batch, None).await? else {
            return Err(QueueError::Closed);
        };
        if !self.waiting().push(id, batch, reserved) {
            return Err(QueueError::Closed);
        }
        self.0.changed.notify_one();
        Ok(id)
    }

    /// Hands out the next rows, at most `rows_max`; `None` when nothing is due.
    pub fn lease(&self, rows_max: u32, now: Instant, wall: Timestamp) -> Option<Leased> {
        self.waiting().lease(rows_max, now, wall)
    }

    /// Takes spans back to the front, in the order given.
    pub fn give_back(&self, spans: Vec<Span>) {
        self.waiting().give_back(spans);
        self.0.changed.notify_one();
    }

    /// Takes rows back to the front that were settled too early, in the order given.
    pub fn readmit(&self, spans: Vec<Span>) {
        if !spans.is_empty() {
            self.waiting().readmit(spans);
            self.0.changed.notify_one();
        }
    }

    /// Takes a span back for later.
    pub fn defer(&self, span: Span, due: Instant) {
        self.waiting().defer(span, due);
        self.0.changed.notify_one();
    }

    /// A leased span is done for good.
    pub fn settle(&self, span: &Span) {
        self.0.store.settle(span);
        self.waiting().settle(span);
    }

    /// Hands out everything that waits, due or not, without limit: for an app whose rows can no longer be sent.
    pub fn lease_all(&self) -> Vec<Span> {
        self.waiting().lease_all()
    }

    /// Accepts no more.
    pub fn close(&self) {
        self.waiting().close();
        self.0.changed.notify_one();
    }

    /// Whether something is due now.
    pub fn is_ready(&self, now: Instant) -> bool {
        self.waiting().is_ready(now)
    }

    /// When the next deferred span is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting().next_due()
    }

    /// Resolves after a change: at once if there was one since the last time. For the one worker of the app.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// How much is in it.
    pub fn depth(&self) -> Depth {
        self.waiting().depth()
    }

    fn check_room(&self, rows: u64) -> Result<(), QueueError> {
        let depth = self.depth();
        let waiting = depth.waiting + depth.leased;
        let queued_max = self.0.settings.queued_max;
        if waiting + rows > queued_max {
            return Err(QueueError::Full { waiting, queued_max });
        }
        Ok(())
    }

    /// A panic elsewhere leaves the queue whole: no method panics between two changes that belong together.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
