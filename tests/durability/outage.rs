//! A gateway that is not there.

use std::time::Duration;

use crate::evidence::{Evidence, assert_none};
use crate::ledger::Fate;
use crate::load::{Load, Mix};
use crate::site::{HTTP2, Site, seed};

/// One caller an app, so that the order of its calls is the order of their commits.
const MIX: Mix = Mix { callers: 2, apps: 2, large: 50, bad: 0, pause: Duration::from_millis(10) };
const KILLS: usize = 5;
const SECOND_HALF: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_while_the_gateway_was_away_is_delivered_in_order_once_it_is_back() {
    outage("no gateway", Site::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_what_was_accepted_while_the_provider_api_was_away() {
    outage("no provider API", Site::new().over(HTTP2)).await;
}

/// Nothing listens on the gateway's port for the whole first half, in which the daemon is killed five times as well.
async fn outage(what: &str, site: Site) {
    let seed = seed();
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut daemon, _) = site.start().await;
    site.provision(MIX.apps).await;

    let load = Load::start(&site, MIX, seed);
    for _ in 0..KILLS {
        site.clock.sleep(Duration::from_millis(rng.u64(400..=1200))).await;
        daemon.kill();
        daemon = site.start().await.0;
    }
    let gateway = site.open_gateway().await;
    site.clock.sleep(SECOND_HALF).await;
    let ledger = load.stop().await;
    let faults: Vec<_> = ledger.faults().into_iter().collect();
    assert_none("kinds of faults came, and a gateway that is away is no reason for any", &faults);

    site.drained(MIX.apps).await;
    let mut evidence = Evidence::from_start(gateway.journal());
    let findings = evidence.hold_against(&ledger, &site, MIX.apps).await;
    eprintln!("{what}, kill -9 × {KILLS} (seed {seed}): {}; {findings}", ledger.calls());
    findings.assert_each_once();
    let lines = ledger.lines();
    for app in 0..MIX.apps {
        let is_in_order = |number: &u32| lines[*number as usize].app == app;
        let arrived: Vec<u32> = evidence.first_arrivals().into_iter().filter(is_in_order).collect();
        assert!(arrived.is_sorted(), "rows of app {app} overtook one another");
        let answered = |number: &&u32| lines[**number as usize].fate == Fate::Accepted;
        assert!(arrived.iter().filter(answered).count() > 100, "hardly anything was called");
    }
    drop(daemon);
}
