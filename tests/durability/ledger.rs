//! What callers know: every row that was ever in a call, and how the call ended.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use apnsd::clock::Clock;
use apnsd::xmlrpc::value::Fault;

use crate::caller::Answer;
use crate::site::until;

/// One notification. Its number is in its token, and nobody else has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) number: u32,
    /// The gateway rejects its token.
    pub(crate) bad: bool,
}

impl Row {
    /// Its token in hex.
    pub(crate) fn token(self) -> String {
        format!("{:0<56}{:08x}", if self.bad { "bad8" } else { "aa" }, self.number)
    }

    /// What it says where it speaks for itself.
    pub(crate) fn text(self, ballast: usize) -> String {
        format!("{}{}", self.number, "x".repeat(ballast))
    }
}

/// How the call of a row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Not at all, or without an answer.
    Unknown,
    Accepted,
    Refused,
}

/// A row as it stands in the books.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) row: Row,
    pub(crate) app: usize,
    pub(crate) fate: Fate,
}

/// The books of all callers.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    lines: Mutex<Vec<Line>>,
    faults: Mutex<BTreeMap<(i32, String), usize>>,
    calls: Mutex<BTreeMap<&'static str, usize>>,
}

impl Ledger {
    /// New rows for a call to an app; the one at `bad` has a bad token.
    pub(crate) fn draw(&self, app: usize, count: usize, bad: Option<usize>) -> Vec<Row> {
        let mut lines = locked(&self.lines);
        let first = lines.len();
        let row = |at: usize| Row { number: u32::try_from(first + at).unwrap(), bad: bad == Some(at) };
        let rows: Vec<Row> = (0..count).map(row).collect();
        lines.extend(rows.iter().map(|&row| Line { row, app, fate: Fate::Unknown }));
        rows
    }

    /// Enters how the call of these rows ended.
    pub(crate) fn enter(&self, rows: &[Row], answer: &Answer) {
        let (fate, word) = match answer {
            Answer::Accepted => (Fate::Accepted, "answered OK"),
            Answer::Refused(Fault { code, text }) => {
                *locked(&self.faults).entry((*code, text.clone())).or_default() += 1;
                (Fate::Refused, "refused")
            }
            Answer::None => (Fate::Unknown, "not answered"),
        };
        *locked(&self.calls).entry(word).or_default() += 1;
        let mut lines = locked(&self.lines);
        rows.iter().for_each(|row| lines[row.number as usize].fate = fate);
    }

    /// Every row so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        locked(&self.lines).clone()
    }

    /// Numbers of rows whose calls ended so, in the order in which they were drawn.
    pub(crate) fn numbers(&self, fate: Fate) -> Vec<u32> {
        locked(&self.lines).iter().filter(|line| line.fate == fate).map(|line| line.row.number).collect()
    }

    /// Waits until so many more rows than now have had this fate.
    pub(crate) async fn more(&self, fate: Fate, count: usize, clock: &Clock) {
        let before = self.numbers(fate).len();
        until(clock, &format!("{count} more {fate:?}"), async || {
            (self.numbers(fate).len() >= before + count).then_some(())
        })
        .await;
    }

    /// How many rows were ever drawn.
    pub(crate) fn drawn(&self) -> Range<u32> {
        0..u32::try_from(locked(&self.lines).len()).unwrap()
    }

    /// Every fault, and how often it came.
    pub(crate) fn faults(&self) -> BTreeMap<(i32, String), usize> {
        locked(&self.faults).clone()
    }

    /// How many calls ended how.
    pub(crate) fn calls(&self) -> String {
        let calls = locked(&self.calls);
        calls.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
