//! `[[app]]`: apps that are provisioned from the config file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::environments::Environments;
use super::reader::Reader;
use super::value::{Raw, duration, path, text};
use crate::credentials::error::CredentialsError;
use crate::credentials::source::read_file;
use crate::credentials::{self, CredentialOptions};
use crate::domain::app::{AppId, Environment};
use crate::domain::time::Timestamp;

/// An app that is provisioned when the daemon starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSection {
    /// Its name.
    pub app_id: AppId,
    /// File with its certificate and key; may lie anywhere.
    pub certificate: PathBuf,
    /// Name of a row of the environments table.
    pub environment: String,
    /// Longest connection attempt; `None`: `delivery.connect_timeout`.
    pub timeout: Option<Duration>,
}

/// Reads all apps. Those that lack something are left out; the reader knows why. A certificate that cannot be used now
/// and an environment that does not exist are warnings: one app must not keep the others from starting.
pub(super) fn read(environments: &Environments, now: Timestamp, reader: &mut Reader<'_>) -> Vec<AppSection> {
    if reader.skip_section("app") {
        reader.refuse_lack("app", "is a list of sections: head each of them [[app]], with two brackets");
    }
    let mut apps: Vec<AppSection> = Vec::new();
    for at in 0..reader.tables("app") {
        let section = format!("app[{at}]");
        let Some(app) = read_app(&section, reader) else { continue };
        let environment = environments.get(app.environment.as_str());
        if let Err(error) = usable(&app.certificate, environment.map(|row| &**row), now) {
            reader.warn(&format!("{section}.certificate"), error);
        }
        // A row that was left out has problems of its own.
        if environment.is_none() && !reader.sections_under("environments").contains(&app.environment) {
            let names: Vec<String> = environments.keys().map(|name| format!("`{name}`")).collect();
            let known = names.join(", ");
            let text = format!("`{}` is not an environment: use one of {known}, or add its section", app.environment);
            reader.warn_lack(&format!("{section}.environment"), text);
        }
        if apps.iter().any(|other| other.app_id == app.app_id) {
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
    reader.read(&key("timeout"), &mut timeout, |raw| duration(raw).map(Some));
    for (name, _) in set.iter().filter(|(_, set)| !set) {
        reader.refuse_lack(section, format!("has no {name}: every [[app]] needs app_id, certificate and environment"));
    }
    let certificate: PathBuf = certificate?;
    Some(AppSection { app_id: app_id?, certificate: reader.resolve(&certificate), environment: environment?, timeout })
}

fn usable(file: &Path, environment: Option<&Environment>, now: Timestamp) -> Result<(), String> {
    let bytes = read_file(file).map_err(|error| error.to_string())?;
    let credentials = credentials::parse(&bytes, &CredentialOptions::default());
    let judged =
        credentials.and_then(|read| environment.map_or(Ok(()), |environment| read.judge(environment, None, now)));
    judged.map_err(|error: CredentialsError| format!("`{}`: {error}", file.display()))
}

fn id(raw: &Raw<'_>) -> Result<AppId, String> {
    AppId::parse(&text(raw)?).map_err(|error| error.to_string())
}

fn file(raw: &Raw<'_>) -> Result<PathBuf, String> {
    // The text of a key must not reach a message that quotes a path.
    match text(raw)?.contains("-----BEGIN ") {
        true => Err("needs the path of a PEM file: put the text into a file of its own".to_owned()),
        false => path(raw),
    }
}
