//! Many apps that are provisioned and idle, each with an open connection to the binary gateway.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::few;
use crate::bench::report::{Figure, Target, Unit};
use crate::bench::world::BINARY;
use crate::bench::{Bench, BenchError, bodies};

/// Files of the daemon and the simulator besides connections.
const FILES_BESIDES: u64 = 256;
/// Provisions at once.
const AT_ONCE: usize = 8;
/// Until nothing of what was sent is remembered any more: `delivery.settle_after` and what its records take.
const SETTLED: Duration = Duration::from_secs(8);
/// The number that the project's target is for.
const TARGETED: u32 = 10_000;

/// Measures.
pub(super) async fn measure(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let allowed = u32::try_from(files().saturating_sub(FILES_BESIDES)).unwrap_or(u32::MAX);
    let count = bench.settings.apps.min(allowed);
    if count < bench.settings.apps {
        let (wanted, files) = (bench.settings.apps, files());
        bench
            .report
            .warn(format!("{count} idle apps were measured instead of {wanted}: a process may open {files} files"));
    }
    let daemon = bench.world.daemon().await?;
    daemon.provision(&bench.world, &daemon.app, BINARY, 1).await?;
    let mut counter = bench.world.counter().await?;
    let warm = daemon.target.post(&bodies::single(&daemon.app));
    few(&daemon.target, &warm, 1, 1).run(&bench.clock).await?;
    counter.wait(1).await?;
    let open_before = counter.open_connections().await?;
    let before = daemon.usage();
    let began = bench.clock.now();
    let (world, daemon_ref) = (&bench.world, &daemon);
    let mut provisions = stream::iter(0..count)
        .map(|number| async move { daemon_ref.provision(world, &format!("idle-{number}"), BINARY, 1).await })
        .buffer_unordered(AT_ONCE);
    while let Some(provisioned) = provisions.next().await {
        provisioned?;
    }
    drop(provisions);
    let rate = f64::from(count) / bench.clock.now().since(began).as_secs_f64();
    // One notification each opens the connections.
    for number in 0..count {
        let request = daemon.target.post(&bodies::single(&format!("idle-{number}")));
        few(&daemon.target, &request, 1, 1).run(&bench.clock).await?;
    }
    counter.wait(1 + u64::from(count)).await?;
    let open = counter.open_connections().await?.saturating_sub(open_before);
    bench.clock.sleep(SETTLED).await;
    bench.report.add(Figure::new("apps.provision", "apps provisioned, 8 at once", rate, Unit::PerSecond));
    let what = "their open connections, of those wanted";
    bench.report.add(Figure::new("apps.open", what, open as f64 / f64::from(count.max(1)), Unit::Ratio));
    if let Some((before, after)) = before.zip(daemon.usage()) {
        let each = after.resident.saturating_sub(before.resident) as f64 / f64::from(count.max(1)) / 1e3;
        let figure =
            Figure::new("apps.memory", format!("resident for each of {count} idle apps"), each, Unit::Kilobytes);
        bench.report.add(figure.wanted((count >= TARGETED).then_some(Target::AtMost(40.0))));
        let processor = after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e3 / f64::from(count.max(1));
        let what = "daemon's processor time for each, until its connection was open";
        bench.report.add(Figure::new("apps.cpu", what, processor, Unit::Milliseconds));
    }
    daemon.stop().await
}

/// Files that this process, and what it starts, may open.
fn files() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}
