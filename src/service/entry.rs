//! One app in the registry: what it was provisioned with, and whether that could be used.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::error::ServiceError;
use super::expiry::Told;
use super::feedback::Answered;
use super::request::NotifyOptions;
use super::standing::FileMarks;
use super::stored::{Secrecy, Unreadable};
use super::terms::{SectionDigest, Terms};
use crate::credentials::Credentials;
use crate::credentials::source::FileMark;
use crate::delivery::WorkerHandle;
use crate::delivery::counters::Counters;
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
    /// Held while anything of `provisioned`, `kept`, `unkept`, `seen`, `seen_ca` and `renewal` changes.
    pub(super) change: Arc<tokio::sync::Mutex<()>>,
    /// Held from a plain `feedback` call until its answer has left.
    pub(super) feedback_turn: Arc<tokio::sync::Mutex<Answered>>,
    /// Whether the feedback service is polled in the background.
    pub(super) polled: AtomicBool,
    provisioned: RwLock<Option<Provisioned>>,
    /// What the store holds, where that is known to be what could be read of it.
    kept: Mutex<Option<Kept>>,
    /// Why the store does not hold what the app has, where the last attempt failed.
    unkept: Mutex<Option<String>>,
    /// The files of the credentials, as they were when they were last read.
    seen: Mutex<FileMarks>,
    /// The environment's `ca`, as it was just before the worker read it.
    seen_ca: Mutex<Option<FileMark>>,
    /// What the log has of the end of the certificate.
    told_expiry: Mutex<Option<Told>>,
    /// The latest credentials that were refused while it works with others; until it accepts some, or works no more.
    renewal: Mutex<Option<Renewal>>,
}

/// New credentials that were refused.
#[derive(Clone, Debug)]
pub(super) struct Renewal {
    /// In words, with what to do.
    pub(super) cause: String,
    pub(super) at: Timestamp,
}

/// What the store holds of an app.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) terms: Arc<Terms>,
    pub(super) secrecy: Secrecy,
}

/// An app that is provisioned.
#[derive(Clone, Debug)]
pub(super) struct Provisioned {
    pub(super) basis: Basis,
    /// What `notify` assumes where a caller gives no option.
    pub(super) defaults: NotifyOptions,
    pub(super) standing: Standing,
}

/// What an app was provisioned with.
#[derive(Clone, Debug)]
pub(super) enum Basis {
    Terms(Arc<Terms>),
    /// The store holds something that cannot be read, and keeps it until a caller provisions the app again.
    Unreadable(Arc<Unreadable>),
}

/// Whether what an app was provisioned with can be used.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// It can; the worker runs.
    Accepted { route: Route, worker: WorkerHandle },
    /// It cannot; there is no worker, and the queue keeps what it has.
    Refused(Refusal),
}

/// Why an app cannot be used.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// In words, with what to do.
    pub(super) cause: String,
    pub(super) since: Timestamp,
    /// The app's row of the environments table; `None` where there is none.
    pub(super) environment: Option<Arc<Environment>>,
    /// Which credentials were refused, where that could be read.
    pub(super) label: Option<Label>,
}

/// What credentials say of themselves.
#[derive(Clone, Debug)]
pub(super) struct Label {
    pub(super) subject: String,
    /// When they end.
    pub(super) expires: Option<Timestamp>,
}

impl Label {
    pub(super) fn of(credentials: &Credentials) -> Self {
        Self { subject: credentials.subject().into_owned(), expires: credentials.not_after() }
    }
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
            kept: Mutex::default(),
            unkept: Mutex::default(),
            seen: Mutex::default(),
            seen_ca: Mutex::default(),
            told_expiry: Mutex::default(),
            renewal: Mutex::default(),
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
        let environment = provisioned.as_ref().and_then(|provisioned| provisioned.standing.environment());
        environment.map_or(Protocol::Binary, |environment| environment.gateway.protocol)
    }

    pub(super) fn kept(&self) -> Option<Kept> {
        locked(&self.kept).clone()
    }

    pub(super) fn set_kept(&self, kept: Option<Kept>) {
        *locked(&self.kept) = kept;
    }

    pub(super) fn unkept(&self) -> Option<String> {
        locked(&self.unkept).clone()
    }

    pub(super) fn set_unkept(&self, cause: Option<String>) {
        *locked(&self.unkept) = cause;
    }

    pub(super) fn seen(&self) -> FileMarks {
        *locked(&self.seen)
    }

    pub(super) fn set_seen(&self, marks: FileMarks) {
        *locked(&self.seen) = marks;
    }

    pub(super) fn seen_ca(&self) -> Option<FileMark> {
        *locked(&self.seen_ca)
    }

    pub(super) fn told_expiry(&self) -> Option<Told> {
        *locked(&self.told_expiry)
    }

    pub(super) fn set_told_expiry(&self, told: Option<Told>) {
        *locked(&self.told_expiry) = told;
    }

    pub(super) fn renewal(&self) -> Option<Renewal> {
        locked(&self.renewal).clone()
    }

    pub(super) fn set_renewal(&self, renewal: Option<Renewal>) {
        *locked(&self.renewal) = renewal;
    }

    pub(super) fn set_seen_ca(&self, mark: Option<FileMark>) {
        *locked(&self.seen_ca) = mark;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Provisioned {
    pub(super) fn new(terms: Arc<Terms>, standing: Standing) -> Self {
        Self { defaults: terms.options.notify.clone(), basis: Basis::Terms(terms), standing }
    }

    /// What it was provisioned with, where that is known.
    pub(super) fn terms(&self) -> Option<&Arc<Terms>> {
        match &self.basis {
            Basis::Terms(terms) => Some(terms),
            Basis::Unreadable(_) => None,
        }
    }

    /// The worker, or why there is none.
    pub(super) fn worker(&self) -> Result<&WorkerHandle, ServiceError> {
        match &self.standing {
            Standing::Accepted { worker, .. } => Ok(worker),
            Standing::Refused(refusal) => Err(ServiceError::NotConnected(refusal.cause.clone())),
        }
    }
}

impl Provisioned {
    /// The worker, where the app takes notifications; else why not.
    pub(super) fn taking(&self) -> Result<&WorkerHandle, ServiceError> {
        let worker = self.worker()?;
        let status = worker.status();
        if status.refuses { Err(ServiceError::NotConnected(status.cause)) } else { Ok(worker) }
    }
}

impl Basis {
    /// Name of the environment; empty where even that is not known.
    pub(super) fn environment(&self) -> &Arc<str> {
        match self {
            Self::Terms(terms) => &terms.environment,
            Self::Unreadable(unreadable) => &unreadable.environment,
        }
    }

    /// The `[[app]]` section that was last applied.
    pub(super) fn section(&self) -> Option<&SectionDigest> {
        match self {
            Self::Terms(terms) => terms.section.as_ref(),
            Self::Unreadable(unreadable) => unreadable.section.as_ref(),
        }
    }

    /// Whose feedback the app reads, as far as that is known.
    pub(super) fn feedback_source(&self) -> Option<FeedbackSource> {
        match self {
            Self::Terms(terms) => terms.feedback_source(),
            Self::Unreadable(_) => None,
        }
    }
}

impl Standing {
    /// The app's row of the environments table, where there is one.
    pub(super) fn environment(&self) -> Option<&Arc<Environment>> {
        match self {
            Self::Accepted { route, .. } => Some(&route.environment),
            Self::Refused(refusal) => refusal.environment.as_ref(),
        }
    }
}
