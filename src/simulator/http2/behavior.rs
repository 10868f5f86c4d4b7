//! The faults that are in force on one connection of the provider API, all commands together. Pure.

use std::time::Duration;

use super::answer::Answer;
use crate::clock::Instant;
use crate::domain::apns::ApnsReason;
use crate::simulator::script::fault::{Ending, StreamFault};
use crate::simulator::script::http2::{AnswerFault, GoAway, Http2Fault, Refusal, Wedge};

/// Faults in force.
#[derive(Debug, Default)]
pub(super) struct Behavior {
    pub(super) excess_is_fatal: bool,
    pub(super) go_away_before_data: Option<GoAway>,
    pub(super) lose_answer: Option<Ending>,
    pub(super) stop_reading: bool,
    pub(super) throttle: Option<u32>,
    pub(super) idle_close: Option<Duration>,
    pub(super) idle_reset: Option<Duration>,
    refuse: Option<(OneIn, Refusal)>,
    answers: Vec<(OneIn, AnswerFault)>,
    bursts: Vec<Burst>,
    wedge: Option<Wedge>,
    wedged: Option<ApnsReason>,
    budget: Option<(u64, Ending)>,
}

/// Something that happens to one in so many.
#[derive(Clone, Copy, Debug)]
struct OneIn {
    count: u32,
    seen: u32,
}

impl OneIn {
    const fn new(count: u32) -> Self {
        Self { count, seen: 0 }
    }

    fn strikes(&mut self) -> bool {
        self.seen = (self.seen + 1) % self.count;
        self.seen == 0
    }
}

/// Good requests are answered with another reason.
#[derive(Debug)]
struct Burst {
    reason: ApnsReason,
    retry_after: Option<String>,
    left: Option<u64>,
    until: Option<Instant>,
}

impl Behavior {
    /// Takes over a fault of the provider API that lasts.
    pub(super) fn shape(&mut self, fault: &Http2Fault, now: Instant) {
        match fault {
            Http2Fault::Refuse { one_in, how } => self.refuse = Some((OneIn::new(*one_in), *how)),
            Http2Fault::ExcessIsFatal => self.excess_is_fatal = true,
            Http2Fault::GoAway(go_away) if go_away.before_data => self.go_away_before_data = Some(go_away.clone()),
            Http2Fault::Answer { how, one_in } => self.answers.push((OneIn::new(*one_in), how.clone())),
            Http2Fault::Status { reason, retry_after, answers, ms } => {
                let until = ms.map(|ms| now + Duration::from_millis(ms));
                let reason = ApnsReason::from_name(reason);
                let burst = |reason| Burst { reason, retry_after: retry_after.clone(), left: *answers, until };
                self.bursts.extend(reason.map(burst));
            }
            Http2Fault::Wedge(wedge) => {
                self.wedge = Some(*wedge);
                self.wedged = (*wedge == Wedge::Now).then_some(ApnsReason::InternalServerError);
            }
            Http2Fault::ErrorBudget { bad_tokens, then } => self.budget = Some((*bad_tokens, *then)),
            Http2Fault::LoseAnswer { then } => self.lose_answer = Some(*then),
            Http2Fault::GoAway(_)
            | Http2Fault::Streams(_)
            | Http2Fault::RejectionLimit { .. }
            | Http2Fault::Ping
            | Http2Fault::PingsUnanswered
            | Http2Fault::SettingsLate(_)
            | Http2Fault::InitialWindow { .. }
            | Http2Fault::WithholdWindow(_)
            | Http2Fault::HeaderTableSize(_) => (),
        }
    }

    /// Takes over a fault of the transport that lasts.
    pub(super) fn shape_stream(&mut self, fault: &StreamFault) {
        match fault {
            StreamFault::StopReading => self.stop_reading = true,
            StreamFault::Throttle(rate) => self.throttle = Some(*rate),
            StreamFault::IdleClose(ms) => self.idle_close = Some(Duration::from_millis(*ms)),
            StreamFault::IdleReset(ms) => self.idle_reset = Some(Duration::from_millis(*ms)),
            StreamFault::Close { .. }
            | StreamFault::Reject(_)
            | StreamFault::Shutdown
            | StreamFault::HalfClose
            | StreamFault::Lose(_)
            | StreamFault::ZeroTokenQuirk => (),
        }
    }

    /// How the request that arrives now is refused.
    pub(super) fn refusal(&mut self) -> Refusal {
        let struck = self.refuse.as_mut().and_then(|(one_in, how)| one_in.strikes().then_some(*how));
        struck.unwrap_or(Refusal::Process)
    }

    /// What is answered in place of a verdict, with its `retry-after`.
    pub(super) fn verdict(
        &mut self,
        verdict: Result<(), ApnsReason>,
        now: Instant,
    ) -> (Result<(), ApnsReason>, Option<String>) {
        if let Some(reason) = self.wedged {
            return (Err(reason), None);
        }
        self.bursts.retain(|burst| burst.left != Some(0) && burst.until.is_none_or(|until| now < until));
        let (verdict, retry_after) = match self.bursts.first_mut() {
            Some(burst) if verdict.is_ok() => {
                burst.left = burst.left.map(|left| left - 1);
                (Err(burst.reason), burst.retry_after.clone())
            }
            Some(_) | None => (verdict, None),
        };
        if verdict == Err(ApnsReason::ExpiredProviderToken) {
            self.wedged = self.wedge.map(|wedge| match wedge {
                Wedge::Now | Wedge::AfterExpiredToken => ApnsReason::InternalServerError,
                Wedge::ExpiredTokenSticks => ApnsReason::ExpiredProviderToken,
            });
        }
        (verdict, retry_after)
    }

    /// Makes an answer wrong.
    pub(super) fn shape_answer(&mut self, answer: &mut Answer) {
        for (one_in, fault) in &mut self.answers {
            if one_in.strikes() {
                answer.shape(fault);
            }
        }
    }

    /// How the connection ends, if this answer was one too many.
    pub(super) fn spend(&mut self, verdict: Result<(), ApnsReason>) -> Option<Ending> {
        let (left, then) = self.budget.as_mut().filter(|_| verdict == Err(ApnsReason::BadDeviceToken))?;
        *left = left.saturating_sub(1);
        (*left == 0).then_some(*then)
    }
}
