//! Counts of a few words that are known beforehand: a label that cannot grow.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often each of some words was counted.
#[derive(Debug)]
pub struct Tally {
    words: &'static [&'static str],
    counts: Box<[AtomicU64]>,
}

impl Tally {
    /// Counts of these words, none yet. What is not among them is counted as the last one.
    pub fn new(words: &'static [&'static str]) -> Self {
        Self { words, counts: words.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    /// Counts a word.
    pub fn add(&self, word: &str) {
        let at = self.words.iter().position(|known| *known == word);
        if let Some(count) = self.counts.get(at.unwrap_or(self.counts.len().saturating_sub(1))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All words, with how often each was counted.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.words.iter().copied().zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_and_what_is_none_of_them_as_the_last() {
        let tally = Tally::new(&["a", "b", "other"]);
        ["b", "b", "zzz"].into_iter().for_each(|word| tally.add(word));
        assert_eq!(tally.counts().collect::<Vec<_>>(), [("a", 0), ("b", 2), ("other", 1)]);
    }
}
