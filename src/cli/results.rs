//! `feedback` and `rejections`: what became of notifications.

use clap::Args;

use super::call::Daemon;
use super::exit::Failure;
use super::render::{Columns, cell, items, member, table};
use crate::xmlrpc::value::Value;

/// Take the tokens that the provider reported dead since the last time
///
/// Each is handed out once: what this prints, the app's own next call does not get.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  apnsd feedback myapp --json")]
pub(super) struct Feedback {
    /// The name that it was provisioned under
    #[arg(value_name = "APP")]
    app_id: String,
    #[command(flatten)]
    daemon: Daemon,
}

/// The cursor before the first of all.
const FROM_START: &str = "0";

/// List notifications that will not be delivered, and why
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd rejections myapp\n  apnsd rejections myapp --after 17")]
pub(super) struct Rejections {
    /// The name that it was provisioned under
    #[arg(value_name = "APP")]
    app_id: String,
    /// Only those after this cursor, which the last answer named; one that this store never gave begins at the start
    #[arg(long, value_name = "CURSOR", default_value = FROM_START)]
    after: String,
    #[command(flatten)]
    daemon: Daemon,
}

/// Prints dead tokens, and since when.
pub(super) fn feedback(args: &Feedback) -> Result<(), Failure> {
    const COLUMNS: Columns = Columns { first: &["timestamp", "token"], renamed: &[], hidden: &[] };
    args.daemon.call("feedback", vec![Value::string(args.app_id.as_str())], |value| match items(value) {
        [] => "no new feedback\n".to_owned(),
        entries => table(&entries.iter().map(entry).collect::<Vec<_>>(), &COLUMNS),
    })
}

/// The members of a pair by name.
fn entry<'a>(pair: &Value<'a>) -> Value<'a> {
    let names = ["timestamp", "token"];
    Value::Struct(names.into_iter().zip(items(pair)).map(|(name, value)| (name.into(), value.clone())).collect())
}

/// Prints rejections, and the cursor to go on with.
pub(super) fn rejections(args: &Rejections) -> Result<(), Failure> {
    // `reason` and `status` are names for programs; people read the text.
    const COLUMNS: Columns = Columns {
        first: &["timestamp", "token", "text"],
        renamed: &[("text", "REASON")],
        hidden: &["app_id", "reason", "status"],
    };
    let params = vec![Value::string(args.app_id.as_str()), Value::string(args.after.as_str())];
    args.daemon.call("apnsd.rejections", params, |value| {
        let rows = member(value, "rejections").map(items).unwrap_or_default();
        let cursor = cell(member(value, "cursor"));
        match rows {
            [] if args.after == FROM_START => "no rejections\n".to_owned(),
            [] => format!("no rejections after {}\n", args.after),
            rows => format!(
                "{}\nthose that follow: apnsd rejections {} --after {cursor}\n",
                table(rows, &COLUMNS),
                args.app_id
            ),
        }
    })
}
