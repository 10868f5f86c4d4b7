//! `notify`: sends one notification to many tokens, in as many calls as that takes.

mod long;
mod progress;

use clap::{ArgGroup, Args};
use indicatif::HumanCount;

use self::long::List;
use super::call::Daemon;
use super::exit::{Exit, Failure};
use super::message::{Message, Options};
use super::output;
use super::recipients::Recipients;
use super::render::{self, member, sheet};
use crate::xmlrpc::value::Value;

/// Send a notification to one or many device tokens
///
/// A long list goes out in calls of 10,000, each accepted as a whole or not at all. All lines of a file are looked at before
/// the first call; a pipe is read as it is sent. Where a list is accepted in part only, this says from which line on it
/// is not, and how to go on so that nothing is sent twice.
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
    /// Print nothing unless it fails
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// Sends the notification; done once the daemon has accepted it, or with `--dry-run` would have.
pub(super) fn run(args: &Notify) -> Result<(), Failure> {
    if args.dry_run {
        return dry_run(args);
    }
    let total = args.recipients.check()?;
    let is_shown = !args.quiet && !args.daemon.wants_json();
    let list = List {
        app: &args.app_id,
        message: args.message.to_value(),
        options: args.options.members(),
        request_id: args.options.request_id().map_or_else(long::new_request_id, str::to_owned),
        file: args.recipients.file(),
    };
    let sent = list.send(args.recipients.read()?, &args.daemon, &progress::bar(total, is_shown))?;
    let accepted = sent.accepted;
    let noun = if accepted == 1 { "notification" } else { "notifications" };
    if args.daemon.wants_json() {
        output::print(&render::json(&sent.to_value(&list.request_id)))?;
    } else if sent.stopped.is_none() && !args.quiet {
        output::print(&format!("{} {noun} accepted for {}\n", HumanCount(accepted), args.app_id))?;
    }
    sent.stopped.map_or(Ok(()), Err)
}

/// Has the daemon look at all of it.
fn dry_run(args: &Notify) -> Result<(), Failure> {
    let mut tokens = args.recipients.tokens()?;
    let mut answer = Value::Nil;
    let mut notifications = 0;
    while !tokens.is_empty() {
        let part = tokens.drain(..tokens.len().min(long::PART)).map(Value::string).collect();
        let options = Value::structure(args.options.members());
        let params = vec![Value::string(args.app_id.as_str()), Value::Array(part), args.message.to_value(), options];
        answer = args.daemon.ask("apnsd.validate", params)?;
        notifications += match member(&answer, "notifications") {
            Some(Value::Int(count)) => *count,
            _ => {
                return Err(Failure::new(
                    Exit::Unreachable,
                    "the answer does not say how many notifications it is for",
                ));
            }
        };
    }
    if let Value::Struct(members) = &answer {
        answer = Value::Struct(members.with("notifications", Value::Int(notifications)));
    }
    args.daemon.print(&answer, |answer| sheet(answer, |_| ""))
}
