//! What of one app's queue is on disk only, in two lanes. Pure: positions and counts, no rows.
//!
//! *Fresh* batches wait for nothing and are read in the order of their ids, up to a position; whatever was committed
//! beyond it is on disk only. While nothing is, a batch that finds room in memory stays there, and the position moves
//! with it. *Deferred* batches wait for a due time, and are read when it comes.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Instant;
use crate::domain::batch::{Batch, BatchId, Span};
use crate::domain::time::Timestamp;
use crate::store::{Backlog, Stored};

/// Rows are due after this long at the latest, whatever the wall clock says meanwhile.
const DUE_MAX: Duration = Duration::from_secs(60 * 60);

/// Where an announced batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To be kept in memory.
    Memory,
    /// On disk only.
    Disk,
    /// Read from disk before it was announced.
    Loaded,
}

/// The fresh lane.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// The last batch that was read, or stayed in memory.
    loaded_to: BatchId,
    /// The last batch that is on disk only, if it is beyond `loaded_to`.
    spilled_to: BatchId,
    /// Batches beyond `loaded_to` that are, or were, in memory: not to be read again.
    known: BTreeSet<BatchId>,
    /// Rows that are on disk only.
    rows: u64,
    /// When the oldest of them was accepted.
    oldest: Option<Timestamp>,
}

impl Fresh {
    pub(super) fn new(backlog: &Backlog) -> Self {
        let oldest = (backlog.newest > BatchId::default()).then_some(backlog.oldest);
        let rows = backlog.rows.saturating_sub(backlog.deferred);
        Self { spilled_to: backlog.newest, rows, oldest, ..Self::default() }
    }

    /// Whether something is on disk only.
    pub(super) fn is_on_disk(&self) -> bool {
        self.loaded_to < self.spilled_to
    }

    /// Whether batches up to one are on disk only.
    pub(super) fn has_on_disk(&self, up_to: BatchId) -> bool {
        self.loaded_to < self.spilled_to.min(up_to)
    }

    /// Where to read on.
    pub(super) fn loaded_to(&self) -> BatchId {
        self.loaded_to
    }

    /// The last batch that was announced or read.
    pub(super) fn newest(&self) -> BatchId {
        let known = self.known.last().copied().unwrap_or_default();
        self.loaded_to.max(self.spilled_to).max(known)
    }

    /// Rows that are on disk only.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// When the oldest of them was accepted.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.oldest
    }

    /// A new batch; they come in the order of ids.
    pub(super) fn announce(&mut self, id: BatchId, batch: &Batch, fits: bool) -> Place {
        if id <= self.loaded_to {
            return Place::Loaded;
        }
        if fits && !self.is_on_disk() {
            self.loaded_to = id;
            return Place::Memory;
        }
        self.spilled_to = id;
        self.rows += u64::from(batch.rows());
        self.oldest.get_or_insert(batch.accepted_at());
        Place::Disk
    }

    /// A new batch that stays in memory whatever its place among the others; whether it was not read already.
    pub(super) fn announce_kept(&mut self, id: BatchId) -> bool {
        if id <= self.loaded_to {
            return false;
        }
        match self.is_on_disk() {
            true => drop(self.known.insert(id)),
            false => self.loaded_to = id,
        }
        true
    }

    /// A batch was read; whether it was not in memory before.
    pub(super) fn load(&mut self, stored: &Stored) -> bool {
        self.loaded_to = self.loaded_to.max(stored.id);
        self.oldest = Some(stored.batch.accepted_at());
        let is_new = !self.known.remove(&stored.id);
        if is_new {
            self.rows = self.rows.saturating_sub(rows_of(stored));
        }
        is_new
    }

    /// A read is over; with `end`, all that was there when it began is read, up to the batch that was `newest` then.
    pub(super) fn loaded(&mut self, end: Option<BatchId>) {
        self.loaded_to = self.loaded_to.max(end.unwrap_or_default());
        // What was settled meanwhile is not among what is read.
        self.known = self.known.split_off(&BatchId(self.loaded_to.0 + 1));
        if !self.is_on_disk() {
            self.loaded_to = self.newest();
            self.known.clear();
            self.rows = 0;
            self.oldest = None;
        }
    }
}

/// The lane of deferred batches.
#[derive(Debug)]
pub(super) struct Deferred {
    /// Everything up to here was read.
    read_to: (Timestamp, BatchId),
    /// No batch may become due before: a read that is under way would miss it.
    not_before: Timestamp,
    /// The first batch that is due.
    next: Option<Due>,
    /// The first of those that were deferred since the last read began.
    added: Option<Due>,
    /// Rows in it.
    rows: u64,
    /// When the oldest of them was accepted.
    oldest: Option<Timestamp>,
}

/// A due time on both clocks: by the one it comes, by the other it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: Instant,
    pub(super) stored: Timestamp,
}

impl Deferred {
    pub(super) fn new(backlog: Option<&Backlog>, now: Instant, wall: Timestamp) -> Self {
        let next = backlog.and_then(|backlog| backlog.next_due);
        Self {
            read_to: (Timestamp::from_millis(i64::MIN), BatchId::default()),
            not_before: Timestamp::from_millis(i64::MIN),
            next: next.map(|stored| Due::of(stored, now, wall)),
            added: None,
            rows: backlog.map_or(0, |backlog| backlog.deferred),
            oldest: next.and(backlog).map(|backlog| backlog.oldest),
        }
    }

    pub(super) fn read_to(&self) -> (Timestamp, BatchId) {
        self.read_to
    }

    pub(super) fn next(&self) -> Option<Due> {
        self.next
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.oldest
    }

    /// The time to store for rows that are due after a wait.
    pub(super) fn due(&self, wait: Duration, now: Instant, wall: Timestamp) -> Due {
        let wait = wait.min(DUE_MAX);
        Due { at: now + wait, stored: wall.plus(wait).max(self.not_before) }
    }

    /// Rows were deferred.
    pub(super) fn add(&mut self, due: Due, span: &Span) {
        let accepted_at = span.batch.accepted_at();
        self.rows += u64::from(span.len());
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
        self.added = Some(self.added.map_or(due, |added| added.min(due)));
        self.oldest = Some(self.oldest.map_or(accepted_at, |oldest| oldest.min(accepted_at)));
    }

    /// A read begins, of everything that is due until a time.
    pub(super) fn begin(&mut self, until: Timestamp) {
        self.not_before = self.not_before.max(until.plus(Duration::from_millis(1)));
        self.added = None;
    }

    /// Everything was read and is gone: read from the beginning again.
    pub(super) fn restart(&mut self) {
        if self.next.is_none() {
            self.read_to = (Timestamp::from_millis(i64::MIN), BatchId::default());
            self.not_before = Timestamp::from_millis(i64::MIN);
        }
    }

    /// A read is over: what it brought, and what is due next beyond it.
    pub(super) fn loaded(&mut self, stored: &[Stored], next: Option<Due>) {
        let read_to = stored.last().and_then(|last| Some((last.due?, last.id)));
        self.read_to = self.read_to.max(read_to.unwrap_or(self.read_to));
        self.rows = self.rows.saturating_sub(stored.iter().map(rows_of).sum());
        self.next = self.added.into_iter().chain(next).min();
        if self.next.is_none() {
            self.rows = 0;
            self.oldest = None;
        }
    }
}

impl Due {
    /// When a stored time comes. A wall clock that was set back delays it by an hour at most.
    pub(super) fn of(stored: Timestamp, now: Instant, wall: Timestamp) -> Self {
        Self { at: now + stored.since(wall).min(DUE_MAX), stored }
    }
}

fn rows_of(stored: &Stored) -> u64 {
    stored.rows.iter().map(|rows| u64::from(rows.end - rows.start)).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::batch::{Message, PushOptions, Tries};
    use crate::domain::token::Tokens;

    const T: Timestamp = Timestamp::from_secs(1_000_000);

    /// A batch of one row.
    fn batch() -> Batch {
        let mut tokens = Tokens::default();
        tokens.push(&[7; 32]);
        Batch::broadcast(T, tokens, Message { payload: b"{}"[..].into(), options: PushOptions::default() })
    }

    fn stored(id: u64, due: Option<Timestamp>) -> Stored {
        let rows = std::iter::once(0..1).collect();
        Stored { id: BatchId(id), batch: Arc::new(batch()), rows, due, tries: Tries::default() }
    }

    fn announce(fresh: &mut Fresh, id: u64, fits: bool) -> Place {
        fresh.announce(BatchId(id), &batch(), fits)
    }

    fn load(fresh: &mut Fresh, id: u64) -> bool {
        fresh.load(&stored(id, None))
    }

    #[test]
    fn once_a_batch_is_on_disk_only_those_after_it_are_too_until_it_is_read() {
        let mut fresh = Fresh::default();
        assert_eq!(announce(&mut fresh, 1, true), Place::Memory);
        assert_eq!(announce(&mut fresh, 2, false), Place::Disk);
        assert_eq!(announce(&mut fresh, 3, true), Place::Disk);
        assert_eq!(fresh.rows(), 2);
        assert!(load(&mut fresh, 2));
        fresh.loaded(None);
        assert!(fresh.is_on_disk());
        assert!(load(&mut fresh, 3));
        fresh.loaded(None);
        assert!(!fresh.is_on_disk());
        assert_eq!(announce(&mut fresh, 4, true), Place::Memory);
    }

    #[test]
    fn a_batch_that_is_read_before_it_is_announced_is_not_kept_twice() {
        let mut fresh = Fresh::default();
        announce(&mut fresh, 1, false);
        assert!(load(&mut fresh, 1) && load(&mut fresh, 2));
        fresh.loaded(None);
        assert_eq!(announce(&mut fresh, 2, true), Place::Loaded);
        assert_eq!(announce(&mut fresh, 3, true), Place::Memory);
    }

    #[test]
    fn a_batch_that_stays_in_memory_is_not_read_again() {
        let mut fresh = Fresh::default();
        announce(&mut fresh, 1, false);
        assert!(fresh.announce_kept(BatchId(2)));
        announce(&mut fresh, 3, false);
        assert!(load(&mut fresh, 1));
        assert!(!load(&mut fresh, 2));
        assert!(load(&mut fresh, 3));
    }

    #[test]
    fn a_batch_kept_beyond_the_end_of_a_read_is_not_read_by_the_next() {
        let mut fresh = Fresh::default();
        announce(&mut fresh, 1, false);
        assert!(fresh.announce_kept(BatchId(2)));
        load(&mut fresh, 1);
        fresh.loaded(None);
        announce(&mut fresh, 3, false);
        assert_eq!(fresh.loaded_to(), BatchId(2), "the next read begins behind it");
    }

    #[test]
    fn batches_that_were_settled_by_somebody_else_do_not_keep_the_lane_open() {
        let mut fresh = Fresh::default();
        announce(&mut fresh, 1, false);
        fresh.loaded(Some(BatchId(1)));
        assert!(!fresh.is_on_disk());
    }

    #[test]
    fn a_row_deferred_during_a_read_is_due_behind_what_is_read() {
        let now = Instant::from_start(Duration::from_secs(5));
        let mut deferred = Deferred::new(None, now, T);
        deferred.begin(T);
        let set_back = T.minus(Duration::from_secs(3600));
        let due = deferred.due(Duration::from_secs(1), now, set_back);
        assert_eq!(due.at, now + Duration::from_secs(1));
        assert_eq!(due.stored, T.plus(Duration::from_millis(1)));
        let span = Span { id: BatchId(9), batch: Arc::new(batch()), rows: 0..1, tries: Tries::default() };
        deferred.add(due, &span);
        deferred.loaded(&[], None);
        assert_eq!((deferred.next(), deferred.rows()), (Some(due), 1));
        deferred.begin(due.stored);
        deferred.loaded(&[stored(10, Some(due.stored))], None);
        assert_eq!((deferred.next(), deferred.rows()), (None, 0));
    }

    #[test]
    fn a_due_time_is_an_hour_away_at_most() {
        let due = Due::of(T.plus(Duration::from_secs(86_400)), Instant::default(), T);
        assert_eq!(due.at, Instant::default() + Duration::from_secs(3600));
    }
}
