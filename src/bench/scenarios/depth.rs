//! A long queue: what a call and a delivery cost at two depths, what waits takes of memory, and a restart with all of
//! it.

use super::{drained, few, fill, processor_time};
use crate::bench::load::per_second;
use crate::bench::report::{Figure, Target, Unit};
use crate::bench::world::{BINARY, Daemon};
use crate::bench::{Bench, BenchError, bodies};

/// The depth that the other one is compared with.
const SHALLOW: u32 = 10_000;
/// Calls that measure the cost of one at a depth.
const CALLS: u32 = 10_000;
/// The depth that the project's targets are for.
const TARGETED: u32 = 1_000_000;

/// Costs at a depth.
struct Costs {
    /// Microseconds of the daemon's processor time for a call.
    accept: Option<f64>,
    /// The same for a delivery.
    deliver: Option<f64>,
}

/// Measures.
pub(super) async fn measure(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let deep = bench.settings.depth;
    let shallow = SHALLOW.min(deep / 2).max(1);
    let shallow = at_depth(bench, "shallow", shallow, false).await?;
    let deep = at_depth(bench, "deep", deep, true).await?;
    let pairs = [
        ("depth.accept.ratio", "cost of a call, deep against shallow", deep.accept, shallow.accept),
        ("depth.deliver.ratio", "cost of a delivery, deep against shallow", deep.deliver, shallow.deliver),
    ];
    for (key, what, deep, shallow) in pairs {
        let Some((deep, shallow)) = deep.zip(shallow).filter(|(_, shallow)| *shallow > 0.0) else { continue };
        let wanted = (bench.settings.depth >= TARGETED).then_some(Target::AtMost(1.15));
        bench.report.add(Figure::new(key, what, deep / shallow, Unit::Ratio).wanted(wanted));
    }
    Ok(())
}

/// `restarts`: fills once more afterwards, and starts the daemon again on that.
async fn at_depth(bench: &mut Bench<'_>, name: &str, depth: u32, restarts: bool) -> Result<Costs, BenchError> {
    let mut daemon = bench.world.daemon().await?;
    daemon.provision(&bench.world, &daemon.app, BINARY, 1).await?;
    let idle = daemon.usage().map(|usage| usage.resident);
    let key = format!("depth.{name}");
    daemon.pause().await?;
    let began = bench.clock.now();
    fill(bench, &daemon, depth).await?;
    let rate = per_second(u64::from(depth), bench.clock.now().since(began));
    bench.report.add(Figure::new(format!("{key}.fill"), format!("filling {depth}, paused"), rate, Unit::PerSecond));
    add_memory(bench, &daemon, &key, depth, idle);
    let calls = CALLS.min(depth);
    let accept = accept(bench, &daemon, &key, calls).await?;
    let deliver = deliver(bench, &daemon, &key, u64::from(depth) + u64::from(calls)).await?;
    if restarts {
        daemon.pause().await?;
        fill(bench, &daemon, depth).await?;
        restart(bench, &mut daemon, &key, u64::from(depth)).await?;
    }
    daemon.stop().await?;
    Ok(Costs { accept, deliver })
}

/// Single calls while everything waits.
async fn accept(bench: &mut Bench<'_>, daemon: &Daemon, key: &str, calls: u32) -> Result<Option<f64>, BenchError> {
    let request = daemon.target.post(&bodies::single(&daemon.app));
    let before = daemon.usage();
    let done = few(&daemon.target, &request, 8, u64::from(calls)).run(&bench.clock).await?;
    let cost = before.zip(daemon.usage()).map(|(before, after)| processor_time(before, after, done.calls()));
    let figure = Figure::new(format!("{key}.accept"), "single calls then, 8 connections", done.rate(), Unit::PerSecond);
    bench.report.add(figure);
    if let Some(cost) = cost {
        let what = "daemon's processor time per call";
        bench.report.add(Figure::new(format!("{key}.accept.cpu"), what, cost, Unit::Microseconds));
    }
    Ok(cost)
}

/// Sends what waits, all of it.
async fn deliver(bench: &mut Bench<'_>, daemon: &Daemon, key: &str, waiting: u64) -> Result<Option<f64>, BenchError> {
    let mut counter = bench.world.counter().await?;
    let (began, before) = (bench.clock.now(), daemon.usage());
    daemon.resume().await?;
    let (arrived, cost) = drained(&mut counter, daemon, before, waiting).await?;
    let rate = per_second(waiting, arrived.since(began));
    bench.report.add(Figure::new(format!("{key}.deliver"), "delivering all of it", rate, Unit::PerSecond));
    if let Some(cost) = cost {
        let what = "daemon's processor time per delivery";
        bench.report.add(Figure::new(format!("{key}.deliver.cpu"), what, cost, Unit::Microseconds));
    }
    Ok(cost)
}

/// Starts the daemon again on all that waits, for the time until it answers, and until the first one is sent.
async fn restart(bench: &mut Bench<'_>, daemon: &mut Daemon, key: &str, waiting: u64) -> Result<(), BenchError> {
    let wanted = |seconds| (waiting >= u64::from(TARGETED)).then_some(Target::AtMost(seconds));
    let mut counter = bench.world.counter().await?;
    let (began, ready) = daemon.restart().await?;
    daemon.resume().await?;
    let first = counter.wait(1).await?.since(began);
    let figures = [
        ("ready", format!("start with {waiting} waiting: ready"), ready, wanted(0.5)),
        ("first", "the same: first one sent (resumed when ready)".to_owned(), first, wanted(1.0)),
    ];
    for (name, what, took, wanted) in figures {
        let figure = Figure::new(format!("{key}.{name}"), what, took.as_secs_f64(), Unit::Seconds);
        bench.report.add(figure.wanted(wanted));
    }
    counter.wait(waiting).await.map(drop)
}

/// What waits takes of memory.
fn add_memory(bench: &mut Bench<'_>, daemon: &Daemon, key: &str, depth: u32, idle: Option<u64>) {
    let Some((idle, usage)) = idle.zip(daemon.usage()) else { return };
    let more = usage.resident.saturating_sub(idle) as f64 / 1e6;
    let figure = Figure::new(format!("{key}.memory"), "resident then, beyond idle", more, Unit::Megabytes);
    bench.report.add(figure.wanted((depth >= TARGETED).then_some(Target::AtMost(64.0))));
}
