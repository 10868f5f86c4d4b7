//! Apps as metrics show them: their status, and what is counted of them.

use std::sync::Arc;
use std::time::Duration;

use super::PushService;
use super::apps::status_of;
use super::entry::{Entry, Standing};
use super::status::AppStatus;
use crate::credentials::Credentials;
use crate::delivery::counters::Counters;
use crate::domain::time::Timestamp;
use crate::store::commits::Commits;

/// One app at a moment, with its counters.
#[derive(Clone, Debug)]
pub struct AppSample {
    /// What it looks like from outside.
    pub status: AppStatus,
    /// What became of its notifications; they go on counting.
    pub counters: Arc<Counters>,
    /// How long the oldest waiting notification has waited; zero where none waits.
    pub oldest_age: Duration,
    /// When the provider token that it uses was issued, by its own claim; `None` where it uses none, or none yet.
    pub token_issued: Option<Timestamp>,
}

impl PushService {
    /// All apps, by name.
    pub fn samples(&self) -> Vec<AppSample> {
        let now = self.0.clock.timestamp();
        let mut samples: Vec<AppSample> = self.0.apps.iter().filter_map(|entry| self.sample(&entry, now)).collect();
        samples.sort_by(|one, other| one.status.app_id.cmp(&other.status.app_id));
        samples
    }

    fn sample(&self, entry: &Entry, now: Timestamp) -> Option<AppSample> {
        let status = status_of(entry)?;
        let oldest_age = status.oldest.map(|oldest| now.since(oldest)).unwrap_or_default();
        let token_issued = match entry.provisioned()?.standing {
            Standing::Accepted { route, .. } => match &*route.credentials {
                Credentials::ProviderKey(key) => self.0.delivery.gateway.provider_tokens.issued_at(key),
                Credentials::Certificate(_) => None,
            },
            Standing::Refused(_) => None,
        };
        Some(AppSample { status, counters: Arc::clone(&entry.counters), oldest_age, token_issued })
    }

    /// What the commits of the store come to; `None` where it is in memory.
    pub fn commits(&self) -> Option<&Commits> {
        self.0.store.commits()
    }
}
