//! Certificates made here with rcgen, and files made with the openssl command (`tests/data/credentials/make.sh`).

use std::fs;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair};

use super::*;
use crate::domain::app::{Address, Environment};

const DEVELOPMENT: &[u64] = &[1, 2, 840, 113635, 100, 6, 3, 1];
const PRODUCTION: &[u64] = &[1, 2, 840, 113635, 100, 6, 3, 2];
const TOPICS: &[u64] = &[1, 2, 840, 113635, 100, 6, 3, 6];
const NULL: &[u8] = &[0x05, 0x00];
/// `com.x` {app}, `com.x.voip` {voip}, as Apple encodes it.
const TOPIC_LIST: &[u8] = b"\x30\x22\x0c\x05com.x\x30\x05\x0c\x03app\x0c\x0acom.x.voip\x30\x06\x0c\x04voip";

/// Noon of 1 July 2025; the certificates made here are valid from 2025 to 2026.
const NOW: Timestamp = Timestamp::from_secs(1_751_371_200);

fn params(extensions: &[(&[u64], &[u8])]) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "Apple Push Services: com.x");
    params.distinguished_name.push(DnType::CustomDnType(vec![0, 9, 2342, 19200300, 100, 1, 1]), "com.x");
    params.distinguished_name.push(DnType::OrganizationalUnitName, "TEAM");
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 1, 2);
    let extension = |(oid, der): &(&[u64], &[u8])| CustomExtension::from_oid_content(oid, der.to_vec());
    params.custom_extensions = extensions.iter().map(extension).collect();
    params
}

/// Certificate and key in PEM.
fn pem(extensions: &[(&[u64], &[u8])]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (params(extensions).self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn parse(bytes: &[u8]) -> Result<Credentials, CredentialsError> {
    super::parse(bytes, &CredentialOptions::default())
}

fn credentials(extensions: &[(&[u64], &[u8])]) -> Credentials {
    let (certificate, key) = pem(extensions);
    parse(format!("{certificate}{key}").as_bytes()).unwrap()
}

fn environment(name: &str, gateway: &str) -> Environment {
    Environment {
        name: Arc::from(name),
        gateway: Address::parse(gateway).unwrap(),
        feedback: None,
        ca: None,
        proxy: None,
    }
}

fn production() -> Environment {
    environment("production", "binary://gateway.push.apple.com:2195")
}

fn sandbox() -> Environment {
    environment("sandbox", "binary://gateway.sandbox.push.apple.com:2195")
}

fn file(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/data/credentials/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn refused(bytes: &[u8]) -> CredentialsError {
    parse(bytes).unwrap_err()
}

#[test]
fn a_certificate_says_whose_it_is_and_where_it_may_be_used() {
    let credentials = credentials(&[(DEVELOPMENT, NULL), (PRODUCTION, NULL), (TOPICS, TOPIC_LIST)]);
    let expected = CertificateFacts {
        subject: "Apple Push Services: com.x".to_owned(),
        uid: Some("com.x".to_owned()),
        topics: vec!["com.x".to_owned(), "com.x.voip".to_owned()],
        team: Some("TEAM".to_owned()),
        not_before: Timestamp::from_secs(1_735_689_600),
        not_after: Timestamp::from_secs(1_767_312_000),
        development: true,
        production: true,
    };
    assert_eq!(*credentials.certificate().unwrap(), expected);
}

#[test]
fn without_a_list_of_topics_the_uid_is_the_topic() {
    for extensions in [&[(PRODUCTION, NULL)][..], &[(PRODUCTION, NULL), (TOPICS, b"\x30\x05garbage")]] {
        assert_eq!(credentials(extensions).certificate().unwrap().topics, ["com.x"]);
    }
}

#[test]
fn every_form_of_key_is_read() {
    for name in ["rsa-pkcs8.pem", "rsa-pkcs1.pem", "ec-sec1.pem", "openssl-pkcs12.pem"] {
        let credentials = parse(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let topics = ["com.example.app", "com.example.app.voip", "com.example.app.complication"];
        assert_eq!(credentials.certificate().unwrap().topics, topics, "{name}");
        assert_eq!(credentials.certificate().unwrap().team.as_deref(), Some("ABCDE12345"));
    }
}

#[test]
fn key_and_certificate_come_in_any_order_and_dress() {
    let (certificate, key) = pem(&[]);
    let expected = parse(format!("{certificate}{key}").as_bytes()).unwrap().fingerprint();
    for text in [
        format!("{key}{certificate}"),
        format!("\u{feff}Bag Attributes\r\n{certificate}subject=x\r\n{key}\r\ntrailing"),
        format!("{certificate}{key}").replace('\n', "\r\n"),
        format!("{certificate}{key}").replace('\n', "\n    "),
        format!("{}{}", certificate.trim_end(), key.trim_end()),
        format!("{}{certificate}{key}", pem(&[]).1),
    ] {
        assert_eq!(parse(text.as_bytes()).unwrap().fingerprint(), expected, "{text}");
    }
}

#[test]
fn the_leaf_is_the_certificate_of_the_key_and_its_issuers_follow() {
    let issuer = |name: &str| {
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let root = CertifiedIssuer::self_signed(issuer("root"), KeyPair::generate().unwrap()).unwrap();
    let middle = CertifiedIssuer::signed_by(issuer("middle"), KeyPair::generate().unwrap(), &root).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params(&[]).signed_by(&key, &middle).unwrap();
    let text = [root.pem(), middle.pem(), leaf.pem(), key.serialize_pem()].concat();

    let Credentials::Certificate(identity) = parse(text.as_bytes()).unwrap() else { panic!("no certificate") };
    assert_eq!(identity.chain, [leaf.der().clone(), middle.der().clone(), root.der().clone()]);
    assert_eq!(identity.certificate.subject, "Apple Push Services: com.x");
}

#[test]
fn the_fingerprint_tells_certificates_and_keys_apart() {
    let key = KeyPair::generate().unwrap();
    let certificate = |serial: u64| {
        let mut params = params(&[]);
        params.serial_number = Some(serial.into());
        format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let [first, second] = [certificate(1), certificate(2)].map(|text| parse(text.as_bytes()).unwrap().fingerprint());
    assert_ne!(first, second);
    assert_eq!(parse(&file("rsa-pkcs8.pem")).unwrap().fingerprint().len(), 32);
}

#[test]
fn what_is_not_usable_is_refused_by_its_name() {
    let (certificate, key) = pem(&[]);
    let (other, _) = pem(&[]);
    assert_eq!(refused(b""), CredentialsError::Empty);
    assert_eq!(refused(b" \r\n"), CredentialsError::Empty);
    assert_eq!(refused(b"garbage"), CredentialsError::NotPem);
    assert_eq!(refused(&[0x30, 0x03, 0x02, 0x01, 0x03]), CredentialsError::NotPem);
    assert_eq!(refused(br#"{"type": "service_account"}"#), CredentialsError::Json);
    assert_eq!(refused(&file("push.p12")), CredentialsError::Pkcs12);
    assert_eq!(refused(&file("push.cer")), CredentialsError::DerCertificate);
    assert_eq!(refused(&file("signing-key.p8")), CredentialsError::IdMissing { name: "key_id" });
    assert_eq!(refused(&file("request.pem")), CredentialsError::SigningRequest);
    assert_eq!(refused(&file("rsa-encrypted-pkcs1.pem")), CredentialsError::EncryptedKey);
    assert_eq!(refused(&file("rsa-encrypted-pkcs8.pem")), CredentialsError::EncryptedKey);
    assert_eq!(refused(&file("rsa-1024.pem")), CredentialsError::UnusableKey);
    assert_eq!(refused(certificate.as_bytes()), CredentialsError::NoKey);
    assert_eq!(
        refused(format!("{other}{key}").as_bytes()),
        CredentialsError::KeyMismatch { subject: "Apple Push Services: com.x".to_owned() }
    );
}

#[test]
fn base64_of_a_binary_file_is_told_by_what_is_in_it() {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(file("push.p12"));
    assert_eq!(refused(text.as_bytes()), CredentialsError::Pkcs12);
}

#[test]
fn damaged_blocks_are_refused_and_never_quoted() {
    let (certificate, key) = pem(&[]);
    let cut = &certificate[..certificate.len() - 30];
    assert_eq!(refused(cut.as_bytes()), CredentialsError::BrokenBlock("CERTIFICATE".to_owned()));
    let damaged = certificate.replacen("MI", "M!", 1) + &key;
    assert_eq!(refused(damaged.as_bytes()), CredentialsError::BrokenBlock("CERTIFICATE".to_owned()));
    let garbage = format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{key}");
    assert_eq!(refused(garbage.as_bytes()), CredentialsError::BadCertificate);
    assert_eq!(refused(b"-----BEGIN "), CredentialsError::BrokenBlock("BEGIN".to_owned()));
}

#[test]
fn a_certificate_is_used_only_while_it_is_valid() {
    let credentials = credentials(&[(PRODUCTION, NULL)]);
    let at = |secs| credentials.judge(&production(), Timestamp::from_secs(secs)).map_err(|error| error.to_string());
    assert_eq!(at(1_767_312_000), Ok(()));
    assert_eq!(
        at(1_767_312_001).unwrap_err(),
        "certificate `Apple Push Services: com.x` expired on 2026-01-02T00:00:00Z: renew it in Apple's developer \
         account (Certificates, Identifiers & Profiles) and provision again"
    );
    assert_eq!(
        at(1_735_689_599).unwrap_err(),
        "certificate `Apple Push Services: com.x` is not valid before 2025-01-01T00:00:00Z: check the clock of this \
         machine"
    );
}

#[test]
fn apples_gateways_take_only_certificates_made_for_them() {
    let wrong = |credentials: &Credentials, environment| match credentials.judge(&environment, NOW) {
        Ok(()) => false,
        Err(CredentialsError::WrongEnvironment { .. }) => true,
        Err(error) => panic!("{error}"),
    };
    let development = credentials(&[(DEVELOPMENT, NULL)]);
    assert!(!wrong(&development, sandbox()));
    assert!(!wrong(&development, environment("old", "https://API.development.push.apple.com.")));
    assert!(wrong(&development, production()));
    let for_production = credentials(&[(PRODUCTION, NULL)]);
    assert!(wrong(&for_production, sandbox()));
    assert!(!wrong(&for_production, production()));
    for universal in [&[(DEVELOPMENT, NULL), (PRODUCTION, NULL)][..], &[(TOPICS, TOPIC_LIST)]] {
        assert!(!wrong(&credentials(universal), sandbox()));
        assert!(!wrong(&credentials(universal), production()));
    }
}

#[test]
fn any_certificate_may_be_used_with_a_gateway_that_is_not_apples() {
    let credentials = credentials(&[]);
    let refused = CredentialsError::NotPush { subject: "Apple Push Services: com.x".to_owned() };
    assert_eq!(credentials.judge(&production(), NOW), Err(refused));
    for gateway in ["binary://127.0.0.1:2195", "binary://evilpush.apple.com:2195", "binary://push.apple.com.evil.com:1"]
    {
        assert_eq!(credentials.judge(&environment("staging", gateway), NOW), Ok(()));
    }
}

#[test]
fn keys_are_never_shown() {
    let (certificate, key) = pem(&[]);
    let credentials = parse(format!("{certificate}{key}").as_bytes()).unwrap();
    let shown = format!("{credentials:?}");
    assert!(shown.contains("Apple Push Services: com.x"), "{shown}");
    assert!(!shown.contains("key"), "{shown}");
}

proptest::proptest! {
    #[test]
    fn no_content_makes_the_parser_panic(bytes: Vec<u8>, label in "[A-Z ]{0,20}", body in "[A-Za-z0-9+/=\n-]{0,200}") {
        let _ = parse(&bytes);
        let _ = parse(format!("-----BEGIN {label}-----{body}-----END {label}-----").as_bytes());
    }

    #[test]
    fn a_certificate_with_a_changed_byte_does_not_make_the_parser_panic(at in 0..1051_usize, byte: u8) {
        let mut der = file("push.cer");
        der[at] = byte;
        let _ = certificate::facts(&der);
    }
}
