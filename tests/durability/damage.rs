//! State that something else has changed: a log that ends early, bytes that flipped, another version, two daemons.
//!
//! The state that is damaged is always the same: calls of a life that ended in order, which are all in `apnsd.db`, and
//! calls of a life that was killed, which are in `apnsd.db-wal`. The gateway was away all the time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apnsd::simulator::Simulator;

use crate::caller::{Answer, Caller, Form};
use crate::evidence::Evidence;
use crate::ledger::{Fate, Ledger, Row};
use crate::process::Ended;
use crate::site::{PATIENCE, Site, free_address, seed};

/// Calls of each of the two lives, by one caller, one after another; with up to so many rows.
const CALLS: usize = 40;
const ROWS_MAX: usize = 60;
/// How long a daemon is watched whose state has changed in ways that nothing may detect.
const DAMAGED_MAX: Duration = Duration::from_secs(10);
/// EX_DATAERR and EX_TEMPFAIL of sysexits.h.
const DATA_ERROR: i32 = 65;
const LOCKED: i32 = 75;

/// A site, what it knows, and copies of its state to be damaged.
struct Bench {
    site: Site,
    ledger: Ledger,
    /// Rows of the calls that were answered OK, call by call.
    stopped_calls: Vec<Vec<Row>>,
    killed_calls: Vec<Vec<Row>>,
    rng: fastrand::Rng,
    seed: u64,
}

impl Bench {
    /// Two apps, which take turns.
    async fn new() -> Self {
        let (mut site, seed) = (Site::new(), seed());
        site.set("shutdown.deadline", "500ms");
        let mut bench = Self {
            site,
            ledger: Ledger::default(),
            stopped_calls: Vec::new(),
            killed_calls: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
            seed,
        };
        let (daemon, _) = bench.site.start().await;
        bench.site.provision(2).await;
        bench.stopped_calls = bench.call().await;
        let ended = daemon.terminate().await;
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        copy(&bench.site.state_dir, &bench.copy_of("stopped"));
        let (daemon, _) = bench.site.start().await;
        bench.killed_calls = bench.call().await;
        daemon.kill();
        copy(&bench.site.state_dir, &bench.copy_of("killed"));
        bench
    }

    async fn call(&mut self) -> Vec<Vec<Row>> {
        let mut caller = Caller::new(self.site.address());
        let mut calls = Vec::new();
        for call in 0..CALLS {
            let app = call % 2;
            let count = if self.rng.bool() { 1 } else { self.rng.usize(1..=ROWS_MAX) };
            let rows = self.ledger.draw(app, count, None);
            let answer = caller.notify(&Site::app(app), &rows, Form::Paired(20)).await;
            assert_eq!(answer, Answer::Accepted);
            self.ledger.enter(&rows, &answer);
            calls.push(rows);
        }
        calls
    }

    fn copy_of(&self, which: &str) -> PathBuf {
        self.site.dir().join(which)
    }

    /// Puts a copy of the state in place of what the last daemon left.
    fn restore(&self, which: &str) {
        fs::remove_dir_all(&self.site.state_dir).unwrap();
        copy(&self.copy_of(which), &self.site.state_dir);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.site.state_dir.join(name)
    }

    /// Starts a daemon on the state, lets it deliver what it has, and kills it; how many of the killed life's calls
    /// were still there. All of the stopped life's must be, and nothing that is not the beginning of the other's.
    async fn deliver(&self, gateway: &Simulator, case: &str) -> usize {
        let mut evidence = Evidence::from_now(gateway.journal());
        let (daemon, _) = self.site.start().await;
        self.site.drained(2).await;
        daemon.kill();
        // The gateway reads to the end what was sent.
        let closed = gateway.journal().wait_until(|summary| summary.open == 0);
        tokio::time::timeout(PATIENCE, closed).await.expect("the gateway closes what the daemon left");
        evidence.read();
        assert_eq!(evidence.strange, Vec::<String>::new(), "{case}: garbage was delivered");
        assert!(evidence.arrivals.values().all(|all| all.len() == 1), "{case}: sent twice");
        let has_come = |call: &&Vec<Row>| {
            let come = call.iter().filter(|row| evidence.arrivals.contains_key(&row.number)).count();
            assert!(come == 0 || come == call.len(), "{case}: a part of a call was delivered");
            come > 0
        };
        assert!(self.stopped_calls.iter().all(|call| has_come(&call)), "{case}: an old call is lost");
        let kept = self.killed_calls.iter().take_while(has_come).count();
        assert_eq!(self.killed_calls[kept..].iter().filter(has_come).count(), 0, "{case}: a later call survived");
        kept
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_or_damaged_loses_its_end_and_one_with_garbage_behind_it_nothing() {
    let mut bench = Bench::new().await;
    let gateway = bench.site.open_gateway().await;
    let wal = bench.file("apnsd.db-wal");
    let length = fs::metadata(&wal).unwrap().len();
    let mut kept = Vec::new();
    for case in 0..6 {
        bench.restore("killed");
        let at = bench.rng.u64(0..length);
        fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(at).unwrap();
        kept.push(bench.deliver(&gateway, &format!("cut {case} at {at} of {length}")).await);
    }
    for case in 0..3 {
        bench.restore("killed");
        let at = bench.rng.usize(0..usize::try_from(length).unwrap());
        flip(&wal, &[at]);
        kept.push(bench.deliver(&gateway, &format!("flip {case} at {at} of {length}")).await);
    }
    assert!(kept.iter().any(|kept| *kept > 0) && kept.iter().any(|kept| *kept < CALLS), "{kept:?}");
    for length in [1, 24, 4096, 4096 + 24, 1 << 20] {
        bench.restore("killed");
        let garbage: Vec<u8> = std::iter::repeat_with(|| bench.rng.u8(..)).take(length).collect();
        fs::write(&wal, [fs::read(&wal).unwrap(), garbage].concat()).unwrap();
        let whole = bench.deliver(&gateway, &format!("{length} bytes of garbage")).await;
        assert_eq!(whole, CALLS, "{length} bytes of garbage behind the log cost calls");
    }
    eprintln!(
        "damaged log (seed {}): {length} bytes cut 6 times and changed 3 times, {kept:?} of {CALLS} calls left; garbage \
         behind it 5 times, all left",
        bench.seed
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_damaged_pages_is_refused_with_its_own_code_or_serves_all_the_same() {
    let mut bench = Bench::new().await;
    let gateway = bench.site.open_gateway().await;
    let database = bench.file("apnsd.db");
    // The first bytes of the file, and the head of every page but the first.
    bench.restore("stopped");
    let length = usize::try_from(fs::metadata(&database).unwrap().len()).unwrap();
    let heads: Vec<usize> = (4096..length).step_by(4096).collect();
    for (case, places) in [("the first bytes", (0..16).collect()), ("every page's first byte", heads)] {
        bench.restore("stopped");
        flip(&database, &places);
        let ended = bench.site.start_refused(bench.site.address()).await;
        assert_damaged(&ended, case);
    }
    let (mut refused, mut served, mut said) = (0, 0, 0);
    for case in 0..8 {
        bench.restore("stopped");
        let places: Vec<usize> = (0..4).map(|_| bench.rng.usize(100..length)).collect();
        flip(&database, &places);
        match bench.site.start_or_refused(bench.site.address()).await {
            Err(ended) => {
                assert_damaged(&ended, &format!("random places, case {case}: {places:?}"));
                refused += 1;
            }
            Ok(mut daemon) => {
                // Not everything that flips can be seen; it must not fall over it, and never send what nobody asked for.
                let mut evidence = Evidence::from_now(gateway.journal());
                done(&bench.site).await;
                serves(&bench.site).await;
                assert!(daemon.exit().is_none(), "case {case}: {}", daemon.log());
                evidence.read();
                let garbled = &evidence.strange;
                assert!(garbled.is_empty(), "case {case}: {places:?}: {} were garbled: {garbled:?}", garbled.len());
                said += usize::from(daemon.log().contains("damaged"));
                daemon.kill();
                served += 1;
            }
        }
    }
    eprintln!(
        "damaged pages (seed {}): 2 refused; 8 × 4 random bytes: {refused} refused, {served} served, {said} of them said \
         so, no notification was delivered garbled",
        bench.seed
    );
}

/// Records that no check of the file can see, since the pages that hold them are sound.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_are_said_and_never_sent_and_keep_no_other_from_being_sent() {
    let bench = Bench::new().await;
    let gateway = bench.site.open_gateway().await;
    bench.restore("stopped");
    // By the number of the call: its version, its first payload, its last index or token, all of it.
    damage(&bench, 0, |record| record[0] ^= 0xff);
    damage(&bench, 4, |record| {
        let payload = record.windows(8).position(|bytes| bytes == b"alert\":\"").unwrap();
        record[payload + 8] ^= 1;
    });
    damage(&bench, 10, |record| {
        let last = record.len() - 5;
        record[last] ^= 1;
    });
    damage(&bench, 11, |record| *record = vec![0xff; 4]);

    let mut evidence = Evidence::from_now(gateway.journal());
    let (mut daemon, _) = bench.site.start().await;
    bench.site.drained(2).await;
    assert!(daemon.exit().is_none());
    let log = daemon.log();
    daemon.kill();
    let closed = gateway.journal().wait_until(|summary| summary.open == 0);
    tokio::time::timeout(PATIENCE, closed).await.expect("the gateway closes what the daemon left");
    evidence.read();
    assert_eq!(evidence.strange, Vec::<String>::new());
    for (number, call) in bench.stopped_calls.iter().enumerate() {
        let times = if [0, 4, 10, 11].contains(&number) { 0 } else { 1 };
        for row in call {
            assert_eq!(evidence.arrivals.get(&row.number).map_or(0, Vec::len), times, "call {number}: {row:?}");
        }
    }
    let said: Vec<&str> = log.lines().filter(|line| line.contains("left in apnsd.db for rescue")).collect();
    assert_eq!(said.len(), 4, "{log}");
    for number in [0, 4, 10, 11] {
        let (app, rows) = (Site::app(number % 2), bench.stopped_calls[number].len());
        let words = [format!("batch {}:", number + 1), format!("app={app}"), format!("rows={rows}")];
        assert!(said.iter().any(|line| words.iter().all(|word| line.contains(word))), "{words:?}: {said:?}");
    }
    eprintln!("damaged records: {} calls were sent, 4 left and said", CALLS - 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_later_version_is_refused_and_left_alone() {
    let bench = Bench::new().await;
    bench.restore("stopped");
    let database = rusqlite::Connection::open(bench.file("apnsd.db")).unwrap();
    database.pragma_update(None, "user_version", 999).unwrap();
    database.close().unwrap();
    let before = fs::read(bench.file("apnsd.db")).unwrap();
    let ended = bench.site.start_refused(bench.site.address()).await;
    assert_eq!(ended.code, Some(DATA_ERROR), "{}", ended.log);
    assert!(ended.log.contains("999"), "it does not name the version: {}", ended.log);
    assert!(fs::read(bench.file("apnsd.db")).unwrap() == before, "the database was changed");
    eprintln!("later version: refused with {DATA_ERROR}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_state_ends_at_once_and_the_first_does_not_notice() {
    let site = Site::new();
    let gateway = site.open_gateway().await;
    let (daemon, _) = site.start().await;
    site.provision(1).await;
    let ended = site.start_refused(free_address()).await;
    assert_eq!(ended.code, Some(LOCKED), "{}", ended.log);
    assert!(ended.log.contains(&site.state_dir.display().to_string()), "{}", ended.log);

    let (ledger, mut caller) = (Ledger::default(), Caller::new(site.address()));
    let rows = ledger.draw(0, 10, None);
    let answer = caller.notify(&Site::app(0), &rows, Form::Broadcast).await;
    ledger.enter(&rows, &answer);
    site.drained(1).await;
    let findings = Evidence::from_start(gateway.journal()).hold_against(&ledger, &site, 1).await;
    findings.assert_each_once();
    assert_eq!(ledger.numbers(Fate::Accepted).len(), 10);
    eprintln!("second daemon: refused with {LOCKED}");
    daemon.kill();
}

/// Waits until all is delivered; what is left after that long, an app may keep because its own record has changed, or a
/// page that SQLite calls damaged.
async fn done(site: &Site) {
    tokio::select! {
        () = site.drained(2) => (),
        () = site.clock.sleep(DAMAGED_MAX) => (),
    }
}

/// Changes the record of a call, of which each is the batch with the next id.
fn damage(bench: &Bench, call: usize, change: impl FnOnce(&mut Vec<u8>)) {
    let database = rusqlite::Connection::open(bench.file("apnsd.db")).unwrap();
    let id = i64::try_from(call + 1).unwrap();
    let read = database.query_row("SELECT record FROM batches WHERE id = ?", [id], |row| row.get(0));
    let mut record: Vec<u8> = read.unwrap();
    change(&mut record);
    database.execute("UPDATE batches SET record = ? WHERE id = ?", rusqlite::params![record, id]).unwrap();
    database.close().unwrap();
}

/// Whether it answers calls, whatever it says about its apps.
async fn serves(site: &Site) {
    let mut caller = Caller::new(site.address());
    let ledger = Ledger::default();
    for app in 0..2 {
        let rows = ledger.draw(app, 1, None);
        assert_ne!(caller.notify(&Site::app(app), &rows, Form::Single).await, Answer::None);
    }
}

fn assert_damaged(ended: &Ended, case: &str) {
    assert_eq!(ended.code, Some(DATA_ERROR), "{case}: {}", ended.log);
    let says_so = ended.log.contains("apnsd.db") && ended.log.contains("damaged");
    assert!(says_so, "{case}: it does not say what is damaged: {}", ended.log);
}

/// Changes bytes of a file.
fn flip(path: &Path, places: &[usize]) {
    let mut bytes = fs::read(path).unwrap();
    places.iter().for_each(|place| bytes[*place] ^= 0xff);
    fs::write(path, bytes).unwrap();
}

/// Copies the files of a directory.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}
