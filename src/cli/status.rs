//! `status`: is it working, and if not, why, in one look.

mod rates;
mod screen;
mod text;
mod watch;

use std::time::Duration;

use clap::Args;

use self::screen::Screen;
use self::text::{is_well, page};
use super::call::Daemon;
use super::exit::{Exit, Failure};
use crate::xmlrpc::value::Value;

/// Show whether the daemon accepts notifications and every app can send, and if not, why
///
/// With APP, everything about that one. In the table, those that cannot send come first, each with the cause below it.
/// `apnsd apps` is the same as a flat table for scripts.
#[derive(Debug, Args)]
#[command(after_help = "Ends with 0 when all is well, 7 when an app cannot send or nothing is accepted.\n\n\
        Examples:\n  apnsd status\n  apnsd status myapp --json\n  apnsd status --watch\n  apnsd status myapp --watch=10")]
pub(super) struct Status {
    /// The name that an app was provisioned under
    #[arg(value_name = "APP")]
    app_id: Option<String>,
    /// Show it anew every so many seconds (2 if not said), with rates, until Ctrl-C
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2",
        value_parser = interval
    )]
    watch: Option<Duration>,
    #[command(flatten)]
    daemon: Daemon,
}

/// Prints how things are; a failure where they are not well.
pub(super) fn run(args: &Status) -> Result<(), Failure> {
    let params = || -> Vec<Value<'static>> { args.app_id.iter().cloned().map(Value::string).collect() };
    if let Some(interval) = args.watch {
        return watch::run(&args.daemon, params, interval);
    }
    let answer = args.daemon.ask("apnsd.status", params())?;
    args.daemon.print(&answer, |_| page(&answer, None, Screen::of_stdout().width()))?;
    match is_well(&answer) {
        true => Ok(()),
        // The page has said it.
        false => Err(Failure::new(Exit::Trouble, "")),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        Ok(_) | Err(_) => Err("a whole number of seconds from 1 to 86400 is needed".to_owned()),
    }
}
