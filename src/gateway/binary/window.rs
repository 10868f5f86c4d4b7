//! The send window: which rows are on the wire without an outcome, and what each event makes of them. Pure: events and
//! `now` in, outcomes out; no socket, no clock.
//!
//! It lives as long as its app's gateway. Identifiers restart at 1 with each connection; isolation and growth (see
//! `limits`) outlast it. The gateway never says yes, so that a row's fate follows from what it says of others:
//!
//! ```text
//!           encode                flushed, then settle_after of silence
//! waiting ─────────► sent ─────────────────────────────────────────────► Presumed
//!    │                │ end of the connection:
//!    │                ├─ before the row that an error packet names ────► Accepted
//!    │                ├─ the named row: see `verdict` ─────────────────► Rejected, Transient, …
//!    │                ├─ after it ─────────────────────────────────────► NotProcessed
//!    │                ├─ a sentinel was answered ──────────────────────► Accepted
//!    │                └─ no word, or none that names a row ────────────► Unknown
//!    └─ end of the connection ─────────────────────────────────────────► NotProcessed
//! ```
//!
//! **Presumed** needs all bytes flushed to the kernel `settle_after` ago. While the writer is blocked nothing is
//! presumed, and that time does not count: a gateway that does not read cannot complain. While a sentinel is out
//! nothing is presumed either, because a silent gateway then means the opposite.
//!
//! **Late packets.** A gateway may be slower than `settle_after`. Presumed rows are therefore remembered for as long
//! again; a packet about one of them revises it and the rows after it, which the gateway discarded.

mod ending;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;

pub(super) use self::ending::{End, Ending};
use super::frame::{encode_frame, encode_sentinel, frame_len};
use super::limits::{Growth, Isolation, company};
use super::ranges::Ranges;
use crate::clock::Instant;
use crate::domain::batch::{Notification, Span};
use crate::domain::outcome::{Outcome, Settled};
use crate::gateway::Settings;

/// Bytes that are encoded at a time: three TLS records, and little beside a socket's send buffer.
const CHUNK_BYTES: usize = 48 * 1024;
/// What a row takes, for estimates of room: a frame with a usual alert.
const ROW_BYTES: usize = 160;
/// Flushes closer together than this part of `settle_after` settle together.
const MARKS_PER_SETTLEMENT: u32 = 50;
/// Most ranges of presumed rows that are remembered for late packets.
const PRESUMED_RANGES_MAX: usize = 1024;
/// A connection that used so many identifiers is replaced.
const IDENTIFIER_LAST: u32 = u32::MAX / 2;

/// The send window of one app's binary gateway.
#[derive(Debug)]
pub(super) struct Window {
    settle_after: Duration,
    max_attempts: u8,
    isolation: Isolation,
    growth: Growth,
    /// Whether a sentinel was ever left without an answer: then none is sent only to make room.
    sentinel_failed: bool,
    line: Line,
}

/// The rows of one connection.
#[derive(Debug)]
struct Line {
    /// Accepted from the caller, not encoded yet.
    waiting: VecDeque<Span>,
    /// Encoded, and marked once flushed.
    sent: Ranges,
    /// Presumed on this connection a short while ago.
    presumed: Ranges,
    /// The next identifier.
    next: u32,
    /// Rows of `waiting` and `sent`, and what they take of the window ([`row_bytes`]).
    rows: u32,
    bytes: usize,
    /// The least company that any of these rows bears.
    company: u32,
    /// What the last row bears and takes that `push` had to refuse; more of its kind wait outside.
    refused: Option<Refused>,
    /// Since when there are encoded bytes that the kernel has not taken.
    unflushed_since: Option<Instant>,
    sentinel: Sentinel,
    /// Whether anything settled on this connection.
    has_settled: bool,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    company: u32,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sentinel {
    None,
    /// To be sent after what is sent already.
    Due(Instant),
    /// On its way since, with an identifier of its own; answered or given up by the deadline.
    Out(u32, Instant),
}

impl Window {
    /// An empty window.
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            settle_after: settings.settle_after,
            max_attempts: settings.max_attempts,
            isolation: Isolation::default(),
            growth: Growth::full(),
            sentinel_failed: false,
            line: Line::new(),
        }
    }

    /// A new connection stands.
    pub(super) fn opened(&mut self, now: Instant) {
        self.growth.opened(now);
    }

    /// Takes the rows at the front of a span that fit and returns the rest.
    pub(super) fn push(&mut self, mut span: Span) -> Option<Span> {
        let company = company(span.tries.unknown, self.max_attempts);
        let (count, refused) = self.fitting(&span, company);
        self.line.refused = refused.map(|bytes| Refused { company, bytes });
        if count > 0 {
            let front = span.take_front(count);
            self.line.rows += front.len();
            self.line.bytes += span_bytes(&front);
            self.line.company = self.line.company.min(company);
            self.line.waiting.push_back(front);
        }
        (!span.is_empty()).then_some(span)
    }

    /// How many rows of a span fit, and what the first one that does not would take. One row always fits into an empty
    /// window.
    fn fitting(&self, span: &Span, company: u32) -> (u32, Option<usize>) {
        let rows_free = match self.line.sentinel {
            Sentinel::None => self.rows_max().min(company).saturating_sub(self.line.rows),
            Sentinel::Due(_) | Sentinel::Out(..) => 0,
        };
        let mut bytes = self.line.bytes;
        let memory = span.batch.memory_per_row();
        for (count, notification) in (0..).zip(span.notifications()) {
            let taken = row_bytes(&notification, memory);
            let is_first = self.line.rows == 0 && count == 0;
            if count == rows_free || (bytes + taken > self.growth.bytes() && !is_first) {
                return (count, Some(taken));
            }
            bytes += taken;
        }
        (span.len(), None)
    }

    fn rows_max(&self) -> u32 {
        self.isolation.rows().min(self.line.company)
    }

    /// Rows that would be taken now, an estimate; none while rows that were refused would be refused again.
    pub(super) fn room(&self) -> u32 {
        let line = &self.line;
        let refused = line.refused.unwrap_or(Refused { company: u32::MAX, bytes: 1 });
        let bytes_free = self.growth.bytes().saturating_sub(line.bytes);
        if line.sentinel != Sentinel::None || (bytes_free < refused.bytes && line.rows > 0) {
            return 0;
        }
        let by_bytes = u32::try_from(bytes_free / ROW_BYTES).unwrap_or(u32::MAX).max(1);
        let by_rows = self.rows_max().min(refused.company).saturating_sub(line.rows);
        by_rows.min(by_bytes)
    }

    /// Rows without an outcome.
    pub(super) fn rows(&self) -> u32 {
        self.line.rows
    }

    /// Whether no row was ever sent on this connection.
    pub(super) fn is_unused(&self) -> bool {
        self.line.next == 1
    }

    /// Appends the next frames, about [`CHUNK_BYTES`] of them, and the sentinel when it is its turn.
    pub(super) fn encode(&mut self, out: &mut BytesMut, now: Instant) {
        let line = &mut self.line;
        match line.sentinel {
            Sentinel::None => {
                while out.len() < CHUNK_BYTES
                    && let Some(mut span) = line.waiting.pop_front()
                {
                    let front = line.encode_front(&mut span, out);
                    line.sent.push(line.next - front.len(), front);
                    if !span.is_empty() {
                        line.waiting.push_front(span);
                    }
                }
            }
            Sentinel::Due(deadline) => {
                encode_sentinel(line.next, out);
                line.sentinel = Sentinel::Out(line.next, deadline);
                line.next += 1;
            }
            Sentinel::Out(..) => {}
        }
        if !out.is_empty() {
            line.unflushed_since.get_or_insert(now);
        }
    }

    /// Everything that was encoded is with the kernel.
    pub(super) fn flushed(&mut self, now: Instant) {
        if let Some(since) = self.line.unflushed_since.take() {
            self.line.sent.postpone(now.since(since));
            self.line.sent.mark(self.line.next, now, self.settle_after / MARKS_PER_SETTLEMENT);
        }
    }

    /// Since when the kernel has been refusing bytes.
    pub(super) fn unflushed_since(&self) -> Option<Instant> {
        self.line.unflushed_since
    }

    /// Lets time pass: presumes what has been silent for long enough, forgets, grows.
    pub(super) fn poll(&mut self, now: Instant) -> Vec<Settled> {
        self.growth.poll(now);
        drop(self.line.presumed.take_older(self.settle_after, now));
        if self.line.unflushed_since.is_some() || self.line.sentinel != Sentinel::None {
            return Vec::new();
        }
        let taken = self.line.sent.take_older(self.settle_after, now);
        let Some((last, span)) = taken.last() else { return Vec::new() };
        self.line.presumed.mark(last + span.len(), now, self.settle_after / MARKS_PER_SETTLEMENT);
        let presumed = taken.into_iter().map(|(first, span)| self.presume(first, span)).collect();
        self.line.presumed.truncate_front(PRESUMED_RANGES_MAX);
        self.line.recount_company(self.max_attempts);
        presumed
    }

    fn presume(&mut self, first: u32, span: Span) -> Settled {
        self.line.has_settled = true;
        self.line.rows -= span.len();
        self.line.bytes -= span_bytes(&span);
        self.line.presumed.push(first, span.clone());
        self.isolation.settled(span.len());
        Settled { span, outcome: Outcome::Presumed }
    }

    /// When [`Window::poll`] has something to do next, or a sentinel is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let line = &self.line;
        let after = |moment: Option<Instant>| moment.map(|moment| moment + self.settle_after);
        let settling = match (line.sentinel, line.unflushed_since) {
            (Sentinel::Due(deadline) | Sentinel::Out(_, deadline), _) => Some(deadline),
            (Sentinel::None, None) => after(line.sent.oldest()),
            (Sentinel::None, Some(_)) => None,
        };
        [settling, after(line.presumed.oldest()), self.growth.deadline()].into_iter().flatten().min()
    }

    /// Whether rows are held that were not encoded yet.
    pub(super) fn has_unsent(&self) -> bool {
        !self.line.waiting.is_empty()
    }

    /// Gives back the rows that were not encoded yet, in order.
    pub(super) fn take_unsent(&mut self) -> Vec<Span> {
        let unsent: Vec<Span> = self.line.waiting.drain(..).collect();
        self.line.rows -= unsent.iter().map(Span::len).sum::<u32>();
        self.line.bytes -= unsent.iter().map(span_bytes).sum::<usize>();
        self.line.recount_company(self.max_attempts);
        unsent
    }

    /// Begins a planned close: nothing more is taken, what waits stays unsent, a sentinel is to prove the rest. It is
    /// given up at the deadline; an earlier one counts.
    pub(super) fn retire(&mut self, deadline: Instant) {
        self.line.sentinel = match self.line.sentinel {
            Sentinel::None => Sentinel::Due(deadline),
            Sentinel::Due(earlier) => Sentinel::Due(earlier.min(deadline)),
            Sentinel::Out(identifier, earlier) => Sentinel::Out(identifier, earlier.min(deadline)),
        };
    }

    /// Whether a planned close has begun.
    pub(super) fn is_retiring(&self) -> bool {
        self.line.sentinel != Sentinel::None
    }

    /// Whether a sentinel's answer is overdue: the connection has to end as [`End::Unanswered`].
    pub(super) fn is_sentinel_overdue(&self, now: Instant) -> bool {
        match self.line.sentinel {
            Sentinel::None => false,
            Sentinel::Due(deadline) | Sentinel::Out(_, deadline) => deadline <= now,
        }
    }

    /// Whether the connection should be retired for the window's own sake: its identifiers are used up, or the whole
    /// window is full, more rows wait, and a sentinel would prove it sooner than silence. Not after errors, and not
    /// with a gateway that ever left a sentinel without an answer: it would be asked to send everything again.
    pub(super) fn wants_retirement(&self) -> bool {
        let line = &self.line;
        let is_full = line.refused.is_some_and(|refused| line.bytes + refused.bytes > self.growth.bytes());
        let may_flush = self.growth.is_full() && !self.sentinel_failed;
        let flush = is_full && may_flush && line.waiting.is_empty();
        line.sentinel == Sentinel::None && (flush || line.next > IDENTIFIER_LAST)
    }
}

impl Line {
    fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            sent: Ranges::default(),
            presumed: Ranges::default(),
            next: 1,
            rows: 0,
            bytes: 0,
            company: u32::MAX,
            refused: None,
            unflushed_since: None,
            sentinel: Sentinel::None,
            has_settled: false,
        }
    }

    /// Encodes rows of a span until the chunk is full, and cuts them off it.
    fn encode_front(&mut self, span: &mut Span, out: &mut BytesMut) -> Span {
        let mut count = 0;
        for notification in span.notifications() {
            if out.len() >= CHUNK_BYTES {
                break;
            }
            encode_frame(self.next, &notification, out);
            self.next += 1;
            count += 1;
        }
        span.take_front(count)
    }

    /// Rows that bear little company are few at a time, so that this is rare and short.
    fn recount_company(&mut self, max_attempts: u8) {
        if self.company != u32::MAX {
            let spans = self.sent.spans().chain(&self.waiting);
            self.company = spans.map(|span| company(span.tries.unknown, max_attempts)).min().unwrap_or(u32::MAX);
        }
    }
}

fn span_bytes(span: &Span) -> usize {
    let memory = span.batch.memory_per_row();
    span.notifications().map(|notification| row_bytes(&notification, memory)).sum()
}

/// What a row takes of the window: the bytes of its frame, or its share of the memory of its batch. Of a batch of one
/// row the frame is the least part.
fn row_bytes(notification: &Notification<'_>, memory: usize) -> usize {
    frame_len(notification).max(memory)
}

#[cfg(test)]
mod tests;
