//! The state directory: who may read it, who may use it, and files that are not what they should be.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rusqlite::Connection;

use super::*;

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn open_error(place: &Place) -> OpenError {
    Store::open(&place.settings, place.clock.clone()).unwrap_err()
}

#[tokio::test]
async fn nobody_else_may_read_the_directory_or_a_file_in_it() {
    let place = Place::new();
    let store = place.open();
    commit(&store, &app("one"), &batch(1, "{}")).await;
    assert_eq!(mode(&place.settings.dir), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&place.settings.dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["apnsd.db", "apnsd.db-shm", "apnsd.db-wal", "apnsd.lock", "apnsd.reserve"]);
}

#[tokio::test]
async fn a_second_store_in_the_directory_is_refused_until_the_first_is_closed() {
    let place = Place::new();
    let store = place.open();
    assert!(matches!(open_error(&place), OpenError::Locked { .. }));
    store.close().await.unwrap();
    drop(place.open());
    drop(place.open());
}

#[tokio::test]
async fn every_durability_keeps_what_was_answered() {
    for durability in [Durability::Full, Durability::Relaxed, Durability::None] {
        let mut place = Place::new();
        place.settings.durability = durability;
        let store = place.open();
        commit(&store, &app("one"), &batch(1, "{}")).await;
        drop(store);
        let store = place.open();
        assert_eq!(all(&store, &app("one")).await.len(), 1, "{durability:?}");
    }
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let place = Place::new();
    let store = place.open();
    let batch = batch(1, "{}");
    let id = commit(&store, &app("one"), &batch).await;
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(store.commit(&app("one"), &batch, None).await, Err(StoreError::Closed));
    assert_eq!(store.load(&app("one"), BatchId(0), 1).await, Err(StoreError::Closed));
    assert_eq!(store.apps().await, Err(StoreError::Closed));
    store.settle(&span(id, &batch, 0..1));
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_its_number() {
    let place = Place::new();
    drop(place.open());
    let file = Connection::open(place.settings.dir.join("apnsd.db")).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    let error = open_error(&place);
    assert!(matches!(error, OpenError::Newer { found: 99, known: 1, .. }), "{error}");
}

#[test]
fn a_file_that_is_no_database_or_of_another_program_is_refused() {
    let place = Place::new();
    fs::create_dir_all(&place.settings.dir).unwrap();
    let path = place.settings.dir.join("apnsd.db");
    fs::write(&path, [b'x'; 9000]).unwrap();
    assert!(matches!(open_error(&place), OpenError::Corrupt { .. }));
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    assert!(matches!(open_error(&place), OpenError::Corrupt { .. }));
}

#[tokio::test]
async fn a_database_with_garbage_at_its_end_or_cut_off_is_refused() {
    for cut in [false, true] {
        let place = Place::new();
        let store = place.open();
        for _ in 0..50 {
            commit(&store, &app("one"), &batch(100, "{}")).await;
        }
        store.close().await.unwrap();
        drop(store);
        let path = place.settings.dir.join("apnsd.db");
        let mut bytes = fs::read(&path).unwrap();
        let tail = bytes.len() - 3 * 4096;
        if cut {
            bytes.truncate(tail)
        } else {
            bytes[tail..].fill(0xa5)
        }
        fs::write(&path, bytes).unwrap();
        let error = open_error(&place);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("restore it from a backup"), "{error}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let mut place = Place::new();
    fs::write(place.dir.path().join("file"), "").unwrap();
    place.settings.dir = place.dir.path().join("file/state");
    let error = open_error(&place);
    assert!(matches!(&error, OpenError::Io { path, .. } if *path == place.settings.dir), "{error}");
    let told = error.to_string();
    assert!(told.ends_with("(os error 20): state_dir must name a directory that is there or can be made"), "{told}");
}

#[tokio::test]
async fn due_times_of_a_clock_that_was_set_back_are_an_hour_ahead_at_most() {
    let place = Place::new();
    let (one, batch, now) = (app("one"), batch(3, "{}"), place.clock.timestamp());
    let at = |minutes: u64| now.plus(std::time::Duration::from_secs(minutes * 60));
    let store = place.open();
    let id = commit(&store, &one, &batch).await;
    for (row, due) in (0..).zip([at(60 * 24 * 365), at(61), at(60)]) {
        store.defer(&one, &span(id, &batch, row..row + 1), due).await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    let dues = async || -> Vec<(u64, Option<Timestamp>)> {
        let stored = deferred(&place.open(), &one).await;
        stored.into_iter().map(|stored| (stored.id.0, stored.due)).collect()
    };
    assert_eq!(dues().await, [(2, Some(at(60))), (3, Some(at(60))), (4, Some(at(60)))]);
    place.clock.set_wall(now.minus(std::time::Duration::from_secs(30 * 60)));
    assert_eq!(dues().await, [(2, Some(at(30))), (3, Some(at(30))), (4, Some(at(30)))]);
    place.clock.set_wall(at(10));
    assert_eq!(dues().await, [(2, Some(at(30))), (3, Some(at(30))), (4, Some(at(30)))]);
}

#[tokio::test]
async fn the_body_of_an_app_that_was_replaced_or_removed_is_in_no_file() {
    let place = Place::new();
    let secret = |app: usize, version: &str| format!("{version} secret of {app:04};").repeat(40 + app % 5 * 200);
    let name = |n: usize| app(&format!("app-{n}"));
    let leftovers = |text: &str| {
        let files = fs::read_dir(&place.settings.dir).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        files.map(|bytes| memchr::memmem::find_iter(&bytes, text.as_bytes()).count()).sum::<usize>()
    };
    let store = place.open();
    for n in 0..40 {
        store.put_app(&name(n), secret(n, "first").into_bytes()).await.unwrap();
    }
    assert!(leftovers("first secret of 0001") > 0);
    for n in 0..20 {
        store.put_app(&name(n), secret(n, "other").into_bytes()).await.unwrap();
    }
    for n in 10..40 {
        store.remove_app(&name(n)).await.unwrap();
    }
    store.close().await.unwrap();
    assert_eq!(leftovers("first secret"), 0);
    assert_eq!((leftovers("other secret of 0012"), leftovers("other secret of 0009") > 0), (0, true));
}

#[tokio::test]
async fn the_first_upkeep_empties_the_log_for_bodies_that_a_crash_left_there() {
    let place = Place::new();
    let store = place.open();
    // The first turn has an upkeep at its end; what is asked second is answered after it. Nobody reads meanwhile: the log
    // is not emptied under a reader.
    store.flush().await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(fs::metadata(place.settings.dir.join("apnsd.db-wal")).unwrap().len(), 0);
}

/// What is logged while a store is opened and dropped.
fn said(place: &Place) -> String {
    let path = place.dir.path().join("log");
    let log = Arc::new(fs::File::create(&path).unwrap());
    let lines = tracing_subscriber::fmt().without_time().with_ansi(false).with_target(false).with_writer(log);
    tracing::subscriber::with_default(lines.finish(), || drop(place.open()));
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_database_that_is_gone_from_a_directory_that_was_used_is_told() {
    let place = Place::new();
    assert_eq!(said(&place), "");
    assert_eq!(said(&place), "");
    let database = place.settings.dir.join("apnsd.db");
    fs::remove_file(&database).unwrap();
    let told = "has been used before, but apnsd.db is missing or empty: a new, empty store was made";
    assert!(said(&place).contains(told));
    fs::write(&database, "").unwrap();
    assert!(said(&place).contains(told));
}

#[test]
fn a_directory_that_is_in_use_is_locked_even_without_its_lock_file() {
    let place = Place::new();
    let store = place.open();
    fs::remove_file(place.settings.dir.join("apnsd.lock")).unwrap();
    assert!(matches!(open_error(&place), OpenError::Locked { .. }));
    drop(store);
    drop(place.open());
}

#[test]
fn a_directory_of_this_program_is_closed_to_others_and_one_with_other_files_told() {
    let place = Place::new();
    drop(place.open());
    let open_up = || fs::set_permissions(&place.settings.dir, fs::Permissions::from_mode(0o755)).unwrap();
    open_up();
    assert!(said(&place).contains(" had mode 0755: it has 0700 now"));
    assert_eq!(mode(&place.settings.dir), 0o700);
    open_up();
    fs::write(place.settings.dir.join("theirs"), "").unwrap();
    assert!(said(&place).contains("WARN") && mode(&place.settings.dir) == 0o755);
}
