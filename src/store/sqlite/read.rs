//! Queries, on a few connections that only read, away from the runtime's threads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tokio::sync::Semaphore;

use super::damaged::Damaged;
use super::problem::Problem;
use super::schema;
use crate::domain::app::AppId;
use crate::domain::batch::BatchId;
use crate::domain::feedback::{Cursor, FeedbackEntry, Page, Rejection};
use crate::domain::time::Timestamp;
use crate::store::progress::Progress;
use crate::store::record::{self, reason_of, tries_of};
use crate::store::requests::{Turn, turn};
use crate::store::{Backlog, Due, FeedbackSource, RequestKey, StoreError, Stored};

/// Queries at the same time.
const READERS_MAX: usize = 2;

/// The connections that read.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    /// One search at a time, beside the other queries.
    searches: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        Self { path, idle: Arc::default(), permits: permits(READERS_MAX), searches: permits(1) }
    }

    /// Runs a query, which sees one state of the store, on a thread that may wait.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (path, idle) = (self.path.clone(), Arc::clone(&self.idle));
        let run = move || -> Result<T, Problem> {
            let connection = lock(&idle).pop();
            let connection = connection.map_or_else(|| schema::open_reader(&path), Ok)?;
            let transaction = connection.unchecked_transaction()?;
            let answer = query(&transaction)?;
            drop(transaction);
            if !permit.semaphore().is_closed() {
                lock(&idle).push(connection);
            }
            Ok(answer)
        };
        answered(tokio::task::spawn_blocking(run).await)
    }

    /// As [`Readers::read`], for what may take seconds: on a connection of its own, so that other queries need not
    /// wait.
    pub(super) async fn search<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.searches).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let path = self.path.clone();
        let run = move || -> Result<T, Problem> {
            let connection = schema::open_reader(&path)?;
            let answer = query(&*connection.unchecked_transaction()?)?;
            drop(permit);
            Ok(answer)
        };
        answered(tokio::task::spawn_blocking(run).await)
    }

    /// Reads no more.
    pub(super) fn close(&self) {
        self.permits.close();
        self.searches.close();
        lock(&self.idle).clear();
    }
}

fn answered<T>(joined: Result<Result<T, Problem>, tokio::task::JoinError>) -> Result<T, StoreError> {
    match joined {
        Ok(answer) => answer.map_err(Problem::of_query),
        Err(stopped) => Err(StoreError::Io(stopped.to_string())),
    }
}

fn lock(idle: &Mutex<Vec<Connection>>) -> MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn apps(connection: &Connection) -> Result<Vec<(AppId, Vec<u8>)>, Problem> {
    let sql = "SELECT name, body FROM apps JOIN names ON key = app ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut apps = Vec::new();
    while let Some(row) = rows.next()? {
        apps.push((app_of(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?, row.get(1)?));
    }
    Ok(apps)
}

/// The content of the call that has this name, if there is one.
pub(super) fn requested(
    connection: &Connection,
    app: &AppId,
    request: RequestKey,
    now: Timestamp,
) -> Result<Option<[u8; 16]>, Problem> {
    let Some((key, _)) = name(connection, app)? else { return Ok(None) };
    let generation = "SELECT present, began FROM generations";
    let (present, began): (i64, i64) = connection.query_row(generation, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let generations = match turn(Timestamp::from_millis(began), now) {
        Turn::Keep => vec![present, 1 - present],
        Turn::Rotate => vec![present],
        Turn::Drop => Vec::new(),
    };
    for generation in generations {
        let sql = format!("SELECT content FROM requests_{generation} WHERE app = ? AND id = ?");
        let content = connection.query_row(&sql, params![key, request.id], |row| row.get(0)).optional()?;
        if content.is_some() {
            return Ok(content);
        }
    }
    Ok(None)
}

/// A batch that is damaged is left out, and takes none of `bytes_max`.
pub(super) fn load(
    connection: &Connection,
    damaged: &Damaged,
    app: &AppId,
    after: BatchId,
    bytes_max: usize,
) -> Result<Vec<Stored>, Problem> {
    let Some((key, _)) = name(connection, app)? else { return Ok(Vec::new()) };
    let mut statement = connection.prepare_cached(
        "SELECT id, rows, due, tries, stage, record, (SELECT bits FROM progress WHERE batch = id) \
         FROM batches INDEXED BY batches_by_lane WHERE app = ? AND due IS NULL AND id > ? ORDER BY id",
    )?;
    let mut rows = statement.query([key, i64::try_from(after.0).unwrap_or(i64::MAX)])?;
    let (mut stored, mut bytes) = (Vec::new(), 0);
    while bytes < bytes_max || stored.is_empty() {
        let Some(row) = rows.next()? else { break };
        match stored_of(connection, row) {
            Ok(one) => {
                bytes += one.batch.memory();
                stored.push(one);
            }
            Err(problem) => damaged.leave_out(Some(app), row, problem)?,
        }
    }
    Ok(stored)
}

/// As [`load`].
pub(super) fn load_due(
    connection: &Connection,
    damaged: &Damaged,
    app: &AppId,
    (after_due, after): (Timestamp, BatchId),
    until: Timestamp,
    bytes_max: usize,
) -> Result<Due, Problem> {
    let (mut stored, mut bytes) = (Vec::new(), 0);
    let Some((key, _)) = name(connection, app)? else { return Ok(Due { stored, next: None }) };
    // Not `(due, id) > (?, ?)`: for that SQLite searches by due alone, and many batches may be due at the same time.
    let mut statement = connection.prepare_cached(
        "SELECT id, rows, due, tries, stage, record, (SELECT bits FROM progress WHERE batch = id) \
         FROM batches INDEXED BY batches_by_lane WHERE app = ?1 AND due = ?2 AND id > ?3 \
         UNION ALL \
         SELECT id, rows, due, tries, stage, record, (SELECT bits FROM progress WHERE batch = id) \
         FROM batches INDEXED BY batches_by_lane WHERE app = ?1 AND due > ?2 ORDER BY due, id",
    )?;
    let mut rows = statement.query([key, after_due.as_millis(), i64::try_from(after.0).unwrap_or(i64::MAX)])?;
    while let Some(row) = rows.next()? {
        let due = Timestamp::from_millis(row.get(2)?);
        if due > until || (bytes >= bytes_max && !stored.is_empty()) {
            return Ok(Due { stored, next: Some(due) });
        }
        match stored_of(connection, row) {
            Ok(one) => {
                bytes += one.batch.memory();
                stored.push(one);
            }
            Err(problem) => damaged.leave_out(Some(app), row, problem)?,
        }
    }
    Ok(Due { stored, next: None })
}

/// The batch of a row: its id, rows, due time, tries, stage, record and progress.
pub(super) fn stored_of(connection: &Connection, row: &Row<'_>) -> Result<Stored, Problem> {
    let id: i64 = row.get(0)?;
    let failed = |error| Problem::Record { id, error };
    let batch = match row.get::<_, Option<i64>>(4)? {
        None => record::decode(row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?),
        Some(stage) => record::decode(&segments(connection, stage)?),
    };
    let batch = batch.map_err(failed)?;
    let progress = Progress::of(row.get(6)?, batch.rows()).filter(|_| row.get(1) == Ok(batch.rows()));
    Ok(Stored {
        id: BatchId(id.unsigned_abs()),
        rows: progress.ok_or(Problem::Progress { id })?.unsettled(),
        batch: Arc::new(batch),
        due: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_millis),
        tries: tries_of(row.get(3)?).map_err(failed)?,
    })
}

pub(super) fn segments(connection: &Connection, stage: i64) -> Result<Vec<u8>, Problem> {
    let mut statement = connection.prepare_cached("SELECT bytes FROM segments WHERE stage = ? ORDER BY number")?;
    let mut rows = statement.query([stage])?;
    let mut record = Vec::new();
    while let Some(row) = rows.next()? {
        record.extend_from_slice(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
    }
    Ok(record)
}

pub(super) fn backlogs(connection: &Connection) -> Result<Vec<Backlog>, Problem> {
    let mut statement = connection.prepare_cached(
        "WITH waiting AS (SELECT app, sum(rows) AS rows, min(accepted_at) AS oldest, \
         sum(rows) FILTER (WHERE due IS NOT NULL) AS deferred \
         FROM batches INDEXED BY batches_by_lane GROUP BY app), \
         done AS (SELECT app, sum(settled) AS rows, sum(settled) FILTER (WHERE due IS NOT NULL) AS deferred \
         FROM progress CROSS JOIN batches ON id = batch GROUP BY app) \
         SELECT name, waiting.rows - coalesce(done.rows, 0), oldest, \
         (SELECT max(id) FROM batches WHERE app = waiting.app AND due IS NULL), \
         (SELECT min(due) FROM batches WHERE app = waiting.app AND due IS NOT NULL), \
         coalesce(waiting.deferred, 0) - coalesce(done.deferred, 0) \
         FROM waiting JOIN names ON key = waiting.app LEFT JOIN done ON done.app = waiting.app ORDER BY name",
    )?;
    let mut rows = statement.query([])?;
    let mut backlogs = Vec::new();
    while let Some(row) = rows.next()? {
        backlogs.push(Backlog {
            app: app_of(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?,
            rows: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
            oldest: Timestamp::from_millis(row.get(2)?),
            newest: BatchId(row.get::<_, Option<i64>>(3)?.unwrap_or(0).unsigned_abs()),
            next_due: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
            deferred: u64::try_from(row.get::<_, i64>(5)?).unwrap_or(0),
        });
    }
    Ok(backlogs)
}

/// Rejections after a cursor that were kept at `cutoff` or later, or stand behind one that was.
pub(super) fn rejections_after(
    connection: &Connection,
    app: &AppId,
    cutoff: Timestamp,
    cursor: Cursor,
    limit: usize,
) -> Result<Page<Rejection>, Problem> {
    let Some((key, newest)) = name(connection, app)? else { return Ok(no_page()) };
    let sql = "SELECT number FROM rejections WHERE app = ? AND kept_at >= ? ORDER BY number LIMIT 1";
    let after = first_after(connection, sql, key, newest, cutoff, cursor)?;
    let mut statement = connection.prepare_cached(
        "SELECT timestamp, token, reason, status, batch, row FROM rejections \
         WHERE app = ? AND number > ? ORDER BY number LIMIT ?",
    )?;
    let mut rows = statement.query(params![key, after, limit_of(limit)])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let reason = reason_of(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?, row.get(3)?);
        entries.push(Rejection {
            timestamp: Timestamp::from_millis(row.get(0)?),
            app: app.clone(),
            token: row.get(1)?,
            reason: reason.map_err(|error| Problem::Damaged(format!("rejections of {app}: {error}")))?,
            batch: BatchId(row.get::<_, i64>(4)?.unsigned_abs()),
            row: row.get(5)?,
        });
    }
    Ok(page(entries, after))
}

/// The newest rejections that were kept at `cutoff` or later, or stand behind one that was; oldest first.
pub(super) fn latest_rejections(
    connection: &Connection,
    app: &AppId,
    cutoff: Timestamp,
    limit: usize,
) -> Result<Vec<Rejection>, Problem> {
    let Some((_, newest)) = name(connection, app)? else { return Ok(Vec::new()) };
    let before = Cursor(newest.saturating_sub(limit_of(limit)).max(0).unsigned_abs());
    Ok(rejections_after(connection, app, cutoff, before, limit)?.entries)
}

/// Feedback after a cursor that was kept at `cutoff` or later, or stands behind an entry that was.
pub(super) fn feedback_after(
    connection: &Connection,
    source: &FeedbackSource,
    cutoff: Timestamp,
    cursor: Cursor,
    limit: usize,
) -> Result<Page<FeedbackEntry>, Problem> {
    let sql = "SELECT key, newest FROM sources WHERE environment = ? AND topic = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row([&source.environment, &source.topic], |row| Ok((row.get(0)?, row.get(1)?)));
    let Some((key, newest)) = found.optional()? else { return Ok(no_page()) };
    let sql = "SELECT number FROM feedback WHERE source = ? AND kept_at >= ? ORDER BY number LIMIT 1";
    let after = first_after(connection, sql, key, newest, cutoff, cursor)?;
    let mut statement = connection.prepare_cached(
        "SELECT timestamp, token FROM feedback WHERE source = ? AND number > ? ORDER BY number LIMIT ?",
    )?;
    let entries = statement.query_map(params![key, after, limit_of(limit)], |row| {
        Ok(FeedbackEntry { timestamp: Timestamp::from_millis(row.get(0)?), token: row.get(1)? })
    })?;
    Ok(page(entries.collect::<Result<_, _>>()?, after))
}

pub(super) fn feedback_cursor(
    connection: &Connection,
    app: &AppId,
    source: &FeedbackSource,
) -> Result<Cursor, Problem> {
    let mut statement = connection.prepare_cached(
        "SELECT cursor FROM cursors JOIN names ON names.key = app JOIN sources ON sources.key = source \
         WHERE name = ? AND environment = ? AND topic = ?",
    )?;
    let texts = [app.as_str(), &source.environment, &source.topic];
    let cursor: Option<i64> = statement.query_row(texts, |row| row.get(0)).optional()?;
    Ok(Cursor(cursor.unwrap_or(0).unsigned_abs()))
}

/// Key of an app's name, and the number of its newest rejection.
fn name(connection: &Connection, app: &AppId) -> Result<Option<(i64, i64)>, Problem> {
    let mut statement = connection.prepare_cached("SELECT key, rejections FROM names WHERE name = ?")?;
    Ok(statement.query_row([app.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// The app with this key.
pub(super) fn owner(connection: &Connection, key: i64) -> Result<Option<AppId>, Problem> {
    let mut statement = connection.prepare_cached("SELECT name FROM names WHERE key = ?")?;
    let name: Option<String> = statement.query_row([key], |row| row.get(0)).optional()?;
    name.map(|name| app_of(&name)).transpose()
}

/// The number after which a page begins: the cursor, or what is gone, whichever is later. A cursor beyond the newest
/// entry is from an earlier life of the list and starts over.
fn first_after(
    connection: &Connection,
    first_kept: &str,
    key: i64,
    newest: i64,
    cutoff: Timestamp,
    cursor: Cursor,
) -> Result<i64, Problem> {
    let cursor = i64::try_from(cursor.0).ok().filter(|cursor| *cursor <= newest).unwrap_or(0);
    let mut statement = connection.prepare_cached(first_kept)?;
    let first: Option<i64> = statement.query_row([key, cutoff.as_millis()], |row| row.get(0)).optional()?;
    Ok(cursor.max(first.map_or(newest, |first| first - 1)))
}

fn page<T>(entries: Vec<T>, after: i64) -> Page<T> {
    let next = Cursor(after.unsigned_abs() + entries.len() as u64);
    Page { entries, next }
}

fn no_page<T>() -> Page<T> {
    Page { entries: Vec::new(), next: Cursor::default() }
}

pub(super) fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn app_of(name: &str) -> Result<AppId, Problem> {
    AppId::parse(name).map_err(|error| Problem::Damaged(format!("the name of an app: {error}")))
}
