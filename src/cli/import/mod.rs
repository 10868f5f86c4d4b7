//! `import`: provisions the apps of a file.

mod document;
mod pyapns;

use std::fs;
use std::io;
use std::path::Path;

use clap::Args;
use serde_json::{Map, Value as Json, json};

use self::pyapns::Files;
use super::call::Daemon;
use super::check_config::{ConfigFile, refuse};
use super::exit::{Exit, Failure};
use super::output::{print, printable};
use crate::clock::Clock;
use crate::config::Environments;
use crate::credentials::{self, CredentialOptions, source};
use crate::xmlrpc::value::Value;

/// Provision the apps that `apnsd export` printed, or those of pyapns
///
/// With --pyapns, FILE is the JSON file of its .tac script (autoprovision, apps_path), or a directory with one JSON file
/// an app (*.json). Relative paths in it begin at the directory of the file. Certificates are read here and sent as text; with
/// --paths the daemon reads them, under its certificate_dirs, and takes them up again whenever they change.
///
/// An app that cannot be provisioned does not stop those after it. One that is there already is changed to what the
/// file says.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd import apps.json\n  apnsd import - --url http://127.0.0.1:8077\n  \
    apnsd import --pyapns /var/lib/pyapns/pyapns.json --dry-run\n  apnsd import --pyapns /etc/pyapns/apps --paths")]
pub(super) struct Import {
    /// The document; - reads standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// FILE is the configuration of a pyapns, or its directory of apps
    #[arg(long)]
    pyapns: bool,
    /// Send paths of certificates, not their content
    #[arg(long, requires = "pyapns")]
    paths: bool,
    /// Only say what would be provisioned, as far as it is known here: whether certificates can be used, and whether the
    /// configuration has the environments
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigFile,
    /// Replace even certificates that end later
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// An app of a file.
struct Planned {
    /// Its id; of an entry that has none, where it is.
    app_id: String,
    environment: String,
    /// Path or text, or why there is none.
    certificate: Result<String, String>,
    /// Seconds.
    timeout: Option<f64>,
    /// As `provision` takes them.
    options: Map<String, Json>,
}

/// Provisions one app after the other and says for each what happened; fails in the end where one did not succeed.
pub(super) fn run(args: &Import) -> Result<(), Failure> {
    let apps = read(args).map_err(|problem| Failure::new(Exit::Failed, problem))?;
    let environments = if args.dry_run { Some(environments(args)?) } else { None };
    let (mut done, mut failed) = (Vec::new(), 0);
    let mut stopped = None;
    for app in &apps {
        let result = match (&app.certificate, &environments) {
            (Err(problem), _) => Err(problem.clone()),
            (Ok(certificate), Some(environments)) => judged(app, certificate, environments),
            (Ok(certificate), None) => match provision(args, app, certificate) {
                Ok(()) => Ok(()),
                Err(refused) if refused.exit == Exit::Fault => Err(refused.message),
                // The daemon does not answer: neither will it for the others.
                Err(failure) => {
                    stopped = Some(failure);
                    break;
                }
            },
        };
        failed += usize::from(result.is_err());
        match args.daemon.wants_json() {
            true => done.push(as_json(app, &result, args.dry_run)),
            false => print(&as_line(app, &result, args.dry_run))?,
        }
    }
    if args.daemon.wants_json() {
        print(&format!("{:#}\n", Json::Array(done)))?;
    }
    match (stopped, failed) {
        (Some(failure), _) => Err(failure),
        (None, 0) => Ok(()),
        (None, failed) => {
            let count = apps.len();
            Err(Failure::new(Exit::Failed, format!("{failed} of {count} apps could not be provisioned")))
        }
    }
}

fn read(args: &Import) -> Result<Vec<Planned>, String> {
    if args.pyapns {
        return pyapns::read(Path::new(&args.file), if args.paths { Files::Name } else { Files::Read });
    }
    let text = match args.file.as_str() {
        "-" => io::read_to_string(io::stdin().lock()),
        path => fs::read_to_string(path),
    };
    document::read(&text.map_err(|error| format!("{}: {error}", args.file))?)
        .map_err(|problem| format!("{}: {problem}", args.file))
}

fn provision(args: &Import, app: &Planned, certificate: &str) -> Result<(), Failure> {
    let mut options: Vec<_> = app.options.iter().map(|(name, value)| (name.into(), as_value(value))).collect();
    options.extend(args.force.then_some(("force".into(), Value::Boolean(true))));
    let params = vec![
        Value::string(app.app_id.as_str()),
        Value::string(certificate),
        Value::string(app.environment.as_str()),
        app.timeout.map_or(Value::Nil, Value::Double),
        // Options, even without any, ask for a fault where the certificate cannot be used.
        Value::structure(options),
    ];
    args.daemon.ask("provision", params).map(drop)
}

/// The environments that the daemon would have.
fn environments(args: &Import) -> Result<Environments, Failure> {
    let (config, _) = args.config.load().map_err(|refused| refuse(&refused))?;
    Ok(config.environments)
}

/// Whether an environment is there and a certificate could be used. One in a file may be there for the daemon alone.
fn judged(app: &Planned, certificate: &str, environments: &Environments) -> Result<(), String> {
    if !environments.contains_key(app.environment.as_str()) {
        let names: Vec<String> = environments.keys().map(|name| format!("`{name}`")).collect();
        let (environment, known) = (&app.environment, names.join(", "));
        return Err(format!(
            "`{environment}` is not an environment: there are {known}; --config names the file that has others"
        ));
    }
    let bytes = match source::path(certificate) {
        None => certificate.as_bytes().to_vec(),
        Some(path) => match source::read_file(Path::new(path)) {
            Ok(bytes) => bytes,
            Err(_) => return Ok(()),
        },
    };
    let now = Clock::system().timestamp();
    let option = |name: &str| app.options.get(name).and_then(Json::as_str);
    let options =
        CredentialOptions { passphrase: option("passphrase"), key_id: option("key_id"), team_id: option("team_id") };
    let judged = credentials::parse(&bytes, &options).and_then(|credentials| credentials.judge_time(now));
    judged.map_err(|refused| refused.to_string())
}

fn as_value(json: &Json) -> Value<'_> {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(truth) => Value::Boolean(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::string(text.as_str()),
        Json::Array(items) => Value::Array(items.iter().map(as_value).collect()),
        Json::Object(members) => {
            Value::Struct(members.iter().map(|(name, value)| (name.into(), as_value(value))).collect())
        }
    }
}

fn as_line(app: &Planned, result: &Result<(), String>, is_dry_run: bool) -> String {
    let Planned { app_id, environment, certificate, .. } = app;
    let line = match (result, certificate) {
        (Err(problem), _) => format!("{app_id}: not provisioned: {problem}"),
        (Ok(()), Ok(certificate)) if is_dry_run => match source::path(certificate) {
            Some(path) => format!("{app_id}: would be provisioned for {environment} with {path}"),
            None => format!("{app_id}: would be provisioned for {environment} with the text of its certificate"),
        },
        (Ok(()), _) => format!("{app_id}: provisioned for {environment}"),
    };
    let lines: Vec<String> = line.lines().map(printable).collect();
    lines.join("\n  ") + "\n"
}

fn as_json(app: &Planned, result: &Result<(), String>, is_dry_run: bool) -> Json {
    let Planned { app_id, environment, .. } = app;
    match result {
        Ok(()) => {
            let result = if is_dry_run { "planned" } else { "provisioned" };
            json!({"app_id": app_id, "environment": environment, "result": result})
        }
        Err(error) => json!({"app_id": app_id, "environment": environment, "result": "failed", "error": error}),
    }
}
