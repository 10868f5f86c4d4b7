//! `trace`: did this user's push go?

use clap::Args;

use super::call::Daemon;
use super::exit::Failure;
use super::render::{Columns, items, table};
use crate::xmlrpc::value::Value;

/// Show what became of the notifications for a device
///
/// "waiting" and "due" are still here, what is on its way at the gateway among them; "accepted" are those that the gateway is known to have taken; "presumed" those
/// that it was silent about long enough; "retried" and "unknown" go out again; "dead" is what the feedback service says
/// of the device. Old outcomes are forgotten.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd trace 0badcafe\n  apnsd trace 0badcafe… --limit 10 --json")]
pub(super) struct Trace {
    /// The first hex digits of the device token, as a log shows them, or all of them
    #[arg(value_name = "TOKEN-PREFIX")]
    prefix: String,
    /// Most events to show
    #[arg(long, value_name = "NUMBER", default_value = "100", value_parser = limit)]
    limit: u16,
    #[command(flatten)]
    daemon: Daemon,
}

fn limit(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a limit is a whole number from 1 to 10000".to_owned())
}

/// Prints the events.
pub(super) fn run(args: &Trace) -> Result<(), Failure> {
    // `reason` and `status` are names for programs; people read the text.
    const COLUMNS: Columns = Columns {
        first: &["timestamp", "app_id", "token", "event", "text", "due"],
        renamed: &[("text", "REASON")],
        hidden: &["reason", "status"],
    };
    let prefix = args.prefix.trim_end_matches('…');
    let params = vec![Value::string(prefix), Value::Int(args.limit.into())];
    args.daemon.call("apnsd.trace", params, |events| match items(events) {
        [] => format!("nothing is known of tokens that begin with {prefix}\n"),
        events => table(events, &COLUMNS),
    })
}
