//! The rows of one app that are in memory, as a plain data structure: no lock, no clock, no store.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Leased;
use super::bounds::{Reserved, Share};
use crate::domain::batch::{Batch, BatchId, Span, Tries};
use crate::domain::time::Timestamp;

/// Room that an empty queue keeps.
const BATCHES_KEPT: usize = 256;

/// What is in memory, in the order in which it is to be sent, and what of it the worker holds.
#[derive(Debug)]
pub(super) struct Waiting {
    max_age: Duration,
    memory: Arc<Share>,
    ready: VecDeque<Span>,
    batches: HashMap<BatchId, Open>,
    waiting: u64,
    leased: u64,
}

/// A batch with rows in memory that are not settled.
#[derive(Debug)]
struct Open {
    /// Rows that are not settled.
    left: u32,
    /// Rows of them that wait.
    ready: u32,
    /// No row of the batch expires before.
    earliest_expiry: Timestamp,
    /// Its memory; given back as long as no row waits.
    reserved: Reserved,
}

impl Waiting {
    pub(super) fn new(max_age: Duration, memory: Arc<Share>) -> Self {
        Self { max_age, memory, ready: VecDeque::new(), batches: HashMap::new(), waiting: 0, leased: 0 }
    }

    /// Rows that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Rows that the worker holds.
    pub(super) fn leased(&self) -> u64 {
        self.leased
    }

    /// Whether no row waits.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// When the first row was accepted.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.ready.front().map(|span| span.batch.accepted_at())
    }

    /// Queues a new batch behind all others.
    pub(super) fn push(&mut self, id: BatchId, batch: Arc<Batch>, reserved: Reserved) {
        let rows = batch.rows();
        if rows > 0 {
            self.open(id, &batch, rows, Some(reserved));
            self.ready.push_back(Span { id, batch, rows: 0..rows, tries: Tries::default() });
        }
    }

    /// Queues spans of batches that were on disk, behind all others, in the order given.
    pub(super) fn append(&mut self, spans: Vec<Span>) {
        for span in spans.into_iter().filter(|span| !span.is_empty()) {
            self.open(span.id, &span.batch, span.len(), None);
            self.ready.push_back(span);
        }
    }

    /// Queues spans of batches that are not in memory before all others, in the order given.
    pub(super) fn prepend(&mut self, spans: Vec<Span>) {
        for span in spans.into_iter().rev().filter(|span| !span.is_empty()) {
            self.open(span.id, &span.batch, span.len(), None);
            self.ready.push_front(span);
        }
    }

    /// Hands out the next rows, at most so many, that are all expired or all not.
    pub(super) fn lease(&mut self, rows_max: u32, wall: Option<Timestamp>) -> Option<Leased> {
        let (rows, expired) = self.next_run(self.ready.front()?, rows_max, wall);
        let span = self.take_front(rows)?;
        Some(if expired { Leased::Expired(span) } else { Leased::Send(span) })
    }

    /// Hands out the next rows if they are expired.
    pub(super) fn lease_expired(&mut self, wall: Timestamp) -> Option<Span> {
        match self.next_run(self.ready.front()?, u32::MAX, Some(wall)) {
            (rows, true) => self.take_front(rows),
            (_, false) => None,
        }
    }

    /// Hands out the spans that are wanted.
    pub(super) fn lease_if(&mut self, is_wanted: impl Fn(&Span) -> bool) -> Vec<Span> {
        let (spans, stay): (Vec<Span>, Vec<Span>) = self.ready.drain(..).partition(is_wanted);
        self.ready = stay.into();
        spans.iter().for_each(|span| self.count_leased(span));
        spans
    }

    /// Takes spans back to the front, in the order given.
    pub(super) fn give_back(&mut self, spans: Vec<Span>) {
        for span in spans.into_iter().rev().filter(|span| !span.is_empty()) {
            let rows = u64::from(span.len());
            self.leased = self.leased.saturating_sub(rows);
            self.waiting += rows;
            if let Some(open) = self.batches.get_mut(&span.id) {
                open.ready += span.len();
                open.reserved.take();
            }
            self.ready.push_front(span);
        }
    }

    /// A leased span is in memory no more: done for good, or moved to a batch of its own.
    pub(super) fn remove(&mut self, span: &Span) {
        self.leased = self.leased.saturating_sub(u64::from(span.len()));
        let Some(open) = self.batches.get_mut(&span.id) else { return };
        open.left = open.left.saturating_sub(span.len());
        if open.left == 0 {
            self.batches.remove(&span.id);
            if self.batches.is_empty() {
                self.batches.shrink_to(BATCHES_KEPT);
                self.ready.shrink_to(BATCHES_KEPT);
            }
        }
    }

    fn take_front(&mut self, rows: u32) -> Option<Span> {
        let mut rest = self.ready.pop_front()?;
        let span = rest.take_front(rows);
        if !rest.is_empty() {
            self.ready.push_front(rest);
        }
        self.count_leased(&span);
        Some(span)
    }

    fn open(&mut self, id: BatchId, batch: &Batch, rows: u32, reserved: Option<Reserved>) {
        self.waiting += u64::from(rows);
        let earliest_expiry = self.earliest_expiry(batch);
        let memory = &self.memory;
        let new = || Open {
            left: 0,
            ready: 0,
            earliest_expiry,
            reserved: reserved.unwrap_or_else(|| memory.take(batch.memory())),
        };
        let open = self.batches.entry(id).or_insert_with(new);
        open.left += rows;
        open.ready += rows;
        open.reserved.take();
    }

    fn count_leased(&mut self, span: &Span) {
        let rows = u64::from(span.len());
        self.waiting = self.waiting.saturating_sub(rows);
        self.leased += rows;
        if let Some(open) = self.batches.get_mut(&span.id) {
            open.ready = open.ready.saturating_sub(span.len());
            if open.ready == 0 {
                open.reserved.release();
            }
        }
    }

    /// How many rows at the head of a span are all expired or all not, and which. Without a wall clock none is.
    fn next_run(&self, span: &Span, rows_max: u32, wall: Option<Timestamp>) -> (u32, bool) {
        let rows_max = rows_max.min(span.len());
        let earliest_expiry = self.batches.get(&span.id).map(|open| open.earliest_expiry);
        let Some(wall) = wall.filter(|wall| earliest_expiry.is_none_or(|earliest| earliest <= *wall)) else {
            return (rows_max, false);
        };
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
}
