//! What is stored of an app: the body of [`Store::put_app`](crate::store::Store::put_app).
//!
//! A body is one JSON object. Its member `version` is 1; a body with a greater number is refused by it and left alone.
//! Members that this version does not know are passed over; what has no value is left out. Beside `version` it has one
//! of two members:
//!
//! - `app`, an app that is provisioned:
//!   - `environment`: its name, text.
//!   - `certificate`: the path as the caller spelled it, so that a link that is set anew is followed. Left out where the
//!     caller gave the text itself: that is a secret.
//!   - `unrestricted`: true where the path may lie anywhere, because the config file names it.
//!   - `section`: digest of the app's `[[app]]` section as it was last applied, 32 hex digits.
//!   - `timeout`: milliseconds; left out where the caller gave none.
//!   - `options`: `topic`, `key_id`, `team_id`, `passphrase_file`, `connections`; `defaults` for notify: `expiration`, `priority`,
//!     `collapse_id`, `push_type`, `topic`, each a scalar, or an array with one for each row.
//!   - `feedback_topic`: topic of the credentials as they were last accepted: whose feedback the app reads.
//!   - `paused`: true where an operator paused it.
//!   - `moved_after`: number of the last batch that was accepted for an earlier environment.
//!   - `since`: when it was provisioned, milliseconds since 1970.
//!   - `secrets`: an object with `certificate` and `passphrase`, both text, as far as there are any; or the base64 of
//!     that object's JSON text, sealed (see `seal.rs`).
//! - `removed`, an app that was deprovisioned:
//!   - `section`: as above: the same section does not bring the app back.
//!   - `feedback`: the `environment` and `topic` whose feedback it read last.
//!   - `at`: when, milliseconds since 1970.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::request::{NotifyOptions, PerRow, ProvisionOptions};
use super::seal::{SealError, SealKey};
use super::terms::{Certificate, Removed, SectionDigest, Terms};
use crate::domain::app::AppId;
use crate::domain::batch::BatchId;
use crate::domain::time::Timestamp;
use crate::store::FeedbackSource;

/// The version that is written.
const VERSION: u64 = 1;

/// How the secrets of an app are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// It has none.
    None,
    Plain,
    Sealed,
}

/// A body that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    App(Box<Terms>, Secrecy),
    Removed(Removed),
    /// An app that cannot be used; its body must stay as it is.
    Unreadable(Unreadable),
}

/// What is known of an app whose body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// Name of its environment; empty where even that is not known.
    pub(super) environment: Arc<str>,
    pub(super) section: Option<SectionDigest>,
    pub(super) secrecy: Secrecy,
    /// A newer version wrote it: only a caller may put something else in its place.
    pub(super) is_newer: bool,
    /// Why, and what to do.
    pub(super) cause: String,
}

impl Secrecy {
    /// The word for it in answers.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Plain => "plain",
            Self::Sealed => "sealed",
        }
    }
}

/// The body for an app, and how its secrets are in it.
pub(super) fn encode(app: &AppId, terms: &Terms, key: &SealKey) -> Result<(Vec<u8>, Secrecy), SealError> {
    let (secrets, secrecy) = match Secrets::of(terms) {
        None => (None, Secrecy::None),
        Some(secrets) => match key.seal(app, &json(&secrets))? {
            Some(sealed) => (Some(StoredSecrets::Sealed(STANDARD.encode(sealed))), Secrecy::Sealed),
            None => (Some(StoredSecrets::Plain(secrets)), Secrecy::Plain),
        },
    };
    let body = Body { version: VERSION, app: Some(AppBody::of(terms, secrets)), removed: None };
    Ok((json(&body), secrecy))
}

/// The body for an app that was deprovisioned.
pub(super) fn encode_removed(removed: &Removed) -> Vec<u8> {
    let feedback = removed
        .feedback
        .as_ref()
        .map(|source| FeedbackBody { environment: source.environment.to_string(), topic: source.topic.to_string() });
    let removed = RemovedBody { section: removed.section.clone(), feedback, at: removed.at.as_millis() };
    json(&Body { version: VERSION, app: None, removed: Some(removed) })
}

/// Reads a body.
pub(super) fn decode(app: &AppId, body: &[u8], key: &SealKey) -> Record {
    match serde_json::from_slice(body) {
        Ok(Head { version: VERSION }) => (),
        Ok(Head { version }) => {
            let cause = format!(
                "its record was written by a newer apnsd (version {version} of the record, this one knows {VERSION}): \
                 run the newer one, or provision the app again"
            );
            return unreadable(version > VERSION, cause);
        }
        Err(error) => return damaged(&error),
    }
    match serde_json::from_slice(body) {
        Ok(Body { app: Some(body), removed: None, .. }) => body.into_record(app, key),
        Ok(Body { app: None, removed: Some(removed), .. }) => Record::Removed(removed.into_removed()),
        Ok(_) => unreadable(false, "its record in the store is of no known kind: provision the app again".to_owned()),
        Err(error) => damaged(&error),
    }
}

/// Does not quote what it found, which may be a secret.
fn damaged(error: &serde_json::Error) -> Record {
    let place = format!("line {}, column {}", error.line(), error.column());
    unreadable(false, format!("its record in the store is damaged ({place}): provision the app again"))
}

fn unreadable(is_newer: bool, cause: String) -> Record {
    Record::Unreadable(Unreadable { environment: "".into(), section: None, secrecy: Secrecy::None, is_newer, cause })
}

#[derive(Deserialize)]
struct Head {
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct Body {
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<AppBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<RemovedBody>,
}

#[derive(Serialize, Deserialize)]
struct AppBody {
    environment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unrestricted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<SectionDigest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(default)]
    options: OptionsBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    feedback_topic: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_after: Option<u64>,
    since: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets: Option<StoredSecrets>,
}

#[derive(Default, Serialize, Deserialize)]
struct OptionsBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    team_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passphrase_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<u32>,
    #[serde(default)]
    defaults: DefaultsBody,
}

#[derive(Default, Serialize, Deserialize)]
struct DefaultsBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<Rows<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Rows<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collapse_id: Option<Rows<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    push_type: Option<Rows<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<Rows<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Rows<T> {
    All(T),
    Each(Vec<T>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredSecrets {
    Sealed(String),
    Plain(Secrets),
}

#[derive(Serialize, Deserialize)]
struct Secrets {
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passphrase: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct RemovedBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<SectionDigest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feedback: Option<FeedbackBody>,
    at: i64,
}

#[derive(Serialize, Deserialize)]
struct FeedbackBody {
    environment: String,
    topic: String,
}

impl AppBody {
    fn of(terms: &Terms, secrets: Option<StoredSecrets>) -> Self {
        let (certificate, unrestricted) = match &terms.certificate {
            Certificate::Text(_) => (None, false),
            Certificate::File { path, unrestricted } => (Some(path.clone()), *unrestricted),
        };
        Self {
            environment: terms.environment.to_string(),
            certificate,
            unrestricted,
            section: terms.section.clone(),
            timeout: terms.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
            options: OptionsBody::of(&terms.options),
            feedback_topic: terms.feedback_topic.as_ref().map(ToString::to_string),
            paused: terms.is_paused,
            moved_after: terms.moved_after.map(|BatchId(batch)| batch),
            since: terms.since.as_millis(),
            secrets,
        }
    }

    fn into_record(self, app: &AppId, key: &SealKey) -> Record {
        let (secrets, secrecy) = match self.secrets {
            None => (Ok(Secrets { certificate: None, passphrase: None }), Secrecy::None),
            Some(StoredSecrets::Plain(secrets)) => (Ok(secrets), Secrecy::Plain),
            Some(StoredSecrets::Sealed(sealed)) => (unseal(app, &sealed, key), Secrecy::Sealed),
        };
        let certificate = secrets.and_then(|Secrets { certificate, passphrase }| {
            let given = match (self.certificate, certificate) {
                (Some(path), _) => Certificate::File { path, unrestricted: self.unrestricted },
                (None, Some(text)) => Certificate::Text(text),
                (None, None) => {
                    return Err("its record in the store has no certificate: provision the app again".into());
                }
            };
            Ok((given, passphrase))
        });
        let environment: Arc<str> = self.environment.into();
        match certificate {
            Ok((certificate, passphrase)) => {
                let terms = Terms {
                    environment,
                    certificate,
                    section: self.section,
                    timeout: self.timeout.map(Duration::from_millis),
                    options: self.options.into_options(passphrase),
                    feedback_topic: self.feedback_topic.map(Arc::from),
                    is_paused: self.paused,
                    moved_after: self.moved_after.map(BatchId),
                    since: Timestamp::from_millis(self.since),
                };
                Record::App(Box::new(terms), secrecy)
            }
            Err(cause) => {
                let section = self.section;
                Record::Unreadable(Unreadable { environment, section, secrecy, is_newer: false, cause })
            }
        }
    }
}

fn unseal(app: &AppId, sealed: &str, key: &SealKey) -> Result<Secrets, String> {
    // Text that is not base64 was damaged, which is told as any other damage of a sealed text.
    let sealed = STANDARD.decode(sealed).map_err(|_| SealError::OtherKey.to_string())?;
    let secrets = key.open(app, &sealed).map_err(|error| error.to_string())?;
    serde_json::from_slice(&secrets).map_err(|_| SealError::OtherKey.to_string())
}

impl Secrets {
    fn of(terms: &Terms) -> Option<Self> {
        let certificate = match &terms.certificate {
            Certificate::Text(text) => Some(text.clone()),
            Certificate::File { .. } => None,
        };
        let passphrase = terms.options.passphrase.clone();
        (certificate.is_some() || passphrase.is_some()).then_some(Self { certificate, passphrase })
    }
}

impl OptionsBody {
    fn of(options: &ProvisionOptions) -> Self {
        let options = options.clone();
        let ProvisionOptions { topic, key_id, team_id, passphrase: _, passphrase_file, connections, force: _, notify } =
            options;
        let NotifyOptions { expiration, priority, collapse_id, push_type, topic: default_topic, request_id: _ } =
            notify;
        let defaults = DefaultsBody {
            expiration: rows(expiration, |value| value),
            priority: rows(priority, |value| value),
            collapse_id: rows(collapse_id, |text| text.to_string()),
            push_type: rows(push_type, |text| text.to_string()),
            topic: rows(default_topic, |text| text.to_string()),
        };
        Self { topic, key_id, team_id, passphrase_file, connections, defaults }
    }

    fn into_options(self, passphrase: Option<String>) -> ProvisionOptions {
        let DefaultsBody { expiration, priority, collapse_id, push_type, topic } = self.defaults;
        let notify = NotifyOptions {
            expiration: per_row(expiration, |value| value),
            priority: per_row(priority, |value| value),
            collapse_id: per_row(collapse_id, Arc::from),
            push_type: per_row(push_type, Arc::from),
            topic: per_row(topic, Arc::from),
            request_id: None,
        };
        let Self { topic, key_id, team_id, passphrase_file, connections, defaults: _ } = self;
        ProvisionOptions { topic, key_id, team_id, passphrase, passphrase_file, connections, force: false, notify }
    }
}

fn rows<T, U>(values: PerRow<T>, convert: impl Fn(T) -> U) -> Option<Rows<U>> {
    match values {
        PerRow::Absent => None,
        PerRow::All(value) => Some(Rows::All(convert(value))),
        PerRow::Each(values) => Some(Rows::Each(values.into_iter().map(convert).collect())),
    }
}

fn per_row<T, U>(rows: Option<Rows<T>>, convert: impl Fn(T) -> U) -> PerRow<U> {
    match rows {
        None => PerRow::Absent,
        Some(Rows::All(value)) => PerRow::All(convert(value)),
        Some(Rows::Each(values)) => PerRow::Each(values.into_iter().map(convert).collect()),
    }
}

impl RemovedBody {
    fn into_removed(self) -> Removed {
        let feedback = self.feedback.map(|FeedbackBody { environment, topic }| FeedbackSource {
            environment: environment.into(),
            topic: topic.into(),
        });
        Removed { section: self.section, feedback, at: Timestamp::from_millis(self.at) }
    }
}

#[expect(clippy::expect_used, reason = "the structures above have neither maps nor numbers that JSON lacks")]
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a body that JSON can express")
}

#[cfg(test)]
mod tests;
