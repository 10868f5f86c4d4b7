//! The changes of one transaction, as SQL. Whoever calls begins and ends the transaction.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::damaged::Damaged;
use super::mailbox::Notes;
use super::problem::Problem;
use super::read::owner;
use super::work::{Change, Insert, Record, SettledRows};
use crate::domain::app::AppId;
use crate::domain::batch::BatchId;
use crate::domain::feedback::{FeedbackEntry, Rejection};
use crate::domain::time::Timestamp;
use crate::store::progress::Progress;
use crate::store::record::tries_number;
use crate::store::requests::{Turn, turn};
use crate::store::{Commit, FeedbackSource, RequestKey, Settings};

/// What the writer knows of the tables. Forgotten when a transaction fails.
#[derive(Default)]
pub(super) struct Known {
    names: HashMap<AppId, i64>,
    sources: HashMap<FeedbackSource, i64>,
    generation: Option<Generation>,
}

/// Which table of calls is the present one, and since when.
#[derive(Clone, Copy)]
struct Generation {
    present: i64,
    began: Timestamp,
}

/// A transaction under way.
pub(super) struct Writing<'a> {
    pub(super) connection: &'a Connection,
    pub(super) known: &'a mut Known,
    pub(super) settings: &'a Settings,
    pub(super) damaged: &'a Damaged,
}

impl Writing<'_> {
    pub(super) fn insert(&mut self, insert: &Insert) -> Result<Commit, Problem> {
        let app = self.name(&insert.app)?;
        if let Some(request) = insert.request
            && let Some(before) = self.enter_request(app, request, insert.now)?
        {
            return Ok(request.again(before));
        }
        if let Some((id, rows)) = &insert.leaves {
            self.settle(*id, rows)?;
        }
        let (record, stage) = match &insert.record {
            Record::Whole(record) => (Some(record), None),
            Record::Staged(staged) => (None, Some(staged.stage())),
        };
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO batches (app, rows, accepted_at, due, tries, stage, record) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?;
        let id = statement.insert(params![
            app,
            insert.rows,
            insert.accepted_at.as_millis(),
            insert.due.map(Timestamp::as_millis),
            tries_number(insert.tries),
            stage,
            record,
        ])?;
        if insert.rows == 0 {
            self.delete(id, true)?;
        }
        Ok(Commit::Accepted(BatchId(id.unsigned_abs())))
    }

    pub(super) fn change(&mut self, change: &Change) -> Result<(), Problem> {
        match change {
            Change::Segment { stage, number, bytes } => self
                .execute("INSERT INTO segments (stage, number, bytes) VALUES (?, ?, ?)", params![stage, number, bytes]),
            Change::PutApp(app, body) => {
                let app = self.name(app)?;
                self.overwrite("INSERT OR REPLACE INTO apps (app, body) VALUES (?, ?)", params![app, body])
            }
            Change::RemoveApp(app) => {
                let app = self.name(app)?;
                self.overwrite("DELETE FROM apps WHERE app = ?", [app])
            }
            Change::Rejections(rejections, settled, kept_at) => {
                settled.iter().try_for_each(|(id, rows)| self.settle(*id, rows))?;
                let runs = rejections.chunk_by(|one, next| one.app == next.app);
                runs.into_iter().try_for_each(|run| self.append_rejections(run, *kept_at))
            }
            Change::Feedback(source, entries, kept_at) => self.append_feedback(source, entries, *kept_at),
        }
    }

    pub(super) fn notes(&mut self, notes: &Notes) -> Result<(), Problem> {
        for (id, rows) in notes.settled.iter() {
            self.settle(*id, rows)?;
        }
        for ((app, source), cursor) in &notes.cursors {
            let (app, source) = (self.name(app)?, self.source(source)?);
            let cursor = i64::try_from(cursor.0).unwrap_or(i64::MAX);
            let sql = "INSERT OR REPLACE INTO cursors (app, source, cursor) VALUES (?, ?, ?)";
            self.execute(sql, [app, source, cursor])?;
        }
        notes.discarded.iter().try_for_each(|stage| self.execute("DELETE FROM segments WHERE stage = ?", [stage]))
    }

    /// Drops what is older than its retention, at most so many entries of each list; whether some may be left.
    pub(super) fn trim(&self, now: Timestamp, entries_max: i64) -> Result<bool, Problem> {
        let lists = [
            ("names", "rejections", "app", now.minus(self.settings.rejections_age)),
            ("sources", "feedback", "source", now.minus(self.settings.feedback_age)),
        ];
        let mut left = false;
        for (owners, list, owner, cutoff) in lists {
            let keys = format!("SELECT key FROM {owners}");
            let keys: Vec<i64> =
                self.connection.prepare_cached(&keys)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            let delete = format!(
                "DELETE FROM {list} WHERE {owner} = ?1 AND number IN (SELECT number FROM {list} WHERE {owner} = ?1 \
                 AND number < coalesce((SELECT number FROM {list} WHERE {owner} = ?1 AND kept_at >= ?2 \
                 ORDER BY number LIMIT 1), 9223372036854775807) ORDER BY number LIMIT ?3)"
            );
            for key in keys {
                let deleted =
                    self.connection.prepare_cached(&delete)?.execute(params![key, cutoff.as_millis(), entries_max])?;
                left |= i64::try_from(deleted).is_ok_and(|deleted| deleted >= entries_max);
            }
        }
        Ok(left)
    }

    /// Settles rows of a batch; one that is gone already needs nothing.
    fn settle(&self, id: BatchId, settled: &SettledRows) -> Result<(), Problem> {
        let id = i64::try_from(id.0).unwrap_or(i64::MAX);
        if settled.is_all() {
            return self.delete(id, settled.of == 1);
        }
        let Some(mut progress) = self.progress(id)? else { return Ok(()) };
        settled.ranges.iter().for_each(|rows| progress.settle(rows.clone()));
        if progress.left() == 0 {
            return self.delete(id, false);
        }
        self.execute(
            "INSERT OR REPLACE INTO progress (batch, settled, bits) VALUES (?, ?, ?)",
            params![id, progress.settled(), progress.bits()],
        )
    }

    /// What is settled of a batch; `None` when it is gone, or left out because it is damaged.
    fn progress(&self, id: i64) -> Result<Option<Progress>, Problem> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, rows, (SELECT bits FROM progress WHERE batch = id), app FROM batches WHERE id = ?",
        )?;
        let mut found = statement.query([id])?;
        let Some(row) = found.next()? else { return Ok(None) };
        let progress = || Progress::of(row.get(2)?, row.get(1)?).ok_or(Problem::Progress { id });
        match progress() {
            Ok(progress) => Ok(Some(progress)),
            Err(problem) => {
                let app = owner(self.connection, row.get(3)?)?;
                self.damaged.leave_out(app.as_ref(), row, problem).map(|()| None)
            }
        }
    }

    fn delete(&self, id: i64, has_no_progress: bool) -> Result<(), Problem> {
        let mut statement = self.connection.prepare_cached("DELETE FROM batches WHERE id = ? RETURNING stage")?;
        let stage: Option<Option<i64>> = statement.query_row([id], |row| row.get(0)).optional()?;
        if let Some(Some(stage)) = stage {
            self.execute("DELETE FROM segments WHERE stage = ?", [stage])?;
        }
        if has_no_progress { Ok(()) } else { self.execute("DELETE FROM progress WHERE batch = ?", [id]) }
    }

    fn append_rejections(&mut self, run: &[Rejection], kept_at: Timestamp) -> Result<(), Problem> {
        let Some(first) = run.first() else { return Ok(()) };
        let app = self.name(&first.app)?;
        let count = i64::try_from(run.len()).unwrap_or(i64::MAX);
        let sql = "UPDATE names SET rejections = rejections + ? WHERE key = ? RETURNING rejections";
        let newest: i64 = self.connection.prepare_cached(sql)?.query_row([count, app], |row| row.get(0))?;
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO rejections (app, number, kept_at, timestamp, reason, status, token, batch, row) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        for (number, rejection) in (newest - count + 1..).zip(run) {
            statement.execute(params![
                app,
                number,
                kept_at.as_millis(),
                rejection.timestamp.as_millis(),
                rejection.reason.name(),
                rejection.reason.status(),
                rejection.token,
                i64::try_from(rejection.batch.0).unwrap_or(i64::MAX),
                rejection.row,
            ])?;
        }
        let oldest = newest.saturating_sub(i64::try_from(self.settings.rejections_max).unwrap_or(i64::MAX));
        self.execute("DELETE FROM rejections WHERE app = ? AND number <= ?", [app, oldest])
    }

    fn append_feedback(
        &mut self,
        source: &FeedbackSource,
        entries: &[FeedbackEntry],
        kept_at: Timestamp,
    ) -> Result<(), Problem> {
        let source = self.source(source)?;
        let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
        let sql = "UPDATE sources SET newest = newest + ? WHERE key = ? RETURNING newest";
        let newest: i64 = self.connection.prepare_cached(sql)?.query_row([count, source], |row| row.get(0))?;
        let sql = "INSERT INTO feedback (source, number, kept_at, timestamp, token) VALUES (?, ?, ?, ?, ?)";
        let mut statement = self.connection.prepare_cached(sql)?;
        for (number, entry) in (newest - count + 1..).zip(entries) {
            let timestamp = entry.timestamp.as_millis();
            statement.execute(params![source, number, kept_at.as_millis(), timestamp, entry.token])?;
        }
        let oldest = newest.saturating_sub(i64::try_from(self.settings.feedback_max).unwrap_or(i64::MAX));
        self.execute("DELETE FROM feedback WHERE source = ? AND number <= ?", [source, oldest])
    }

    /// Remembers a call; the content of the one that had its name before, if there was one.
    fn enter_request(&mut self, app: i64, request: RequestKey, now: Timestamp) -> Result<Option<[u8; 16]>, Problem> {
        let present = self.generation(now)?.present;
        let mut statement = self.connection.prepare_cached(
            "SELECT content FROM requests_0 WHERE app = ?1 AND id = ?2 \
             UNION ALL SELECT content FROM requests_1 WHERE app = ?1 AND id = ?2",
        )?;
        let before = statement.query_row(params![app, request.id], |row| row.get(0)).optional()?;
        if before.is_none() {
            let sql = match present {
                0 => "INSERT INTO requests_0 (app, id, content) VALUES (?, ?, ?)",
                _ => "INSERT INTO requests_1 (app, id, content) VALUES (?, ?, ?)",
            };
            self.execute(sql, params![app, request.id, request.content])?;
        }
        Ok(before)
    }

    /// The present generation of calls, after the turn that is due.
    fn generation(&mut self, now: Timestamp) -> Result<Generation, Problem> {
        let generation = match self.known.generation {
            Some(generation) => generation,
            None => self.connection.query_row("SELECT present, began FROM generations", [], |row| {
                Ok(Generation { present: row.get(0)?, began: Timestamp::from_millis(row.get(1)?) })
            })?,
        };
        let older = 1 - generation.present;
        let generation = match turn(generation.began, now) {
            Turn::Keep => generation,
            Turn::Rotate => self.begin_generation(older, now)?,
            Turn::Drop => {
                self.begin_generation(generation.present, now)?;
                self.begin_generation(older, now)?
            }
        };
        self.known.generation = Some(generation);
        Ok(generation)
    }

    /// Empties a table of calls by making it anew, which takes the same time whatever is in it.
    fn begin_generation(&self, present: i64, now: Timestamp) -> Result<Generation, Problem> {
        let table = format!("requests_{present}");
        self.connection.execute_batch(&format!(
            "DROP TABLE {table}; CREATE TABLE {table} (app INTEGER NOT NULL, id BLOB NOT NULL, \
             content BLOB NOT NULL, PRIMARY KEY (app, id)) STRICT, WITHOUT ROWID;"
        ))?;
        self.execute("UPDATE generations SET present = ?, began = ?", [present, now.as_millis()])?;
        Ok(Generation { present, began: now })
    }

    fn name(&mut self, app: &AppId) -> Result<i64, Problem> {
        if let Some(key) = self.known.names.get(app) {
            return Ok(*key);
        }
        let sql = "INSERT INTO names (name) VALUES (?) ON CONFLICT DO UPDATE SET name = name RETURNING key";
        let key = self.connection.prepare_cached(sql)?.query_row([app.as_str()], |row| row.get(0))?;
        self.known.names.insert(app.clone(), key);
        Ok(key)
    }

    fn source(&mut self, source: &FeedbackSource) -> Result<i64, Problem> {
        if let Some(key) = self.known.sources.get(source) {
            return Ok(*key);
        }
        let sql = "INSERT INTO sources (environment, topic) VALUES (?, ?) \
                   ON CONFLICT DO UPDATE SET topic = topic RETURNING key";
        let names = [&source.environment, &source.topic];
        let key = self.connection.prepare_cached(sql)?.query_row(names, |row| row.get(0))?;
        self.known.sources.insert(source.clone(), key);
        Ok(key)
    }

    /// Changes what may have private keys in it: what was there before is overwritten. Not done for all that is deleted,
    /// which would take two to five times as long for batches.
    fn overwrite(&self, sql: &str, params: impl rusqlite::Params) -> Result<(), Problem> {
        self.connection.pragma_update(None, "secure_delete", true)?;
        let done = self.execute(sql, params);
        self.connection.pragma_update(None, "secure_delete", false)?;
        done
    }

    fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<(), Problem> {
        self.connection.prepare_cached(sql)?.execute(params)?;
        Ok(())
    }
}
