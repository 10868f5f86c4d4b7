//! What every kind of store does. Durable ones are also closed and opened again where that must change nothing.

use std::sync::Mutex;
use std::time::Duration;

use super::*;

/// Runs a check on an empty store of each kind.
pub(super) async fn on_each(check: impl AsyncFn(&Place, Store)) {
    let place = Place::new();
    check(&place, place.memory()).await;
    let place = Place::new();
    check(&place, place.open()).await;
}

/// The same store, closed and opened again if it can be.
pub(super) async fn reopened(place: &Place, store: Store) -> Store {
    match &store {
        Store::Memory(_) => store,
        Store::Sqlite(_) => {
            store.close().await.unwrap();
            drop(store);
            place.open()
        }
    }
}

#[tokio::test]
async fn batches_are_loaded_in_the_order_of_their_commits_each_for_its_app() {
    on_each(async |place, store| {
        let (one, two) = (app("one"), app("two"));
        let batches = [batch(1, "0"), batch(2, "1"), batch(3, "2")];
        let first = commit(&store, &one, &batches[0]).await;
        let other = commit(&store, &two, &batches[1]).await;
        let second = commit(&store, &one, &batches[2]).await;
        assert!(first < other && other < second);
        let store = reopened(place, store).await;
        let loaded = all(&store, &one).await;
        assert_eq!(loaded.iter().map(|stored| stored.id).collect::<Vec<_>>(), [first, second]);
        assert_eq!(loaded[1].batch, batches[2]);
        assert_eq!(loaded[1].rows, vec![Range { start: 0, end: 3 }]);
        assert_eq!((loaded[1].due, loaded[1].tries), (None, Tries::default()));
        assert_eq!(store.load(&one, first, usize::MAX).await.unwrap().len(), 1);
        assert_eq!(all(&store, &app("three")).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_load_stops_once_its_bytes_are_full_and_gives_one_batch_at_least() {
    on_each(async |_, store| {
        let one = app("one");
        let batch = batch(10, "{}");
        for _ in 0..4 {
            commit(&store, &one, &batch).await;
        }
        assert_eq!(store.load(&one, BatchId(0), 0).await.unwrap().len(), 1);
        assert_eq!(store.load(&one, BatchId(0), batch.memory()).await.unwrap().len(), 1);
        assert_eq!(store.load(&one, BatchId(0), batch.memory() + 1).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn settled_rows_are_left_out_and_a_settled_batch_is_gone_and_its_id_never_used_again() {
    on_each(async |place, store| {
        let one = app("one");
        let batch = batch(20, "{}");
        let id = commit(&store, &one, &batch).await;
        store.settle(&span(id, &batch, 3..5));
        store.settle(&span(id, &batch, 5..6));
        store.settle(&span(id, &batch, 19..20));
        assert_eq!(all(&store, &one).await[0].rows, vec![0..3, 6..19]);
        let store = reopened(place, store).await;
        assert_eq!(all(&store, &one).await[0].rows, vec![0..3, 6..19]);
        store.settle(&span(id, &batch, 0..20));
        store.settle(&span(id, &batch, 0..20));
        assert_eq!(all(&store, &one).await, []);
        let store = reopened(place, store).await;
        assert!(commit(&store, &one, &batch).await > id);
    })
    .await;
}

#[tokio::test]
async fn a_batch_without_rows_is_accepted_and_gone() {
    on_each(async |_, store| {
        commit(&store, &app("one"), &batch(0, "{}")).await;
        assert_eq!(all(&store, &app("one")).await, []);
        assert_eq!(store.backlogs().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn deferred_rows_leave_their_batch_for_one_of_their_own() {
    on_each(async |place, store| {
        let one = app("one");
        let batch = batch(10, "{}");
        let id = commit(&store, &one, &batch).await;
        let tries = Tries { unknown: 1, alone: 0, transient: 2 };
        let due = Timestamp::from_secs(1_000_060);
        let deferred = store.defer(&one, &span(id, &batch, 4..6).with_tries(tries), due).await.unwrap();
        assert_eq!((deferred.rows.clone(), deferred.tries), (0..2, tries));
        assert_eq!(deferred.batch.notification(0).token, batch.notification(4).token);
        let store = reopened(place, store).await;
        let left = fresh(&store, &one).await;
        assert_eq!((left.len(), left[0].rows.clone()), (1, vec![0..4, 6..10]));
        let loaded = super::deferred(&store, &one).await;
        assert_eq!((loaded[0].id, loaded[0].due, loaded[0].tries), (deferred.id, Some(due), tries));
        assert_eq!(loaded[0].batch, deferred.batch);
        store.settle(&deferred);
        assert_eq!(super::deferred(&store, &one).await, []);
    })
    .await;
}

#[tokio::test]
async fn deferred_batches_are_loaded_by_due_time_and_id_and_the_next_one_is_named() {
    on_each(async |place, store| {
        let (one, at) = (app("one"), |second: i64| Timestamp::from_secs(1_000_000 + second));
        let batch = batch(10, "{}");
        let id = commit(&store, &one, &batch).await;
        let mut ids = Vec::new();
        for (row, due) in (0..).zip([30, 10, 20, 10]) {
            ids.push(store.defer(&one, &span(id, &batch, row..row + 1), at(due)).await.unwrap().id);
        }
        store.defer(&app("two"), &span(id, &batch, 9..10), at(5)).await.unwrap();
        let store = reopened(place, store).await;
        let load = async |after, until, bytes| {
            let due = store.load_due(&one, after, until, bytes).await.unwrap();
            (due.stored.iter().map(|stored| stored.id).collect::<Vec<_>>(), due.next)
        };
        assert_eq!(load(BEGINNING, at(9), usize::MAX).await, (vec![], Some(at(10))));
        assert_eq!(load(BEGINNING, at(20), usize::MAX).await, (vec![ids[1], ids[3], ids[2]], Some(at(30))));
        assert_eq!(load(BEGINNING, at(20), 0).await, (vec![ids[1]], Some(at(10))));
        assert_eq!(load((at(10), ids[1]), at(20), 1).await, (vec![ids[3]], Some(at(20))));
        assert_eq!(load((at(10), ids[3]), at(10), 1).await, (vec![], Some(at(20))));
        assert_eq!(load((at(10), ids[3]), EVER, usize::MAX).await, (vec![ids[2], ids[0]], None));
        assert_eq!(load((at(30), ids[0]), EVER, usize::MAX).await, (vec![], None));
        assert_eq!(
            store.load_due(&app("three"), BEGINNING, EVER, 1).await.unwrap(),
            Due { stored: vec![], next: None }
        );
    })
    .await;
}

#[tokio::test]
async fn settled_rows_of_deferred_batches_are_left_out() {
    on_each(async |_, store| {
        let (one, due) = (app("one"), Timestamp::from_secs(1_000_060));
        let batch = batch(10, "{}");
        let id = commit(&store, &one, &batch).await;
        let first = store.defer(&one, &span(id, &batch, 0..5), due).await.unwrap();
        let second = store.defer(&one, &span(id, &batch, 5..10), due).await.unwrap();
        store.settle(&Span { rows: 1..3, ..second.clone() });
        store.settle(&first);
        let loaded = deferred(&store, &one).await;
        assert_eq!((loaded.len(), loaded[0].id, loaded[0].rows.clone()), (1, second.id, vec![0..1, 3..5]));
    })
    .await;
}

#[tokio::test]
async fn rows_that_were_settled_too_early_come_back() {
    on_each(async |_, store| {
        let one = app("one");
        let batch = batch(3, "{}");
        let id = commit(&store, &one, &batch).await;
        store.settle(&span(id, &batch, 0..3));
        assert_eq!(all(&store, &one).await, []);
        let back = store.readmit_then(&one, &span(id, &batch, 1..3), |_| ()).await.unwrap();
        let loaded = fresh(&store, &one).await;
        assert_eq!((loaded[0].id, loaded[0].due), (back.id, None));
        assert_eq!(loaded[0].rows, vec![Range { start: 0, end: 2 }]);
        assert_eq!(loaded[0].batch.notification(0).token, batch.notification(1).token);
    })
    .await;
}

#[tokio::test]
async fn a_large_batch_comes_back_whole_and_goes_whole() {
    on_each(async |place, store| {
        let one = app("one");
        let large = batch(50_000, "{}");
        let id = commit(&store, &one, &large).await;
        commit(&store, &one, &batch(1, "{}")).await;
        let deferred = store.defer(&one, &span(id, &large, 0..20_000), Timestamp::from_secs(5)).await.unwrap();
        let store = reopened(place, store).await;
        let loaded = all(&store, &one).await;
        assert_eq!(loaded[0].batch, large);
        assert_eq!(loaded[0].rows, vec![Range { start: 20_000, end: 50_000 }]);
        assert_eq!(loaded[2].batch, deferred.batch);
        store.settle(&span(id, &large, 20_000..50_000));
        store.settle(&deferred);
        assert_eq!(all(&store, &one).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn backlogs_count_what_is_not_settled() {
    on_each(async |place, store| {
        let (one, two) = (app("one"), app("two"));
        let batch = batch(10, "{}");
        let id = commit(&store, &two, &batch).await;
        commit(&store, &two, &batch).await;
        commit(&store, &one, &batch).await;
        store.settle(&span(id, &batch, 0..4));
        let backlog = |app: &AppId, rows, newest| {
            let oldest = Timestamp::from_secs(1_000_000);
            Backlog { app: app.clone(), rows, deferred: 0, oldest, newest: BatchId(newest), next_due: None }
        };
        let expected = [backlog(&one, 10, 3), backlog(&two, 16, 2)];
        assert_eq!(store.backlogs().await.unwrap(), expected);
        assert_eq!(reopened(place, store).await.backlogs().await.unwrap(), expected);
    })
    .await;
}

#[tokio::test]
async fn backlogs_name_the_last_fresh_batch_and_the_earliest_due_time() {
    on_each(async |place, store| {
        let (one, batch, at) = (app("one"), batch(3, "{}"), |second: i64| Timestamp::from_secs(1_000_000 + second));
        let id = commit(&store, &one, &batch).await;
        store.defer(&one, &span(id, &batch, 0..1), at(60)).await.unwrap();
        let first_due = store.defer(&one, &span(id, &batch, 1..2), at(30)).await.unwrap();
        store.settle(&Span { rows: 0..1, ..first_due.clone() });
        let (oldest, next_due) = (at(0), Some(at(60)));
        let expected = Backlog { app: one.clone(), rows: 2, deferred: 1, oldest, newest: id, next_due };
        assert_eq!(store.backlogs().await.unwrap(), std::slice::from_ref(&expected));
        store.settle(&span(id, &batch, 2..3));
        let store = reopened(place, store).await;
        let expected = Backlog { rows: 1, newest: BatchId(0), ..expected };
        assert_eq!(store.backlogs().await.unwrap(), [expected]);
    })
    .await;
}

#[tokio::test]
async fn only_the_store_in_memory_is_lost_with_the_process() {
    on_each(async |_, store| assert_eq!(store.is_durable(), matches!(store, Store::Sqlite(_)))).await;
}

#[tokio::test]
async fn a_repeated_call_has_no_second_effect_for_15_minutes_and_is_forgotten_after_30() {
    on_each(async |place, store| {
        let (one, two) = (app("one"), app("two"));
        let batch = batch(1, "{}");
        let ask = async |store: &Store, app: &AppId, key| store.commit(app, &batch, Some(key)).await.unwrap();
        let known = async |store: &Store, app: &AppId, key| store.requested(app, key).await.unwrap();
        assert_eq!(known(&store, &one, key(1, 1)).await, None);
        assert!(matches!(ask(&store, &one, key(1, 1)).await, Commit::Accepted(_)));
        assert_eq!(known(&store, &one, key(1, 1)).await, Some(Commit::Repeated));
        assert_eq!(known(&store, &one, key(1, 2)).await, Some(Commit::Conflict));
        assert_eq!((known(&store, &two, key(1, 1)).await, known(&store, &one, key(2, 1)).await), (None, None));
        assert_eq!(ask(&store, &one, key(1, 1)).await, Commit::Repeated);
        assert_eq!(ask(&store, &one, key(1, 2)).await, Commit::Conflict);
        assert!(matches!(ask(&store, &two, key(1, 2)).await, Commit::Accepted(_)));
        assert!(matches!(ask(&store, &one, key(2, 1)).await, Commit::Accepted(_)));
        assert_eq!(all(&store, &one).await.len(), 2);
        let store = reopened(place, store).await;
        place.clock.set_wall(Timestamp::from_secs(1_000_000 + 29 * 60));
        assert_eq!(ask(&store, &one, key(1, 1)).await, Commit::Repeated);
        assert!(matches!(ask(&store, &one, key(3, 1)).await, Commit::Accepted(_)));
        assert_eq!(known(&store, &one, key(1, 1)).await, Some(Commit::Repeated));
        place.clock.set_wall(Timestamp::from_secs(1_000_000 + 45 * 60));
        assert_eq!(known(&store, &one, key(1, 1)).await, None);
        assert_eq!(known(&store, &one, key(3, 1)).await, Some(Commit::Repeated));
        assert!(matches!(ask(&store, &one, key(1, 1)).await, Commit::Accepted(_)));
        assert_eq!(ask(&store, &one, key(3, 1)).await, Commit::Repeated);
        let store = reopened(place, store).await;
        place.clock.set_wall(Timestamp::from_secs(1_000_000 + 90 * 60));
        assert_eq!(known(&store, &one, key(3, 1)).await, None);
        assert!(matches!(ask(&store, &one, key(3, 9)).await, Commit::Accepted(_)));
    })
    .await;
}

#[tokio::test]
async fn batches_are_announced_one_by_one_in_the_order_of_their_ids() {
    on_each(async |_, store| {
        let announced = Arc::new(Mutex::new(Vec::new()));
        let early = batch(200, "{}");
        let early = span(commit(&store, &app("one"), &early).await, &early, 0..200);
        store.settle(&early);
        let calls = (0..200).map(|n| {
            let (store, announced) = (store.clone(), Arc::clone(&announced));
            let early = Span { rows: n..n + 1, ..early.clone() };
            async move {
                let then = move |id| announced.lock().unwrap().push(id);
                if n % 4 == 0 {
                    return store.readmit_then(&app("one"), &early, then).await.unwrap().id;
                }
                let app = app(if n % 3 == 0 { "one" } else { "two" });
                let Commit::Accepted(id) = store.commit_then(&app, &batch(1, "{}"), None, then).await.unwrap() else {
                    panic!("not accepted");
                };
                id
            }
        });
        let accepted = futures_util::future::join_all(calls).await;
        let announced = announced.lock().unwrap().clone();
        assert!(announced.is_sorted());
        assert_eq!(announced.len(), 200);
        assert!(accepted.iter().all(|id| announced.contains(id)));
    })
    .await;
}

#[tokio::test]
async fn rows_come_back_and_are_announced_also_when_the_caller_is_gone() {
    on_each(async |_, store| {
        let (one, batch) = (app("one"), batch(2, "{}"));
        let id = commit(&store, &one, &batch).await;
        let (announce, announced) = std::sync::mpsc::channel();
        {
            let early = span(id, &batch, 0..1);
            let then = move |id| announce.send(id).unwrap();
            let mut cut_off = std::pin::pin!(store.readmit_then(&one, &early, then));
            assert_eq!(futures_util::poll!(cut_off.as_mut()).is_ready(), !store.is_durable());
        }
        let ids: Vec<BatchId> = fresh(&store, &one).await.iter().map(|stored| stored.id).collect();
        assert_eq!(ids, [id, announced.recv().unwrap()]);
    })
    .await;
}

#[tokio::test]
async fn apps_are_kept_replaced_and_removed() {
    on_each(async |place, store| {
        store.put_app(&app("two"), b"2".to_vec()).await.unwrap();
        store.put_app(&app("one"), b"1".to_vec()).await.unwrap();
        store.put_app(&app("two"), b"3".to_vec()).await.unwrap();
        let store = reopened(place, store).await;
        assert_eq!(store.apps().await.unwrap(), [(app("one"), b"1".to_vec()), (app("two"), b"3".to_vec())]);
        store.remove_app(&app("one")).await.unwrap();
        store.remove_app(&app("three")).await.unwrap();
        assert_eq!(store.apps().await.unwrap(), [(app("two"), b"3".to_vec())]);
    })
    .await;
}

#[tokio::test]
async fn rejections_are_read_by_cursor_up_to_their_number_and_age() {
    on_each(async |place, store| {
        let (one, two) = (app("one"), app("two"));
        let mixed = vec![rejection(&one, 1), rejection(&two, 2), rejection(&one, 3)];
        store.reject(mixed, &[]).await.unwrap();
        let store = reopened(place, store).await;
        let page = store.rejections_after(&one, Cursor(0), 10).await.unwrap();
        assert_eq!(page, Page { entries: vec![rejection(&one, 1), rejection(&one, 3)], next: Cursor(2) });
        assert_eq!(store.rejections_after(&one, Cursor(1), 10).await.unwrap().entries, [rejection(&one, 3)]);
        assert_eq!(store.latest_rejections(&one, 1).await.unwrap(), [rejection(&one, 3)]);
        assert_eq!(store.latest_rejections(&one, 9).await.unwrap(), [rejection(&one, 1), rejection(&one, 3)]);
        assert_eq!(store.latest_rejections(&app("three"), 9).await.unwrap(), []);
        let more = (10..15).map(|row| rejection(&one, row)).collect();
        store.reject(more, &[]).await.unwrap();
        let page = store.rejections_after(&one, Cursor(0), 2).await.unwrap();
        assert_eq!(page, Page { entries: vec![rejection(&one, 10), rejection(&one, 11)], next: Cursor(4) });
        assert_eq!(store.rejections_after(&one, Cursor(99), 1).await.unwrap().next, Cursor(3));
        assert!(store.has_rejections(&two).await.unwrap());
        place.clock.set_wall(place.clock.timestamp().plus(place.settings.rejections_age + Duration::from_millis(1)));
        assert!(!store.has_rejections(&one).await.unwrap());
        store.reject(vec![rejection(&one, 20)], &[]).await.unwrap();
        let page = store.rejections_after(&one, Cursor(0), 10).await.unwrap();
        assert_eq!(page, Page { entries: vec![rejection(&one, 20)], next: Cursor(8) });
    })
    .await;
}

#[tokio::test]
async fn feedback_is_shared_by_apps_that_each_have_their_cursor() {
    on_each(async |place, store| {
        let (one, two) = (app("one"), app("two"));
        store.append_feedback(&source("a"), vec![feedback(1), feedback(2)]).await.unwrap();
        store.append_feedback(&source("b"), vec![feedback(3)]).await.unwrap();
        let page = store.feedback_after(&source("a"), Cursor(0), 1).await.unwrap();
        assert_eq!(page, Page { entries: vec![feedback(1)], next: Cursor(1) });
        store.move_feedback_cursor(&one, &source("a"), Cursor(2));
        assert_eq!(store.feedback_cursor(&one, &source("a")).await.unwrap(), Cursor(2));
        let store = reopened(place, store).await;
        assert_eq!(store.feedback_cursor(&one, &source("a")).await.unwrap(), Cursor(2));
        assert_eq!(store.feedback_cursor(&two, &source("a")).await.unwrap(), Cursor(0));
        assert_eq!(store.feedback_cursor(&one, &source("b")).await.unwrap(), Cursor(0));
        store.append_feedback(&source("a"), (4..8).map(feedback).collect()).await.unwrap();
        let page = store.feedback_after(&source("a"), Cursor(0), usize::MAX).await.unwrap();
        assert_eq!((page.entries.len(), page.entries[0].clone(), page.next), (5, feedback(2), Cursor(6)));
        place.clock.set_wall(place.clock.timestamp().plus(place.settings.feedback_age + Duration::from_millis(1)));
        let page = store.feedback_after(&source("a"), Cursor(0), usize::MAX).await.unwrap();
        assert_eq!(page, Page { entries: vec![], next: Cursor(6) });
    })
    .await;
}
