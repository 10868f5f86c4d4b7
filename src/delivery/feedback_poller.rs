//! Fetches dead tokens from a feedback service into the store. Reading there is destructive, so what came is kept
//! before anything is answered.

use thiserror::Error;

use super::Delivery;
use crate::gateway::Route;
use crate::gateway::binary::feedback::{FeedbackError, read_feedback};
use crate::store::{FeedbackSource, StoreError};

/// Why the service could not be asked, or what it said could not be kept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PollError {
    /// The service did not answer.
    #[error(transparent)]
    Service(#[from] FeedbackError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Delivery {
    /// Asks the feedback service of a route's environment once. Environments without one have nothing to fetch: there
    /// the gateway itself reports dead tokens.
    pub async fn poll_feedback(&self, route: &Route, source: &FeedbackSource) -> Result<(), PollError> {
        if route.environment.feedback.is_none() {
            return Ok(());
        }
        let read = read_feedback(route, &self.clock).await?;
        tracing::info!(app = %route.app, entries = read.entries.len(), "feedback read");
        if let Some(cause) = &read.incomplete {
            tracing::warn!(app = %route.app, entries = read.entries.len(), "feedback cut short: {cause}");
        }
        self.store.append_feedback(source, read.entries).await?;
        Ok(())
    }
}
