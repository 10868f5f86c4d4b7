//! What is measured. A scenario has a daemon of its own, so that none inherits another's memory and queue.

mod apps;
mod beside;
mod calls;
mod depth;
mod http2;
mod latency;
mod memory;
mod tokens;

use std::time::Duration;

use super::http::Target;
use super::load::{Done, Load};
use super::program::{Usage, own_processor_time};
use super::report::{Figure, Target as Wanted, Unit};
use super::world::{Counter, Daemon};
use super::{Bench, BenchError};
use crate::clock::Instant;

/// A family of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Calls for one token each.
    Calls,
    /// Calls for 1,000 tokens.
    Tokens,
    /// A small call beside large ones.
    Beside,
    /// Deliveries over HTTP/2.
    Http2,
    /// From a call to the gateway.
    Latency,
    /// Resident memory.
    Memory,
    /// Many that wait, and a restart with them.
    Depth,
    /// Many idle apps.
    Apps,
}

impl Scenario {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 8] =
        [Self::Calls, Self::Tokens, Self::Beside, Self::Http2, Self::Latency, Self::Memory, Self::Depth, Self::Apps];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Tokens => "tokens",
            Self::Beside => "beside",
            Self::Http2 => "http2",
            Self::Latency => "latency",
            Self::Memory => "memory",
            Self::Depth => "depth",
            Self::Apps => "apps",
        }
    }

    /// The scenario of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    /// What it measures, in a line.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Calls => "single calls with 1, 8 and 64 keep-alive connections, and a new connection per call",
            Self::Tokens => "1,000-token calls as equal pairs, as broadcast, as distinct pairs",
            Self::Beside => "a single caller's latency beside a 10,000-token caller",
            Self::Http2 => "deliveries over HTTP/2 with 1 and 4 connections",
            Self::Latency => "from a call to the gateway's sight of the frame, daemon idle",
            Self::Memory => "resident memory, fresh and after two 50,000-token calls",
            Self::Depth => "accepting and delivering at a queue depth of 10,000 and of --depth, and a restart there",
            Self::Apps => "memory of --apps idle provisioned apps with open binary connections",
        }
    }

    /// Whether it can be measured with a daemon of somebody else, by its answers alone.
    pub(super) const fn is_for_remote(self) -> bool {
        match self {
            Self::Calls | Self::Tokens | Self::Beside => true,
            Self::Http2 | Self::Latency | Self::Memory | Self::Depth | Self::Apps => false,
        }
    }
}

/// Measures it.
pub(super) async fn run(scenario: Scenario, bench: &mut Bench<'_>) -> Result<(), BenchError> {
    match scenario {
        Scenario::Calls => calls::measure(bench).await,
        Scenario::Tokens => tokens::measure(bench).await,
        Scenario::Beside => beside::measure(bench).await,
        Scenario::Http2 => http2::measure(bench).await,
        Scenario::Latency => latency::measure(bench).await,
        Scenario::Memory => memory::measure(bench).await,
        Scenario::Depth => depth::measure(bench).await,
        Scenario::Apps => apps::measure(bench).await,
    }
}

/// A load, and what the daemon and the gateway made of it.
struct Delivered {
    done: Done,
    /// When the gateway had everything; `None` where it cannot be asked.
    arrived: Option<Instant>,
    before: Spent,
    after: Spent,
}

/// What each side has used.
#[derive(Clone, Copy, Default)]
struct Spent {
    daemon: Option<Usage>,
    gateway: Option<Usage>,
    callers: Option<Duration>,
}

impl Spent {
    fn now(bench: &Bench<'_>, daemon: &Daemon) -> Self {
        let gateway = bench.world.is_own().then(|| bench.world.gateway_usage()).flatten();
        Self { daemon: daemon.usage(), gateway, callers: own_processor_time() }
    }
}

impl Delivered {
    /// Runs a load whose calls are for `tokens` notifications each, and waits for all of them.
    async fn of(bench: &Bench<'_>, daemon: &Daemon, load: Load<'_>, tokens: u64) -> Result<Self, BenchError> {
        let mut counter = bench.world.counter().await?;
        let before = Spent::now(bench, daemon);
        let done = load.run(&bench.clock).await?;
        let callers = own_processor_time();
        let arrived = match bench.world.is_own() {
            true => Some(counter.wait(done.calls() * tokens).await?),
            false => None,
        };
        let after = Spent { callers, ..Spent::now(bench, daemon) };
        Ok(Self { done, arrived, before, after })
    }

    /// Notifications that the gateway got in a second, from the first call to the last arrival.
    fn delivered_rate(&self, tokens: u64) -> Option<f64> {
        let took = self.arrived?.since(self.done.began);
        Some(super::load::per_second(self.done.calls() * tokens, took))
    }

    /// Adds what the gateway got, and what that cost each side.
    fn add_to(&self, bench: &mut Bench<'_>, key: &str, tokens: u64) {
        let count = self.done.calls() * tokens;
        let Spent { daemon, gateway, callers } = self.before;
        let cost = |before: Option<Usage>, after: Option<Usage>| Some(processor_time(before?, after?, count));
        let since =
            |before: Option<Duration>, after: Option<Duration>| Some(each(after?.saturating_sub(before?), count));
        let costs = [
            ("cpu", "daemon's processor time for each, delivered", cost(daemon, self.after.daemon)),
            ("cpu.gateway", "simulator's processor time for each", cost(gateway, self.after.gateway)),
            ("cpu.callers", "callers' processor time for each", since(callers, self.after.callers)),
        ];
        for (name, what, cost) in costs {
            if let Some(cost) = cost {
                bench.report.add(Figure::new(format!("{key}.{name}"), what, cost, Unit::Microseconds));
            }
        }
        if let Some(usage) = self.after.daemon {
            add_peak(bench, key, usage);
        }
    }
}

/// Microseconds of processor time for each of so many.
fn processor_time(before: Usage, after: Usage, count: u64) -> f64 {
    each(after.cpu.saturating_sub(before.cpu), count)
}

fn each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count.max(1) as f64
}

/// The most memory that the daemon had.
fn add_peak(bench: &mut Bench<'_>, key: &str, usage: Usage) {
    let peak = usage.peak as f64 / 1e6;
    bench.report.add(Figure::new(format!("{key}.peak"), "daemon's peak memory", peak, Unit::Megabytes));
}

/// Adds the figures of latencies that every load has.
fn add_latencies(bench: &mut Bench<'_>, key: &str, what: &str, done: &Done, p99_wanted: Option<Wanted>) {
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
        let value = done.latencies.milliseconds(share);
        let figure = Figure::new(format!("{key}.{name}"), format!("{what}, {name}"), value, Unit::Milliseconds);
        bench.report.add(figure.wanted(p99_wanted.filter(|_| name == "p99")));
    }
}

/// Accepts so many notifications for the app, which is paused, by calls for 1,000 tokens.
async fn fill(bench: &Bench<'_>, daemon: &Daemon, count: u32) -> Result<(), BenchError> {
    const TOKENS: u32 = 1000;
    let (whole, rest) = (count / TOKENS, count % TOKENS);
    for (calls, tokens) in [(whole, TOKENS), (1, rest)] {
        if calls == 0 || tokens == 0 {
            continue;
        }
        let body = super::bodies::many(&daemon.app, tokens as usize, super::bodies::Shape::Broadcast);
        let request = daemon.target.post(&body);
        let load = few(&daemon.target, &request, 4.min(calls as usize), u64::from(calls));
        load.run(&bench.clock).await?;
    }
    Ok(())
}

/// So many calls, however long they take.
fn few<'a>(target: &'a Target, request: &'a [u8], connections: usize, calls: u64) -> Load<'a> {
    let span = Duration::from_secs(3600);
    Load { target, request, connections, reconnect: false, span, calls_max: Some(calls) }
}

/// Waits for what was accepted; when it had all arrived, and the daemon's processor time for each since `before`.
async fn drained(
    counter: &mut Counter,
    daemon: &Daemon,
    before: Option<Usage>,
    count: u64,
) -> Result<(Instant, Option<f64>), BenchError> {
    let arrived = counter.wait(count).await?;
    let time = before.zip(daemon.usage()).map(|(before, after)| processor_time(before, after, count));
    Ok((arrived, time))
}
