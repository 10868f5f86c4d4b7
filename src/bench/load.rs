//! Callers: so many connections, each with one call after the other, and how long the answers took.

use std::io;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;

use super::BenchError;
use super::http::{Connection, Target};
use crate::clock::{Clock, Instant};

/// Longest latency that is told apart, in nanoseconds.
const LATENCY_MAX: u64 = 600_000_000_000;

/// Latencies in nanoseconds, to three digits.
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub(super) fn new() -> Result<Self, BenchError> {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX, 3);
        histogram.map(Self).map_err(|error| BenchError::io("record latencies")(io::Error::other(error)))
    }

    /// Notes one.
    pub(super) fn note(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(LATENCY_MAX));
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency, in milliseconds, that this share of them does not exceed.
    pub(super) fn milliseconds(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e6
    }
}

/// What callers do.
#[derive(Clone, Copy)]
pub(super) struct Load<'a> {
    pub(super) target: &'a Target,
    /// The request of every call.
    pub(super) request: &'a [u8],
    /// Callers at once.
    pub(super) connections: usize,
    /// A new connection for each call, as pyapns' clients do.
    pub(super) reconnect: bool,
    /// How long calls begin.
    pub(super) span: Duration,
    /// How many calls begin at most, of all callers together.
    pub(super) calls_max: Option<u64>,
}

/// What became of it.
pub(super) struct Done {
    /// When the first call began.
    pub(super) began: Instant,
    /// From there to the last answer.
    pub(super) took: Duration,
    pub(super) latencies: Latencies,
}

impl Done {
    /// Calls that were answered.
    pub(super) fn calls(&self) -> u64 {
        self.latencies.count()
    }

    /// Calls answered in a second.
    pub(super) fn rate(&self) -> f64 {
        per_second(self.calls(), self.took)
    }
}

/// How many in a second.
pub(super) fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}

impl Load<'_> {
    /// Calls until the time is over and every answer is there.
    pub(super) async fn run(&self, clock: &Clock) -> Result<Done, BenchError> {
        let mut open = Vec::new();
        for _ in 0..self.connections {
            open.push(Connection::open(self.target.address).await?);
        }
        let began = clock.now();
        let state = std::cell::RefCell::new((Latencies::new()?, 0));
        // One caller finds out for all that it is over.
        let may_begin = || {
            let begun = &mut state.borrow_mut().1;
            *begun += 1;
            *begun <= self.calls_max.unwrap_or(u64::MAX)
        };
        let caller = |mut connection: Connection| {
            let (state, may_begin) = (&state, &may_begin);
            async move {
                let mut now = clock.now();
                while now.since(began) < self.span && may_begin() {
                    if self.reconnect {
                        connection = Connection::open(self.target.address).await?;
                    }
                    connection.exchange(self.request).await?.success()?;
                    let answered = clock.now();
                    state.borrow_mut().0.note(answered.since(now));
                    now = answered;
                }
                Ok::<(), BenchError>(())
            }
        };
        let mut callers: FuturesUnordered<_> = open.into_iter().map(caller).collect();
        while let Some(ended) = callers.next().await {
            ended?;
        }
        drop(callers);
        Ok(Done { began, took: clock.now().since(began), latencies: state.into_inner().0 })
    }
}
