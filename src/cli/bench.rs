//! `bench`: how fast the daemon is here, as a table and as JSON.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::exit::{Exit, Failure};
use super::output;
use super::running::{self, StopSignals};
use crate::bench::{self, Remote, Scenario, Settings};

/// Measure how fast the daemon is on this machine, and what the machine allows
///
/// Starts daemon and simulator as processes of their own, calls, and counts what arrives. Figures stand beside the same
/// work by the least code that does it, measured in the same run. Needs a quiet machine and a few minutes; leaves
/// nothing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd bench\n  apnsd bench calls tokens --seconds 10 --json bench.json")]
pub(super) struct Bench {
    /// What to measure; everything where none is named
    #[arg(value_name = "SCENARIO", value_parser = PossibleValuesParser::new(Scenario::ALL.map(Scenario::name)))]
    scenarios: Vec<String>,
    /// List the scenarios and do nothing else
    #[arg(long)]
    list: bool,
    /// How long each load lasts
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    seconds: Duration,
    /// Write the report as JSON, too; - is standard output, in the place of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where state directories are made, and removed again: the disk that is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Notifications that wait in `depth`
    #[arg(long, value_name = "NUMBER", default_value = "1000000", value_parser = clap::value_parser!(u32).range(2..))]
    depth: u32,
    /// Apps that are idle in `apps`
    #[arg(long, value_name = "NUMBER", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..))]
    apps: u32,
    /// Call the daemon at http://[USER:TOKEN@]HOST:PORT instead of one of its own; it gets real notifications
    #[arg(long, value_name = "URL", requires = "app")]
    url: Option<String>,
    /// The app to call for there
    #[arg(long, value_name = "APP", requires = "url")]
    app: Option<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "a number of seconds above 0 is needed".to_owned();
    let seconds = text.parse::<f64>().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds).ok().filter(|span| !span.is_zero()).ok_or_else(wrong)
}

/// Measures and prints.
pub(super) fn run(args: Bench) -> Result<(), Failure> {
    if args.list {
        let line = |scenario: Scenario| format!("{:<9} {}\n", scenario.name(), scenario.about());
        return output::print(&Scenario::ALL.map(line).concat());
    }
    raise_file_limit();
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error.to_string());
    let named: Vec<Scenario> = args.scenarios.iter().filter_map(|name| Scenario::of_name(name)).collect();
    let settings = Settings {
        program: std::env::current_exe().map_err(|error| failed(&error))?,
        scenarios: if named.is_empty() { Scenario::ALL.to_vec() } else { named },
        seconds: args.seconds,
        depth: args.depth,
        apps: args.apps,
        dir: args.dir.canonicalize().map_err(|error| failed(&format!("{}: {error}", args.dir.display())))?,
        remote: args.url.zip(args.app).map(|(url, app)| Remote { url, app }),
    };
    let report = running::block_on_one_thread(async {
        let mut signals = StopSignals::listen()?;
        let mut progress = |line: &str| output::complain(line);
        // What a signal interrupts is dropped: processes are killed, files removed.
        tokio::select! {
            report = bench::run(&settings, &mut progress) => report.map_err(|error| failed(&error)),
            () = signals.next() => Err(Failure::new(Exit::Failed, "stopped; nothing is left behind")),
        }
    })?;
    let json = serde_json::to_string_pretty(&report).map_err(|error| failed(&error))? + "\n";
    match args.json {
        Some(path) if path.as_os_str() == "-" => output::print(&json),
        Some(path) => {
            output::print(&report.to_string())?;
            std::fs::write(&path, json).map_err(|error| failed(&format!("{}: {error}", path.display())))
        }
        None => output::print(&report.to_string()),
    }
}

/// As many open files as this process may allow itself: connections of many apps, in the processes that it starts.
fn raise_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where that is refused, fewer apps are measured, and the report says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
