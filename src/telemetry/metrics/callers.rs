//! Connections of callers, how they ended, and requests that were refused by an HTTP status.

use std::sync::atomic::{AtomicU64, Ordering};

use super::tally::Tally;

/// Every way in which a connection ends.
const ENDS: &[&str] = &["closed", "slow", "crowded", "handshake", "broken"];
/// Statuses that the daemon answers with; what is none of them counts as the last one.
const STATUSES: &[&str] =
    &["400", "401", "403", "404", "405", "408", "413", "415", "421", "429", "431", "500", "503", "other"];

/// How a connection of a caller ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerEnd {
    /// Between two requests, by either side; or with the daemon.
    Closed,
    /// The peer took too long for a head, a handshake, or for taking its answer.
    Slow,
    /// It was slow, and another one needed the place.
    Crowded,
    /// There was no TLS with the peer.
    Handshake,
    /// The peer spoke no HTTP, or left in the middle.
    Broken,
}

impl CallerEnd {
    /// The word for it, as in the label.
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Slow => "slow",
            Self::Crowded => "crowded",
            Self::Handshake => "handshake",
            Self::Broken => "broken",
        }
    }
}

/// What is counted of callers' connections and requests, over all listeners.
#[derive(Debug)]
pub struct Callers {
    opened: AtomicU64,
    ended: Tally,
    statuses: Tally,
}

impl Default for Callers {
    fn default() -> Self {
        Self { opened: AtomicU64::new(0), ended: Tally::new(ENDS), statuses: Tally::new(STATUSES) }
    }
}

impl Callers {
    /// A connection was accepted.
    pub fn begins(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection ended.
    pub fn ends(&self, end: CallerEnd) {
        self.ended.add(end.word());
    }

    /// A request was answered with an HTTP status. Those below 400 are not counted.
    pub fn answered(&self, status: u16) {
        if status >= 400 {
            self.statuses.add(&status.to_string());
        }
    }

    /// Connections that were accepted.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Connections that stand.
    pub fn open(&self) -> u64 {
        // The ends first: a connection that ends meanwhile counts as open, and none as less than nothing.
        let ended: u64 = self.ended.counts().map(|(_, count)| count).sum();
        self.opened().saturating_sub(ended)
    }

    /// Connections that ended, by how.
    pub fn ended(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.ended.counts()
    }

    /// Requests that were refused, by HTTP status.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.statuses.counts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_open_until_they_end_and_each_end_has_its_word() {
        let callers = Callers::default();
        let ends = [CallerEnd::Closed, CallerEnd::Slow, CallerEnd::Crowded, CallerEnd::Handshake, CallerEnd::Broken];
        ends.iter().for_each(|_| callers.begins());
        callers.begins();
        ends.into_iter().for_each(|end| callers.ends(end));
        assert_eq!((callers.opened(), callers.open()), (6, 1));
        let ended: Vec<_> = callers.ended().collect();
        assert_eq!(ended, [("closed", 1), ("slow", 1), ("crowded", 1), ("handshake", 1), ("broken", 1)]);
    }

    #[test]
    fn refusals_are_counted_by_status_and_success_is_not() {
        let callers = Callers::default();
        for status in [200, 304, 400, 429, 429, 418] {
            callers.answered(status);
        }
        let counted: Vec<_> = callers.refused().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("400", 1), ("429", 2), ("other", 1)]);
    }
}
