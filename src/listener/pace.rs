//! How long a connection may take for what it is doing, and whether it is slow enough to give way to another.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Sleep;

use super::Settings;
use super::progress::{Phase, SharedProgress};
use super::room::{Lull, Place, SLOW_AFTER, SLOW_BYTES};
use crate::telemetry::metrics::callers::CallerEnd;

/// Longest wait for a peer that still sends what nobody will read.
const CLOSING_MAX: Duration = Duration::from_secs(5);

/// The timers of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    progress: SharedProgress,
    settings: Settings,
    place: Place,
    phase: Phase,
    step: u64,
    /// When the phase has taken too long.
    limit: Timer,
    /// When to look whether the peer is slow.
    look: Timer,
    /// Bytes that had arrived at the last look.
    received: u64,
}

type Timer = Pin<Box<Option<Sleep>>>;

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    GoOn,
    /// It ends after the present request, if there is one.
    Finish,
    /// It ends now.
    Leave(CallerEnd),
}

impl Pace {
    pub(super) fn new(progress: SharedProgress, settings: &Settings, place: Place) -> Self {
        let (phase, step) = progress.lock().phase();
        let mut pace = Self {
            progress,
            settings: settings.clone(),
            place,
            phase,
            step,
            limit: Box::pin(None),
            look: Box::pin(None),
            received: 0,
        };
        pace.enter(phase);
        pace
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether anything has happened on the connection yet.
    pub(super) fn has_begun(&self) -> bool {
        self.step > 0
    }

    /// Has an idle connection end in so long.
    pub(super) fn finish_in(&mut self, time: Duration) {
        self.limit.set(Some(tokio::time::sleep(time)));
    }

    /// Resolves when the connection has moved, or something is to be done. A movement wakes nobody: this must be polled
    /// after the connection, by the same task, and nothing else moves it.
    pub(super) async fn next(&mut self) -> Verdict {
        loop {
            let moved = poll_fn(|_| match self.progress.lock().phase() {
                (_, now) if now == self.step => Poll::Pending,
                moved => Poll::Ready(moved),
            });
            tokio::select! {
                biased;
                (phase, step) = moved => {
                    self.step = step;
                    self.enter(phase);
                    return Verdict::GoOn;
                }
                () = elapsed(&mut self.limit) => {
                    self.limit.set(None);
                    return self.end(CallerEnd::Slow);
                }
                () = self.place.told(), if self.place.stands() => {
                    self.place.could_go(None);
                    return self.end(CallerEnd::Crowded);
                }
                () = elapsed(&mut self.look) => self.look(),
            }
        }
    }

    fn end(&self, end: CallerEnd) -> Verdict {
        match self.phase {
            Phase::Idle => Verdict::Finish,
            Phase::Head | Phase::Receiving | Phase::Exchange | Phase::Waiting | Phase::Stuck | Phase::Closing => {
                Verdict::Leave(end)
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.limit.set(limit(phase, &self.settings).map(tokio::time::sleep));
        // Whoever has just come has a moment for the first request; or each newcomer would be closed for the next one.
        let is_idle = phase == Phase::Idle && self.has_begun();
        self.place.could_go(is_idle.then_some(Lull::Idle));
        self.received = self.progress.lock().received();
        let may_be_slow = !is_idle && phase != Phase::Exchange;
        self.look.set(may_be_slow.then(|| tokio::time::sleep(SLOW_AFTER)));
    }

    fn look(&mut self) {
        let received = self.progress.lock().received();
        let brings = received.saturating_sub(std::mem::replace(&mut self.received, received));
        self.place.could_go(match self.phase {
            Phase::Exchange => None,
            Phase::Idle => Some(Lull::Idle),
            Phase::Receiving => (brings < SLOW_BYTES).then_some(Lull::Slow),
            Phase::Head | Phase::Waiting | Phase::Stuck | Phase::Closing => Some(Lull::Slow),
        });
        self.look.set(Some(tokio::time::sleep(SLOW_AFTER)));
    }
}

/// How long a connection may stay in a phase without moving. Bodies, and the wait for a turn, have a time of their
/// own where they are read.
fn limit(phase: Phase, settings: &Settings) -> Option<Duration> {
    match phase {
        Phase::Idle => Some(settings.keep_alive),
        Phase::Head => Some(settings.header_timeout),
        Phase::Receiving | Phase::Exchange | Phase::Waiting => None,
        Phase::Stuck => Some(settings.body_timeout),
        Phase::Closing => Some(CLOSING_MAX),
    }
}

async fn elapsed(timer: &mut Timer) {
    match timer.as_mut().as_pin_mut() {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}
