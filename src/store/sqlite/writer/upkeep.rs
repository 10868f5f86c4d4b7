//! What the writer does by time: syncing, dropping what is too old, giving pages back, forgetting old secrets.

use std::fs::File;
use std::io;
use std::time::Duration;

use tracing::error;

use super::{Known, Problem, RETRY_INTERVAL, Writer};
use crate::clock::Instant;
use crate::store::settings::Durability;
use crate::store::sqlite::schema::BUSY_TIMEOUT;

/// With relaxed durability, a commit is synced so much later.
pub(super) const SYNC_INTERVAL: Duration = Duration::from_millis(100);
/// Between two looks for entries that are too old and for pages to give back.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);
/// What one such look does at most, so that it delays nobody.
const TRIMMED_MAX: i64 = 2000;
const FREE_PAGES_KEPT: i64 = 4096;

impl Writer {
    /// With relaxed durability: syncs what was committed, once it is due.
    pub(super) fn sync(&mut self, now: Instant) {
        let is_due = self.unsynced.is_some_and(|unsynced| now.since(unsynced) >= SYNC_INTERVAL);
        match self.settings.durability {
            Durability::Full | Durability::None => self.unsynced = None,
            Durability::Relaxed if is_due => {
                // SQLite holds its locks on the other files, so this one may be opened and closed beside it.
                match File::open(&self.wal).and_then(|wal| wal.sync_data()) {
                    Ok(()) => self.unsynced = None,
                    Err(problem) if problem.kind() == io::ErrorKind::NotFound => self.unsynced = None,
                    Err(problem) => {
                        error!("{}: what was accepted could not be synced: {problem}", self.wal.display());
                        self.unsynced = Some(now);
                    }
                }
            }
            Durability::Relaxed => (),
        }
    }

    /// Drops what is too old, and gives free pages back to the file system, a little at a time.
    pub(super) fn keep_up(&mut self, now: Instant) {
        if now < self.upkeep {
            return;
        }
        self.upkeep = now + UPKEEP_INTERVAL;
        match self.try_keep_up() {
            Ok(true) => self.upkeep = now + RETRY_INTERVAL,
            Ok(false) => (),
            Err(problem) => {
                self.known = Known::default();
                error!("what is too old could not be removed: {problem}");
            }
        }
    }

    /// Whether there is more to do.
    fn try_keep_up(&mut self) -> Result<bool, Problem> {
        let now = self.clock.timestamp();
        let more = self.try_transact(|writing| writing.trim(now, TRIMMED_MAX))?;
        let kept = if self.disk.has_room() { FREE_PAGES_KEPT } else { 0 };
        let free: i64 = self.connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        if free > kept {
            self.give_pages_back()?;
        }
        if self.has_old_bodies {
            self.has_old_bodies = !self.empty_log()?;
        }
        Ok(more || free > kept)
    }

    fn give_pages_back(&self) -> Result<(), Problem> {
        let mut vacuum = self.connection.prepare("PRAGMA incremental_vacuum(512)")?;
        // A step gives one page back.
        let mut freed = vacuum.query([])?;
        while freed.next()?.is_some() {}
        // The file becomes shorter with the checkpoint.
        Ok(self.connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)")?)
    }

    /// Writes the log to the database and makes it empty. Whether that was done: not while somebody reads, who is not
    /// waited for.
    fn empty_log(&self) -> Result<bool, Problem> {
        self.connection.busy_timeout(Duration::ZERO)?;
        let is_busy = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        self.connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(!is_busy?)
    }
}
