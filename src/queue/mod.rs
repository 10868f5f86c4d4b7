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
mod lanes;
pub mod retry;
mod waiting;
mod wall;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;

use self::bounds::{Memory, Reserved, Share};
use self::lanes::{Deferred, Due, Fresh, Place};
use self::waiting::{Line, Waiting};
use self::wall::WallSteps;
use crate::clock::{Clock, Instant};
use crate::domain::app::AppId;
use crate::domain::batch::{Batch, BatchId, Span, Tries};
use crate::domain::feedback::Rejection;
use crate::domain::outcome::Reason;
use crate::domain::time::Timestamp;
use crate::store::{Backlog, Commit, RequestKey, Store, StoreError, Stored};

/// Bytes of batches that are read from disk at a time: a few milliseconds' work.
const LOAD_BYTES: usize = 1 << 20;
/// The least of them that is worth a query.
const LOAD_BYTES_MIN: usize = 64 << 10;
/// Memory that the express line of an app may take although the bound is reached.
const EXPRESS_BYTES: usize = 1 << 20;
/// Reading is tried again so much later after it failed.
const LOAD_RETRY: Duration = Duration::from_secs(1);

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

    async fn accept_in(&self, line: Line, batch: Batch, request: Option<RequestKey>) -> Result<Commit, QueueError> {
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
    async fn reject_late(&self, span: Span) -> Result<(), StoreError> {
        let timestamp = self.0.shared.clock.timestamp();
        let rejections = Rejection::of_span(&self.0.app, &span, Reason::Deprovisioned, timestamp).collect();
        self.0.shared.store.reject(rejections, std::slice::from_ref(&span)).await
    }

    /// Queues a batch that is durable now; whether the queue still takes some.
    fn announce(&self, line: Line, id: BatchId, batch: Arc<Batch>, reserved: Option<Reserved>) -> bool {
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

fn memory_of(stored: &[Stored]) -> usize {
    stored.iter().map(|stored| stored.batch.memory()).sum()
}

fn spans_of(stored: Stored) -> impl Iterator<Item = Span> {
    let Stored { id, batch, rows, tries, .. } = stored;
    rows.into_iter().map(move |rows| Span { id, batch: Arc::clone(&batch), rows, tries })
}

/// A panic elsewhere leaves what is locked whole: no method panics between two changes that belong together.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
