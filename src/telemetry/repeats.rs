//! Events that repeat: the first few are written, those after them are counted, and a line now and then says how many
//! there were. Pure: events and `now` in, decisions and summaries out.
//!
//! ```text
//!   written ── more than so many within WINDOW ──► held ── REPORT passes ──► a summary; still held
//!      ▲                                          │
//!      └───────── a summary, then ── WINDOW without one ──┘
//! ```

use std::collections::HashMap;
use std::time::Duration;

use tracing::Level;

use crate::clock::Instant;

/// Events of one kind that are written within [`WINDOW`].
pub(super) const BURST: u32 = 5;
/// Within this time the same event is a repeat; after as long without one it is news again.
const WINDOW: Duration = Duration::from_secs(10);
/// How often a summary is written while an event goes on repeating.
const REPORT: Duration = Duration::from_secs(60);
/// Kinds of events that are told apart. Beyond them all of one place in the program count as one kind.
const KINDS_MAX: usize = 4096;

/// What tells events apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    /// The place in the program.
    pub(super) place: u64,
    /// The app or the peer, or what the event says where it has neither; `None`: whatever that is.
    pub(super) detail: Option<u64>,
}

/// What a summary says of the events that were held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// How bad they were.
    pub(super) level: Level,
    /// Their app, where all of them have the same.
    pub(super) app: Option<String>,
    /// Where they came from, where that is the same for all of them and they concern no app.
    pub(super) peer: Option<String>,
    /// The text of the first of them.
    pub(super) text: String,
}

/// How many events of a kind were not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// What they were.
    pub(super) sample: Sample,
    /// How many.
    pub(super) count: u64,
    /// Since the first of them, or since the summary before.
    pub(super) span: Duration,
}

/// The kinds of events that were seen lately.
#[derive(Debug, Default)]
pub(super) struct Repeats(HashMap<Kind, Entry>);

#[derive(Debug)]
struct Entry {
    began: Instant,
    last: Instant,
    written: u32,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    sample: Sample,
    count: u64,
    since: Instant,
}

impl Repeats {
    /// Whether an event is to be written, given how many of its kind are. `sample` is called for the first that is not.
    pub(super) fn admit(
        &mut self,
        (kind, burst): (Kind, u32),
        now: Instant,
        sample: impl FnOnce(Kind) -> Sample,
    ) -> bool {
        let kind = self.told_apart(kind, now);
        let entry = self.0.entry(kind).or_insert(Entry { began: now, last: now, written: 0, held: None });
        entry.last = now;
        if let Some(held) = &mut entry.held {
            held.count += 1;
            return false;
        }
        if now.since(entry.began) >= WINDOW {
            (entry.began, entry.written) = (now, 0);
        }
        if entry.written < burst {
            entry.written += 1;
            return true;
        }
        entry.held = Some(Held { sample: sample(kind), count: 1, since: now });
        false
    }

    /// Summaries that are due; a caller looks about once a second.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Summary> {
        let mut due = Vec::new();
        self.0.retain(|_, entry| {
            let is_over = now.since(entry.last) >= WINDOW;
            if let Some(held) = &mut entry.held
                && (is_over || now.since(held.since) >= REPORT)
            {
                due.extend(held.take(now));
            }
            !is_over
        });
        due
    }

    /// Summaries of all that is held back, for a program that ends.
    pub(super) fn rest(&mut self, now: Instant) -> Vec<Summary> {
        self.0.drain().filter_map(|(_, entry)| entry.held?.take(now)).collect()
    }

    /// The kind itself, or where there are too many of them, that of its place in the program.
    fn told_apart(&mut self, kind: Kind, now: Instant) -> Kind {
        if self.0.len() < KINDS_MAX || self.0.contains_key(&kind) {
            return kind;
        }
        let whole_place = Kind { detail: None, ..kind };
        // Once all have become one kind, there is no need to look for room at each event.
        if !self.0.contains_key(&whole_place) {
            self.0.retain(|_, entry| entry.held.is_some() || now.since(entry.last) < WINDOW);
        }
        if self.0.len() < KINDS_MAX { kind } else { whole_place }
    }
}

impl Held {
    /// What was held back since the last summary.
    fn take(&mut self, now: Instant) -> Option<Summary> {
        let (count, since) = (std::mem::take(&mut self.count), std::mem::replace(&mut self.since, now));
        (count > 0).then(|| Summary { sample: self.sample.clone(), count, span: now.since(since) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    fn kind(detail: u64) -> Kind {
        Kind { place: 1, detail: Some(detail) }
    }

    fn sample(kind: Kind) -> Sample {
        let app = kind.detail.map(|detail| detail.to_string());
        Sample { level: Level::WARN, app, peer: None, text: "closed".to_owned() }
    }

    fn counts(summaries: &[Summary]) -> Vec<(u64, u64)> {
        summaries.iter().map(|summary| (summary.count, summary.span.as_secs())).collect()
    }

    #[test]
    fn five_of_a_kind_are_written_within_ten_seconds() {
        let mut repeats = Repeats::default();
        let written = |millis, repeats: &mut Repeats| repeats.admit((kind(1), BURST), at(millis), sample);
        assert_eq!(
            [0, 1, 2, 3, 9_000, 9_999].map(|millis| written(millis, &mut repeats)),
            [true, true, true, true, true, false]
        );
        assert!(repeats.admit((kind(2), BURST), at(9_999), sample), "another app is another kind");
        assert!(
            repeats.admit((Kind { place: 2, ..kind(1) }, BURST), at(9_999), sample),
            "another event is another kind"
        );
    }

    #[test]
    fn what_comes_once_in_two_seconds_is_written_every_time() {
        let mut repeats = Repeats::default();
        assert!((0..100).all(|n| repeats.admit((kind(1), BURST), at(n * 2_000), sample)));
        assert_eq!(repeats.due(at(201_000)), []);
    }

    #[test]
    fn a_flood_is_told_once_a_minute_and_when_it_is_over() {
        let mut repeats = Repeats::default();
        let mut told = Vec::new();
        // Ten a second for 70 seconds.
        for n in 0..700 {
            let written = repeats.admit((kind(1), BURST), at(n * 100), sample);
            assert_eq!(written, n < 5, "{n}");
            told.extend(repeats.due(at(n * 100)));
        }
        assert_eq!(counts(&told), [(601, 60)]);
        assert_eq!(told[0].sample, sample(kind(1)));
        assert_eq!(counts(&repeats.due(at(79_899))), []);
        assert_eq!(counts(&repeats.due(at(79_900))), [(94, 19)]);
        assert_eq!(repeats.due(at(200_000)), []);
        assert!(repeats.admit((kind(1), BURST), at(200_000), sample), "it is news again");
    }

    #[test]
    fn an_end_tells_what_is_held_back() {
        let mut repeats = Repeats::default();
        let mut written =
            |id, events: u64| (0..events).filter(|n| repeats.admit((kind(id), BURST), at(*n), sample)).count();
        assert_eq!([(1, 8), (2, 5)].map(|(id, events)| written(id, events)), [5, 5]);
        assert_eq!(counts(&repeats.rest(at(2_005))), [(3, 2)]);
        assert_eq!(repeats.rest(at(2_005)), []);
    }

    #[test]
    fn memory_is_bounded_and_a_flood_of_kinds_is_one_kind() {
        let mut repeats = Repeats::default();
        let written = (0..1_000_000).filter(|n| repeats.admit((kind(*n), BURST), at(0), sample)).count();
        assert_eq!(written, KINDS_MAX + 5);
        assert_eq!(repeats.0.len(), KINDS_MAX + 1);
        let told = repeats.due(at(10_000));
        assert_eq!((told[0].count, told[0].sample.app.as_deref()), (1_000_000 - KINDS_MAX as u64 - 5, None));
        assert!(repeats.0.is_empty());
    }
}
