//! Bodies as literal text, in both directions; what cannot be read; that nothing shows a secret.

use super::*;
use crate::service::request::Provision;

const SINCE: Timestamp = Timestamp::from_millis(1_700_000_000_123);

/// `{"certificate":"-----BEGIN CERTIFICATE-----","passphrase":"hush"}`, sealed by another implementation for the app
/// `app` with a key file of `0123456789abcdef`.
const SEALED: &str = "AAECAwQFBgcICQoLswSANOucR9iRqt+/1hHfQrwWiYaDfVrR7wNF1BLMMCJ9Bt68hz7/vz+yUMKMY10IETplZ/5KDB3WG3CqhitB6da16yP94QJqG7T/kK6oi4Lm";

fn app() -> AppId {
    AppId::parse("app").unwrap()
}

fn key(content: &str) -> SealKey {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    SealKey::read(Some(file.path()))
}

fn of_a_file() -> Terms {
    let request = Provision {
        app_id: "app".into(),
        certificate: "/etc/apnsd/certs/app.pem".into(),
        environment: "sandbox".into(),
        timeout: Some(Duration::from_secs(15)),
        options: None,
    };
    let terms = Terms::of(&request, Some(SectionDigest("00112233445566778899aabbccddeeff".into())), SINCE);
    Terms { feedback_topic: Some("com.example.app".into()), is_paused: true, moved_after: Some(BatchId(7)), ..terms }
}

fn of_a_text() -> Terms {
    let notify = NotifyOptions {
        expiration: PerRow::All(3600),
        priority: PerRow::Each(vec![10, 5]),
        collapse_id: PerRow::All("c".into()),
        push_type: PerRow::All("alert".into()),
        topic: PerRow::Absent,
        request_id: None,
    };
    let request = Provision {
        app_id: "app".into(),
        certificate: "-----BEGIN CERTIFICATE-----".into(),
        environment: "production".into(),
        timeout: None,
        options: Some(ProvisionOptions {
            topic: Some("com.example.app".into()),
            key_id: Some("KEY".into()),
            team_id: Some("TEAM".into()),
            passphrase: Some("hush".into()),
            passphrase_file: None,
            connections: Some(2),
            force: true,
            notify,
        }),
    };
    Terms::of(&request, None, SINCE)
}

/// Records as version 1 wrote them. Never change them: they are on disks out there.
mod version_1 {
    pub(super) const FILE: &str = r#"{"version":1,"app":{"environment":"sandbox","certificate":"/etc/apnsd/certs/app.pem","unrestricted":true,"section":"00112233445566778899aabbccddeeff","timeout":15000,"options":{"defaults":{}},"feedback_topic":"com.example.app","paused":true,"moved_after":7,"since":1700000000123}}"#;
    pub(super) const TEXT: &str = r#"{"version":1,"app":{"environment":"production","options":{"topic":"com.example.app","key_id":"KEY","team_id":"TEAM","connections":2,"defaults":{"expiration":3600,"priority":[10,5],"collapse_id":"c","push_type":"alert"}},"since":1700000000123,"secrets":{"certificate":"-----BEGIN CERTIFICATE-----","passphrase":"hush"}}}"#;
    pub(super) const REMOVED: &str = r#"{"version":1,"removed":{"section":"00112233445566778899aabbccddeeff","feedback":{"environment":"sandbox","topic":"com.example.app"},"at":1700000000123}}"#;
}

fn cause(record: Record) -> String {
    match record {
        Record::Unreadable(unreadable) => unreadable.cause,
        readable => panic!("{readable:?}"),
    }
}

#[test]
fn an_app_is_stored_as_it_always_was() {
    for (terms, body, secrecy) in
        [(of_a_file(), version_1::FILE, Secrecy::None), (of_a_text(), version_1::TEXT, Secrecy::Plain)]
    {
        let (encoded, encoded_secrecy) = encode(&app(), &terms, &SealKey::Absent).unwrap();
        assert_eq!((str::from_utf8(&encoded).unwrap(), encoded_secrecy), (body, secrecy));
        let expected = Terms { options: ProvisionOptions { force: false, ..terms.options.clone() }, ..terms };
        assert_eq!(decode(&app(), body.as_bytes(), &SealKey::Absent), Record::App(Box::new(expected), secrecy));
    }
}

#[test]
fn a_path_is_told_from_text_and_kept_as_it_was_spelled() {
    let of = |certificate: &str| {
        let request = Provision {
            app_id: "app".into(),
            certificate: certificate.into(),
            environment: "sandbox".into(),
            timeout: None,
            options: None,
        };
        Terms::of(&request, None, SINCE).certificate
    };
    let file = Certificate::File { path: "/certs/../certs/app.pem".into(), unrestricted: false };
    assert_eq!(of(" /certs/../certs/app.pem\n"), file);
    for text in ["-----BEGIN CERTIFICATE-----\n/", "garbage", "{}"] {
        assert_eq!(of(text), Certificate::Text(text.into()));
    }
}

#[test]
fn a_removed_app_is_stored_as_it_always_was() {
    let feedback = FeedbackSource { environment: "sandbox".into(), topic: "com.example.app".into() };
    let removed = Removed { section: of_a_file().section, feedback: Some(feedback), at: SINCE };
    assert_eq!(str::from_utf8(&encode_removed(&removed)).unwrap(), version_1::REMOVED);
    assert_eq!(decode(&app(), version_1::REMOVED.as_bytes(), &SealKey::Absent), Record::Removed(removed));
}

#[test]
fn secrets_are_sealed_where_there_is_a_key() {
    let (body, secrecy) = encode(&app(), &of_a_text(), &key("0123456789abcdef")).unwrap();
    let text = str::from_utf8(&body).unwrap();
    assert_eq!(secrecy, Secrecy::Sealed);
    assert!(!text.contains("BEGIN") && !text.contains("hush"), "{text}");
    assert_eq!(decode(&app(), &body, &key("0123456789abcdef")), Record::App(Box::new(of_a_text()), Secrecy::Sealed));
}

#[test]
fn what_was_sealed_before_is_read_and_without_its_key_says_what_to_do() {
    let plain = r#"{"certificate":"-----BEGIN CERTIFICATE-----","passphrase":"hush"}"#;
    let body = version_1::TEXT.replace(plain, &format!("\"{SEALED}\""));
    let read = |key| decode(&app(), body.as_bytes(), &key);
    assert_eq!(read(key("0123456789abcdef")), Record::App(Box::new(of_a_text()), Secrecy::Sealed));
    let Record::Unreadable(unreadable) = read(SealKey::Absent) else { panic!("readable") };
    assert_eq!((&*unreadable.environment, unreadable.secrecy), ("production", Secrecy::Sealed));
    assert!(unreadable.cause.contains("put the key file back"), "{}", unreadable.cause);
    assert!(cause(read(key("another key file"))).contains("another key"));
    assert!(cause(read(key("short"))).contains("at least 16"));
}

#[test]
fn a_newer_or_damaged_body_says_so() {
    let newer = r#"{"version":2,"something":"else"}"#;
    let text = cause(decode(&app(), newer.as_bytes(), &SealKey::Absent));
    assert!(text.contains("written by a newer apnsd (version 2 of the record, this one knows 1)"), "{text}");
    for body in ["", "{}", r#"{"version":1}"#, r#"{"version":1,"app":{"environment":"sandbox","since":0}}"#] {
        let text = cause(decode(&app(), body.as_bytes(), &SealKey::Absent));
        assert!(text.ends_with("provision the app again"), "{text}");
    }
}

#[test]
fn members_of_a_later_minor_version_are_passed_over() {
    let body = version_1::FILE.replace(r#""unrestricted":true"#, r#""unrestricted":true,"later":[1]"#);
    assert_eq!(decode(&app(), body.as_bytes(), &SealKey::Absent), Record::App(Box::new(of_a_file()), Secrecy::None));
}

#[test]
fn a_file_with_a_passphrase_is_stored_by_its_path() {
    let options = ProvisionOptions { passphrase_file: Some("/etc/app.pass".into()), ..ProvisionOptions::default() };
    let terms = Terms { options, ..of_a_file() };
    let (body, secrecy) = encode(&app(), &terms, &SealKey::Absent).unwrap();
    let expected = version_1::FILE.replace(r#"{"defaults""#, r#"{"passphrase_file":"/etc/app.pass","defaults""#);
    assert_eq!((str::from_utf8(&body).unwrap(), secrecy), (&*expected, Secrecy::None));
    assert_eq!(decode(&app(), &body, &SealKey::Absent), Record::App(Box::new(terms), Secrecy::None));
}

#[test]
fn a_section_changes_with_each_of_its_values() {
    let section = Provision {
        app_id: "app".into(),
        certificate: "/a".into(),
        environment: "b".into(),
        timeout: None,
        options: None,
    };
    let digests = [
        SectionDigest::of(&section),
        SectionDigest::of(&Provision { app_id: "app2".into(), ..section.clone() }),
        SectionDigest::of(&Provision { certificate: "/ab".into(), environment: "".into(), ..section.clone() }),
        SectionDigest::of(&Provision { timeout: Some(Duration::from_secs(1)), ..section.clone() }),
    ];
    assert_eq!(digests[0], SectionDigest::of(&section.clone()));
    let with = |options: ProvisionOptions| SectionDigest::of(&Provision { options: Some(options), ..section.clone() });
    assert_eq!(with(ProvisionOptions::default()), digests[0], "a section that says nothing new");
    let text = || Some("x".to_owned());
    let mut digests = digests.to_vec();
    digests.extend([
        with(ProvisionOptions { topic: text(), ..ProvisionOptions::default() }),
        with(ProvisionOptions { key_id: text(), ..ProvisionOptions::default() }),
        with(ProvisionOptions { team_id: text(), ..ProvisionOptions::default() }),
        with(ProvisionOptions { passphrase_file: text().map(Into::into), ..ProvisionOptions::default() }),
        with(ProvisionOptions { connections: Some(2), ..ProvisionOptions::default() }),
    ]);
    assert_eq!(digests[0].0, "de6296b58305af31a562a636ea701104", "on disks out there");
    for (at, digest) in digests.iter().enumerate() {
        assert!(!digests[..at].contains(digest), "{at}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let terms = of_a_text();
    let request = Provision {
        app_id: "app".into(),
        certificate: "-----BEGIN".into(),
        environment: "sandbox".into(),
        timeout: None,
        options: Some(terms.options.clone()),
    };
    let shown = format!("{terms:?} {request:?} {:?}", key("0123456789abcdef"));
    assert!(!shown.contains("BEGIN") && !shown.contains("hush") && !shown.contains("0123456789"), "{shown}");
}
