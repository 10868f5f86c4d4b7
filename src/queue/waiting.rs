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

/// Which line rows wait in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// For callers who wait for the outcome: before all others.
    Express,
    /// Everybody else.
    Ready,
}

/// What is in memory, in the order in which it is to be sent, and what of it the worker holds.
#[derive(Debug)]
pub(super) struct Waiting {
    max_age: Duration,
    memory: Arc<Share>,
    express: VecDeque<Span>,
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
    /// Whether rows that come back untried wait in the express line again.
    is_express: bool,
}

impl Waiting {
    pub(super) fn new(max_age: Duration, memory: Arc<Share>) -> Self {
        let (express, ready) = Default::default();
        Self { max_age, memory, express, ready, batches: HashMap::new(), waiting: 0, leased: 0 }
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
        self.express.is_empty() && self.ready.is_empty()
    }

    /// Whether no row waits in a line.
    pub(super) fn is_line_empty(&self, line: Line) -> bool {
        match line {
            Line::Express => self.express.is_empty(),
            Line::Ready => self.ready.is_empty(),
        }
    }

    /// Memory of the batches in the express line.
    pub(super) fn express_bytes(&self) -> usize {
        self.express.iter().map(|span| span.batch.memory()).sum()
    }

    /// When the first row was accepted.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let fronts = [self.express.front(), self.ready.front()];
        fronts.into_iter().flatten().map(|span| span.batch.accepted_at()).min()
    }

    /// Queues a new batch behind all others.
    pub(super) fn push(&mut self, id: BatchId, batch: Arc<Batch>, reserved: Reserved) {
        let rows = batch.rows();
        if rows > 0 {
            self.open(id, &batch, rows, Some(reserved));
            self.ready.push_back(Span { id, batch, rows: 0..rows, tries: Tries::default() });
        }
    }

    /// Queues a new batch in the express line.
    pub(super) fn push_express(&mut self, id: BatchId, batch: Arc<Batch>, reserved: Option<Reserved>) {
        let rows = batch.rows();
        if rows > 0 {
            self.open(id, &batch, rows, reserved);
            self.express.push_back(Span { id, batch, rows: 0..rows, tries: Tries::default() });
            self.set_express(id, true);
        }
    }

    /// Moves what waits of a batch to the express line.
    pub(super) fn promote(&mut self, id: BatchId) {
        let (promoted, stay): (Vec<Span>, Vec<Span>) = self.ready.drain(..).partition(|span| span.id == id);
        self.ready = stay.into();
        self.express.extend(promoted);
        self.set_express(id, true);
    }

    /// Moves the express line to the front of the other.
    pub(super) fn demote_express(&mut self) {
        while let Some(span) = self.express.pop_back() {
            self.set_express(span.id, false);
            self.ready.push_front(span);
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

    /// Hands out the next rows of a line, at most so many, that are all expired or all not.
    pub(super) fn lease(&mut self, line: Line, rows_max: u32, wall: Option<Timestamp>) -> Option<Leased> {
        let (rows, expired) = self.next_run(self.front(line)?, rows_max, wall);
        let span = self.take_front(line, rows)?;
        Some(if expired { Leased::Expired(span) } else { Leased::Send(span) })
    }

    /// Hands out the next rows of a line if they are expired.
    pub(super) fn lease_expired(&mut self, wall: Timestamp) -> Option<Span> {
        [Line::Express, Line::Ready].into_iter().find_map(|line| {
            match self.next_run(self.front(line)?, u32::MAX, Some(wall)) {
                (rows, true) => self.take_front(line, rows),
                (_, false) => None,
            }
        })
    }

    /// Hands out the spans that are wanted.
    pub(super) fn lease_if(&mut self, is_wanted: impl Fn(&Span) -> bool) -> Vec<Span> {
        let mut spans = Vec::new();
        for line in [Line::Express, Line::Ready] {
            let (wanted, stay): (Vec<Span>, Vec<Span>) = self.line(line).drain(..).partition(&is_wanted);
            *self.line(line) = stay.into();
            spans.extend(wanted);
        }
        spans.iter().for_each(|span| self.count_leased(span));
        spans
    }

    /// Takes spans back to the front of the line they came from, in the order given. What was tried in vain waits with
    /// everybody else.
    pub(super) fn give_back(&mut self, spans: Vec<Span>) {
        for span in spans.into_iter().rev().filter(|span| !span.is_empty()) {
            let rows = u64::from(span.len());
            self.leased = self.leased.saturating_sub(rows);
            self.waiting += rows;
            let mut line = Line::Ready;
            if let Some(open) = self.batches.get_mut(&span.id) {
                open.ready += span.len();
                open.reserved.take();
                if open.is_express && span.tries == Tries::default() {
                    line = Line::Express;
                }
            }
            self.line(line).push_front(span);
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

    fn front(&self, line: Line) -> Option<&Span> {
        match line {
            Line::Express => self.express.front(),
            Line::Ready => self.ready.front(),
        }
    }

    fn line(&mut self, line: Line) -> &mut VecDeque<Span> {
        match line {
            Line::Express => &mut self.express,
            Line::Ready => &mut self.ready,
        }
    }

    fn set_express(&mut self, id: BatchId, is_express: bool) {
        if let Some(open) = self.batches.get_mut(&id) {
            open.is_express = is_express;
        }
    }

    fn take_front(&mut self, line: Line, rows: u32) -> Option<Span> {
        let mut rest = self.line(line).pop_front()?;
        let span = rest.take_front(rows);
        if !rest.is_empty() {
            self.line(line).push_front(rest);
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
            is_express: false,
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
