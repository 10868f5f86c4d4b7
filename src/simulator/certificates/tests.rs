//! What the files hold, read with x509-parser.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::der_parser::oid;
use x509_parser::prelude::*;

use super::*;

const TODAY: i64 = 1_600_000_000;

fn open(dir: &Path) -> Certificates {
    Certificates::open(dir, &Clock::with_wall(Timestamp::from_secs(TODAY))).unwrap()
}

/// Calls back with the parsed certificate of a PEM text.
fn parsed<T>(pem: &str, read: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let (rest, certificate) = parse_x509_certificate(&der).unwrap();
    assert!(rest.is_empty());
    read(&certificate)
}

fn extension(pem: &str, last: u64) -> Option<Vec<u8>> {
    let mut oid = vec![1, 2, 840, 113_635, 100, 6, 3];
    oid.push(last);
    let oid = der_parser::Oid::from(&oid).unwrap();
    parsed(pem, |certificate| certificate.get_extension_unique(&oid).unwrap().map(|found| found.value.to_vec()))
}

fn common_name(pem: &str) -> String {
    parsed(pem, |certificate| certificate.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned())
}

#[test]
fn the_good_certificate_is_a_universal_push_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let pem = open(dir.path()).good.pem;
    assert_eq!(common_name(&pem), "Apple Push Services: com.example.app");
    assert_eq!(extension(&pem, 1), Some(vec![0x05, 0x00]));
    assert_eq!(extension(&pem, 2), Some(vec![0x05, 0x00]));
    parsed(&pem, |certificate| {
        let subject = certificate.subject();
        let uid = subject.iter_by_oid(&oid!(0.9.2342.19200300.100.1.1)).next().unwrap();
        assert_eq!(uid.as_str(), Ok("com.example.app"));
        let unit = subject.iter_organizational_unit().next().unwrap();
        assert_eq!(unit.as_str(), Ok("SIMULATOR1"));
    });
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
}

#[test]
fn topics_are_names_and_their_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let pem = open(dir.path()).issue("a.b").unwrap();
    let mut expected = vec![0x30, 0x40];
    expected.extend(b"\x0c\x03a.b\x30\x05\x0c\x03app");
    expected.extend(b"\x0c\x08a.b.voip\x30\x06\x0c\x04voip");
    expected.extend(b"\x0c\x10a.b.complication\x30\x0e\x0c\x0ccomplication");
    assert_eq!(extension(&pem, 6), Some(expected));
    assert_eq!(common_name(&pem), "Apple Push Services: a.b");
}

#[test]
fn a_long_bundle_id_keeps_the_topics_readable() {
    let dir = tempfile::tempdir().unwrap();
    let bundle_id = format!("com.{}", "x".repeat(150));
    let topics = extension(&open(dir.path()).issue(&bundle_id).unwrap(), 6).unwrap();
    assert_eq!(topics[..7], [0x30, 0x82, 0x02, 0x08, 0x0c, 0x81, 154]);
}

#[test]
fn development_and_production_have_one_extension_each() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = open(dir.path());
    let (development, production) = (&certificates.development.pem, &certificates.production.pem);
    assert_eq!(common_name(development), "Apple Development IOS Push Services: com.example.app");
    assert_eq!(common_name(production), "Apple Production IOS Push Services: com.example.app");
    assert_eq!((extension(development, 1).is_some(), extension(development, 2).is_some()), (true, false));
    assert_eq!((extension(production, 1).is_some(), extension(production, 2).is_some()), (false, true));
}

#[test]
fn validity_is_as_the_names_say() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = open(dir.path());
    let validity = |file: &PemFile| {
        parsed(&file.pem, |certificate| {
            let validity = certificate.validity();
            (validity.not_before.timestamp() - TODAY, validity.not_after.timestamp() - TODAY)
        })
    };
    let (day, year) = (86_400, 365 * 86_400);
    assert_eq!(validity(&certificates.good), (-day, 10 * year));
    assert_eq!(validity(&certificates.expired), (-year, -day));
    assert_eq!(validity(&certificates.not_yet_valid), (10 * year, 11 * year));
    assert_eq!(validity(&certificates.ca), (-2 * year, 20 * year));
}

#[test]
fn signatures_are_the_authoritys_but_for_the_strangers() {
    let dir = tempfile::tempdir().unwrap();
    let certificates = open(dir.path());
    let issuer = |file: &PemFile| parsed(&file.pem, |certificate| certificate.issuer().to_string());
    assert_eq!(issuer(&certificates.good), "CN=apnsd simulator");
    assert_eq!(issuer(&certificates.mismatched_key), "CN=apnsd simulator");
    assert_eq!(issuer(&certificates.wrong_ca), "CN=apnsd simulator, stranger");
}

#[test]
fn files_are_private_and_nothing_else_is_left_behind() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("made/anew");
    open(&dir);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600);
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    let expected = [
        "AuthKey_SIMFOREIGN.p8",
        "AuthKey_SIMRELATED.p8",
        "AuthKey_SIMSANDBOX.p8",
        "AuthKey_SIMULATOR1.p8",
        "AuthKey_SIMULATOR2.p8",
        "ca-key.pem",
        "ca.pem",
        "development.pem",
        "expired.pem",
        "good.pem",
        "mismatched-key.pem",
        "not-yet-valid.pem",
        "production.pem",
        "wrong-ca.pem",
    ];
    assert_eq!(names, expected);
}

#[test]
fn an_earlier_runs_files_are_kept_and_missing_ones_are_issued_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    fs::remove_file(&first.expired.path).unwrap();
    let second = open(dir.path());
    assert_eq!(first.ca, second.ca);
    assert_eq!(first.good, second.good);
    assert_ne!(first.expired, second.expired);
    let issuer = |pem: &str| parsed(pem, |certificate| certificate.issuer().to_string());
    assert_eq!(issuer(&second.expired.pem), issuer(&first.good.pem));
}

#[test]
fn a_new_authority_replaces_what_another_one_signed() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    fs::remove_file(dir.path().join("ca-key.pem")).unwrap();
    let second = open(dir.path());
    assert_ne!(first.ca, second.ca);
    assert_ne!(first.good, second.good);
}

#[test]
fn an_authority_that_does_not_fit_its_key_is_refused_with_what_to_do() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    open(dir.path());
    open(other.path());
    fs::copy(other.path().join("ca-key.pem"), dir.path().join("ca-key.pem")).unwrap();
    let error = Certificates::open(dir.path(), &Clock::system()).unwrap_err().to_string();
    assert!(error.contains("remove both to get new ones"), "{error}");
}

#[test]
fn keys_do_not_show_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let shown = format!("{:?}", open(dir.path()));
    assert!(!shown.contains("PRIVATE") && !shown.contains("BEGIN"), "{shown}");
}
