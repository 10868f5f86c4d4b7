//! `send`: sends one notification and shows what became of it.

use std::time::Duration;

use clap::{ArgGroup, Args};

use super::call::Daemon;
use super::exit::{Exit, Failure};
use super::message::{Message, Options};
use super::recipients::Recipients;
use super::render::{Columns, cell, items, member, table};
use crate::config::parse_duration;
use crate::service::send::SEND_WAIT_MAX;
use crate::xmlrpc::value::Value;

/// Send a notification now and show what became of it
///
/// It goes before all that waits, to at most 1000 tokens. What has no outcome in time, or while an operator has paused the
/// app or its gateway is out of reach, stays queued and is delivered like any other; what stands in the way is said below
/// the table. An app that is refused, or that the daemon has paused, takes nothing: the call fails with the cause.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true),
    after_help = "Ends with 0 when all were accepted, 5 when one was rejected, 6 when an outcome is not known yet.\n\n\
        Examples:\n  apnsd send myapp --token TOKEN --alert Hello\n  apnsd send myapp --tokens tokens.txt --alert Hello --wait 30s"
)]
pub(super) struct Send {
    /// The name that the app was provisioned under
    #[arg(value_name = "APP")]
    app_id: String,
    #[command(flatten)]
    recipients: Recipients,
    #[command(flatten)]
    message: Message,
    #[command(flatten)]
    options: Options,
    /// How long to wait for outcomes, at most a minute
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = waiting_time)]
    wait: Duration,
    #[command(flatten)]
    daemon: Daemon,
}

/// Sends the notification and prints what became of it; a failure unless all were accepted.
pub(super) fn run(args: &Send) -> Result<(), Failure> {
    let mut options = args.options.members();
    options.push(("timeout".into(), Value::Double(args.wait.as_secs_f64())));
    let params = vec![
        Value::string(args.app_id.as_str()),
        Value::Array(args.recipients.tokens()?.into_iter().map(Value::string).collect()),
        args.message.to_value(),
        Value::structure(options),
    ];
    let answer = args.daemon.ask_later("apnsd.send", params, args.wait)?;
    args.daemon.print(&answer, |rows| as_table(items(rows)) + &obstacles(items(rows)))?;
    match exit(items(&answer)) {
        Exit::Done => Ok(()),
        // The table has said it.
        exit => Err(Failure::new(exit, "")),
    }
}

fn as_table(rows: &[Value<'_>]) -> String {
    const COLUMNS: Columns =
        Columns { first: &["token", "outcome", "reason", "status", "id"], renamed: &[], hidden: &["retry", "cause"] };
    table(rows, &COLUMNS)
}

/// What keeps the app from sending what is queued, each once.
fn obstacles(rows: &[Value<'_>]) -> String {
    let mut causes: Vec<String> = rows.iter().map(|row| cell(member(row, "cause"))).collect();
    causes.retain(|cause| !cause.is_empty());
    causes.dedup();
    causes.into_iter().map(|cause| format!("\nstill queued: {cause}\n")).collect()
}

/// A duration that the daemon will wait for.
fn waiting_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        wait if wait <= SEND_WAIT_MAX => Ok(wait),
        _ => Err(format!("at most {}s are possible", SEND_WAIT_MAX.as_secs())),
    }
}

/// A rejection is worse than an outcome that is not known.
fn exit(rows: &[Value<'_>]) -> Exit {
    let outcome = |row| cell(member(row, "outcome"));
    let exit_of = |row| match outcome(row).as_str() {
        "accepted" | "presumed" => Exit::Done,
        "rejected" | "expired" => Exit::Rejected,
        _ => Exit::Unknown,
    };
    let exits: Vec<Exit> = rows.iter().map(exit_of).collect();
    [Exit::Rejected, Exit::Unknown].into_iter().find(|exit| exits.contains(exit)).unwrap_or(Exit::Done)
}
