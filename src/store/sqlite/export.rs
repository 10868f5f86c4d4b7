//! Reads apps from a state directory that may be in use by a running daemon, or by none. Writes nothing there but what
//! SQLite itself needs to read beside a writer (`apnsd.db-shm`).

use std::io;
use std::path::Path;

use super::{read, schema};
use crate::domain::app::AppId;
use crate::store::{OpenError, StoreError};

/// All apps with their bodies, by id, from the files of a state directory that this program knows.
pub fn read_apps(dir: &Path) -> Result<Vec<(AppId, Vec<u8>)>, OpenError> {
    let path = dir.join("apnsd.db");
    // SQLite's own words do not tell a file that is not there from one that may not be read. Nothing is opened here:
    // closing a file drops the locks that this process has on it.
    let found = path.metadata().and_then(|file| match file.is_file() {
        true => rustix::fs::access(&path, rustix::fs::Access::READ_OK).map_err(io::Error::from),
        false => Err(io::Error::other("not a regular file")),
    });
    found.map_err(|error| OpenError::Io { path: path.clone(), error })?;
    let connection = schema::open_reader(&path).map_err(|error| schema::open_error(&path, &error))?;
    schema::known_version(&connection, &path)?;
    read::apps(&connection).map_err(|problem| match problem.of_query() {
        StoreError::Corrupt(problem) => OpenError::Corrupt { path, problem },
        StoreError::Io(problem) => OpenError::Sqlite { path, problem },
        other @ (StoreError::Full { .. } | StoreError::Gone { .. } | StoreError::TooLarge(_) | StoreError::Closed) => {
            OpenError::Sqlite { path, problem: other.to_string() }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rusqlite::Connection;

    use super::*;
    use crate::clock::Clock;
    use crate::store::{Kind, Settings, Store};

    fn app(id: &str) -> AppId {
        AppId::parse(id).unwrap()
    }

    fn open(dir: &Path) -> Store {
        let settings = Settings { kind: Kind::Sqlite, dir: dir.to_owned(), ..Settings::default() };
        Store::open(&settings, Clock::system()).unwrap()
    }

    #[tokio::test]
    async fn apps_are_read_beside_a_running_daemon_after_a_crash_and_when_none_runs() {
        let dir = tempfile::tempdir().unwrap();
        let both = vec![(app("a"), b"one".to_vec()), (app("b"), b"two".to_vec())];
        let store = open(dir.path());
        assert_eq!(read_apps(dir.path()).unwrap(), []);
        for (app, body) in &both {
            store.put_app(app, body.clone()).await.unwrap();
        }
        assert_eq!(read_apps(dir.path()).unwrap(), both, "beside the writer");
        store.put_app(&app("c"), b"three".to_vec()).await.unwrap();
        drop(store);
        assert_eq!(read_apps(dir.path()).unwrap().len(), 3, "from what a crash left");
        let store = open(dir.path());
        store.remove_app(&app("c")).await.unwrap();
        store.close().await.unwrap();
        assert_eq!(read_apps(dir.path()).unwrap(), both, "from closed files");
        let store = open(dir.path());
        assert_eq!(store.apps().await.unwrap(), both, "and nothing is in the way of the next daemon");
    }

    #[test]
    fn what_is_no_store_is_told_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let error = read_apps(dir.path()).unwrap_err();
        assert!(matches!(&error, OpenError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        fs::write(dir.path().join("apnsd.db"), [b'x'; 4096]).unwrap();
        let error = read_apps(dir.path()).unwrap_err();
        assert!(matches!(&error, OpenError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("file is not a database"), "{error}");
        fs::remove_file(dir.path().join("apnsd.db")).unwrap();
        let theirs = Connection::open(dir.path().join("apnsd.db")).unwrap();
        theirs.execute_batch("CREATE TABLE apps (a)").unwrap();
        let error = read_apps(dir.path()).unwrap_err();
        assert!(error.to_string().contains("it belongs to another program"), "{error}");
    }

    #[tokio::test]
    async fn a_store_of_a_newer_apnsd_is_named_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).close().await.unwrap();
        let path = dir.path().join("apnsd.db");
        let newer = Connection::open(&path).unwrap();
        newer.pragma_update(None, "user_version", 99).unwrap();
        newer.close().unwrap();
        let before = fs::read(&path).unwrap();
        let error = read_apps(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 99, known: 1, .. }), "{error}");
        assert!(fs::read(&path).unwrap() == before);
    }
}
