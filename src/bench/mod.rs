//! `apnsd bench`: how fast the daemon is, against what the machine allows. Starts daemon and simulator as processes of
//! their own, calls, counts what arrives, and measures the machine's limits in the same run.
//!
//! - `scenarios`: what is measured, one file a family; each gives the report its figures.
//! - `limits`: the same work by the least code that does it: what the machine allows.
//! - `world`: the processes under measurement; `program`: one of them, with its CPU time and memory.
//! - `load`, `http`, `bodies`: calls, as cheap as they can be made: one thread, bodies rendered once.
//! - `report`, `table`: figures with targets and ratios, as JSON and for people; `machine`: where they were measured.
//!
//! Optimises nothing and judges nothing but by the targets that stand with the figures.

#[doc(hidden)]
pub mod bodies;
mod http;
mod limits;
mod load;
mod machine;
mod program;
pub mod report;
mod scenarios;
mod table;
mod world;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use self::limits::Limits;
use self::report::Report;
pub use self::scenarios::Scenario;
use self::world::World;
use crate::client::ClientError;
use crate::clock::Clock;
use crate::shutdown::Shutdown;
use crate::simulator::SimulatorError;

/// What is measured, and how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program under measurement: `apnsd` itself.
    pub program: PathBuf,
    /// What to measure, in this order.
    pub scenarios: Vec<Scenario>,
    /// How long each load lasts.
    pub seconds: Duration,
    /// Notifications that wait in the scenarios about waiting ones.
    pub depth: u32,
    /// Apps that are provisioned and idle.
    pub apps: u32,
    /// Where state directories are made, and removed again: the disk under measurement.
    pub dir: PathBuf,
    /// Calls a daemon that runs already in the place of an own one.
    pub remote: Option<Remote>,
}

/// A daemon that somebody else started.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    /// `http://[USER:TOKEN@]HOST[:PORT][/PATH]`.
    pub url: String,
    /// An app that is provisioned there.
    pub app: String,
}

impl std::fmt::Debug for Remote {
    /// The URL may hold a token.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Remote").field("app", &self.app).finish_non_exhaustive()
    }
}

/// Why a measurement came to nothing.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// A process under measurement ended, or never answered.
    #[error("the measured apnsd {verb} did not come up; the end of its log: {log}")]
    NotUp {
        /// Its verb.
        verb: &'static str,
        /// The last lines that it wrote.
        log: String,
    },
    /// A call was answered by something else than success.
    #[error("a call of the measurement was refused: {0}")]
    Refused(String),
    /// The daemon did not deliver in time.
    #[error("only {has} of {wanted} notifications arrived, and none in the last {seconds} s")]
    Missing {
        /// What arrived.
        has: u64,
        /// What was accepted.
        wanted: u64,
        /// How long it was waited for one more.
        seconds: u64,
    },
    /// The URL cannot be measured.
    #[error("measuring needs a URL of the form http://[USER:TOKEN@]HOST[:PORT][/PATH]")]
    Url,
    /// A call that prepares a measurement.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The simulator in this process.
    #[error(transparent)]
    Simulator(#[from] SimulatorError),
}

impl BenchError {
    /// For `map_err`: what could not be done.
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }
}

/// Everything that a scenario works with.
struct Bench<'a> {
    settings: &'a Settings,
    clock: Clock,
    world: World,
    limits: Limits,
    report: Report,
    progress: &'a mut (dyn FnMut(&str) + 'a),
}

/// Measures, and says what it is doing. Dropping the future kills the processes and removes the files.
///
/// To be run on a runtime with one thread: the calls shall cost little.
pub async fn run(settings: &Settings, progress: &mut dyn FnMut(&str)) -> Result<Report, BenchError> {
    let clock = Clock::system();
    // What serves in this process (the limits, the simulator that dates arrivals) ends with it.
    let shutdown = Shutdown::new();
    let report = Report::new(machine::facts(settings), settings);
    let world = World::start(settings, clock.clone(), &shutdown).await?;
    let limits = Limits::new(settings, clock.clone(), shutdown.clone());
    let mut bench = Bench { settings, clock, world, limits, report, progress };
    for scenario in &settings.scenarios {
        (bench.progress)(&format!("{}: {}", scenario.name(), scenario.about()));
        match settings.remote.is_some() && !scenario.is_for_remote() {
            true => bench.report.skip(scenario.name(), "it needs a daemon of its own, which --url excludes"),
            false => scenarios::run(*scenario, &mut bench).await?,
        }
    }
    let Bench { world, report, .. } = bench;
    world.stop().await?;
    shutdown.finish(Duration::from_secs(1)).await;
    Ok(report)
}
