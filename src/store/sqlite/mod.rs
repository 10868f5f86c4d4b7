//! The store in a file of the state directory, by SQLite.
//!
//! # Files
//!
//! `apnsd.db` with its `-wal` and `-shm` is everything (mode 0600, open to `sqlite3 apnsd.db` for a look at any time).
//! `apnsd.outcomes` and `apnsd.outcomes.1` are a log of their own ([`super::outcomes`]). `apnsd.lock` is locked by the one process that uses the directory, `apnsd.reserve` takes 16 MiB that are given up
//! when the disk is full ([`disk`]). `schema_1.sql` has the tables; `PRAGMA user_version` says which version they have.
//!
//! | table | one row for | |
//! |---|---|---|
//! | `names` | each app id ever seen | other tables refer to its key |
//! | `apps` | each provisioned app | a body that means nothing here |
//! | `batches` | each call with rows that are not settled | the record of [`super::record`], or the stage of its segments |
//! | `segments` | 256 KiB of a large record | nothing refers to them before the batch's own commit |
//! | `progress` | each batch that is settled in part | a bitmap |
//! | `rejections`, `feedback` | each entry | numbered from 1 by app, by environment and topic |
//! | `sources`, `cursors` | each environment and topic; each app's place in it | |
//! | `requests_0`, `requests_1` | each call that named itself | the older one is dropped every 15 minutes |
//!
//! # Transactions
//!
//! One thread owns the only connection that writes, and checkpoints on it ([`writer`]). It takes what has come into its
//! [`mailbox`] meanwhile, at most 1 MiB or 1,024 requests from each of two lanes, new batches before what became of
//! others, commits it as one transaction and answers afterwards. When the transaction fails, all of it is answered with
//! the error and nothing of it is kept. A large call writes its segments one commit after another and so delays nobody.
//!
//! Ids are given in the order of commits, and batches are announced in that order (`commit_then`). A batch and its
//! request key are one transaction; so are the rows that leave a batch and the batch that they join.
//!
//! Settled rows and cursors are notes: merged in memory, written every `settle_flush` in transactions of their own, at
//! most 2,048 batches at a time.
//! Queries that could see the difference have the notes written first. Queries run on two connections of their own that
//! only read ([`read`]).
//!
//! # What survives what
//!
//! | | `full` | `relaxed` | `none` |
//! |---|---|---|---|
//! | the process ends at any moment | all that was answered | all that was answered | all that was answered |
//! | power fails | all that was answered | all that is 100 ms old | perhaps nothing: the file may be damaged |
//!
//! Settled rows and cursors that are not written yet are lost in each case: those rows are sent again.
//!
//! # What is damaged
//!
//! A batch whose record has not its checksum, or whose progress or app does not fit, is left out wherever it is met and
//! stays where it is ([`damaged`]); all others go on. What SQLite itself calls corrupt fails the call.
//!
//! # What is deleted
//!
//! The body of an app may have private keys in it: one that is replaced or removed is overwritten in the database, and
//! a minute later, or when the store is closed, it is not in the write-ahead log either. Batches are only unlinked.
//!
//! # When the disk is full
//!
//! See [`disk`]: no batch is accepted below `min_free`, while settlement, rejections and feedback go on. Notes that
//! cannot be written stay, are tried again every second, and `Store::trouble` says so meanwhile.

mod damaged;
mod directory;
mod disk;
mod export;
mod mailbox;
mod problem;
mod read;
mod schema;
mod search;
mod work;
mod write;
mod writer;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use self::damaged::Damaged;
use self::directory::Directory;
use self::disk::Disk;
pub use self::export::read_apps;
use self::mailbox::{Lane, Mailbox, State};
use self::read::Readers;
use self::work::{Change, Insert, Record, Settled, SettledRows, Staged, Then, Work};
use self::writer::{Trouble, Writer};
use super::commits::Commits;
use super::outcomes::{Entry, Log, Logged};
use super::record::{RECORD_MAX, encode, excerpt};
use super::trace::{Search, TokenPrefix, Traced, Visible};
use super::{Backlog, Commit, Due, FeedbackSource, OpenError, RequestKey, Settings, StoreError, Stored};
use crate::clock::Clock;
use crate::domain::app::AppId;
use crate::domain::batch::{Batch, BatchId, Span, Tries};
use crate::domain::feedback::{Cursor, FeedbackEntry, Page, Rejection};
use crate::domain::time::Timestamp;

/// Larger records are written in segments of this size.
const SEGMENT_BYTES: usize = 256 << 10;
/// Feedback entries in one transaction; more would delay others.
const ENTRIES_GROUP: usize = 1000;

/// An open database and its writer.
pub struct Sqlite {
    mailbox: Arc<Mailbox>,
    readers: Readers,
    clock: Clock,
    rejections_age: Duration,
    feedback_age: Duration,
    stages: AtomicI64,
    trouble: Trouble,
    /// For looks from outside; the writer has one of its own.
    disk: Disk,
    commits: Arc<Commits>,
    damaged: Arc<Damaged>,
    /// `None` when nothing is to be logged.
    outcomes: Option<Arc<Log>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    #[cfg(test)]
    faults: writer::Faults,
}

impl Sqlite {
    pub(super) fn open(settings: &Settings, clock: Clock) -> Result<Self, OpenError> {
        let directory = Directory::open(&settings.dir)?;
        let path = directory.database()?;
        let connection = schema::open_writer(&path, settings.durability)?;
        let stages = schema::clear_segments(&connection, &path)?;
        schema::bring_due_times_back(&connection, &path, clock.timestamp())?;
        let outcomes = match settings.trace_max {
            0 => None,
            bytes => Some(Arc::new(
                Log::open(&settings.dir, bytes, clock.clone())
                    .map_err(|error| OpenError::Io { path: path.clone(), error })?,
            )),
        };
        let mailbox = Arc::new(Mailbox::new());
        let (trouble, damaged) = (Trouble::default(), Arc::default());
        let writer = Writer::new(connection, directory, settings, &mailbox, clock.clone(), &trouble, &damaged);
        let commits = Arc::clone(&writer.commits);
        #[cfg(test)]
        let faults = Arc::clone(&writer.faults);
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(|error| OpenError::Io { path: path.clone(), error })?;
        Ok(Self {
            mailbox,
            readers: Readers::new(path),
            clock,
            rejections_age: settings.rejections_age,
            feedback_age: settings.feedback_age,
            stages: AtomicI64::new(stages),
            trouble,
            disk: Disk::new(settings.dir.clone(), settings.min_free),
            commits,
            damaged,
            outcomes,
            thread: Mutex::new(Some(thread)),
            #[cfg(test)]
            faults,
        })
    }

    pub(super) async fn close(&self) -> Result<(), StoreError> {
        self.readers.close();
        if let Some(log) = self.outcomes.clone() {
            let closed = tokio::task::spawn_blocking(move || log.close()).await;
            closed.map_err(|stopped| StoreError::Io(stopped.to_string()))?;
        }
        self.mailbox.close(State::Closing);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                return Err(StoreError::Io("the writer ended with a panic".to_owned()));
            }
        }
        self.trouble().map_or(Ok(()), Err)
    }

    pub(super) fn trouble(&self) -> Option<StoreError> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn intake_trouble(&self) -> Option<StoreError> {
        self.trouble().or_else(|| self.disk.lack())
    }

    pub(super) fn commits(&self) -> &Commits {
        &self.commits
    }

    pub(super) async fn put_app(&self, app: &AppId, body: Vec<u8>) -> Result<(), StoreError> {
        self.change(Lane::Books, Change::PutApp(app.clone(), body)).await
    }

    pub(super) async fn remove_app(&self, app: &AppId) -> Result<(), StoreError> {
        self.change(Lane::Books, Change::RemoveApp(app.clone())).await
    }

    pub(super) async fn apps(&self) -> Result<Vec<(AppId, Vec<u8>)>, StoreError> {
        self.readers.read(read::apps).await
    }

    pub(super) async fn commit_then(
        &self,
        app: &AppId,
        batch: &Arc<Batch>,
        request: Option<RequestKey>,
        then: Then,
    ) -> Result<Commit, StoreError> {
        let insert = Insert {
            app: app.clone(),
            record: self.record(Lane::Intake, batch).await?,
            rows: batch.rows(),
            accepted_at: batch.accepted_at(),
            due: None,
            tries: Tries::default(),
            request,
            now: self.clock.timestamp(),
            leaves: None,
            then,
        };
        self.ask(Lane::Intake, |answer| Work::Insert(Box::new(insert), answer)).await
    }

    pub(super) async fn requested(&self, app: &AppId, request: RequestKey) -> Result<Option<[u8; 16]>, StoreError> {
        let (app, now) = (app.clone(), self.clock.timestamp());
        self.readers.read(move |connection| read::requested(connection, &app, request, now)).await
    }

    pub(super) fn settle(&self, span: &Span) {
        if !span.is_empty() {
            self.mailbox.settle(span.id, span.batch.rows(), span.rows.clone());
        }
    }

    pub(super) async fn requeue(
        &self,
        app: &AppId,
        span: &Span,
        due: Option<Timestamp>,
        then: Then,
    ) -> Result<Span, StoreError> {
        let batch = Arc::new(excerpt(&span.batch, span.rows.clone()));
        let insert = Insert {
            app: app.clone(),
            record: self.record(Lane::Books, &batch).await?,
            rows: batch.rows(),
            accepted_at: batch.accepted_at(),
            due,
            tries: span.tries,
            request: None,
            now: self.clock.timestamp(),
            leaves: Some((span.id, SettledRows { of: span.batch.rows(), ranges: vec![span.rows.clone()] })),
            then,
        };
        match self.ask(Lane::Books, |answer| Work::Insert(Box::new(insert), answer)).await? {
            Commit::Accepted(id) => Ok(Span { id, rows: 0..batch.rows(), batch, tries: span.tries }),
            Commit::Repeated | Commit::Conflict => Err(StoreError::Closed),
        }
    }

    pub(super) async fn load(&self, app: &AppId, after: BatchId, bytes_max: usize) -> Result<Vec<Stored>, StoreError> {
        self.flush().await?;
        let (app, damaged) = (app.clone(), Arc::clone(&self.damaged));
        self.readers.read(move |connection| read::load(connection, &damaged, &app, after, bytes_max)).await
    }

    pub(super) async fn load_due(
        &self,
        app: &AppId,
        after: (Timestamp, BatchId),
        until: Timestamp,
        bytes_max: usize,
    ) -> Result<Due, StoreError> {
        self.flush().await?;
        let (app, damaged) = (app.clone(), Arc::clone(&self.damaged));
        self.readers.read(move |connection| read::load_due(connection, &damaged, &app, after, until, bytes_max)).await
    }

    pub(super) async fn backlogs(&self) -> Result<Vec<Backlog>, StoreError> {
        self.flush().await?;
        self.readers.read(read::backlogs).await
    }

    pub(super) async fn reject(&self, rejections: Vec<Rejection>, spans: &[Span]) -> Result<(), StoreError> {
        let mut settled = Settled::default();
        spans.iter().for_each(|span| settled.add(span.id, span.batch.rows(), span.rows.clone()));
        self.change(Lane::Books, Change::Rejections(rejections, settled, self.clock.timestamp())).await
    }

    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        self.ask(Lane::Books, Work::Flush).await
    }

    pub(super) async fn answers(&self) -> bool {
        let read = |connection: &rusqlite::Connection| Ok(connection.query_row("SELECT 1", [], |_| Ok(()))?);
        let answered = [self.flush().await, self.readers.read(read).await];
        !answered.contains(&Err(StoreError::Closed))
    }

    pub(super) async fn rejections_after(
        &self,
        app: &AppId,
        cursor: Cursor,
        limit: usize,
    ) -> Result<Page<Rejection>, StoreError> {
        let (app, cutoff) = (app.clone(), self.clock.timestamp().minus(self.rejections_age));
        let query = move |connection: &_| read::rejections_after(connection, &app, cutoff, cursor, limit);
        self.readers.read(query).await
    }

    pub(super) async fn latest_rejections(&self, app: &AppId, limit: usize) -> Result<Vec<Rejection>, StoreError> {
        let (app, cutoff) = (app.clone(), self.clock.timestamp().minus(self.rejections_age));
        self.readers.read(move |connection: &_| read::latest_rejections(connection, &app, cutoff, limit)).await
    }

    pub(super) async fn append_feedback(
        &self,
        source: &FeedbackSource,
        entries: Vec<FeedbackEntry>,
    ) -> Result<(), StoreError> {
        let now = self.clock.timestamp();
        let mut rest = entries.into_iter();
        loop {
            let group: Vec<FeedbackEntry> = rest.by_ref().take(ENTRIES_GROUP).collect();
            if group.is_empty() {
                return Ok(());
            }
            self.change(Lane::Books, Change::Feedback(source.clone(), group, now)).await?;
        }
    }

    pub(super) async fn feedback_after(
        &self,
        source: &FeedbackSource,
        cursor: Cursor,
        limit: usize,
    ) -> Result<Page<FeedbackEntry>, StoreError> {
        let (source, cutoff) = (source.clone(), self.clock.timestamp().minus(self.feedback_age));
        let query = move |connection: &_| read::feedback_after(connection, &source, cutoff, cursor, limit);
        self.readers.read(query).await
    }

    pub(super) async fn feedback_cursor(&self, app: &AppId, source: &FeedbackSource) -> Result<Cursor, StoreError> {
        if let Some(cursor) = self.mailbox.cursor(app, source) {
            return Ok(cursor);
        }
        let (app, source) = (app.clone(), source.clone());
        self.readers.read(move |connection| read::feedback_cursor(connection, &app, &source)).await
    }

    pub(super) fn move_feedback_cursor(&self, app: &AppId, source: &FeedbackSource, cursor: Cursor) {
        self.mailbox.move_cursor(app, source, cursor);
    }

    pub(super) fn log_outcome(&self, app: &AppId, span: &Span, outcome: Logged, at: Timestamp) {
        if let Some(log) = &self.outcomes {
            log.log(app, span, outcome, at);
        }
    }

    pub(super) async fn trace(
        &self,
        prefix: TokenPrefix,
        visible: Visible,
        limit: usize,
    ) -> Result<Vec<Traced>, StoreError> {
        // Any other error is one that `Store::trouble` tells. Until it is over, rows that were sent also count as waiting.
        if let Err(StoreError::Closed) = self.ask(Lane::Books, Work::Flush).await {
            return Err(StoreError::Closed);
        }
        let now = self.clock.timestamp();
        let since =
            search::Since { rejections: now.minus(self.rejections_age), feedback: now.minus(self.feedback_age) };
        let damaged = Arc::clone(&self.damaged);
        let mut search = Search::new(prefix.clone(), visible.clone(), limit);
        let query = move |connection: &_| search::search(connection, &damaged, &mut search, since).map(|()| search);
        let search = self.readers.search(query).await?;
        // Afterwards, so that what is settled meanwhile is found twice rather than not at all.
        let logged = match &self.outcomes {
            Some(log) => {
                let is_visible = move |entry: &Entry| visible.shows(entry.app.as_ref());
                log.find(move |start| prefix.matches_start(start), is_visible, limit).await
            }
            None => Ok(Vec::new()),
        };
        Ok(search.finish(logged.map_err(|error| StoreError::Io(format!("the log of outcomes: {error}")))?))
    }

    /// Encodes a batch. A large record is written on the way, in segments; what comes back refers to them.
    async fn record(&self, lane: Lane, batch: &Batch) -> Result<Record, StoreError> {
        let record = encode(batch);
        if record.len() > RECORD_MAX {
            return Err(StoreError::TooLarge(record.len()));
        }
        if record.len() <= SEGMENT_BYTES {
            return Ok(Record::Whole(record));
        }
        let staged = Staged::new(self.stages.fetch_add(1, Ordering::Relaxed), &self.mailbox);
        for (number, bytes) in (0..).zip(record.chunks(SEGMENT_BYTES)) {
            let segment = Change::Segment { stage: staged.stage(), number, bytes: bytes.to_vec() };
            self.change(lane, segment).await?;
        }
        Ok(Record::Staged(staged))
    }

    async fn change(&self, lane: Lane, change: Change) -> Result<(), StoreError> {
        self.ask(lane, |answer| Work::Change(change, answer)).await
    }

    async fn ask<T>(&self, lane: Lane, work: impl FnOnce(work::Answer<T>) -> Work) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.mailbox.post(lane, work(answer)).await?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Makes so many commits fail with an error code of SQLite, from now on.
    #[cfg(test)]
    pub(super) fn fail_commits(&self, code: i32, count: usize) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = vec![code; count];
    }
}

impl Drop for Sqlite {
    /// Without [`Sqlite::close`], as after a crash: what is not written is lost. The files are free when this returns.
    fn drop(&mut self) {
        self.readers.close();
        if let Some(log) = &self.outcomes {
            log.close();
        }
        self.mailbox.close(State::Abandoned);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last owner may be a callback that runs on the writer itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!("the writer of the store ended with a panic");
        }
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sqlite").field("readers", &self.readers).finish_non_exhaustive()
    }
}
