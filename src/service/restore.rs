//! The start: every app that the store knows comes back.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use tracing::{error, info};

use super::PushService;
use super::entry::{Basis, Entry, Kept, Provisioned, Refusal, Standing};
use super::request::{NotifyOptions, Provision};
use super::seal::SealKey;
use super::stored::{self, Record, Unreadable};
use super::terms::{Removed, SectionDigest, Terms};
use crate::domain::app::AppId;
use crate::domain::outcome::Reason;
use crate::store::StoreError;

/// Apps whose files are read, or whose connections are changed, at once.
pub(super) const AT_ONCE: usize = 64;

impl PushService {
    /// Brings every app back that the store knows; to be called once, before anybody else calls. One that cannot be
    /// used is refused with its cause and keeps its record: only the store itself can fail.
    pub async fn restore(&self) -> Result<(), StoreError> {
        if let SealKey::Unusable(cause) = &self.0.key {
            error!("apps with secrets can neither be restored nor provisioned: {cause}");
        }
        let waiting = self.0.queue.recover().await?;
        let bodies = self.0.store.apps().await?;
        stream::iter(bodies).for_each_concurrent(AT_ONCE, |(id, body)| self.restore_one(id, body)).await;
        for app in waiting.into_iter().filter(|app| !self.0.apps.contains_key(app)) {
            self.reject_left_over(app).await;
        }
        info!(apps = self.0.apps.len(), "restored");
        Ok(())
    }

    /// Rejects what waits for an app that was deprovisioned when the process ended, beside everything else: the store
    /// may fail. Whoever provisions the app waits for it.
    async fn reject_left_over(&self, app: AppId) {
        let (entry, change) = self.entry_to_change(&app).await;
        let service = self.clone();
        self.0.delivery.shutdown.spawn(async move {
            service.reject_waiting(&entry, Reason::Deprovisioned).await;
            service.drop_if_unused(&entry);
            drop(change);
        });
    }

    async fn restore_one(&self, id: AppId, body: Vec<u8>) {
        match stored::decode(&id, &body, &self.0.key) {
            Record::App(terms, secrecy) => {
                let entry = self.known(&id);
                let _change = entry.change.lock().await;
                let terms = Arc::new(*terms);
                entry.set_kept(Some(Kept { terms: Arc::clone(&terms), secrecy }));
                self.reject_moved(&entry, &terms).await;
                self.try_to_start(&entry, &terms).await;
                self.keep_or_warn(&entry).await;
            }
            Record::Unreadable(unreadable) => self.stand_unreadable(&self.known(&id), unreadable),
            Record::Removed(removed) => drop(self.0.removed.insert(id, removed)),
        }
    }

    /// Rejects what waited for an environment that the app left: it may have been on its way there when the process
    /// ended.
    async fn reject_moved(&self, entry: &Entry, terms: &Terms) {
        let Some(last) = terms.moved_after else { return };
        let (queue, counters) = (entry.queue.clone(), Arc::clone(&entry.counters));
        let rows = self.0.delivery.reject_until(queue, counters, last, Reason::EnvironmentChanged).await;
        if rows > 0 {
            info!(app = %entry.id, rows, "rejected: {}", Reason::EnvironmentChanged);
        }
    }

    fn known(&self, id: &AppId) -> Arc<Entry> {
        let entry = Arc::new(Entry::new(id.clone(), self.0.queue.open(id.clone())));
        self.0.apps.insert(id.clone(), Arc::clone(&entry));
        entry
    }

    fn stand_unreadable(&self, entry: &Entry, unreadable: Unreadable) {
        error!(app = %entry.id, environment = %unreadable.environment, "refused: {}", unreadable.cause);
        let refusal = Refusal {
            cause: unreadable.cause.clone(),
            since: self.0.clock.timestamp(),
            environment: self.setup().environments.get(&*unreadable.environment).cloned(),
            label: None,
        };
        entry.set_provisioned(Some(Provisioned {
            basis: Basis::Unreadable(Arc::new(unreadable)),
            defaults: NotifyOptions::default(),
            standing: Standing::Refused(refusal),
        }));
    }

    /// Forgets apps that were removed long ago. One whose section still stands there must not be brought back by it.
    pub(super) async fn forget_removed(&self, sections: &[(SectionDigest, Provision)]) {
        let now = self.0.clock.timestamp();
        let is_over = |app: &AppId, removed: &Removed| {
            let stands = sections.iter().any(|(_, section)| section.app_id == app.as_str());
            now.since(removed.at) > self.0.settings.feedback_age && !stands
        };
        let removed = self.0.removed.iter().filter(|removed| is_over(removed.key(), removed.value()));
        let over: Vec<AppId> = removed.map(|removed| removed.key().clone()).collect();
        for app in over {
            let (entry, _change) = self.entry_to_change(&app).await;
            // It may have been provisioned again meanwhile.
            if self.0.removed.contains_key(&app) {
                match self.0.store.remove_app(&app).await {
                    Ok(()) => drop(self.0.removed.remove(&app)),
                    Err(problem) => info!(%app, "a deprovisioned app is forgotten later: {problem}"),
                }
            }
            self.drop_if_unused(&entry);
        }
    }

    /// Judges a refused app again, and starts it if that goes well. With the app's `change` held.
    pub(super) async fn try_again(&self, entry: &Entry) {
        let Some(provisioned) = entry.provisioned() else { return };
        if let (Standing::Refused(_), Some(terms)) = (&provisioned.standing, provisioned.terms()) {
            self.try_to_start(entry, terms).await;
            self.keep_or_warn(entry).await;
        }
    }
}
