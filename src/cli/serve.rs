//! `serve`: the daemon.

use clap::Args;
use tracing::warn;

use super::check_config::{ConfigFile, refuse};
use super::exit::{Exit, Failure};
use super::running::{self, StopSignals};
use crate::clock::Clock;
use crate::config::{Config, Warning};
use crate::daemon::{Daemon, StartError};
use crate::listener::address::ListenAddress;
use crate::store::{OpenError, StoreError};
use crate::telemetry;

/// Run the daemon
///
/// A key of the configuration comes from its default, the file, a variable APNSD__SECTION__KEY, or a flag, the later
/// before the earlier.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd serve\n  \
    apnsd serve --config /etc/apnsd/apnsd.toml --listen 127.0.0.1:8077")]
pub(super) struct Serve {
    #[command(flatten)]
    file: ConfigFile,
    /// Where to listen, HOST:PORT or unix:PATH; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<ListenAddress>,
}

impl Serve {
    /// The configuration that the daemon starts with.
    fn load(self) -> Result<(Config, Vec<Warning>), Failure> {
        let (mut config, warnings) = self.file.load().map_err(|refused| refuse(&refused))?;
        if !self.listen.is_empty() {
            config.listen = self.listen;
        }
        Ok((config, warnings))
    }
}

/// Runs the daemon until it is told to stop.
pub(super) fn run(args: Serve) -> Result<(), Failure> {
    let (config, warnings) = args.load()?;
    telemetry::init(&config.log).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    for Warning(finding) in warnings {
        warn!("{finding}");
    }
    running::block_on(async {
        let mut signals = StopSignals::listen()?;
        let daemon = Daemon::start(&config, Clock::system()).await;
        let daemon = daemon.map_err(|error| Failure::new(exit_of(&error), error.to_string()))?;
        signals.next().await;
        let stopped = signals.unless_repeated(daemon.stop()).await?;
        match stopped.lost {
            0 => Ok(()),
            lost => Err(Failure::new(Exit::Failed, format!("stopped; {lost} notifications were not delivered"))),
        }
    })
}

/// Whether starting again can help.
fn exit_of(error: &StartError) -> Exit {
    match error {
        StartError::Open(OpenError::Newer { .. } | OpenError::Corrupt { .. }) => Exit::Data,
        StartError::Open(OpenError::Locked { .. }) => Exit::InUse,
        StartError::Store(StoreError::Corrupt(_)) => Exit::Data,
        StartError::Bind(_) | StartError::Open(_) | StartError::Store(_) => Exit::Failed,
    }
}
