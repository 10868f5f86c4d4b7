//! Whether a running daemon works, asked of what works in it, for the watchdog; and the line that says how it is.
//!
//! What a check proves: the store's writer and readers answer (be it with an error: a new process would find the same
//! full disk), nobody keeps a lock of an app or its queue, every accept loop takes connections, and the runtime's threads
//! get to run tasks. What it does not ask: gateways. An app that cannot send is no better off in a new process.
//!
//! Workers of apps are asked besides, and only the log hears of one that hangs: a worker may rightly be busy for long, as
//! with the removal of a million rows, and a watchdog that ended the process for it would stop all other apps, again and
//! again.

use std::time::Duration;

use thiserror::Error;
use tokio::time::timeout;
use tracing::error;

use super::Daemon;
use crate::clock::Clock;
use crate::domain::app::AppId;
use crate::listener::address::LocalAddress;
use crate::service::PushService;
use crate::service::status::AppStatus;
use crate::shutdown::Shutdown;

/// Time between two looks at the workers.
const WORKERS_LOOK: Duration = Duration::from_secs(60);
/// A worker that answers nobody for so long hangs.
const WORKER_HANGS: Duration = Duration::from_secs(300);

/// What does not work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Hung {
    /// The store.
    #[error("the store has not answered for {0:?}: is its disk still there?")]
    Store(Duration),
    /// The store's thread.
    #[error("the writer of the store has ended")]
    StoreEnded,
    /// A lock.
    #[error("the state of the apps could not be read for {0:?}: something keeps a lock")]
    Locks(Duration),
    /// An accept loop.
    #[error("an accept loop has not answered for {0:?}")]
    Accept(Duration),
    /// An accept loop's task.
    #[error("the accept loop of {0} has ended")]
    AcceptEnded(LocalAddress),
}

impl Daemon {
    /// Asks everything that must work, all at once, and waits so long for answers.
    pub async fn check(&self, limit: Duration) -> Result<(), Hung> {
        let store = async {
            match timeout(limit, self.store.answers()).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(Hung::StoreEnded),
                Err(_) => Err(Hung::Store(limit)),
            }
        };
        let accept = async {
            let answered = timeout(limit, self.accept_loops.answer()).await;
            answered.map_err(|_| Hung::Accept(limit))?.map_err(Hung::AcceptEnded)
        };
        let locks = async {
            let service = self.service.clone();
            // Away from the runtime's threads, since whoever waits for a lock blocks one.
            let read = tokio::task::spawn_blocking(move || drop(service.apps()));
            match timeout(limit, read).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(Hung::Locks(limit)),
            }
        };
        tokio::try_join!(store, accept, locks).map(drop)
    }

    /// How it is, in one line: `3 apps, 1 cannot send; 120 notifications wait`.
    pub fn summary(&self) -> String {
        let apps = self.service.apps();
        let trouble = self.service.trouble().map(|cause| format!("; nothing is accepted: {cause}"));
        summary(&apps) + &trouble.unwrap_or_default()
    }
}

/// Says in the log which workers hang, until the stop.
pub(super) fn watch_workers(service: PushService, clock: Clock, shutdown: &Shutdown) {
    let stop = shutdown.clone();
    shutdown.spawn(async move {
        let look = async {
            loop {
                clock.sleep(WORKERS_LOOK).await;
                service.silent_workers(WORKER_HANGS).await.iter().for_each(tell_of);
            }
        };
        tokio::select! {
            () = stop.requested() => (),
            () = look => (),
        }
    });
}

fn tell_of(app: &AppId) {
    error!(
        %app, silent_for = ?WORKER_HANGS,
        "the app's worker does not answer, so nothing is sent for it: restart the daemon (what waits is kept), and please \
         report this with the log before it"
    );
}

fn summary(apps: &[AppStatus]) -> String {
    let counted = |count: u64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let silent = apps.iter().filter(|app| !app.state.can_send()).count() as u64;
    let waiting: u64 = apps.iter().map(|app| app.waiting + app.in_flight).sum();
    let sending = match silent {
        0 => String::new(),
        silent => format!(", {silent} cannot send"),
    };
    let apps = counted(apps.len() as u64, "app", "apps");
    format!("{apps}{sending}; {}", counted(waiting, "notification waits", "notifications wait"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::domain::app::{Address, Environment};
    use crate::domain::batch::{Batch, Message, PushOptions};
    use crate::domain::time::Timestamp;
    use crate::domain::token::Tokens;
    use crate::service::request::{Notify, NotifyOptions, Provision, ProvisionOptions};

    async fn daemon(dir: &tempfile::TempDir) -> Daemon {
        let gateway = Address::parse("binary://127.0.0.1:1").unwrap();
        let nowhere = Environment { name: "nowhere".into(), gateway, feedback: None, ca: None, proxy: None };
        let config = Config {
            environments: [("nowhere".into(), Arc::new(nowhere))].into(),
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            state_dir: dir.path().to_owned(),
            ..Config::default()
        };
        Daemon::start(&config, Clock::system()).await.unwrap()
    }

    /// Long enough for any machine where an answer is expected.
    const PATIENCE: Duration = Duration::from_secs(60);
    /// Where none is expected.
    const SHORT: Duration = Duration::from_millis(100);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_daemon_that_works_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let daemon = daemon(&dir).await;
        assert_eq!(daemon.check(PATIENCE).await, Ok(()));
        assert_eq!(daemon.summary(), "0 apps; 0 notifications wait");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_hangs_is_noticed_and_one_that_refuses_is_not_called_hung() {
        let dir = tempfile::tempdir().unwrap();
        let daemon = daemon(&dir).await;
        daemon.store.fail_commits(1000);
        assert_eq!(daemon.check(PATIENCE).await, Ok(()));
        daemon.store.fail_commits(0);

        // The writer calls back between two commits: while that hangs, nothing is written.
        let (release, held) = mpsc::channel::<()>();
        let message = Message { payload: b"{}".as_slice().into(), options: PushOptions::default() };
        let mut tokens = Tokens::default();
        tokens.push(&[7; 32]);
        let batch = Arc::new(Batch::broadcast(Timestamp::from_secs(1_000_000), tokens, message));
        let store = daemon.store.clone();
        let (began, begins) = tokio::sync::oneshot::channel();
        Shutdown::new().spawn(async move {
            let app = AppId::parse("app").unwrap();
            let hang = move |_| {
                began.send(()).unwrap();
                let _ = held.recv();
            };
            drop(store.commit_then(&app, &batch, None, hang).await);
        });
        begins.await.unwrap();
        assert_eq!(daemon.check(SHORT).await, Err(Hung::Store(SHORT)));
        drop(release);
        assert_eq!(daemon.check(PATIENCE).await, Ok(()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_worker_that_hangs_is_named_and_one_that_works_or_waits_for_a_gateway_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let daemon = daemon(&dir).await;
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["example".to_owned()]).unwrap().self_signed(&key).unwrap();
        let provision = Provision {
            app_id: "app".into(),
            certificate: certificate.pem() + &key.serialize_pem(),
            environment: "nowhere".into(),
            timeout: None,
            options: Some(ProvisionOptions::default()),
        };
        daemon.service.provision(provision).await.unwrap();
        let app = daemon.service.app("app").unwrap();
        let notify = Notify {
            tokens: vec!["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
            payloads: vec![br#"{"aps":{}}"#[..].into()],
            payload_of: vec![],
            options: NotifyOptions::default(),
        };
        daemon.service.notify(&app, notify).await.unwrap();
        assert_eq!(daemon.service.silent_workers(PATIENCE).await, []);

        // A commit that hangs, and a worker that waits for it.
        let (release, held) = mpsc::channel::<()>();
        let message = Message { payload: b"{}".as_slice().into(), options: PushOptions::default() };
        let mut tokens = Tokens::default();
        tokens.push(&[7; 32]);
        let batch = Arc::new(Batch::broadcast(Clock::system().timestamp(), tokens, message));
        let (store, service) = (daemon.store.clone(), daemon.service.clone());
        let (began, begins) = tokio::sync::oneshot::channel();
        let tasks = Shutdown::new();
        tasks.spawn(async move {
            let hang = move |_| {
                began.send(()).unwrap();
                let _ = held.recv();
            };
            drop(store.commit_then(&AppId::parse("app").unwrap(), &batch, None, hang).await);
        });
        begins.await.unwrap();
        tasks.spawn(async move { drop(service.purge(&app).await) });
        let named = async { while daemon.service.silent_workers(SHORT).await != [AppId::parse("app").unwrap()] {} };
        let named = timeout(PATIENCE, named).await;
        drop(release);
        assert_eq!(named, Ok(()));
        assert!(tasks.finish(PATIENCE).await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_accept_loop_that_has_ended_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let daemon = daemon(&dir).await;
        let address = daemon.addresses()[0].clone();
        assert!(daemon.intake.finish(PATIENCE).await);
        assert_eq!(daemon.check(PATIENCE).await, Err(Hung::AcceptEnded(address)));
    }
}
