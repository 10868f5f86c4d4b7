//! Outcomes of single rows, joined to spans of neighbours. Pure.

use std::sync::Arc;

use crate::domain::batch::Span;
use crate::domain::outcome::{Outcome, Settled};

/// Outcomes that were not reported yet.
#[derive(Debug, Default)]
pub(super) struct Outcomes(Vec<Settled>);

impl Outcomes {
    /// Adds one.
    pub(super) fn push(&mut self, span: Span, outcome: Outcome) {
        self.0.push(Settled { span, outcome });
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes them out in the order of their batches and rows; neighbours with the same outcome as one.
    pub(super) fn take(&mut self) -> Vec<Settled> {
        let mut outcomes = std::mem::take(&mut self.0);
        outcomes.sort_by_key(|settled| (settled.span.id, settled.span.rows.start));
        outcomes.dedup_by(|next, last| {
            let (span, next_span) = (&mut last.span, &next.span);
            let continues = span.id == next_span.id
                && span.rows.end == next_span.rows.start
                && span.tries == next_span.tries
                && Arc::ptr_eq(&span.batch, &next_span.batch)
                && last.outcome == next.outcome;
            if continues {
                span.rows.end = next_span.rows.end;
            }
            continues
        });
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::batch::{Batch, BatchId, Message, PushOptions, Tries};
    use crate::domain::outcome::Retry;
    use crate::domain::time::Timestamp;
    use crate::domain::token::Tokens;

    #[test]
    fn neighbours_with_the_same_outcome_are_one_span_whatever_their_order() {
        let mut tokens = Tokens::default();
        (0..20).for_each(|row| tokens.push(&[row; 32]));
        let message = Message { payload: b"{}".as_slice().into(), options: PushOptions::default() };
        let batch = Arc::new(Batch::broadcast(Timestamp::default(), tokens, message));
        let row = |row, unknown| {
            let tries = Tries { unknown, ..Tries::default() };
            Span { id: BatchId(1), batch: batch.clone(), rows: row..row + 1, tries }
        };
        let mut outcomes = Outcomes::default();
        let not_processed = Outcome::Retry(Retry::NotProcessed);
        for n in [3, 1, 0, 2, 7] {
            outcomes.push(row(n, 0), Outcome::Accepted);
        }
        outcomes.push(row(4, 0), not_processed.clone());
        outcomes.push(row(5, 1), not_processed.clone());
        outcomes.push(row(6, 1), not_processed.clone());
        let taken: Vec<_> = outcomes.take().into_iter().map(|settled| (settled.span.rows, settled.outcome)).collect();
        assert_eq!(
            taken,
            [
                (0..4, Outcome::Accepted),
                (4..5, not_processed.clone()),
                (5..7, not_processed),
                (7..8, Outcome::Accepted)
            ]
        );
        assert!(outcomes.is_empty());
    }
}
