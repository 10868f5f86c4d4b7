//! `provision`: adds an app, or replaces what changed of it.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::call::Daemon;
use super::exit::{Exit, Failure};
use crate::config::parse_duration;
use crate::credentials::error::CredentialsError;
use crate::credentials::{self, CredentialOptions, source};
use crate::xmlrpc::value::Value;

/// Add an app, or replace its certificate or environment
///
/// The file is read here and its text is sent. With --path the daemon reads it, under its certificate_dirs, and takes
/// it up again whenever it changes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd provision myapp myapp.pem production\n  \
    apnsd provision myapp /etc/apnsd/certs/myapp.pem production --path")]
pub(super) struct Provision {
    /// The name that callers will use
    #[arg(value_name = "APP")]
    app_id: String,
    /// PEM file with certificate and key; - reads standard input
    #[arg(value_name = "FILE")]
    certificate: String,
    /// production, sandbox, or another row of the environments table
    environment: String,
    /// Send the path, not the content: an absolute path on the daemon's machine
    #[arg(long)]
    path: bool,
    /// Longest attempt to connect to the gateway: whole seconds or more, as in 5s or 1m
    #[arg(long, value_name = "DURATION", value_parser = whole_seconds)]
    connect_timeout: Option<Duration>,
    /// Topic, where the certificate names several or none
    #[arg(long)]
    topic: Option<String>,
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
    let certificate = if args.path { args.certificate.clone() } else { read(&args.certificate)? };
    let timeout = args.connect_timeout.map(|timeout| i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX));
    let mut options = Vec::new();
    options.extend(args.topic.as_deref().map(|topic| ("topic".into(), Value::string(topic))));
    options.extend(args.force.then_some(("force".into(), Value::Boolean(true))));
    let params = vec![
        Value::string(args.app_id.as_str()),
        Value::string(certificate),
        Value::string(args.environment.as_str()),
        timeout.map_or(Value::Nil, Value::Int),
        // Options, even without any, ask for a fault where the certificate cannot be used.
        Value::Struct(options),
    ];
    let Provision { app_id, environment, .. } = args;
    let done =
        format!("`{app_id}` is provisioned for {environment}; `apnsd status {app_id}` shows whether it connects\n");
    args.daemon.call("provision", params, |_| done)
}

fn read(file: &str) -> Result<String, Failure> {
    let text = match file {
        "-" => {
            let mut bytes = Vec::new();
            let mut stdin = std::io::stdin().lock().take(source::FILE_BYTES_MAX + 1);
            let read = stdin.read_to_end(&mut bytes).map_err(|error| format!("standard input: {error}"));
            read.and_then(|_| checked("standard input", bytes))
        }
        path => certificate_text(Path::new(path)),
    };
    text.map_err(|problem| Failure::new(Exit::Failed, problem))
}

/// The text of a file with certificate and key, or what is wrong with it.
pub(super) fn certificate_text(path: &Path) -> Result<String, String> {
    let bytes = source::read_file(path).map_err(|error| error.to_string())?;
    checked(&format!("`{}`", path.display()), bytes)
}

fn checked(name: &str, bytes: Vec<u8>) -> Result<String, String> {
    // A certificate is judged by the daemon; that there is none, or what is no text to send, is known here.
    match (credentials::parse(&bytes, &CredentialOptions::default()), String::from_utf8(bytes)) {
        (Err(CredentialsError::NotPem | CredentialsError::Empty), _) => Err(format!(
            "{name} holds no PEM certificate with key: it needs blocks `-----BEGIN CERTIFICATE-----` and `-----BEGIN \
             PRIVATE KEY-----`"
        )),
        (_, Ok(text)) => Ok(text),
        (Err(refused), Err(_)) => Err(format!("{name} is {refused}")),
        (Ok(_), Err(_)) => Err(format!("{name} is not UTF-8: remove the text around the PEM blocks")),
    }
}

/// What the daemon takes: its time-out has no parts of a second.
fn whole_seconds(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        timeout if timeout.subsec_nanos() == 0 => Ok(timeout),
        _ => Err(format!("`{text}` is not in whole seconds: write 1s or longer, as in \"5s\"")),
    }
}
