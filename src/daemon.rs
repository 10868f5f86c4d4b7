//! The composition root: builds everything from a config, serves, and stops in order.

pub mod liveness;

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Mutex;
use tracing::{error, info, warn};

use crate::admin::metrics::Instruments;
use crate::clock::Clock;
use crate::config::{AppSection, Config};
use crate::delivery::Delivery;
use crate::domain::feedback::Cursor;
use crate::gateway::http2::provider_token::ProviderTokens;
use crate::listener::accept::AcceptLoops;
use crate::listener::address::LocalAddress;
use crate::listener::auth::Auth;
use crate::listener::bind::{BindError, Listeners};
use crate::listener::inherited::Inherited;
use crate::listener::tls::Tls;
use crate::queue::Queue;
use crate::rpc::server::Server;
use crate::service::PushService;
use crate::service::about::About;
use crate::service::request::{Provision, ProvisionOptions};
use crate::shutdown::Shutdown;
use crate::store::{Durability, Kind, OpenError, Store, StoreError};
use crate::{admin, gateway, listener, queue, rpc, service, store, telemetry};

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    service: PushService,
    store: Store,
    addresses: Vec<LocalAddress>,
    accept_loops: AcceptLoops,
    tls: Option<Tls>,
    auth: Auth,
    clock: Clock,
    /// Listeners and connections of callers.
    intake: Shutdown,
    /// Workers and pollers.
    work: Shutdown,
    /// What holds now.
    config: Mutex<Config>,
}

/// Why a daemon does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// It cannot listen where it should.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Its store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a daemon goes on with the configuration before.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReloadError {
    /// Without users, and without certificates of callers, everybody could call at an address that stays.
    #[error(
        "`{0}` can be reached by others and is listened on until the next start, and everybody could call: restart the \
         daemon, or keep a [[user]]"
    )]
    OpenToOthers(LocalAddress),
}

/// How a daemon stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Whether every task ended within the deadline.
    pub in_time: bool,
    /// Notifications that were accepted, had no outcome yet, and are lost because the store is in memory.
    pub lost: u64,
}

impl Daemon {
    /// Builds everything, restores the apps of the store, applies the sections of the config file that changed, and
    /// serves. Sockets are bound first: when two daemons
    /// are started, the second one changes nothing.
    pub async fn start(config: &Config, clock: Clock) -> Result<Self, StartError> {
        Self::start_on(config, Inherited::default(), clock).await
    }

    /// The same, on sockets that were bound already, where there are any; `listen` is to have their addresses then.
    pub async fn start_on(config: &Config, inherited: Inherited, clock: Clock) -> Result<Self, StartError> {
        let tls = config.tls.as_ref().map(Tls::load).transpose().map_err(BindError::from)?;
        let listeners = match inherited.is_empty() {
            true => Listeners::bind(&config.listen, tls.as_ref(), &config.unix).await?,
            false => Listeners::adopt(inherited, tls.as_ref())?,
        };
        let addresses = listeners.local_addresses();
        let (intake, work) = (Shutdown::new(), Shutdown::new());
        let store = open_store(config, &clock).await?;
        let queue = Queue::new(store.clone(), queue_settings(config), clock.clone());
        let provider_tokens = provider_tokens(config);
        let gateway = gateway::Shared { settings: config.delivery.gateway.clone(), provider_tokens };
        let delivery = Delivery {
            gateway,
            unknown: config.delivery.unknown,
            store: store.clone(),
            clock: clock.clone(),
            shutdown: work.clone(),
        };
        let service = PushService::new(config.environments.clone(), queue, delivery, service_settings(config));
        service.restore().await?;
        service.apply_sections(sections(config)).await;
        service.watch_files();
        service.watch_expiry();
        telemetry::tell_repeats(&work, &clock);
        liveness::watch_workers(service.clone(), clock.clone(), &work);
        let auth = Auth::new(config.users.clone(), clock.clone());
        let about = About {
            addresses: addresses.iter().map(ToString::to_string).collect(),
            accepted_means: accepted_means(config),
            started: clock.timestamp(),
        };
        let server = Server::new(service.clone(), rpc_settings(config), about.clone());
        let instruments =
            Instruments { calls: server.calls(), callers: listeners.callers(), failed_logins: auth.failed() };
        let pages = admin::pages(service.clone(), instruments, about, clock.clone(), &intake);
        let router = auth.clone().guard(server.router(pages));
        let accept_loops = listeners.serve(router, listener_settings(config), &intake);
        info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), apps = service.apps().len(), "started");
        info!("accepted means: {}", accepted_means(config));
        let config = Mutex::new(config.clone());
        Ok(Self { service, store, addresses, accept_loops, tls, auth, clock, intake, work, config })
    }

    /// Takes over what a running daemon can: environments, apps and their files, `[provision]`, users, the files of
    /// `[tls]`, `log.level`. Of the other keys, those that differ are named in the log: they count at the next start.
    ///
    /// # Errors
    ///
    /// It would be open to everybody; nothing has changed.
    pub async fn reload(&self, config: &Config) -> Result<(), ReloadError> {
        let mut present = self.config.lock().await;
        // Neither sockets nor what must be shown in a handshake change before the next start.
        let is_opened = |address: &&LocalAddress| config.opens_to_others(&address.as_listened(), present.tls.as_ref());
        if let Some(opened) = self.addresses.iter().find(is_opened) {
            return Err(ReloadError::OpenToOthers(opened.clone()));
        }
        let later = keys_for_the_next_start(&present, config);
        if !later.is_empty() {
            warn!("reloaded, but a change of {} counts at the next start only", later.join(", "));
        }
        if let Err(problem) = telemetry::set_level(&config.log.level) {
            warn!("log.level stays as it is: {problem}");
        }
        if let (Some(tls), Some(settings)) = (self.tls.clone(), present.tls.clone()) {
            // Away from the runtime's threads: the files may be where something hangs.
            let problem = match tokio::task::spawn_blocking(move || tls.reload(&settings)).await {
                Ok(read) => read.err().map(|problem| problem.to_string()),
                Err(ended) => Some(ended.to_string()),
            };
            if let Some(problem) = problem {
                error!("callers get the TLS certificate of before: {problem}");
            }
        }
        self.auth.replace(config.users.clone());
        present.users = config.users.clone();
        present.environments = config.environments.clone();
        present.provision = config.provision.clone();
        present.apps = config.apps.clone();
        present.log.level = config.log.level.clone();
        self.service.reload(present.environments.clone(), service_settings(&present), sections(&present)).await;
        info!(apps = self.service.apps().len(), "reloaded");
        Ok(())
    }

    /// Where it listens, with the ports that were really taken.
    pub fn addresses(&self) -> &[LocalAddress] {
        &self.addresses
    }

    /// Its verbs, for programs that run a daemon within themselves.
    pub fn service(&self) -> &PushService {
        &self.service
    }

    /// How long [`Daemon::stop`] takes at most (`shutdown.deadline`), but for the store's last writing.
    pub async fn stop_deadline(&self) -> Duration {
        self.config.lock().await.shutdown.deadline
    }

    /// Stops in order: no more calls, then what waits is sent as far as gateways take it, then connections are closed
    /// with a sentinel. At most until the configured deadline.
    pub async fn stop(self) -> Stopped {
        let began = self.clock.now();
        let deadline = self.config.into_inner().shutdown.deadline;
        let left = || deadline.saturating_sub(self.clock.now().since(began));
        info!(?deadline, "stopping: no more calls are taken");
        self.service.stop_waiting();
        // Callers may wait for what workers cannot do, as with a disk that is full: those must have their time too.
        let callers_answered = self.intake.finish(left() / 2).await;
        let workers_ended = self.work.finish(left()).await;
        let in_time = callers_answered && workers_ended;
        let waiting = self.service.unsettled();
        let lost = if self.store.is_durable() { 0 } else { waiting };
        if lost > 0 {
            error!(lost, "stopped with notifications that were not delivered; they are lost");
        } else if waiting > 0 {
            info!(waiting, "what waits is kept and goes out after the next start");
        }
        if let Err(problem) = self.store.close().await {
            error!("not all that was sent could be entered, some goes out again after the next start: {problem}");
        }
        telemetry::tell_last_repeats();
        let stopped = Stopped { in_time, lost };
        match stopped.in_time {
            true => info!("stopped"),
            false => warn!("stopped at the deadline: not every task had ended"),
        }
        stopped
    }
}

/// The apps of the config file, as callers would provision them.
fn sections(config: &Config) -> Vec<Provision> {
    let section = |app: &AppSection| Provision {
        app_id: app.app_id.to_string(),
        // A path that cannot be made absolute is no path, which the judgement says better.
        certificate: std::path::absolute(&app.certificate).unwrap_or(app.certificate.clone()).display().to_string(),
        environment: app.environment.clone(),
        timeout: app.timeout,
        options: Some(ProvisionOptions {
            topic: app.topic.clone(),
            key_id: app.key_id.clone(),
            team_id: app.team_id.clone(),
            passphrase_file: app.passphrase_file.clone(),
            connections: app.connections,
            ..ProvisionOptions::default()
        }),
    };
    config.apps.iter().map(section).collect()
}

/// The keys and sections that a running daemon does not take over and that differ.
fn keys_for_the_next_start(present: &Config, config: &Config) -> Vec<&'static str> {
    let differs = [
        ("listen", present.listen != config.listen),
        ("[unix]", present.unix != config.unix),
        ("state_dir", present.state_dir != config.state_dir),
        ("[limits]", present.limits != config.limits),
        ("[http]", present.http != config.http),
        ("[store]", present.store != config.store),
        ("[delivery]", present.delivery != config.delivery),
        ("[shutdown]", present.shutdown != config.shutdown),
        ("[retention]", present.retention != config.retention),
        ("[tls]", present.tls != config.tls),
        ("log.format", present.log.format != config.log.format),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// Opens the store away from the runtime's threads: it reads and writes the disk.
async fn open_store(config: &Config, clock: &Clock) -> Result<Store, StartError> {
    let (settings, clock) = (store_settings(config, clock), clock.clone());
    match tokio::task::spawn_blocking(move || Store::open(&settings, clock)).await {
        Ok(opened) => Ok(opened?),
        Err(panic) => Err(StartError::Store(StoreError::Io(panic.to_string()))),
    }
}

fn store_settings(config: &Config, clock: &Clock) -> store::Settings {
    let millis = u64::try_from(clock.timestamp().as_millis()).unwrap_or_default();
    store::Settings {
        kind: config.store.kind,
        dir: config.state_dir.clone(),
        durability: config.store.durability,
        min_free: config.store.min_free,
        rejections_age: config.retention.rejections,
        feedback_age: config.retention.feedback,
        trace_max: config.retention.outcomes,
        // In memory: a thousand cursors for each millisecond that passed since 1970, more than any earlier life can
        // have used.
        first_cursor: Cursor(millis.saturating_mul(1000)),
        ..store::Settings::default()
    }
}

/// What a caller may rely on.
fn accepted_means(config: &Config) -> &'static str {
    match (config.store.kind, config.store.durability) {
        (Kind::Memory, _) => "checked and queued in memory; what waits is lost when this process dies",
        (Kind::Sqlite, Durability::Full) => "on disk and synced; it survives the death of this process and power loss",
        (Kind::Sqlite, Durability::Relaxed) => {
            "on disk; it survives the death of this process, and power loss after 100 ms"
        }
        (Kind::Sqlite, Durability::None) => {
            "handed to the disk; it survives the death of this process, but power loss may damage the store"
        }
    }
}

/// Provider tokens, whose times outlive the process where anything does.
fn provider_tokens(config: &Config) -> ProviderTokens {
    match config.store.kind {
        Kind::Sqlite => ProviderTokens::kept_in(config.state_dir.join("apnsd.provider-tokens")),
        Kind::Memory => ProviderTokens::default(),
    }
}

fn queue_settings(config: &Config) -> queue::Settings {
    queue::Settings {
        queued_max: config.limits.queued,
        memory_max: config.limits.memory,
        max_age: config.delivery.max_age,
    }
}

fn service_settings(config: &Config) -> service::Settings {
    service::Settings {
        certificate_dirs: config.provision.certificate_dirs.clone(),
        strict: config.provision.strict,
        repeat: config.provision.repeat,
        connect_timeout: config.delivery.connect_timeout,
        max_age: config.delivery.max_age,
        tokens_per_call: config.limits.tokens_per_call,
        feedback_age: config.retention.feedback,
        seal_key: std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join("apnsd-key")),
    }
}

fn listener_settings(config: &Config) -> listener::Settings {
    listener::Settings {
        header_timeout: config.http.header_timeout,
        body_timeout: config.http.body_timeout,
        keep_alive: config.http.keep_alive,
        ..listener::Settings::default()
    }
}

fn rpc_settings(config: &Config) -> rpc::Settings {
    rpc::Settings {
        body_max: config.limits.body,
        depth_max: config.limits.depth,
        body_timeout: config.http.body_timeout,
        tokens_per_call: config.limits.tokens_per_call,
        ..rpc::Settings::default()
    }
}
