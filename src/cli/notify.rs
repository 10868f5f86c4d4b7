//! `notify`: sends one notification to many tokens.

use std::fs;
use std::io;

use clap::{ArgGroup, Args};
use serde_json::{Map, Value as Json};

use super::call::Daemon;
use super::exit::{Exit, Failure};
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
    /// The text to show
    #[arg(long, group = "what", value_name = "TEXT")]
    alert: Option<String>,
    /// The number on the app's icon; 0 removes it
    #[arg(long, conflicts_with = "payload", value_name = "NUMBER", value_parser = badge, allow_negative_numbers = true)]
    badge: Option<u32>,
    /// The sound to play
    #[arg(long, conflicts_with = "payload", value_name = "NAME")]
    sound: Option<String>,
    /// The whole payload, a JSON object
    #[arg(long, group = "what", value_name = "JSON", value_parser = object)]
    payload: Option<Map<String, Json>>,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Args)]
struct Options {
    /// When it is not worth delivering any more; 0: one attempt only
    #[arg(long, value_name = "UNIX_SECONDS", value_parser = expiration, allow_negative_numbers = true)]
    expiration: Option<u32>,
    /// 10: at once; 5: when it suits the device's battery; 1: even less urgent
    #[arg(long, value_name = "NUMBER", value_parser = priority, allow_negative_numbers = true)]
    priority: Option<u8>,
    /// Replaces an earlier notification of the same id on the device
    #[arg(long, value_name = "ID")]
    collapse_id: Option<String>,
    /// alert, background, voip, …
    #[arg(long, value_name = "TYPE")]
    push_type: Option<String>,
    /// Overrides the topic of the app
    #[arg(long)]
    topic: Option<String>,
    /// Name of this call: a second one with the same name has no effect
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

impl Options {
    fn to_value(&self) -> Value<'_> {
        let texts = [
            ("collapse_id", &self.collapse_id),
            ("push_type", &self.push_type),
            ("topic", &self.topic),
            ("request_id", &self.request_id),
        ];
        let mut members = Vec::new();
        members.extend(self.expiration.map(|secs| ("expiration".into(), Value::Int(secs.into()))));
        members.extend(self.priority.map(|priority| ("priority".into(), Value::Int(priority.into()))));
        members
            .extend(texts.into_iter().filter_map(|(name, text)| Some((name.into(), Value::string(text.as_deref()?)))));
        Value::Struct(members)
    }
}

/// Sends the notification; done once the daemon has accepted it.
pub(super) fn run(args: &Notify) -> Result<(), Failure> {
    let tokens = tokens(args)?;
    let count = tokens.len();
    let params = vec![
        Value::string(args.app_id.as_str()),
        Value::Array(tokens.into_iter().map(Value::string).collect()),
        // As text, which the daemon takes as it is: XML-RPC has no null and no large numbers of its own.
        Value::string(Json::Object(payload(args)).to_string()),
        args.options.to_value(),
    ];
    let noun = if count == 1 { "notification" } else { "notifications" };
    args.daemon.call("notify", params, |_| format!("{count} {noun} accepted for {}\n", args.app_id))
}

fn payload(args: &Notify) -> Map<String, Json> {
    if let Some(payload) = &args.payload {
        return payload.clone();
    }
    let mut aps = Map::new();
    aps.extend(args.alert.as_deref().map(|alert| ("alert".to_owned(), alert.into())));
    aps.extend(args.badge.map(|badge| ("badge".to_owned(), badge.into())));
    aps.extend(args.sound.as_deref().map(|sound| ("sound".to_owned(), sound.into())));
    Map::from_iter([("aps".to_owned(), aps.into())])
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

fn badge(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("a badge is a whole number from 0 to {}; 0 removes it", u32::MAX))
}

fn expiration(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "an expiration is in whole seconds since 1970, as `date +%s` prints them".to_owned())
}

fn priority(text: &str) -> Result<u8, String> {
    text.parse().map_err(|_| "a priority is 10, 5 or 1".to_owned())
}

fn object(text: &str) -> Result<Map<String, Json>, String> {
    match serde_json::from_str(text) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err("a payload is a JSON object, as in {\"aps\": {\"alert\": \"Hello\"}}".to_owned()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}
