//! Certificates that are replaced under load.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use apnsd::clock::Instant;
use apnsd::domain::token::token_hex;
use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::evidence::{Evidence, Opening, assert_none};
use crate::ledger::Fate;
use crate::load::{Load, Mix};
use crate::process::range;
use crate::site::{Site, Way, seed, until};

const REPLACEMENTS: usize = 20;
/// A handshake that began before a replacement may end so much later.
const HANDSHAKE: Duration = Duration::from_millis(250);
/// Many bad tokens, so that many connections are opened.
const MIX: Mix = Mix { callers: 3, apps: 1, large: 100, bad: 60, pause: Duration::from_millis(20) };

const RENEWALS: usize = 10;
/// The daemon is told of a renewed file, but for each so manieth: that one it finds by itself.
const UNTOLD: usize = 5;
const PASSPHRASE: &str = "correct horse";

/// A certificate, from the moment at which somebody asked for it.
struct Replacement {
    asked: Instant,
    answered: Instant,
    fingerprint: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_replaced_20_times_under_load_loses_nothing_and_each_connection_has_the_newest() {
    let seed = seed();
    let mut rng = fastrand::Rng::with_seed(seed);
    let site = Site::new();
    let gateway = site.open_gateway().await;
    let (daemon, _) = site.start().await;
    let pems = [site.certificates.issue("com.example.app"), site.certificates.issue("com.example.app")];
    let pems = pems.map(Result::unwrap);
    let replace = async |number: usize| {
        let pem = &pems[number % 2];
        let asked = site.clock.now();
        site.provision_with(0, pem, &[]).await.unwrap();
        Replacement { asked, answered: site.clock.now(), fingerprint: fingerprint(pem) }
    };

    let mut replacements = vec![replace(0).await];
    let load = Load::start(&site, MIX, seed);
    for number in 1..=REPLACEMENTS {
        site.clock.sleep(Duration::from_millis(rng.u64(300..=900))).await;
        replacements.push(replace(number).await);
    }
    site.clock.sleep(Duration::from_millis(900)).await;
    let ledger = load.stop().await;
    let faults: Vec<_> = ledger.faults().into_iter().collect();
    assert_none("kinds of faults came, and a replacement is no reason for any", &faults);

    site.drained(MIX.apps).await;
    let mut evidence = Evidence::from_start(gateway.journal());
    let findings = evidence.hold_against(&ledger, &site, MIX.apps).await;
    let connections = evidence.openings.len();
    let first = &replacements[0].fingerprint;
    let with_first = evidence.openings.iter().filter(|opening| opening.fingerprint == *first).count();
    let took: Vec<Duration> = replacements.iter().map(|it| it.answered.since(it.asked)).collect();
    eprintln!(
        "{REPLACEMENTS} replacements (seed {seed}) in {} each: {connections} connections, {with_first} of them with the first certificate; {}; \
         {findings}",
        range(&took),
        ledger.calls()
    );
    findings.assert_each_once();
    let wrong: Vec<&Opening> = evidence.openings.iter().filter(|opening| !is_newest(opening, &replacements)).collect();
    assert_none("connections were opened with a certificate that had been replaced", &wrong);
    let sure = evidence.openings.iter().filter(|opening| possible(opening, &replacements).len() == 1).count();
    assert!(sure > REPLACEMENTS, "hardly any connections that tell: {sure} of {connections}");
    daemon.kill();
}

/// A file on the daemon's machine, as Keychain exports it, which a renewed one takes the place of again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_p12_file_renewed_10_times_under_load_loses_nothing_and_the_newest_is_used_over_http2() {
    let seed = seed();
    let mut rng = fastrand::Rng::with_seed(seed);
    let site = Site::new().over(&[Way::Certificate]);
    let gateway = site.open_gateway().await;
    let (daemon, _) = site.start().await;
    let file = site.dir().join("app.p12");
    let renew = || {
        let pem = site.certificates.issue("com.example.app").unwrap();
        write_p12(&file, &pem);
        fingerprint(&pem)
    };
    let mut fingerprints = vec![renew()];
    let path = file.to_str().unwrap();
    site.provision_with(0, path, &[("passphrase", PASSPHRASE)]).await.unwrap();

    let load = Load::start(&site, MIX, seed);
    let mut evidence = Evidence::from_start(gateway.journal());
    let mut took = Vec::new();
    for number in 1..=RENEWALS {
        site.clock.sleep(Duration::from_millis(rng.u64(300..=900))).await;
        let (renewed, began) = (renew(), site.clock.now());
        if number % UNTOLD != 0 {
            daemon.hang_up();
        }
        until(&site.clock, "a connection with the renewed certificate", async || {
            evidence.read();
            evidence.openings.iter().any(|opening| opening.fingerprint == renewed).then_some(())
        })
        .await;
        took.push(site.clock.now().since(began));
        fingerprints.push(renewed);
    }
    load.ledger().more(Fate::Accepted, 100, &site.clock).await;
    let ledger = load.stop().await;
    let faults: Vec<_> = ledger.faults().into_iter().collect();
    assert_none("kinds of faults came, and a renewed file is no reason for any", &faults);

    site.drained(1).await;
    let findings = evidence.hold_against(&ledger, &site, 1).await;
    eprintln!(
        "{RENEWALS} renewals of a .p12 file (seed {seed}), used after {}: {}; {findings}",
        range(&took),
        ledger.calls()
    );
    findings.assert_each_once();
    let used: Vec<&str> = evidence.openings.iter().map(|opening| &*opening.fingerprint).collect();
    assert_eq!(used, fingerprints, "each certificate has one connection, in turn");
    assert_none("connections were used after the next one", &used_too_late(&evidence));
    daemon.kill();
}

/// Puts a `.p12` file with certificate and key of a PEM text where another one was, in one step.
fn write_p12(file: &Path, pem: &str) {
    let (source, beside) = (file.with_extension("pem"), file.with_extension("new"));
    fs::write(&source, pem).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs12", "-export", "-passout", &format!("pass:{PASSPHRASE}"), "-in"]).arg(source);
    assert!(openssl.arg("-out").arg(&beside).status().expect("openssl is needed").success());
    fs::rename(beside, file).unwrap();
}

/// Connections on which something arrived after the first arrival on the next one.
fn used_too_late(evidence: &Evidence) -> Vec<u64> {
    let mut spans = BTreeMap::new();
    for arrival in evidence.arrivals.values().flatten() {
        let (first, last) = spans.entry(arrival.connection).or_insert((arrival.at, arrival.at));
        (*first, *last) = ((*first).min(arrival.at), (*last).max(arrival.at));
    }
    assert!(spans.len() > RENEWALS / 2, "hardly any connections were used");
    let spans: Vec<_> = spans.into_iter().collect();
    let too_late = spans.windows(2).filter(|pair| pair[0].1.1 > pair[1].1.0);
    too_late.map(|pair| pair[0].0).collect()
}

/// Whether nothing had taken the place of a connection's certificate when it was opened.
fn is_newest(opening: &Opening, replacements: &[Replacement]) -> bool {
    possible(opening, replacements).iter().any(|it| it.fingerprint == opening.fingerprint)
}

/// What may have been the newest when a connection was opened.
fn possible<'a>(opening: &Opening, replacements: &'a [Replacement]) -> &'a [Replacement] {
    let asked = replacements.partition_point(|it| it.asked <= opening.at);
    let answered = replacements.partition_point(|it| it.answered + HANDSHAKE <= opening.at);
    &replacements[answered.saturating_sub(1)..asked]
}

/// SHA-256 of the certificate in a PEM text, in hex.
fn fingerprint(pem: &str) -> String {
    let leaf = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    token_hex(digest(&SHA256, &leaf).as_ref())
}
