//! Between callers and the writer thread: two bounded lanes of work that is answered, and notes that are not.
//!
//! Work is bounded in bytes: who brings more waits. Notes (settled rows, cursors, segments to be discarded) are taken at
//! once and merged with those that are there; they are bounded by what is in flight. The writer waits on a condition
//! variable with a time-out, because notes become due by time.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::work::{Settled, Work};
use crate::domain::app::AppId;
use crate::domain::batch::BatchId;
use crate::domain::feedback::Cursor;
use crate::store::{FeedbackSource, StoreError};

/// Bytes that wait in one lane at most.
const LANE_BYTES: usize = 8 << 20;
/// What the smallest work counts as, which bounds the number in a lane at 8,192.
const WORK_BYTES_MIN: usize = 1 << 10;
/// At most so much goes from each lane into one transaction.
const GROUP_BYTES: usize = 1 << 20;
const GROUP_WORK: usize = 1024;
/// Batches with settled rows that are buffered before the writer is called early.
const SETTLED_MAX: usize = 1 << 16;

/// Which way work goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// New batches: refused when the disk is low.
    Intake,
    /// What became of batches, and everything else.
    Books,
}

/// Work in a lane, with its share of the lane's bytes.
pub(super) struct Posted {
    pub(super) work: Work,
    bytes: usize,
    _permit: OwnedSemaphorePermit,
}

/// What the writer does next.
pub(super) struct Group {
    pub(super) intake: Vec<Posted>,
    pub(super) books: Vec<Posted>,
    pub(super) has_notes: bool,
    pub(super) notes_are_many: bool,
    pub(super) state: State,
}

/// Whether work is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Yes.
    Open,
    /// No more; what is there is done.
    Closing,
    /// No more; what is there is dropped.
    Abandoned,
}

/// What is to be written before long, unanswered.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) settled: Settled,
    pub(super) cursors: Cursors,
    /// Stages whose segments nothing will refer to.
    pub(super) discarded: Vec<i64>,
}

/// How far apps have read sources.
pub(super) type Cursors = HashMap<(AppId, FeedbackSource), Cursor>;

pub(super) struct Mailbox {
    intake: Arc<Semaphore>,
    books: Arc<Semaphore>,
    mail: Mutex<Mail>,
    news: Condvar,
}

struct Mail {
    intake: VecDeque<Posted>,
    books: VecDeque<Posted>,
    notes: Notes,
    /// Cursors that the writer has taken and not yet written.
    cursors_taken: Cursors,
    /// The writer is to look at the notes.
    has_news: bool,
    state: State,
}

impl Mailbox {
    pub(super) fn new() -> Self {
        let mail = Mail {
            intake: VecDeque::new(),
            books: VecDeque::new(),
            notes: Notes::default(),
            cursors_taken: Cursors::new(),
            has_news: false,
            state: State::Open,
        };
        let lane = || Arc::new(Semaphore::new(LANE_BYTES));
        Self { intake: lane(), books: lane(), mail: Mutex::new(mail), news: Condvar::new() }
    }

    /// Waits for room in the lane and puts work there.
    pub(super) async fn post(&self, lane: Lane, work: Work) -> Result<(), StoreError> {
        let bytes = work.bytes().clamp(WORK_BYTES_MIN, LANE_BYTES);
        let permits = match lane {
            Lane::Intake => &self.intake,
            Lane::Books => &self.books,
        };
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permit = Arc::clone(permits).acquire_many_owned(count).await.map_err(|_| StoreError::Closed)?;
        let posted = Posted { work, bytes, _permit: permit };
        let mut mail = self.mail();
        if mail.state != State::Open {
            return Err(StoreError::Closed);
        }
        match lane {
            Lane::Intake => mail.intake.push_back(posted),
            Lane::Books => mail.books.push_back(posted),
        }
        drop(mail);
        self.news.notify_one();
        Ok(())
    }

    pub(super) fn settle(&self, id: BatchId, of: u32, rows: Range<u32>) {
        self.note(|notes| notes.settled.add(id, of, rows));
    }

    pub(super) fn move_cursor(&self, app: &AppId, source: &FeedbackSource, cursor: Cursor) {
        self.note(|notes| notes.cursors.extend([((app.clone(), source.clone()), cursor)]));
    }

    /// Where a cursor is that is not written yet.
    pub(super) fn cursor(&self, app: &AppId, source: &FeedbackSource) -> Option<Cursor> {
        let key = (app.clone(), source.clone());
        let mail = self.mail();
        mail.notes.cursors.get(&key).or_else(|| mail.cursors_taken.get(&key)).copied()
    }

    pub(super) fn discard(&self, stage: i64) {
        self.note(|notes| notes.discarded.push(stage));
    }

    /// Takes no more work.
    pub(super) fn close(&self, state: State) {
        let mut mail = self.mail();
        if mail.state == State::Open || state == State::Abandoned {
            mail.state = state;
        }
        drop(mail);
        self.intake.close();
        self.books.close();
        self.news.notify_one();
    }

    /// Drops all work: for the end of the writer. Whoever waits for an answer gets none.
    pub(super) fn clear(&self) {
        self.close(State::Abandoned);
        let mut mail = self.mail();
        let dropped = (std::mem::take(&mut mail.intake), std::mem::take(&mut mail.books));
        drop(mail);
        drop(dropped);
    }

    /// For the writer: waits until there is something to do, at most so long, and takes one transaction's worth.
    pub(super) fn take(&self, wait: Duration) -> Group {
        let idle = |mail: &mut Mail| {
            mail.intake.is_empty() && mail.books.is_empty() && !mail.has_news && mail.state == State::Open
        };
        let waited = self.news.wait_timeout_while(self.mail(), wait, idle);
        let (mut mail, _) = waited.unwrap_or_else(PoisonError::into_inner);
        mail.has_news = false;
        Group {
            intake: take_group(&mut mail.intake),
            books: take_group(&mut mail.books),
            has_notes: !mail.notes.is_empty(),
            notes_are_many: mail.notes.settled.len() >= SETTLED_MAX,
            state: mail.state,
        }
    }

    /// For the writer: takes the notes. Cursors stay visible until [`Mailbox::cursors_are_written`].
    pub(super) fn take_notes(&self) -> Notes {
        let mut mail = self.mail();
        let notes = std::mem::take(&mut mail.notes);
        mail.cursors_taken.extend(notes.cursors.clone());
        notes
    }

    pub(super) fn cursors_are_written(&self) {
        self.mail().cursors_taken.clear();
    }

    fn note(&self, write: impl FnOnce(&mut Notes)) {
        let mut mail = self.mail();
        if mail.state == State::Abandoned {
            return;
        }
        let was_empty = mail.notes.is_empty();
        write(&mut mail.notes);
        if was_empty || mail.notes.settled.len() == SETTLED_MAX {
            mail.has_news = true;
            drop(mail);
            self.news.notify_one();
        }
    }

    /// A panic elsewhere leaves the mail whole: every change is one statement.
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    pub(super) fn is_empty(&self) -> bool {
        self.settled.is_empty() && self.cursors.is_empty() && self.discarded.is_empty()
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.settled.merge(other.settled);
        self.cursors.extend(other.cursors);
        self.discarded.extend(other.discarded);
    }
}

fn take_group(lane: &mut VecDeque<Posted>) -> Vec<Posted> {
    let mut bytes = 0;
    let fits = lane.iter().take(GROUP_WORK).take_while(|posted| {
        let first = bytes == 0;
        bytes += posted.bytes;
        first || bytes <= GROUP_BYTES
    });
    let count = fits.count();
    lane.drain(..count).collect()
}
