//! When a worker connects, sends, waits and pauses. Pure: events and `now` in, the next step out.
//!
//! ```text
//!            connect()            connected()
//!   Down ───────────────► Connecting ───────► Up ──── retire() ───► Retiring
//!    ▲                        │               │                        │
//!    └──────── closed(cause): not before …, wanted or only when rows wait ◄──┘
//! ```
//!
//! A gateway that makes its next connection by itself leads from Up to Reconnecting, and back with `connected()`.
//!
//! A *pause* lies over it: the queue is kept and `notify` is refused until a connection stands again, or until
//! somebody resumes what an operator paused.

use std::time::Duration;

use crate::clock::Instant;
use crate::domain::app::{AppId, AppState};
use crate::domain::outcome::{Blame, Reason};
use crate::gateway::{CloseCause, alert};

/// Shortest time between two connection attempts of one app: at most 25 a second.
const CONNECT_SPACING: Duration = Duration::from_millis(40);
/// First wait after a failed attempt; doubles with each further one.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// Longest wait after failed attempts.
const BACK_OFF_MAX: Duration = Duration::from_secs(120);
/// Share of a back-off by which it is shortened or lengthened at random.
const BACK_OFF_JITTER: f64 = 0.2;
/// A paused app tries again after this long.
const PAUSE: Duration = Duration::from_secs(5 * 60);
/// Closes right after the handshake, in a row, that pause an app.
const EARLY_CLOSES_MAX: u32 = 3;
/// Rejections in a row, with nothing delivered between, that pause an app.
const REJECTIONS_IN_ROW_MAX: u64 = 100;
/// Of them: rows given up because the connection was closed on each of them alone.
const CLOSED_IN_ROW_MAX: u64 = 3;
/// After a close without a word before anything was delivered, the next connection must stand this long before rows
/// are sent: a gateway that refuses a certificate closes within 200 ms, and rows must not be blamed for it.
const PROBATION: Duration = Duration::from_millis(500);

/// What the worker is to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Begin a connection.
    Connect,
    /// Hand rows to the gateway.
    Send,
    /// Close the connection as planned.
    Retire,
    /// Nothing, until an event or this moment.
    Wait(Option<Instant>),
}

/// Who paused an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// This daemon, because of a cause that a person should look at. Ends with the next connection that stands.
    Automatic,
    /// An operator. Ends when one resumes.
    Operator,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// No connection. The next one not before a moment, and only for waiting rows unless it is wanted anyway.
    Down {
        not_before: Instant,
        wanted: bool,
    },
    Connecting,
    /// Rows may be sent from a moment on.
    Up {
        send_from: Instant,
    },
    /// The gateway makes the next connection by itself.
    Reconnecting,
    Retiring,
}

/// The state of one app's worker.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// Whose it is, for what is to be typed.
    app: AppId,
    link: Link,
    pause: Option<Pause>,
    cause: String,
    failures: u32,
    early_closes: u32,
    rejections_in_row: u64,
    closed_in_row: u64,
    probation: bool,
    /// Whether the credentials were ever good for a delivery.
    proven: bool,
    /// Whether what came last was no failure: the next connection is only a matter of time.
    is_calm: bool,
    /// Whether the gateway has answered anything on this connection.
    answered: bool,
    last_connect: Option<Instant>,
}

impl State {
    /// A worker that connects at once.
    pub(super) fn new(app: AppId, now: Instant) -> Self {
        Self {
            app,
            link: Link::Down { not_before: now, wanted: true },
            pause: None,
            cause: String::new(),
            failures: 0,
            early_closes: 0,
            rejections_in_row: 0,
            closed_in_row: 0,
            probation: false,
            proven: false,
            is_calm: true,
            answered: false,
            last_connect: None,
        }
    }

    /// A worker with new credentials: it connects at once, unless an operator paused it.
    pub(super) fn renewed(&self, now: Instant) -> Self {
        let mut renewed = Self { last_connect: self.last_connect, ..Self::new(self.app.clone(), now) };
        if self.pause == Some(Pause::Operator) {
            renewed.pause();
        }
        renewed
    }

    /// What to do now, given whether rows are due.
    pub(super) fn step(&self, now: Instant, rows_due: bool) -> Step {
        match self.link {
            Link::Down { .. } if self.pause == Some(Pause::Operator) => Step::Wait(None),
            Link::Down { wanted: false, .. } if !rows_due => Step::Wait(None),
            Link::Down { not_before, .. } if now < not_before => Step::Wait(Some(not_before)),
            Link::Down { .. } => Step::Connect,
            Link::Up { .. } | Link::Reconnecting if self.pause.is_some() => Step::Retire,
            Link::Up { .. } if !rows_due => Step::Wait(None),
            Link::Up { send_from } if now < send_from => Step::Wait(Some(send_from)),
            Link::Up { .. } => Step::Send,
            Link::Connecting | Link::Reconnecting | Link::Retiring => Step::Wait(None),
        }
    }

    /// A connection was begun.
    pub(super) fn connecting(&mut self, now: Instant) {
        self.link = Link::Connecting;
        self.last_connect = Some(now);
    }

    /// The connection stands.
    pub(super) fn connected(&mut self, now: Instant) {
        if self.link == Link::Retiring {
            return;
        }
        let send_from = if self.probation { now + PROBATION } else { now };
        self.link = Link::Up { send_from };
        self.answered = false;
        if self.pause == Some(Pause::Automatic) {
            self.pause = None;
        }
        if self.pause.is_none() && self.early_closes == 0 {
            self.cause.clear();
        }
    }

    /// No connection stands any more, in words, and the gateway makes another one by itself.
    pub(super) fn reconnecting(&mut self, cause: String) {
        match self.link {
            Link::Up { .. } | Link::Reconnecting => (),
            Link::Down { .. } | Link::Connecting | Link::Retiring => return,
        }
        self.link = Link::Reconnecting;
        if self.pause.is_none() {
            self.cause = cause;
        }
    }

    /// The connection is being closed as planned.
    pub(super) fn retiring(&mut self) {
        self.link = Link::Retiring;
    }

    /// The gateway answered something, whatever it was.
    pub(super) fn answered(&mut self) {
        self.answered = true;
    }

    /// Rows were delivered.
    pub(super) fn delivered(&mut self) {
        self.answered();
        self.failures = 0;
        self.early_closes = 0;
        self.rejections_in_row = 0;
        self.closed_in_row = 0;
        self.probation = false;
        self.proven = true;
        // The answer may be the last one of a connection that is gone.
        if self.pause.is_none() && self.link != Link::Reconnecting {
            self.cause.clear();
        }
    }

    /// Rows were rejected for a reason. Too many in a row pause the app.
    pub(super) fn rejected(&mut self, reason: Reason, rows: u64, now: Instant) {
        self.answered();
        self.rejections_in_row += rows;
        if reason == Reason::ConnectionClosed {
            self.closed_in_row += rows;
        }
        let too_many = self.rejections_in_row >= REJECTIONS_IN_ROW_MAX || self.closed_in_row >= CLOSED_IN_ROW_MAX;
        if !too_many || self.pause.is_some() {
            return;
        }
        let cause = format!(
            "{} notifications in a row were rejected, the last one for: {reason}. Does the environment match the \
             tokens and the certificate?",
            self.rejections_in_row
        );
        self.rejections_in_row = 0;
        self.closed_in_row = 0;
        self.pause_for(cause, now);
    }

    /// The connection, or the attempt, is over. `sent`: whether any row had gone out on it; `random` is from 0 to 1.
    pub(super) fn closed(&mut self, cause: &CloseCause, sent: bool, now: Instant, random: f64) {
        self.is_calm = true;
        self.reconnect(now);
        match cause {
            CloseCause::Unreachable(text) | CloseCause::Untrusted(text) => self.back_off(text.clone(), now, random),
            CloseCause::Refused(alert) => {
                let advice = alert::advice(alert);
                self.pause_for(format!("the gateway refused the certificate: {alert}: {advice}"), now);
            }
            CloseCause::Error(reason) if reason.blame() == Blame::App => {
                self.pause_for(format!("the gateway refuses this app: {reason}. {}", reason.advice()), now);
            }
            CloseCause::Error(_) => self.failures = 0,
            CloseCause::Shutdown if self.answered => self.failures = 0,
            // One that closes every connection unheard would be called again and again. Once is no failure.
            CloseCause::Shutdown if self.failures == 0 => self.wait(now, random),
            CloseCause::Shutdown => self.back_off(cause.to_string(), now, random),
            CloseCause::Silent { settled: true } => (),
            CloseCause::Silent { settled: false } => self.closed_early(sent, now, random),
            CloseCause::Dead(_) if sent && self.answered => (),
            CloseCause::Dead(text) => self.back_off(text.clone(), now, random),
            CloseCause::Retired { .. } if self.pause.is_some() => self.wait_for_retry(now),
            CloseCause::Retired { .. } => {
                self.link = Link::Down { not_before: self.spaced(now), wanted: false };
            }
        }
    }

    /// An operator pauses the app.
    pub(super) fn pause(&mut self) {
        self.pause = Some(Pause::Operator);
        self.cause = format!("paused by an operator: `apnsd resume {}` sends again", self.app);
    }

    /// Somebody asks to try again at once: an operator, or a new provision.
    pub(super) fn resume(&mut self, now: Instant) {
        self.failures = 0;
        self.early_closes = 0;
        self.rejections_in_row = 0;
        self.closed_in_row = 0;
        if self.pause.take().is_some() {
            self.cause.clear();
        }
        if let Link::Down { .. } = self.link {
            self.is_calm = true;
            self.link = Link::Down { not_before: self.spaced(now), wanted: true };
        }
    }

    /// Whether a planned close is under way.
    pub(super) fn is_retiring(&self) -> bool {
        self.link == Link::Retiring
    }

    /// Whether rows may be on their way.
    pub(super) fn has_connection(&self) -> bool {
        matches!(self.link, Link::Up { .. } | Link::Retiring)
    }

    /// Whether nothing is sent before somebody or something resumes.
    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Whether `notify` is to be refused.
    pub(super) fn refuses(&self) -> bool {
        self.pause == Some(Pause::Automatic)
    }

    /// What it looks like from outside.
    pub(super) fn shown(&self) -> AppState {
        match (self.pause, self.link) {
            (Some(_), _) => AppState::Paused,
            (None, Link::Down { wanted: false, .. }) => AppState::Idle,
            (None, Link::Down { wanted: true, .. }) if !self.is_calm => AppState::Waiting,
            (None, Link::Down { wanted: true, .. } | Link::Connecting | Link::Reconnecting) => AppState::Connecting,
            (None, Link::Up { .. } | Link::Retiring) => AppState::Connected,
        }
    }

    /// When it is tried again by itself after a failure.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        match self.link {
            Link::Down { not_before, wanted: true } if self.pause.is_none() && !self.is_calm => Some(not_before),
            Link::Down { .. } | Link::Connecting | Link::Up { .. } | Link::Reconnecting | Link::Retiring => None,
        }
    }

    /// What stands in the way, in words; empty when nothing does.
    pub(super) fn cause(&self) -> &str {
        &self.cause
    }

    fn closed_early(&mut self, sent: bool, now: Instant, random: f64) {
        self.probation = true;
        if sent {
            // The rows themselves may be the reason: the window isolates them.
            return;
        }
        self.early_closes += 1;
        let cause = match self.early_closes {
            1 => "the gateway closed the connection before anything was sent".to_owned(),
            closes => format!(
                "the gateway closed {closes} connections in a row before anything was sent: does the certificate \
                 belong to this environment?"
            ),
        };
        // What was good a moment ago is not to blame: a balancer in front of the gateway may be starting anew.
        match self.early_closes >= EARLY_CLOSES_MAX && !self.proven {
            true => {
                self.early_closes = 0;
                self.pause_for(cause, now);
            }
            false => self.back_off(cause, now, random),
        }
    }

    fn reconnect(&mut self, now: Instant) {
        self.link = Link::Down { not_before: self.spaced(now), wanted: true };
    }

    fn back_off(&mut self, cause: String, now: Instant, random: f64) {
        if self.pause.is_none() {
            self.cause = cause;
        }
        self.is_calm = false;
        self.wait(now, random);
    }

    /// Waits before the next attempt, longer each time.
    fn wait(&mut self, now: Instant, random: f64) {
        let wait = BACK_OFF_FIRST.saturating_mul(1 << self.failures.min(16)).min(BACK_OFF_MAX);
        let wait = wait.mul_f64(1.0 - BACK_OFF_JITTER + 2.0 * BACK_OFF_JITTER * random.clamp(0.0, 1.0));
        self.failures += 1;
        match self.pause {
            Some(_) => self.wait_for_retry(now),
            None => self.link = Link::Down { not_before: now + wait, wanted: true },
        }
    }

    /// Pauses the app and keeps its queue. A connection that stands is closed by the next step.
    fn pause_for(&mut self, cause: String, now: Instant) {
        if self.pause != Some(Pause::Operator) {
            self.pause = Some(Pause::Automatic);
            self.cause = format!("{cause} (tried again every 5 minutes, and at once on `apnsd resume {}`)", self.app);
        }
        match self.link {
            Link::Up { .. } | Link::Reconnecting | Link::Retiring => (),
            Link::Down { .. } | Link::Connecting => self.wait_for_retry(now),
        }
    }

    fn wait_for_retry(&mut self, now: Instant) {
        self.link = Link::Down { not_before: now + PAUSE, wanted: true };
    }

    /// Not sooner after the last attempt than the spacing allows.
    fn spaced(&self, now: Instant) -> Instant {
        self.last_connect.map_or(now, |last| now.max(last + CONNECT_SPACING))
    }
}

#[cfg(test)]
mod tests;
