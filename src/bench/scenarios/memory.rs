//! Resident memory of a daemon that has done nothing, and of one that has had two large calls.

use super::{few, fill};
use crate::bench::bodies::Shape;
use crate::bench::report::{Figure, Target, Unit};
use crate::bench::world::{BINARY, Daemon};
use crate::bench::{Bench, BenchError, bodies};

const TOKENS: usize = 50_000;

/// Measures.
pub(super) async fn measure(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let daemon = bench.world.daemon().await?;
    add(bench, &daemon, "memory.fresh", "resident, fresh", Some(15.0));
    daemon.provision(&bench.world, &daemon.app, BINARY, 1).await?;
    // One of each kind of memory is there before: the connection, the store's pages.
    let mut counter = bench.world.counter().await?;
    fill(bench, &daemon, 1).await?;
    counter.wait(1).await?;
    add(bench, &daemon, "memory.one", "resident, one app, connected", None);
    let request = daemon.target.post(&bodies::many(&daemon.app, TOKENS, Shape::Distinct));
    few(&daemon.target, &request, 1, 2).run(&bench.clock).await?;
    counter.wait(1 + 2 * TOKENS as u64).await?;
    add(bench, &daemon, "memory.large", "resident, after two 50,000-token calls", Some(60.0));
    if let Some(usage) = daemon.usage() {
        let peak = usage.peak as f64 / 1e6;
        bench.report.add(Figure::new("memory.large.peak", "the most while they were made", peak, Unit::Megabytes));
    }
    daemon.stop().await
}

fn add(bench: &mut Bench<'_>, daemon: &Daemon, key: &str, what: &str, wanted: Option<f64>) {
    if let Some(usage) = daemon.usage() {
        let figure = Figure::new(key, what, usage.resident as f64 / 1e6, Unit::Megabytes);
        bench.report.add(figure.wanted(wanted.map(Target::AtMost)));
    }
}
