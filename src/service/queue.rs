//! The waiting notifications of an app as an operator handles them.

use super::entry::Standing;
use super::error::ServiceError;
use super::{App, PushService};
use crate::domain::outcome::Reason;

impl PushService {
    /// Rejects everything that waits, as [`Reason::Purged`]; how many notifications
    /// that were. What the gateway holds stays on its way, and `notify` goes on accepting.
    pub async fn purge(&self, app: &App) -> Result<u64, ServiceError> {
        let provisioned = app.0.provisioned().ok_or(ServiceError::UnknownApp)?;
        match &provisioned.standing {
            Standing::Accepted { worker, .. } => worker.purge().await.map_err(ServiceError::try_later),
            Standing::Refused(_) => {
                let _change = app.0.change.lock().await;
                Ok(self.reject_waiting(&app.0, Reason::Purged).await)
            }
        }
    }
}
