//! Rows on the wire as ranges of wire identifiers, and since when they have been there. Pure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Instant;
use crate::domain::batch::Span;

/// Spans with consecutive wire identifiers, oldest first, and marks in time upon them.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// The wire identifier of each span's first row, and the span.
    spans: VecDeque<(u32, Span)>,
    marks: VecDeque<Mark>,
}

/// Everything before `upto` (and not before an earlier mark) was there at `at`.
#[derive(Debug)]
struct Mark {
    upto: u32,
    opened: Instant,
    at: Instant,
}

impl Ranges {
    /// Appends a span whose first row has this identifier; joins it to the last one where it continues it.
    pub(super) fn push(&mut self, first: u32, span: Span) {
        if let Some((last_first, last)) = self.spans.back_mut() {
            let same = last.id == span.id && last.tries == span.tries && Arc::ptr_eq(&last.batch, &span.batch);
            if same && last.rows.end == span.rows.start && *last_first + last.len() == first {
                last.rows.end = span.rows.end;
                return;
            }
        }
        self.spans.push_back((first, span));
    }

    /// Marks that everything before `upto` is there now. Marks closer together than `granularity` become one, with
    /// the later time, so that their number stays small.
    pub(super) fn mark(&mut self, upto: u32, now: Instant, granularity: Duration) {
        match self.marks.back_mut() {
            Some(last) if now.since(last.opened) < granularity => {
                last.upto = upto;
                last.at = now;
            }
            Some(last) if last.upto == upto => {}
            Some(_) | None => self.marks.push_back(Mark { upto, opened: now, at: now }),
        }
    }

    /// Moves all marks later, by a while that is not to count.
    pub(super) fn postpone(&mut self, span: Duration) {
        self.marks.iter_mut().for_each(|mark| mark.at = mark.at + span);
    }

    /// When the oldest mark was set.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.marks.front().map(|mark| mark.at)
    }

    /// Takes out what has been there for this long.
    pub(super) fn take_older(&mut self, age: Duration, now: Instant) -> Vec<(u32, Span)> {
        let mut upto = 0;
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.at + age <= now) {
            upto = mark.upto;
        }
        self.take_before(upto)
    }

    /// Takes out the rows with identifiers below this one.
    pub(super) fn take_before(&mut self, identifier: u32) -> Vec<(u32, Span)> {
        let mut taken = Vec::new();
        while let Some((first, mut span)) = self.spans.pop_front_if(|(first, _)| *first < identifier) {
            let front = span.take_front(identifier - first);
            let rest = first + front.len();
            taken.push((first, front));
            if !span.is_empty() {
                self.spans.push_front((rest, span));
            }
        }
        taken
    }

    /// Forgets the oldest ranges until at most this many are left.
    pub(super) fn truncate_front(&mut self, ranges: usize) {
        self.spans.drain(..self.spans.len().saturating_sub(ranges));
    }

    /// Whether there is no row.
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> u32 {
        self.spans().map(Span::len).sum()
    }

    /// The spans, oldest first.
    pub(super) fn spans(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter().map(|(_, span)| span)
    }

    /// The spans, oldest first.
    pub(super) fn into_spans(self) -> impl Iterator<Item = Span> {
        self.spans.into_iter().map(|(_, span)| span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::batch::{Batch, BatchId, Message, PushOptions, Tries};
    use crate::domain::time::Timestamp;
    use crate::domain::token::Tokens;

    fn span() -> Span {
        let mut tokens = Tokens::default();
        (0..20).for_each(|row| tokens.push(&[row; 32]));
        let message = Message { payload: b"{}".as_slice().into(), options: PushOptions::default() };
        let batch = Arc::new(Batch::broadcast(Timestamp::default(), tokens, message));
        Span { id: BatchId(1), batch, rows: 0..20, tries: Tries::default() }
    }

    fn rows(taken: &[(u32, Span)]) -> Vec<(u32, std::ops::Range<u32>)> {
        taken.iter().map(|(first, span)| (*first, span.rows.clone())).collect()
    }

    #[test]
    fn only_what_continues_the_last_span_in_every_way_is_joined_to_it() {
        let (mut ranges, mut span) = (Ranges::default(), span());
        ranges.push(1, span.take_front(4));
        ranges.push(5, span.take_front(4));
        ranges.push(10, span.take_front(4));
        ranges.push(14, span.take_front(4).with_tries(Tries { unknown: 1, ..Tries::default() }));
        assert_eq!(rows(&ranges.take_before(3)), [(1, 0..2)]);
        assert_eq!(rows(&ranges.take_before(100)), [(3, 2..8), (10, 8..12), (14, 12..16)]);
        assert!(ranges.is_empty());
    }

    #[test]
    fn the_oldest_ranges_are_forgotten_first() {
        let (mut ranges, mut span) = (Ranges::default(), span());
        (0..4).for_each(|n| ranges.push(n * 10 + 1, span.take_front(2)));
        ranges.truncate_front(2);
        assert_eq!(rows(&ranges.take_before(100)), [(21, 4..6), (31, 6..8)]);
    }
}
