//! Callers who wait for outcomes: they watch a batch before it is accepted, and read what is known of each row.
//!
//! Rows are told apart by the seed of their ids and not by their batch, so that a row is followed into the batch in
//! which it is tried again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::apns::IdSeed;
use crate::domain::batch::{Batch, Span};
use crate::domain::time::Timestamp;
use crate::store::Logged;

/// Batches of one app that may be watched at a time.
const WATCHED_MAX: usize = 100;

/// The watched batches of one app. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches(Arc<Mutex<HashMap<IdSeed, Watched>>>);

#[derive(Debug)]
struct Watched {
    outcomes: Vec<Option<Logged>>,
    /// Since when tokens are dead, by row, as far as the provider says so.
    dead_since: BTreeMap<u32, Timestamp>,
    /// Rows that may still change.
    open: usize,
    finished: Arc<Notify>,
}

/// A batch that is watched until this is dropped.
#[derive(Debug)]
pub struct Watch {
    watches: Watches,
    seed: IdSeed,
    finished: Arc<Notify>,
}

/// What is known of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The last outcome; `None` before the first.
    pub outcome: Option<Logged>,
    /// Since when the token is dead, where the provider rejected it for that.
    pub dead_since: Option<Timestamp>,
}

impl Watches {
    /// Watches a batch whose ids have a seed of their own; `None` when too many are watched already.
    pub(super) fn watch(&self, batch: &Batch) -> Option<Watch> {
        let (seed, _) = batch.ids();
        let rows = batch.rows() as usize;
        let mut watched = self.lock();
        if watched.len() >= WATCHED_MAX || watched.contains_key(&seed) {
            return None;
        }
        let finished = Arc::new(Notify::new());
        let (outcomes, dead_since) = (vec![None; rows], BTreeMap::new());
        watched.insert(seed, Watched { outcomes, dead_since, open: rows, finished: Arc::clone(&finished) });
        Some(Watch { watches: self.clone(), seed, finished })
    }

    /// Tells what became of rows.
    pub(super) fn tell(&self, span: &Span, outcome: Logged) {
        let (seed, first_row) = span.batch.ids();
        let mut watches = self.lock();
        let Some(watched) = watches.get_mut(&seed) else { return };
        for row in span.rows.clone() {
            let Some(present) = watched.outcomes.get_mut(first_row.wrapping_add(row) as usize) else { continue };
            watched.open -= usize::from(is_open(*present));
            *present = Some(outcome);
            watched.open += usize::from(is_open(*present));
        }
        if watched.open == 0 {
            watched.finished.notify_one();
        }
    }

    /// Notes since when tokens are dead, before their rows are told to be rejected.
    pub(super) fn note_dead(&self, span: &Span, since: Timestamp) {
        let (seed, first_row) = span.batch.ids();
        if let Some(watched) = self.lock().get_mut(&seed) {
            watched.dead_since.extend(span.rows.clone().map(|row| (first_row.wrapping_add(row), since)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IdSeed, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Resolves once every row has an outcome that is final. For one caller.
    pub async fn finished(&self) {
        self.finished.notified().await;
    }

    /// What is known of each row now.
    pub fn known(&self) -> Vec<Known> {
        let watches = self.watches.lock();
        let Some(watched) = watches.get(&self.seed) else { return Vec::new() };
        let known = |(row, outcome): (u32, &Option<Logged>)| {
            let is_rejected = matches!(outcome, Some(Logged::Rejected(_)));
            let dead_since = watched.dead_since.get(&row).copied().filter(|_| is_rejected);
            Known { outcome: *outcome, dead_since }
        };
        (0..).zip(&watched.outcomes).map(known).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watches.lock().remove(&self.seed);
    }
}

/// Whether a row goes out again, or for the first time.
fn is_open(outcome: Option<Logged>) -> bool {
    match outcome {
        None | Some(Logged::Retried(_) | Logged::Unknown) => true,
        Some(Logged::Accepted | Logged::Presumed | Logged::Rejected(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::domain::batch::{BatchId, Message, PushOptions, Tries};
    use crate::domain::outcome::Reason;
    use crate::domain::token::Tokens;

    fn span(seed: u8, first_row: u32, rows: u8) -> Span {
        let mut tokens = Tokens::default();
        (0..rows).for_each(|row| tokens.push(&[row; 32]));
        let message = Message { payload: b"{}"[..].into(), options: PushOptions::default() };
        let batch = Batch::broadcast(Timestamp::default(), tokens, message).with_ids(IdSeed([seed; 16]), first_row);
        Span { id: BatchId(1), batch: Arc::new(batch), rows: 0..rows.into(), tries: Tries::default() }
    }

    fn outcomes(watch: &Watch) -> Vec<Option<Logged>> {
        watch.known().into_iter().map(|known| known.outcome).collect()
    }

    #[test]
    fn a_watch_is_finished_when_every_row_has_a_final_outcome() {
        let watches = Watches::default();
        let mut all = span(1, 0, 3);
        let watch = watches.watch(&all.batch).unwrap();
        watches.tell(&all.take_front(1), Logged::Accepted);
        let unknown = all.take_front(1);
        watches.tell(&unknown, Logged::Unknown);
        watches.tell(&all, Logged::Rejected(Reason::InvalidToken));
        assert_eq!(watch.finished().now_or_never(), None);
        assert_eq!(
            outcomes(&watch),
            [Some(Logged::Accepted), Some(Logged::Unknown), Some(Logged::Rejected(Reason::InvalidToken))]
        );
        watches.tell(&unknown, Logged::Presumed);
        assert_eq!(watch.finished().now_or_never(), Some(()));
    }

    #[test]
    fn a_row_is_followed_into_the_batch_in_which_it_is_tried_again() {
        let watches = Watches::default();
        let mut all = span(1, 0, 3);
        let watch = watches.watch(&all.batch).unwrap();
        let _ = all.take_front(2);
        watches.tell(&all, Logged::Retried(Reason::ProcessingError));
        watches.tell(&span(1, 2, 1), Logged::Accepted);
        assert_eq!(outcomes(&watch), [None, None, Some(Logged::Accepted)]);
    }

    #[test]
    fn a_dead_token_has_its_time_once_its_row_is_rejected() {
        let watches = Watches::default();
        let all = span(1, 0, 1);
        let watch = watches.watch(&all.batch).unwrap();
        let since = Timestamp::from_secs(1_300_000_000);
        watches.note_dead(&all, since);
        assert_eq!(watch.known(), [Known::default()]);
        watches.tell(&all, Logged::Rejected(Reason::InvalidToken));
        assert_eq!(watch.known()[0].dead_since, Some(since));
    }

    #[test]
    fn other_batches_are_nobodys_business_and_a_dropped_watch_leaves_nothing() {
        let watches = Watches::default();
        let watch = watches.watch(&span(1, 0, 1).batch).unwrap();
        watches.tell(&span(2, 0, 1), Logged::Accepted);
        assert_eq!(outcomes(&watch), [None]);
        drop(watch);
        assert!(watches.lock().is_empty());
    }

    #[test]
    fn only_so_many_batches_are_watched() {
        let watches = Watches::default();
        let seeded = |number: u8| Batch::clone(&span(number, 0, 1).batch);
        let watched: Vec<Watch> = (0..100).filter_map(|number| watches.watch(&seeded(number))).collect();
        assert_eq!(watched.len(), 100);
        assert!(watches.watch(&seeded(100)).is_none());
        drop(watched);
        assert!(watches.watch(&seeded(100)).is_some());
    }
}
