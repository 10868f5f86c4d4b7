//! `serve`: the daemon, and what its service manager hears of it.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::Mutex;
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use super::check_config::{ConfigFile, refuse};
use super::exit::{Exit, Failure};
use super::running::{self, ReloadSignal, StopSignals};
use crate::clock::Clock;
use crate::config::{Config, Place, Problem, Refused, Warning};
use crate::daemon::{Daemon, StartError};
use crate::listener::address::ListenAddress;
use crate::listener::bind::BindError;
use crate::listener::inherited::Inherited;
use crate::store::{OpenError, StoreError};
use crate::systemd::ServiceManager;
use crate::telemetry;

/// How often the line of status is looked at.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// What a stop may take beyond `shutdown.deadline`: to close the store.
const STOP_MARGIN: Duration = Duration::from_secs(15);

/// Run the daemon
///
/// SIGHUP lets it take over the configuration, [[app]] sections and credential files as they are then; SIGTERM and
/// SIGINT stop it in order, and a second one at once.
///
/// A key of the configuration comes from its default, the file, a variable APNSD__SECTION__KEY, or a flag, the later
/// before the earlier.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd serve\n  \
    apnsd serve --config /etc/apnsd/apnsd.toml --listen 127.0.0.1:8077")]
pub(super) struct Serve {
    #[command(flatten)]
    file: ConfigFile,
    /// Where to listen, HOST:PORT, tls:HOST:PORT or unix:PATH; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<ListenAddress>,
}

/// Where the configuration comes from, at the start and at each reload.
struct Source {
    args: Serve,
    inherited: Vec<ListenAddress>,
}

impl Source {
    /// Reads it away from the runtime's threads: a file may be where something hangs. Nobody waits for it at the end.
    async fn load(self: &Arc<Self>) -> Result<(Config, Vec<Warning>), Refused> {
        let source = Arc::clone(self);
        match tokio::task::spawn_blocking(move || source.read()).await {
            Ok(loaded) => loaded,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // With the runtime.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// The configuration as it is now. Sockets that are bound already stand in the place of `listen`.
    fn read(&self) -> Result<(Config, Vec<Warning>), Refused> {
        let (mut config, warnings) = self.args.file.load()?;
        let (listen, place) = match &*self.inherited {
            [] => (&*self.args.listen, Place::Flag("--listen")),
            inherited => (inherited, Place::Variable("LISTEN_FDS".to_owned())),
        };
        if !listen.is_empty() {
            config.listen = listen.to_vec();
            let problem = |text| Problem { place: place.clone(), key: String::new(), text };
            let problems: Vec<Problem> = config.objections().into_iter().map(problem).collect();
            if !problems.is_empty() {
                return Err(Refused { problems, warnings });
            }
        }
        Ok((config, warnings))
    }
}

/// A daemon that runs, and who is told about it.
struct Running {
    source: Arc<Source>,
    daemon: Daemon,
    manager: Mutex<ServiceManager>,
}

impl Running {
    /// Lets the daemon take over the configuration as it is now; one with problems changes nothing. What the line of
    /// status says of it.
    async fn reload(&self) -> &'static str {
        match self.source.load().await {
            Ok((config, warnings)) => {
                warn_of(&warnings);
                match self.daemon.reload(&config).await {
                    Ok(()) => "",
                    Err(problem) => {
                        error!("not reloaded, the daemon goes on with the configuration before: {problem}");
                        "; not reloaded, the configuration would open it to everybody"
                    }
                }
            }
            Err(Refused { problems, warnings }) => {
                for problem in problems {
                    error!("{problem}");
                }
                warn_of(&warnings);
                error!("not reloaded: the configuration has problems, the daemon goes on with the one before");
                "; not reloaded, the configuration has problems"
            }
        }
    }

    /// Reloads at each signal to do so, until the first to stop; what comes later is ignored.
    async fn until_stopped(&self, stop: &mut StopSignals, reload: ReloadSignal) {
        tokio::select! {
            () = stop.next() => (),
            () = self.tell_status(reload) => (),
            () = self.feed_watchdog() => (),
        }
    }

    /// Reloads, and keeps the line of status.
    async fn tell_status(&self, mut reload: ReloadSignal) {
        let mut refused = "";
        let status = |refused: &str| self.daemon.summary() + refused;
        self.manager.lock().await.ready(&status(refused));
        let mut look = tokio::time::interval(STATUS_INTERVAL);
        loop {
            tokio::select! {
                () = reload.next() => {
                    info!("reloading, by SIGHUP");
                    self.manager.lock().await.reloading();
                    refused = self.reload().await;
                    self.manager.lock().await.ready(&status(refused));
                }
                _ = look.tick() => {
                    let mut manager = self.manager.lock().await;
                    if manager.is_there() {
                        manager.status(&status(refused));
                    }
                }
            }
        }
    }

    /// Says that the daemon is alive each time that it was found to be; for ever. A daemon that is slow has three
    /// quarters of the watchdog's time to answer.
    async fn feed_watchdog(&self) {
        let Some(timeout) = self.manager.lock().await.watchdog() else { return std::future::pending().await };
        let mut look = tokio::time::interval(timeout / 4);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            match self.daemon.check(timeout / 2).await {
                Ok(()) => self.manager.lock().await.alive(),
                Err(hung) => error!("the watchdog is not fed, and ends this process unless that changes: {hung}"),
            }
        }
    }

    async fn stop(self, signals: &mut StopSignals) -> Result<(), Failure> {
        let mut manager = self.manager.into_inner();
        manager.stopping(self.daemon.stop_deadline().await.saturating_add(STOP_MARGIN));
        // Not checked any more: the stop has a deadline of its own.
        let feed = async {
            let Some(timeout) = manager.watchdog() else { return std::future::pending().await };
            loop {
                manager.alive();
                tokio::time::sleep(timeout / 4).await;
            }
        };
        let stopped = tokio::select! {
            stopped = signals.unless_repeated(self.daemon.stop()) => stopped?,
            never = feed => never,
        };
        match stopped.lost {
            0 => Ok(()),
            lost => Err(Failure::new(Exit::Failed, format!("stopped; {lost} notifications were not delivered"))),
        }
    }
}

fn warn_of(warnings: &[Warning]) {
    for Warning(finding) in warnings {
        warn!("{finding}");
    }
}

/// Runs the daemon until it is told to stop.
pub(super) fn run(args: Serve) -> Result<(), Failure> {
    // First, while there is one thread.
    let inherited = Inherited::take().map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    running::block_on(async {
        // Before anything that may take its time: whoever signals a service does not know how far its start is.
        let mut signals = StopSignals::listen()?;
        let reload = ReloadSignal::listen()?;
        let source = Arc::new(Source { args, inherited: inherited.addresses() });
        let started = tokio::select! {
            started = start(&source, inherited) => started,
            () = signals.next() => return Ok(()),
        };
        let (daemon, manager) = started?;
        let running = Running { source, daemon, manager: Mutex::new(manager) };
        running.until_stopped(&mut signals, reload).await;
        running.stop(&mut signals).await
    })
}

/// Reads the configuration and starts the daemon, which may wait for a disk that is full.
async fn start(source: &Arc<Source>, inherited: Inherited) -> Result<(Daemon, ServiceManager), Failure> {
    let (config, warnings) = source.load().await.map_err(|refused| refuse(&refused))?;
    let clock = Clock::system();
    telemetry::init(&config.log, &clock).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    warn_of(&warnings);
    if !inherited.is_empty() {
        info!(
            sockets = source.inherited.len(),
            "the service manager hands over sockets, which stand in the place of `listen`"
        );
    }
    let mut manager = ServiceManager::of_this_process();
    manager.status("starting: opening the store, judging credentials");
    let daemon = Daemon::start_on(&config, inherited, clock).await;
    let daemon = daemon.map_err(|error| Failure::new(exit_of(&error), told(&error)))?;
    Ok((daemon, manager))
}

/// Why the daemon does not start; where the state directory is to blame, with the key that names it.
fn told(error: &StartError) -> String {
    match error {
        StartError::Open(OpenError::Io { .. } | OpenError::Sqlite { .. }) => {
            format!("{error}. The key `state_dir` of the configuration names another directory")
        }
        StartError::Open(_) | StartError::Bind(_) | StartError::Store(_) => error.to_string(),
    }
}

/// Whether starting again can help.
fn exit_of(error: &StartError) -> Exit {
    match error {
        StartError::Open(error) => error.into(),
        StartError::Store(StoreError::Corrupt(_)) => Exit::Data,
        StartError::Bind(BindError::Tls(_)) => Exit::Config,
        StartError::Bind(_) | StartError::Store(_) => Exit::Failed,
    }
}
