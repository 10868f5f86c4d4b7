//! How much one user may ask for: calls per second, and calls at once.

use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::after_answer::AfterAnswer;
use super::user::User;
use crate::clock::{Clock, Instant};

/// Bytes of an answer that the system's buffers hold.
const SHORT: u64 = 64 << 10;

/// A user and what it is using of its limits.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) user: Arc<User>,
    at_once: Option<Arc<Semaphore>>,
    /// Calls that may begin now, refilled as time passes.
    budget: Mutex<Budget>,
}

#[derive(Debug)]
struct Budget {
    calls: f64,
    since: Instant,
}

/// A call that is under way.
#[derive(Debug)]
pub(super) struct Admitted {
    _place: Option<OwnedSemaphorePermit>,
}

impl Admitted {
    /// The call is under way until its answer has left. A short answer that is whole needs nobody to take it: whoever
    /// makes one call after the other is never early with the next.
    pub(super) fn until_taken(self, answer: &Response, after: Option<AfterAnswer>) {
        let is_short = answer.body().size_hint().exact().is_some_and(|bytes| bytes <= SHORT);
        if let Some(after) = after.filter(|_| !is_short) {
            after.run(move || drop(self));
        }
    }
}

/// Why a call may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooMany {
    PerSecond(u32),
    AtOnce(u32),
}

impl Admission {
    pub(super) fn new(user: User, clock: &Clock) -> Self {
        let at_once = user.limits.at_once.and_then(|limit| usize::try_from(limit).ok());
        let at_once = at_once.map(|limit| Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))));
        let calls = user.limits.per_second.map_or(0.0, f64::from);
        Self { user: Arc::new(user), at_once, budget: Mutex::new(Budget { calls, since: clock.now() }) }
    }

    /// Lets a call begin. What a second was not used for may be used at once, up to a second's worth.
    pub(super) fn admit(&self, now: Instant) -> Result<Admitted, TooMany> {
        let place = match (&self.at_once, self.user.limits.at_once) {
            (Some(places), Some(limit)) => {
                Some(Arc::clone(places).try_acquire_owned().map_err(|_| TooMany::AtOnce(limit))?)
            }
            (None | Some(_), _) => None,
        };
        if let Some(limit) = self.user.limits.per_second {
            let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
            let refilled = now.since(budget.since).as_secs_f64() * f64::from(limit);
            budget.calls = (budget.calls + refilled).min(f64::from(limit));
            budget.since = now;
            if budget.calls < 1.0 {
                return Err(TooMany::PerSecond(limit));
            }
            budget.calls -= 1.0;
        }
        Ok(Admitted { _place: place })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::listener::user::{Limits, TokenHash};

    fn admission(limits: Limits, clock: &Clock) -> Admission {
        Admission::new(User { name: "web".into(), token: TokenHash::of("x"), apps: None, methods: None, limits }, clock)
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_has_as_many_calls_as_are_allowed() {
        let clock = Clock::system();
        let web = admission(Limits { per_second: Some(10), ..Limits::default() }, &clock);
        for _ in 0..3 {
            let admitted = (0..20).filter(|_| web.admit(clock.now()).is_ok()).count();
            assert_eq!(admitted, 10);
            clock.sleep(Duration::from_secs(5)).await;
        }
        (0..10).for_each(|_| drop(web.admit(clock.now()).unwrap()));
        assert_eq!(web.admit(clock.now()).unwrap_err(), TooMany::PerSecond(10));
        clock.sleep(Duration::from_millis(100)).await;
        assert!(web.admit(clock.now()).is_ok());
        assert!(web.admit(clock.now()).is_err());
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_its_call_ends() {
        let clock = Clock::system();
        let web = admission(Limits { at_once: Some(2), ..Limits::default() }, &clock);
        let (first, second) = (web.admit(clock.now()).unwrap(), web.admit(clock.now()).unwrap());
        assert_eq!(web.admit(clock.now()).unwrap_err(), TooMany::AtOnce(2));
        drop(first);
        assert!(web.admit(clock.now()).is_ok());
        drop(second);
    }

    #[tokio::test]
    async fn without_limits_everything_is_admitted() {
        let clock = Clock::system();
        let web = admission(Limits::default(), &clock);
        let held: Vec<_> = (0..10_000).map(|_| web.admit(clock.now()).unwrap()).collect();
        assert_eq!(held.len(), 10_000);
    }
}
