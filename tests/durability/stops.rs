//! SIGTERM, as service managers send it.

use std::time::Duration;

use crate::evidence::{Evidence, assert_none};
use crate::load::{Load, Mix};
use crate::site::{HTTP2, Site, seed};

const STOPS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_stopped_under_load_ends_with_0_and_nothing_is_lost_or_sent_twice() {
    stop("SIGTERM", Site::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_answers_of_the_provider_api() {
    stop("SIGTERM, HTTP/2", Site::new().over(HTTP2)).await;
}

async fn stop(what: &str, site: Site) {
    let seed = seed();
    let mut rng = fastrand::Rng::with_seed(seed);
    let gateway = site.open_gateway().await;
    let (mut daemon, _) = site.start().await;
    site.provision(Mix::USUAL.apps).await;

    let load = Load::start(&site, Mix::USUAL, seed);
    for _ in 0..STOPS {
        site.clock.sleep(Duration::from_millis(rng.u64(200..=1500))).await;
        let ended = daemon.terminate().await;
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        daemon = site.start().await.0;
    }
    let ledger = load.stop().await;
    // Try later: the only thing that a stopping daemon may say.
    let faults: Vec<_> = ledger.faults().into_keys().filter(|(code, _)| *code != 500).collect();
    assert_none("kinds of faults came that a stop is no reason for", &faults);

    site.drained(Mix::USUAL.apps).await;
    let mut evidence = Evidence::from_start(gateway.journal());
    let findings = evidence.hold_against(&ledger, &site, Mix::USUAL.apps).await;
    eprintln!("{what} × {STOPS} (seed {seed}): {}; {findings}", ledger.calls());
    findings.assert_each_once();
    drop(daemon);
}
