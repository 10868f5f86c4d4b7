//! Records of everything that must outlive a call: apps, batches and their progress, rejections, feedback. Knows
//! nothing of delivery.
//!
//! Two kinds: SQLite in the state directory, and memory, which is lost when the process ends and is the model that
//! every durable kind must agree with (`tests/` runs the same suite over both).
//!
//! A batch is committed once, under an id that grows with every commit, and leaves row by row: [`Store::settle`] for
//! rows that are done, [`Store::defer`] and [`Store::readmit_then`] for rows that go on in a new, small batch. A batch
//! whose last row left is gone.
//!
//! What waits for an app is in two lanes: the fresh one, by id ([`Store::load`]), and that of deferred batches, by due
//! time ([`Store::load_due`]).

pub mod commits;
mod error;
mod log;
mod memory;
mod outcomes;
mod progress;
mod record;
mod requests;
mod settings;
mod sqlite;
mod trace;

use std::ops::Range;
use std::sync::Arc;

use self::commits::Commits;
pub use self::error::{OpenError, StoreError};
use self::memory::Memory;
pub use self::outcomes::Logged;
pub use self::requests::RequestKey;
pub use self::settings::{Durability, Kind, Settings};
use self::sqlite::Sqlite;
pub use self::sqlite::read_apps;
pub use self::trace::{Event, TokenPrefix, TokenPrefixError, Traced, Visible};
use crate::clock::Clock;
use crate::domain::app::AppId;
use crate::domain::batch::{Batch, BatchId, Span, Tries};
use crate::domain::feedback::{Cursor, FeedbackEntry, Page, Rejection};
use crate::domain::time::Timestamp;

/// Whose feedback it is: apps with the same environment and topic share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FeedbackSource {
    /// Name of the environment.
    pub environment: Arc<str>,
    /// Topic of the credentials.
    pub topic: Arc<str>,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The batch is kept under this id.
    Accepted(BatchId),
    /// The same call was accepted before; nothing was kept.
    Repeated,
    /// A call with the same `request_id` and other content was accepted before; nothing was kept.
    Conflict,
}

/// A batch as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub id: BatchId,
    /// Its content, settled rows included.
    pub batch: Arc<Batch>,
    /// The rows that are not settled, in order; never empty.
    pub rows: Vec<Range<u32>>,
    /// When it may be tried again; `None` at once.
    pub due: Option<Timestamp>,
    /// What happened to its rows before.
    pub tries: Tries,
}

/// Deferred batches, and when the next one is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// In the order of due time and id; each has a due time.
    pub stored: Vec<Stored>,
    /// Due time of the first batch behind them, whenever that is.
    pub next: Option<Timestamp>,
}

/// How much waits for an app, in both lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Whose rows they are.
    pub app: AppId,
    /// Rows that are not settled.
    pub rows: u64,
    /// Those of them that have a due time.
    pub deferred: u64,
    /// When the oldest batch among them was accepted.
    pub oldest: Timestamp,
    /// The last batch of the fresh lane; 0 if there is none.
    pub newest: BatchId,
    /// The earliest due time of a deferred batch.
    pub next_due: Option<Timestamp>,
}

/// The record of a batch, for `benches/`.
#[doc(hidden)]
pub fn encode_record(batch: &Batch) -> Vec<u8> {
    record::encode(batch)
}

/// The store. Cheap to clone; clones are the same store.
#[derive(Clone, Debug)]
pub enum Store {
    /// In memory only.
    Memory(Arc<Memory>),
    /// In a file of the state directory.
    Sqlite(Arc<Sqlite>),
}

impl Store {
    /// Opens the store that the settings name. Reads and writes the disk: call it before the daemon serves.
    pub fn open(settings: &Settings, clock: Clock) -> Result<Self, OpenError> {
        match settings.kind {
            Kind::Memory => Ok(Self::Memory(Arc::new(Memory::new(settings, clock)))),
            Kind::Sqlite => Ok(Self::Sqlite(Arc::new(Sqlite::open(settings, clock)?))),
        }
    }

    /// An empty store in memory, on the machine's clock.
    pub fn memory(settings: &Settings) -> Self {
        Self::Memory(Arc::new(Memory::new(settings, Clock::system())))
    }

    /// Writes what is still buffered and closes the files. Whatever is asked for later fails with
    /// [`StoreError::Closed`]. An error says that settled rows may be sent again after the next start.
    pub async fn close(&self) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Sqlite(sqlite) => sqlite.close().await,
        }
    }

    /// Why progress cannot be written at present; `None` while all is well. Rows that are sent meanwhile are sent again
    /// after a crash, so sending should pause.
    pub fn trouble(&self) -> Option<StoreError> {
        match self {
            Self::Memory(_) => None,
            Self::Sqlite(sqlite) => sqlite.trouble(),
        }
    }

    /// Why a batch would not be accepted at present, as with a disk that has less than `min_free`; `None` while all is
    /// well. Looks at the disk.
    pub fn intake_trouble(&self) -> Option<StoreError> {
        match self {
            Self::Memory(_) => None,
            Self::Sqlite(sqlite) => sqlite.intake_trouble(),
        }
    }

    /// Whether whoever reads and writes for it still answers, be it with an error; `false` where it does so no more.
    /// Waits for the answers, for ever where it hangs.
    pub async fn answers(&self) -> bool {
        match self {
            Self::Memory(memory) => {
                drop(memory.backlogs());
                true
            }
            Self::Sqlite(sqlite) => sqlite.answers().await,
        }
    }

    /// What its commits come to; `None` where it is in memory.
    pub fn commits(&self) -> Option<&Commits> {
        match self {
            Self::Memory(_) => None,
            Self::Sqlite(sqlite) => Some(sqlite.commits()),
        }
    }

    /// Whether what it keeps outlives the process.
    pub fn is_durable(&self) -> bool {
        match self {
            Self::Memory(_) => false,
            Self::Sqlite(_) => true,
        }
    }

    /// Keeps an app under its id, in place of what was kept before. The body means nothing to the store.
    pub async fn put_app(&self, app: &AppId, body: Vec<u8>) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => memory.put_app(app, body),
            Self::Sqlite(sqlite) => return sqlite.put_app(app, body).await,
        }
        Ok(())
    }

    /// Forgets an app. Its batches, rejections and feedback cursors stay.
    pub async fn remove_app(&self, app: &AppId) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => memory.remove_app(app),
            Self::Sqlite(sqlite) => return sqlite.remove_app(app).await,
        }
        Ok(())
    }

    /// All apps with their bodies, by id.
    pub async fn apps(&self) -> Result<Vec<(AppId, Vec<u8>)>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.apps()),
            Self::Sqlite(sqlite) => sqlite.apps().await,
        }
    }

    /// Makes a batch durable; when this returns [`Commit::Accepted`], it is. A call with a request key has no second
    /// effect for at least 15 minutes; while the first commits, the second waits.
    pub async fn commit(
        &self,
        app: &AppId,
        batch: &Arc<Batch>,
        request: Option<RequestKey>,
    ) -> Result<Commit, StoreError> {
        self.commit_then(app, batch, request, |_| ()).await
    }

    /// As [`Store::commit`], and calls `then` with the id once the batch is durable, before this returns, also when the
    /// caller has gone away meanwhile. Batches are announced this way one by one in the order of their ids. `then` runs
    /// between commits: it must be short, and call nothing of the store that waits.
    pub async fn commit_then(
        &self,
        app: &AppId,
        batch: &Arc<Batch>,
        request: Option<RequestKey>,
        then: impl FnOnce(BatchId) + Send + 'static,
    ) -> Result<Commit, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.commit_then(app, batch, request, then)),
            Self::Sqlite(sqlite) => sqlite.commit_then(app, batch, request, Box::new(then)).await,
        }
    }

    /// What [`Store::commit`] would answer to a call of this name that was made before: [`Commit::Repeated`] or
    /// [`Commit::Conflict`]; `None` where none is known. Also while nothing more is accepted.
    pub async fn requested(&self, app: &AppId, request: RequestKey) -> Result<Option<Commit>, StoreError> {
        let before = match self {
            Self::Memory(memory) => memory.requested(app, request),
            Self::Sqlite(sqlite) => sqlite.requested(app, request).await?,
        };
        Ok(before.map(|before| request.again(before)))
    }

    /// Rows that are done for good. Kept in memory at first and written together, at most `settle_flush` later.
    pub fn settle(&self, span: &Span) {
        match self {
            Self::Memory(memory) => memory.settle(span),
            Self::Sqlite(sqlite) => sqlite.settle(span),
        }
    }

    /// Moves rows into a batch of their own, due at a time, with the span's tries: in one step, so that they are in
    /// exactly one place at any time. Answers with that batch; the old span is done with.
    ///
    /// A durable store that is opened with a due time more than an hour ahead of the wall clock brings it back to an
    /// hour ahead, so that a clock that was set back meanwhile parks nothing for years.
    pub async fn defer(&self, app: &AppId, span: &Span, due: Timestamp) -> Result<Span, StoreError> {
        self.requeue(app, span, Some(due), |_| ()).await
    }

    /// Takes rows back that were settled too early: as [`Store::defer`], but without a due time. Their batch may be
    /// gone, so they come back in a new one at the end of the fresh lane. `then` is called with its id, in order with
    /// the announcements of [`Store::commit_then`] and under the same conditions.
    pub async fn readmit_then(
        &self,
        app: &AppId,
        span: &Span,
        then: impl FnOnce(BatchId) + Send + 'static,
    ) -> Result<Span, StoreError> {
        self.requeue(app, span, None, then).await
    }

    async fn requeue(
        &self,
        app: &AppId,
        span: &Span,
        due: Option<Timestamp>,
        then: impl FnOnce(BatchId) + Send + 'static,
    ) -> Result<Span, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.requeue(app, span, due, then)),
            Self::Sqlite(sqlite) => sqlite.requeue(app, span, due, Box::new(then)).await,
        }
    }

    /// An app's batches without a due time and with ids beyond `after`, in the order of ids: as many as fit `bytes_max`
    /// bytes of memory ([`Batch::memory`]), the last one beyond it, and one at least; less than `bytes_max` is the end of
    /// the lane. What was settled before this call is left out, and so is a batch that is damaged on the disk, which the
    /// log says once.
    pub async fn load(&self, app: &AppId, after: BatchId, bytes_max: usize) -> Result<Vec<Stored>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.load(app, after, bytes_max)),
            Self::Sqlite(sqlite) => sqlite.load(app, after, bytes_max).await,
        }
    }

    /// An app's batches that are due by `until` and come after `after` (not included) in the order of due time and id:
    /// as many as fit `bytes_max` bytes of memory, the last one beyond it, and one at least. What was settled before
    /// this call is left out, and so is a batch that is damaged on the disk, which the log says once.
    pub async fn load_due(
        &self,
        app: &AppId,
        after: (Timestamp, BatchId),
        until: Timestamp,
        bytes_max: usize,
    ) -> Result<Due, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.load_due(app, after, until, bytes_max)),
            Self::Sqlite(sqlite) => sqlite.load_due(app, after, until, bytes_max).await,
        }
    }

    /// How much waits for each app that has something waiting, by app id. What was settled before this call is not
    /// counted.
    pub async fn backlogs(&self) -> Result<Vec<Backlog>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.backlogs()),
            Self::Sqlite(sqlite) => sqlite.backlogs().await,
        }
    }

    /// Keeps rejections, in order, for the apps that they belong to, and settles the rows that they are of, in one step, so
    /// that a rejected row is never sent again. A few thousand at a time: others wait for it.
    pub async fn reject(&self, rejections: Vec<Rejection>, spans: &[Span]) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => memory.reject(rejections, spans),
            Self::Sqlite(sqlite) => return sqlite.reject(rejections, spans).await,
        }
        Ok(())
    }

    /// Writes settled rows and cursors that are still buffered.
    pub async fn flush(&self) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Sqlite(sqlite) => sqlite.flush().await,
        }
    }

    /// An app's rejections after a cursor, at most `limit` of them.
    pub async fn rejections_after(
        &self,
        app: &AppId,
        cursor: Cursor,
        limit: usize,
    ) -> Result<Page<Rejection>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.rejections_after(app, cursor, limit)),
            Self::Sqlite(sqlite) => sqlite.rejections_after(app, cursor, limit).await,
        }
    }

    /// An app's newest rejections, at most `limit` of them, oldest first.
    pub async fn latest_rejections(&self, app: &AppId, limit: usize) -> Result<Vec<Rejection>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.latest_rejections(app, limit)),
            Self::Sqlite(sqlite) => sqlite.latest_rejections(app, limit).await,
        }
    }

    /// Whether an app has rejections, also one that is provisioned no more.
    pub async fn has_rejections(&self, app: &AppId) -> Result<bool, StoreError> {
        Ok(!self.rejections_after(app, Cursor::default(), 1).await?.entries.is_empty())
    }

    /// Keeps feedback, in order.
    pub async fn append_feedback(
        &self,
        source: &FeedbackSource,
        entries: Vec<FeedbackEntry>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => memory.append_feedback(source, entries),
            Self::Sqlite(sqlite) => return sqlite.append_feedback(source, entries).await,
        }
        Ok(())
    }

    /// A source's feedback after a cursor, at most `limit` entries.
    pub async fn feedback_after(
        &self,
        source: &FeedbackSource,
        cursor: Cursor,
        limit: usize,
    ) -> Result<Page<FeedbackEntry>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.feedback_after(source, cursor, limit)),
            Self::Sqlite(sqlite) => sqlite.feedback_after(source, cursor, limit).await,
        }
    }

    /// How far an app has read a source with plain `feedback` calls.
    pub async fn feedback_cursor(&self, app: &AppId, source: &FeedbackSource) -> Result<Cursor, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.feedback_cursor(app, source)),
            Self::Sqlite(sqlite) => sqlite.feedback_cursor(app, source).await,
        }
    }

    /// Remembers how far an app has read a source; written as lazily as [`Store::settle`].
    pub fn move_feedback_cursor(&self, app: &AppId, source: &FeedbackSource, cursor: Cursor) {
        match self {
            Self::Memory(memory) => memory.move_feedback_cursor(app, source, cursor),
            Self::Sqlite(sqlite) => sqlite.move_feedback_cursor(app, source, cursor),
        }
    }

    /// Logs what became of a span's rows, for [`Store::trace`] and nothing else. Best effort: never waits, is not
    /// synced, and drops rows that come faster than the disk takes them. The oldest go beyond `trace_max`.
    pub fn log_outcome(&self, app: &AppId, span: &Span, outcome: Logged, at: Timestamp) {
        match self {
            Self::Memory(memory) => memory.log_outcome(app, span, outcome, at),
            Self::Sqlite(sqlite) => sqlite.log_outcome(app, span, outcome, at),
        }
    }

    /// What is known, of what is visible, of the notifications for devices whose token begins so, at most the `limit` newest, newest last:
    /// what was logged ([`Store::log_outcome`], by the first 8 digits), rejections and feedback, by time; then what
    /// waits and is not damaged. Looks at everything that waits, which may take a second for a million batches, and
    /// delays nobody else.
    pub async fn trace(&self, prefix: TokenPrefix, visible: Visible, limit: usize) -> Result<Vec<Traced>, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.trace(prefix, visible, limit)),
            Self::Sqlite(sqlite) => sqlite.trace(prefix, visible, limit).await,
        }
    }
}

#[cfg(test)]
impl Store {
    /// Makes so many commits fail, from now on, as a broken disk does.
    pub(crate) fn fail_commits(&self, count: usize) {
        if let Self::Sqlite(sqlite) = self {
            sqlite.fail_commits(rusqlite::ffi::SQLITE_IOERR, count);
        }
    }
}

#[cfg(test)]
mod tests;
