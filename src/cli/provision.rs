//! `provision`: adds an app, or replaces what changed of it.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::call::Daemon;
use super::credential::{self, Passphrase};
use super::exit::{Exit, Failure};
use crate::config::parse_duration;
use crate::credentials::error::CredentialsError;
use crate::credentials::{self, CredentialOptions, source};
use crate::service::request::CONNECTIONS_MAX;
use crate::xmlrpc::value::Value;

/// Add an app, or replace its certificate or environment
///
/// The file is read here and its content is sent. With --path the daemon reads it, under its certificate_dirs, and takes
/// it up again whenever it changes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd provision myapp myapp.p12 production --passphrase-file myapp.pass\n  \
    apnsd provision myapp /etc/apnsd/certs/myapp.pem production --path\n  \
    apnsd provision myapp AuthKey_ABC123DEFG.p8 production --key-id ABC123DEFG --team-id DEF123GHIJ --topic com.example.myapp")]
pub(super) struct Provision {
    /// The name that callers will use
    #[arg(value_name = "APP")]
    app_id: String,
    /// .p12, PEM with certificate and key, or a .p8 key; - reads standard input
    #[arg(value_name = "FILE")]
    certificate: String,
    /// production, sandbox, or another row of the environments table
    environment: String,
    /// Send the path, not the content: an absolute path on the daemon's machine
    #[arg(long)]
    path: bool,
    #[command(flatten)]
    passphrase: Passphrase,
    /// Id of a .p8 key
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// Team of a .p8 key
    #[arg(long, value_name = "ID")]
    team_id: Option<String>,
    /// Topic, where the certificate names several or none, and of a .p8 key
    #[arg(long)]
    topic: Option<String>,
    /// Connections to keep open (HTTP/2)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    connections: Option<u32>,
    /// Longest attempt to connect to the gateway: whole seconds or more, as in 5s or 1m
    #[arg(long, value_name = "DURATION", value_parser = whole_seconds)]
    connect_timeout: Option<Duration>,
    /// Replace even a certificate that ends later
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// Provisions an app; a certificate that cannot be used is a failure.
pub(super) fn run(args: &Provision) -> Result<(), Failure> {
    if args.path && !Path::new(&args.certificate).is_absolute() {
        return Err(Failure::new(Exit::Usage, "--path needs an absolute path, as the daemon sees it"));
    }
    let (certificate, passphrase) = match args.path {
        true => (args.certificate.clone(), args.passphrase.given()?),
        false => read(args)?,
    };
    let timeout = args.connect_timeout.map(|timeout| i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX));
    let text = |text: &Option<String>| text.clone().map(Value::string);
    let options = [
        ("topic", text(&args.topic)),
        ("key_id", text(&args.key_id)),
        ("team_id", text(&args.team_id)),
        ("passphrase", passphrase.map(Value::string)),
        ("connections", args.connections.map(|count| Value::Int(count.into()))),
        ("force", args.force.then_some(Value::Boolean(true))),
    ];
    let options = options.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect::<Vec<_>>();
    let params = vec![
        Value::string(args.app_id.as_str()),
        Value::string(certificate),
        Value::string(args.environment.as_str()),
        timeout.map_or(Value::Nil, Value::Int),
        // Options, even without any, ask for a fault where the certificate cannot be used.
        Value::structure(options),
    ];
    let Provision { app_id, environment, .. } = args;
    let done =
        format!("`{app_id}` is provisioned for {environment}; `apnsd status {app_id}` shows whether it connects\n");
    args.daemon.call("provision", params, |_| done)
}

/// What to send of the file, and its passphrase where it needs one.
fn read(args: &Provision) -> Result<(String, Option<String>), Failure> {
    let failed = |problem| Failure::new(Exit::Failed, problem);
    let file = &args.certificate;
    let bytes = args.passphrase.read_beside(file)?;
    let (key_id, team_id) = (args.key_id.as_deref(), args.team_id.as_deref());
    let options = CredentialOptions { passphrase: None, key_id, team_id };
    let opened = args.passphrase.open(file, &bytes, &options)?;
    let name = credential::shown(file);
    let text = as_text(&format!("`{}`", name.display()), bytes, opened.credentials.err());
    Ok((text.map_err(failed)?, opened.passphrase))
}

/// What to send of a file with certificate and key, or what is wrong with it.
pub(super) fn certificate_text(path: &Path) -> Result<String, String> {
    let bytes = source::read_file(path).map_err(|error| error.to_string())?;
    let refused = credentials::parse(&bytes, &CredentialOptions::default()).err();
    as_text(&format!("`{}`", path.display()), bytes, refused)
}

/// Text as it is, a binary file as base64. A credential is judged by the daemon; that there is none is known here.
fn as_text(name: &str, bytes: Vec<u8>, refused: Option<CredentialsError>) -> Result<String, String> {
    /// How a binary file begins: a sequence in DER.
    const SEQUENCE: u8 = 0x30;
    match (refused, String::from_utf8(bytes)) {
        (Some(refused @ (CredentialsError::NotPem | CredentialsError::Empty)), _) => Err(format!("{name}: {refused}")),
        (_, Ok(text)) => Ok(text),
        (None | Some(CredentialsError::PassphraseMissing), Err(error))
            if error.as_bytes().first() == Some(&SEQUENCE) =>
        {
            Ok(STANDARD.encode(error.as_bytes()))
        }
        (Some(refused), Err(_)) => Err(format!("{name}: {refused}")),
        (None, Err(_)) => Err(format!("{name} is not UTF-8: remove the text around the PEM blocks")),
    }
}

/// What the daemon takes: its time-out has no parts of a second.
fn whole_seconds(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        timeout if timeout.subsec_nanos() == 0 => Ok(timeout),
        _ => Err(format!("`{text}` is not in whole seconds: write 1s or longer, as in \"5s\"")),
    }
}
