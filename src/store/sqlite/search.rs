//! Queries for the notifications of one device. There is no index of tokens: everything is looked at.

use memchr::memmem;
use rusqlite::{Connection, Row, params};

use super::damaged::Damaged;
use super::problem::Problem;
use super::read::{app_of, limit_of, owner, segments, stored_of};
use crate::domain::app::AppId;
use crate::domain::batch::BatchId;
use crate::domain::feedback::{FeedbackEntry, Rejection};
use crate::domain::time::Timestamp;
use crate::store::record::reason_of;
use crate::store::trace::{Search, Traced};
use crate::store::{FeedbackSource, Stored};

/// When the oldest entries were kept that are still to be found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    pub(super) rejections: Timestamp,
    pub(super) feedback: Timestamp,
}

/// Finds everything that the database knows. A batch that is damaged is left out.
pub(super) fn search(
    connection: &Connection,
    damaged: &Damaged,
    search: &mut Search,
    since: Since,
) -> Result<(), Problem> {
    let rejections = rejections(connection, search, since.rejections)?;
    search.add_kept(rejections);
    if search.visible.shows(None) {
        let feedback = feedback(connection, search, since.feedback)?;
        search.add_kept(feedback);
    }
    waiting(connection, damaged, search)
}

fn rejections(connection: &Connection, search: &Search, since: Timestamp) -> Result<Vec<Traced>, Problem> {
    let mut statement = connection.prepare(
        "SELECT name, timestamp, token, reason, status, batch, row FROM rejections JOIN names ON key = app \
         WHERE kept_at >= ?1 AND substr(hex(token), 1, length(?2)) = ?2 \
         ORDER BY timestamp DESC, name DESC, number DESC",
    )?;
    let mut rows = statement.query(params![since.as_millis(), search.prefix.hex()])?;
    let mut found = Vec::new();
    while found.len() < search.limit
        && let Some(row) = rows.next()?
    {
        let reason = reason_of(row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?, row.get(4)?);
        let app = app_of(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?;
        if !search.visible.shows(Some(&app)) {
            continue;
        }
        found.push(Traced::rejected(&Rejection {
            timestamp: Timestamp::from_millis(row.get(1)?),
            app,
            token: row.get(2)?,
            reason: reason.map_err(|error| Problem::Damaged(format!("rejections: {error}")))?,
            batch: BatchId(row.get::<_, i64>(5)?.unsigned_abs()),
            row: row.get(6)?,
        }));
    }
    found.reverse();
    Ok(found)
}

fn feedback(connection: &Connection, search: &Search, since: Timestamp) -> Result<Vec<Traced>, Problem> {
    let mut statement = connection.prepare(
        "SELECT environment, topic, timestamp, token FROM feedback JOIN sources ON key = source \
         WHERE kept_at >= ?1 AND substr(hex(token), 1, length(?2)) = ?2 \
         ORDER BY timestamp DESC, environment DESC, topic DESC, number DESC LIMIT ?3",
    )?;
    let parameters = params![since.as_millis(), search.prefix.hex(), limit_of(search.limit)];
    let found = statement.query_map(parameters, |row| {
        let source = FeedbackSource { environment: row.get(0)?, topic: row.get(1)? };
        let entry = FeedbackEntry { timestamp: Timestamp::from_millis(row.get(2)?), token: row.get(3)? };
        Ok(Traced::feedback(&source, &entry))
    })?;
    let mut found: Vec<Traced> = found.collect::<Result<_, _>>()?;
    found.reverse();
    Ok(found)
}

/// By falling id, so that the newest are found first. Few records have the bytes of the token anywhere, and only those
/// are decoded.
fn waiting(connection: &Connection, damaged: &Damaged, search: &mut Search) -> Result<(), Problem> {
    let bytes = search.prefix.bytes();
    let token = memmem::Finder::new(&bytes);
    let mut statement = connection.prepare(
        "SELECT id, rows, due, tries, stage, record, (SELECT bits FROM progress WHERE batch = id), app \
         FROM batches ORDER BY id DESC",
    )?;
    let mut rows = statement.query([])?;
    while !search.has_enough_waiting()
        && let Some(row) = rows.next()?
    {
        match found(connection, row, &token) {
            Ok(None) => (),
            Ok(Some((app, stored))) => search.add_waiting(&app, &stored),
            Err(problem) => damaged.leave_out(owner(connection, row.get(7)?)?.as_ref(), row, problem)?,
        }
    }
    Ok(())
}

/// The batch of a row with its app, if it has the bytes anywhere.
fn found(
    connection: &Connection,
    row: &Row<'_>,
    token: &memmem::Finder<'_>,
) -> Result<Option<(AppId, Stored)>, Problem> {
    if !has_token(connection, row, token)? {
        return Ok(None);
    }
    let stored = stored_of(connection, row)?;
    let app = owner(connection, row.get(7)?)?.ok_or(Problem::App { id: row.get(0)? })?;
    Ok(Some((app, stored)))
}

fn has_token(connection: &Connection, row: &Row<'_>, token: &memmem::Finder<'_>) -> Result<bool, Problem> {
    Ok(match row.get::<_, Option<i64>>(4)? {
        None => token.find(row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?).is_some(),
        Some(stage) => token.find(&segments(connection, stage)?).is_some(),
    })
}
