//! Deliveries over HTTP/2, from a queue that is full: calls cost nothing of what is measured.

use super::{add_peak, drained, fill};
use crate::bench::limits::Limit;
use crate::bench::load::per_second;
use crate::bench::report::{Figure, Target, Unit};
use crate::bench::world::HTTP2;
use crate::bench::{Bench, BenchError};

/// What is filled in for each second of measurement: what the project wants to deliver in half a second.
const PER_SECOND: f64 = 50_000.0;
const COUNT_MIN: u32 = 1000;

/// Measures.
pub(super) async fn measure(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    for connections in [1, 4] {
        one(bench, connections).await?;
    }
    Ok(())
}

async fn one(bench: &mut Bench<'_>, connections: u8) -> Result<(), BenchError> {
    let limit = Limit::Http2(connections.into());
    let allowed = bench.limits.of(limit, &bench.world, &mut bench.report).await?;
    let daemon = bench.world.daemon().await?;
    daemon.provision(&bench.world, &daemon.app, HTTP2, connections).await?;
    daemon.pause().await?;
    let count = ((bench.settings.seconds.as_secs_f64() * PER_SECOND) as u32).max(COUNT_MIN);
    fill(bench, &daemon, count).await?;
    let mut counter = bench.world.counter().await?;
    let (began, before) = (bench.clock.now(), daemon.usage());
    daemon.resume().await?;
    let (arrived, time) = drained(&mut counter, &daemon, before, u64::from(count)).await?;
    let rate = per_second(u64::from(count), arrived.since(began));
    let key = format!("http2.{connections}");
    let what = format!("deliveries over HTTP/2, connections: {connections}");
    let wanted = (connections == 1).then_some(Target::AtLeast(100_000.0));
    let figure = Figure::new(format!("{key}.rate"), what, rate, Unit::PerSecond).wanted(wanted);
    bench.report.add(figure.of(limit.key(), allowed));
    if connections == 1 {
        let figure = Figure::new("http2.1.ratio", "the same as a share of the limit", rate / allowed, Unit::Ratio);
        bench.report.add(figure.wanted(Target::AtLeast(0.6)));
    }
    if let Some(time) = time {
        let what = "daemon's processor time per delivery";
        bench.report.add(Figure::new(format!("{key}.cpu"), what, time, Unit::Microseconds));
    }
    if let Some(usage) = daemon.usage() {
        add_peak(bench, &key, usage);
    }
    daemon.stop().await
}
