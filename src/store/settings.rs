//! What the store is to be, and how much it keeps.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::feedback::Cursor;

/// Which store, where, and its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which store.
    pub kind: Kind,
    /// The state directory; made with mode 0700 if it is not there.
    pub dir: PathBuf,
    /// What a commit survives.
    pub durability: Durability,
    /// Free bytes of the disk below which no batch is accepted.
    pub min_free: u64,
    /// How long settled rows may stay unwritten: a crash sends at most those again.
    pub settle_flush: Duration,
    /// Rejections kept per app; beyond it the oldest go.
    pub rejections_max: usize,
    /// How long rejections are kept.
    pub rejections_age: Duration,
    /// Feedback entries kept per source; beyond it the oldest go.
    pub feedback_max: usize,
    /// How long feedback is kept.
    pub feedback_age: Duration,
    /// Bytes of outcomes that are logged for [`Store::trace`](super::Store::trace), in two files or, at most 4 MiB, in
    /// memory; 0 logs nothing.
    pub trace_max: u64,
    /// The cursor before the first entry of a store in memory. One that grows from start to start makes cursors of an
    /// earlier life smaller than all of this one, so that whoever asks with one misses nothing.
    pub first_cursor: Cursor,
}

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory, lost when the process ends.
    Memory,
    /// SQLite in the state directory.
    Sqlite,
}

/// What a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Power loss: synced to disk before the answer.
    Full,
    /// The end of the process at any moment; power loss once it is 100 ms old.
    Relaxed,
    /// The end of the process at any moment; when the machine goes down, the file itself may be lost.
    None,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Settings {
    fn default() -> Self {
        Self {
            kind: Kind::Sqlite,
            dir: PathBuf::from("/var/lib/apnsd"),
            durability: Durability::Full,
            // Room to settle what waits while somebody makes space.
            min_free: 256 << 20,
            // At 5,000 notifications a second, at most so many are sent twice after a crash.
            settle_flush: Duration::from_secs(1),
            rejections_max: 1_000_000,
            rejections_age: 30 * DAY,
            feedback_max: 1_000_000,
            feedback_age: 90 * DAY,
            // A million rows.
            trace_max: 32 << 20,
            first_cursor: Cursor(0),
        }
    }
}
