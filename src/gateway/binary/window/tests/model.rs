//! The window against a naive model: a list of rows, each with a state of its own.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;

/// Time passes in steps longer than the window's marks are apart, so that the model needs no marks.
const STEP_MILLIS: u64 = 200;

#[derive(Clone, Debug)]
enum Action {
    Push(u32),
    Encode,
    Flush,
    Wait(u64),
    /// A packet about an identifier that is taken from all that were sent, and some that were not.
    Packet(u8, u32),
    Silent,
    Retire,
}

fn action() -> impl Strategy<Value = Action> {
    let status = prop_oneof![Just(8), Just(10), Just(1), Just(3), Just(2), Just(0), Just(128), any::<u8>()];
    prop_oneof![
        6 => (1..40_u32).prop_map(Action::Push),
        6 => Just(Action::Encode),
        6 => Just(Action::Flush),
        8 => (1..12_u64).prop_map(Action::Wait),
        2 => (status, any::<u32>()).prop_map(|(status, identifier)| Action::Packet(status, identifier)),
        1 => Just(Action::Silent),
        1 => Just(Action::Retire),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// On the wire with this identifier; how long it has been flushed while nothing was waiting to be.
    Sent(u32, Option<u64>),
    /// Presumed with this identifier, so long ago.
    Presumed(u32, u64),
}

type Outcomes = Vec<(u32, Outcome)>;

/// Rows are numbered in the order in which they were pushed.
#[derive(Default)]
struct Model {
    rows: Vec<(u32, State)>,
    sentinel: Option<Option<u32>>,
    identifiers: u32,
}

impl Model {
    fn encode(&mut self) {
        if let Some(sentinel) = &mut self.sentinel {
            if sentinel.is_none() {
                self.identifiers += 1;
                *sentinel = Some(self.identifiers);
            }
            return;
        }
        for (_, state) in &mut self.rows {
            if *state == State::Waiting {
                self.identifiers += 1;
                *state = State::Sent(self.identifiers, None);
            }
        }
    }

    fn flush(&mut self) {
        for (_, state) in &mut self.rows {
            if let State::Sent(_, flushed @ None) = state {
                *flushed = Some(0);
            }
        }
    }

    /// Lets time pass and says which rows are presumed now.
    fn wait(&mut self, millis: u64, is_blocked: bool) -> Outcomes {
        let mut presumed = Vec::new();
        for (row, state) in &mut self.rows {
            match state {
                State::Sent(identifier, Some(flushed)) => {
                    *flushed += if is_blocked { 0 } else { millis };
                    if *flushed >= 5000 && !is_blocked && self.sentinel.is_none() {
                        *state = State::Presumed(*identifier, 0);
                        presumed.push((*row, Outcome::Presumed));
                    }
                }
                State::Presumed(_, age) => *age += millis,
                State::Waiting | State::Sent(_, None) => {}
            }
        }
        self.rows.retain(|(_, state)| !matches!(state, State::Presumed(_, age) if *age >= 5000));
        presumed
    }

    /// Outcomes of the rows without one, and corrected ones.
    fn end(self, fate: impl Fn(State) -> Option<Outcome>) -> (Outcomes, Outcomes) {
        let (mut settled, mut revised) = (Vec::new(), Vec::new());
        for (row, state) in self.rows {
            match (state, fate(state)) {
                (State::Presumed(..), outcome) => revised.extend(outcome.map(|outcome| (row, outcome))),
                (_, outcome) => settled.push((row, outcome.unwrap())),
            }
        }
        (settled, revised)
    }

    fn end_by_packet(self, status: u8, named: u32) -> (Outcomes, Outcomes) {
        let is_shutdown_of_nothing = (status, named) == (10, 0);
        let named = if named == 0 && self.identifiers == 1 { 1 } else { named };
        let sentinel = self.sentinel.flatten();
        let is_answer = sentinel.is_some() && (sentinel == Some(named) || (named, status) == (0, 2));
        let is_unknown = status == 0 || !(1..=self.identifiers).contains(&named);
        let is_alone = self.rows.iter().filter(|(_, state)| matches!(state, State::Sent(..))).count() == 1;
        self.end(move |state| {
            let (identifier, was_presumed) = match state {
                State::Waiting => return Some(Outcome::Retry(Retry::NotProcessed)),
                State::Sent(identifier, _) => (identifier, false),
                State::Presumed(identifier, _) => (identifier, true),
            };
            let on_wire = |outcome| (!was_presumed).then_some(outcome);
            if is_shutdown_of_nothing {
                on_wire(Outcome::Retry(Retry::NotProcessed))
            } else if is_answer {
                on_wire(Outcome::Accepted)
            } else if is_unknown {
                on_wire(UNKNOWN)
            } else {
                match identifier.cmp(&named) {
                    Ordering::Less => on_wire(Outcome::Accepted),
                    Ordering::Equal if status == 10 => on_wire(Outcome::Accepted),
                    Ordering::Equal => Some(named_row(status, is_alone && !was_presumed)),
                    Ordering::Greater => Some(Outcome::Retry(Retry::NotProcessed)),
                }
            }
        })
    }
}

/// Which rows were alone is left to other tests.
const UNKNOWN: Outcome = Outcome::Retry(Retry::Unknown { alone: false });

fn named_row(status: u8, is_alone: bool) -> Outcome {
    let reason = Reason::from_binary_status(status).unwrap();
    match status {
        2 | 4 | 5 | 7 | 8 => Outcome::Rejected(reason),
        3 | 6 => Outcome::Retry(Retry::Refused(reason)),
        128 if is_alone => Outcome::Rejected(reason),
        128 => UNKNOWN,
        _ => Outcome::Retry(Retry::Transient { reason, after: None }),
    }
}

fn rows_of(settled: &[Settled]) -> Outcomes {
    let forget_alone = |outcome: &Outcome| match outcome {
        Outcome::Retry(Retry::Unknown { .. }) => UNKNOWN,
        outcome => outcome.clone(),
    };
    let rows = |settled: &Settled| settled.span.rows.clone().zip(std::iter::repeat(forget_alone(&settled.outcome)));
    settled.iter().flat_map(rows).collect()
}

/// Runs one connection of both and compares every outcome.
fn run(actions: Vec<Action>) {
    let all = span(10_000);
    let (mut window, mut model) = (opened(), Model::default());
    let (mut now, mut next_row, mut out) = (0, 0, BytesMut::new());
    for action in actions {
        match action {
            Action::Push(rows) => {
                let span = Span { rows: next_row..next_row + rows, ..all.clone() };
                let rest = window.push(span).map_or(0, |rest| rest.len());
                assert_eq!(rest, if model.sentinel.is_some() { rows } else { 0 });
                model.rows.extend((next_row..next_row + rows - rest).map(|row| (row, State::Waiting)));
                next_row += rows - rest;
            }
            Action::Encode if out.is_empty() => {
                window.encode(&mut out, at(now));
                model.encode();
            }
            Action::Encode => {}
            Action::Flush => {
                out.clear();
                window.flushed(at(now));
                model.flush();
            }
            Action::Wait(steps) => {
                now += steps * STEP_MILLIS;
                let presumed = model.wait(steps * STEP_MILLIS, !out.is_empty());
                assert_eq!(rows_of(&window.poll(at(now))), presumed);
            }
            Action::Retire => {
                window.retire(at(u64::MAX));
                model.sentinel.get_or_insert(None);
            }
            Action::Packet(status, pick) => {
                let identifier = pick % (model.identifiers + 3);
                let ending = window.end(End::Packet(ErrorPacket { status, identifier }));
                let expected = model.end_by_packet(status, identifier);
                assert_eq!((rows_of(&ending.closed.settled), rows_of(&ending.closed.revised)), expected);
                return;
            }
            Action::Silent => {
                let ending = window.end(End::Silent);
                let expected = model.end(|state| match state {
                    State::Waiting => Some(Outcome::Retry(Retry::NotProcessed)),
                    State::Sent(..) => Some(UNKNOWN),
                    State::Presumed(..) => None,
                });
                assert_eq!((rows_of(&ending.closed.settled), rows_of(&ending.closed.revised)), expected);
                return;
            }
        }
        let in_flight = model.rows.iter().filter(|(_, state)| !matches!(state, State::Presumed(..))).count();
        assert_eq!(window.rows() as usize, in_flight);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_outcome_is_the_one_of_a_list_of_rows(actions in proptest::collection::vec(action(), 1..60)) {
        run(actions);
    }
}
