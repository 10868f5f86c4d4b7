//! A small call beside large ones: nobody waits for somebody else's campaign.

use futures_util::future::try_join;

use super::add_latencies;
use crate::bench::bodies::Shape;
use crate::bench::load::Load;
use crate::bench::report::{Figure, Target, Unit};
use crate::bench::world::BINARY;
use crate::bench::{Bench, BenchError, bodies};

/// Tokens of the large calls.
const TOKENS: usize = 10_000;
/// Milliseconds that the small caller may wait.
const WANTED: f64 = 5.0;

/// Measures.
pub(super) async fn measure(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let daemon = bench.world.daemon().await?;
    daemon.provision(&bench.world, &daemon.app, BINARY, 1).await?;
    let small = daemon.target.post(&bodies::single(&daemon.app));
    let large = daemon.target.post(&bodies::many(&daemon.app, TOKENS, Shape::Distinct));
    let (target, span) = (&daemon.target, bench.settings.seconds);
    let load = |request| Load { target, request, connections: 1, reconnect: false, span, calls_max: None };
    let (single, bulk) = try_join(load(&small).run(&bench.clock), load(&large).run(&bench.clock)).await?;
    let tokens = bulk.rate() * TOKENS as f64;
    bench.report.add(Figure::new("beside.bulk", "tokens of the 10,000-token caller", tokens, Unit::PerSecond));
    let rate = Figure::new("beside.rate", "calls of the single caller beside it", single.rate(), Unit::PerSecond);
    bench.report.add(rate);
    add_latencies(bench, "beside", "single call beside 10,000-token calls", &single, Some(Target::AtMost(WANTED)));
    daemon.stop().await
}
