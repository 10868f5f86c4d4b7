//! Everything that the simulator received and did, in order, with its verdict; what tests and people compare with what
//! a client believes.
//!
//! The journal is bounded in bytes and drops its oldest entries; the counts of [`Summary`] are always exact. Device
//! tokens and payloads stand here in full: this is a test tool, and nothing of it goes to a log.

pub mod entry;
pub mod request;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use self::entry::{Entry, Event, Notification, Service, Summary};
use self::request::Request;
use crate::clock::Clock;

/// A part of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page {
    /// Entries after the one that was asked for, oldest first.
    pub entries: Vec<Entry>,
    /// The number to ask with next.
    pub next: u64,
    /// Number of the oldest entry that is still held.
    pub oldest: u64,
}

/// The journal. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    bytes_max: usize,
    held: Mutex<Held>,
    summary: watch::Sender<Summary>,
}

#[derive(Debug, Default)]
struct Held {
    entries: VecDeque<Entry>,
    bytes: usize,
    last_seq: u64,
}

impl Journal {
    /// An empty journal that holds entries up to so many bytes of memory; with 0 it only counts.
    pub(super) fn new(clock: Clock, bytes_max: usize) -> Self {
        let summary = watch::Sender::new(Summary::default());
        Self(Arc::new(Shared { clock, bytes_max, held: Mutex::default(), summary }))
    }

    /// The counts now.
    pub fn summary(&self) -> Summary {
        *self.0.summary.borrow()
    }

    /// Waits until the counts are as wanted, and returns them; the entries that they count are in the journal then.
    pub async fn wait_until(&self, wanted: impl FnMut(&Summary) -> bool) -> Summary {
        match self.0.summary.subscribe().wait_for(wanted).await {
            Ok(summary) => *summary,
            // The sender lives as long as the journal.
            Err(_) => self.summary(),
        }
    }

    /// Entries numbered above `after`, at most `limit`.
    pub fn page(&self, after: u64, limit: usize) -> Page {
        let held = self.held();
        let oldest = held.entries.front().map_or(held.last_seq + 1, |entry| entry.seq);
        let skip = usize::try_from(after.saturating_add(1).saturating_sub(oldest)).unwrap_or(usize::MAX);
        let entries: Vec<Entry> = held.entries.iter().skip(skip).take(limit).cloned().collect();
        let next = entries.last().map_or(after.max(oldest - 1), |entry| entry.seq);
        Page { entries, next, oldest }
    }

    /// The binary gateway's notifications that are still held, in the order in which they arrived, each with its
    /// connection.
    pub fn notifications(&self) -> Vec<(u64, Notification)> {
        let of = |entry: &Entry| match &entry.event {
            Event::Notification(notification) => Some((entry.connection, notification.clone())),
            Event::Opened { .. } | Event::Refused { .. } | Event::Answered { .. } | Event::Request(_) => None,
            Event::Feedback { .. } | Event::Closed { .. } | Event::GoAway { .. } | Event::Violation { .. } => None,
        };
        self.held().entries.iter().filter_map(of).collect()
    }

    /// The HTTP/2 provider API's requests that are still held, in the order in which they were complete, each with its
    /// connection.
    pub fn requests(&self) -> Vec<(u64, Request)> {
        let of = |entry: &Entry| match &entry.event {
            Event::Request(request) => Some((entry.connection, request.clone())),
            Event::Opened { .. } | Event::Refused { .. } | Event::Answered { .. } | Event::Notification(_) => None,
            Event::Feedback { .. } | Event::Closed { .. } | Event::GoAway { .. } | Event::Violation { .. } => None,
        };
        self.held().entries.iter().filter_map(of).collect()
    }

    /// Whether entries are kept at all.
    pub(super) fn keeps_entries(&self) -> bool {
        self.0.bytes_max > 0
    }

    /// Notes something about a connection.
    pub(super) fn note(&self, service: Service, connection: u64, event: Event) {
        self.push(connection, std::iter::once(event.clone()));
        self.0.summary.send_modify(|summary| summary.count_event(&event, service));
    }

    /// Notes a chunk of events that `counts` counts already; `events` is left empty.
    pub(super) fn note_chunk(&self, connection: u64, counts: &Summary, events: &mut Vec<Event>) {
        if !events.is_empty() {
            self.push(connection, events.drain(..));
        }
        self.0.summary.send_modify(|summary| summary.add(counts));
    }

    fn push(&self, connection: u64, events: impl Iterator<Item = Event>) {
        if !self.keeps_entries() {
            return;
        }
        let at = self.0.clock.now();
        let mut held = self.held();
        for event in events {
            held.last_seq += 1;
            let entry = Entry { seq: held.last_seq, at, connection, event };
            held.bytes += entry.memory();
            held.entries.push_back(entry);
        }
        while held.bytes > self.0.bytes_max {
            let Some(oldest) = held.entries.pop_front() else { break };
            held.bytes -= oldest.memory();
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::entry::Verdict;
    use super::*;

    fn notification(identifier: u32) -> Notification {
        Notification {
            command: 2,
            identifier: Some(identifier),
            token: Some([0xab, 0x01].into()),
            payload: Some((*b"{\"a\":\"\xff\"}").into()),
            expiration: Some(0),
            priority: None,
            verdict: Verdict::Rejected(8),
        }
    }

    fn note(journal: &Journal, identifier: u32) {
        journal.note(Service::Gateway, 1, Event::Notification(notification(identifier)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_this_json() {
        let clock = Clock::system();
        let journal = Journal::new(clock.clone(), 10_000);
        clock.sleep(std::time::Duration::from_millis(1500)).await;
        note(&journal, 7);
        journal.note(Service::Gateway, 2, Event::Answered { bytes: [8, 8].into() });
        let json = serde_json::to_string(&journal.page(0, 10)).unwrap();
        let expected = concat!(
            r#"{"entries":[{"seq":1,"at_us":1500000,"connection":1,"event":"notification","command":2,"identifier":7,"#,
            r#""token":"ab01","payload":"{\"a\":\"�\"}","expiration":0,"priority":null,"verdict":"rejected","status":8},"#,
            r#"{"seq":2,"at_us":1500000,"connection":2,"event":"answered","bytes":"0808"}],"#,
            r#""next":2,"oldest":1}"#
        );
        assert_eq!(json, expected);
    }

    #[tokio::test]
    async fn pages_follow_each_other() {
        let journal = Journal::new(Clock::system(), 10_000);
        assert_eq!(journal.page(0, 10), Page { entries: vec![], next: 0, oldest: 1 });
        (1..=3).for_each(|identifier| note(&journal, identifier));
        let seqs = |page: &Page| page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
        let first = journal.page(0, 2);
        assert_eq!((seqs(&first), first.next), (vec![1, 2], 2));
        let second = journal.page(first.next, 2);
        assert_eq!((seqs(&second), second.next), (vec![3], 3));
        assert_eq!(journal.page(u64::MAX, 2).entries, []);
    }

    #[tokio::test]
    async fn the_oldest_entries_go_and_the_counts_stay_exact() {
        let one =
            Entry { seq: 1, at: Clock::system().now(), connection: 1, event: Event::Notification(notification(1)) };
        let journal = Journal::new(Clock::system(), 3 * one.memory());
        (1..=10).for_each(|identifier| note(&journal, identifier));
        let page = journal.page(0, 100);
        assert_eq!((page.oldest, page.next, page.entries.len()), (8, 10, 3));
        assert_eq!((journal.summary().packets, journal.summary().rejected), (10, 10));
    }

    #[tokio::test]
    async fn a_journal_that_only_counts_keeps_nothing() {
        let journal = Journal::new(Clock::system(), 0);
        note(&journal, 1);
        assert_eq!(journal.page(0, 10).entries, []);
        assert_eq!(journal.wait_until(|summary| summary.packets == 1).await.rejected, 1);
    }
}
