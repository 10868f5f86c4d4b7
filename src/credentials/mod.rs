//! What an app authenticates with: parsed, judged, never shown.
//!
//! Told by content and never by file name.

mod certificate;
mod cipher;
mod der;
pub mod error;
mod identity;
mod p12;
mod pem;
pub mod provider_key;
pub mod source;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use memchr::memmem;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use self::error::CredentialsError;
use self::provider_key::ProviderKey;
use crate::domain::time::Timestamp;

/// What an app authenticates with.
#[derive(Debug)]
pub enum Credentials {
    /// A TLS client certificate with its key.
    Certificate(Identity),
    /// A key that signs provider tokens.
    ProviderKey(ProviderKey),
}

/// What belongs to credentials and does not stand in them.
#[derive(Clone, Copy, Default)]
pub struct CredentialOptions<'a> {
    /// Of an encrypted key or file; secret.
    pub passphrase: Option<&'a str>,
    /// Id of a `.p8` key.
    pub key_id: Option<&'a str>,
    /// Team of a `.p8` key.
    pub team_id: Option<&'a str>,
}

/// A TLS client certificate with its chain and key.
pub struct Identity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
    pub key: PrivateKeyDer<'static>,
    /// SHA-256 over leaf certificate and key: equal exactly when both are.
    pub fingerprint: [u8; 32],
    /// What the leaf says about itself.
    pub certificate: CertificateFacts,
}

/// What a push certificate says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Common name: `Apple Push Services: com.example.app`.
    pub subject: String,
    /// Subject UID (0.9.2342.19200300.100.1.1): the bundle id, the topic where no other is named.
    pub uid: Option<String>,
    /// Topics of extension 1.2.840.113635.100.6.3.6, else the UID alone.
    pub topics: Vec<String>,
    /// Organisational unit: the team id.
    pub team: Option<String>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Extension 1.2.840.113635.100.6.3.1: usable with the sandbox. A certificate with neither this nor the next
    /// extension, but with a list of topics, is usable with both.
    pub development: bool,
    /// Extension 1.2.840.113635.100.6.3.2: usable with production.
    pub production: bool,
}

impl Credentials {
    /// Equal exactly when the credentials are.
    pub fn fingerprint(&self) -> [u8; 32] {
        match self {
            Self::Certificate(identity) => identity.fingerprint,
            Self::ProviderKey(key) => key.fingerprint,
        }
    }

    /// What the certificate says about itself, where it is one.
    pub fn certificate(&self) -> Option<&CertificateFacts> {
        match self {
            Self::Certificate(identity) => Some(&identity.certificate),
            Self::ProviderKey(_) => None,
        }
    }

    /// When they end; `None`: never.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.certificate().map(|certificate| certificate.not_after)
    }

    /// One line about them: the certificate's common name, or the key's id.
    pub fn subject(&self) -> Cow<'_, str> {
        match self {
            Self::Certificate(identity) => identity.certificate.subject.as_str().into(),
            Self::ProviderKey(key) => format!("key {} of team {}", key.key_id, key.team_id).into(),
        }
    }

    /// The topic of notifications that name none: the certificate's bundle id.
    pub fn default_topic(&self) -> Option<&str> {
        let certificate = self.certificate()?;
        certificate.uid.as_deref().or_else(|| match &certificate.topics[..] {
            [only] => Some(only),
            _ => None,
        })
    }
}

impl std::fmt::Debug for CredentialOptions<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { passphrase: _, key_id, team_id } = self;
        let mut options = formatter.debug_struct("CredentialOptions");
        options.field("key_id", key_id).field("team_id", team_id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Longest passphrase, in bytes: keys are derived from all of it, over and over.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;

/// Reads credentials of any supported kind, told by their content. May take a second of processor time: not for async
/// threads.
///
/// What is recognised but not supported is refused by its name, with what to do.
pub fn parse(bytes: &[u8], options: &CredentialOptions<'_>) -> Result<Credentials, CredentialsError> {
    if options.passphrase.is_some_and(|passphrase| passphrase.len() > PASSPHRASE_BYTES_MAX) {
        return Err(CredentialsError::PassphraseTooLong(PASSPHRASE_BYTES_MAX));
    }
    if memmem::find(bytes, pem::BEGIN).is_some() {
        return pem::parse(bytes, options);
    }
    match bytes.trim_ascii_start() {
        [] => Err(CredentialsError::Empty),
        [b'{', ..] => Err(CredentialsError::Json),
        _ if bytes.starts_with(DER_SEQUENCE) => binary(bytes, options),
        text => match str::from_utf8(text).ok().and_then(source::decode) {
            Some(text) if memmem::find(&text, pem::BEGIN).is_some() => pem::parse(&text, options),
            Some(der) => binary(&der, options),
            None => Err(CredentialsError::NotPem),
        },
    }
}

/// How both PKCS#12 and a certificate begin in DER: a sequence.
const DER_SEQUENCE: &[u8] = &[0x30];

fn binary(der: &[u8], options: &CredentialOptions<'_>) -> Result<Credentials, CredentialsError> {
    if p12::is_p12(der) {
        let bags = p12::read(der, options)?;
        return identity::pair(bags.certificates, bags.keys).map(Credentials::Certificate);
    }
    match certificate::facts(der) {
        Ok(_) => Err(CredentialsError::DerCertificate),
        Err(_) => Err(CredentialsError::NotPem),
    }
}
