//! `[[app]]`: apps that are provisioned from the config file.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::environments::Environments;
use super::reader::Reader;
use super::value::{Raw, count, duration, path, text};
use crate::credentials::error::CredentialsError;
use crate::credentials::source::{read_file, read_passphrase};
use crate::credentials::{self, CredentialOptions};
use crate::domain::app::{AppId, Environment};
use crate::domain::time::Timestamp;
use crate::service::request::CONNECTIONS_MAX;

/// An app that is provisioned when the daemon starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSection {
    /// Its name.
    pub app_id: AppId,
    /// File with its credentials; may lie anywhere.
    pub certificate: PathBuf,
    /// Name of a row of the environments table.
    pub environment: String,
    /// Longest connection attempt; `None`: `delivery.connect_timeout`.
    pub timeout: Option<Duration>,
    /// Topic, where the credentials name several or none.
    pub topic: Option<String>,
    /// Id of a `.p8` key.
    pub key_id: Option<String>,
    /// Team of a `.p8` key.
    pub team_id: Option<String>,
    /// File with the passphrase of an encrypted certificate file; absolute where the config file's path is.
    pub passphrase_file: Option<PathBuf>,
    /// HTTP/2: connections to keep open.
    pub connections: Option<u32>,
}

/// Reads all apps. Those that lack something are left out; the reader knows why. A certificate that cannot be used now
/// and an environment that does not exist are warnings: one app must not keep the others from starting.
pub(super) fn read(environments: &Environments, now: Timestamp, reader: &mut Reader<'_>) -> Vec<AppSection> {
    if reader.skip_section("app") {
        reader.refuse_lack("app", "is a list of sections: head each of them [[app]], with two brackets");
    }
    let (mut apps, mut ids): (Vec<AppSection>, BTreeSet<AppId>) = Default::default();
    let rows = reader.sections_under("environments");
    for at in 0..reader.tables("app") {
        let section = format!("app[{at}]");
        let Some(app) = read_app(&section, reader) else { continue };
        let environment = environments.get(app.environment.as_str());
        if let Err((key, error)) = usable(&app, environment.map(|row| &**row), now) {
            reader.warn(&format!("{section}.{key}"), error);
        }
        // A row that was left out has problems of its own.
        if environment.is_none() && !rows.contains(&app.environment) {
            let names: Vec<String> = environments.keys().map(|name| format!("`{name}`")).collect();
            let known = names.join(", ");
            let text = format!("`{}` is not an environment: use one of {known}, or add its section", app.environment);
            reader.warn_lack(&format!("{section}.environment"), text);
        }
        if !ids.insert(app.app_id.clone()) {
            reader
                .refuse(&format!("{section}.app_id"), format!("`{}` is there twice: an app has one entry", app.app_id));
        }
        apps.push(app);
    }
    apps
}

fn read_app(section: &str, reader: &mut Reader<'_>) -> Option<AppSection> {
    let key = |key: &str| format!("{section}.{key}");
    let (mut app_id, mut certificate, mut environment, mut timeout) = (None, None, None, None);
    let set = [
        ("app_id", reader.read(&key("app_id"), &mut app_id, |raw| id(raw).map(Some))),
        ("certificate", reader.read(&key("certificate"), &mut certificate, |raw| file(raw).map(Some))),
        ("environment", reader.read(&key("environment"), &mut environment, |raw| text(raw).map(Some))),
    ];
    let (mut topic, mut key_id, mut team_id, mut passphrase_file, mut connections) = (None, None, None, None, None);
    reader.read(&key("timeout"), &mut timeout, |raw| duration(raw).map(Some));
    reader.read(&key("topic"), &mut topic, |raw| word(raw).map(Some));
    reader.read(&key("key_id"), &mut key_id, |raw| word(raw).map(Some));
    reader.read(&key("team_id"), &mut team_id, |raw| word(raw).map(Some));
    reader.read(&key("passphrase_file"), &mut passphrase_file, |raw| path(raw).map(Some));
    reader.read(&key("connections"), &mut connections, |raw| connection_count(raw).map(Some));
    for (name, _) in set.iter().filter(|(_, set)| !set) {
        reader.refuse_lack(section, format!("has no {name}: every [[app]] needs app_id, certificate and environment"));
    }
    let certificate: PathBuf = certificate?;
    let certificate = reader.resolve(&certificate);
    let passphrase_file = passphrase_file.map(|file: PathBuf| reader.resolve(&file));
    let (app_id, environment) = (app_id?, environment?);
    Some(AppSection { app_id, certificate, environment, timeout, topic, key_id, team_id, passphrase_file, connections })
}

/// Whether an app's files can be used now; the error is that of a key.
fn usable(app: &AppSection, environment: Option<&Environment>, now: Timestamp) -> Result<(), (&'static str, String)> {
    let passphrase = app.passphrase_file.as_deref().map(read_passphrase).transpose();
    let passphrase = passphrase.map_err(|error| ("passphrase_file", error.to_string()))?;
    let told = |error: CredentialsError| ("certificate", error.to_string());
    let bytes = read_file(&app.certificate).map_err(told)?;
    let options = CredentialOptions {
        passphrase: passphrase.as_deref(),
        key_id: app.key_id.as_deref(),
        team_id: app.team_id.as_deref(),
    };
    let topic = app.topic.as_deref();
    let credentials = credentials::parse(&bytes, &options);
    let judged = credentials.and_then(|read| environment.map_or(Ok(()), |row| read.judge(row, topic, now)));
    judged.map_err(|error| ("certificate", format!("`{}`: {error}", app.certificate.display())))
}

/// A short text that can stand in an HTTP header.
fn word(raw: &Raw<'_>) -> Result<String, String> {
    match text(raw)? {
        text if text.is_empty() => {
            Err("is empty: leave it out, or write what Apple's developer account shows".to_owned())
        }
        text if text.chars().any(char::is_control) => Err("has control characters".to_owned()),
        text => Ok(text),
    }
}

/// As many connections as a caller of `provision` may ask for.
fn connection_count(raw: &Raw<'_>) -> Result<u32, String> {
    match count(raw)? {
        number @ 1..=CONNECTIONS_MAX => Ok(number),
        number => Err(format!("{number} is too many: at most {CONNECTIONS_MAX}")),
    }
}

fn id(raw: &Raw<'_>) -> Result<AppId, String> {
    AppId::parse_new(&text(raw)?).map_err(|error| error.to_string())
}

fn file(raw: &Raw<'_>) -> Result<PathBuf, String> {
    // The text of a key must not reach a message that quotes a path.
    match text(raw)?.contains("-----BEGIN ") {
        true => Err("needs the path of a file: put the text into a file of its own".to_owned()),
        false => path(raw),
    }
}
