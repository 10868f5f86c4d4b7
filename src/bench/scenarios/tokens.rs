//! Calls for 1,000 tokens: what a campaign makes.

use super::{Delivered, add_latencies};
use crate::bench::bodies::Shape;
use crate::bench::limits::Limit;
use crate::bench::load::Load;
use crate::bench::report::{Figure, Target, Unit};
use crate::bench::world::BINARY;
use crate::bench::{Bench, BenchError, bodies};

const TOKENS: usize = 1000;
/// Callers at once: enough that the daemon never waits for one.
const CONNECTIONS: usize = 4;

/// Measures.
pub(super) async fn measure(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let allowed = bench.limits.of(Limit::FrameSink, &bench.world, &mut bench.report).await?;
    if bench.world.is_own() {
        bench.limits.of(Limit::FrameSimulator, &bench.world, &mut bench.report).await?;
    }
    for shape in Shape::ALL {
        one(bench, shape, allowed).await?;
    }
    Ok(())
}

async fn one(bench: &mut Bench<'_>, shape: Shape, allowed: f64) -> Result<(), BenchError> {
    let daemon = bench.world.daemon().await?;
    daemon.provision(&bench.world, &daemon.app, BINARY, 1).await?;
    let request = daemon.target.post(&bodies::many(&daemon.app, TOKENS, shape));
    let (target, span, connections) = (&daemon.target, bench.settings.seconds, CONNECTIONS);
    let load = Load { target, request: &request, connections, reconnect: false, span, calls_max: None };
    let tokens = TOKENS as u64;
    let delivered = Delivered::of(bench, &daemon, load, tokens).await?;

    let (key, what) = (format!("tokens.{}", shape.key()), format!("1,000-token calls, {}", shape.key()));
    let accepted = delivered.done.rate() * TOKENS as f64;
    let wanted = match shape {
        Shape::Equal => 1_000_000.0,
        Shape::Broadcast => 2_000_000.0,
        Shape::Distinct => 400_000.0,
    };
    let answered = Figure::new(format!("{key}.accepted"), format!("{what}, answered"), accepted, Unit::PerSecond);
    match delivered.delivered_rate(tokens) {
        None => bench.report.add(answered.wanted(Target::AtLeast(wanted))),
        Some(rate) => {
            bench.report.add(answered);
            let figure =
                Figure::new(format!("{key}.delivered"), format!("{what}, at the gateway"), rate, Unit::PerSecond);
            bench.report.add(figure.wanted(Target::AtLeast(wanted)).of(Limit::FrameSink.key(), allowed));
        }
    }
    add_latencies(bench, &key, &what, &delivered.done, None);
    delivered.add_to(bench, &key, tokens);
    daemon.stop().await
}
