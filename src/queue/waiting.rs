//! The rows of one app that wait, as a plain data structure: no lock, no clock, no store.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::bounds::Reserved;
use super::{Depth, Leased};
use crate::clock::Instant;
use crate::domain::batch::{Batch, BatchId, Span, Tries};
use crate::domain::time::Timestamp;

/// What waits, in the order in which it is to be sent, and what waits for a due time.
#[derive(Debug)]
pub(super) struct Waiting {
    max_age: Duration,
    closed: bool,
    ready: VecDeque<Span>,
    deferred: BinaryHeap<Reverse<Deferred>>,
    batches: HashMap<BatchId, Open>,
    waiting: u64,
    leased: u64,
}

/// A batch with rows that are not settled.
#[derive(Debug)]
struct Open {
    rows_left: u32,
    /// No row of the batch expires before.
    earliest_expiry: Timestamp,
    /// Gives its memory back when the last row is settled. Readmitted rows have none: they were refused nothing.
    _reserved: Option<Reserved>,
}

#[derive(Debug)]
struct Deferred {
    due: Instant,
    span: Span,
}

impl Waiting {
    pub(super) fn new(max_age: Duration) -> Self {
        Self {
            max_age,
            closed: false,
            ready: VecDeque::new(),
            deferred: BinaryHeap::new(),
            batches: HashMap::new(),
            waiting: 0,
            leased: 0,
        }
    }

    /// Queues a batch in the order of ids among batches that were never leased; whether the queue still takes some.
    pub(super) fn push(&mut self, id: BatchId, batch: Arc<Batch>, reserved: Reserved) -> bool {
        if self.closed {
            return false;
        }
        let rows = batch.rows();
        if rows == 0 {
            return true;
        }
        let earliest_expiry = self.earliest_expiry(&batch);
        self.batches.insert(id, Open { rows_left: rows, earliest_expiry, _reserved: Some(reserved) });
        self.waiting += u64::from(rows);
        let span = Span { id, batch, rows: 0..rows, tries: Tries::default() };
        let behind = self.ready.iter().rev().take_while(|other| other.id > id && other.tries == span.tries).count();
        self.ready.insert(self.ready.len() - behind, span);
        true
    }

    pub(super) fn lease(&mut self, rows_max: u32, now: Instant, wall: Timestamp) -> Option<Leased> {
        self.ready_what_is_due(now);
        let span = self.ready.front()?;
        let (rows, expired) = self.next_run(span, rows_max, wall);
        let mut rest = self.ready.pop_front()?;
        let span = rest.take_front(rows);
        if !rest.is_empty() {
            self.ready.push_front(rest);
        }
        self.count_leased(&span);
        Some(if expired { Leased::Expired(span) } else { Leased::Send(span) })
    }

    pub(super) fn lease_all(&mut self) -> Vec<Span> {
        let deferred = self.deferred.drain().map(|Reverse(deferred)| deferred.span);
        let mut spans: Vec<Span> = self.ready.drain(..).chain(deferred).collect();
        spans.sort_by_key(|span| (span.id, span.rows.start));
        spans.iter().for_each(|span| self.count_leased(span));
        spans
    }

    pub(super) fn give_back(&mut self, spans: Vec<Span>) {
        for span in spans.into_iter().rev().filter(|span| !span.is_empty()) {
            self.count_returned(&span);
            self.ready.push_front(span);
        }
    }

    pub(super) fn readmit(&mut self, spans: Vec<Span>) {
        for span in &spans {
            let earliest_expiry = self.earliest_expiry(&span.batch);
            let open = self.batches.entry(span.id);
            let open = open.or_insert(Open { rows_left: 0, earliest_expiry, _reserved: None });
            open.rows_left += span.len();
            self.leased += u64::from(span.len());
        }
        self.give_back(spans);
    }

    pub(super) fn defer(&mut self, span: Span, due: Instant) {
        if !span.is_empty() {
            self.count_returned(&span);
            self.deferred.push(Reverse(Deferred { due, span }));
        }
    }

    pub(super) fn settle(&mut self, span: &Span) {
        self.leased = self.leased.saturating_sub(u64::from(span.len()));
        let Some(open) = self.batches.get_mut(&span.id) else { return };
        open.rows_left = open.rows_left.saturating_sub(span.len());
        if open.rows_left == 0 {
            self.batches.remove(&span.id);
        }
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_ready(&self, now: Instant) -> bool {
        !self.ready.is_empty() || self.next_due().is_some_and(|due| due <= now)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.deferred.peek().map(|Reverse(deferred)| deferred.due)
    }

    pub(super) fn depth(&self) -> Depth {
        let ready = self.ready.front().map(|span| span.batch.accepted_at());
        let deferred = self.deferred.peek().map(|Reverse(deferred)| deferred.span.batch.accepted_at());
        Depth { waiting: self.waiting, leased: self.leased, oldest: ready.into_iter().chain(deferred).min() }
    }

    fn ready_what_is_due(&mut self, now: Instant) {
        while self.next_due().is_some_and(|due| due <= now) {
            if let Some(Reverse(deferred)) = self.deferred.pop() {
                self.ready.push_front(deferred.span);
            }
        }
    }

    /// How many rows at the head of a span are all expired or all not, and which.
    fn next_run(&self, span: &Span, rows_max: u32, wall: Timestamp) -> (u32, bool) {
        let rows_max = rows_max.min(span.len());
        let nothing_expired = self.batches.get(&span.id).is_some_and(|open| wall < open.earliest_expiry);
        if nothing_expired {
            return (rows_max, false);
        }
        let is_expired = |row: u32| self.expiry(&span.batch, span.batch.message_index(row)) <= wall;
        let expired = is_expired(span.rows.start);
        let run = span.rows.clone().take_while(|row| is_expired(*row) == expired).count();
        (u32::try_from(run).unwrap_or(u32::MAX).min(rows_max), expired)
    }

    fn earliest_expiry(&self, batch: &Batch) -> Timestamp {
        let expiries = (0..batch.messages().len()).map(|message| self.expiry(batch, message));
        expiries.min().unwrap_or_else(|| batch.accepted_at().plus(self.max_age))
    }

    /// When rows with this message are too old: their own expiration, `max_age` at the latest. An expiration of 0 is
    /// the provider's business (one attempt, not stored): here it waits like any other.
    fn expiry(&self, batch: &Batch, message: usize) -> Timestamp {
        let oldest = batch.accepted_at().plus(self.max_age);
        match batch.messages()[message].options.expiration {
            None | Some(0) => oldest,
            Some(expiration) => oldest.min(Timestamp::from_secs(i64::from(expiration))),
        }
    }

    fn count_leased(&mut self, span: &Span) {
        self.waiting = self.waiting.saturating_sub(u64::from(span.len()));
        self.leased += u64::from(span.len());
    }

    fn count_returned(&mut self, span: &Span) {
        self.leased = self.leased.saturating_sub(u64::from(span.len()));
        self.waiting += u64::from(span.len());
    }
}

impl PartialEq for Deferred {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Deferred {}

impl PartialOrd for Deferred {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Deferred {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.span.id, self.span.rows.start).cmp(&(other.due, other.span.id, other.span.rows.start))
    }
}
