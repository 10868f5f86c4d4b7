//! `simulate`: Apple on loopback.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::exit::{Exit, Failure};
use super::output;
use super::running::{self, StopSignals};
use crate::clock::Clock;
use crate::shutdown::Shutdown;
use crate::simulator::certificates::BUNDLE_ID;
use crate::simulator::peer::GatewayEnvironment;
use crate::simulator::{Settings, Simulator};

/// Run Apple's gateways to try things with, without an Apple account
///
/// The HTTP/2 provider API, the binary gateway and its feedback service, all on this machine.
/// Writes a CA, certificates, keys and a ready apnsd.toml into DIR, keeps a journal of everything that it receives, and
/// serves the journal and commands for faults as JSON on the control port.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  apnsd simulate --dir simulator --binary 127.0.0.1:2195")]
pub(super) struct Simulate {
    /// Where certificates and apnsd.toml are written; created if missing
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Address of the binary gateway; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2195")]
    binary: SocketAddr,
    /// Address of the feedback service
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2196")]
    feedback: SocketAddr,
    /// Address of the HTTP/2 provider API
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2197")]
    http2: SocketAddr,
    /// Address of the journal and the fault commands
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2199")]
    control: SocketAddr,
    /// The environment that the gateways play; certificates and keys that are not made for it are refused
    #[arg(long, value_name = "NAME", default_value = "both")]
    environment: Environment,
    /// Only count what is received; for measuring
    #[arg(long)]
    count_only: bool,
    /// Makes everything that is chosen by chance the same every time
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// What the gateways play.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Environment {
    Sandbox,
    Production,
    Both,
}

/// Runs the simulator until it is told to stop.
pub(super) fn run(args: Simulate) -> Result<(), Failure> {
    let settings = Settings {
        binary: args.binary,
        feedback: args.feedback,
        http2: args.http2,
        control: args.control,
        environment: match args.environment {
            Environment::Sandbox => GatewayEnvironment::Development,
            Environment::Production => GatewayEnvironment::Production,
            Environment::Both => GatewayEnvironment::Both,
        },
        count_only: args.count_only,
        seed: args.seed.unwrap_or_default(),
        ..Settings::new(args.dir)
    };
    running::block_on(async {
        let mut signals = StopSignals::listen()?;
        let shutdown = Shutdown::new();
        let simulator = Simulator::start(settings, Clock::system(), &shutdown).await;
        let simulator = simulator.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        output::print(&introduction(&simulator, args.environment))?;
        signals.next().await;
        signals.unless_repeated(shutdown.finish(STOP_DEADLINE)).await?;
        output::print(&summary(&simulator))
    })
}

/// How long open connections may take to end.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

fn introduction(simulator: &Simulator, environment: Environment) -> String {
    let (http2, binary, row) = match environment {
        Environment::Sandbox => ("environment sandbox", "sandbox-binary", "sandbox"),
        Environment::Production => ("environment production", "production-binary", "production"),
        Environment::Both => ("environments sandbox and production", "sandbox-binary and production-binary", "sandbox"),
    };
    let config = simulator.config_file().display();
    let certificate = simulator.certificates().good.path.display();
    let key = &simulator.certificates().provider_keys.good;
    format!(
        "HTTP/2 provider   https://{}  ({http2})\n\
         binary gateway    binary://{}  ({binary})\n\
         feedback service  binary://{}\n\
         control port      http://{}/  (journal, faults; open it for help)\n\
         configuration     {config}\n\
         certificate       {certificate}  ({BUNDLE_ID})\n\
         provider key      {}  (key {}, team {})\n\n\
         Start a daemon on it:   apnsd serve --config {config}\n\
         and give it an app:     apnsd provision myapp {certificate} {row}\n",
        simulator.http2_address(),
        simulator.binary_address(),
        simulator.feedback_address(),
        simulator.control_address(),
        key.file.path.display(),
        key.key_id,
        key.team_id,
    )
}

fn summary(simulator: &Simulator) -> String {
    let summary = simulator.journal().summary();
    let http2 = summary.http2;
    format!(
        "\nHTTP/2: received {} notifications on {} connections: {} accepted, {} rejected, {} not processed\n\
         binary: received {} notifications on {} connections: {} accepted, {} rejected, {} discarded\n",
        http2.requests,
        http2.connections,
        http2.accepted,
        http2.rejected,
        http2.not_processed,
        summary.packets,
        summary.connections,
        summary.accepted,
        summary.rejected,
        summary.discarded
    )
}
