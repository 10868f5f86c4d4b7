//! One suite over every kind of store, random operations that compare them, and what only files can suffer.

mod conformance;
mod crash;
mod damage;
mod files;
mod model;
mod trace;
mod trouble;

use tempfile::TempDir;

use super::*;
use crate::domain::batch::{Message, PushOptions};
use crate::domain::outcome::Reason;
use crate::domain::token::Tokens;

/// A directory for a store, and how it is opened there.
struct Place {
    dir: TempDir,
    settings: Settings,
    clock: Clock,
}

impl Place {
    /// Nothing is flushed by time, so that tests say when.
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let settings = Settings {
            dir: dir.path().join("state"),
            min_free: 0,
            settle_flush: std::time::Duration::from_secs(24 * 60 * 60),
            rejections_max: 5,
            feedback_max: 5,
            ..Settings::default()
        };
        Self { dir, settings, clock: Clock::with_wall(Timestamp::from_secs(1_000_000)) }
    }

    fn open(&self) -> Store {
        Store::open(&self.settings, self.clock.clone()).unwrap()
    }

    fn memory(&self) -> Store {
        Store::open(&Settings { kind: Kind::Memory, ..self.settings.clone() }, self.clock.clone()).unwrap()
    }
}

fn app(name: &str) -> AppId {
    AppId::parse(name).unwrap()
}

fn source(topic: &str) -> FeedbackSource {
    FeedbackSource { environment: "production".into(), topic: topic.into() }
}

/// A batch of so many rows with distinct tokens and one payload.
fn batch(rows: u32, payload: &str) -> Arc<Batch> {
    let mut tokens = Tokens::default();
    (0..rows).for_each(|row| tokens.push(&[row.to_le_bytes(); 8].concat()));
    let message = Message { payload: payload.as_bytes().into(), options: PushOptions::default() };
    Arc::new(Batch::broadcast(Timestamp::from_secs(1_000_000), tokens, message))
}

fn span(id: BatchId, batch: &Arc<Batch>, rows: Range<u32>) -> Span {
    Span { id, batch: Arc::clone(batch), rows, tries: Tries::default() }
}

fn rejection(app: &AppId, row: u32) -> Rejection {
    let reason = Reason::InvalidToken;
    Rejection {
        timestamp: Timestamp::from_secs(7),
        app: app.clone(),
        token: [7; 32].into(),
        reason,
        batch: BatchId(3),
        row,
    }
}

fn feedback(n: u8) -> FeedbackEntry {
    FeedbackEntry { timestamp: Timestamp::from_secs(i64::from(n)), token: [n; 32].into() }
}

fn key(id: u8, content: u8) -> RequestKey {
    RequestKey { id: [id; 16], content: [content; 16] }
}

/// Commits a batch that must be accepted.
async fn commit(store: &Store, app: &AppId, batch: &Arc<Batch>) -> BatchId {
    let Commit::Accepted(id) = store.commit(app, batch, None).await.unwrap() else { panic!("not accepted") };
    id
}

const EVER: Timestamp = Timestamp::from_millis(i64::MAX);
const BEGINNING: (Timestamp, BatchId) = (Timestamp::from_millis(i64::MIN), BatchId(0));

/// The fresh lane of an app.
async fn fresh(store: &Store, app: &AppId) -> Vec<Stored> {
    store.load(app, BatchId(0), usize::MAX).await.unwrap()
}

/// The deferred batches of an app.
async fn deferred(store: &Store, app: &AppId) -> Vec<Stored> {
    store.load_due(app, BEGINNING, EVER, usize::MAX).await.unwrap().stored
}

/// Everything that waits for an app, by id.
async fn all(store: &Store, app: &AppId) -> Vec<Stored> {
    let mut stored = fresh(store, app).await;
    stored.extend(deferred(store, app).await);
    stored.sort_by_key(|stored| stored.id);
    stored
}
