//! The waiting notifications of an app as an operator handles them.

use super::error::ServiceError;
use super::{App, PushService};

impl PushService {
    /// Rejects everything that waits, as [`Purged`](crate::domain::outcome::Reason::Purged); how many notifications
    /// that were. What the gateway holds stays on its way, and `notify` goes on accepting.
    pub async fn purge(&self, app: &App) -> Result<u64, ServiceError> {
        let provisioned = app.0.provisioned().ok_or(ServiceError::UnknownApp)?;
        let purged = provisioned.worker()?.purge().await.map_err(ServiceError::try_later)?;
        tracing::info!(app = %app.0.id, purged, "the queue was purged");
        Ok(purged)
    }
}
