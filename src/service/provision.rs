//! `provision`: judge the credentials, then add the app or replace what it has.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use tracing::{info, warn};

use super::apps::{CLOSED_BY_APPLE, Entry, Provisioned, Standing};
use super::error::ServiceError;
use super::request::Provision;
use super::{PushService, Repeat};
use crate::credentials::error::CredentialsError;
use crate::credentials::{self, Credentials, source};
use crate::delivery::CommandError;
use crate::domain::app::{AppId, Environment};
use crate::gateway::{Route, RouteError};

/// Environments that are there without a config file. An error names only those besides them, so that old callers read
/// the sentence that they know.
const BUILT_IN: [&str; 5] = ["sandbox", "production", "sandbox-binary", "production-binary", "fcm"];

/// What became of a `provision` whose credentials are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Timing,
    Credentials,
}

/// Why credentials were not taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    /// They are of no use, or their environment is not. The cause.
    Credentials(String),
    /// Nothing is wrong with them; another time. The cause.
    Busy(String),
}

impl From<RouteError> for Problem {
    fn from(error: RouteError) -> Self {
        Self::Credentials(error.to_string())
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused(_) => Self::Credentials(error.to_string()),
            CommandError::Stopped => Self::Busy(error.to_string()),
        }
    }
}

impl PushService {
    /// Adds an app, or replaces its credentials, environment, time-out or options.
    ///
    /// Bad credentials are an error where the call has options or the daemon is strict. Otherwise the app then exists
    /// as refused, so that a list of provisions does not end at a bad one; an app that works keeps what it has.
    pub async fn provision(&self, request: Provision) -> Result<(), ServiceError> {
        self.provision_from(request, Some(self.0.settings.certificate_dirs.clone())).await
    }

    /// The same for an app of the config file, whose certificate path may lie anywhere.
    pub async fn provision_configured(&self, request: Provision) -> Result<(), ServiceError> {
        self.provision_from(request, None).await
    }

    async fn provision_from(&self, request: Provision, dirs: Option<Vec<PathBuf>>) -> Result<(), ServiceError> {
        let environment = self.environment(&request.environment)?;
        let id = AppId::parse(&request.app_id).map_err(|error| ServiceError::InvalidArgument(error.to_string()))?;
        let judged = self.judge(&request.certificate, &environment, dirs).await;
        let (entry, _change) = self.entry_to_change(&id).await;
        let provided = match judged {
            Ok(credentials) => self.take_up(&entry, &request, &environment, credentials).await,
            Err(cause) => Err(Problem::Credentials(cause)),
        };
        match provided {
            Ok(()) => Ok(()),
            Err(Problem::Busy(cause)) => {
                self.forget_if_new(&entry);
                Err(ServiceError::TryLater(cause))
            }
            Err(Problem::Credentials(cause)) if request.options.is_some() || self.0.settings.strict => {
                self.forget_if_new(&entry);
                Err(ServiceError::InvalidArgument(cause))
            }
            Err(Problem::Credentials(cause)) => {
                self.refuse(&entry, &request, environment, cause);
                Ok(())
            }
        }
    }

    fn environment(&self, name: &str) -> Result<Arc<Environment>, ServiceError> {
        self.0.environments.get(name).cloned().ok_or_else(|| {
            let others = self.0.environments.keys().filter(|name| !BUILT_IN.contains(&&***name));
            ServiceError::InvalidEnvironment {
                name: name.to_owned(),
                others: others.map(ToString::to_string).collect(),
            }
        })
    }

    /// Reads, parses and judges credentials, off the async threads; what is wrong with them otherwise.
    async fn judge(
        &self,
        certificate: &str,
        environment: &Arc<Environment>,
        dirs: Option<Vec<PathBuf>>,
    ) -> Result<Arc<Credentials>, String> {
        let certificate = certificate.to_owned();
        let environment = Arc::clone(environment);
        let now = self.0.clock.timestamp();
        let judge = move || {
            let bytes = match dirs {
                Some(dirs) => source::read(&certificate, &dirs)?.1,
                None => source::read_file(Path::new(&certificate))?,
            };
            let credentials = credentials::parse(&bytes)?;
            credentials.judge(&environment, now)?;
            Ok(Arc::new(credentials))
        };
        match tokio::task::spawn_blocking(judge).await {
            Ok(judged) => judged.map_err(|error: CredentialsError| error.to_string()),
            Err(panic) => Err(format!("the certificate could not be read: {panic}")),
        }
    }

    /// The app's entry, a new one that nobody finds yet where it has none, locked against other changes. An entry that
    /// was removed while this waited for it is not the app's any more.
    async fn entry_to_change(&self, id: &AppId) -> (Arc<Entry>, OwnedMutexGuard<()>) {
        let new = || Arc::new(Entry::new(id.clone(), self.0.queue.open(id.clone())));
        loop {
            let entry = Arc::clone(&self.0.apps.entry(id.clone()).or_insert_with(new));
            let change = Arc::clone(&entry.change).lock_owned().await;
            if self.0.apps.get(id).is_some_and(|present| Arc::ptr_eq(&present, &entry)) {
                return (entry, change);
            }
        }
    }

    /// Starts the app, or changes what differs.
    async fn take_up(
        &self,
        entry: &Entry,
        request: &Provision,
        environment: &Arc<Environment>,
        credentials: Arc<Credentials>,
    ) -> Result<(), Problem> {
        let timeout = request.timeout.unwrap_or(self.0.settings.connect_timeout);
        let route = Route {
            app: entry.id.clone(),
            environment: Arc::clone(environment),
            credentials: Arc::clone(&credentials),
            connect_timeout: timeout,
        };
        let worker = match entry.provisioned().map(|present| (self.change(&present, request, &route), present)) {
            Some((Change::None, Provisioned { credentials: Standing::Accepted { worker, .. }, .. })) => {
                // Provisioning again is how callers say "try again".
                if worker.status().refuses {
                    worker.resume().await?;
                }
                return Ok(());
            }
            Some((change, Provisioned { credentials: Standing::Accepted { credentials: present, worker }, .. })) => {
                if self.0.settings.repeat == Repeat::Ignore {
                    return Ok(());
                }
                if change == Change::Credentials {
                    forbid_earlier_end(&present, request, &route)?;
                    self.0.delivery.replace(&worker, route).await??;
                } else {
                    worker.set_connect_timeout(timeout).await?;
                }
                worker
            }
            None | Some((_, Provisioned { credentials: Standing::Refused(_), .. })) => {
                self.0.delivery.start(route, entry.queue.clone(), Arc::clone(&entry.counters))?
            }
        };
        let facts = credentials.facts();
        info!(app = %entry.id, environment = %environment.name, subject = %facts.subject, expires = %facts.not_after, "provisioned");
        if environment.is_closed_by_apple() {
            warn!(app = %entry.id, environment = %environment.name, "{CLOSED_BY_APPLE}");
        }
        entry.set_provisioned(Some(Provisioned {
            environment: Arc::clone(environment),
            timeout,
            defaults: request.options.as_ref().map(|options| options.notify.clone()).unwrap_or_default(),
            credentials: Standing::Accepted { credentials, worker },
            since: self.0.clock.timestamp(),
        }));
        Ok(())
    }

    /// What a request changes about an app. Identity is leaf certificate, key and environment.
    fn change(&self, present: &Provisioned, request: &Provision, route: &Route) -> Change {
        let Standing::Accepted { credentials, .. } = &present.credentials else { return Change::Credentials };
        if credentials.fingerprint() != route.credentials.fingerprint() || present.environment != route.environment {
            return Change::Credentials;
        }
        let same_defaults = request.options.as_ref().is_none_or(|options| options.notify == present.defaults);
        match present.timeout == route.connect_timeout && same_defaults {
            true => Change::None,
            false => Change::Timing,
        }
    }

    fn refuse(&self, entry: &Entry, request: &Provision, environment: Arc<Environment>, cause: String) {
        if let Some(Provisioned { credentials: Standing::Accepted { .. }, .. }) = entry.provisioned() {
            warn!(app = %entry.id, "the new credentials are refused, the present ones stay: {cause}");
            return;
        }
        warn!(app = %entry.id, environment = %environment.name, "refused: {cause}");
        entry.set_provisioned(Some(Provisioned {
            environment,
            timeout: request.timeout.unwrap_or(self.0.settings.connect_timeout),
            defaults: Default::default(),
            credentials: Standing::Refused(cause),
            since: self.0.clock.timestamp(),
        }));
    }

    fn forget_if_new(&self, entry: &Entry) {
        if !entry.is_provisioned() {
            self.0.apps.remove_if(&entry.id, |_, present| !present.is_provisioned());
        }
    }
}

/// A certificate that ends earlier than the present one comes from a worker that has not heard of the renewal.
fn forbid_earlier_end(present: &Credentials, request: &Provision, route: &Route) -> Result<(), Problem> {
    let forced = request.options.as_ref().is_some_and(|options| options.force);
    let (ends, new_ends) = (present.facts().not_after, route.credentials.facts().not_after);
    if forced || new_ends >= ends {
        return Ok(());
    }
    Err(Problem::Credentials(format!(
        "this certificate ends on {new_ends}, earlier than the present one ({ends}): the present one stays. Pass the \
         option `force` to replace it all the same"
    )))
}
