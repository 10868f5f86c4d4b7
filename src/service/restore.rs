//! The start: every app that the store knows comes back, then the config file's sections that changed are applied.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use tracing::{error, info};

use super::PushService;
use super::entry::{Basis, Entry, Kept, Provisioned, Refusal, Standing};
use super::request::{NotifyOptions, Provision};
use super::stored::{self, Record, Removed, SectionDigest, Terms, Unreadable};
use crate::domain::app::AppId;
use crate::domain::time::Timestamp;
use crate::store::StoreError;

/// Apps whose files are read, or whose connections are changed, at once.
pub(super) const AT_ONCE: usize = 64;

/// How long a deprovisioned app is remembered: as long as feedback is kept.
const REMEMBERED: std::time::Duration = std::time::Duration::from_secs(90 * 24 * 60 * 60);

impl PushService {
    /// Brings every app back that the store knows; to be called once, before anybody else calls. One that cannot be
    /// used is refused with its cause and keeps its record: only the store itself can fail.
    pub async fn restore(&self) -> Result<(), StoreError> {
        if let super::seal::SealKey::Unusable(cause) = &self.0.key {
            error!("apps with secrets can neither be restored nor provisioned: {cause}");
        }
        let bodies = self.0.store.apps().await?;
        stream::iter(bodies).for_each_concurrent(AT_ONCE, |(id, body)| self.restore_one(id, body)).await;
        info!(apps = self.0.apps.len(), "restored");
        Ok(())
    }

    async fn restore_one(&self, id: AppId, body: Vec<u8>) {
        match stored::decode(&id, &body, &self.0.key) {
            Record::App(terms, secrecy) => {
                let entry = self.known(&id);
                let _change = entry.change.lock().await;
                entry.set_kept(Some(Kept { terms: Arc::new(terms.clone()), secrecy }));
                self.try_to_start(&entry, &terms).await;
                self.keep_or_warn(&entry).await;
            }
            Record::Unreadable(unreadable) => self.stand_unreadable(&self.known(&id), unreadable),
            Record::Removed(removed) => self.restore_removed(id, removed).await,
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
        };
        entry.set_provisioned(Some(Provisioned {
            basis: Basis::Unreadable(Arc::new(unreadable)),
            defaults: NotifyOptions::default(),
            standing: Standing::Refused(refusal),
        }));
    }

    /// One with a section is remembered for ever: that section, unchanged, must not bring the app back.
    async fn restore_removed(&self, id: AppId, removed: Removed) {
        let is_over = removed.section.is_none() && is_over(&removed, self.0.clock.timestamp());
        if !is_over {
            self.0.removed.insert(id, removed);
        } else if let Err(problem) = self.0.store.remove_app(&id).await {
            // The next start tries again.
            info!(app = %id, "a deprovisioned app could not be forgotten: {problem}");
        }
    }

    /// Applies the sections of the config file whose text is not that which was last applied. One that fails is said in
    /// the log and tried again the next time.
    pub async fn apply_sections(&self, sections: Vec<Provision>) {
        let changed = sections.into_iter().filter_map(|section| {
            let digest = SectionDigest::of(&section);
            self.is_news(&section.app_id, &digest).then_some((section, digest))
        });
        let changed: Vec<_> = changed.collect();
        stream::iter(changed)
            .for_each_concurrent(AT_ONCE, |(section, digest)| async move {
                let app = section.app_id.clone();
                if let Err(problem) = self.provision_section(section, digest).await {
                    error!(app, "the app's section of the configuration is not applied: {problem}");
                }
            })
            .await;
    }

    fn is_news(&self, app_id: &str, digest: &SectionDigest) -> bool {
        let present = self.0.apps.get(app_id).and_then(|entry| entry.provisioned());
        match present.map(|present| present.basis) {
            // What a newer version wrote is not replaced by what it may have replaced itself.
            Some(Basis::Unreadable(unreadable)) if unreadable.is_newer => false,
            Some(basis) => basis.section() != Some(digest),
            None => self.0.removed.get(app_id).is_none_or(|removed| removed.section.as_ref() != Some(digest)),
        }
    }

    /// Judges a refused app again, and starts it if that goes well. With the app's `change` held.
    pub(super) async fn try_again(&self, entry: &Entry) {
        let Some(provisioned) = entry.provisioned() else { return };
        if let (Standing::Refused(_), Some(terms)) = (&provisioned.standing, provisioned.terms()) {
            self.try_to_start(entry, &Terms::clone(terms)).await;
            self.keep_or_warn(entry).await;
        }
    }
}

fn is_over(removed: &Removed, now: Timestamp) -> bool {
    now.since(removed.at) > REMEMBERED
}
