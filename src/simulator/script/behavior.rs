//! The faults that are in force on one connection, all commands together. Pure.

use std::time::Duration;

use super::answer::AnswerFaults;
use super::fault::{Delay, Ending, ErrorFault, Fault, StreamFault};

/// Faults in force.
#[derive(Debug, Default)]
pub(super) struct Behavior {
    pub(super) answer: AnswerFaults,
    pub(super) delay: Option<Delay>,
    pub(super) then: Ending,
    pub(super) reject: Option<u8>,
    pub(super) stop_reading: bool,
    pub(super) half_close: bool,
    pub(super) lose_percent: u8,
    pub(super) throttle: Option<u32>,
    pub(super) idle_close: Option<Duration>,
    pub(super) idle_reset: Option<Duration>,
    pub(super) zero_token_quirk: bool,
}

impl Behavior {
    /// Takes over a fault that lasts.
    pub(super) fn shape(&mut self, fault: &Fault) {
        match fault {
            Fault::Connect(_) | Fault::Http2(_) => (),
            Fault::Stream(fault) => self.shape_stream(fault),
            Fault::Error(ErrorFault::Delay(delay)) => self.delay = Some(*delay),
            Fault::Error(ErrorFault::Then(ending)) => self.then = *ending,
            Fault::Error(fault) => self.answer.shape(fault),
        }
    }

    fn shape_stream(&mut self, fault: &StreamFault) {
        match fault {
            StreamFault::Close { .. } | StreamFault::Shutdown => (),
            StreamFault::Reject(status) => self.reject = Some(*status),
            StreamFault::StopReading => self.stop_reading = true,
            StreamFault::HalfClose => self.half_close = true,
            StreamFault::Lose(percent) => self.lose_percent = *percent,
            StreamFault::Throttle(rate) => self.throttle = Some(*rate),
            StreamFault::IdleClose(ms) => self.idle_close = Some(Duration::from_millis(*ms)),
            StreamFault::IdleReset(ms) => self.idle_reset = Some(Duration::from_millis(*ms)),
            StreamFault::ZeroTokenQuirk => self.zero_token_quirk = true,
        }
    }
}
