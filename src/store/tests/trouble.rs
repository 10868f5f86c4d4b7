//! Writes that fail: nothing is half kept, settlement goes on, and the store recovers by itself.

use std::sync::mpsc;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::ffi::{SQLITE_FULL, SQLITE_IOERR};
use tokio::sync::oneshot;

use super::*;

fn fail_commits(store: &Store, code: i32, count: usize) {
    let Store::Sqlite(sqlite) = store else { panic!("in memory") };
    sqlite.fail_commits(code, count);
}

/// Another look at the file.
fn beside(place: &Place) -> Connection {
    Connection::open(place.settings.dir.join("apnsd.db")).unwrap()
}

fn count(place: &Place, table: &str) -> i64 {
    beside(place).query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_failed_commit_leaves_nothing_and_is_not_remembered() {
    let place = Place::new();
    let store = place.open();
    let (one, batch) = (app("one"), batch(1, "{}"));
    fail_commits(&store, SQLITE_IOERR, 1);
    let then = |_| panic!("announced");
    let failed = store.commit_then(&one, &batch, Some(key(1, 1)), then).await;
    assert!(matches!(failed, Err(StoreError::Io(_))), "{failed:?}");
    assert_eq!(all(&store, &one).await, []);
    assert_eq!(store.commit(&one, &batch, Some(key(1, 1))).await, Ok(Commit::Accepted(BatchId(1))));
    assert_eq!(all(&store, &one).await.len(), 1);
}

#[tokio::test]
async fn all_of_a_group_fails_together() {
    let place = Place::new();
    let store = place.open();
    let one = app("one");
    let (posted, wait) = mpsc::channel::<()>();
    let (begin, begun) = oneshot::channel();
    let busy = batch(1, "{}");
    let busy = store.commit_then(&one, &busy, None, move |_| {
        begin.send(()).unwrap();
        assert!(wait.recv().is_err());
    });
    beside(&place)
        .execute_batch(
            "CREATE TRIGGER fails BEFORE INSERT ON batches WHEN new.rows = 7 BEGIN SELECT RAISE(ABORT, 'x'); END",
        )
        .unwrap();
    let group = async {
        begun.await.unwrap();
        let batches: Vec<_> = (5..9).map(|rows| batch(rows, "{}")).collect();
        let commits = batches.iter().map(|batch| store.commit(&one, batch, None));
        let mut commits = std::pin::pin!(futures_util::future::join_all(commits));
        assert!(futures_util::poll!(commits.as_mut()).is_pending());
        drop(posted);
        commits.await
    };
    let (first, group) = tokio::join!(busy, group);
    assert!(matches!(first, Ok(Commit::Accepted(_))));
    assert!(group.iter().all(|commit| matches!(commit, Err(StoreError::Io(_)))), "{group:?}");
    assert_eq!(all(&store, &one).await.len(), 1);
    beside(&place).execute_batch("DROP TRIGGER fails").unwrap();
    assert_eq!(commit(&store, &one, &batch(7, "{}")).await, BatchId(2));
}

#[tokio::test]
async fn a_full_disk_refuses_batches_and_settles_on_its_reserve() {
    let place = Place::new();
    let store = place.open();
    let (one, batch) = (app("one"), batch(4, "{}"));
    let id = commit(&store, &one, &batch).await;
    let reserve = place.settings.dir.join("apnsd.reserve");
    assert!(reserve.exists());
    fail_commits(&store, SQLITE_FULL, 1);
    let refused = store.commit(&one, &batch, None).await;
    assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
    assert!(!reserve.exists());
    store.settle(&span(id, &batch, 0..1));
    store.reject(vec![rejection(&one, 1)], &[]).await.unwrap();
    let deferred = store.defer(&one, &span(id, &batch, 1..2), Timestamp::from_secs(5)).await.unwrap();
    let loaded = all(&store, &one).await;
    assert_eq!((loaded[0].rows.clone(), loaded[1].id), (vec![Range { start: 2, end: 4 }], deferred.id));
}

#[tokio::test]
async fn books_that_meet_a_full_disk_are_kept_once_the_reserve_is_released() {
    let place = Place::new();
    let store = place.open();
    let one = app("one");
    commit(&store, &one, &batch(1, "{}")).await;
    fail_commits(&store, SQLITE_FULL, 1);
    store.reject(vec![rejection(&one, 1)], &[]).await.unwrap();
    assert!(store.has_rejections(&one).await.unwrap());
}

#[tokio::test]
async fn too_little_free_space_refuses_batches_and_nothing_else() {
    let mut place = Place::new();
    place.settings.min_free = u64::MAX;
    let store = place.open();
    let refused = store.commit(&app("one"), &batch(1, "{}"), None).await.unwrap_err();
    assert!(refused.to_string().contains("store.min_free"), "{refused}");
    store.put_app(&app("one"), vec![1]).await.unwrap();
    assert_eq!(store.trouble(), None);
}

#[tokio::test]
async fn progress_that_cannot_be_written_is_kept_and_said_to_be_in_trouble() {
    let place = Place::new();
    let store = place.open();
    let (one, batch) = (app("one"), batch(4, "{}"));
    let id = commit(&store, &one, &batch).await;
    store.settle(&span(id, &batch, 0..1));
    store.move_feedback_cursor(&one, &source("a"), Cursor(9));
    fail_commits(&store, SQLITE_IOERR, 1);
    let loaded = store.load(&one, BatchId(0), 1).await;
    assert!(matches!(loaded, Err(StoreError::Io(_))));
    assert!(matches!(store.trouble(), Some(StoreError::Io(_))));
    assert_eq!(store.feedback_cursor(&one, &source("a")).await, Ok(Cursor(9)));
    store.settle(&span(id, &batch, 1..2));
    assert_eq!(all(&store, &one).await[0].rows, vec![Range { start: 2, end: 4 }]);
    assert_eq!(store.trouble(), None);
    assert_eq!(store.feedback_cursor(&one, &source("a")).await, Ok(Cursor(9)));
}

#[tokio::test]
async fn notifications_are_traced_also_while_progress_cannot_be_written() {
    let place = Place::new();
    let store = place.open();
    let (one, batch) = (app("one"), batch(1, "{}"));
    let span = span(commit(&store, &one, &batch).await, &batch, 0..1);
    store.log_outcome(&one, &span, Logged::Accepted, Timestamp::from_secs(9));
    store.settle(&span);
    fail_commits(&store, SQLITE_IOERR, 1);
    let traced = store.trace(TokenPrefix::parse("0000").unwrap(), Visible::default(), 9).await.unwrap();
    let events: Vec<Event> = traced.into_iter().map(|traced| traced.event).collect();
    assert_eq!(events, [Event::Logged(Logged::Accepted), Event::Waiting]);
    assert!(store.trouble().is_some());
}

#[tokio::test]
async fn closing_says_what_could_not_be_written() {
    let place = Place::new();
    let store = place.open();
    let (one, batch) = (app("one"), batch(1, "{}"));
    let id = commit(&store, &one, &batch).await;
    store.settle(&span(id, &batch, 0..1));
    fail_commits(&store, SQLITE_IOERR, 1);
    assert!(matches!(store.close().await, Err(StoreError::Io(_))));
    drop(store);
    assert_eq!(all(&place.open(), &one).await.len(), 1);
}

#[tokio::test]
async fn segments_of_a_call_that_went_away_are_deleted() {
    let place = Place::new();
    let store = place.open();
    let one = app("one");
    let large = batch(50_000, "{}");
    {
        let mut cut_off = std::pin::pin!(store.commit(&one, &large, None));
        assert!(futures_util::poll!(cut_off.as_mut()).is_pending());
    }
    assert_eq!(all(&store, &one).await, []);
    assert_eq!(count(&place, "segments"), 0);
    let id = commit(&store, &one, &large).await;
    let segments = count(&place, "segments");
    assert!(segments > 1);
    drop(store);
    beside(&place).execute("INSERT INTO segments VALUES (99, 0, x'00')", []).unwrap();
    let store = place.open();
    assert_eq!(count(&place, "segments"), segments);
    store.settle(&span(id, &large, 0..50_000));
    assert_eq!(all(&store, &one).await, []);
    assert_eq!(count(&place, "segments"), 0);
}

#[tokio::test]
async fn progress_is_written_by_time_and_goes_on_after_an_error() {
    let mut place = Place::new();
    place.settings.settle_flush = Duration::from_millis(1);
    let store = place.open();
    let (one, batch) = (app("one"), batch(9, "{}"));
    let id = commit(&store, &one, &batch).await;
    fail_commits(&store, SQLITE_IOERR, 1);
    store.settle(&span(id, &batch, 0..5));
    let written = async {
        while count(&place, "progress") == 0 {
            place.clock.sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), written).await.unwrap();
    drop(store);
    assert_eq!(all(&place.open(), &one).await[0].rows, vec![Range { start: 5, end: 9 }]);
}

#[tokio::test]
async fn a_settled_batch_leaves_nothing_of_its_progress() {
    let place = Place::new();
    let store = place.open();
    let (one, batch) = (app("one"), batch(9, "{}"));
    for last in [5..9, 0..9] {
        let id = commit(&store, &one, &batch).await;
        store.settle(&span(id, &batch, 0..5));
        all(&store, &one).await;
        assert_eq!(count(&place, "progress"), 1);
        store.settle(&span(id, &batch, last));
        all(&store, &one).await;
        assert_eq!((count(&place, "progress"), count(&place, "batches")), (0, 0));
    }
}

#[tokio::test]
async fn what_is_too_old_and_pages_that_are_free_are_given_back() {
    let place = Place::new();
    let store = place.open();
    let (one, large) = (app("one"), batch(30_000, "{}"));
    store.reject(vec![rejection(&one, 1)], &[]).await.unwrap();
    store.append_feedback(&source("a"), vec![feedback(1)]).await.unwrap();
    for _ in 0..20 {
        let id = commit(&store, &one, &large).await;
        store.settle(&span(id, &large, 0..15_000));
    }
    for stored in all(&store, &one).await {
        store.settle(&span(stored.id, &large, 15_000..30_000));
    }
    store.close().await.unwrap();
    drop(store);
    let pages = || -> i64 { beside(&place).query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap() };
    let pages_before = pages();
    place.clock.set_wall(place.clock.timestamp().plus(place.settings.feedback_age * 2));
    let store = place.open();
    commit(&store, &one, &batch(1, "{}")).await;
    all(&store, &one).await;
    store.close().await.unwrap();
    assert_eq!((count(&place, "rejections"), count(&place, "feedback")), (0, 0));
    assert!(pages() <= pages_before - 500, "{} of {pages_before} pages", pages());
}
