//! One connection of the provider API as a pure state machine: bytes, commands and `now` in; bytes, journal and an end
//! out.
//!
//! ```text
//!           GOAWAY                 everything is answered
//!   Open ───────────► GoingAway ────────────────────────────► Ending ──── due ───► (ended by the caller)
//!     │                                                          ▲
//!     └──── a fault, a violation of HTTP/2 ──────────────────────┘
//! ```

mod faults;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::BytesMut;

use self::requests::Arrived;
use super::behavior::Behavior;
use super::held::Held;
use super::judge::{Authentication, Judge};
use super::session::{Event, Options, Session};
use super::stream_limit::StreamLimit;
use crate::clock::Instant;
use crate::domain::time::Timestamp;
use crate::simulator::journal::entry::{self, Summary};
use crate::simulator::script::fault::Ending;
use crate::simulator::script::http2::{AfterGoAway, GoAway, LastStream};
use crate::simulator::script::{Change, Scheduled};

/// The last stream of a GOAWAY that names none.
const ANY_STREAM: u32 = 0x7fff_ffff;
const SHUTDOWN: &str = r#"{"reason":"Shutdown"}"#;

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) at: Instant,
    pub(super) wall: Timestamp,
}

/// What the caller has to note in the journal.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) events: Vec<entry::Event>,
    pub(super) counts: Summary,
    /// Whether events are wanted at all.
    pub(super) keeps_events: bool,
}

/// How the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) ending: Ending,
    /// For [`Ending::ResetWithinMs`]: how long to wait.
    pub(super) pause: Duration,
}

/// The state of one connection.
pub(super) struct Conversation {
    session: Session,
    judge: Judge,
    limit: StreamLimit,
    behavior: Behavior,
    scheduled: VecDeque<Scheduled>,
    rng: fastrand::Rng,
    received: u64,
    /// The newest stream whose request was judged.
    judged: u32,
    /// Streams whose request came or is coming, and which are still to be answered.
    unanswered: BTreeSet<u32>,
    held: Held,
    settings_due: Option<Instant>,
    window_due: Option<Instant>,
    life: Life,
    last_bytes: Instant,
    notes: Notes,
}

#[derive(Clone, Copy, Debug)]
enum Life {
    Open,
    GoingAway { last: u32, then: AfterGoAway },
    Ending { at: Instant, ending: Ending },
}

impl Conversation {
    /// A connection that was just opened.
    pub(super) fn new(judge: Judge, seed: u64, scheduled: Vec<Scheduled>, keeps_events: bool, now: Instant) -> Self {
        let mut limit = StreamLimit::new(matches!(judge.authentication, Authentication::Certificate(_)));
        let mut options = Options { max_concurrent_streams: Some(limit.announced()), ..Options::default() };
        let first = scheduled.iter().filter(|scheduled| scheduled.after == 0);
        first
            .flat_map(|scheduled| &scheduled.faults)
            .for_each(|fault| faults::shape_first_settings(&mut options, fault));
        if options.sends_settings {
            limit.settings_sent();
        }
        let mut conversation = Self {
            session: Session::new(options),
            judge,
            limit,
            behavior: Behavior::default(),
            scheduled: scheduled.into(),
            rng: fastrand::Rng::with_seed(seed),
            received: 0,
            judged: 0,
            unanswered: BTreeSet::new(),
            held: Held::default(),
            settings_due: None,
            window_due: None,
            life: Life::Open,
            last_bytes: now,
            notes: Notes { keeps_events, ..Notes::default() },
        };
        conversation.sort();
        conversation.enforce(now);
        conversation
    }

    /// Bytes arrived.
    pub(super) fn receive(&mut self, bytes: &[u8], now: Now) {
        let idle = now.at.since(self.last_bytes);
        self.last_bytes = now.at;
        self.notes.counts.http2.bytes += bytes.len() as u64;
        if self.behavior.idle_reset.is_some_and(|limit| idle >= limit) {
            self.end(now.at, Ending::Reset);
        }
        let violation = self.session.receive(bytes).err();
        while let Some(event) = self.session.next_event() {
            self.event(event, now);
        }
        if let Some(violation) = violation {
            self.violation(violation.to_string());
            self.end(now.at, Ending::Clean);
        }
        self.close_if_done(now.at);
    }

    /// A command for open connections.
    pub(super) fn change(&mut self, change: Change, now: Instant) {
        match change {
            Change::Add(scheduled) => self.scheduled.push_back(scheduled),
            Change::Clear => self.clear(),
        }
        self.sort();
        self.enforce(now);
        self.close_if_done(now);
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.settings_due.take_if(|due| *due <= now).is_some() {
            self.send_settings();
        }
        if self.window_due.take_if(|due| *due <= now).is_some() {
            self.session.options().initial_window_size = Options::default().initial_window_size;
            self.send_settings();
        }
        if self.idle_deadline().is_some_and(|deadline| deadline <= now) {
            self.end(now, Ending::Clean);
        }
        self.limit.tick(now);
        self.announce_limit();
        self.give_due_answers(now);
        self.close_if_done(now);
    }

    /// When there may be something to do although nothing arrives.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let own = match self.life {
            Life::Open | Life::GoingAway { .. } => self.idle_deadline(),
            Life::Ending { at, .. } => Some(at),
        };
        let others = [self.settings_due, self.window_due, self.limit.deadline(), self.held.deadline()];
        own.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// How the connection ends, if it does now.
    pub(super) fn ended(&mut self, now: Instant) -> Option<End> {
        match self.life {
            Life::Ending { at, ending } if at <= now => {
                let pause = match ending {
                    Ending::ResetWithinMs(ms) => Duration::from_millis(self.rng.u64(0..=ms)),
                    Ending::Clean | Ending::Fin | Ending::DrainMs(_) | Ending::Unread | Ending::Reset => Duration::ZERO,
                };
                Some(End { ending, pause })
            }
            Life::Open | Life::GoingAway { .. } | Life::Ending { .. } => None,
        }
    }

    /// What is to be written; the caller takes it.
    pub(super) fn out(&mut self) -> &mut BytesMut {
        self.session.out()
    }

    /// What is to be noted; the caller takes it.
    pub(super) fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }

    /// Whether nothing is to be read for now.
    pub(super) fn stopped(&self) -> bool {
        self.behavior.stop_reading && !matches!(self.life, Life::Ending { .. })
    }

    /// How many bytes may be read per second.
    pub(super) fn throttle(&self) -> Option<u32> {
        self.behavior.throttle
    }

    fn event(&mut self, event: Event, now: Now) {
        match event {
            Event::Begun { stream } => {
                self.unanswered.insert(stream);
                if let Some(go_away) = self.behavior.go_away_before_data.take() {
                    self.go_away(&go_away);
                }
            }
            Event::Request { stream, headers, body, excess } => {
                self.request(Arrived { stream, headers: &headers, body, excess }, now);
                self.enforce(now.at);
            }
            Event::Refused { stream, code, words } => {
                self.unanswered.remove(&stream);
                self.violation(format!("stream {stream} was reset with code {code}: {words}"));
            }
            Event::Reset { stream, .. } => {
                self.unanswered.remove(&stream);
                self.notes.counts.http2.canceled += 1;
            }
            Event::SettingsAcknowledged => self.limit.acknowledged(),
            Event::GoAway { .. } | Event::Ping { .. } | Event::PingAcknowledged { .. } => (),
        }
    }

    fn go_away(&mut self, go_away: &GoAway) {
        let last = match go_away.last {
            LastStream::Equal => self.session.last_stream(),
            LastStream::Below => self.judged,
            LastStream::Zero => 0,
            LastStream::Max => ANY_STREAM,
        };
        let debug = go_away.debug.as_deref().unwrap_or(SHUTDOWN);
        for _ in 0..if go_away.twice { 2 } else { 1 } {
            self.send_go_away(last, go_away.code, debug);
        }
        if !matches!(self.life, Life::Ending { .. }) {
            self.life = Life::GoingAway { last, then: go_away.then };
        }
    }

    fn send_go_away(&mut self, last_stream: u32, code: u32, debug: &str) {
        self.session.go_away(last_stream, code, debug.as_bytes());
        self.notes.counts.http2.go_aways += 1;
        self.push(|| entry::Event::GoAway { last_stream, code, debug: debug.to_owned() });
    }

    /// After a GOAWAY: whether everything that is still processed was answered.
    fn close_if_done(&mut self, now: Instant) {
        if let Life::GoingAway { last, then: AfterGoAway::Close } = self.life
            && self.unanswered.first().is_none_or(|oldest| *oldest > last)
        {
            self.end(now, Ending::Clean);
        }
    }

    fn end(&mut self, at: Instant, ending: Ending) {
        if !matches!(self.life, Life::Ending { .. }) {
            self.life = Life::Ending { at, ending };
        }
    }

    fn announce_limit(&mut self) {
        if let Some(limit) = self.limit.news() {
            self.session.limit_streams(limit);
            if self.session.options().sends_settings {
                self.limit.settings_sent();
            }
        }
    }

    fn send_settings(&mut self) {
        self.session.send_settings();
        self.limit.settings_sent();
    }

    fn idle_deadline(&self) -> Option<Instant> {
        self.behavior.idle_close.map(|limit| self.last_bytes + limit)
    }

    fn violation(&mut self, what: String) {
        self.notes.counts.http2.violations += 1;
        self.push(|| entry::Event::Violation { what });
    }

    fn push(&mut self, event: impl FnOnce() -> entry::Event) {
        if self.notes.keeps_events {
            self.notes.events.push(event());
        }
    }
}
