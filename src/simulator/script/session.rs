//! One gateway connection as a pure state machine: packets, commands and `now` in, verdicts and actions out.
//!
//! ```text
//!            error, close                     due
//!   Open ────────────────────► Failing ────────────────► Over
//!     │                        (packets are discarded)     ▲
//!     └──── the client closes, nothing is pending ─────────┘
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::answer::Answer;
use super::behavior::Behavior;
use super::fault::{Delay, Ending, Fault, StreamFault, WrongIdentifier};
use super::tokens::TokenRule;
use super::{Change, Scheduled};
use crate::clock::Instant;
use crate::domain::token::{TOKEN_BYTES_MAX, TOKEN_BYTES_MIN};
use crate::gateway::binary::frame::Packet;
use crate::simulator::journal::entry::Verdict;

const MISSING_TOKEN: u8 = 2;
const MISSING_PAYLOAD: u8 = 4;
const INVALID_TOKEN_SIZE: u8 = 5;
const INVALID_PAYLOAD_SIZE: u8 = 7;
const SHUTDOWN: u8 = 10;
const PROTOCOL_ERROR: u8 = 128;

/// What the connection has to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) enum Action {
    /// Close the server's side and go on.
    HalfClose,
    /// Send the answer, if there is one, and end the connection. The session is over.
    End {
        answer: Option<Answer>,
        ending: Ending,
        /// For [`Ending::ResetWithinMs`]: how long to wait.
        pause: Duration,
    },
}

/// Largest payloads that the gateway takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulator) struct Limits {
    /// Of commands 0 and 1.
    pub(in crate::simulator) legacy: usize,
    /// Of command 2.
    pub(in crate::simulator) frame: usize,
}

/// The state of one connection.
#[derive(Debug)]
pub(in crate::simulator) struct Session {
    limits: Limits,
    rng: fastrand::Rng,
    scheduled: VecDeque<Scheduled>,
    behavior: Behavior,
    state: State,
    received: u64,
    identifiers: Identifiers,
    last_bytes: Instant,
}

#[derive(Debug)]
enum State {
    Open,
    Failing { answer: Option<Answer>, due: Due, ending: Ending },
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    At(Instant),
    Further(u32),
}

/// The identifiers that an error packet may name. 0 where there is none.
#[derive(Clone, Copy, Debug, Default)]
struct Identifiers {
    first: Option<u32>,
    accepted: u32,
    last: u32,
    earlier: u32,
}

impl Session {
    /// A connection that was just opened. `earlier` is the last identifier of an earlier connection.
    pub(in crate::simulator) fn new(
        limits: Limits,
        seed: u64,
        scheduled: Vec<Scheduled>,
        earlier: u32,
        now: Instant,
    ) -> Self {
        let mut session = Self {
            limits,
            rng: fastrand::Rng::with_seed(seed),
            scheduled: scheduled.into(),
            behavior: Behavior::default(),
            state: State::Open,
            received: 0,
            identifiers: Identifiers { earlier, ..Identifiers::default() },
            last_bytes: now,
        };
        session.sort();
        session.enforce(now);
        session
    }

    /// Bytes arrived.
    pub(in crate::simulator) fn bytes(&mut self, now: Instant) {
        let idle = now.since(self.last_bytes);
        self.last_bytes = now;
        if self.behavior.idle_reset.is_some_and(|limit| idle >= limit) {
            self.fail(None, Due::At(now), Ending::Reset);
        }
    }

    /// A notification arrived. What becomes of it.
    pub(in crate::simulator) fn packet(&mut self, packet: &Packet<'_>, now: Instant) -> Verdict {
        if !self.is_open() {
            self.discard_one(now);
            return Verdict::Discarded;
        }
        self.received += 1;
        self.identifiers.last = packet.identifier.unwrap_or(0);
        self.identifiers.first.get_or_insert(self.identifiers.last);
        let verdict = self.judge(packet, now);
        self.enforce(now);
        verdict
    }

    /// What arrived cannot be read, and neither can anything after it. What becomes of it.
    pub(in crate::simulator) fn malformed(&mut self, identifier: Option<u32>, now: Instant) -> Verdict {
        if !self.is_open() {
            return Verdict::Discarded;
        }
        self.received += 1;
        self.reject(PROTOCOL_ERROR, identifier.unwrap_or(0), now);
        Verdict::Rejected(PROTOCOL_ERROR)
    }

    /// The client closed its side; what waits for it to send more comes now.
    pub(in crate::simulator) fn client_closed(&mut self, now: Instant) {
        match &mut self.state {
            State::Open => self.fail(None, Due::At(now), Ending::Clean),
            State::Failing { due: due @ Due::Further(_), .. } => *due = Due::At(now),
            State::Failing { .. } | State::Over => (),
        }
    }

    /// A command for open connections.
    pub(in crate::simulator) fn change(&mut self, change: Change, now: Instant) {
        match change {
            Change::Add(scheduled) => self.scheduled.push_back(scheduled),
            Change::Clear => {
                self.scheduled.clear();
                self.behavior = Behavior::default();
            }
        }
        self.sort();
        self.enforce(now);
    }

    /// What is to be done now; to be asked again until there is nothing.
    pub(in crate::simulator) fn action(&mut self, now: Instant) -> Option<Action> {
        if std::mem::take(&mut self.behavior.half_close) {
            return Some(Action::HalfClose);
        }
        let idle = self.idle_deadline().is_some_and(|deadline| deadline <= now);
        if idle {
            self.fail(None, Due::At(now), Ending::Clean);
        }
        match &self.state {
            State::Failing { due: Due::At(due), .. } if *due <= now => (),
            State::Open | State::Failing { .. } | State::Over => return None,
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Failing { answer, ending, .. } => {
                let pause = match ending {
                    Ending::ResetWithinMs(ms) => Duration::from_millis(self.rng.u64(0..=ms)),
                    Ending::Clean | Ending::Fin | Ending::DrainMs(_) | Ending::Unread | Ending::Reset => Duration::ZERO,
                };
                Some(Action::End { answer, ending, pause })
            }
            State::Open | State::Over => None,
        }
    }

    /// When there may be something to do although nothing arrives.
    pub(in crate::simulator) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Open => self.idle_deadline(),
            State::Failing { due: Due::At(due), .. } => Some(*due),
            State::Failing { due: Due::Further(_), .. } | State::Over => None,
        }
    }

    /// Whether nothing is to be read for now.
    pub(in crate::simulator) fn stopped(&self) -> bool {
        self.behavior.stop_reading && self.is_open()
    }

    /// How many bytes may be read per second.
    pub(in crate::simulator) fn throttle(&self) -> Option<u32> {
        self.behavior.throttle
    }

    /// The identifier of the last notification, for later connections.
    pub(in crate::simulator) fn last_identifier(&self) -> u32 {
        self.identifiers.last
    }

    fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    fn idle_deadline(&self) -> Option<Instant> {
        self.behavior.idle_close.filter(|_| self.is_open()).map(|limit| self.last_bytes + limit)
    }

    fn discard_one(&mut self, now: Instant) {
        if let State::Failing { due: due @ Due::Further(_), .. } = &mut self.state {
            *due = match *due {
                Due::Further(left) if left > 1 => Due::Further(left - 1),
                Due::Further(_) | Due::At(_) => Due::At(now),
            };
        }
    }

    /// Validates in Apple's order: token present, token size, payload present, payload size, token known.
    fn judge(&mut self, packet: &Packet<'_>, now: Instant) -> Verdict {
        let token = packet.token.unwrap_or_default();
        let payload = packet.payload.unwrap_or_default();
        let payload_max = if packet.command == 2 { self.limits.frame } else { self.limits.legacy };
        let rule = match self.behavior.reject.take() {
            Some(status) => TokenRule::Reject(status),
            None if token.is_empty() => TokenRule::Reject(MISSING_TOKEN),
            None if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len()) => {
                TokenRule::Reject(INVALID_TOKEN_SIZE)
            }
            None if payload.is_empty() => TokenRule::Reject(MISSING_PAYLOAD),
            None if payload.len() > payload_max => TokenRule::Reject(INVALID_PAYLOAD_SIZE),
            None => TokenRule::of(token),
        };
        let lost = self.behavior.lose_percent > 0 && self.rng.u8(0..100) < self.behavior.lose_percent;
        match rule {
            TokenRule::Accept | TokenRule::Unregistered if lost => self.accept(Verdict::Lost),
            TokenRule::Accept | TokenRule::Unregistered => self.accept(Verdict::Accepted),
            TokenRule::Lose => self.accept(Verdict::Lost),
            TokenRule::Shutdown => {
                let verdict = self.accept(Verdict::Accepted);
                self.reject(SHUTDOWN, self.identifiers.accepted, now);
                verdict
            }
            TokenRule::Close => self.fail_unheard(Ending::Clean, now),
            TokenRule::Reset => self.fail_unheard(Ending::Reset, now),
            // The Legacy Notification Format has no identifier to name: the connection is cut without a packet.
            TokenRule::Reject(status) if packet.command == 0 => {
                self.fail(None, Due::At(now), self.behavior.then);
                Verdict::Rejected(status)
            }
            TokenRule::Reject(status) => {
                let quirk = self.behavior.zero_token_quirk && status == MISSING_TOKEN && token.is_empty();
                self.reject(status, if quirk { 0 } else { self.identifiers.last }, now);
                Verdict::Rejected(status)
            }
        }
    }

    fn accept(&mut self, verdict: Verdict) -> Verdict {
        self.identifiers.accepted = self.identifiers.last;
        verdict
    }

    fn fail_unheard(&mut self, ending: Ending, now: Instant) -> Verdict {
        self.fail(None, Due::At(now), ending);
        Verdict::Discarded
    }

    /// Fails the connection with an error packet, as the faults in force have it.
    fn reject(&mut self, status: u8, identifier: u32, now: Instant) {
        let identifiers = &self.identifiers;
        let wrong = self.behavior.answer.identifier.map(|wrong| match wrong {
            WrongIdentifier::Zero => 0,
            WrongIdentifier::Forgotten => identifiers.first.unwrap_or(0),
            WrongIdentifier::NeverSent => identifiers.last.wrapping_add(1_000_000),
            WrongIdentifier::ByteSwapped => identifier.swap_bytes(),
            WrongIdentifier::EarlierConnection => identifiers.earlier,
        });
        let answer = Some(Answer::new(status, wrong.unwrap_or(identifier), &self.behavior.answer));
        let due = |ms| Due::At(now + Duration::from_millis(ms));
        let (answer, due) = match self.behavior.delay {
            None | Some(Delay::Further(0)) => (answer, due(0)),
            Some(Delay::FixedMs(ms)) => (answer, due(ms)),
            Some(Delay::RandomMs { from, to }) => (answer, due(self.rng.u64(from..=to))),
            Some(Delay::Further(count)) => (answer, Due::Further(count)),
            Some(Delay::Never) => (None, due(0)),
        };
        self.fail(answer, due, self.behavior.then);
    }

    fn fail(&mut self, answer: Option<Answer>, due: Due, ending: Ending) {
        if self.is_open() {
            self.state = State::Failing { answer, due, ending };
        }
    }

    /// Earliest first; those of the same moment in the order in which they came.
    fn sort(&mut self) {
        self.scheduled.make_contiguous().sort_by_key(|scheduled| scheduled.after);
    }

    /// Puts into force what is due.
    fn enforce(&mut self, now: Instant) {
        while self.scheduled.front().is_some_and(|scheduled| scheduled.after <= self.received) {
            let faults = self.scheduled.pop_front().map(|scheduled| scheduled.faults).unwrap_or_default();
            // What shapes an error packet comes before what may cause one.
            for fault in &faults {
                self.behavior.shape(fault);
            }
            for fault in &faults {
                self.strike(fault, now);
            }
        }
    }

    /// Does what a fault does at once.
    fn strike(&mut self, fault: &Fault, now: Instant) {
        match fault {
            Fault::Stream(StreamFault::Close { within_ms, then }) => {
                let due = now + Duration::from_millis(self.rng.u64(0..=*within_ms));
                self.fail(None, Due::At(due), *then);
            }
            Fault::Stream(StreamFault::Shutdown) if self.is_open() => {
                self.reject(SHUTDOWN, self.identifiers.accepted, now);
            }
            Fault::Connect(_) | Fault::Stream(_) | Fault::Error(_) | Fault::Http2(_) => (),
        }
    }
}

#[cfg(test)]
mod tests;
