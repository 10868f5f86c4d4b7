//! A bounded list that is read by cursor.

use std::collections::VecDeque;

use crate::domain::feedback::{Cursor, Page};
use crate::domain::time::Timestamp;

/// Entries numbered upwards in the order in which they came. Beyond the bound, and once too old, the oldest go.
#[derive(Clone, Debug)]
pub(super) struct Log<T> {
    /// With the time at which each came.
    entries: VecDeque<(Timestamp, T)>,
    /// Number of the newest entry.
    newest: u64,
    entries_max: usize,
}

impl<T: Clone> Log<T> {
    pub(super) fn new(entries_max: usize, first: Cursor) -> Self {
        Self { entries: VecDeque::new(), newest: first.0, entries_max }
    }

    pub(super) fn append(&mut self, kept_at: Timestamp, entry: T) {
        self.entries.push_back((kept_at, entry));
        self.newest += 1;
        while self.entries.len() > self.entries_max {
            self.entries.pop_front();
        }
    }

    /// Drops the oldest entries up to the first that came at `cutoff` or later.
    pub(super) fn trim(&mut self, cutoff: Timestamp) {
        while self.entries.front().is_some_and(|(kept_at, _)| *kept_at < cutoff) {
            self.entries.pop_front();
        }
    }

    /// All entries, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// The newest entries, at most `limit`, oldest first.
    pub(super) fn latest(&self, limit: usize) -> Vec<T> {
        let skip = self.entries.len().saturating_sub(limit);
        self.entries.iter().skip(skip).map(|(_, entry)| entry.clone()).collect()
    }

    /// Entries after the cursor. A cursor beyond the newest entry is from an earlier life of the list and starts over.
    pub(super) fn after(&self, cursor: Cursor, limit: usize) -> Page<T> {
        let cursor = if cursor.0 > self.newest { 0 } else { cursor.0 };
        let gone = self.newest - self.entries.len() as u64;
        let skip = usize::try_from(cursor.saturating_sub(gone)).unwrap_or(usize::MAX);
        let entries: Vec<T> = self.entries.iter().skip(skip).take(limit).map(|(_, entry)| entry.clone()).collect();
        let next = Cursor(cursor.max(gone) + entries.len() as u64);
        Page { entries, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(entries_max: usize, entries: std::ops::RangeInclusive<u32>) -> Log<u32> {
        let mut log = Log::new(entries_max, Cursor(0));
        entries.for_each(|entry| log.append(Timestamp::from_secs(i64::from(entry)), entry));
        log
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let log = log(10, 1..=5);
        assert_eq!(log.after(Cursor(0), 2), Page { entries: vec![1, 2], next: Cursor(2) });
        assert_eq!(log.after(Cursor(2), 9), Page { entries: vec![3, 4, 5], next: Cursor(5) });
        assert_eq!(log.after(Cursor(5), 9), Page { entries: vec![], next: Cursor(5) });
    }

    #[test]
    fn a_cursor_before_the_oldest_kept_entry_reads_from_that_entry() {
        let log = log(3, 1..=5);
        assert_eq!(log.after(Cursor(1), 9), Page { entries: vec![3, 4, 5], next: Cursor(5) });
        assert_eq!(log.after(Cursor(0), 1), Page { entries: vec![3], next: Cursor(3) });
    }

    #[test]
    fn what_is_too_old_goes_and_numbers_stay() {
        let mut log = log(10, 1..=5);
        log.trim(Timestamp::from_secs(3));
        assert_eq!(log.after(Cursor(0), 9), Page { entries: vec![3, 4, 5], next: Cursor(5) });
        log.trim(Timestamp::from_secs(6));
        assert_eq!(log.after(Cursor(0), 9), Page { entries: vec![], next: Cursor(5) });
    }

    #[test]
    fn a_cursor_of_an_earlier_life_starts_over() {
        let mut later = Log::new(10, Cursor(1000));
        later.append(Timestamp::default(), 1);
        assert_eq!(later.after(Cursor(7), 9), Page { entries: vec![1], next: Cursor(1001) });
        assert_eq!(log(10, 1..=2).after(Cursor(70), 9), Page { entries: vec![1, 2], next: Cursor(2) });
    }
}
