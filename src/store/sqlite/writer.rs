//! The thread that owns the write connection: takes work, commits it together, answers.

mod upkeep;

use std::mem::{Discriminant, discriminant};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tracing::{error, info};

use self::upkeep::SYNC_INTERVAL;
use super::damaged::Damaged;
use super::directory::Directory;
use super::disk::Disk;
use super::mailbox::{Group, Mailbox, Notes, Posted, State};
use super::problem::Problem;
use super::work::{Answer, Work};
use super::write::{Known, Writing};
use crate::clock::{Clock, Instant};
use crate::store::commits::Commits;
use crate::store::{Commit, Settings, StoreError};

/// Batches whose progress is written in one transaction; more would delay the calls that wait for the next.
const NOTES_GROUP: usize = 2048;
/// Progress that could not be written is tried again so much later.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Why progress cannot be written at present; shared with those who ask.
pub(super) type Trouble = Arc<Mutex<Option<StoreError>>>;

pub(super) struct Writer {
    connection: Connection,
    known: Known,
    settings: Settings,
    wal: PathBuf,
    mailbox: Arc<Mailbox>,
    disk: Disk,
    clock: Clock,
    trouble: Trouble,
    pub(super) commits: Arc<Commits>,
    /// What kept the last group from being kept.
    not_kept: Option<Discriminant<StoreError>>,
    damaged: Arc<Damaged>,
    /// Notes that are due.
    due: Notes,
    /// Who waits until all of them are written.
    flushes: Vec<Answer<()>>,
    /// When the oldest note that is not due yet was taken.
    noted: Option<Instant>,
    /// When notes that could not be written are tried again.
    retry: Option<Instant>,
    /// When the oldest commit that is not synced was made.
    unsynced: Option<Instant>,
    upkeep: Instant,
    /// The write-ahead log may have bodies of apps that were replaced or deleted.
    has_old_bodies: bool,
    #[cfg(test)]
    pub(super) faults: Faults,
    /// Let go last, when the connection is closed.
    _directory: Directory,
}

/// What became of work in a transaction that was committed.
enum Done {
    Inserted(Commit),
    Changed,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        directory: Directory,
        settings: &Settings,
        mailbox: &Arc<Mailbox>,
        clock: Clock,
        trouble: &Trouble,
        damaged: &Arc<Damaged>,
    ) -> Self {
        let dir = directory.path();
        Self {
            connection,
            known: Known::default(),
            settings: settings.clone(),
            wal: dir.join("apnsd.db-wal"),
            mailbox: Arc::clone(mailbox),
            disk: Disk::new(dir.to_owned(), settings.min_free),
            upkeep: clock.now(),
            clock,
            trouble: Arc::clone(trouble),
            commits: Arc::default(),
            not_kept: None,
            damaged: Arc::clone(damaged),
            due: Notes::default(),
            flushes: Vec::new(),
            noted: None,
            retry: None,
            unsynced: None,
            // Those that a crash left.
            has_old_bodies: true,
            #[cfg(test)]
            faults: Faults::default(),
            _directory: directory,
        }
    }

    /// Works until the mailbox is closed.
    pub(super) fn run(mut self) {
        let _clear = ClearAtEnd(Arc::clone(&self.mailbox));
        loop {
            let group = self.mailbox.take(self.wait(self.clock.now()));
            match group.state {
                State::Open => self.turn(group),
                State::Closing if !group.intake.is_empty() || !group.books.is_empty() => self.turn(group),
                State::Closing => return self.finish(),
                State::Abandoned => return,
            }
        }
    }

    /// How long there is nothing to do but for what may come.
    fn wait(&self, now: Instant) -> Duration {
        let flush = match (self.retry, self.due.is_empty()) {
            (Some(retry), _) => Some(retry),
            (None, false) => Some(now),
            (None, true) => self.noted.map(|noted| noted + self.settings.settle_flush),
        };
        let sync = self.unsynced.map(|unsynced| unsynced + SYNC_INTERVAL);
        let next = [flush, sync, Some(self.upkeep)].into_iter().flatten().min().unwrap_or(now);
        next.since(now)
    }

    fn turn(&mut self, mut group: Group) {
        let now = self.clock.now();
        let flush = self.take_flushes(&mut group.books);
        self.take_due_notes(now, &group, flush);
        if !group.intake.is_empty()
            && let Err(full) = self.disk.room(now)
        {
            refuse(std::mem::take(&mut group.intake), &full);
            self.upkeep = self.upkeep.min(now + RETRY_INTERVAL);
        }
        if !group.intake.is_empty() || !group.books.is_empty() {
            self.write_group(now, group);
        }
        if self.retry.is_none_or(|retry| now >= retry) {
            self.write_notes(now);
        }
        self.sync(now);
        self.keep_up(now);
    }

    /// Whether somebody waits for all notes to be written.
    fn take_flushes(&mut self, books: &mut Vec<Posted>) -> bool {
        let before = self.flushes.len();
        let mut others = Vec::with_capacity(books.len());
        for posted in books.drain(..) {
            match posted.work {
                Work::Flush(answer) => self.flushes.push(answer),
                Work::Insert(..) | Work::Change(..) => others.push(posted),
            }
        }
        *books = others;
        self.flushes.len() > before
    }

    fn take_due_notes(&mut self, now: Instant, group: &Group, flush: bool) {
        let noted = *self.noted.get_or_insert(now);
        if !group.has_notes {
            self.noted = None;
        } else if flush || group.notes_are_many || now.since(noted) >= self.settings.settle_flush {
            self.due.merge(self.mailbox.take_notes());
            self.noted = None;
        }
        if flush {
            self.retry = None;
        }
    }

    /// Intake, then books, in one transaction: all of it or, with an error, nothing.
    fn write_group(&mut self, now: Instant, mut group: Group) {
        let began = self.clock.now();
        let mut written = self.transact(|writing| write_all(writing, &group));
        let requests = group.intake.len() + group.books.len();
        self.commits.requests.observe(requests as f64, 1);
        self.commits.seconds.observe(self.clock.now().since(began).as_secs_f64(), 1);
        if let Err(StoreError::Full { .. }) = written {
            self.disk.release_reserve(now);
            refuse(std::mem::take(&mut group.intake), &self.disk.full());
            written = self.transact(|writing| write_all(writing, &group));
        }
        self.has_old_bodies |= group.books.iter().any(|posted| posted.work.changes_app());
        match written {
            Ok(done) => {
                if self.not_kept.take().is_some() {
                    info!("kept again");
                }
                self.unsynced.get_or_insert(now);
                for (posted, done) in group.intake.into_iter().chain(group.books).zip(done) {
                    answer(posted.work, done);
                }
            }
            Err(error) => {
                // One line for a disk that stays full, not one for each attempt.
                if self.not_kept.replace(discriminant(&error)) != Some(discriminant(&error)) {
                    error!("not kept: {error}");
                }
                refuse(group.intake, &error);
                refuse(group.books, &error);
            }
        }
    }

    /// Part of the due notes in one transaction: the rest goes with the next turn, so that others need not wait.
    fn write_notes(&mut self, now: Instant) {
        if self.due.is_empty() {
            self.answer_flushes(Ok(()));
            return;
        }
        let notes = Notes {
            settled: self.due.settled.take(NOTES_GROUP),
            cursors: std::mem::take(&mut self.due.cursors),
            discarded: std::mem::take(&mut self.due.discarded),
        };
        let mut written = self.transact(|writing| writing.notes(&notes));
        if let Err(StoreError::Full { .. }) = written {
            self.disk.release_reserve(now);
            written = self.transact(|writing| writing.notes(&notes));
        }
        match written {
            Ok(()) => self.notes_are_written(now, &notes),
            Err(error) => self.notes_are_kept(now, notes, error),
        }
    }

    fn notes_are_written(&mut self, now: Instant, notes: &Notes) {
        self.unsynced.get_or_insert(now);
        self.retry = None;
        if self.set_trouble(None).is_some() {
            info!("progress can be written again");
        }
        if !notes.cursors.is_empty() {
            self.mailbox.cursors_are_written();
        }
        if self.due.is_empty() {
            self.answer_flushes(Ok(()));
        }
    }

    fn notes_are_kept(&mut self, now: Instant, mut notes: Notes, error: StoreError) {
        notes.merge(std::mem::take(&mut self.due));
        self.due = notes;
        self.retry = Some(now + RETRY_INTERVAL);
        if self.set_trouble(Some(error.clone())).is_none() {
            error!("progress cannot be written, what is sent meanwhile is sent again after a crash: {error}");
        }
        self.answer_flushes(Err(error));
    }

    fn transact<T>(&mut self, write: impl FnOnce(&mut Writing<'_>) -> Result<T, Problem>) -> Result<T, StoreError> {
        #[cfg(test)]
        let faults = Arc::clone(&self.faults);
        let written = self.try_transact(|writing| {
            let written = write(writing)?;
            #[cfg(test)]
            injected(&faults)?;
            Ok(written)
        });
        written.map_err(|problem| {
            self.known = Known::default();
            problem.of_change(&self.disk)
        })
    }

    fn try_transact<T>(&mut self, write: impl FnOnce(&mut Writing<'_>) -> Result<T, Problem>) -> Result<T, Problem> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let written = write(&mut Writing {
            connection: &transaction,
            known: &mut self.known,
            settings: &self.settings,
            damaged: &self.damaged,
        })?;
        transaction.commit()?;
        Ok(written)
    }

    fn set_trouble(&self, trouble: Option<StoreError>) -> Option<StoreError> {
        std::mem::replace(&mut self.trouble.lock().unwrap_or_else(PoisonError::into_inner), trouble)
    }

    fn answer_flushes(&mut self, answer: Result<(), StoreError>) {
        for flush in self.flushes.drain(..) {
            drop(flush.send(answer.clone()));
        }
    }

    /// Writes all notes that are left, then lets go of everything.
    fn finish(mut self) {
        self.due.merge(self.mailbox.take_notes());
        self.retry = None;
        let empty = || Group {
            intake: Vec::new(),
            books: Vec::new(),
            has_notes: false,
            notes_are_many: false,
            state: State::Closing,
        };
        while !self.due.is_empty() && self.retry.is_none() {
            self.turn(empty());
        }
    }
}

/// Leaves nobody waiting for an answer, even if the thread panics.
struct ClearAtEnd(Arc<Mailbox>);

impl Drop for ClearAtEnd {
    fn drop(&mut self) {
        self.0.clear();
    }
}

fn write_all(writing: &mut Writing<'_>, group: &Group) -> Result<Vec<Done>, Problem> {
    let works = group.intake.iter().chain(&group.books).map(|posted| &posted.work);
    works
        .map(|work| match work {
            Work::Insert(insert, _) => Ok(Done::Inserted(writing.insert(insert)?)),
            Work::Change(change, _) => writing.change(change).map(|()| Done::Changed),
            Work::Flush(_) => Ok(Done::Changed),
        })
        .collect()
}

fn refuse(group: Vec<Posted>, error: &StoreError) {
    group.into_iter().for_each(|posted| posted.work.refuse(error.clone()));
}

fn answer(work: Work, done: Done) {
    match (work, done) {
        (Work::Insert(insert, answer), Done::Inserted(commit)) => {
            match commit {
                Commit::Accepted(id) => insert.accepted(id),
                Commit::Repeated | Commit::Conflict => drop(insert),
            }
            drop(answer.send(Ok(commit)));
        }
        (Work::Change(_, answer) | Work::Flush(answer), _) => drop(answer.send(Ok(()))),
        (Work::Insert(_, answer), Done::Changed) => drop(answer),
    }
}

/// Codes of SQLite with which the next commits are to fail, for tests.
#[cfg(test)]
pub(super) type Faults = Arc<Mutex<Vec<i32>>>;

#[cfg(test)]
fn injected(faults: &Faults) -> Result<(), Problem> {
    match faults.lock().unwrap_or_else(PoisonError::into_inner).pop() {
        None => Ok(()),
        Some(code) => Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None).into()),
    }
}
