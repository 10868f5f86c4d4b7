//! Provider tokens: one per key and team, shared by every app and connection that uses it.
//!
//! When a token is renewed is decided by `Issue`, which is pure. Apple wants a change at most every 20 minutes and at
//! least every 60, over all of a key's connections ("Establishing a token-based connection to APNs"). `iat` is rounded
//! down to half hours, so that several daemons with one key agree. Tokens are secret: they are never shown.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use tracing::warn;

use super::token_times;
use crate::credentials::provider_key::{ProviderKey, SignError};
use crate::domain::time::Timestamp;

/// `iat` is a multiple of this, and a token is good for as long at least.
const STEP: Duration = Duration::from_secs(30 * 60);
/// Shortest time between two changes.
const CHANGE_MIN: Duration = Duration::from_secs(20 * 60);
/// A token issued this far in the future was issued by a clock that has been set back since.
const AHEAD_MAX: Duration = Duration::from_secs(5 * 60);

/// The provider tokens of a process. Cheap to clone; clones share the same tokens.
#[derive(Clone, Default)]
pub struct ProviderTokens(Arc<Mutex<Keys>>);

/// What is known of each key, by its fingerprint.
#[derive(Default)]
struct Keys {
    issued: HashMap<[u8; 32], Issued>,
    /// Of the process before this one.
    earlier: HashMap<[u8; 32], Issue>,
    /// Where times are kept for the process after this one.
    file: Option<PathBuf>,
}

/// A token as requests carry it.
#[derive(Clone)]
pub(super) struct ProviderToken {
    /// `bearer …`, marked sensitive, so that no header table keeps it.
    pub(super) authorization: HeaderValue,
    /// Grows with every change of the key's token.
    pub(super) number: u64,
}

/// What to do after the provider called a token expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// There is another token now, or will be with the next request.
    Renewed,
    /// A token that was just made: this machine's clock is probably wrong.
    ClockSuspected,
}

struct Issued {
    issue: Issue,
    token: ProviderToken,
}

impl ProviderTokens {
    /// Tokens whose times are kept in a file, so that a restart changes none: Apple counts changes. A file that cannot be
    /// read or written is said in the log, and does no other harm.
    pub fn kept_in(file: PathBuf) -> Self {
        let earlier = token_times::read(&file).unwrap_or_else(|error| {
            warn!("the times of provider tokens cannot be read from {}: {error}", file.display());
            HashMap::new()
        });
        Self(Arc::new(Mutex::new(Keys { issued: HashMap::new(), earlier, file: Some(file) })))
    }

    /// The key's token to use now. Fails where the system has no randomness.
    pub(super) fn token(&self, key: &ProviderKey, now: Timestamp) -> Result<ProviderToken, SignError> {
        let mut keys = self.lock();
        let previous = keys.issued.get(&key.fingerprint);
        if let Some(issued) = previous.filter(|issued| issued.issue.is_kept(now)) {
            return Ok(issued.token.clone());
        }
        let earlier = previous.map(|issued| &issued.issue).or_else(|| keys.earlier.get(&key.fingerprint));
        let issue = match earlier {
            // The same token, but for its signature.
            Some(earlier) if earlier.is_kept(now) => earlier.clone(),
            earlier => Issue::after(earlier, now),
        };
        let number = previous.map_or(0, |issued| issued.token.number + 1);
        let token = ProviderToken { authorization: sign(key, issue.iat)?, number };
        keys.issued.insert(key.fingerprint, Issued { issue, token: token.clone() });
        keys.keep(now);
        Ok(token)
    }

    /// The provider called the key's token with this number expired.
    pub(super) fn expired(&self, key: &ProviderKey, number: u64, now: Timestamp) -> Expired {
        match self.lock().issued.get_mut(&key.fingerprint) {
            Some(issued) if issued.token.number == number => issued.issue.expire(now),
            // Another request has found out before.
            Some(_) | None => Expired::Renewed,
        }
    }

    /// A panic while it was held cannot have left half an entry.
    /// The time that the present token of a key says it was issued at; `None` before the first use.
    pub fn issued_at(&self, key: &ProviderKey) -> Option<Timestamp> {
        self.lock().issued.get(&key.fingerprint).map(|issued| issued.issue.iat)
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    /// Writes the times of all tokens that may still be in use.
    fn keep(&mut self, now: Timestamp) {
        self.earlier.retain(|_, issue| issue.is_kept(now));
        let Some(file) = &self.file else { return };
        let issued = self.issued.iter().map(|(key, issued)| (key, &issued.issue));
        let earlier = self.earlier.iter().filter(|(key, _)| !self.issued.contains_key(*key));
        if let Err(error) = token_times::write(file, issued.chain(earlier)) {
            warn!("the times of provider tokens cannot be written to {}: {error}", file.display());
        }
    }
}

impl fmt::Debug for ProviderTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ProviderTokens").field("keys", &self.lock().issued.len()).finish_non_exhaustive()
    }
}

/// When a token was issued, and how long it is used. Pure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issue {
    /// What the token says.
    pub(super) iat: Timestamp,
    pub(super) first_used: Timestamp,
    /// The provider called it expired.
    pub(super) is_expired: bool,
    /// When a token was last renewed out of turn, because the one before was called expired.
    pub(super) forced_at: Option<Timestamp>,
}

impl Issue {
    /// The first one of a key, or the one that follows.
    fn after(previous: Option<&Self>, now: Timestamp) -> Self {
        let is_forced = previous.is_some_and(|previous| previous.is_expired);
        let forced_before = previous.and_then(|previous| previous.forced_at);
        Self {
            iat: if is_forced { Timestamp::from_secs(now.as_secs()) } else { rounded(now) },
            first_used: now,
            is_expired: false,
            forced_at: if is_forced { Some(now) } else { forced_before },
        }
    }

    /// Whether it is still the one to use. It is never older than 50 minutes, nor changed within 20, unless the clock is
    /// set or the provider calls it expired.
    fn is_kept(&self, now: Timestamp) -> bool {
        let is_fresh = now < self.iat.plus(STEP) || now < self.first_used.plus(CHANGE_MIN);
        let is_ahead = self.iat > now.plus(AHEAD_MAX) || self.first_used > now.plus(AHEAD_MAX);
        is_fresh && !is_ahead && !self.is_expired
    }

    /// The provider calls it expired: it is renewed out of turn, unless that was done within the last 20 minutes.
    fn expire(&mut self, now: Timestamp) -> Expired {
        if self.is_expired {
            return Expired::Renewed;
        }
        let was_forced = self.forced_at.is_some_and(|at| at <= now.plus(AHEAD_MAX) && now < at.plus(CHANGE_MIN));
        if was_forced {
            return Expired::ClockSuspected;
        }
        self.is_expired = true;
        Expired::Renewed
    }
}

fn rounded(now: Timestamp) -> Timestamp {
    let step = i64::try_from(STEP.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_secs(now.as_secs().div_euclid(step) * step)
}

/// The `authorization` header with a JSON Web Token (RFC 7519) signed with ES256 (RFC 7518, 3.4).
fn sign(key: &ProviderKey, iat: Timestamp) -> Result<HeaderValue, SignError> {
    // Ids are letters and digits: nothing in them needs escaping.
    let header = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, key.key_id);
    let claims = format!(r#"{{"iss":"{}","iat":{}}}"#, key.team_id, iat.as_secs());
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    let mut value = HeaderValue::try_from(format!("bearer {token}")).map_err(|_| SignError)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, KeyPair as _, UnparsedPublicKey};
    use proptest::prelude::*;

    use super::*;
    use crate::credentials::CredentialOptions;

    const MINUTE: i64 = 60;

    fn provider_key() -> (ProviderKey, Vec<u8>) {
        let pair = rcgen::KeyPair::generate().unwrap();
        let options = CredentialOptions { key_id: Some("ABC123DEFG"), team_id: Some("DEF123GHIJ"), passphrase: None };
        let der = pair.serialize_der();
        let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let public = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(algorithm, &der).unwrap();
        (ProviderKey::new(&der, &options).unwrap(), public.public_key().as_ref().to_vec())
    }

    fn iat(token: &ProviderToken) -> i64 {
        let claims = token.authorization.to_str().unwrap().split('.').nth(1).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        claims["iat"].as_i64().unwrap()
    }

    #[test]
    fn a_token_is_a_signed_jwt_with_key_team_and_the_last_half_hour() {
        let (key, public) = provider_key();
        let token = ProviderTokens::default().token(&key, Timestamp::from_secs(1_437_179_036)).unwrap();
        let value = token.authorization.to_str().unwrap();
        let (signed, signature) = value.strip_prefix("bearer ").unwrap().rsplit_once('.').unwrap();
        // {"alg":"ES256","kid":"ABC123DEFG"} and {"iss":"DEF123GHIJ","iat":1437177600}
        assert_eq!(
            signed,
            "eyJhbGciOiJFUzI1NiIsImtpZCI6IkFCQzEyM0RFRkcifQ.eyJpc3MiOiJERUYxMjNHSElKIiwiaWF0IjoxNDM3MTc3NjAwfQ"
        );
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert_eq!(signature.len(), 64);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public).verify(signed.as_bytes(), &signature).unwrap();
        assert!(token.authorization.is_sensitive());
        assert_eq!(format!("{:?}", token.authorization), "Sensitive");
    }

    proptest! {
        #[test]
        fn in_a_day_of_three_apps_a_token_changes_after_20_minutes_and_is_never_older_than_60(
            start in 1_700_000_000_i64..1_700_100_000,
            mut uses in proptest::collection::vec((0..24 * 60 * MINUTE, 0..3_usize), 1..400),
        ) {
            let (key, _) = provider_key();
            let shared = ProviderTokens::default();
            let apps = [shared.clone(), shared.clone(), shared];
            uses.sort_unstable();
            let mut last: Option<(ProviderToken, i64)> = None;
            for (second, app) in uses {
                let now = start + second;
                let token = apps[app].token(&key, Timestamp::from_secs(now)).unwrap();
                let age = now - iat(&token);
                prop_assert!((0..=60 * MINUTE).contains(&age), "{age} s old");
                match &last {
                    Some((before, _)) if before.authorization == token.authorization => (),
                    Some((_, changed)) if now - changed < 20 * MINUTE => {
                        prop_assert!(false, "changed after {} s", now - changed);
                    }
                    Some(_) | None => last = Some((token, now)),
                }
            }
        }
    }

    #[test]
    fn an_expired_token_is_renewed_once_and_then_the_clock_is_suspected() {
        let (key, _) = provider_key();
        let tokens = ProviderTokens::default();
        let at = |minute| Timestamp::from_secs(1_800_000_000 + minute * MINUTE);
        let first = tokens.token(&key, at(10)).unwrap();
        assert_eq!(tokens.expired(&key, first.number, at(11)), Expired::Renewed);
        let second = tokens.token(&key, at(11)).unwrap();
        assert_eq!((second.number, iat(&second)), (first.number + 1, at(11).as_secs()));
        // An answer to a request that had the first one.
        assert_eq!(tokens.expired(&key, first.number, at(12)), Expired::Renewed);
        assert_eq!(tokens.token(&key, at(12)).unwrap().number, second.number);
        assert_eq!(tokens.expired(&key, second.number, at(13)), Expired::ClockSuspected);
        assert_eq!(tokens.token(&key, at(13)).unwrap().number, second.number);
        assert_eq!(tokens.expired(&key, second.number, at(31)), Expired::Renewed);
    }

    #[test]
    fn a_restart_is_no_reason_for_another_token() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("times");
        let (key, _) = provider_key();
        let start = || ProviderTokens::kept_in(file.clone());
        let at = |seconds| Timestamp::from_secs(1_800_000_000 + seconds);
        let first = start().token(&key, at(30 * MINUTE - 9)).unwrap();
        assert_eq!(iat(&start().token(&key, at(30 * MINUTE + 3)).unwrap()), iat(&first), "a new half hour");
        let later = start().token(&key, at(50 * MINUTE)).unwrap();
        assert_eq!(iat(&later), at(30 * MINUTE).as_secs());
        std::fs::write(&file, "nonsense").unwrap();
        assert_eq!(iat(&start().token(&key, at(51 * MINUTE)).unwrap()), at(30 * MINUTE).as_secs());
    }

    #[test]
    fn a_token_that_was_renewed_out_of_turn_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let start = || ProviderTokens::kept_in(directory.path().join("times"));
        let (key, _) = provider_key();
        let at = |minute| Timestamp::from_secs(1_800_000_000 + minute * MINUTE);
        let tokens = start();
        let first = tokens.token(&key, at(10)).unwrap();
        assert_eq!(tokens.expired(&key, first.number, at(11)), Expired::Renewed);
        tokens.token(&key, at(11)).unwrap();
        let tokens = start();
        let again = tokens.token(&key, at(12)).unwrap();
        assert_eq!(iat(&again), at(11).as_secs());
        assert_eq!(tokens.expired(&key, again.number, at(12)), Expired::ClockSuspected);
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing() {
        let (key, _) = provider_key();
        let tokens = ProviderTokens::default();
        let at = |minute| Timestamp::from_secs(1_800_000_000 + minute * MINUTE);
        let first = tokens.token(&key, at(300)).unwrap();
        assert_eq!(tokens.token(&key, at(297)).unwrap().number, first.number);
        let second = tokens.token(&key, at(0)).unwrap();
        assert_eq!((second.number, iat(&second)), (first.number + 1, at(0).as_secs()));
    }

    #[test]
    fn keys_have_tokens_of_their_own() {
        let ((one, _), (other, _)) = (provider_key(), provider_key());
        let tokens = ProviderTokens::default();
        let now = Timestamp::from_secs(1_800_000_000);
        let token = |key| tokens.token(key, now).unwrap().authorization;
        assert_ne!(token(&one), token(&other));
        assert_eq!(token(&one), token(&one));
        assert_eq!(format!("{tokens:?}"), "ProviderTokens { keys: 2, .. }");
    }
}
