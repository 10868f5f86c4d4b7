//! How many streams the provider API lets a client open, as it moves. Pure.
//!
//! With provider tokens it is 1 until the first success ("Sending notification requests to APNs").

use std::time::Duration;

use crate::clock::Instant;
use crate::simulator::script::http2::{Refusal, StreamLimits};

/// What Apple's servers announce.
const USUAL: u32 = 1000;
/// The same before a provider token was seen to be good.
const UNKNOWN_PROVIDER: u32 = 1;

/// The number, and what moves it.
#[derive(Debug)]
pub(super) struct StreamLimit {
    announced: u32,
    /// SETTINGS that the client has not acknowledged.
    unacknowledged: u32,
    provider_known: bool,
    turns: Option<Turns>,
    rejection: Option<Rejection>,
    lowered: bool,
}

/// Numbers that take turns.
#[derive(Debug)]
struct Turns {
    limits: StreamLimits,
    at: usize,
    requests: u64,
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Rejection {
    to: u32,
    restore: bool,
    in_flight: Refusal,
}

impl StreamLimit {
    /// Of a new connection.
    pub(super) fn new(provider_known: bool) -> Self {
        let announced = if provider_known { USUAL } else { UNKNOWN_PROVIDER };
        Self { announced, unacknowledged: 0, provider_known, turns: None, rejection: None, lowered: false }
    }

    /// What was announced last.
    pub(super) fn announced(&self) -> u32 {
        self.announced
    }

    /// The number that is to be announced, if it is another one than before.
    pub(super) fn news(&mut self) -> Option<u32> {
        let wanted = match (&self.rejection, &self.turns) {
            _ if !self.provider_known => UNKNOWN_PROVIDER,
            (Some(rejection), _) if self.lowered => rejection.to,
            (_, Some(turns)) => turns.limits.limits.get(turns.at).copied().unwrap_or(USUAL),
            (_, None) => USUAL,
        };
        if wanted == self.announced {
            return None;
        }
        self.announced = wanted;
        Some(wanted)
    }

    /// From now on these numbers take turns.
    pub(super) fn take_turns(&mut self, limits: StreamLimits, now: Instant) {
        let due = limits.every_ms.map(|ms| now + Duration::from_millis(ms));
        self.turns = Some(Turns { limits, at: 0, requests: 0, due });
    }

    /// From now on a rejection lowers the number.
    pub(super) fn lower_on_rejection(&mut self, to: u32, restore: bool, in_flight: Refusal) {
        self.rejection = Some(Rejection { to, restore, in_flight });
    }

    /// Back to correct behaviour.
    pub(super) fn clear(&mut self) {
        (self.turns, self.rejection, self.lowered) = (None, None, false);
    }

    /// SETTINGS were sent.
    pub(super) fn settings_sent(&mut self) {
        self.unacknowledged += 1;
    }

    /// The client has applied SETTINGS.
    pub(super) fn acknowledged(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
    }

    /// A request arrived. How it is refused, if it was on its way while the number was lowered.
    pub(super) fn request(&mut self) -> Refusal {
        if let Some(turns) = &mut self.turns
            && let Some(every) = turns.limits.every
        {
            turns.requests += 1;
            turns.at += usize::from(turns.requests.is_multiple_of(every));
        }
        self.wrap();
        match self.rejection {
            Some(rejection) if self.lowered && self.unacknowledged > 0 => rejection.in_flight,
            Some(_) | None => Refusal::Process,
        }
    }

    /// A request was answered.
    pub(super) fn answered(&mut self, success: bool) {
        match self.rejection {
            Some(rejection) if success => self.lowered &= !rejection.restore,
            Some(_) => self.lowered = true,
            None => (),
        }
        self.provider_known |= success;
    }

    /// When the next number takes its turn.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.turns.as_ref().and_then(|turns| turns.due)
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        if let Some(turns) = &mut self.turns
            && let (Some(due), Some(ms)) = (turns.due, turns.limits.every_ms)
            && due <= now
        {
            turns.at += 1;
            turns.due = Some(now + Duration::from_millis(ms));
        }
        self.wrap();
    }

    fn wrap(&mut self) {
        if let Some(turns) = &mut self.turns
            && turns.at >= turns.limits.limits.len()
        {
            turns.at = 0;
        }
    }
}
