//! `notify`: sends one notification to many tokens.

use std::fs;
use std::io;

use clap::{ArgGroup, Args};

use super::call::Daemon;
use super::exit::{Exit, Failure};
use super::message::{Message, Options};
use super::render::sheet;
use crate::domain::token::Tokens;
use crate::xmlrpc::value::Value;

/// Send a notification to one or many device tokens
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("to").required(true).multiple(true),
    group = ArgGroup::new("what").required(true),
    after_help = "Examples:\n  apnsd notify myapp --token TOKEN --alert Hello\n  \
        apnsd notify myapp --tokens tokens.txt --payload '{\"aps\": {\"alert\": \"Hello\", \"badge\": 1}}'"
)]
pub(super) struct Notify {
    /// The name that the app was provisioned under
    #[arg(value_name = "APP")]
    app_id: String,
    /// A device token; may be repeated
    #[arg(long = "token", group = "to", value_name = "TOKEN")]
    token: Vec<String>,
    /// A file with one device token a line; - reads standard input
    ///
    /// Blank lines and lines that begin with # are passed over.
    #[arg(long, group = "to", value_name = "FILE")]
    tokens: Option<String>,
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
    let tokens = tokens(args)?;
    let count = tokens.len();
    let params = vec![
        Value::string(args.app_id.as_str()),
        Value::Array(tokens.into_iter().map(Value::string).collect()),
        args.message.to_value(),
        Value::Struct(args.options.members()),
    ];
    if args.dry_run {
        return args.daemon.call("apnsd.validate", params, |answer| sheet(answer, |_| ""));
    }
    let noun = if count == 1 { "notification" } else { "notifications" };
    args.daemon.call("notify", params, |_| format!("{count} {noun} accepted for {}\n", args.app_id))
}

fn tokens(args: &Notify) -> Result<Vec<String>, Failure> {
    let mut tokens = args.token.clone();
    if let Some(file) = &args.tokens {
        let (name, text) = match file.as_str() {
            "-" => ("standard input", io::read_to_string(io::stdin().lock())),
            path => (path, fs::read_to_string(path)),
        };
        let text =
            text.map_err(|error| Failure::new(Exit::Failed, format!("cannot read tokens from `{file}`: {error}")))?;
        tokens.extend(lines_of_tokens(name, &text)?);
    }
    match tokens.is_empty() {
        true => Err(Failure::new(Exit::Failed, "there is no token in the file: write one a line")),
        false => Ok(tokens),
    }
}

/// The tokens of a file. They are read here as the daemon will, because only here is it known which line is wrong.
fn lines_of_tokens(file: &str, text: &str) -> Result<Vec<String>, Failure> {
    let mut tokens = Vec::new();
    for (at, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let read = Tokens::default().push_text(line);
        read.map_err(|error| Failure::new(Exit::Failed, format!("{file}:{}: {error}", at + 1)))?;
        tokens.push(line.to_owned());
    }
    Ok(tokens)
}
