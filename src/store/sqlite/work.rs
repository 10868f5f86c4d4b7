//! What callers ask of the writer thread, and where the answers go.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::mailbox::Mailbox;
use crate::domain::app::AppId;
use crate::domain::batch::{BatchId, Tries};
use crate::domain::feedback::{FeedbackEntry, Rejection};
use crate::domain::time::Timestamp;
use crate::store::{Commit, FeedbackSource, RequestKey, StoreError};

/// Where an answer goes. Whoever asked may have gone away.
pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;
/// Called with the id of a batch once it is durable.
pub(super) type Then = Box<dyn FnOnce(BatchId) + Send>;

/// One thing to do.
pub(super) enum Work {
    /// Keep a batch.
    Insert(Box<Insert>, Answer<Commit>),
    /// Change something else.
    Change(Change, Answer<()>),
    /// Write all progress that was buffered before.
    Flush(Answer<()>),
}

/// A batch to be kept.
pub(super) struct Insert {
    pub(super) app: AppId,
    pub(super) record: Record,
    pub(super) rows: u32,
    pub(super) accepted_at: Timestamp,
    pub(super) due: Option<Timestamp>,
    pub(super) tries: Tries,
    pub(super) request: Option<RequestKey>,
    /// When it was asked for.
    pub(super) now: Timestamp,
    /// The rows that leave another batch for this one.
    pub(super) leaves: Option<(BatchId, SettledRows)>,
    pub(super) then: Then,
}

/// The content of a batch.
pub(super) enum Record {
    /// Here.
    Whole(Vec<u8>),
    /// In segments that were written before.
    Staged(Staged),
}

/// Segments that nothing refers to yet: dropped without [`Staged::keep`], they are deleted.
pub(super) struct Staged {
    stage: i64,
    mailbox: Option<Arc<Mailbox>>,
}

/// Everything that is answered with nothing.
pub(super) enum Change {
    /// A part of a large record.
    Segment { stage: i64, number: i64, bytes: Vec<u8> },
    /// The body of an app.
    PutApp(AppId, Vec<u8>),
    /// An app that is no more.
    RemoveApp(AppId),
    /// Rejections, kept at a time, and the rows that they settle.
    Rejections(Vec<Rejection>, Settled, Timestamp),
    /// Feedback, kept at a time.
    Feedback(FeedbackSource, Vec<FeedbackEntry>, Timestamp),
}

/// Rows of one batch that are settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SettledRows {
    /// How many rows the batch has.
    pub(super) of: u32,
    pub(super) ranges: Vec<Range<u32>>,
}

/// Rows that are settled and not written yet, by batch.
#[derive(Debug, Default)]
pub(super) struct Settled(BTreeMap<BatchId, SettledRows>);

impl Work {
    /// Bytes that it takes on its way, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Insert(insert, _) => match &insert.record {
                Record::Whole(record) => record.len(),
                Record::Staged(_) => 0,
            },
            Self::Change(Change::Segment { bytes, .. }, _) | Self::Change(Change::PutApp(_, bytes), _) => bytes.len(),
            Self::Change(Change::RemoveApp(_), _) | Self::Flush(_) => 0,
            Self::Change(Change::Rejections(rejections, _, _), _) => rejections.len() * 128,
            Self::Change(Change::Feedback(_, entries, _), _) => entries.len() * 64,
        }
    }

    /// Whether the body of an app is replaced or deleted by it.
    pub(super) fn changes_app(&self) -> bool {
        match self {
            Self::Change(Change::PutApp(..) | Change::RemoveApp(_), _) => true,
            Self::Change(Change::Segment { .. } | Change::Rejections(..) | Change::Feedback(..), _) => false,
            Self::Insert(..) | Self::Flush(_) => false,
        }
    }

    /// Answers that it was not done.
    pub(super) fn refuse(self, error: StoreError) {
        match self {
            Self::Insert(_, answer) => drop(answer.send(Err(error))),
            Self::Change(_, answer) | Self::Flush(answer) => drop(answer.send(Err(error))),
        }
    }
}

impl Insert {
    /// The batch is durable.
    pub(super) fn accepted(self, id: BatchId) {
        if let Record::Staged(staged) = self.record {
            staged.keep();
        }
        (self.then)(id);
    }
}

impl Staged {
    pub(super) fn new(stage: i64, mailbox: &Arc<Mailbox>) -> Self {
        Self { stage, mailbox: Some(Arc::clone(mailbox)) }
    }

    pub(super) fn stage(&self) -> i64 {
        self.stage
    }

    fn keep(mut self) {
        self.mailbox = None;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(mailbox) = &self.mailbox {
            mailbox.discard(self.stage);
        }
    }
}

impl SettledRows {
    /// Whether that is the whole batch.
    pub(super) fn is_all(&self) -> bool {
        matches!(&self.ranges[..], [range] if *range == (0..self.of))
    }

    fn add(&mut self, rows: Range<u32>) {
        match self.ranges.last_mut() {
            Some(last) if last.end == rows.start => last.end = rows.end,
            _ => self.ranges.push(rows),
        }
    }
}

impl Settled {
    pub(super) fn add(&mut self, id: BatchId, of: u32, rows: Range<u32>) {
        self.0.entry(id).or_insert_with(|| SettledRows { of, ranges: Vec::new() }).add(rows);
    }

    pub(super) fn merge(&mut self, other: Self) {
        if self.0.is_empty() {
            self.0 = other.0;
            return;
        }
        for (id, settled) in other.0 {
            settled.ranges.into_iter().for_each(|rows| self.add(id, settled.of, rows));
        }
    }

    /// Takes the batches with the lowest ids, at most so many.
    pub(super) fn take(&mut self, batches_max: usize) -> Self {
        match self.0.keys().nth(batches_max).copied() {
            None => std::mem::take(self),
            Some(first_left) => {
                let left = self.0.split_off(&first_left);
                Self(std::mem::replace(&mut self.0, left))
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&BatchId, &SettledRows)> {
        self.0.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
