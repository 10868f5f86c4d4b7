//! Credential files that change: what is in them is taken up by itself, unless it is of no use.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tracing::{error, info, warn};

use super::PushService;
use super::entry::{Entry, Renewal, Standing};
use super::provision::{By, Problem};
use super::restore::AT_ONCE;
use super::sections::Pending;
use super::standing::{FileMarks, Judged};
use super::terms::Terms;
use crate::gateway::Route;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Refused apps are judged again with every so manieth look, and sections and environments that could not be followed:
/// their cause may have gone by itself, as a wrong clock does.
const LOOKS_UNTIL_RETRY: u32 = 60;

impl PushService {
    /// Looks after the files of all apps from now on, until the daemon stops.
    pub fn watch_files(&self) {
        let service = self.clone();
        self.0.delivery.shutdown.spawn(async move {
            let shutdown = service.0.delivery.shutdown.clone();
            let watch = async {
                for look in 1.. {
                    service.0.clock.sleep(LOOK_EVERY).await;
                    service.for_each_app(|entry| service.keep_again(entry)).await;
                    service.look_at_files().await;
                    service.retry_sections(Pending::has_changed).await;
                    if look % LOOKS_UNTIL_RETRY == 0 {
                        service.for_each_app(|entry| service.retry(entry)).await;
                        service.retry_sections(|_| true).await;
                    }
                }
            };
            tokio::select! {
                () = watch => (),
                () = shutdown.requested() => (),
            }
        });
    }

    /// Does something for every app that is there, several at once.
    pub(super) async fn for_each_app<F: Future<Output = ()>>(&self, work: impl FnMut(Arc<Entry>) -> F) {
        let entries: Vec<Arc<Entry>> = self.0.apps.iter().map(|entry| Arc::clone(&entry)).collect();
        stream::iter(entries).for_each_concurrent(AT_ONCE, work).await;
    }

    /// Judges an app again, if it is a refused one, or lets it follow its environment where it could not.
    pub(super) async fn retry(&self, entry: Arc<Entry>) {
        let _change = entry.change.lock().await;
        self.try_again(&entry).await;
        self.follow_environment(&entry).await;
    }

    /// Takes up the files that changed since they were last read.
    pub(super) async fn look_at_files(&self) {
        let terms = |entry: &Arc<Entry>| {
            let terms = Arc::clone(entry.provisioned()?.terms()?);
            terms.certificate.path()?;
            Some((Arc::clone(entry), terms))
        };
        let apps: Vec<(Arc<Entry>, Arc<Terms>)> = self.0.apps.iter().filter_map(|entry| terms(&entry)).collect();
        let look = move || {
            let of = |terms: &Terms| FileMarks::of(&terms.certificate, &terms.options);
            let marked = apps.into_iter().map(|(entry, terms)| (of(&terms), entry));
            marked.filter(|(marks, entry)| *marks != entry.seen()).collect::<Vec<_>>()
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(changed) => {
                let take_up = |(marks, entry)| async move { self.take_up_file(&entry, marks).await };
                stream::iter(changed).for_each_concurrent(AT_ONCE, take_up).await;
            }
            Err(problem) => error!("credential files could not be looked at: {problem}"),
        }
    }

    /// A file that is of no use is told once; it is looked into again when it changes again.
    pub(super) async fn take_up_file(&self, entry: &Arc<Entry>, marks: FileMarks) {
        let _change = entry.change.lock().await;
        // It may have been deprovisioned meanwhile.
        let Some(provisioned) = entry.provisioned() else { return };
        let Some(terms) = provisioned.terms() else { return };
        entry.set_seen(marks);
        match &provisioned.standing {
            Standing::Refused(_) => self.try_again(entry).await,
            Standing::Accepted { route, .. } => self.replace_from_file(entry, terms, route).await,
        }
    }

    async fn replace_from_file(&self, entry: &Entry, terms: &Terms, present: &Route) {
        let Judged { marks, credentials } = self.judge(terms, &present.environment).await;
        entry.set_seen(marks);
        let taken = match credentials {
            Ok(credentials) if credentials.fingerprint() == present.credentials.fingerprint() => {
                return entry.set_renewal(None);
            }
            Ok(credentials) => {
                info!(app = %entry.id, "the credential file changed");
                let terms = Terms { since: self.0.clock.timestamp(), ..terms.clone() };
                self.take_up(entry, terms, &present.environment, credentials, By::Operator).await
            }
            Err(unusable) => Err(Problem::Credentials(unusable.cause)),
        };
        match taken {
            Ok(()) => {
                entry.set_renewal(None);
                self.keep_or_warn(entry).await;
            }
            Err(Problem::Credentials(cause) | Problem::Trust(cause) | Problem::Busy(cause)) => {
                warn!(app = %entry.id, "the credential file changed and cannot be used, the present credentials stay: {cause}");
                entry.set_renewal(Some(Renewal { cause, at: self.0.clock.timestamp() }));
            }
        }
    }
}
