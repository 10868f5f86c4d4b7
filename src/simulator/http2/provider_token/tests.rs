//! Tokens and their times, with an injected clock.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;

const START: i64 = 1_700_000_000;
const MINUTE: i64 = 60;

/// Keys, the tokens that were taken, and the directory.
struct Apple {
    certificates: Arc<Certificates>,
    tokens: ProviderTokens,
    _dir: TempDir,
}

impl Apple {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let certificates = Arc::new(Certificates::open(dir.path(), &Clock::system()).unwrap());
        let tokens = ProviderTokens::new(Arc::clone(&certificates));
        Self { certificates, tokens, _dir: dir }
    }

    fn connection(&self) -> TokenAuthentication {
        self.connection_in(GatewayEnvironment::Both)
    }

    fn connection_in(&self, environment: GatewayEnvironment) -> TokenAuthentication {
        TokenAuthentication::new(self.tokens.clone(), environment)
    }

    /// The header with a token of this key, issued so many seconds after the start.
    fn header(&self, key_id: &str, issued: i64) -> String {
        let key = self.certificates.provider_keys.find(key_id).unwrap();
        let header = format!(r#"{{"alg":"ES256","kid":"{key_id}"}}"#);
        let claims = format!(r#"{{"iss":"{}","iat":{}}}"#, key.team_id, START + issued);
        format!("bearer {}", signed(key, &header, &claims))
    }
}

fn signed(key: &ProviderKeyFile, header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let der = PrivatePkcs8KeyDer::from_pem_slice(key.file.pem.as_bytes()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der()).unwrap();
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The verdict on a header, so many seconds after the start.
fn check(connection: &mut TokenAuthentication, header: &str, after: i64) -> Result<(), ApnsReason> {
    connection.check(Some(header.as_bytes()), Timestamp::from_secs(START + after))
}

#[test]
fn a_token_is_good_for_an_hour_and_up_to_an_hour_ahead() {
    let apple = Apple::new();
    let (mut connection, header) = (apple.connection(), apple.header("SIMULATOR1", 0));
    assert_eq!(check(&mut connection, &header, -60 * MINUTE - 1), Err(ApnsReason::InvalidProviderToken));
    assert_eq!(check(&mut connection, &header, -60 * MINUTE), Ok(()));
    assert_eq!(check(&mut connection, &header, 60 * MINUTE), Ok(()));
    assert_eq!(check(&mut connection, &header, 60 * MINUTE + 1), Err(ApnsReason::ExpiredProviderToken));
    let mut other = apple.connection();
    assert_eq!(check(&mut other, &header, 60 * MINUTE + 1), Err(ApnsReason::ExpiredProviderToken));
}

#[test]
fn a_key_changes_its_token_every_20_minutes_at_most_whatever_the_connection() {
    let apple = Apple::new();
    let (mut one, mut other) = (apple.connection(), apple.connection());
    let token = |issued| apple.header("SIMULATOR1", issued);
    assert_eq!(check(&mut one, &token(0), 0), Ok(()));
    let early = 20 * MINUTE - 1;
    assert_eq!(check(&mut one, &token(early), early), Err(ApnsReason::TooManyProviderTokenUpdates));
    assert_eq!(check(&mut other, &token(early), early), Err(ApnsReason::TooManyProviderTokenUpdates));
    assert_eq!(check(&mut other, &token(20 * MINUTE), 20 * MINUTE), Ok(()));
    assert_eq!(check(&mut one, &token(0), 21 * MINUTE), Ok(()), "what was on its way is no change");
    assert_eq!(check(&mut one, &token(21 * MINUTE), 21 * MINUTE), Err(ApnsReason::TooManyProviderTokenUpdates));
    let taken: Vec<_> =
        apple.tokens.taken().into_iter().map(|used| (used.issued_at, used.first_used.as_secs())).collect();
    let second = START + 20 * MINUTE;
    assert_eq!(taken, [(START, START), (second, second)]);
}

#[test]
fn a_token_that_was_called_expired_may_be_changed_at_once() {
    let apple = Apple::new();
    let mut connection = apple.connection();
    let token = |issued| apple.header("SIMULATOR1", issued);
    assert_eq!(check(&mut connection, &token(0), 0), Ok(()));
    connection.expired();
    let mut other = apple.connection();
    assert_eq!(check(&mut other, &token(1), 1), Ok(()));
    assert_eq!(check(&mut other, &token(2), 2), Err(ApnsReason::TooManyProviderTokenUpdates));
    assert_eq!(apple.tokens.taken().iter().map(|used| used.expired).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn signing_the_same_claims_again_makes_no_other_token() {
    let apple = Apple::new();
    let (one, other) = (apple.header("SIMULATOR1", 0), apple.header("SIMULATOR1", 0));
    assert_ne!(one, other);
    assert_eq!(check(&mut apple.connection(), &one, 0), Ok(()));
    assert_eq!(check(&mut apple.connection(), &other, 1), Ok(()));
}

#[test]
fn a_connection_belongs_to_a_team_and_to_related_keys() {
    let apple = Apple::new();
    let mut connection = apple.connection();
    for (key_id, verdict) in [
        ("SIMULATOR1", Ok(())),
        ("SIMRELATED", Ok(())),
        ("SIMULATOR2", Err(ApnsReason::UnrelatedKeyIdInToken)),
        ("SIMFOREIGN", Err(ApnsReason::InvalidProviderToken)),
        ("SIMULATOR1", Ok(())),
    ] {
        assert_eq!(check(&mut connection, &apple.header(key_id, 0), 0), verdict, "{key_id}");
    }
    assert_eq!(check(&mut apple.connection(), &apple.header("SIMULATOR2", 0), 0), Ok(()));
    assert_eq!(check(&mut apple.connection(), &apple.header("SIMFOREIGN", 0), 0), Ok(()));
}

#[test]
fn a_key_of_the_sandbox_is_no_good_in_production() {
    let apple = Apple::new();
    let header = apple.header("SIMSANDBOX", 0);
    let verdict = |environment| check(&mut apple.connection_in(environment), &header, 0);
    assert_eq!(verdict(GatewayEnvironment::Production), Err(ApnsReason::BadEnvironmentKeyIdInToken));
    assert_eq!(verdict(GatewayEnvironment::Development), Ok(()));
}

#[test]
fn what_is_no_token_is_invalid() {
    let apple = Apple::new();
    let mut connection = apple.connection();
    assert_eq!(connection.check(None, Timestamp::from_secs(START)), Err(ApnsReason::MissingProviderToken));
    let keys = &apple.certificates.provider_keys;
    let claims = format!(r#"{{"iss":"SIMTEAM001","iat":{START}}}"#);
    let header = r#"{"alg":"ES256","kid":"SIMULATOR1"}"#;
    let good = signed(&keys.good, header, &claims);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let table = [
        String::new(),
        "bearer".to_owned(),
        format!("Basic {good}"),
        format!("bearer {head}"),
        format!("bearer {head}.AAAA"),
        format!("bearer {good}="),
        format!("bearer x{head}.{signature}"),
        format!("bearer {}", signed(&keys.related, header, &claims)),
        format!("bearer {}", signed(&keys.good, r#"{"alg":"none","kid":"SIMULATOR1"}"#, &claims)),
        format!("bearer {}", signed(&keys.good, r#"{"alg":"ES256","kid":"NOSUCHKEY1"}"#, &claims)),
        format!("bearer {}", signed(&keys.good, r#"{"alg":"ES256"}"#, &claims)),
        format!("bearer {}", signed(&keys.good, header, r#"{"iss":"SIMTEAM002","iat":1700000000}"#)),
        format!("bearer {}", signed(&keys.good, header, r#"{"iss":"SIMTEAM001","iat":"1700000000"}"#)),
        format!("bearer {}", signed(&keys.good, header, r#"{"iss":"SIMTEAM001"}"#)),
    ];
    for header in table {
        assert_eq!(check(&mut connection, &header, 0), Err(ApnsReason::InvalidProviderToken), "{header}");
    }
    assert_eq!(check(&mut connection, &format!("BEARER {good}"), 0), Ok(()));
}
