//! Every form in which the openssl command writes certificates and keys, made by it here.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::process::Command;

use apnsd::credentials::error::CredentialsError;
use apnsd::credentials::{self, CredentialOptions, Credentials, Identity};
use tempfile::TempDir;

/// Runs the openssl command in a directory; it must be there and succeed.
fn openssl(dir: &Path, args: &str) {
    let mut command = Command::new("openssl");
    command.current_dir(dir).args(args.split(" "));
    let output = command.output().unwrap_or_else(|error| panic!("openssl is needed: {error}"));
    assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A root, a certificate that it signed for a push service, and its key.
fn files() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    openssl(at, "req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -subj /CN=root -days 30");
    fs::write(at.join("push.ext"), "1.2.840.113635.100.6.3.1=ASN1:NULL\n1.2.840.113635.100.6.3.2=ASN1:NULL\n").unwrap();
    openssl(at, "req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /UID=com.x/CN=push/OU=TEAM");
    let sign = "x509 -req -in request.pem -CA root.pem -CAkey root.key -CAcreateserial -days 30 -extfile push.ext -out";
    openssl(at, &format!("{sign} push.pem"));
    dir
}

fn read(path: &Path, passphrase: Option<&str>) -> Result<Identity, CredentialsError> {
    let options = CredentialOptions { passphrase, ..CredentialOptions::default() };
    match credentials::parse(&fs::read(path).unwrap(), &options)? {
        Credentials::Certificate(identity) => Ok(identity),
        Credentials::ProviderKey(_) => panic!("not a provider key"),
    }
}

/// Certificate and key as they are in PEM, without any encryption.
fn plain(dir: &Path) -> Identity {
    fs::write(
        dir.join("plain.pem"),
        [fs::read(dir.join("push.pem")).unwrap(), fs::read(dir.join("key.pem")).unwrap()].concat(),
    )
    .unwrap();
    read(&dir.join("plain.pem"), None).unwrap()
}

const EXPORT: &str = "pkcs12 -export -in push.pem -inkey key.pem -out out.p12";
/// What OpenSSL below version 3 and macOS write.
const LEGACY: &str = "-legacy -certpbe PBE-SHA1-RC2-40 -keypbe PBE-SHA1-3DES -macalg sha1";

#[test]
fn every_encryption_of_pkcs12_is_read_with_and_without_a_passphrase() {
    let dir = files();
    let dir = dir.path();
    let expected = plain(dir);
    let mut variants = 0;
    for encryption in [
        LEGACY,
        "-legacy",
        "-certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES -macalg sha1",
        "-legacy -certpbe PBE-SHA1-RC2-128 -keypbe PBE-SHA1-RC2-128",
        "-certpbe AES-256-CBC -keypbe AES-256-CBC",
        "-certpbe AES-192-CBC -keypbe DES-EDE3-CBC",
        "-certpbe AES-128-CBC -keypbe AES-128-CBC -macalg sha512",
        "-macalg sha224",
        "-macalg sha384",
        "-nomac",
        "-certpbe NONE -keypbe NONE",
        "-certpbe NONE -keypbe NONE -nomac",
        "-certpbe NONE",
        "-iter 600000",
        "-legacy -iter 600000",
        "-name Püsh",
    ] {
        let is_slow = encryption.contains("600000");
        for passphrase in ["", "secret", "gemütlich€", "🔑"].into_iter().filter(|text| !is_slow || *text == "secret")
        {
            openssl(dir, &format!("{EXPORT} {encryption} -passout pass:{passphrase}"));
            let identity = read(&dir.join("out.p12"), Some(passphrase));
            let identity = identity.unwrap_or_else(|error| panic!("{encryption}, {passphrase}: {error}"));
            assert_eq!(identity.fingerprint, expected.fingerprint, "{encryption}");
            let is_protected = encryption != "-certpbe NONE -keypbe NONE -nomac";
            let other = read(&dir.join("out.p12"), Some("other")).err();
            assert_eq!(other, is_protected.then_some(CredentialsError::PassphraseWrong), "{encryption}");
            let none = read(&dir.join("out.p12"), None).err();
            let is_needed = is_protected && !passphrase.is_empty();
            assert_eq!(none, is_needed.then_some(CredentialsError::PassphraseMissing), "{encryption}");
            variants += 1;
        }
    }
    assert_eq!(variants, 58);
}

#[test]
fn the_chain_is_kept_leaf_first() {
    let dir = files();
    let dir = dir.path();
    for encryption in [LEGACY, "-macalg sha256"] {
        openssl(dir, &format!("{EXPORT} {encryption} -certfile root.pem -passout pass:secret"));
        let identity = read(&dir.join("out.p12"), Some("secret")).unwrap();
        assert_eq!(identity.certificate.subject, "push");
        assert_eq!(identity.chain.len(), 2, "{encryption}");
        assert_eq!(identity.chain[0], plain(dir).chain[0], "{encryption}");
    }
}

#[test]
fn what_a_p12_lacks_or_has_too_much_of_is_said_with_the_cure() {
    let dir = files();
    let dir = dir.path();
    let told = |args: &str| {
        openssl(dir, args);
        read(&dir.join("out.p12"), Some("secret")).err().unwrap()
    };
    let key_only = "pkcs12 -export -nocerts -inkey key.pem -out out.p12 -passout pass:secret";
    assert_eq!(told(key_only), CredentialsError::P12NoCertificate);
    let certificate_only = "pkcs12 -export -nokeys -in push.pem -out out.p12 -passout pass:secret";
    assert_eq!(told(certificate_only), CredentialsError::P12NoKey);
    let rc4 = format!("{EXPORT} -passout pass:secret -legacy -certpbe PBE-SHA1-RC4-128");
    assert_eq!(
        told(&rc4).to_string(),
        "the .p12 file is encrypted in a way that is not supported: convert it with `openssl pkcs12 -in FILE.p12 -nodes \
         -out FILE.pem` (OpenSSL 3: with -legacy)"
    );
    let slow = told(&format!("{EXPORT} -passout pass:secret -iter 2000000"));
    assert!(slow.to_string().starts_with("the file asks for more than 5000000 iterations"), "{slow}");
    let mut bytes = fs::read(dir.join("out.p12")).unwrap();
    bytes.truncate(bytes.len() - 10);
    fs::write(dir.join("out.p12"), &bytes).unwrap();
    assert_eq!(read(&dir.join("out.p12"), Some("secret")).err(), Some(CredentialsError::P12Damaged));
}

#[test]
fn a_p12_of_two_keys_gives_the_pair_that_matches() {
    let dir = files();
    let dir = dir.path();
    openssl(dir, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out other.pem");
    openssl(
        dir,
        "pkcs12 -export -nocerts -inkey other.pem -out other.p12 -passout pass: -keypbe NONE -certpbe NONE -nomac",
    );
    openssl(dir, &format!("{EXPORT} -passout pass: -keypbe NONE -certpbe NONE -nomac"));
    // The safes of both in one file, those of the other key first.
    let safes = |name: &str| {
        let der = fs::read(dir.join(name)).unwrap();
        let [_, content] = sequence(&der)[..] else { panic!("{name}") };
        let octets = content_of(content_of(sequence(content)[1]));
        content_of(octets).to_vec()
    };
    let both = tagged(0x30, &[safes("other.p12"), safes("out.p12")].concat());
    let data = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    let content = tagged(0x30, &[&data[..], &tagged(0xa0, &tagged(0x04, &both))].concat());
    fs::write(dir.join("both.p12"), tagged(0x30, &[b"\x02\x01\x03", &content[..]].concat())).unwrap();
    assert_eq!(read(&dir.join("both.p12"), None).unwrap().fingerprint, plain(dir).fingerprint);
}

/// What OpenSSL computes, in hex digits with or without colons.
fn computed(dir: &Path, args: &str) -> String {
    let output = Command::new("openssl").current_dir(dir).args(args.split(' ')).output().unwrap();
    assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().rsplit(' ').next().unwrap().replace(':', "")
}

#[test]
fn no_passphrase_is_as_good_as_an_empty_one() {
    let dir = files();
    let dir = dir.path();
    openssl(dir, &format!("{EXPORT} -passout pass: -keypbe NONE -certpbe NONE -nomac"));
    let der = fs::read(dir.join("out.p12")).unwrap();
    let [version, content] = sequence(&der)[..] else { panic!("two elements") };
    fs::write(dir.join("content"), content_of(content_of(sequence(content)[1]))).unwrap();
    let kdf =
        "kdf -keylen 20 -kdfopt digest:SHA1 -kdfopt hexpass: -kdfopt hexsalt:0102030405060708 -kdfopt id:3 -kdfopt";
    let key = computed(dir, &format!("{kdf} iter:1 PKCS12KDF"));
    let mac = computed(dir, &format!("dgst -sha1 -mac HMAC -macopt hexkey:{key} content"));
    let mac: Vec<u8> = (0..20).map(|at| u8::from_str_radix(&mac[2 * at..2 * at + 2], 16).unwrap()).collect();
    let sha1 = tagged(0x30, b"\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00");
    let info = tagged(0x30, &[sha1, tagged(0x04, &mac)].concat());
    // The iterations are left out: one.
    let mac = tagged(0x30, &[info, tagged(0x04, &[1, 2, 3, 4, 5, 6, 7, 8])].concat());
    fs::write(dir.join("none.p12"), tagged(0x30, &[version, content, &mac].concat())).unwrap();
    openssl(dir, "pkcs12 -in none.p12 -passin pass: -nodes -out none.pem");
    let expected = plain(dir).fingerprint;
    assert_eq!(read(&dir.join("none.p12"), None).unwrap().fingerprint, expected);
    assert_eq!(read(&dir.join("none.p12"), Some("")).unwrap().fingerprint, expected);
    assert_eq!(read(&dir.join("none.p12"), Some("x")).err(), Some(CredentialsError::PassphraseWrong));
}

#[test]
fn ber_is_told_from_damage() {
    let dir = files();
    let dir = dir.path();
    openssl(dir, &format!("{EXPORT} -passout pass:secret"));
    let der = fs::read(dir.join("out.p12")).unwrap();
    // The outermost sequence without a length, ended by two zeros.
    let indefinite = [&[0x30, 0x80], content_of(&der), &[0, 0]].concat();
    // The content in two parts.
    let [version, content, mac] = sequence(&der)[..] else { panic!("three elements") };
    let octets = content_of(content_of(sequence(content)[1]));
    let (first, second) = octets.split_at(100);
    let parts = tagged(0x24, &[tagged(0x04, first), tagged(0x04, second)].concat());
    let content = tagged(0x30, &[sequence(content)[0], &tagged(0xa0, &parts)].concat());
    let in_parts = tagged(0x30, &[version, &content, mac].concat());
    for bytes in [indefinite, in_parts] {
        fs::write(dir.join("ber.p12"), bytes).unwrap();
        openssl(dir, "pkcs12 -in ber.p12 -passin pass:secret -nodes -out ber.pem");
        let error = read(&dir.join("ber.p12"), Some("secret")).err().unwrap();
        assert_eq!(error, CredentialsError::P12Ber);
        assert!(
            error.to_string().ends_with(
                "convert it with `openssl pkcs12 -in FILE.p12 -nodes -out FILE.pem` (OpenSSL 3: with -legacy)"
            )
        );
        assert_eq!(read(&dir.join("ber.pem"), None).unwrap().fingerprint, plain(dir).fingerprint);
    }
}

#[test]
fn every_encryption_of_a_pem_key_is_read() {
    let dir = files();
    let dir = dir.path();
    openssl(dir, "ecparam -name prime256v1 -genkey -noout -out ec.pem");
    let expected = plain(dir);
    let certificate = fs::read(dir.join("push.pem")).unwrap();
    for args in [
        "pkcs8 -topk8 -in key.pem -out encrypted.pem -passout pass:gemütlich€",
        "pkcs8 -topk8 -in key.pem -out encrypted.pem -v2 aes-128-cbc -v2prf hmacWithSHA512 -passout pass:gemütlich€",
        "pkcs8 -topk8 -in key.pem -out encrypted.pem -v2 aes-192-cbc -v2prf hmacWithSHA1 -passout pass:gemütlich€",
        "pkcs8 -topk8 -in key.pem -out encrypted.pem -v2 des3 -iter 600000 -passout pass:gemütlich€",
        "pkcs8 -topk8 -in key.pem -out encrypted.pem -v1 PBE-SHA1-3DES -passout pass:gemütlich€",
        "rsa -in key.pem -traditional -out encrypted.pem -aes128 -passout pass:gemütlich€",
        "rsa -in key.pem -traditional -out encrypted.pem -aes192 -passout pass:gemütlich€",
        "rsa -in key.pem -traditional -out encrypted.pem -aes256 -passout pass:gemütlich€",
        "rsa -in key.pem -traditional -out encrypted.pem -des3 -passout pass:gemütlich€",
    ] {
        openssl(dir, args);
        let key = fs::read(dir.join("encrypted.pem")).unwrap();
        fs::write(dir.join("both.pem"), [&certificate[..], &key].concat()).unwrap();
        let identity =
            read(&dir.join("both.pem"), Some("gemütlich€")).unwrap_or_else(|error| panic!("{args}: {error}"));
        assert_eq!(identity.chain, expected.chain, "{args}");
        assert_eq!(
            read(&dir.join("both.pem"), Some("gemütlich")).err(),
            Some(CredentialsError::PassphraseWrong),
            "{args}"
        );
        assert_eq!(read(&dir.join("both.pem"), None).err(), Some(CredentialsError::PassphraseMissing), "{args}");
    }
    for (args, expected) in [
        ("pkcs8 -topk8 -in key.pem -out encrypted.pem -scrypt -passout pass:secret", CredentialsError::KeyAlgorithm),
        (
            "rsa -in key.pem -traditional -out encrypted.pem -camellia128 -passout pass:secret",
            CredentialsError::KeyAlgorithm,
        ),
        (
            "pkcs8 -topk8 -in key.pem -out encrypted.pem -iter 6000000 -passout pass:secret",
            CredentialsError::TooManyIterations(5_000_000),
        ),
    ] {
        openssl(dir, args);
        let key = fs::read(dir.join("encrypted.pem")).unwrap();
        fs::write(dir.join("both.pem"), [&certificate[..], &key].concat()).unwrap();
        assert_eq!(read(&dir.join("both.pem"), Some("secret")).err(), Some(expected), "{args}");
    }
}

/// The elements of a sequence in DER, whole.
fn sequence(der: &[u8]) -> Vec<&[u8]> {
    let mut rest = content_of(der);
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let (head, length) = head(rest);
        let (element, after) = rest.split_at(head + length);
        elements.push(element);
        rest = after;
    }
    elements
}

fn content_of(der: &[u8]) -> &[u8] {
    let (head, length) = head(der);
    &der[head..head + length]
}

fn head(der: &[u8]) -> (usize, usize) {
    match der[1] {
        short @ ..0x80 => (2, usize::from(short)),
        long => {
            let bytes = usize::from(long & 0x7f);
            (2 + bytes, der[2..2 + bytes].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    }
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x84], &length[..], content].concat()
}
