//! What callers hand to the verbs, already free of the wire format.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::credentials::CredentialOptions;

/// Arguments of `provision`.
#[derive(Clone, PartialEq, Eq)]
pub struct Provision {
    /// Name of the app; checked by the verb.
    pub app_id: String,
    /// PEM text, base64 of a binary file, or an absolute path under `provision.certificate_dirs`.
    pub certificate: String,
    /// Name of an environment; checked by the verb.
    pub environment: String,
    /// Longest connection attempt; `None`: the configured default.
    pub timeout: Option<Duration>,
    /// The fifth argument. Where it is given, a bad credential is an error and not a refused app.
    pub options: Option<ProvisionOptions>,
}

/// Most connections that an app may ask for.
pub const CONNECTIONS_MAX: u32 = 1000;

/// The options of `provision`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProvisionOptions {
    /// Topic where the credentials name several or none.
    pub topic: Option<String>,
    /// Key id of a `.p8` key.
    pub key_id: Option<String>,
    /// Team id of a `.p8` key.
    pub team_id: Option<String>,
    /// Passphrase of an encrypted credential.
    pub passphrase: Option<String>,
    /// File with that passphrase, read whenever the credential is; only for apps of the config file.
    pub passphrase_file: Option<PathBuf>,
    /// Connections to keep open.
    pub connections: Option<u32>,
    /// Replace even a certificate that ends later.
    pub force: bool,
    /// Defaults for `notify`.
    pub notify: NotifyOptions,
}

impl ProvisionOptions {
    /// Those that belong to the credentials.
    pub(super) fn of_credentials(&self) -> CredentialOptions<'_> {
        CredentialOptions {
            passphrase: self.passphrase.as_deref(),
            key_id: self.key_id.as_deref(),
            team_id: self.team_id.as_deref(),
        }
    }
}

impl fmt::Debug for Provision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { app_id, certificate: _, environment, timeout, options } = self;
        let mut provision = formatter.debug_struct("Provision");
        provision.field("app_id", app_id).field("environment", environment).field("timeout", timeout);
        provision.field("options", options).finish_non_exhaustive()
    }
}

impl fmt::Debug for ProvisionOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, key_id, team_id, passphrase: _, passphrase_file, connections, force, notify } = self;
        let mut options = formatter.debug_struct("ProvisionOptions");
        options.field("topic", topic).field("key_id", key_id).field("team_id", team_id);
        options.field("passphrase_file", passphrase_file);
        options.field("connections", connections).field("force", force).field("notify", notify);
        options.finish_non_exhaustive()
    }
}

/// Arguments of `notify`, with payloads encoded and equal ones shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify<'a> {
    /// Device tokens as the caller wrote them.
    pub tokens: Vec<&'a str>,
    /// Distinct payloads: compact JSON objects.
    pub payloads: Vec<Arc<[u8]>>,
    /// Index of each token's payload, as long as `tokens`; empty when all take payload 0.
    pub payload_of: Vec<u32>,
    /// How to deliver them.
    pub options: NotifyOptions,
}

/// An option that may differ from row to row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PerRow<T> {
    /// Not given.
    #[default]
    Absent,
    /// The same for all rows.
    All(T),
    /// One for each row, as many as tokens.
    Each(Vec<T>),
}

/// The options of `notify`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifyOptions {
    /// Unix seconds; 0: one attempt.
    pub expiration: PerRow<u32>,
    /// 10, 5 or 1.
    pub priority: PerRow<u8>,
    /// At most 64 bytes.
    pub collapse_id: PerRow<Arc<str>>,
    /// `alert`, `background`, ….
    pub push_type: PerRow<Arc<str>>,
    /// Overrides the app's topic.
    pub topic: PerRow<Arc<str>>,
    /// Name of this call within the app: a repeated one has no second effect.
    pub request_id: Option<String>,
}
