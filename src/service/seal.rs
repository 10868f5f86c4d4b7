//! Sealing of secrets: AES-256-GCM under a key from `$CREDENTIALS_DIRECTORY/apnsd-key`, bound to the app's id.
//!
//! A sealed text is 12 bytes of a random nonce, the ciphertext, and 16 bytes of tag. The key is HKDF-SHA256 (no salt)
//! over the whole content of the file. The state directory alone, a backup of it for example, then tells no secret.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use thiserror::Error;

use crate::domain::app::AppId;

/// Fewest bytes of content from which a key is made.
const CONTENT_BYTES_MIN: usize = 16;
/// Tells this use of the file's content from any other.
const PURPOSE: &[u8] = b"apnsd: secrets of provisions, version 1";

/// What secrets are sealed with.
pub(super) enum SealKey {
    /// Nothing: they are stored as they are.
    Absent,
    /// This key.
    Present(RandomizedNonceKey),
    /// There is a file that is of no use. The cause, with what to do.
    Unusable(String),
}

/// Why a secret cannot be sealed, or a sealed one cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum SealError {
    /// It was sealed, and there is no key.
    #[error(
        "its secrets are sealed and there is no $CREDENTIALS_DIRECTORY/apnsd-key: put the key file back \
         (LoadCredential=apnsd-key:PATH in the unit) and restart, or provision the app again"
    )]
    NoKey,
    /// It was sealed with another key, or for another app, or is damaged.
    #[error(
        "its secrets are sealed with another key than the present $CREDENTIALS_DIRECTORY/apnsd-key: put the earlier \
         key file back and restart, or provision the app again"
    )]
    OtherKey,
    /// The key file is of no use.
    #[error("{0}")]
    Unusable(String),
    /// No random numbers, which no system of today lacks.
    #[error("the secrets could not be sealed")]
    Failed,
}

/// Length of the key, for the derivation.
#[derive(Clone, Copy)]
struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        AES_256_GCM.key_len()
    }
}

impl SealKey {
    /// Reads the file, where one is named and exists. Never fails: a file of no use is told whenever it is needed.
    pub(super) fn read(path: Option<&Path>) -> Self {
        let Some(path) = path else { return Self::Absent };
        match std::fs::read(path) {
            Ok(content) => Self::derive(&content).unwrap_or_else(|| {
                Self::Unusable(format!(
                    "{} has {} bytes, at least {CONTENT_BYTES_MIN} are needed to seal secrets: fill it, for example \
                     with `head -c 32 /dev/urandom`, and restart",
                    path.display(),
                    content.len()
                ))
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::Absent,
            Err(error) => {
                let path = path.display();
                Self::Unusable(format!("{path}, which seals secrets, cannot be read ({error}): correct it and restart"))
            }
        }
    }

    fn derive(content: &[u8]) -> Option<Self> {
        if content.len() < CONTENT_BYTES_MIN {
            return None;
        }
        let mut key = [0; 32];
        let derived = Salt::new(HKDF_SHA256, &[]).extract(content);
        derived.expand(&[PURPOSE], KeyLength).and_then(|okm| okm.fill(&mut key)).ok()?;
        RandomizedNonceKey::new(&AES_256_GCM, &key).ok().map(Self::Present)
    }

    /// Whether there is a key to seal with.
    pub(super) fn can_seal(&self) -> bool {
        match self {
            Self::Present(_) => true,
            Self::Absent | Self::Unusable(_) => false,
        }
    }

    /// Seals a secret of an app; `None` where there is no key to do it with.
    pub(super) fn seal(&self, app: &AppId, secret: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let key = match self {
            Self::Absent => return Ok(None),
            Self::Present(key) => key,
            Self::Unusable(cause) => return Err(SealError::Unusable(cause.clone())),
        };
        let mut text = secret.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(app.as_str()), &mut text).map_err(|_| SealError::Failed)?;
        Ok(Some([&nonce.as_ref()[..], &text].concat()))
    }

    /// Reads what [`SealKey::seal`] made for the same app.
    pub(super) fn open(&self, app: &AppId, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let key = match self {
            Self::Absent => return Err(SealError::NoKey),
            Self::Present(key) => key,
            Self::Unusable(cause) => return Err(SealError::Unusable(cause.clone())),
        };
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError::OtherKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::OtherKey)?;
        let mut text = text.to_vec();
        let secret = key.open_in_place(nonce, Aad::from(app.as_str()), &mut text).map_err(|_| SealError::OtherKey)?;
        Ok(secret.to_vec())
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => formatter.write_str("Absent"),
            Self::Present(_) => formatter.write_str("Present"),
            Self::Unusable(cause) => formatter.debug_tuple("Unusable").field(cause).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(id: &str) -> AppId {
        AppId::parse(id).unwrap()
    }

    fn key(content: &[u8]) -> SealKey {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        SealKey::read(Some(file.path()))
    }

    #[test]
    fn a_secret_is_read_again_with_the_same_key_for_the_same_app_alone() {
        let sealed = key(&[7; 16]).seal(&app("app"), b"secret").unwrap().unwrap();
        assert_eq!(sealed.len(), 12 + 6 + 16);
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(key(&[7; 16]).open(&app("app"), &sealed).unwrap(), b"secret");
        assert_eq!(key(&[8; 16]).open(&app("app"), &sealed), Err(SealError::OtherKey));
        assert_eq!(key(&[7; 16]).open(&app("other"), &sealed), Err(SealError::OtherKey));
        assert_eq!(key(&[7; 16]).open(&app("app"), &sealed[..11]), Err(SealError::OtherKey));
        assert_eq!(SealKey::Absent.open(&app("app"), &sealed), Err(SealError::NoKey));
        let again = key(&[7; 16]).seal(&app("app"), b"secret").unwrap().unwrap();
        assert_ne!(sealed, again, "each has a nonce of its own");
    }

    /// HKDF-SHA256 and AES-256-GCM as another implementation (Python's `cryptography`) computed them.
    #[test]
    fn what_an_earlier_version_sealed_is_read() {
        let sealed = "000102030405060708090a0bbb438023fc9c577201446aff69528b50792229031a5d";
        let byte = |at| u8::from_str_radix(&sealed[at..at + 2], 16).unwrap();
        let sealed: Vec<u8> = (0..sealed.len()).step_by(2).map(byte).collect();
        assert_eq!(key(b"0123456789abcdef").open(&app("app"), &sealed).unwrap(), b"secret");
    }

    #[test]
    fn without_a_file_nothing_is_sealed_and_a_short_one_says_so() {
        assert_eq!(SealKey::read(None).seal(&app("app"), b"secret"), Ok(None));
        let missing = SealKey::read(Some(Path::new("/nonexistent/apnsd-key")));
        assert_eq!(missing.seal(&app("app"), b"secret"), Ok(None));
        let error = key(&[7; 15]).seal(&app("app"), b"secret").unwrap_err().to_string();
        assert!(error.contains("has 15 bytes, at least 16 are needed"), "{error}");
    }
}
