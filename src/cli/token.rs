//! `token`: tokens of users.

use clap::{Args, Subcommand};
use toml::Value;

use super::exit::{Exit, Failure};
use super::output::{complain, print};
use crate::config::{user_app, user_method, user_name};
use crate::listener::user::Token;

/// Tokens for callers, where not everybody may call
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  apnsd token create web")]
pub(super) struct Tokens {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(Create),
}

/// Make a token for a user; prints the [[user]] section for the configuration
///
/// The section has the hash of the token alone. The token itself is shown once, on standard error: it is the password
/// in the URL of the user's applications.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd token create web\n  \
    apnsd token create shop --app shop --method notify --method feedback")]
struct Create {
    /// The user
    #[arg(value_parser = user_name)]
    name: String,
    /// An app that the user may use; may be repeated [default: all]
    #[arg(long = "app", value_name = "APP_ID", value_parser = user_app)]
    apps: Vec<String>,
    /// A method that the user may call; may be repeated [default: all]
    #[arg(long = "method", value_name = "METHOD", value_parser = user_method)]
    methods: Vec<String>,
}

/// Runs the group.
pub(super) fn run(args: &Tokens) -> Result<(), Failure> {
    match &args.command {
        Command::Create(args) => create(args),
    }
}

fn create(args: &Create) -> Result<(), Failure> {
    let token = Token::generate().map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    print(&section(args, &token))?;
    complain(&format!(
        "the token of `{name}`, shown this once: {token}\n\
         Add the section to the configuration, `kill -HUP` the daemon, and let callers use the URL\n\
         http://{name}:{token}@127.0.0.1:7077/\n\
         As soon as there is one user, nobody calls over TCP without being one.",
        name = args.name,
        token = token.reveal(),
    ));
    Ok(())
}

/// The section in TOML.
fn section(args: &Create, token: &Token) -> String {
    let mut text = format!("\n[[user]]\nname = \"{}\"\ntoken = \"{}\"\n", args.name, token.hash());
    for (key, list) in [("apps", &args.apps), ("methods", &args.methods)] {
        if !list.is_empty() {
            let list = Value::Array(list.iter().cloned().map(Value::String).collect());
            text += &format!("{key} = {list}\n");
        }
    }
    text
}
