//! Callers that call as fast as they are told to, until they are stopped.

use std::sync::Arc;
use std::time::Duration;

use apnsd::clock::Clock;
use apnsd::shutdown::Shutdown;

use crate::caller::{Answer, Caller, Form};
use crate::ledger::Ledger;
use crate::site::{PATIENCE, Site};

/// A caller without an answer tries again after this long, as a client that is written with care does.
const AFTER_NO_ANSWER: Duration = Duration::from_millis(5);

/// What callers call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    /// So many callers, each for the app of its number.
    pub(crate) callers: usize,
    pub(crate) apps: usize,
    /// Of 1,000 calls so many are large, with 10 to 1,000 tokens.
    pub(crate) large: u32,
    /// Of 1,000 calls so many have one bad token.
    pub(crate) bad: u32,
    /// Longest pause between two calls.
    pub(crate) pause: Duration,
}

impl Mix {
    /// Two apps with two callers each, some 5,000 notifications a second.
    pub(crate) const USUAL: Self = Self { callers: 4, apps: 2, large: 100, bad: 20, pause: Duration::from_millis(20) };
}

/// Callers at work.
#[derive(Debug)]
pub(crate) struct Load {
    ledger: Arc<Ledger>,
    callers: Shutdown,
}

impl Load {
    pub(crate) fn start(site: &Site, mix: Mix, seed: u64) -> Self {
        let load = Self { ledger: Arc::default(), callers: Shutdown::new() };
        for number in 0..mix.callers {
            let rng = fastrand::Rng::with_seed(seed.wrapping_add(number as u64));
            let caller = Caller::new(site.address());
            let books = (Arc::clone(&load.ledger), load.callers.clone(), site.clock.clone());
            load.callers.spawn(call_on(caller, number % mix.apps, mix, rng, books));
        }
        load
    }

    /// The books of all callers, as they stand.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Lets each caller end its call; the books of all.
    pub(crate) async fn stop(self) -> Arc<Ledger> {
        assert!(self.callers.finish(PATIENCE).await, "a caller waits for an answer");
        self.ledger
    }
}

async fn call_on(
    mut caller: Caller,
    app: usize,
    mix: Mix,
    mut rng: fastrand::Rng,
    (ledger, stop, clock): (Arc<Ledger>, Shutdown, Clock),
) {
    while !stop.is_requested() {
        let large = rng.u32(0..1000) < mix.large;
        // As many calls with 10 to 100 tokens as with 100 to 1,000.
        let count = if large { 10_f64.powf(1.0 + 2.0 * rng.f64()) as usize } else { 1 };
        let bad = (rng.u32(0..1000) < mix.bad).then(|| rng.usize(0..count));
        let form = match (large, rng.bool()) {
            (false, _) => Form::Single,
            (true, false) => Form::Paired(0),
            (true, true) => Form::Broadcast,
        };
        let rows = ledger.draw(app, count, bad);
        let answer = caller.notify(&Site::app(app), &rows, form).await;
        ledger.enter(&rows, &answer);
        let pause = match answer {
            Answer::None => AFTER_NO_ANSWER,
            Answer::Accepted | Answer::Refused(_) => mix.pause.mul_f64(rng.f64()),
        };
        clock.sleep(pause).await;
    }
}
