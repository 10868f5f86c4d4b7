//! The verbs, below any wire format: what callers may ask for and what they get. Knows nothing of XML or HTTP.

mod apps;
pub mod error;
pub mod feedback;
mod notify;
mod provision;
pub mod request;
mod request_ids;
mod seal;
pub mod status;
mod stored;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;

use self::apps::Entry;
use self::error::ServiceError;
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::domain::app::{AppId, Environment, Protocol};
use crate::domain::feedback::{Cursor, Page, Rejection};
use crate::queue::Queue;
use crate::store::Store;

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
    environments: BTreeMap<Arc<str>, Arc<Environment>>,
    queue: Queue,
    store: Store,
    delivery: Delivery,
    clock: Clock,
    settings: Settings,
}

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

impl PushService {
    /// The verbs over a queue, a store and delivery, without apps.
    pub fn new(
        environments: BTreeMap<Arc<str>, Arc<Environment>>,
        queue: Queue,
        delivery: Delivery,
        settings: Settings,
    ) -> Self {
        Self(Arc::new(Inner {
            apps: DashMap::new(),
            environments,
            queue,
            store: delivery.store.clone(),
            clock: delivery.clock.clone(),
            delivery,
            settings,
        }))
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
}

#[cfg(test)]
mod tests;
