//! Makes the store hold what an app was provisioned with: before that takes effect where it can be, else as soon as the
//! store works. Everything here is called with the app's `change` held, but for [`PushService::keep_again`].

use std::sync::Arc;

use tracing::{info, warn};

use super::PushService;
use super::entry::{Entry, Kept};
use super::error::ServiceError;
use super::provision::Problem;
use super::stored::{self, Secrecy};
use super::terms::Terms;

impl PushService {
    /// Makes the store hold these terms, if it does not yet.
    pub(super) async fn keep_terms(&self, entry: &Entry, terms: &Arc<Terms>) -> Result<(), ServiceError> {
        let is_kept = |kept: Kept| kept.terms == *terms && !(kept.secrecy == Secrecy::Plain && self.0.key.can_seal());
        if entry.kept().is_some_and(is_kept) {
            return Ok(());
        }
        let (body, secrecy) = stored::encode(&entry.id, terms, &self.0.key).map_err(not_kept)?;
        self.0.store.put_app(&entry.id, body).await.map_err(not_kept)?;
        entry.set_kept(Some(Kept { terms: Arc::clone(terms), secrecy }));
        self.0.removed.remove(&entry.id);
        Ok(())
    }

    /// Whether terms can be kept, as far as that is not the store's matter.
    pub(super) fn check_sealing(&self, entry: &Entry, terms: &Terms) -> Result<(), Problem> {
        match stored::encode(&entry.id, terms, &self.0.key) {
            Ok(_) => Ok(()),
            Err(error) => Err(not_kept(error).into()),
        }
    }

    /// Makes the store hold what the app has, if it does not yet. When that fails, the app shows it, and it is tried
    /// again until it succeeds.
    pub(super) async fn keep(&self, entry: &Entry) -> Result<(), ServiceError> {
        let Some(terms) = entry.provisioned().and_then(|present| present.terms().cloned()) else { return Ok(()) };
        let kept = self.keep_terms(entry, &terms).await;
        entry.set_unkept(kept.as_ref().err().map(ToString::to_string));
        kept
    }

    /// The same where nobody waits for an answer.
    pub(super) async fn keep_or_warn(&self, entry: &Entry) {
        if let Err(problem) = self.keep(entry).await {
            warn!(app = %entry.id, "a change of the app is kept later, and lost if the daemon ends before: {problem}");
        }
    }

    /// Another attempt, if the last one failed.
    pub(super) async fn keep_again(&self, entry: Arc<Entry>) {
        if entry.unkept().is_none() {
            return;
        }
        let _change = entry.change.lock().await;
        // Otherwise the app shows why, and the log has it.
        if entry.is_provisioned() && self.keep(&entry).await.is_ok() {
            info!(app = %entry.id, "the change of the app is kept now");
        }
    }
}

fn not_kept(cause: impl std::fmt::Display) -> ServiceError {
    ServiceError::TryLater(format!("the change of the app could not be kept: {cause}"))
}
