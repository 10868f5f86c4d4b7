//! Steps of the wall clock. Pure.
//!
//! Rows expire by the wall clock, which an operator or a time service may set. When it moves by more than the monotonic
//! clock did, nothing expires for a while: a clock that was set wrong by mistake must not empty the queues.

use std::time::Duration;

use crate::clock::Instant;
use crate::domain::time::Timestamp;

/// A step larger than this is no drift.
const STEP: Duration = Duration::from_secs(60);
/// How long nothing expires after a step.
const SUSPENSION: Duration = Duration::from_secs(10 * 60);

/// Compares the two clocks from look to look.
#[derive(Debug, Default)]
pub(super) struct WallSteps {
    last: Option<(Instant, Timestamp)>,
    suspended_until: Option<Instant>,
}

impl WallSteps {
    /// Whether rows may expire now.
    pub(super) fn may_expire(&mut self, now: Instant, wall: Timestamp) -> bool {
        if let Some((last, last_wall)) = self.last.replace((now, wall)) {
            let expected = last_wall.plus(now.since(last));
            let step = wall.since(expected).max(expected.since(wall));
            if step > STEP {
                tracing::error!(
                    from = %expected, to = %wall,
                    "the wall clock was set: nothing expires for the next {} minutes; correct the clock if it is wrong",
                    SUSPENSION.as_secs() / 60
                );
                self.suspended_until = Some(now + SUSPENSION);
            }
        }
        self.suspended_until.is_none_or(|until| now >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Timestamp = Timestamp::from_secs(1_000_000);

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn time_that_passes_on_both_clocks_is_no_step() {
        let mut steps = WallSteps::default();
        assert!(steps.may_expire(at(0), WALL));
        assert!(steps.may_expire(at(86_400), WALL.plus(Duration::from_secs(86_400 + 59))));
    }

    #[test]
    fn a_step_in_either_direction_suspends_expiry_for_ten_minutes() {
        for wall in [WALL.plus(Duration::from_secs(61)), WALL.minus(Duration::from_secs(61))] {
            let mut steps = WallSteps::default();
            assert!(steps.may_expire(at(0), WALL));
            assert!(!steps.may_expire(at(0), wall));
            assert!(!steps.may_expire(at(599), wall.plus(Duration::from_secs(599))));
            assert!(steps.may_expire(at(600), wall.plus(Duration::from_secs(600))));
        }
    }
}
