//! `[[app]]` sections of the config file: applied when they say something new, and tried again while they are of no use.

use std::path::Path;

use futures_util::stream::{self, StreamExt as _};
use tracing::{error, info};

use super::PushService;
use super::entry::Basis;
use super::request::Provision;
use super::restore::AT_ONCE;
use super::terms::SectionDigest;
use crate::credentials::source::FileMark;

/// A section that was not taken up: the app keeps what it has until it is.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    digest: SectionDigest,
    section: Provision,
    /// Its file, as it was just before it was last tried.
    mark: Option<FileMark>,
}

impl Pending {
    fn of(digest: SectionDigest, section: Provision) -> Self {
        let mark = FileMark::of(Path::new(&section.certificate));
        Self { digest, section, mark }
    }

    /// Whether its file is another one than when it was last tried.
    pub(super) fn has_changed(&self) -> bool {
        self.mark != FileMark::of(Path::new(&self.section.certificate))
    }
}

impl PushService {
    /// Applies the sections of the config file whose text is not that which was last applied. One that fails is said in
    /// the log and tried again when its file changes, and from time to time.
    pub async fn apply_sections(&self, sections: Vec<Provision>) {
        let sections: Vec<_> = sections.into_iter().map(|section| (SectionDigest::of(&section), section)).collect();
        self.forget_removed(&sections).await;
        self.tell_of_lone_apps(&sections);
        self.0.pending.clear();
        let changed = sections.into_iter().filter(|(digest, section)| self.is_news(&section.app_id, digest));
        let apply = |(digest, section)| self.apply_section(digest, section);
        stream::iter(changed).for_each_concurrent(AT_ONCE, apply).await;
    }

    /// Applies some of the sections again that were not taken up.
    pub(super) async fn retry_sections(&self, is_due: impl Fn(&Pending) -> bool) {
        let pending: Vec<Pending> = self.0.pending.iter().map(|pending| pending.clone()).collect();
        for Pending { digest, section, .. } in pending.into_iter().filter(is_due) {
            self.apply_section(digest, section).await;
        }
    }

    async fn apply_section(&self, digest: SectionDigest, section: Provision) {
        let app = section.app_id.clone();
        let pending = Pending::of(digest.clone(), section.clone());
        if let Err(problem) = self.provision_section(section, digest.clone()).await {
            error!(app, "the app's section of the configuration is not applied: {problem}");
        }
        match self.is_news(&app, &digest) {
            true => drop(self.0.pending.insert(app, pending)),
            false => drop(self.0.pending.remove(&app)),
        }
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

    fn tell_of_lone_apps(&self, sections: &[(SectionDigest, Provision)]) {
        for entry in self.0.apps.iter() {
            let has_section = entry.provisioned().is_some_and(|present| present.basis.section().is_some());
            if has_section && !sections.iter().any(|(_, section)| section.app_id == entry.id.as_str()) {
                let app = &entry.id;
                info!(%app, "its [[app]] section is gone, the app stays: `apnsd deprovision {app}` removes it");
            }
        }
    }
}
