//! From what an app was provisioned with to whether it works: reads and judges credentials, starts the worker, says why
//! not. Everything here is called with the app's `change` held.

use std::path::Path;
use std::sync::Arc;

use tracing::{info, warn};

use super::PushService;
use super::apps::CLOSED_BY_APPLE;
use super::entry::{Entry, Label, Provisioned, Refusal, Standing};
use super::request::ProvisionOptions;
use super::terms::{Certificate, Terms};
use crate::credentials::error::CredentialsError;
use crate::credentials::source::FileMark;
use crate::credentials::{self, CredentialOptions, Credentials, source};
use crate::delivery::{WorkerHandle, feedback_source};
use crate::domain::app::Environment;
use crate::domain::outcome::Reason;
use crate::gateway::{Route, RouteError};

/// Characters of a path that are shown.
const PATH_SHOWN_MAX: usize = 300;

/// Credentials that were looked into.
pub(super) struct Judged {
    /// Their files, as they were just before.
    pub(super) marks: FileMarks,
    /// What they are, or what is wrong with them.
    pub(super) credentials: Result<Arc<Credentials>, Unusable>,
}

/// Credentials that cannot be used.
#[derive(Clone, Debug)]
pub(super) struct Unusable {
    /// Why, in words with what to do.
    pub(super) cause: String,
    /// Which they are, where that could be read.
    pub(super) label: Option<Label>,
}

impl From<String> for Unusable {
    fn from(cause: String) -> Self {
        Self { cause, label: None }
    }
}

/// The files of an app's credentials as they were at some time; none where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FileMarks {
    certificate: Option<FileMark>,
    passphrase: Option<FileMark>,
}

impl FileMarks {
    /// The marks as they are now.
    pub(super) fn of(certificate: &Certificate, options: &ProvisionOptions) -> Self {
        Self {
            certificate: certificate.path().and_then(FileMark::of),
            passphrase: options.passphrase_file.as_deref().and_then(FileMark::of),
        }
    }
}

impl PushService {
    /// Reads, parses and judges credentials, off the async threads. A passphrase may take a second of a processor: few are
    /// judged at the same time, so that callers of other verbs do not notice.
    pub(super) async fn judge(&self, terms: &Terms, environment: &Arc<Environment>) -> Judged {
        let (certificate, options) = (terms.certificate.clone(), terms.options.clone());
        let environment = Arc::clone(environment);
        let (setup, now) = (self.setup(), self.0.clock.timestamp());
        let unjudged = |cause: &str| Judged { marks: FileMarks::default(), credentials: Err(cause.to_owned().into()) };
        let _turn = tokio::select! {
            turn = self.0.judging.acquire() => turn,
            () = self.0.delivery.shutdown.requested() => return unjudged("the daemon stops: provision again"),
        };
        let judge = move || {
            let marks = FileMarks::of(&certificate, &options);
            let parsed = read(&certificate, &setup.certificate_dirs).and_then(|bytes| parse(&bytes, &options));
            let unusable = |label, error| Unusable { cause: told(&certificate, &error), label };
            let judged = parsed.map_err(|error| unusable(None, error)).and_then(|credentials| {
                match credentials.judge(&environment, options.topic.as_deref(), now) {
                    Ok(()) => Ok(Arc::new(credentials)),
                    Err(error) => Err(unusable(Some(Label::of(&credentials)), error)),
                }
            });
            Judged { marks, credentials: judged }
        };
        let judged = tokio::task::spawn_blocking(judge).await;
        judged.unwrap_or_else(|panic| unjudged(&format!("the certificate could not be read: {panic}")))
    }

    /// The way to an environment with these credentials.
    pub(super) fn route(
        &self,
        entry: &Entry,
        terms: &Terms,
        environment: &Arc<Environment>,
        credentials: Arc<Credentials>,
    ) -> Route {
        Route {
            app: entry.id.clone(),
            environment: Arc::clone(environment),
            credentials,
            connect_timeout: terms.timeout.unwrap_or(self.0.settings.connect_timeout),
            topic: terms.options.topic.as_deref().map(Arc::from),
            connections: terms.options.connections.unwrap_or(1),
            meter: Arc::clone(&entry.counters.connections),
        }
    }

    /// Tries to make an app work that has no worker. What comes of it is its standing.
    pub(super) async fn try_to_start(&self, entry: &Entry, terms: &Arc<Terms>) {
        let environment = self.setup().environments.get(&*terms.environment).cloned();
        let Some(environment) = environment else {
            return self.stand_refused(entry, Arc::clone(terms), None, vanished(&terms.environment).into());
        };
        let Judged { marks, credentials } = self.judge(terms, &environment).await;
        entry.set_seen(marks);
        let started = match credentials {
            Ok(credentials) => {
                let route = self.route(entry, terms, &environment, credentials);
                let ca = ca_mark(&environment);
                let worker = self.start(entry, terms, route.clone()).await;
                entry.set_seen_ca(ca);
                worker.map(|worker| (route, worker)).map_err(|error| error.to_string().into())
            }
            Err(cause) => Err(cause),
        };
        match started {
            Ok((route, worker)) => self.stand_accepted(entry, Arc::clone(terms), route, worker),
            Err(unusable) => self.stand_refused(entry, Arc::clone(terms), Some(environment), unusable),
        }
    }

    /// Starts the app's worker, paused if an operator wants it so: nothing is sent before it has connected.
    pub(super) async fn start(&self, entry: &Entry, terms: &Terms, route: Route) -> Result<WorkerHandle, RouteError> {
        let worker = self.0.delivery.start(route, entry.queue.clone(), Arc::clone(&entry.counters))?;
        if terms.is_paused {
            // One that has ended already sends nothing either.
            let _ = worker.pause().await;
        }
        Ok(worker)
    }

    /// The app works.
    pub(super) fn stand_accepted(&self, entry: &Entry, mut terms: Arc<Terms>, route: Route, worker: WorkerHandle) {
        let (environment, credentials) = (&route.environment, &route.credentials);
        let expires = credentials.not_after().map(tracing::field::display);
        info!(app = %entry.id, environment = %environment.name, subject = %credentials.subject(), expires, "provisioned");
        if environment.is_closed_by_apple() {
            warn!(app = %entry.id, environment = %environment.name, "{CLOSED_BY_APPLE}");
        }
        if let Some(certificate) = credentials.certificate() {
            self.tell_expiry(entry, certificate);
        }
        let feedback_topic = Some(feedback_source(&route).topic);
        if terms.feedback_topic != feedback_topic {
            Arc::make_mut(&mut terms).feedback_topic = feedback_topic;
        }
        entry.set_provisioned(Some(Provisioned::new(terms, Standing::Accepted { route, worker })));
    }

    /// The app does not work, for a cause; said in the log where that is news.
    pub(super) fn stand_refused(
        &self,
        entry: &Entry,
        terms: Arc<Terms>,
        environment: Option<Arc<Environment>>,
        Unusable { cause, label }: Unusable,
    ) {
        let since = match entry.provisioned().map(|present| present.standing) {
            Some(Standing::Refused(before)) if before.cause == cause => before.since,
            Some(Standing::Refused(_) | Standing::Accepted { .. }) | None => {
                warn!(app = %entry.id, environment = %terms.environment, "refused: {cause}");
                self.0.clock.timestamp()
            }
        };
        entry.set_renewal(None);
        let standing = Standing::Refused(Refusal { cause, since, environment, label });
        entry.set_provisioned(Some(Provisioned::new(terms, standing)));
    }

    /// Rejects what waits for an app that has no worker to do it; how many notifications that were.
    pub(super) async fn reject_waiting(&self, entry: &Entry, reason: Reason) -> u64 {
        let rows = self.0.delivery.reject_all(entry.queue.clone(), Arc::clone(&entry.counters), reason).await;
        if rows > 0 {
            info!(app = %entry.id, rows, "rejected: {reason}");
        }
        rows
    }
}

/// The environment's `ca` as it is now.
pub(super) fn ca_mark(environment: &Environment) -> Option<FileMark> {
    environment.ca.as_deref().and_then(FileMark::of)
}

/// What an app is told whose environment does not exist.
pub(super) fn vanished(environment: &str) -> String {
    format!(
        "environment `{environment}` is not in the configuration: add [environments.{environment}] and reload (SIGHUP), \
         or provision the app for another one"
    )
}

/// Where a path is refused, with the path: callers know it, and an operator who reads status and log should.
fn told(certificate: &Certificate, error: &CredentialsError) -> String {
    match (certificate, error) {
        (Certificate::File { path, .. }, CredentialsError::PathRefused { .. }) => {
            // Whatever a caller passes must not forge a line of the log, nor fill it.
            let shown: String =
                path.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(PATH_SHOWN_MAX).collect();
            format!("{error} (it was `{shown}`)")
        }
        (Certificate::File { .. } | Certificate::Text(_), _) => error.to_string(),
    }
}

fn parse(bytes: &[u8], options: &ProvisionOptions) -> Result<Credentials, CredentialsError> {
    let passphrase = options.passphrase_file.as_deref().map(source::read_passphrase).transpose()?;
    let given = options.of_credentials();
    credentials::parse(bytes, &CredentialOptions { passphrase: passphrase.as_deref().or(given.passphrase), ..given })
}

fn read(certificate: &Certificate, dirs: &[std::path::PathBuf]) -> Result<Vec<u8>, CredentialsError> {
    match certificate {
        Certificate::Text(text) => Ok(source::read(text, dirs)?.1),
        Certificate::File { path, unrestricted: true } => source::read_file(Path::new(path)),
        Certificate::File { path, unrestricted: false } => Ok(source::read(path, dirs)?.1),
    }
}
