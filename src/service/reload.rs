//! A reload: another environments table, other settings, other sections; files are looked at and pauses end at once.

use std::sync::{Arc, PoisonError};

use tracing::{error, info, warn};

use super::entry::{Entry, Label, Provisioned, Standing};
use super::provision::{By, Problem};
use super::request::Provision;
use super::standing::{Unusable, ca_mark, vanished};
use super::terms::Terms;
use super::{Environments, PushService, Settings, Setup};
use crate::delivery::WorkerHandle;
use crate::domain::app::Environment;
use crate::gateway::Route;

impl PushService {
    /// Takes over the environments, and of the settings those of `[provision]`; then every app follows.
    ///
    /// An app whose environment has another address or `ca` is moved there; one whose environment is gone is refused and
    /// keeps its queue. Sections that changed are applied, files are looked at, and whatever was refused or paused by itself
    /// is tried again.
    pub async fn reload(&self, environments: Environments, settings: Settings, sections: Vec<Provision>) {
        *self.0.setup.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Setup::new(environments, settings));
        self.for_each_app(|entry| self.follow(entry)).await;
        self.apply_sections(sections).await;
        self.look_at_files().await;
    }

    async fn follow(&self, entry: Arc<Entry>) {
        let _change = entry.change.lock().await;
        self.try_again(&entry).await;
        self.follow_environment(&entry).await;
        let Some(Provisioned { standing: Standing::Accepted { worker, .. }, .. }) = entry.provisioned() else { return };
        if worker.status().refuses {
            // A worker that has ended needs nobody to wake it.
            let _ = worker.resume().await;
        }
    }

    /// Lets an app that works follow its environment, if that or its `ca` changed. With the app's `change` held.
    pub(super) async fn follow_environment(&self, entry: &Entry) {
        let Some(provisioned) = entry.provisioned() else { return };
        let (Standing::Accepted { route, worker }, Some(terms)) = (&provisioned.standing, provisioned.terms()) else {
            return;
        };
        match self.setup().environments.get(&route.environment.name) {
            Some(row) if *row == route.environment && ca_mark(row) == entry.seen_ca() => (),
            Some(row) => self.follow_row(entry, terms, route, worker, row).await,
            None => {
                self.stand_refused(entry, Arc::clone(terms), None, vanished(&terms.environment).into());
                park(entry, worker).await;
            }
        }
    }

    /// Moves an app to the new address of its environment, or makes it trust another `ca`; where that cannot be read,
    /// nothing changes. Where the gateway does not take its credentials, it is begun anew there: the old address is not
    /// the environment's any more.
    async fn follow_row(
        &self,
        entry: &Entry,
        terms: &Arc<Terms>,
        present: &Route,
        worker: &WorkerHandle,
        row: &Arc<Environment>,
    ) {
        info!(app = %entry.id, environment = %row.name, gateway = %row.gateway, "the environment changed");
        let credentials = Arc::clone(&present.credentials);
        let label = Label::of(&credentials);
        let taken = match credentials.judge(row, terms.options.topic.as_deref(), self.0.clock.timestamp()) {
            Ok(()) => self.take_up(entry, Terms::clone(terms), row, credentials, By::Operator).await,
            Err(error) => Err(Problem::Credentials(error.to_string())),
        };
        match taken {
            Ok(()) => self.keep_or_warn(entry).await,
            Err(Problem::Credentials(cause)) => {
                let unusable = Unusable { cause, label: Some(label) };
                self.stand_refused(entry, Arc::clone(terms), Some(Arc::clone(row)), unusable);
                park(entry, worker).await;
                self.try_again(entry).await;
            }
            Err(Problem::Trust(cause)) => {
                error!(app = %entry.id, "the environment changed and cannot be used, the present connection stays: {cause}");
            }
            Err(Problem::Busy(cause)) => warn!(app = %entry.id, "{cause}"),
        }
    }
}

async fn park(entry: &Entry, worker: &WorkerHandle) {
    if let Err(error) = worker.park().await {
        warn!(app = %entry.id, "{error}");
    }
}
