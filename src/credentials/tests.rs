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
fn a_certificate_cannot_forge_a_line_of_a_log() {
    let mut params = params(&[(TOPICS, b"\x30\x0b\x0c\x02c\x0a\x30\x05\x0c\x03app")]);
    params.distinguished_name.push(DnType::CommonName, "push\nERROR forged \u{1b}[31m");
    params.distinguished_name.push(DnType::CustomDnType(vec![0, 9, 2342, 19200300, 100, 1, 1]), "com\r\n.x");
    params.distinguished_name.push(DnType::OrganizationalUnitName, "TE\u{1}AM");
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
    let credentials = parse(pem.as_bytes()).unwrap();
    let certificate = credentials.certificate().unwrap();
    assert_eq!(certificate.subject, "pushERROR forged [31m");
    assert_eq!(certificate.uid.as_deref(), Some("com.x"));
    assert_eq!(certificate.team.as_deref(), Some("TEAM"));
    assert_eq!(certificate.topics, ["c"]);
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
    assert_eq!(refused(&file("push.cer")), CredentialsError::DerCertificate);
    let missing = CredentialsError::Ids { missing: vec!["key_id", "team_id"], bad: vec![] };
    assert_eq!(refused(&file("signing-key.p8")), missing);
    assert_eq!(refused(&file("request.pem")), CredentialsError::SigningRequest);
    assert_eq!(refused(&file("rsa-encrypted-pkcs1.pem")), CredentialsError::PassphraseMissing);
    assert_eq!(refused(&file("rsa-encrypted-pkcs8.pem")), CredentialsError::PassphraseMissing);
    assert_eq!(refused(&file("rsa-1024.pem")), CredentialsError::UnusableKey);
    assert_eq!(refused(certificate.as_bytes()), CredentialsError::NoKey);
    assert_eq!(
        refused(format!("{other}{key}").as_bytes()),
        CredentialsError::KeyMismatch { subject: "Apple Push Services: com.x".to_owned() }
    );
}

#[test]
fn base64_of_a_file_is_told_by_what_is_in_it() {
    use base64::Engine as _;
    let p12 = file("push.p12");
    let text = base64::engine::general_purpose::STANDARD.encode(&p12);
    let lines = text.as_bytes().chunks(64).map(|line| [line, b"\n"].concat()).collect::<Vec<_>>().concat();
    let expected = parse(&p12).unwrap().fingerprint();
    assert_eq!(parse(text.as_bytes()).unwrap().fingerprint(), expected);
    assert_eq!(parse(&lines).unwrap().fingerprint(), expected);
    let encoded = |name: &str| base64::engine::general_purpose::STANDARD.encode(file(name));
    let expected = parse(&file("rsa-pkcs8.pem")).unwrap().fingerprint();
    assert_eq!(parse(encoded("rsa-pkcs8.pem").as_bytes()).unwrap().fingerprint(), expected);
    assert!(matches!(refused(encoded("signing-key.p8").as_bytes()), CredentialsError::Ids { .. }));
    assert_eq!(source::read(&encoded("rsa-pkcs8.pem"), &[]).unwrap().0, source::Source::Inline);
}

#[test]
fn encrypted_keys_are_opened_with_their_passphrase_alone() {
    let expected = |name: &str| {
        let Credentials::Certificate(identity) = parse(&file(name)).unwrap() else { panic!("{name}") };
        identity.chain
    };
    for name in ["rsa-encrypted-pkcs1.pem", "rsa-encrypted-pkcs8.pem"] {
        let with = |passphrase| {
            let options = CredentialOptions { passphrase: Some(passphrase), ..CredentialOptions::default() };
            super::parse(&file(name), &options)
        };
        let Credentials::Certificate(identity) = with("secret").unwrap() else { panic!("{name}") };
        assert_eq!(identity.chain, expected("rsa-pkcs8.pem"), "{name}");
        for wrong in ["", "Secret", "secret "] {
            assert_eq!(with(wrong).unwrap_err(), CredentialsError::PassphraseWrong, "{name}");
        }
        assert_eq!(with(&"x".repeat(1025)).unwrap_err(), CredentialsError::PassphraseTooLong(1024));
    }
}

#[test]
fn a_signing_key_is_taken_with_its_ids_and_nothing_else() {
    let options = CredentialOptions { passphrase: None, key_id: Some("ABC123DEFG"), team_id: Some("DEF123GHIJ") };
    let key = file("signing-key.p8");
    let credentials = super::parse(&key, &options).unwrap();
    assert_eq!(credentials.subject(), "key ABC123DEFG of team DEF123GHIJ");
    assert_eq!(credentials.not_after(), None);
    let told = |key_id, team_id| {
        let options = CredentialOptions { key_id, team_id, ..options };
        super::parse(&key, &options).unwrap_err().to_string()
    };
    let needs = |what| {
        format!(
            "a provider token key (.p8) needs {what}, 10 letters and digits each, as Apple's developer account shows them \
             (key_id: Keys; team_id: Membership details)"
        )
    };
    assert_eq!(told(None, None), needs("the option `key_id` and the option `team_id`"));
    assert_eq!(told(None, options.team_id), needs("the option `key_id`"));
    assert_eq!(told(options.key_id, None), needs("the option `team_id`"));
    let both = "the option `team_id` and another option `key_id` than that given";
    assert_eq!(told(Some("ABC"), None), needs(both));
    for id in ["", "ABC123DEF", "ABC123DEFGH", "ABC123 EFG", "ÄBC123DEF"] {
        let options = CredentialOptions { team_id: Some(id), ..options };
        let bad = CredentialsError::Ids { missing: vec![], bad: vec!["team_id"] };
        assert_eq!(super::parse(&key, &options).unwrap_err(), bad);
    }
    let other_curve = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
    assert_eq!(super::parse(other_curve.as_bytes(), &options).unwrap_err(), CredentialsError::BadProviderKey);
    let beside = [key, pem(&[]).0.into_bytes()].concat();
    let expected = CredentialsError::KeyBesideCertificate { subject: "Apple Push Services: com.x".to_owned() };
    assert_eq!(super::parse(&beside, &options).unwrap_err(), expected);
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
    let at =
        |secs| credentials.judge(&production(), None, Timestamp::from_secs(secs)).map_err(|error| error.to_string());
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
    let wrong = |credentials: &Credentials, environment| match credentials.judge(&environment, None, NOW) {
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
    for (host, credentials, other) in [
        ("api.push.apple.com", &for_production, &development),
        ("api.sandbox.push.apple.com", &development, &for_production),
    ] {
        assert!(!wrong(credentials, environment("http2", &format!("https://{host}"))));
        assert!(wrong(other, environment("http2", &format!("https://{host}:2197"))));
    }
    for universal in [&[(DEVELOPMENT, NULL), (PRODUCTION, NULL)][..], &[(TOPICS, TOPIC_LIST)]] {
        assert!(!wrong(&credentials(universal), sandbox()));
        assert!(!wrong(&credentials(universal), production()));
    }
}

#[test]
fn any_certificate_may_be_used_with_a_gateway_that_is_not_apples() {
    let credentials = credentials(&[]);
    let refused = CredentialsError::NotPush { subject: "Apple Push Services: com.x".to_owned() };
    assert_eq!(credentials.judge(&production(), None, NOW), Err(refused));
    for gateway in ["binary://127.0.0.1:2195", "binary://evilpush.apple.com:2195", "binary://push.apple.com.evil.com:1"]
    {
        assert_eq!(credentials.judge(&environment("staging", gateway), None, NOW), Ok(()));
    }
}

#[test]
fn the_topic_is_one_that_the_certificate_is_for() {
    let http2 = environment("staging", "https://127.0.0.1:2197");
    let listed = credentials(&[(TOPICS, TOPIC_LIST)]);
    let judge =
        |credentials: &Credentials, topic| credentials.judge(&http2, topic, NOW).map_err(|error| error.to_string());
    for topic in [None, Some("com.x"), Some("com.x.voip")] {
        assert_eq!(judge(&listed, topic), Ok(()));
    }
    let refused = "certificate `Apple Push Services: com.x` is not for the topic `com.y`, but for com.x, com.x.voip: \
        correct the option `topic` or leave it out";
    assert_eq!(judge(&listed, Some("com.y")).unwrap_err(), refused);
    assert!(judge(&credentials(&[]), Some("com.y")).is_err(), "its UID is its only topic");

    let without_uid = |extensions: &[(&[u64], &[u8])]| {
        let mut params = params(extensions);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "x");
        let key = KeyPair::generate().unwrap();
        parse([params.self_signed(&key).unwrap().pem(), key.serialize_pem()].concat().as_bytes()).unwrap()
    };
    let several = without_uid(&[(TOPICS, TOPIC_LIST)]);
    let ambiguous =
        "certificate `x` is for several topics (com.x, com.x.voip): pass the option `topic` with one of them";
    assert_eq!(judge(&several, None).unwrap_err(), ambiguous);
    assert_eq!(judge(&several, Some("com.x")), Ok(()));
    assert_eq!(several.judge(&environment("old", "binary://127.0.0.1:2195"), None, NOW), Ok(()), "it has no topics");
    assert_eq!(judge(&without_uid(&[]), Some("com.y")), Ok(()), "it says nothing of topics");
}

#[test]
fn a_signing_key_needs_a_topic_and_a_gateway_that_takes_tokens() {
    let options = CredentialOptions { passphrase: None, key_id: Some("ABC123DEFG"), team_id: Some("DEF123GHIJ") };
    let key = super::parse(&file("signing-key.p8"), &options).unwrap();
    let http2 = environment("production", "https://api.push.apple.com");
    assert_eq!(key.judge(&http2, Some("com.x"), NOW), Ok(()));
    assert_eq!(key.judge(&http2, None, NOW), Err(CredentialsError::TopicMissing));
    assert_eq!(key.findings(None, None, NOW), [CredentialsError::TopicMissing]);
    assert_eq!(key.findings(None, Some("com.x"), NOW), []);
    let refused = CredentialsError::NeedsCertificate { environment: "production".to_owned() };
    assert_eq!(key.judge(&production(), Some("com.x"), NOW), Err(refused));
}

#[test]
fn all_that_is_wrong_is_found() {
    let credentials = credentials(&[(DEVELOPMENT, NULL)]);
    let found = credentials.findings(Some(&production()), Some("com.y"), Timestamp::from_secs(1_800_000_000));
    let [
        CredentialsError::Expired { .. },
        CredentialsError::WrongEnvironment { .. },
        CredentialsError::TopicRefused { .. },
    ] = &found[..]
    else {
        panic!("{found:?}")
    };
    assert_eq!(credentials.findings(None, None, NOW), []);
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

    #[test]
    fn a_p12_with_changed_bytes_does_not_make_the_parser_panic(
        changes in proptest::collection::vec((0..2000_usize, proptest::num::u8::ANY), 1..4),
    ) {
        let mut p12 = file("push.p12");
        for (at, byte) in changes {
            let at = at % p12.len();
            p12[at] = byte;
        }
        let _ = parse(&p12);
    }

    #[test]
    fn bytes_that_begin_as_a_p12_do_not_make_the_parser_panic(bytes: Vec<u8>) {
        let _ = parse(&[b"\x30\x82\x02\x00\x02\x01\x03\x30\x82\x01\xf0\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01", &bytes[..]].concat());
    }

    #[test]
    fn headers_of_an_encrypted_block_do_not_make_the_parser_panic(info in "[A-Z0-9,-]{0,40}", body in "[A-Za-z0-9+/]{0,200}") {
        let text = format!("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: {info}\n\n{body}\n-----END RSA PRIVATE KEY-----");
        let options = CredentialOptions { passphrase: Some("secret"), ..CredentialOptions::default() };
        let _ = super::parse(text.as_bytes(), &options);
    }
}
