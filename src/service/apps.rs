//! The verbs that show, steer and remove apps.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;

use super::entry::{Basis, Entry, Label, Provisioned, Standing};
use super::error::ServiceError;
use super::status::AppStatus;
use super::stored;
use super::terms::{Removed, Terms};
use super::{App, PushService};
use crate::domain::app::{AppId, AppState};
use crate::domain::outcome::Reason;
use crate::domain::time::Timestamp;
use crate::telemetry;

/// What to do about an environment that nobody answers for any more.
pub(super) const CLOSED_BY_APPLE: &str =
    "Apple closed its binary gateway on 31 March 2021: name a gateway of your own in [environments]";

impl PushService {
    /// All apps, by name.
    pub fn apps(&self) -> Vec<AppStatus> {
        let mut apps: Vec<AppStatus> =
            self.0.apps.iter().filter(|entry| entry.is_provisioned()).filter_map(|entry| status_of(&entry)).collect();
        apps.sort_by(|one, other| one.app_id.cmp(&other.app_id));
        apps
    }

    /// One app.
    pub fn status(&self, app: &App) -> Result<AppStatus, ServiceError> {
        status_of(&app.0).ok_or(ServiceError::UnknownApp)
    }

    /// Stops sending until [`PushService::resume`], also after a restart; the queue keeps what it has and `notify` goes
    /// on accepting. A refused app is paused as soon as it could send.
    pub async fn pause(&self, app: &App) -> Result<(), ServiceError> {
        let _change = app.0.change.lock().await;
        let provisioned = app.0.provisioned().ok_or(ServiceError::UnknownApp)?;
        match (&provisioned.standing, &provisioned.basis) {
            (Standing::Accepted { worker, .. }, _) => worker.pause().await.map_err(ServiceError::try_later)?,
            (Standing::Refused(_), Basis::Terms(_)) => (),
            (Standing::Refused(refusal), Basis::Unreadable(_)) => {
                return Err(ServiceError::NotConnected(refusal.cause.clone()));
            }
        }
        self.keep_paused(&app.0, true).await
    }

    /// Sends again, whatever it was that paused the app; a refused one is judged again, and the environment's `ca` read
    /// again if it changed.
    pub async fn resume(&self, app: &App) -> Result<(), ServiceError> {
        let entry = &app.0;
        let _change = entry.change.lock().await;
        let kept = self.keep_paused(entry, false).await;
        self.try_again(entry).await;
        self.follow_environment(entry).await;
        let provisioned = entry.provisioned().ok_or(ServiceError::UnknownApp)?;
        provisioned.worker()?.resume().await.map_err(ServiceError::try_later)?;
        kept
    }

    /// Remembers whether an operator paused the app. With its `change` held.
    async fn keep_paused(&self, entry: &Entry, is_paused: bool) -> Result<(), ServiceError> {
        let provisioned = entry.provisioned().ok_or(ServiceError::UnknownApp)?;
        if let Some(terms) = provisioned.terms() {
            let terms = Arc::new(Terms { is_paused, ..Terms::clone(terms) });
            entry.set_provisioned(Some(Provisioned::new(terms, provisioned.standing)));
            self.keep(entry).await?;
        }
        Ok(())
    }

    /// Why nothing can be accepted at present, such as a full disk; `None` while all is well.
    pub fn trouble(&self) -> Option<String> {
        self.0.store.intake_trouble().map(|trouble| trouble.to_string())
    }

    /// The wall clock, as the moments in answers are told by.
    pub fn now(&self) -> Timestamp {
        self.0.clock.timestamp()
    }

    /// Apps whose workers do not answer for so long, by name. None while the store is in trouble: workers wait for it then,
    /// as they should.
    pub async fn silent_workers(&self, limit: Duration) -> Vec<AppId> {
        let entries = self.0.apps.iter().filter_map(|entry| Some((entry.id.clone(), entry.provisioned()?)));
        let asked = entries.collect::<Vec<_>>().into_iter().map(|(app_id, provisioned)| async move {
            let answer = provisioned.worker().ok()?.answers();
            tokio::time::timeout(limit, answer).await.is_err().then_some(app_id)
        });
        let mut silent: Vec<AppId> = join_all(asked).await.into_iter().flatten().collect();
        silent.sort();
        match self.0.store.trouble() {
            None => silent,
            Some(_) => Vec::new(),
        }
    }

    /// Notifications that were accepted and have no outcome yet, over all apps.
    pub fn unsettled(&self) -> u64 {
        let depths = self.0.apps.iter().map(|entry| entry.queue.depth());
        depths.map(|depth| depth.waiting + depth.leased).sum()
    }

    /// Removes an app; its waiting notifications become rejections, and what it was is remembered as long as its
    /// feedback.
    pub async fn deprovision(&self, app: &App) -> Result<(), ServiceError> {
        let (service, entry) = (self.clone(), Arc::clone(&app.0));
        self.to_the_end(async move { service.remove(&entry).await }).await
    }

    /// The store hears of it first: rows of an app that it does not know are rejected at the next start, so that an end
    /// of the process meanwhile loses none of them silently.
    async fn remove(&self, entry: &Arc<Entry>) -> Result<(), ServiceError> {
        let _change = entry.change.lock().await;
        let provisioned = entry.provisioned().ok_or(ServiceError::UnknownApp)?;
        let removed = Removed {
            section: provisioned.basis.section().cloned(),
            feedback: provisioned.basis.feedback_source(),
            at: self.0.clock.timestamp(),
        };
        let body = stored::encode_removed(&removed);
        self.0.store.put_app(&entry.id, body).await.map_err(ServiceError::try_later)?;
        entry.set_kept(None);
        self.0.removed.insert(entry.id.clone(), removed);
        self.0.pending.remove(entry.id.as_str());
        entry.queue.close();
        match &provisioned.standing {
            Standing::Accepted { worker, .. } => worker.remove().await.map_err(ServiceError::try_later)?,
            Standing::Refused(_) => drop(self.reject_waiting(entry, Reason::Deprovisioned).await),
        }
        entry.set_provisioned(None);
        self.0.apps.remove_if(&entry.id, |_, present| Arc::ptr_eq(present, entry));
        tracing::info!(app = %entry.id, "deprovisioned");
        // An app that has its name later is another one.
        if let Err(error) = telemetry::set_app_level(&entry.id, None) {
            tracing::warn!(app = %entry.id, "the level of its log: {error}");
        }
        Ok(())
    }
}

pub(super) fn status_of(entry: &Entry) -> Option<AppStatus> {
    let provisioned = entry.provisioned()?;
    let depth = entry.queue.depth();
    let environment = provisioned.standing.environment();
    let (state, cause, since, label) = match &provisioned.standing {
        Standing::Accepted { route, worker } => {
            let status = worker.status();
            (status.state, status.cause, status.since, Some(Label::of(&route.credentials)))
        }
        Standing::Refused(refusal) => (AppState::Refused, refusal.cause.clone(), refusal.since, refusal.label.clone()),
    };
    let is_closed =
        environment.is_some_and(|environment| environment.is_closed_by_apple()) && state != AppState::Connected;
    let causes = [Some(cause), is_closed.then(|| CLOSED_BY_APPLE.to_owned()), entry.unkept()];
    let causes: Vec<String> = causes.into_iter().flatten().filter(|cause| !cause.is_empty()).collect();
    let renewal = entry.renewal().map(|renewal| {
        format!("new credentials of {} were refused: {}; the present ones stay", renewal.at, renewal.cause)
    });
    let secrets = match &provisioned.basis {
        Basis::Terms(_) => entry.kept().map_or("", |kept| kept.secrecy.word()),
        Basis::Unreadable(unreadable) => unreadable.secrecy.word(),
    };
    Some(AppStatus {
        app_id: entry.id.clone(),
        environment: provisioned.basis.environment().to_string(),
        protocol: environment.map(|environment| environment.gateway.protocol),
        gateway: environment.map(|environment| environment.gateway.to_string()).unwrap_or_default(),
        state,
        cause: causes.join(". "),
        renewal: renewal.unwrap_or_default(),
        since,
        waiting: depth.waiting,
        in_flight: depth.leased,
        oldest: depth.oldest,
        deferred: depth.deferred,
        next_due: depth.next_due,
        retries: entry.counters.retried(),
        accepted: entry.accepted.load(Ordering::Relaxed),
        delivered: entry.counters.delivered(),
        rejected: entry.counters.rejected(),
        expires: label.as_ref().and_then(|label| label.expires),
        subject: label.map(|label| label.subject).unwrap_or_default(),
        secrets,
    })
}
