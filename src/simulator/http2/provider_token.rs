//! Provider tokens: JSON Web Tokens (RFC 7515, 7518: ES256) that a provider shows instead of a certificate.
//!
//! Source: "Establishing a token-based connection to APNs". A token is good for an hour from its `iat`; a key changes its
//! token no sooner than every 20 minutes, counted over all connections; a connection belongs to one team, and to the key
//! that it began with and those related to it. Two tokens of one key with the same `iat` are one token, going back to one
//! that was in use before is no change, and a token that was called expired, be it as a fault, may be changed at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize, Serializer};

use crate::domain::apns::ApnsReason;
use crate::domain::time::Timestamp;
use crate::simulator::certificates::Certificates;
use crate::simulator::certificates::provider_keys::ProviderKeyFile;
use crate::simulator::peer::GatewayEnvironment;

/// How long a token is good, and how far ahead of this clock it may be.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// A key changes its token no sooner.
const CHANGE_MIN: Duration = Duration::from_secs(20 * 60);
/// Tokens that are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// A provider token that was taken for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProviderTokenUse {
    /// Of which key.
    pub key_id: &'static str,
    /// Of which team.
    pub team_id: &'static str,
    /// Its `iat`, Unix seconds.
    pub issued_at: i64,
    /// When it was taken for the first time, by the simulator's wall clock; Unix milliseconds in JSON.
    #[serde(serialize_with = "milliseconds")]
    pub first_used: Timestamp,
    /// It was answered with ExpiredProviderToken: by its age, or as a fault.
    pub expired: bool,
}

/// The tokens that were taken, of all connections. Clones share them.
#[derive(Clone, Debug)]
pub(in crate::simulator) struct ProviderTokens {
    certificates: Arc<Certificates>,
    taken: Arc<Mutex<Vec<ProviderTokenUse>>>,
}

impl ProviderTokens {
    /// None were taken yet; signed by the keys of these files.
    pub(in crate::simulator) fn new(certificates: Arc<Certificates>) -> Self {
        Self { certificates, taken: Arc::default() }
    }

    /// The tokens that were taken, in the order of their first use.
    pub(in crate::simulator) fn taken(&self) -> Vec<ProviderTokenUse> {
        self.lock().clone()
    }

    /// Takes a token that is good in itself, unless its key had another one too recently.
    fn take(&self, claims: &Claims<'_>, now: Timestamp) -> Result<(), ApnsReason> {
        let mut taken = self.lock();
        let mut of_key = taken.iter().rev().filter(|used| used.key_id == claims.key.key_id).peekable();
        let latest = of_key.peek().filter(|used| !used.expired).map(|used| used.first_used);
        if of_key.any(|used| used.issued_at == claims.issued_at) {
            return Ok(());
        }
        if latest.is_some_and(|latest| now.since(latest) < CHANGE_MIN) {
            return Err(ApnsReason::TooManyProviderTokenUpdates);
        }
        if taken.len() == REMEMBERED_MAX {
            taken.remove(0);
        }
        let ProviderKeyFile { key_id, team_id, .. } = *claims.key;
        let issued_at = claims.issued_at;
        taken.push(ProviderTokenUse { key_id, team_id, issued_at, first_used: now, expired: false });
        Ok(())
    }

    /// A token was called expired.
    fn expire(&self, verified: &Verified) {
        let mut taken = self.lock();
        let is_it =
            |used: &&mut ProviderTokenUse| used.key_id == verified.key_id && used.issued_at == verified.issued_at;
        if let Some(used) = taken.iter_mut().rev().find(is_it) {
            used.expired = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ProviderTokenUse>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a token says, once its signature is verified.
#[derive(Clone, Copy, Debug)]
struct Claims<'a> {
    key: &'a ProviderKeyFile,
    issued_at: i64,
}

#[derive(Deserialize)]
struct JsonHeader {
    alg: String,
    kid: String,
}

#[derive(Deserialize)]
struct JsonClaims {
    iss: String,
    iat: i64,
}

/// The provider tokens of one connection. Without `Debug`: it holds one.
pub(super) struct TokenAuthentication {
    tokens: ProviderTokens,
    environment: GatewayEnvironment,
    /// The key that the connection began with.
    key: Option<&'static str>,
    verified: Option<Verified>,
}

/// The last token that was verified; verifying takes longer than all else.
struct Verified {
    header: Vec<u8>,
    key_id: &'static str,
    issued_at: i64,
}

impl TokenAuthentication {
    /// Of a connection without any token yet.
    pub(super) fn new(tokens: ProviderTokens, environment: GatewayEnvironment) -> Self {
        Self { tokens, environment, key: None, verified: None }
    }

    /// Whether a request with this `authorization` header may go on.
    pub(super) fn check(&mut self, authorization: Option<&[u8]>, now: Timestamp) -> Result<(), ApnsReason> {
        let header = authorization.ok_or(ApnsReason::MissingProviderToken)?;
        if let Some(verified) = self.verified.as_ref().filter(|verified| verified.header == header) {
            return check_age(verified.issued_at, now);
        }
        let certificates = Arc::clone(&self.tokens.certificates);
        let claims = bearer(header).and_then(|token| verify(token, &certificates)).ok_or(INVALID)?;
        check_age(claims.issued_at, now)?;
        if claims.key.sandbox_only && self.environment == GatewayEnvironment::Production {
            return Err(ApnsReason::BadEnvironmentKeyIdInToken);
        }
        if let Some(first) = self.key.and_then(|key| certificates.provider_keys.find(key)) {
            if first.team_id != claims.key.team_id {
                return Err(INVALID);
            }
            if first.relation != claims.key.relation {
                return Err(ApnsReason::UnrelatedKeyIdInToken);
            }
        }
        self.tokens.take(&claims, now)?;
        let Claims { key: ProviderKeyFile { key_id, .. }, issued_at } = claims;
        self.key.get_or_insert(key_id);
        self.verified = Some(Verified { header: header.to_owned(), key_id, issued_at });
        Ok(())
    }

    /// The last request was answered with ExpiredProviderToken.
    pub(super) fn expired(&self) {
        if let Some(verified) = &self.verified {
            self.tokens.expire(verified);
        }
    }
}

const INVALID: ApnsReason = ApnsReason::InvalidProviderToken;

fn check_age(issued_at: i64, now: Timestamp) -> Result<(), ApnsReason> {
    let issued_at = Timestamp::from_secs(issued_at);
    if now.since(issued_at) > HOUR {
        return Err(ApnsReason::ExpiredProviderToken);
    }
    if issued_at.since(now) > HOUR {
        return Err(INVALID);
    }
    Ok(())
}

/// The token of `bearer TOKEN`; the scheme in any case (RFC 9110, 11.1).
fn bearer(header: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// The claims of a token whose signature is that of the key that it names, for that key's team.
fn verify<'a>(token: &str, certificates: &'a Certificates) -> Option<Claims<'a>> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header: JsonHeader = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    let claims: JsonClaims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let key = certificates.provider_keys.find(&header.kid)?;
    if header.alg != "ES256" || claims.iss != key.team_id {
        return None;
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let public_key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.public_key);
    public_key.verify(signed.as_bytes(), &signature).ok()?;
    Some(Claims { key, issued_at: claims.iat })
}

fn milliseconds<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    at.as_millis().serialize(serializer)
}

#[cfg(test)]
mod tests;
