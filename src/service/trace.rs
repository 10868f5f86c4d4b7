//! What became of the notifications for one device: the answer to "did this user's push go?".

use std::sync::Arc;

use super::error::ServiceError;
use super::{PAGE_MAX, PushService};
use crate::domain::app::AppId;
use crate::domain::batch::BatchId;
use crate::domain::outcome::Reason;
use crate::domain::time::Timestamp;
use crate::store::{Event, Logged, TokenPrefix, Traced, Visible};

/// Something that became of a notification, or what the provider said of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// When it happened; for what waits, when the call was accepted.
    pub timestamp: Timestamp,
    /// Whose notification it is, where that is known.
    pub app_id: Option<AppId>,
    /// Environment and topic that the provider called the device dead for.
    pub source: Option<(Arc<str>, Arc<str>)>,
    /// The first 8 hex digits of the token and an ellipsis.
    pub token: String,
    /// The call that it came with, and its row there, from 0. A row that is tried later goes on in a batch of its own.
    pub row: Option<(BatchId, u32)>,
    /// One word: `waiting`, `due`, `accepted`, `presumed`, `rejected`, `retried`, `unknown`, `dead`.
    pub event: &'static str,
    /// Why it was rejected or goes out again.
    pub reason: Option<Reason>,
    /// When it is tried again.
    pub due: Option<Timestamp>,
}

impl PushService {
    /// What is known of the tokens that begin with these hex digits, oldest first and what waits last; at most the
    /// `limit` newest events, of these apps alone where there are any.
    pub async fn trace(&self, prefix: &str, apps: Option<&[String]>, limit: usize) -> Result<Vec<Trace>, ServiceError> {
        let refused = |problem: &dyn std::fmt::Display| ServiceError::InvalidArgument(problem.to_string());
        let prefix = TokenPrefix::parse(prefix).map_err(|error| refused(&format!("prefix: {error}")))?;
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(refused(&format!("limit: 1 to {PAGE_MAX} is needed, not {limit}")));
        }
        let visible = apps.map_or_else(Visible::default, Visible::of);
        let found = self.0.store.trace(prefix, visible, limit).await.map_err(ServiceError::try_later)?;
        Ok(found.into_iter().map(Trace::from).collect())
    }
}

impl From<Traced> for Trace {
    fn from(traced: Traced) -> Self {
        let (event, reason) = match &traced.event {
            Event::Waiting => ("waiting", None),
            Event::Due(_) => ("due", None),
            Event::Logged(Logged::Accepted) => ("accepted", None),
            Event::Logged(Logged::Presumed) => ("presumed", None),
            Event::Logged(Logged::Rejected(reason)) => ("rejected", Some(*reason)),
            Event::Logged(Logged::Retried(reason)) => ("retried", Some(*reason)),
            Event::Logged(Logged::Unknown) => ("unknown", None),
            Event::Feedback(_) => ("dead", None),
        };
        let (due, source) = match traced.event {
            Event::Due(due) => (Some(due), None),
            Event::Feedback(source) => (None, Some((source.environment, source.topic))),
            Event::Waiting | Event::Logged(_) => (None, None),
        };
        let Traced { timestamp, app, token, row, event: _ } = traced;
        Self { timestamp, app_id: app, source, token, row, event, reason, due }
    }
}
