//! What is kept for the caller to collect: dead tokens, and notifications that failed.

use super::app::AppId;
use super::batch::{BatchId, Span};
use super::outcome::Reason;
use super::time::Timestamp;

/// A token that the provider says is dead, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FeedbackEntry {
    /// When the provider decided it.
    pub timestamp: Timestamp,
    /// The device token, raw; of any length, even empty, as the feedback service sent it.
    pub token: Box<[u8]>,
}

/// A notification that will not be delivered, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// When it was decided.
    pub timestamp: Timestamp,
    /// Whose it was.
    pub app: AppId,
    /// The device token, raw.
    pub token: Box<[u8]>,
    /// Why.
    pub reason: Reason,
    /// The call it came with.
    pub batch: BatchId,
    /// Its row in that call, from 0.
    pub row: u32,
}

impl Rejection {
    /// One for each row of a span.
    pub fn of_span(app: &AppId, span: &Span, reason: Reason, timestamp: Timestamp) -> impl Iterator<Item = Self> {
        span.rows.clone().map(move |row| Self {
            timestamp,
            app: app.clone(),
            token: span.batch.notification(row).token.into(),
            reason,
            batch: span.id,
            row,
        })
    }
}

/// Position in a replayable list: entries after it are new. Starts at 0, grows by one with every entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(pub u64);

/// A part of a replayable list, and where the next part begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries after the cursor that was asked for, oldest first.
    pub entries: Vec<T>,
    /// The cursor to ask with next.
    pub next: Cursor,
}
