//! `token`: tokens of users.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use toml::Value;

use super::check_config::glimpse;
use super::exit::{Exit, Failure};
use super::output::{complain, print};
use crate::config::{Config, user_app, user_method, user_name};
use crate::listener::address::ListenAddress;
use crate::listener::user::Token;

/// Where the package has the configuration.
const USUAL_FILE: &str = "/etc/apnsd/apnsd.toml";

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
    /// The configuration that the user is for, whose address and users count [default: /etc/apnsd/apnsd.toml]
    #[arg(long, env = "APNSD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the group.
pub(super) fn run(args: &Tokens) -> Result<(), Failure> {
    match &args.command {
        Command::Create(args) => create(args),
    }
}

fn create(args: &Create) -> Result<(), Failure> {
    let name = &args.name;
    let config = configuration(args.config.as_deref())?;
    if config.as_ref().is_some_and(|(_, config)| config.users.iter().any(|user| user.name == *name)) {
        let text =
            format!("there is a user `{name}` already: take another name, move its callers, then remove the first");
        return Err(Failure::new(Exit::Failed, text));
    }
    let token = Token::generate().map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    print(&section(args, &token))?;
    let file = config.as_ref().map_or_else(|| "the configuration".to_owned(), |(path, _)| path.display().to_string());
    let listen = config.map_or_else(|| Config::default().listen, |(_, config)| config.listen);
    complain(&format!(
        "the token of `{name}`, shown this once: {token}\n\
         Add the section to {file}, `kill -HUP` the daemon, and let callers use the URL\n\
         {url}\n\
         As soon as there is one user, nobody calls over TCP without being one: `apnsd status`, the status page and\n\
         Prometheus need users too.",
        token = token.reveal(),
        url = url(&listen, name, &token),
    ));
    Ok(())
}

/// The configuration that the user is for, where there is one.
fn configuration(named: Option<&Path>) -> Result<Option<(PathBuf, Config)>, Failure> {
    let usual = Path::new(USUAL_FILE);
    let Some(path) = named.or_else(|| usual.exists().then_some(usual)) else { return Ok(None) };
    match glimpse(path) {
        Ok(config) => Ok(Some((path.to_owned(), config))),
        Err(error) if named.is_some() => {
            Err(Failure::new(Exit::Failed, format!("{} cannot be read: {error}", path.display())))
        }
        // Whoever makes a token for another machine need not be allowed to read it.
        Err(_) => Ok(None),
    }
}

/// Where callers find the daemon, as far as its configuration says.
fn url(listen: &[ListenAddress], name: &str, token: &Token) -> String {
    let tcp = listen.iter().find_map(|address| match address {
        ListenAddress::Tcp { host, port, tls } => Some((host, port, if *tls { "https" } else { "http" })),
        ListenAddress::Unix(_) => None,
    });
    let Some((host, port, scheme)) = tcp else {
        return "of a TCP address, once `listen` has one: over a unix socket no token is asked for".to_owned();
    };
    let host = match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => "HOST".to_owned(),
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        Ok(IpAddr::V4(_)) | Err(_) => host.clone(),
    };
    format!("{scheme}://{name}:{}@{host}:{port}/", token.reveal())
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
