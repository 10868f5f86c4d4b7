//! `notify`: sends one notification to many tokens.

use clap::{ArgGroup, Args};

use super::call::Daemon;
use super::exit::Failure;
use super::message::{Message, Options};
use super::recipients::Recipients;
use super::render::sheet;
use crate::xmlrpc::value::Value;

/// Send a notification to one or many device tokens
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true),
    after_help = "Examples:\n  apnsd notify myapp --token TOKEN --alert Hello\n  \
        apnsd notify myapp --tokens tokens.txt --payload '{\"aps\": {\"alert\": \"Hello\", \"badge\": 1}}'"
)]
pub(super) struct Notify {
    /// The name that the app was provisioned under
    #[arg(value_name = "APP")]
    app_id: String,
    #[command(flatten)]
    recipients: Recipients,
    #[command(flatten)]
    message: Message,
    #[command(flatten)]
    options: Options,
    /// Only check the call: nothing is accepted
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// Sends the notification; done once the daemon has accepted it, or with `--dry-run` would have.
pub(super) fn run(args: &Notify) -> Result<(), Failure> {
    let tokens = args.recipients.tokens()?;
    let count = tokens.len();
    let params = vec![
        Value::string(args.app_id.as_str()),
        Value::Array(tokens.into_iter().map(Value::string).collect()),
        args.message.to_value(),
        Value::structure(args.options.members()),
    ];
    if args.dry_run {
        return args.daemon.call("apnsd.validate", params, |answer| sheet(answer, |_| ""));
    }
    let noun = if count == 1 { "notification" } else { "notifications" };
    args.daemon.call("notify", params, |_| format!("{count} {noun} accepted for {}\n", args.app_id))
}
