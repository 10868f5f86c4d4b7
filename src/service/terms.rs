//! What an app was provisioned with, and what is remembered of one that was deprovisioned. How that is stored is in
//! `stored.rs`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::request::{Provision, ProvisionOptions};
use crate::credentials::source;
use crate::domain::batch::BatchId;
use crate::domain::time::Timestamp;
use crate::store::FeedbackSource;

/// What an app is provisioned with, all that must be known to do it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// Name of its environment.
    pub(super) environment: Arc<str>,
    pub(super) certificate: Certificate,
    /// The `[[app]]` section that was last applied to it.
    pub(super) section: Option<SectionDigest>,
    /// As given.
    pub(super) timeout: Option<Duration>,
    /// Without `force`, which belongs to one call.
    pub(super) options: ProvisionOptions,
    /// Topic of the credentials as they were last accepted.
    pub(super) feedback_topic: Option<Arc<str>>,
    /// An operator paused it.
    pub(super) is_paused: bool,
    /// The last batch that was accepted for an earlier environment: it and those before it must never go out to this one.
    pub(super) moved_after: Option<BatchId>,
    /// When it was provisioned.
    pub(super) since: Timestamp,
}

/// Where the credentials of an app come from.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Certificate {
    /// They are this text.
    Text(String),
    /// A file, as its path was spelled.
    File {
        path: String,
        /// It may lie anywhere, not only under `provision.certificate_dirs`.
        unrestricted: bool,
    },
}

/// What is remembered of an app that was deprovisioned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) section: Option<SectionDigest>,
    pub(super) feedback: Option<FeedbackSource>,
    pub(super) at: Timestamp,
}

/// SHA-256, its first half, over what an `[[app]]` section says; equal for sections that say the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SectionDigest(pub(super) String);

impl Terms {
    /// What a request asks for. `section`: where the config file makes it; it names a file then.
    pub(super) fn of(request: &Provision, section: Option<SectionDigest>, since: Timestamp) -> Self {
        let certificate = match source::path(&request.certificate) {
            _ if section.is_some() => Certificate::File { path: request.certificate.clone(), unrestricted: true },
            Some(path) => Certificate::File { path: path.to_owned(), unrestricted: false },
            None => Certificate::Text(request.certificate.clone()),
        };
        Self {
            environment: request.environment.as_str().into(),
            certificate,
            section,
            timeout: request.timeout,
            options: ProvisionOptions { force: false, ..request.options.clone().unwrap_or_default() },
            feedback_topic: None,
            is_paused: false,
            moved_after: None,
            since,
        }
    }

    /// Whose feedback the app reads, as far as that was ever known.
    pub(super) fn feedback_source(&self) -> Option<FeedbackSource> {
        let topic = Arc::clone(self.feedback_topic.as_ref()?);
        Some(FeedbackSource { environment: Arc::clone(&self.environment), topic })
    }
}

impl Certificate {
    /// The file, if it is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Text(_) => None,
            Self::File { path, .. } => Some(Path::new(path)),
        }
    }
}

impl SectionDigest {
    /// The digest of a section that asks for this.
    pub(super) fn of(request: &Provision) -> Self {
        let timeout = request.timeout.map(|timeout| timeout.as_nanos().to_string());
        let parts = [
            Some(request.app_id.as_str()),
            Some(request.certificate.as_str()),
            Some(request.environment.as_str()),
            timeout.as_deref(),
        ];
        let mut context = Context::new(&SHA256);
        let mut update = |part: &str| {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        };
        parts.into_iter().for_each(|part| update(part.unwrap_or_default()));
        // Only those that are given: a section without any has the digest that it had before there were some.
        for (name, option) in request.options.iter().flat_map(section_options) {
            if let Some(option) = option {
                update(name);
                update(&option);
            }
        }
        Self(context.finish().as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The options that a section may have, as text.
fn section_options(options: &ProvisionOptions) -> [(&'static str, Option<String>); 5] {
    let file = options.passphrase_file.as_ref().map(|file| file.display().to_string());
    [
        ("topic", options.topic.clone()),
        ("key_id", options.key_id.clone()),
        ("team_id", options.team_id.clone()),
        ("passphrase_file", file),
        ("connections", options.connections.map(|count| count.to_string())),
    ]
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => formatter.write_str("Text(…)"),
            Self::File { path, unrestricted } => {
                formatter.debug_struct("File").field("path", path).field("unrestricted", unrestricted).finish()
            }
        }
    }
}
