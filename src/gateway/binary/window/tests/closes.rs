//! Closes without a word: isolation, attempts, and the search for the rows to blame.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[test]
fn a_silent_close_makes_sent_rows_unknown_and_the_next_connection_narrow() {
    let mut window = sent(span(10));
    let ending = window.end(End::Silent);
    assert_eq!(show(&ending.closed.settled), ["0..10 unknown"]);
    assert_eq!(ending.closed.cause, CloseCause::Silent { settled: false });

    window.opened(at(1000));
    for (rows, millis) in [(1, 1000), (2, 6000), (4, 11_000), (8, 16_000)] {
        assert_eq!(window.room(), rows);
        assert_eq!(window.push(span(100)).unwrap().rows.start, rows);
        assert_eq!(window.room(), 0);
        flush(&mut window, millis);
        assert_eq!(window.poll(at(millis + 5000)).len(), 1);
    }
    let ending = window.end(End::Silent);
    assert_eq!(ending.closed.cause, CloseCause::Silent { settled: true });
}

#[test]
fn a_silent_close_with_nothing_on_the_wire_suspects_nobody() {
    let mut window = opened();
    assert_eq!(window.push(span(10)), None);
    let ending = window.end(End::Silent);
    assert_eq!(show(&ending.closed.settled), ["0..10 not processed"]);
    assert_eq!(window.isolation.rows(), u32::MAX);
}

#[test]
fn a_row_alone_at_three_silent_closes_is_rejected() {
    for (tries, expected) in [
        (tried(0, 0), "unknown, alone"),
        (tried(1, 1), "unknown, alone"),
        (tried(4, 1), "unknown, alone"),
        (tried(2, 2), "rejected: ConnectionClosed"),
        (tried(5, 2), "rejected: ConnectionClosed"),
        (tried(5, 1), "rejected: AttemptsExhausted"),
    ] {
        let mut window = sent(span(1).with_tries(tries));
        let ending = window.end(End::Silent);
        assert_eq!(show(&ending.closed.settled), [format!("0..1 {expected}")], "{tries:?}");
    }
}

#[test]
fn a_row_that_was_sent_again_five_times_is_given_up_however_it_was_lost() {
    for (unknown, expected) in [(4, "unknown"), (5, "rejected: AttemptsExhausted")] {
        for end in [End::Lost(String::new()), End::Unanswered] {
            let mut window = sent(span(1).with_tries(tried(unknown, 0)));
            let ending = window.end(end);
            assert_eq!(show(&ending.closed.settled), [format!("0..1 {expected}")]);
        }
    }
    let mut window = sent(span(1).with_tries(tried(5, 0)));
    window.poll(at(5000));
    let ending = window.end(packet([8, 128, 0, 0, 0, 1]));
    assert_eq!(show(&ending.closed.revised), ["0..1 rejected: ProtocolError"]);
}

#[test]
fn rows_with_many_attempts_keep_little_company_even_outside_isolation() {
    let mut window = sent(span(3));
    assert_eq!(window.push(span(10).with_tries(tried(3, 0))).unwrap().rows, 0..10);
    assert_eq!(window.room(), 0, "it would be refused again");
    window.poll(at(5000));
    assert_eq!(window.room(), 1);
    assert_eq!(window.push(span(10).with_tries(tried(3, 0))).unwrap().rows, 1..10);
    assert_eq!(window.push(span(5)).unwrap().rows, 0..5, "nor do others join it");
    flush(&mut window, 5000);
    window.poll(at(10_000));
    assert_eq!(window.push(span(100).with_tries(tried(2, 0))).unwrap().rows, 16..100);
    flush(&mut window, 10_000);
    window.poll(at(15_000));
    assert_eq!(window.push(span(1000)), None);
}

/// A gateway that closes without a word when it meets a bad row, and a queue that sends again what comes back.
struct World {
    window: Window,
    queue: VecDeque<Span>,
    bad: Vec<bool>,
    now: u64,
    outcomes: BTreeMap<u32, Outcome>,
}

impl World {
    fn new(bad: Vec<bool>) -> Self {
        let queue = VecDeque::from([span(bad.len() as u32)]);
        Self { window: opened(), queue, bad, now: 0, outcomes: BTreeMap::new() }
    }

    /// Sends until nothing is left and says how many connections that took.
    fn run(&mut self) -> u32 {
        let mut connections = 1;
        while !self.queue.is_empty() || self.window.rows() > 0 {
            while let Some(span) = self.queue.pop_front() {
                if let Some(rest) = self.window.push(span) {
                    self.queue.push_front(rest);
                    break;
                }
            }
            assert!(self.window.rows() > 0, "stuck with {:?}", self.queue);
            flush(&mut self.window, self.now);
            self.now += 5000;
            let met_bad = self.window.line.sent.spans().any(|span| self.has_bad(span));
            let settled = if met_bad {
                connections += 1;
                let ending = self.window.end(End::Silent);
                self.window.opened(at(self.now));
                ending.closed.settled
            } else {
                self.window.poll(at(self.now))
            };
            self.settle(settled);
        }
        connections
    }

    fn has_bad(&self, span: &Span) -> bool {
        span.rows.clone().any(|row| self.bad[row as usize])
    }

    fn settle(&mut self, settled: Vec<Settled>) {
        for Settled { span, outcome } in settled.into_iter().rev() {
            match outcome {
                Outcome::Retry(Retry::Unknown { alone }) => {
                    let Tries { unknown, alone: before, transient } = span.tries;
                    let tries = Tries { unknown: unknown + 1, alone: before + u8::from(alone), transient };
                    self.queue.push_front(span.with_tries(tries));
                }
                Outcome::Retry(_) => self.queue.push_front(span),
                outcome => {
                    for row in span.rows {
                        assert_eq!(self.outcomes.insert(row, outcome.clone()), None, "row {row} has two outcomes");
                    }
                }
            }
        }
    }

    fn assert_exactly_the_bad_ones_were_rejected(&self) {
        for (row, bad) in (0..).zip(&self.bad) {
            let expected = match bad {
                true => Outcome::Rejected(Reason::ConnectionClosed),
                false => Outcome::Presumed,
            };
            assert_eq!(self.outcomes[&row], expected, "row {row}");
        }
    }
}

#[test]
fn of_13_rows_exactly_the_bad_one_is_rejected_after_standing_alone_three_times() {
    let mut world = World::new((0..13).map(|row| row == 7).collect());
    let connections = world.run();
    world.assert_exactly_the_bad_ones_were_rejected();
    assert_eq!(connections, 6);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn bad_rows_never_take_good_ones_with_them(bad in bad_rows()) {
        let mut world = World::new(bad);
        world.run();
        world.assert_exactly_the_bad_ones_were_rejected();
    }
}

/// Up to 2,000 rows with none, few, many or only bad ones among them.
fn bad_rows() -> impl Strategy<Value = Vec<bool>> {
    (1..2000_usize, prop_oneof![Just(0.0), Just(0.001), Just(0.02), Just(0.5), Just(1.0)])
        .prop_flat_map(|(rows, share)| proptest::collection::vec(proptest::bool::weighted(share), rows))
}
