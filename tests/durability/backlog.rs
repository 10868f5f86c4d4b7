//! A million notifications that wait.

use std::sync::Arc;

use apnsd::shutdown::Shutdown;

use crate::caller::{Answer, Caller, Form};
use crate::evidence::Evidence;
use crate::ledger::Ledger;
use crate::process::Memory;
use crate::site::{PATIENCE, Site, variable};

const NOTIFICATIONS: usize = 1_000_000;
/// What a daemon may take beyond what it takes when nothing waits, in KiB.
const MEMORY_MAX: u64 = 64 << 10;

/// As calls with 1,000 tokens, or as single ones by many callers.
#[derive(Clone, Copy, Debug)]
struct Shape {
    rows: usize,
    callers: usize,
    form: Form,
}

impl Shape {
    fn wanted() -> Self {
        match variable("APNSD_TEST_BACKLOG").as_deref() {
            None | Some("broadcasts") => Self { rows: 1000, callers: 4, form: Form::Broadcast },
            Some("singles") => Self { rows: 1, callers: 64, form: Form::Single },
            Some(other) => panic!("APNSD_TEST_BACKLOG is broadcasts or singles, not {other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_notifications_wait_on_disk_survive_a_kill_and_are_delivered_once() {
    let shape = Shape::wanted();
    let site = Site::new();
    let (daemon, _) = site.start().await;
    site.provision(1).await;
    let idle = daemon.memory();

    let began = site.clock.now();
    let ledger = fill(&site, shape).await;
    let filled = site.clock.now().since(began);
    assert_eq!(ledger.faults().into_iter().collect::<Vec<_>>(), []);
    let full = daemon.memory();
    daemon.kill();

    let (daemon, ready) = site.start().await;
    let restarted = daemon.memory();
    let gateway = site.open_gateway().await;
    let began = site.clock.now();
    site.drained(1).await;
    let drained = site.clock.now().since(began);
    let drain = daemon.memory();
    let findings = Evidence::from_start(gateway.journal()).hold_against(&ledger, &site, 1).await;
    eprintln!(
        "a million waiting as {shape:?}: filled in {filled:.1?}, ready {ready:.0?} after a kill, drained in {drained:.1?}; \
         memory idle {}, full {}, restarted {}, drained {}; {findings}",
        mib(idle),
        mib(full),
        mib(restarted),
        mib(drain)
    );
    findings.assert_each_once();
    for (when, memory) in [("while it filled", full), ("while it drained", drain)] {
        let more = memory.peak.saturating_sub(idle.now);
        assert!(more < MEMORY_MAX, "{when} it took {more} KiB more than when idle");
    }
    daemon.kill();
}

/// A million notifications, by callers that go on until there are so many.
async fn fill(site: &Site, shape: Shape) -> Arc<Ledger> {
    let (ledger, callers) = (Arc::new(Ledger::default()), Shutdown::new());
    for _ in 0..shape.callers {
        let (ledger, mut caller) = (Arc::clone(&ledger), Caller::new(site.address()));
        callers.spawn(async move {
            for _ in 0..NOTIFICATIONS / shape.rows / shape.callers {
                let rows = ledger.draw(0, shape.rows, None);
                let answer = caller.notify(&Site::app(0), &rows, shape.form).await;
                ledger.enter(&rows, &answer);
                if answer != Answer::Accepted {
                    return;
                }
            }
        });
    }
    assert!(callers.finish(10 * PATIENCE).await, "the callers are not through");
    ledger
}

fn mib(memory: Memory) -> String {
    format!("{:.1} (peak {:.1}) MiB", memory.now as f64 / 1024.0, memory.peak as f64 / 1024.0)
}
