//! A process that ends in the middle of its work keeps what it answered.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::*;

/// Tells the child where its store is; only the child has it.
const DIRECTORY: &str = "APNSD_TEST_CRASH_DIRECTORY";
const NAME: &str = "store::tests::crash::what_was_answered_survives_a_process_that_is_killed";

#[tokio::test]
async fn what_was_answered_survives_a_process_that_is_killed() {
    if let Some(dir) = std::env::var_os(DIRECTORY) {
        return commit_for_ever(Settings { dir: dir.into(), min_free: 0, ..Settings::default() }).await;
    }
    let place = Place::new();
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(DIRECTORY, &place.settings.dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ids = lines.map(Result::unwrap).filter_map(|line| line.strip_prefix("answered ")?.parse().ok());
        let mut answered: Vec<u64> = Vec::new();
        for id in ids {
            answered.push(id);
            if answered.len() == round * 100 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let store = place.open();
        let loaded = all(&store, &app("one")).await;
        let found: Vec<u64> = loaded.iter().map(|stored| stored.id.0).collect();
        assert!(answered.len() >= round * 100 && answered.iter().all(|id| found.contains(id)));
        assert!(loaded.iter().all(|stored| stored.rows == [Range { start: 0, end: stored.batch.rows() }]));
        store.close().await.unwrap();
    }
}

/// Commits small and large batches at once, and says which were answered.
async fn commit_for_ever(settings: Settings) {
    let store = Store::open(&settings, Clock::system()).unwrap();
    let callers = (0..16).map(|caller| {
        let store = &store;
        async move {
            let batch = batch(if caller == 0 { 9_000 } else { 1 }, "{}");
            loop {
                let id = commit(store, &app("one"), &batch).await;
                let mut out = std::io::stdout().lock();
                writeln!(out, "answered {}", id.0).unwrap();
                out.flush().unwrap();
            }
        }
    });
    futures_util::future::join_all::<_>(callers).await;
}
