//! A disk that is full.

use std::time::Duration;

use crate::caller::{Answer, Caller, Form};
use crate::crashes::COPIES_WITHIN;
use crate::evidence::{Evidence, assert_none};
use crate::ledger::{Fate, Ledger};
use crate::load::{Load, Mix};
use crate::site::{Site, seed, until};
use crate::small_disk::SmallDisk;

const MIB: u64 = 1 << 20;
/// Rows of one call, and bytes of each.
const ROWS: usize = 200;
const BALLAST: usize = 1800;
/// More calls than fit on any of these disks.
const CALLS_MAX: usize = 400;

/// A site whose state is on a small disk.
fn on_small_disk(mib: u32) -> Option<(Site, SmallDisk)> {
    let mut site = Site::new().with("store.min_free", "4MiB");
    let disk = SmallDisk::mount(&site.dir().join("disk"), mib)?;
    site.state_dir = disk.path.join("state");
    site.wrapper = disk.wrapper();
    Some((site, disk))
}

/// What a fault has to say.
fn is_full(code: i32, text: &str) -> bool {
    code == 500 && text.contains("disk") && text.contains("full")
}

/// Calls until a call is refused.
async fn call_until_refused(caller: &mut Caller, ledger: &Ledger) {
    for _ in 0..CALLS_MAX {
        if !call(caller, ledger, ROWS).await {
            return;
        }
    }
    panic!("{CALLS_MAX} calls fit on a small disk");
}

/// Calls again until a call is accepted.
async fn call_until_accepted(caller: &mut Caller, ledger: &Ledger, site: &Site) {
    until(&site.clock, "a call that is accepted", async || call(caller, ledger, 1).await.then_some(())).await;
}

/// One call. Whether it was accepted.
async fn call(caller: &mut Caller, ledger: &Ledger, rows: usize) -> bool {
    let rows = ledger.draw(0, rows, None);
    let answer = caller.notify(&Site::app(0), &rows, Form::Paired(BALLAST)).await;
    ledger.enter(&rows, &answer);
    if let Answer::Refused(fault) = &answer {
        assert!(is_full(fault.code, &fault.text), "{fault:?}");
    }
    answer == Answer::Accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_whole_calls_delivers_what_it_has_and_recovers_by_itself() {
    let Some((site, disk)) = on_small_disk(96) else { return without_small_disk().await };
    let (daemon, _) = site.start().await;
    site.provision(1).await;
    disk.leave(40 * MIB);

    let (ledger, mut caller) = (Ledger::default(), Caller::new(site.address()));
    call_until_refused(&mut caller, &ledger).await;
    let accepted = ledger.numbers(Fate::Accepted).len();
    for _ in 0..20 {
        call(&mut caller, &ledger, ROWS).await;
    }
    let gateway = site.open_gateway().await;
    site.drained(1).await;
    disk.leave(MIB);
    call_until_refused(&mut caller, &ledger).await;
    disk.release();
    call_until_accepted(&mut caller, &ledger, &site).await;
    site.drained(1).await;

    let findings = Evidence::from_start(gateway.journal()).hold_against(&ledger, &site, 1).await;
    eprintln!("full disk: {} ({accepted} notifications before the first fault); {findings}", ledger.calls());
    findings.assert_each_once();
    assert!(accepted >= ROWS, "nothing was accepted");
    drop(daemon);
}

/// The last byte is taken while rows are half sent, twice: it is given back after a while, and after a kill.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_a_byte_left_loses_nothing_and_a_kill_on_top_of_it_neither() {
    let Some((site, disk)) = on_small_disk(96) else { return eprintln!("not a byte left: no small disk here") };
    let seed = seed();
    let gateway = site.open_gateway().await;
    let (daemon, _) = site.start().await;
    site.provision(1).await;

    let load = Load::start(&site, Mix { callers: 3, apps: 1, pause: Duration::ZERO, ..Mix::USUAL }, seed);
    let books = load.ledger();
    books.more(Fate::Accepted, 1000, &site.clock).await;
    disk.leave(0);
    books.more(Fate::Refused, 1, &site.clock).await;
    site.clock.sleep(Duration::from_secs(2)).await;
    disk.release();
    books.more(Fate::Accepted, 1000, &site.clock).await;
    disk.leave(0);
    books.more(Fate::Refused, 1, &site.clock).await;
    let kills = [daemon.kill()];
    disk.release();
    let (daemon, _) = site.start().await;
    books.more(Fate::Accepted, 1000, &site.clock).await;
    let ledger = load.stop().await;
    let others: Vec<_> = ledger.faults().into_keys().filter(|(code, text)| !is_full(*code, text)).collect();
    assert_none("kinds of faults came that a full disk is no reason for", &others);

    site.drained(1).await;
    let findings = Evidence::from_start(gateway.journal()).hold_against(&ledger, &site, 1).await;
    eprintln!("not a byte left × 2, kill -9 (seed {seed}): {}; {findings}", ledger.calls());
    findings.assert_nothing_lost();
    assert_none("copies are not explained by the kill", &findings.unexplained(&kills, COPIES_WITHIN));
    daemon.kill();
}

/// Where no small disk can be had: a daemon that wants more free space than there is, between two that do not.
async fn without_small_disk() {
    eprintln!("full disk: neither root nor user namespaces here, so only store.min_free is tried");
    let mut site = Site::new();
    let (ledger, mut caller) = (Ledger::default(), Caller::new(site.address()));
    let (daemon, _) = site.start().await;
    site.provision(1).await;
    assert!(call(&mut caller, &ledger, ROWS).await);
    daemon.kill();

    site.set("store.min_free", "8000000GiB");
    let gateway = site.open_gateway().await;
    let (daemon, _) = site.start().await;
    call_until_refused(&mut Caller::new(site.address()), &ledger).await;
    site.drained(1).await;
    daemon.kill();

    site.set("store.min_free", "1MiB");
    let (daemon, _) = site.start().await;
    call_until_accepted(&mut caller, &ledger, &site).await;
    site.drained(1).await;
    let findings = Evidence::from_start(gateway.journal()).hold_against(&ledger, &site, 1).await;
    eprintln!("store.min_free above what is free: {}; {findings}", ledger.calls());
    findings.assert_nothing_lost();
    drop(daemon);
}
