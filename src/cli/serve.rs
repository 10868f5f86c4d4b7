//! `serve`: the daemon.

use clap::Args;
use tracing::{error, info, warn};

use super::check_config::{ConfigFile, refuse};
use super::exit::{Exit, Failure};
use super::running::{self, ReloadSignal, StopSignals};
use crate::clock::Clock;
use crate::config::{Config, Place, Problem, Refused, Warning};
use crate::daemon::{Daemon, StartError};
use crate::listener::address::ListenAddress;
use crate::store::{OpenError, StoreError};
use crate::telemetry;

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

impl Serve {
    /// The configuration that the daemon starts with.
    fn load(&self) -> Result<(Config, Vec<Warning>), Refused> {
        let (mut config, warnings) = self.file.load()?;
        if !self.listen.is_empty() {
            config.listen = self.listen.clone();
            let problem = |text| Problem { place: Place::Flag("--listen"), key: String::new(), text };
            let problems: Vec<Problem> = config.objections().into_iter().map(problem).collect();
            if !problems.is_empty() {
                return Err(Refused { problems, warnings });
            }
        }
        Ok((config, warnings))
    }

    /// Lets the daemon take over the configuration as it is now; one with problems changes nothing.
    async fn reload(&self, daemon: &Daemon) {
        match self.load() {
            Ok((config, warnings)) => {
                warn_of(&warnings);
                daemon.reload(&config).await;
            }
            Err(Refused { problems, warnings }) => {
                for problem in problems {
                    error!("{problem}");
                }
                warn_of(&warnings);
                error!("not reloaded: the configuration has problems, the daemon goes on with the one before");
            }
        }
    }

    /// Reloads at each signal to do so, until the first to stop; what comes later is ignored.
    async fn until_stopped(&self, daemon: &Daemon, stop: &mut StopSignals, mut reload: ReloadSignal) {
        let reload = async {
            loop {
                reload.next().await;
                info!("reloading, by SIGHUP");
                self.reload(daemon).await;
            }
        };
        tokio::select! {
            () = stop.next() => (),
            () = reload => (),
        }
    }
}

fn warn_of(warnings: &[Warning]) {
    for Warning(finding) in warnings {
        warn!("{finding}");
    }
}

/// Runs the daemon until it is told to stop.
pub(super) fn run(args: &Serve) -> Result<(), Failure> {
    let (config, warnings) = args.load().map_err(|refused| refuse(&refused))?;
    telemetry::init(&config.log).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    warn_of(&warnings);
    running::block_on(async {
        let mut signals = StopSignals::listen()?;
        let reload = ReloadSignal::listen()?;
        // A start may wait for a disk that is full.
        let daemon = tokio::select! {
            started = Daemon::start(&config, Clock::system()) => started,
            () = signals.next() => return Ok(()),
        };
        let daemon = daemon.map_err(|error| Failure::new(exit_of(&error), told(&error)))?;
        args.until_stopped(&daemon, &mut signals, reload).await;
        let stopped = signals.unless_repeated(daemon.stop()).await?;
        match stopped.lost {
            0 => Ok(()),
            lost => Err(Failure::new(Exit::Failed, format!("stopped; {lost} notifications were not delivered"))),
        }
    })
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
        StartError::Bind(_) | StartError::Store(_) => Exit::Failed,
    }
}
