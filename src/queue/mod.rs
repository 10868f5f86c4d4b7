//! What waits, what is due, who holds it. One queue per app, over the store and under common bounds.
//!
//! Rows travel as [`Span`]s: [`AppQueue::accept`] puts a batch in, [`AppQueue::lease`] hands spans to the app's
//! worker, which gives each of them back exactly once: [`AppQueue::settle`] (done), [`AppQueue::give_back`] (to the
//! front, in order) or [`AppQueue::defer`] (due later). Batches whose callers wait for the outcome stand in a line of
//! their own before all others ([`AppQueue::accept_express`]). Waking the worker is level-triggered: a wake-up cannot
//! be refused or lost.
//!
//! Every batch is in the store; those at the head of the queue are in memory too, as many as the bound allows. The
//! worker reads on ([`AppQueue::load`]) when [`AppQueue::wants_load`] says so. After a start everything is on disk, so
//! that recovery is nothing but reading on.

mod bounds;
mod intake;
mod lanes;
mod reading;
pub mod retry;
mod waiting;
mod wall;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;

use self::bounds::{Memory, Share};
use self::lanes::{Deferred, Fresh};
use self::waiting::{Line, Waiting};
use self::wall::WallSteps;
use crate::clock::{Clock, Instant};
use crate::domain::app::AppId;
use crate::domain::batch::{BatchId, Span};
use crate::domain::time::Timestamp;
use crate::store::{Backlog, Store, StoreError};

/// Bounds of all queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Notifications that may wait for one app.
    pub queued_max: u64,
    /// Bytes of memory for the waiting batches of all apps. Beyond it they wait on disk only; without a disk no more
    /// are accepted.
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
    /// The waiting batches of the app, or of all apps, take as much memory as they may, and there is no disk for them.
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
pub struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    settings: Settings,
    clock: Clock,
    memory: Arc<Memory>,
    wall_steps: Mutex<WallSteps>,
    /// Held by the one queue that reads: together they would take memory that each of them found free.
    reading: tokio::sync::Mutex<()>,
    /// What was found on disk at the start, until the queue it belongs to is opened.
    recovered: Mutex<HashMap<AppId, Backlog>>,
}

/// The queue of one app. Cheap to clone; clones are the same queue.
#[derive(Clone, Debug)]
pub struct AppQueue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    app: AppId,
    shared: Arc<Shared>,
    memory: Arc<Share>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    closed: bool,
    /// Rows that are being committed; for a moment some of them wait already.
    committing: u64,
    waiting: Waiting,
    fresh: Fresh,
    deferred: Deferred,
    /// When reading is tried again after it failed, and why it failed.
    load_failed: Option<(Instant, StoreError)>,
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
    /// Those of the waiting ones that are tried again at a time.
    pub deferred: u64,
    /// When the first of those is due.
    pub next_due: Option<Timestamp>,
    /// When the oldest waiting row was accepted.
    pub oldest: Option<Timestamp>,
}

impl Queue {
    /// Queues over a store.
    pub fn new(store: Store, settings: Settings, clock: Clock) -> Self {
        let memory = Arc::new(Memory::new(settings.memory_max));
        let (wall_steps, reading, recovered) = Default::default();
        Self(Arc::new(Shared { store, settings, clock, memory, wall_steps, reading, recovered }))
    }

    /// Finds out what waits on disk, before the first queue is opened; the apps that have something.
    pub async fn recover(&self) -> Result<Vec<AppId>, StoreError> {
        let backlogs = self.0.store.backlogs().await?;
        let apps = backlogs.iter().map(|backlog| backlog.app.clone()).collect();
        *lock(&self.0.recovered) = backlogs.into_iter().map(|backlog| (backlog.app.clone(), backlog)).collect();
        Ok(apps)
    }

    /// The queue of an app, with what was found on disk for it.
    pub fn open(&self, app: AppId) -> AppQueue {
        let shared = Arc::clone(&self.0);
        let backlog = lock(&shared.recovered).remove(&app);
        let memory = shared.memory.share();
        let state = State {
            closed: false,
            committing: 0,
            waiting: Waiting::new(shared.settings.max_age, Arc::clone(&memory)),
            fresh: backlog.as_ref().map(Fresh::new).unwrap_or_default(),
            deferred: Deferred::new(backlog.as_ref(), shared.clock.now(), shared.clock.timestamp()),
            load_failed: None,
        };
        AppQueue(Arc::new(Inner { app, shared, memory, state: Mutex::new(state), changed: Notify::new() }))
    }
}

impl AppQueue {
    /// Hands out the next rows, at most `rows_max`; `None` when none is in memory. The express line is not among them.
    pub fn lease(&self, rows_max: u32, now: Instant, wall: Timestamp) -> Option<Leased> {
        let wall = self.may_expire(now, wall).then_some(wall);
        self.state().waiting.lease(Line::Ready, rows_max, wall)
    }

    /// Hands out the next rows of the express line, at most `rows_max`; `None` when none waits there.
    pub fn lease_express(&self, rows_max: u32, now: Instant, wall: Timestamp) -> Option<Leased> {
        let wall = self.may_expire(now, wall).then_some(wall);
        self.state().waiting.lease(Line::Express, rows_max, wall)
    }

    /// Whether rows wait in the express line.
    pub fn has_express(&self) -> bool {
        !self.state().waiting.is_line_empty(Line::Express)
    }

    /// The rows of the express line wait with the others, before them.
    pub fn demote_express(&self) {
        self.state().waiting.demote_express();
        self.0.changed.notify_one();
    }

    /// Hands out the next rows if they waited too long.
    pub fn lease_expired(&self, now: Instant, wall: Timestamp) -> Option<Span> {
        if !self.may_expire(now, wall) {
            return None;
        }
        self.state().waiting.lease_expired(wall)
    }

    /// Takes spans back to the front of their line, in the order given.
    pub fn give_back(&self, spans: Vec<Span>) {
        self.state().waiting.give_back(spans);
        self.0.changed.notify_one();
    }

    /// Queues readmitted rows before all others, in the order given.
    pub fn prepend(&self, readmitted: Vec<Span>) {
        self.state().waiting.prepend(readmitted);
        self.0.changed.notify_one();
    }

    /// Takes a span back that is due after a while. An error leaves it leased.
    pub async fn defer(&self, span: &Span, wait: Duration) -> Result<(), StoreError> {
        let shared = &self.0.shared;
        let due = self.state().deferred.due(wait, shared.clock.now(), shared.clock.timestamp());
        shared.store.defer(&self.0.app, span, due.stored).await?;
        let mut state = self.state();
        state.waiting.remove(span);
        state.deferred.add(due, span);
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }

    /// A leased span is done for good.
    pub fn settle(&self, span: &Span) {
        self.0.shared.store.settle(span);
        self.state().waiting.remove(span);
    }

    /// A leased span is done for good, and the store knows it already.
    pub fn forget(&self, span: &Span) {
        self.state().waiting.remove(span);
    }

    /// The last batch that was accepted.
    pub fn newest(&self) -> BatchId {
        self.state().fresh.newest()
    }

    /// Accepts no more.
    pub fn close(&self) {
        self.state().closed = true;
        self.0.changed.notify_one();
    }

    /// Whether rows are due: in memory, or to be read.
    pub fn is_ready(&self, now: Instant) -> bool {
        let state = self.state();
        !state.waiting.is_empty() || state.is_due_on_disk(now)
    }

    /// Whether rows can be leased at once.
    pub fn is_in_memory(&self) -> bool {
        !self.state().waiting.is_empty()
    }

    /// When to look again although nothing changes: rows become due, or reading is tried again.
    pub fn next_look(&self) -> Option<Instant> {
        let state = self.state();
        let due = state.deferred.next().map(|due| due.at);
        match &state.load_failed {
            Some((retry_at, _)) => Some(*retry_at),
            None => due,
        }
    }

    /// Whose queue it is.
    pub fn app(&self) -> &AppId {
        &self.0.app
    }

    /// Whether what waits outlives the process.
    pub fn is_durable(&self) -> bool {
        self.0.shared.store.is_durable()
    }

    /// Why the next rows cannot be read, or what is sent cannot be settled.
    pub fn trouble(&self) -> Option<StoreError> {
        let load_failed = self.state().load_failed.as_ref().map(|(_, error)| error.clone());
        load_failed.or_else(|| self.0.shared.store.trouble())
    }

    /// Resolves after a change: at once if there was one since the last time. For the one worker of the app.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// How much is in it.
    pub fn depth(&self) -> Depth {
        let state = self.state();
        let oldest = [state.waiting.oldest(), state.fresh.oldest(), state.deferred.oldest()];
        Depth {
            waiting: state.waiting_rows(),
            leased: state.waiting.leased(),
            deferred: state.deferred.rows(),
            next_due: state.deferred.next().map(|due| due.stored),
            oldest: oldest.into_iter().flatten().min(),
        }
    }

    fn may_expire(&self, now: Instant, wall: Timestamp) -> bool {
        lock(&self.0.shared.wall_steps).may_expire(now, wall)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

impl State {
    /// Rows that wait, in memory and on disk.
    fn waiting_rows(&self) -> u64 {
        self.waiting.waiting() + self.fresh.rows() + self.deferred.rows()
    }

    fn is_due_on_disk(&self, now: Instant) -> bool {
        self.fresh.is_on_disk() || self.deferred.next().is_some_and(|due| due.at <= now)
    }
}

/// A panic elsewhere leaves what is locked whole: no method panics between two changes that belong together.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
