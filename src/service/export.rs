//! Provisions as they are stored, read from the state directory: of a running daemon or without one.
//!
//! Never part of an answer to a call: who may read the files may read the secrets in them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use thiserror::Error;

use super::request::ProvisionOptions;
use super::seal::SealKey;
use super::stored::{self, Record};
use super::terms::Certificate;
use crate::credentials::source;
use crate::domain::app::AppId;
use crate::store::{self, OpenError};

/// An app as it was provisioned.
#[derive(Clone, PartialEq, Eq)]
pub struct Exported {
    /// Its name.
    pub app_id: AppId,
    /// Name of its environment.
    pub environment: Arc<str>,
    /// Path or text; `None` where it is a text and secrets are left out.
    pub certificate: Option<String>,
    /// Longest connection attempt, if the caller named one.
    pub timeout: Option<Duration>,
    /// As given; without the passphrase where secrets are left out.
    pub options: ProvisionOptions,
    /// Which secrets it has that are left out: `certificate`, `passphrase`.
    pub omitted: Vec<&'static str>,
}

/// An app whose record is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its name.
    pub app_id: AppId,
    /// Why, and what to do.
    pub cause: String,
}

/// Whether secrets are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// They are left out, and named.
    Omit,
    /// They are told; sealed ones need `$CREDENTIALS_DIRECTORY/apnsd-key`.
    Include,
}

/// Why nothing could be read.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The directory has no store.
    #[error("there is no store in {}", .0.display())]
    Missing(PathBuf),
    /// The files are not for the user of this process.
    #[error("{} may not be read by this user", .0.display())]
    Forbidden(PathBuf),
    /// Anything else.
    #[error(transparent)]
    Store(OpenError),
}

/// Reads all apps of a state directory, by name.
pub fn export(dir: &Path, secrets: Secrets) -> Result<Vec<Result<Exported, Unreadable>>, ExportError> {
    let key = match secrets {
        Secrets::Omit => SealKey::Absent,
        Secrets::Include => {
            let directory = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
            SealKey::read(directory.map(|directory| directory.join("apnsd-key")).as_deref())
        }
    };
    let apps = store::read_apps(dir).map_err(|error| match error {
        OpenError::Io { error, .. } if error.kind() == std::io::ErrorKind::NotFound => {
            ExportError::Missing(dir.to_owned())
        }
        OpenError::Io { error, .. } if error.kind() == std::io::ErrorKind::PermissionDenied => {
            ExportError::Forbidden(dir.to_owned())
        }
        other => ExportError::Store(other),
    })?;
    Ok(apps.into_iter().filter_map(|(app, body)| read(app, &body, secrets, &key)).collect())
}

/// One app; `None` for one that was deprovisioned.
fn read(app_id: AppId, body: &[u8], secrets: Secrets, key: &SealKey) -> Option<Result<Exported, Unreadable>> {
    let record = match secrets {
        Secrets::Include => stored::decode(&app_id, body, key),
        Secrets::Omit => stored::decode(&app_id, &blanked(body), key),
    };
    let terms = match record {
        Record::App(terms, _) => terms,
        Record::Removed(_) => return None,
        Record::Unreadable(unreadable) => return Some(Err(Unreadable { app_id, cause: unreadable.cause })),
    };
    let mut omitted = Vec::new();
    let certificate = match (terms.certificate, secrets) {
        (Certificate::File { path, .. }, _) => Some(path),
        (Certificate::Text(text), Secrets::Include) => Some(text),
        (Certificate::Text(_), Secrets::Omit) => {
            omitted.push("certificate");
            None
        }
    };
    let mut options = terms.options;
    if let Some(file) = options.passphrase_file.take() {
        // What is provisioned by a call cannot name the file.
        options.passphrase = match (secrets, source::read_passphrase(&file)) {
            (Secrets::Include, Err(error)) => return Some(Err(Unreadable { app_id, cause: error.to_string() })),
            (Secrets::Include | Secrets::Omit, passphrase) => Some(passphrase.unwrap_or_default()),
        };
    }
    if secrets == Secrets::Omit && options.passphrase.take().is_some() {
        omitted.push("passphrase");
    }
    let (environment, timeout) = (terms.environment, terms.timeout);
    Some(Ok(Exported { app_id, environment, certificate, timeout, options, omitted }))
}

/// The body with empty texts in place of its secrets, for which no key is needed then. Of sealed ones it is not known
/// which they are: a certificate that is not a path, else a passphrase.
fn blanked(body: &[u8]) -> Vec<u8> {
    let Ok(mut body_json) = serde_json::from_slice::<Json>(body) else { return body.to_vec() };
    let has_path = body_json.pointer("/app/certificate").is_some();
    match body_json.pointer_mut("/app/secrets") {
        Some(Json::Object(secrets)) => secrets.values_mut().for_each(|secret| *secret = json!("")),
        Some(sealed) if has_path => *sealed = json!({"passphrase": ""}),
        Some(sealed) => *sealed = json!({"certificate": ""}),
        None => (),
    }
    body_json.to_string().into_bytes()
}

impl fmt::Debug for Exported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { app_id, environment, certificate: _, timeout, options, omitted } = self;
        let mut exported = formatter.debug_struct("Exported");
        exported.field("app_id", app_id).field("environment", environment).field("timeout", timeout);
        exported.field("options", options).field("omitted", omitted).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exported(body: &str, secrets: Secrets) -> Option<Result<Exported, Unreadable>> {
        read(AppId::parse("myapp").unwrap(), body.as_bytes(), secrets, &SealKey::Absent)
    }

    fn told(body: &str, secrets: Secrets) -> (Option<String>, Option<String>, Vec<&'static str>) {
        let Some(Ok(app)) = exported(body, secrets) else { panic!("{body}") };
        assert_eq!((app.app_id.as_str(), &*app.environment), ("myapp", "sandbox"));
        (app.certificate, app.options.passphrase, app.omitted)
    }

    const PATH: &str = r#"{"version":1,"app":{"environment":"sandbox","certificate":"/a.pem","since":0}}"#;
    const TEXT: &str = r#"{"version":1,"app":{"environment":"sandbox","timeout":1500,"options":{"topic":"t"},"since":0,
        "secrets":{"certificate":"TEXT","passphrase":"word"}}}"#;

    #[test]
    fn a_path_is_no_secret() {
        assert_eq!(told(PATH, Secrets::Omit), (Some("/a.pem".into()), None, vec![]));
        assert_eq!(told(PATH, Secrets::Include), (Some("/a.pem".into()), None, vec![]));
    }

    #[test]
    fn secrets_are_told_to_who_asks_for_them_and_named_otherwise() {
        assert_eq!(told(TEXT, Secrets::Omit), (None, None, vec!["certificate", "passphrase"]));
        assert_eq!(told(TEXT, Secrets::Include), (Some("TEXT".into()), Some("word".into()), vec![]));
        let Some(Ok(app)) = exported(TEXT, Secrets::Omit) else { panic!() };
        assert_eq!((app.timeout, app.options.topic.as_deref()), (Some(Duration::from_millis(1500)), Some("t")));
    }

    #[test]
    fn a_passphrase_in_a_file_is_told_as_any_other() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("passphrase");
        let options = format!(r#""options":{{"passphrase_file":"{}"}}"#, file.display());
        let body = PATH.replace(r#""since""#, &format!(r#"{options},"since""#));
        assert_eq!(told(&body, Secrets::Omit), (Some("/a.pem".into()), None, vec!["passphrase"]));
        let Some(Err(unreadable)) = exported(&body, Secrets::Include) else { panic!("{body}") };
        assert!(unreadable.cause.contains("cannot be read: No such file"), "{}", unreadable.cause);
        std::fs::write(&file, "word\n").unwrap();
        assert_eq!(told(&body, Secrets::Include), (Some("/a.pem".into()), Some("word".into()), vec![]));
    }

    #[test]
    fn sealed_secrets_need_the_key_only_where_they_are_asked_for() {
        let text = r#"{"version":1,"app":{"environment":"sandbox","since":0,"secrets":"c2VhbGVk"}}"#;
        assert_eq!(told(text, Secrets::Omit), (None, None, vec!["certificate"]));
        let path = r#"{"version":1,"app":{"environment":"sandbox","certificate":"/a.p12","since":0,"secrets":"c2Vh"}}"#;
        assert_eq!(told(path, Secrets::Omit), (Some("/a.p12".into()), None, vec!["passphrase"]));
        for body in [text, path] {
            let Some(Err(unreadable)) = exported(body, Secrets::Include) else { panic!("{body}") };
            assert!(unreadable.cause.contains("$CREDENTIALS_DIRECTORY/apnsd-key"), "{}", unreadable.cause);
        }
    }

    #[test]
    fn an_app_that_was_deprovisioned_is_left_out_and_a_damaged_one_named() {
        assert_eq!(exported(r#"{"version":1,"removed":{"at":0}}"#, Secrets::Omit), None);
        for body in ["", "x", r#"{"version":2}"#] {
            assert!(matches!(exported(body, Secrets::Omit), Some(Err(_))), "{body}");
        }
    }
}
