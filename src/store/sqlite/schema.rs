//! The tables, their versions, and the checks that a file passes before it is used.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tracing::warn;

use crate::domain::time::Timestamp;
use crate::store::OpenError;
use crate::store::settings::Durability;

/// `apns`: marks the file as a store of this program (`PRAGMA application_id`).
const APPLICATION_ID: i64 = 0x6170_6e73;

/// Changes of the schema, in order: a file of version n (`PRAGMA user_version`) has had the first n. What was released
/// is never changed; a new version is a new entry at the end.
const MIGRATIONS: &[&str] = &[include_str!("schema_1.sql")];

/// Files up to this size are checked whole when they are opened; greater ones would delay the start.
const CHECKED_BYTES_MAX: i64 = 64 << 20;

/// A due time further ahead than this is one that a clock gave which was set back since.
const DUE_AHEAD_MAX: Duration = Duration::from_secs(60 * 60);

/// Somebody may look at the file with the sqlite3 shell.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the one connection that writes, makes or updates the tables, and checks the file.
pub(super) fn open_writer(path: &Path, durability: Durability) -> Result<Connection, OpenError> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let mut connection = connection.map_err(|error| open_error(path, &error))?;
    prepare(&mut connection, path, durability)?;
    Ok(connection)
}

/// Opens a connection that reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.pragma_update(None, "cache_size", -512)?;
    Ok(connection)
}

/// Deletes segments that no batch refers to, left by a call that was cut off; the first stage that is free.
pub(super) fn clear_segments(connection: &Connection, path: &Path) -> Result<i64, OpenError> {
    let clear = "DELETE FROM segments WHERE stage NOT IN (SELECT stage FROM batches WHERE stage IS NOT NULL)";
    let free = "SELECT coalesce(max(stage), 0) + 1 FROM segments";
    let cleared = connection.execute(clear, []).and_then(|_| connection.query_row(free, [], |row| row.get(0)));
    cleared.map_err(|error| open_error(path, &error))
}

/// Brings due times that are further ahead than [`DUE_AHEAD_MAX`] back to it.
pub(super) fn bring_due_times_back(connection: &Connection, path: &Path, now: Timestamp) -> Result<(), OpenError> {
    let latest = now.plus(DUE_AHEAD_MAX).as_millis();
    let sql = "UPDATE batches SET due = ?1 WHERE app IN (SELECT key FROM names) AND due > ?1";
    let moved = connection.execute(sql, [latest]);
    match moved.map_err(|error| open_error(path, &error))? {
        0 => (),
        moved => warn!("the clock was set back: {moved} deferred batches are tried in an hour at the latest"),
    }
    Ok(())
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

fn prepare(connection: &mut Connection, path: &Path, durability: Durability) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| open_error(path, &error);
    let found = known_version(connection, path)?;
    let pages = number(connection, "page_count").map_err(failed)?;
    if pages.saturating_mul(number(connection, "page_size").map_err(failed)?) <= CHECKED_BYTES_MAX {
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
        if verdict != "ok" {
            return Err(OpenError::Corrupt { path: path.to_owned(), problem: one_line(&verdict) });
        }
    }
    set_up(connection, durability).map_err(failed)?;
    migrate(connection, found).map_err(failed)
}

/// The version of a file's schema, 0 for an empty file. An error if the file is another program's, or this one does not
/// know the version.
pub(super) fn known_version(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    let failed = |error: rusqlite::Error| open_error(path, &error);
    let corrupt = |problem: String| OpenError::Corrupt { path: path.to_owned(), problem };
    let application = number(connection, "application_id").map_err(failed)?;
    let version = number(connection, "user_version").map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(corrupt("it belongs to another program".to_owned()));
    }
    let found = u32::try_from(version).map_err(|_| corrupt(format!("schema version {version}")))?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    match found > known {
        true => Err(OpenError::Newer { path: path.to_owned(), found, known }),
        false => Ok(found),
    }
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

fn set_up(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    // Takes effect only on an empty file: free pages can then be given back to the file system bit by bit.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Relaxed => "NORMAL",
        Durability::None => "OFF",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "cache_size", -6144)?;
    connection.pragma_update(None, "wal_autocheckpoint", 1000)?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)
}

fn migrate(connection: &mut Connection, found: u32) -> rusqlite::Result<()> {
    for (version, migration) in (1_i64..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

pub(super) fn open_error(path: &Path, error: &rusqlite::Error) -> OpenError {
    let problem = one_line(&error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            OpenError::Corrupt { path: path.to_owned(), problem }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Sqlite {
            path: path.to_owned(),
            problem: format!(
                "{problem}: another program has it open (a backup, sqlite3): end that one and start again"
            ),
        },
        Some(_) | None => OpenError::Sqlite { path: path.to_owned(), problem },
    }
}

/// SQLite's words may be in several lines.
fn one_line(words: &str) -> String {
    words.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn words_of_sqlite_are_one_line_with_the_cure_where_one_is_known() {
        let told = |code, words: &str| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(words.to_owned()));
            open_error(Path::new("/state/apnsd.db"), &error).to_string()
        };
        assert_eq!(
            told(ffi::SQLITE_BUSY, "database is locked"),
            "/state/apnsd.db: database is locked: another program has it open (a backup, sqlite3): end that one and \
             start again"
        );
        assert_eq!(told(ffi::SQLITE_IOERR, "disk I/O error\n  in x\n"), "/state/apnsd.db: disk I/O error, in x");
    }
}
