//! `provision`: judge the credentials, keep them in the store, and add the app or replace what it has.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use tracing::{Instrument as _, warn};

use super::entry::{Basis, Entry, Label, Provisioned, Renewal, Standing};
use super::error::ServiceError;
use super::request::{Provision, ProvisionOptions};
use super::standing::{Judged, Unusable, ca_mark, vanished};
use super::terms::{SectionDigest, Terms};
use super::{PushService, Repeat};
use crate::credentials::Credentials;
use crate::credentials::error::CredentialsError;
use crate::credentials::source::FILE_BYTES_MAX;
use crate::delivery::{CommandError, WorkerHandle, feedback_source};
use crate::domain::app::{AppId, Environment, Protocol};
use crate::domain::outcome::Reason;
use crate::gateway::{Gateway, Route, RouteError};

/// Environments that are there without a config file. An error names only those besides them, so that old callers read
/// the sentence that they know.
const BUILT_IN: [&str; 5] = ["sandbox", "production", "sandbox-binary", "production-binary", "fcm"];

/// Who wants a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A caller, who may know less than the daemon does unless it insists.
    Caller { force: bool },
    /// An operator, who changed the config file or a credential file on purpose.
    Operator,
}

/// Why credentials were not taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// They are of no use, or their environment is not. The cause.
    Credentials(String),
    /// Whom the environment trusts cannot be read. The cause.
    Trust(String),
    /// Nothing is wrong with them; another time. The cause.
    Busy(String),
}

impl From<RouteError> for Problem {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::Ca { .. } | RouteError::NoSystemRoots(_) => Self::Trust(error.to_string()),
            RouteError::Protocol { .. } | RouteError::Host(_) | RouteError::Credentials(_) => {
                Self::Credentials(error.to_string())
            }
        }
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

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        Self::Busy(error.to_string())
    }
}

impl PushService {
    /// Adds an app, or replaces its credentials, environment, time-out or options; durable when this returns.
    ///
    /// Bad credentials are an error where the call has options or the daemon is strict. Otherwise the app then exists
    /// as refused, so that a list of provisions does not end at a bad one; an app that works keeps what it has, and its
    /// status tells. When the store fails, nothing is changed, but for the connection of an app that works: it keeps its new credentials,
    /// and they are kept in the store as soon as that works.
    pub async fn provision(&self, request: Provision) -> Result<(), ServiceError> {
        let service = self.clone();
        self.to_the_end(async move { service.provision_from(request, None).await }).await
    }

    /// The same for a section of the config file. Its certificate may lie anywhere, and where that is of no use or the
    /// environment does not exist, the app is refused and not unknown.
    pub(super) async fn provision_section(
        &self,
        request: Provision,
        section: SectionDigest,
    ) -> Result<(), ServiceError> {
        self.provision_from(request, Some(section)).await
    }

    /// Carries work out even when the caller goes away meanwhile, so that no change of an app is left half done.
    pub(super) async fn to_the_end(
        &self,
        work: impl Future<Output = Result<(), ServiceError>> + Send + 'static,
    ) -> Result<(), ServiceError> {
        let (done, answer) = tokio::sync::oneshot::channel();
        let work = async move {
            // Nobody may wait for it any more.
            let _ = done.send(work.await);
        };
        self.0.delivery.shutdown.spawn(work.in_current_span());
        answer.await.unwrap_or_else(|_| Err(ServiceError::try_later(CommandError::Stopped)))
    }

    async fn provision_from(&self, request: Provision, section: Option<SectionDigest>) -> Result<(), ServiceError> {
        // An app that is there may be provisioned again, whatever its name.
        let parse = if self.app(&request.app_id).is_ok() { AppId::parse } else { AppId::parse_new };
        let id = parse(&request.app_id).map_err(|error| ServiceError::InvalidArgument(error.to_string()))?;
        let (entry, _change) = self.entry_to_change(&id).await;
        let provided = self.change(&entry, &request, section).await;
        self.drop_if_unused(&entry);
        provided
    }

    /// Takes an entry out of the registry that was made for a change and holds no app after all.
    pub(super) fn drop_if_unused(&self, entry: &Entry) {
        self.0.apps.remove_if(&entry.id, |_, present| !present.is_provisioned());
    }

    async fn change(
        &self,
        entry: &Entry,
        request: &Provision,
        section: Option<SectionDigest>,
    ) -> Result<(), ServiceError> {
        if request.certificate.len() as u64 > FILE_BYTES_MAX {
            return Err(ServiceError::InvalidArgument(CredentialsError::TooLarge(FILE_BYTES_MAX).to_string()));
        }
        let tells = section.is_none() && (request.options.is_some() || self.setup().strict);
        let by = match section {
            Some(_) => By::Operator,
            None => By::Caller { force: request.options.as_ref().is_some_and(|options| options.force) },
        };
        let from_section = section.is_some();
        let terms = self.completed(entry, request, Terms::of(request, section, self.0.clock.timestamp()));
        let environment = match self.environment(&request.environment) {
            Ok(environment) => environment,
            Err(_) if from_section => {
                let cause = vanished(&terms.environment);
                return self.refuse(entry, terms, None, cause.into()).await.map(drop);
            }
            Err(error) => return Err(error),
        };
        let Judged { marks, credentials } = self.judge(&terms, &environment).await;
        let (provided, label) = match credentials {
            Ok(credentials) => {
                let label = Label::of(&credentials);
                (self.take_up(entry, terms.clone(), &environment, credentials, by).await, Some(label))
            }
            Err(Unusable { cause, label }) => (Err(Problem::Credentials(cause)), label),
        };
        match provided {
            Ok(()) => {
                entry.set_seen(marks);
                entry.set_renewal(None);
            }
            Err(Problem::Busy(cause)) => return Err(ServiceError::TryLater(cause)),
            Err(Problem::Credentials(cause) | Problem::Trust(cause)) if tells => {
                return Err(ServiceError::InvalidArgument(cause));
            }
            Err(Problem::Credentials(cause) | Problem::Trust(cause)) => {
                if self.refuse(entry, terms, Some(environment), Unusable { cause, label }).await? {
                    entry.set_seen(marks);
                }
            }
        }
        self.keep(entry).await
    }

    fn environment(&self, name: &str) -> Result<Arc<Environment>, ServiceError> {
        let setup = self.setup();
        setup.environments.get(name).cloned().ok_or_else(|| {
            let others = setup.environments.keys().filter(|name| !BUILT_IN.contains(&&***name));
            ServiceError::InvalidEnvironment {
                name: name.to_owned(),
                others: others.map(ToString::to_string).collect(),
            }
        })
    }

    /// The app's entry, a new one that nobody finds yet where it has none, locked against other changes. An entry that
    /// was removed while this waited for it is not the app's any more.
    pub(super) async fn entry_to_change(&self, id: &AppId) -> (Arc<Entry>, OwnedMutexGuard<()>) {
        let new = || Arc::new(Entry::new(id.clone(), self.0.queue.open(id.clone())));
        loop {
            let entry = Arc::clone(&self.0.apps.entry(id.clone()).or_insert_with(new));
            let change = Arc::clone(&entry.change).lock_owned().await;
            if self.0.apps.get(id).is_some_and(|present| Arc::ptr_eq(&present, &entry)) {
                return (entry, change);
            }
        }
    }

    /// What a request leaves open, from what the app has: its section, and, where the request has no options, those
    /// that it may know nothing of. Options that describe credentials go with them.
    fn completed(&self, entry: &Entry, request: &Provision, mut terms: Terms) -> Terms {
        let present = entry.provisioned().map(|present| present.basis);
        let from_section = terms.section.is_some();
        if !from_section {
            let removed = || self.0.removed.get(&entry.id).and_then(|removed| removed.section.clone());
            terms.section = present.as_ref().and_then(|present| present.section().cloned()).or_else(removed);
        }
        let Some(Basis::Terms(present)) = present else { return terms };
        terms.is_paused = present.is_paused;
        terms.moved_after = present.moved_after;
        if from_section {
            // A section has no words for them.
            terms.options.notify = present.options.notify.clone();
        } else if request.options.is_none() {
            let options = present.options.clone();
            terms.options = match present.certificate == terms.certificate {
                true => options,
                false => ProvisionOptions {
                    connections: options.connections,
                    notify: options.notify,
                    ..ProvisionOptions::default()
                },
            };
        }
        terms
    }

    /// Starts the app, or changes what differs. Identity is credentials and environment with its `ca`, and over HTTP/2
    /// topic and number of connections.
    ///
    /// Whatever can be kept before it takes effect is: a new app is nowhere when that fails. Only a new connection is
    /// tried first, so that what the gateway refuses is not kept; it is to be kept by [`PushService::keep`].
    pub(super) async fn take_up(
        &self,
        entry: &Entry,
        terms: Terms,
        environment: &Arc<Environment>,
        credentials: Arc<Credentials>,
        by: By,
    ) -> Result<(), Problem> {
        let route = self.route(entry, &terms, environment, credentials);
        let terms = Terms { feedback_topic: Some(feedback_source(&route).topic), ..terms };
        match entry.provisioned() {
            Some(Provisioned { basis, standing: Standing::Accepted { route: present, worker }, .. }) => {
                let ca = ca_mark(environment);
                let is_same = has_same_identity(&present, &route) && entry.seen_ca() == ca;
                let ignores = by != By::Operator && self.setup().repeat == Repeat::Ignore;
                // Provisioning again is how callers say "try again".
                if (is_same || ignores) && worker.status().refuses {
                    worker.resume().await?;
                }
                match basis {
                    _ if ignores => Ok(()),
                    Basis::Terms(present) if is_same => self.alter(entry, &present, terms, route, worker).await,
                    Basis::Terms(_) | Basis::Unreadable(_) => {
                        if by == (By::Caller { force: false }) {
                            forbid_earlier_end(&present.credentials, &route)?;
                        }
                        self.check_sealing(entry, &terms)?;
                        let moved_after = self.0.delivery.replace(&worker, route.clone()).await??;
                        entry.set_seen_ca(ca);
                        if moved_after.is_some()
                            && let Err(problem) = self.0.store.flush().await
                        {
                            warn!(app = %entry.id, "what was delivered before the move is not kept yet: {problem}");
                        }
                        let terms = Terms { moved_after: moved_after.or(terms.moved_after), ..terms };
                        self.stand_accepted(entry, Arc::new(terms), route, worker);
                        Ok(())
                    }
                }
            }
            Some(_) | None => self.start_anew(entry, terms, route).await,
        }
    }

    /// Changes what does not concern the connection.
    async fn alter(
        &self,
        entry: &Entry,
        present: &Terms,
        terms: Terms,
        route: Route,
        worker: WorkerHandle,
    ) -> Result<(), Problem> {
        let terms = Terms { since: present.since, ..terms };
        if terms == *present {
            return Ok(());
        }
        let terms = Arc::new(terms);
        self.keep_terms(entry, &terms).await?;
        worker.set_connect_timeout(route.connect_timeout).await?;
        self.stand_accepted(entry, terms, route, worker);
        Ok(())
    }

    /// Starts an app that has no worker.
    async fn start_anew(&self, entry: &Entry, terms: Terms, route: Route) -> Result<(), Problem> {
        Gateway::new(route.clone(), &self.0.delivery.gateway, self.0.clock.clone())?;
        self.check_sealing(entry, &terms)?;
        // Before the store has the app elsewhere: what waits must never go out there, whenever the process ends.
        if self.is_to_move(entry, &terms) {
            self.reject_waiting(entry, Reason::EnvironmentChanged).await;
        }
        let terms = Arc::new(terms);
        self.keep_terms(entry, &terms).await?;
        entry.set_seen_ca(ca_mark(&route.environment));
        match self.start(entry, &terms, route.clone()).await {
            Ok(worker) => self.stand_accepted(entry, terms, route, worker),
            // Its files changed within this moment.
            Err(error) => self.stand_refused(entry, terms, Some(route.environment), error.to_string().into()),
        }
        Ok(())
    }

    /// Whether the rows of an app without a worker wait for another environment.
    fn is_to_move(&self, entry: &Entry, terms: &Terms) -> bool {
        let present = entry.provisioned().map(|present| Arc::clone(present.basis.environment()));
        // Rows of an unknown environment have the benefit of the doubt.
        present.is_some_and(|present| !present.is_empty() && present != terms.environment)
    }

    /// Makes an app a refused one, unless it has something better: a worker, a record that may yet be read, or rows that
    /// wait for another environment. Whether it took the terms, which are kept then.
    async fn refuse(
        &self,
        entry: &Entry,
        mut terms: Terms,
        environment: Option<Arc<Environment>>,
        unusable: Unusable,
    ) -> Result<bool, ServiceError> {
        let depth = entry.queue.depth();
        let is_better = |present: &Provisioned| match (&present.standing, &present.basis) {
            (Standing::Accepted { .. }, _) | (Standing::Refused(_), Basis::Unreadable(_)) => true,
            (Standing::Refused(_), Basis::Terms(present)) => {
                present.environment != terms.environment && depth.waiting + depth.leased > 0
            }
        };
        let present = entry.provisioned();
        if present.as_ref().is_some_and(is_better) {
            warn!(app = %entry.id, "the new credentials are refused, the present ones stay: {}", unusable.cause);
            entry.set_renewal(Some(Renewal { cause: unusable.cause, at: self.0.clock.timestamp() }));
            return Ok(false);
        }
        if let Some(present) = present.as_ref().and_then(|present| present.terms()) {
            if present.environment == terms.environment {
                terms.feedback_topic = present.feedback_topic.clone();
            }
            if present.certificate == terms.certificate {
                terms.since = present.since;
            }
        }
        let terms = Arc::new(terms);
        self.keep_terms(entry, &terms).await?;
        self.stand_refused(entry, terms, environment, unusable);
        Ok(true)
    }
}

/// Credentials and environment are the same, and whatever else a gateway is made with.
fn has_same_identity(one: &Route, other: &Route) -> bool {
    let is_same_way = match other.environment.gateway.protocol {
        // It has neither topics nor more than one connection.
        Protocol::Binary => true,
        Protocol::Http2 | Protocol::Fcm => (&one.topic, one.connections) == (&other.topic, other.connections),
    };
    is_same_way
        && one.credentials.fingerprint() == other.credentials.fingerprint()
        && one.environment == other.environment
}

/// A certificate that ends earlier than the present one comes from a worker that has not heard of the renewal.
fn forbid_earlier_end(present: &Credentials, route: &Route) -> Result<(), Problem> {
    let (Some(ends), Some(new_ends)) = (present.not_after(), route.credentials.not_after()) else { return Ok(()) };
    if new_ends >= ends {
        return Ok(());
    }
    Err(Problem::Credentials(format!(
        "this certificate ends on {new_ends}, earlier than the present one ({ends}): the present one stays. Pass the \
         option `force` to replace it all the same"
    )))
}
