//! `kill -9` at any moment.

use std::time::Duration;

use crate::evidence::{Evidence, assert_none};
use crate::load::{Load, Mix};
use crate::process::range;
use crate::site::{HTTP2, Site, seed, variable};

/// What went out longer than this before a kill is not sent again: `delivery.settle_after` of a [`Site`] (500 ms), a
/// second in which settled rows may stay unwritten, and as much again for a busy machine.
pub(crate) const COPIES_WITHIN: Duration = Duration::from_secs(3);
/// The same over HTTP/2, where each notification has its answer at once: the second, and as much again.
const COPIES_WITHIN_HTTP2: Duration = Duration::from_secs(2);
/// Each tenth daemon lives so much longer: longer than the bound on copies, so that one who settles nothing is seen.
const LONG_LIFE: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_answered_ok_is_delivered_or_rejected_however_often_the_daemon_is_killed() {
    let rounds = variable("APNSD_TEST_KILLS").map_or(50, |kills| kills.parse().unwrap());
    kill("full", Site::new(), rounds, COPIES_WITHIN).await;
}

/// What a commit survives when it is not synced before the answer is the same, as long as the machine runs on.
#[tokio::test(flavor = "multi_thread")]
async fn a_relaxed_store_survives_kills_too() {
    kill("relaxed", Site::new().with("store.durability", "relaxed"), 10, COPIES_WITHIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_it_survives_kills_too_with_a_certificate_and_with_a_key() {
    kill("HTTP/2", Site::new().over(HTTP2), 10, COPIES_WITHIN_HTTP2).await;
}

/// Some callers and many daemons, each killed 20 ms to 1.5 s after it took its first call, while it has calls half
/// committed, rows half sent and answers half read.
async fn kill(what: &str, site: Site, rounds: u32, copies_within: Duration) {
    let seed = seed();
    let mut rng = fastrand::Rng::with_seed(seed);
    let gateway = site.open_gateway().await;
    let (mut daemon, _) = site.start().await;
    site.provision(Mix::USUAL.apps).await;

    let load = Load::start(&site, Mix::USUAL, seed);
    let (mut kills, mut starts) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let long = if round % 10 == 0 { LONG_LIFE } else { Duration::ZERO };
        site.clock.sleep(Duration::from_millis(rng.u64(20..=1500)) + long).await;
        kills.push(daemon.kill());
        let (next, took) = site.start().await;
        daemon = next;
        starts.push(took);
    }
    let ledger = load.stop().await;
    let faults: Vec<_> = ledger.faults().into_iter().collect();
    assert_none("kinds of faults came, and a kill is no reason for any", &faults);

    site.drained(Mix::USUAL.apps).await;
    let mut evidence = Evidence::from_start(gateway.journal());
    let findings = evidence.hold_against(&ledger, &site, Mix::USUAL.apps).await;
    eprintln!(
        "kill -9 × {rounds}, {what} (seed {seed}): {}; {findings}, at most {} copies after one kill, of what had gone out at most {:.1?} \
         before; ready after {}",
        ledger.calls(),
        findings.most_copies(&kills),
        findings.oldest(&kills),
        range(&starts)
    );
    findings.assert_nothing_lost();
    let unexplained = findings.unexplained(&kills, copies_within);
    assert_none("copies are not explained by a kill soon after the first", &unexplained);
    daemon.kill();
}
