//! Calls for one token each: what a web application makes.

use super::{Delivered, add_latencies};
use crate::bench::limits::Limit;
use crate::bench::load::Load;
use crate::bench::report::{Figure, Target, Unit};
use crate::bench::world::BINARY;
use crate::bench::{Bench, BenchError, bodies};

/// Callers with a new connection for each call.
const RECONNECTING: usize = 8;

/// Measures.
pub(super) async fn measure(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    bench.limits.of(Limit::Sync, &bench.world, &mut bench.report).await?;
    for (connections, target) in [(1, None), (8, Some(20_000.0)), (64, Some(50_000.0))] {
        let wanted = target.map(Target::AtLeast);
        let what = format!("single calls, keep-alive connections: {connections}");
        one(bench, &format!("calls.{connections}"), &what, connections, Limit::Handler(connections), wanted).await?;
    }
    let what = format!("single calls, a connection a call, at once: {RECONNECTING}");
    one(bench, "calls.new", &what, RECONNECTING, Limit::HandlerReconnecting(RECONNECTING), None).await
}

async fn one(
    bench: &mut Bench<'_>,
    key: &str,
    what: &str,
    connections: usize,
    limit: Limit,
    wanted: Option<Target>,
) -> Result<(), BenchError> {
    let allowed = bench.limits.of(limit, &bench.world, &mut bench.report).await?;
    let daemon = bench.world.daemon().await?;
    daemon.provision(&bench.world, &daemon.app, BINARY, 1).await?;
    let request = daemon.target.post(&bodies::single(&daemon.app));
    let (target, span) = (&daemon.target, bench.settings.seconds);
    let reconnect = matches!(limit, Limit::HandlerReconnecting(_));
    let load = Load { target, request: &request, connections, reconnect, span, calls_max: None };
    let delivered = Delivered::of(bench, &daemon, load, 1).await?;
    let rate = Figure::new(format!("{key}.rate"), what, delivered.done.rate(), Unit::PerSecond);
    bench.report.add(rate.wanted(wanted).of(limit.key(), allowed));
    add_latencies(bench, key, what, &delivered.done, None);
    if let Some(rate) = delivered.delivered_rate(1) {
        bench.report.add(Figure::new(format!("{key}.delivered"), "the same at the gateway", rate, Unit::PerSecond));
    }
    delivered.add_to(bench, key, 1);
    daemon.stop().await
}
