//! From a call to the gateway's sight of the frame, with one call at a time. The gateway is a simulator in this
//! process, so that one clock dates both ends.

use std::time::Duration;

use crate::bench::http::Connection;
use crate::bench::load::Latencies;
use crate::bench::report::{Figure, Target, Unit};
use crate::bench::world::NEAR;
use crate::bench::{Bench, BenchError, bodies};
use crate::shutdown::Shutdown;
use crate::simulator::{Settings as SimulatorSettings, Simulator};

/// Between two calls: the daemon is idle again.
const PAUSE: Duration = Duration::from_millis(2);
/// How long one notification may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first calls open the connection to the gateway.
const WARM_UP: u64 = 10;

/// Measures.
pub(super) async fn measure(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let shutdown = Shutdown::new();
    let settings =
        SimulatorSettings { count_only: true, ..SimulatorSettings::on_free_ports(bench.world.certificates()) };
    let near = Simulator::start(settings, bench.clock.clone(), &shutdown).await?;
    bench.world.near = Some(near.binary_address());
    let daemon = bench.world.daemon().await?;
    daemon.provision(&bench.world, &daemon.app, NEAR, 1).await?;
    let request = daemon.target.post(&bodies::single(&daemon.app));
    let mut connection = Connection::open(daemon.target.address).await?;
    let (mut answers, mut arrivals) = (Latencies::new()?, Latencies::new()?);
    let (began, mut sent) = (bench.clock.now(), 0);
    while sent < WARM_UP + 1 || bench.clock.now().since(began) < bench.settings.seconds {
        sent += 1;
        let call = bench.clock.now();
        let answered = async {
            connection.exchange(&request).await?.success()?;
            Ok::<_, BenchError>(bench.clock.now().since(call))
        };
        let arrived = async {
            let seen = near.journal().wait_until(|summary| summary.packets >= sent);
            let in_time = tokio::time::timeout(PATIENCE, seen).await.is_ok();
            let missing = || BenchError::Missing { has: sent - 1, wanted: sent, seconds: PATIENCE.as_secs() };
            in_time.then(|| bench.clock.now().since(call)).ok_or_else(missing)
        };
        let (answered, arrived) = futures_util::future::try_join(answered, arrived).await?;
        if sent > WARM_UP {
            answers.note(answered);
            arrivals.note(arrived);
        }
        bench.clock.sleep(PAUSE).await;
    }
    for (key, what, latencies) in [
        ("latency.answer", "from call to answer, idle", &answers),
        ("latency.gateway", "from call to gateway, idle", &arrivals),
    ] {
        for (name, share, wanted) in [("p50", 0.5, Some(1.0)), ("p99", 0.99, Some(5.0)), ("p999", 0.999, None)] {
            let value = latencies.milliseconds(share);
            let figure = Figure::new(format!("{key}.{name}"), format!("{what}, {name}"), value, Unit::Milliseconds);
            bench.report.add(figure.wanted(wanted.filter(|_| key == "latency.gateway").map(Target::AtMost)));
        }
    }
    daemon.stop().await?;
    bench.world.near = None;
    shutdown.finish(Duration::from_secs(1)).await;
    Ok(())
}
