//! The registry's entries, and the verbs that show and steer apps.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::error::ServiceError;
use super::request::NotifyOptions;
use super::status::AppStatus;
use super::{App, PushService};
use crate::credentials::Credentials;
use crate::delivery::{Counters, WorkerHandle};
use crate::domain::app::{AppId, Environment, Protocol};
use crate::domain::time::Timestamp;
use crate::gateway::Route;
use crate::queue::AppQueue;
use crate::store::FeedbackSource;

/// One app in the registry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: AppId,
    pub(super) queue: AppQueue,
    pub(super) counters: Arc<Counters>,
    pub(super) accepted: AtomicU64,
    /// Held while the app is provisioned or deprovisioned.
    pub(super) change: Arc<tokio::sync::Mutex<()>>,
    /// Held from a plain `feedback` call until its answer has left.
    pub(super) feedback_turn: Arc<tokio::sync::Mutex<()>>,
    /// Whether the feedback service is polled in the background.
    pub(super) polled: AtomicBool,
    provisioned: RwLock<Option<Provisioned>>,
}

/// What an app was provisioned with.
#[derive(Clone, Debug)]
pub(super) struct Provisioned {
    pub(super) environment: Arc<Environment>,
    pub(super) timeout: Duration,
    pub(super) defaults: NotifyOptions,
    pub(super) credentials: Standing,
    pub(super) since: Timestamp,
}

/// Whether the credentials could be used.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// They could; the worker runs.
    Accepted { credentials: Arc<Credentials>, worker: WorkerHandle },
    /// They could not, for a cause; there is no worker.
    Refused(String),
}

impl Entry {
    pub(super) fn new(id: AppId, queue: AppQueue) -> Self {
        Self {
            id,
            queue,
            counters: Arc::default(),
            accepted: AtomicU64::new(0),
            change: Arc::default(),
            feedback_turn: Arc::default(),
            polled: AtomicBool::new(false),
            provisioned: RwLock::new(None),
        }
    }

    /// What it was provisioned with; `None` before the first time and after it was deprovisioned.
    pub(super) fn provisioned(&self) -> Option<Provisioned> {
        self.provisioned.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn is_provisioned(&self) -> bool {
        self.provisioned.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn set_provisioned(&self, provisioned: Option<Provisioned>) {
        *self.provisioned.write().unwrap_or_else(PoisonError::into_inner) = provisioned;
    }

    pub(super) fn protocol(&self) -> Protocol {
        let provisioned = self.provisioned.read().unwrap_or_else(PoisonError::into_inner);
        provisioned.as_ref().map_or(Protocol::Binary, |provisioned| provisioned.environment.gateway.protocol)
    }
}

impl Provisioned {
    /// The worker, or why there is none.
    pub(super) fn worker(&self) -> Result<&WorkerHandle, ServiceError> {
        match &self.credentials {
            Standing::Accepted { worker, .. } => Ok(worker),
            Standing::Refused(cause) => Err(ServiceError::NotConnected(cause.clone())),
        }
    }

    /// How the app reaches its environment, and whose feedback it reads.
    pub(super) fn route(&self, app: &AppId) -> Result<(Route, FeedbackSource), ServiceError> {
        let credentials = match &self.credentials {
            Standing::Accepted { credentials, .. } => Arc::clone(credentials),
            Standing::Refused(cause) => return Err(ServiceError::NotConnected(cause.clone())),
        };
        let facts = credentials.facts();
        let topic = facts.uid.as_deref().unwrap_or(&facts.subject);
        let source = FeedbackSource { environment: Arc::clone(&self.environment.name), topic: topic.into() };
        let environment = Arc::clone(&self.environment);
        Ok((Route { app: app.clone(), environment, credentials, connect_timeout: self.timeout }, source))
    }
}

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

    /// Stops sending until [`PushService::resume`]; the queue keeps what it has and `notify` goes on accepting.
    pub async fn pause(&self, app: &App) -> Result<(), ServiceError> {
        let provisioned = app.0.provisioned().ok_or(ServiceError::UnknownApp)?;
        provisioned.worker()?.pause().await.map_err(ServiceError::try_later)
    }

    /// Sends again, whatever it was that paused the app.
    pub async fn resume(&self, app: &App) -> Result<(), ServiceError> {
        let provisioned = app.0.provisioned().ok_or(ServiceError::UnknownApp)?;
        provisioned.worker()?.resume().await.map_err(ServiceError::try_later)
    }

    /// Notifications that were accepted and have no outcome yet, over all apps.
    pub fn unsettled(&self) -> u64 {
        let depths = self.0.apps.iter().map(|entry| entry.queue.depth());
        depths.map(|depth| depth.waiting + depth.leased).sum()
    }

    /// Removes an app; its waiting notifications become rejections.
    pub async fn deprovision(&self, app: &App) -> Result<(), ServiceError> {
        let entry = &app.0;
        let _change = entry.change.lock().await;
        let provisioned = entry.provisioned().ok_or(ServiceError::UnknownApp)?;
        entry.queue.close();
        if let Standing::Accepted { worker, .. } = &provisioned.credentials {
            worker.remove().await.map_err(ServiceError::try_later)?;
        }
        entry.set_provisioned(None);
        self.0.apps.remove_if(&entry.id, |_, present| Arc::ptr_eq(present, entry));
        tracing::info!(app = %entry.id, "deprovisioned");
        Ok(())
    }
}

fn status_of(entry: &Entry) -> Option<AppStatus> {
    let provisioned = entry.provisioned()?;
    let depth = entry.queue.depth();
    let (state, cause, since) = match &provisioned.credentials {
        Standing::Accepted { worker, .. } => {
            let status = worker.status();
            (status.state, status.cause, status.since)
        }
        Standing::Refused(cause) => ("refused", cause.clone(), provisioned.since),
    };
    let facts = match &provisioned.credentials {
        Standing::Accepted { credentials, .. } => Some(credentials.facts()),
        Standing::Refused(_) => None,
    };
    let cause = match provisioned.environment.is_closed_by_apple() && state != "connected" {
        true => format!("{cause}{}{CLOSED_BY_APPLE}", if cause.is_empty() { "" } else { ". " }),
        false => cause,
    };
    Some(AppStatus {
        app_id: entry.id.clone(),
        environment: provisioned.environment.name.to_string(),
        protocol: provisioned.environment.gateway.protocol,
        gateway: provisioned.environment.gateway.to_string(),
        state,
        cause,
        since,
        waiting: depth.waiting,
        in_flight: depth.leased,
        oldest: depth.oldest,
        accepted: entry.accepted.load(Ordering::Relaxed),
        delivered: entry.counters.delivered(),
        rejected: entry.counters.rejected(),
        subject: facts.map(|facts| facts.subject.clone()).unwrap_or_default(),
        expires: facts.map(|facts| facts.not_after),
    })
}
