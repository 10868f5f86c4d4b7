//! The verbs, below any wire format: what callers may ask for and what they get. Knows nothing of XML or HTTP.

pub mod about;
mod apps;
mod entry;
pub mod error;
mod expiry;
pub mod export;
pub mod feedback;
mod files;
mod keep;
mod notify;
mod provision;
mod queue;
mod reload;
pub mod request;
mod request_key;
mod restore;
pub mod samples;
mod seal;
mod sections;
pub mod send;
mod standing;
pub mod status;
mod stored;
mod terms;
pub mod trace;
pub mod validate;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::entry::Entry;
use self::error::ServiceError;
use self::seal::SealKey;
use self::sections::Pending;
use self::send::WAITING_MAX;
use self::terms::Removed;
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::domain::app::{AppId, Environment, Protocol};
use crate::domain::feedback::{Cursor, Page, Rejection};
use crate::queue::Queue;
use crate::store::Store;

/// Credentials that are judged at the same time.
const JUDGED_AT_ONCE: usize = 2;
/// Most rejections or feedback entries in one answer to a call with a cursor.
const PAGE_MAX: usize = 10_000;

/// How the verbs are configured (`[provision]`, `[limits]` and `[delivery]` in the config file).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Directories under which certificate paths of callers must lie.
    pub certificate_dirs: Vec<PathBuf>,
    /// Whether every bad credential is an error, whatever the form of the call.
    pub strict: bool,
    /// What a second, different `provision` of an app does.
    pub repeat: Repeat,
    /// Connection time-out where a caller names none.
    pub connect_timeout: Duration,
    /// How long a notification may wait; also its expiration where the caller names none.
    pub max_age: Duration,
    /// Tokens in one call.
    pub tokens_per_call: usize,
    /// How long feedback is kept; as long are apps remembered that were deprovisioned.
    pub feedback_age: Duration,
    /// File whose content seals the secrets of provisions in the store; without one they are stored as they are.
    pub seal_key: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            certificate_dirs: Vec::new(),
            strict: false,
            repeat: Repeat::Replace,
            connect_timeout: Duration::from_secs(15),
            max_age: Duration::from_secs(24 * 60 * 60),
            tokens_per_call: 100_000,
            feedback_age: Duration::from_secs(90 * 24 * 60 * 60),
            seal_key: None,
        }
    }
}

/// What a second, different `provision` of an app does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Takes the place of the first.
    Replace,
    /// Nothing, as with pyapns.
    Ignore,
}

/// The verbs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PushService(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    apps: DashMap<AppId, Arc<Entry>>,
    /// Apps that were deprovisioned.
    removed: DashMap<AppId, Removed>,
    /// Sections of the config file that were not taken up, by the app's name.
    pending: DashMap<String, Pending>,
    queue: Queue,
    store: Store,
    delivery: Delivery,
    clock: Clock,
    settings: Fixed,
    setup: RwLock<Arc<Setup>>,
    key: SealKey,
    /// Turns to judge credentials.
    judging: Semaphore,
    /// A permit for each call that may wait for outcomes.
    waiting: Semaphore,
    /// Cancelled once nobody is to wait for outcomes any more.
    stopping: CancellationToken,
}

/// The settings that hold until the daemon stops.
#[derive(Debug)]
struct Fixed {
    connect_timeout: Duration,
    max_age: Duration,
    tokens_per_call: usize,
    feedback_age: Duration,
}

/// What a reload changes.
#[derive(Debug)]
struct Setup {
    environments: Environments,
    certificate_dirs: Vec<PathBuf>,
    strict: bool,
    repeat: Repeat,
}

/// The environments table: rows by name.
type Environments = BTreeMap<Arc<str>, Arc<Environment>>;

/// A provisioned app, as found by [`PushService::app`].
#[derive(Clone, Debug)]
pub struct App(Arc<Entry>);

impl App {
    /// Its name.
    pub fn id(&self) -> &AppId {
        &self.0.id
    }

    /// The protocol of its gateway.
    pub fn protocol(&self) -> Protocol {
        self.0.protocol()
    }
}

impl Setup {
    fn new(environments: Environments, settings: Settings) -> Self {
        let Settings { certificate_dirs, strict, repeat, .. } = settings;
        Self { environments, certificate_dirs, strict, repeat }
    }
}

impl PushService {
    /// The verbs over a queue, a store and delivery, without apps. Reads the key that seals secrets.
    pub fn new(environments: Environments, queue: Queue, delivery: Delivery, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            apps: DashMap::new(),
            removed: DashMap::new(),
            pending: DashMap::new(),
            queue,
            store: delivery.store.clone(),
            clock: delivery.clock.clone(),
            delivery,
            settings: Fixed {
                connect_timeout: settings.connect_timeout,
                max_age: settings.max_age,
                tokens_per_call: settings.tokens_per_call,
                feedback_age: settings.feedback_age,
            },
            judging: Semaphore::new(JUDGED_AT_ONCE),
            key: SealKey::read(settings.seal_key.as_deref()),
            waiting: Semaphore::new(WAITING_MAX),
            stopping: CancellationToken::new(),
            setup: RwLock::new(Arc::new(Setup::new(environments, settings))),
        }))
    }

    /// What holds until the next reload.
    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.0.setup.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds an app.
    pub fn app(&self, app_id: &str) -> Result<App, ServiceError> {
        let entry = self.0.apps.get(app_id).ok_or(ServiceError::UnknownApp)?;
        if !entry.is_provisioned() {
            return Err(ServiceError::UnknownApp);
        }
        Ok(App(Arc::clone(&entry)))
    }

    /// Rejections after a cursor; also of an app that was deprovisioned.
    pub async fn rejections_after(&self, app_id: &str, cursor: Cursor) -> Result<Page<Rejection>, ServiceError> {
        let id = AppId::parse(app_id).map_err(|_| ServiceError::UnknownApp)?;
        let page = self.0.store.rejections_after(&id, cursor, PAGE_MAX).await.map_err(ServiceError::try_later)?;
        let known = !page.entries.is_empty()
            || self.app(app_id).is_ok()
            || self.0.store.has_rejections(&id).await.map_err(ServiceError::try_later)?;
        if known { Ok(page) } else { Err(ServiceError::UnknownApp) }
    }

    /// An app's newest rejections, at most `limit` of them, oldest first.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn latest_rejections(&self, app_id: &AppId, limit: usize) -> Result<Vec<Rejection>, ServiceError> {
        self.0.store.latest_rejections(app_id, limit).await.map_err(ServiceError::try_later)
    }
}

#[cfg(test)]
mod tests;
