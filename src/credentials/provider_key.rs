//! A `.p8` key: an ECDSA key on P-256 that signs provider tokens for a team.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use super::CredentialOptions;
use super::error::CredentialsError;

/// Characters of a key id and of a team id ("Establishing a token-based connection to APNs").
const ID_CHARS: usize = 10;

/// A key that signs provider tokens, and whose it is.
pub struct ProviderKey {
    /// The key's id in Apple's developer account, 10 characters.
    pub key_id: String,
    /// The team's id, 10 characters.
    pub team_id: String,
    /// SHA-256 over key, key id and team id: equal exactly when all are.
    pub fingerprint: [u8; 32],
    pair: EcdsaKeyPair,
}

/// The system has no randomness to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider token cannot be signed: the system's random source failed")]
pub struct SignError;

impl ProviderKey {
    /// A key from PKCS#8 in DER, with what the caller says about it.
    pub(crate) fn new(der: &[u8], options: &CredentialOptions<'_>) -> Result<Self, CredentialsError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
            .map_err(|_| CredentialsError::BadProviderKey)?;
        let (mut missing, mut bad) = (Vec::new(), Vec::new());
        for (id, name) in [(options.key_id, "key_id"), (options.team_id, "team_id")] {
            match id {
                None => missing.push(name),
                Some(id) if id.len() != ID_CHARS || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                    bad.push(name)
                }
                Some(_) => (),
            }
        }
        let (Some(key_id), Some(team_id), true) = (options.key_id, options.team_id, bad.is_empty()) else {
            return Err(CredentialsError::Ids { missing, bad });
        };
        let (key_id, team_id) = (key_id.to_owned(), team_id.to_owned());
        let mut context = digest::Context::new(&digest::SHA256);
        [der, key_id.as_bytes(), team_id.as_bytes()].into_iter().for_each(|part| context.update(part));
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.finish().as_ref());
        Ok(Self { key_id, team_id, fingerprint, pair })
    }

    /// The signature of a message as ES256 has it (RFC 7518, 3.4): R and S, 32 bytes each.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| SignError)?;
        signature.as_ref().try_into().map_err(|_| SignError)
    }
}

impl fmt::Debug for ProviderKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key_id, team_id, .. } = self;
        formatter.debug_struct("ProviderKey").field("key_id", key_id).field("team_id", team_id).finish_non_exhaustive()
    }
}
