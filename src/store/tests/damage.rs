//! Batches that are damaged on the disk: left out wherever they are met, and all others go on.

use std::fs;

use rusqlite::Connection;

use super::*;

/// Batches of a lane.
const COUNT: u64 = 5;

/// The id of each in the fresh lane.
fn fresh_id(n: u64) -> u64 {
    n + 1
}

/// The id of each in the due lane: behind those of the fresh one, and each behind the batch that it was before.
fn due_id(n: u64) -> u64 {
    COUNT + 2 * (n + 1)
}

/// Runs SQL beside the store.
fn sql(place: &Place, sql: &str) {
    Connection::open(place.settings.dir.join("apnsd.db")).unwrap().execute_batch(sql).unwrap();
}

/// A byte in the middle of a record changes.
const FLIP: &str = "UPDATE batches SET record = CAST(substr(record, 1, 20) || x'58' || substr(record, 22) AS BLOB)";

fn ids(stored: &[Stored]) -> Vec<u64> {
    stored.iter().map(|stored| stored.id.0).collect()
}

fn memory_of(stored: &[Stored]) -> usize {
    stored.iter().map(|stored| stored.batch.memory()).sum()
}

/// Reads the fresh lane as the queue does: on behind the last batch, and to the end once less comes than is asked for.
async fn walk(store: &Store, app: &AppId, bytes_max: usize) -> Vec<u64> {
    let (mut all, mut after) = (Vec::new(), BatchId(0));
    loop {
        let stored = store.load(app, after, bytes_max).await.unwrap();
        all.extend(ids(&stored));
        if memory_of(&stored) < bytes_max {
            return all;
        }
        after = stored.last().unwrap().id;
    }
}

/// Reads the due lane as the queue does: on behind the last batch, until nothing is due behind it.
async fn walk_due(store: &Store, app: &AppId, bytes_max: usize) -> Vec<u64> {
    let (mut all, mut after) = (Vec::new(), BEGINNING);
    loop {
        let Due { stored, next } = store.load_due(app, after, EVER, bytes_max).await.unwrap();
        all.extend(ids(&stored));
        after = stored.last().map_or(after, |last| (last.due.unwrap(), last.id));
        match next {
            None => return all,
            Some(_) => assert!(!stored.is_empty(), "the same would be read again"),
        }
    }
}

#[tokio::test]
async fn whatever_is_damaged_in_a_lane_the_rest_is_read_to_its_end() {
    let place = Place::new();
    let store = place.open();
    let (one, two, batch) = (app("one"), app("two"), batch(3, "{}"));
    for n in 0..COUNT {
        assert_eq!(commit(&store, &one, &batch).await.0, fresh_id(n));
    }
    for n in 0..COUNT {
        let span = span(commit(&store, &two, &batch).await, &batch, 0..3);
        // Two by two at the same time.
        let deferred = store.defer(&two, &span, Timestamp::from_secs(i64::try_from(n / 2).unwrap())).await.unwrap();
        assert_eq!(deferred.id.0, due_id(n));
    }
    sql(&place, "CREATE TABLE sound AS SELECT id, record FROM batches");
    for damaged in 0..1_u64 << COUNT {
        sql(&place, "UPDATE batches SET record = (SELECT record FROM sound WHERE sound.id = batches.id)");
        let is_sound = |n: &u64| damaged & 1 << n == 0;
        for n in (0..COUNT).filter(|n| !is_sound(n)) {
            sql(&place, &format!("{FLIP} WHERE id IN ({}, {})", fresh_id(n), due_id(n)));
        }
        for bytes_max in [1, batch.memory(), batch.memory() + 1, 3 * batch.memory(), usize::MAX] {
            let left = |id: fn(u64) -> u64| (0..COUNT).filter(is_sound).map(id).collect::<Vec<_>>();
            assert_eq!(walk(&store, &one, bytes_max).await, left(fresh_id), "{damaged:b}");
            assert_eq!(walk_due(&store, &two, bytes_max).await, left(due_id), "{damaged:b}");
        }
    }
    assert_eq!(store.backlogs().await.unwrap().len(), 2, "what is damaged is still there");
}

#[tokio::test]
async fn a_batch_is_left_out_whatever_of_it_is_damaged() {
    let damages = [
        "UPDATE batches SET record = x'' WHERE id = 1",
        "UPDATE batches SET record = NULL WHERE id = 1",
        "UPDATE batches SET rows = 4 WHERE id = 1",
        "UPDATE batches SET rows = -1 WHERE id = 1",
        "UPDATE batches SET tries = -1 WHERE id = 1",
        "INSERT INTO progress VALUES (1, 0, x'ffffffff')",
        "UPDATE segments SET bytes = CAST(bytes || x'00' AS BLOB) WHERE number = 1",
        "DELETE FROM segments WHERE number = 1",
        "DELETE FROM segments",
    ];
    for damage in damages {
        let place = Place::new();
        let store = place.open();
        let (one, small) = (app("one"), batch(3, "{}"));
        let first = if damage.contains("segments") { batch(50_000, "{}") } else { Arc::clone(&small) };
        commit(&store, &one, &first).await;
        commit(&store, &one, &small).await;
        sql(&place, damage);
        assert_eq!(ids(&fresh(&store, &one).await), [2], "{damage}");
        let traced = store.trace(TokenPrefix::parse("0100 0000").unwrap(), Visible::default(), 9).await.unwrap();
        assert_eq!(traced.iter().map(|traced| traced.row.unwrap().0.0).collect::<Vec<_>>(), [2], "{damage}");
        assert_eq!(store.trouble(), None);
    }
}

#[tokio::test]
async fn a_batch_of_no_app_is_not_traced_and_keeps_no_other_from_it() {
    let place = Place::new();
    let store = place.open();
    for name in ["one", "two"] {
        commit(&store, &app(name), &batch(1, "{}")).await;
    }
    sql(&place, "UPDATE batches SET app = 99 WHERE id = 2");
    let traced = store.trace(TokenPrefix::parse("0000").unwrap(), Visible::default(), 9).await.unwrap();
    assert_eq!(traced.iter().map(|traced| traced.row).collect::<Vec<_>>(), [Some((BatchId(1), 0))]);
}

/// The damage came while the rows were in memory and on their way.
#[tokio::test]
async fn rows_of_a_batch_with_damaged_progress_are_settled_and_deferred_without_trouble_and_never_sent_again() {
    let place = Place::new();
    let store = place.open();
    let (one, batch) = (app("one"), batch(9, "{}"));
    let (damaged, sound) = (commit(&store, &one, &batch).await, commit(&store, &one, &batch).await);
    sql(&place, "INSERT INTO progress VALUES (1, 0, x'ffffffff')");
    store.settle(&span(damaged, &batch, 0..5));
    store.settle(&span(sound, &batch, 0..5));
    let moved = store.defer(&one, &span(damaged, &batch, 5..6), Timestamp::from_secs(5)).await.unwrap();
    let left: Vec<_> = all(&store, &one).await.into_iter().map(|stored| (stored.id, stored.rows)).collect();
    assert_eq!(left, [(sound, vec![Range { start: 5, end: 9 }]), (moved.id, vec![Range { start: 0, end: 1 }])]);
    assert_eq!(store.trouble(), None);
    store.settle(&span(damaged, &batch, 0..9));
    store.close().await.unwrap();
    let backlogs = place.open().backlogs().await.unwrap();
    assert_eq!(backlogs.iter().map(|backlog| backlog.rows).collect::<Vec<_>>(), [5], "a batch that is done is gone");
}

#[tokio::test]
async fn a_record_of_a_later_version_and_a_page_that_sqlite_calls_corrupt_fail_the_call() {
    let place = Place::new();
    let store = place.open();
    commit(&store, &app("one"), &batch(1, "{}")).await;
    sql(&place, "UPDATE batches SET record = x'0200007c0dc5fc'");
    let newer = StoreError::Corrupt("batch 1: the record has version 2, this apnsd reads up to 1".to_owned());
    assert_eq!(store.load(&app("one"), BatchId(0), 1).await, Err(newer.clone()));
    assert_eq!(store.load_due(&app("one"), BEGINNING, EVER, 1).await.unwrap().stored, [], "another lane");
    sql(&place, "UPDATE batches SET due = 5");
    assert_eq!(store.load_due(&app("one"), BEGINNING, EVER, 1).await, Err(newer));

    let place = Place::new();
    let store = place.open();
    commit(&store, &app("one"), &batch(1, "in this page")).await;
    store.close().await.unwrap();
    drop(store);
    let store = place.open();
    let path = place.settings.dir.join("apnsd.db");
    let mut bytes = fs::read(&path).unwrap();
    let page = bytes.chunks_mut(4096).find(|page| page.windows(12).any(|text| text == b"in this page"));
    page.unwrap()[0] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    let loaded = store.load(&app("one"), BatchId(0), 1).await;
    assert!(matches!(&loaded, Err(StoreError::Corrupt(problem)) if problem.contains("malformed")), "{loaded:?}");
}
