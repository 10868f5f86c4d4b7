//! Rows that have no stream yet, in order. Pure.

use std::collections::VecDeque;

use crate::domain::batch::Span;

/// Spans of rows, and how many rows that are.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    spans: VecDeque<Span>,
    rows: u32,
}

impl Unsent {
    /// Appends rows.
    pub(super) fn push(&mut self, span: Span) {
        if !span.is_empty() {
            self.rows += span.len();
            self.spans.push_back(span);
        }
    }

    /// Takes out the row at the front, alone in its span.
    pub(super) fn next(&mut self) -> Option<Span> {
        let front = self.spans.front_mut()?;
        let row = front.take_front(1);
        if front.is_empty() {
            self.spans.pop_front();
        }
        self.rows -= row.len();
        Some(row)
    }

    /// Puts a row back to the front.
    pub(super) fn give_back(&mut self, row: Span) {
        self.rows += row.len();
        self.spans.push_front(row);
    }

    /// Takes out all.
    pub(super) fn take(&mut self) -> Vec<Span> {
        self.rows = 0;
        self.spans.drain(..).collect()
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::batch::{Batch, BatchId, Message, PushOptions, Tries};
    use crate::domain::time::Timestamp;
    use crate::domain::token::Tokens;

    #[test]
    fn rows_come_out_in_order_and_are_counted() {
        let mut tokens = Tokens::default();
        (0..5).for_each(|row| tokens.push(&[row; 32]));
        let message = Message { payload: b"{}".as_slice().into(), options: PushOptions::default() };
        let batch = std::sync::Arc::new(Batch::broadcast(Timestamp::default(), tokens, message));
        let span = |rows| Span { id: BatchId(1), batch: batch.clone(), rows, tries: Tries::default() };
        let mut unsent = Unsent::default();
        [0..2, 2..2, 2..5].into_iter().for_each(|rows| unsent.push(span(rows)));
        assert_eq!(unsent.rows(), 5);
        let first = unsent.next().unwrap();
        assert_eq!((first.rows.clone(), unsent.rows()), (0..1, 4));
        assert_eq!(unsent.next().unwrap().rows, 1..2);
        unsent.give_back(first);
        let rest: Vec<_> = unsent.take().into_iter().map(|span| span.rows).collect();
        assert_eq!((rest, unsent.rows(), unsent.is_empty()), (vec![0..1, 2..5], 0, true));
        assert_eq!(unsent.next(), None);
    }
}
