//! PKCS#12 (`.p12`, `.pfx`; RFC 7292): the certificates and keys in it, old and new encryption alike.
//!
//! The bags are read in DER. Which of them belong together is decided elsewhere.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac};
use memchr::memmem;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::CredentialOptions;
use super::cipher::{self, Allowance, Fault, Oid, Passphrase, Use};
use super::der::{EXPLICIT_0, IMPLICIT_0, NULL, OCTET_STRING, OID, Reader, SEQUENCE, SET};
use super::error::CredentialsError;

const DATA: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
const ENCRYPTED_DATA: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06";
const KEY_BAG: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x01";
const SHROUDED_KEY_BAG: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x02";
const CERTIFICATE_BAG: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x03";
const X509_CERTIFICATE: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x16\x01";
const SHA1: &Oid = b"\x2b\x0e\x03\x02\x1a";
const SHA224: &Oid = b"\x60\x86\x48\x01\x65\x03\x04\x02\x04";
const SHA256: &Oid = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
const SHA384: &Oid = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";
const SHA512: &Oid = b"\x60\x86\x48\x01\x65\x03\x04\x02\x03";

/// Version 3, the only one there ever was.
const VERSION: u32 = 3;

/// The content of a file.
#[derive(Default)]
pub(super) struct Bags {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) keys: Vec<PrivateKeyDer<'static>>,
}

/// Whether bytes that begin a sequence are PKCS#12, as far as their beginning tells.
pub(super) fn is_p12(bytes: &[u8]) -> bool {
    // "Data" and "signed data" of PKCS#7: after the version, in any encoding.
    const PKCS7: &Oid = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07";
    const VERSION_3: &[u8] = &[0x02, 0x01, 0x03];
    let start = bytes.get(..40).unwrap_or(bytes);
    memmem::find(start, VERSION_3).zip(memmem::find(start, PKCS7)).is_some_and(|(version, content)| version < content)
}

/// Reads a file.
pub(super) fn read(bytes: &[u8], options: &CredentialOptions<'_>) -> Result<Bags, CredentialsError> {
    let told = |fault| match fault {
        Fault::Ber => CredentialsError::P12Ber,
        Fault::Damaged => CredentialsError::P12Damaged,
        Fault::Algorithm => CredentialsError::P12Algorithm,
        Fault::Iterations => CredentialsError::TooManyIterations(cipher::ITERATIONS_MAX),
        Fault::Passphrase if options.passphrase.is_none() => CredentialsError::PassphraseMissing,
        Fault::Passphrase => CredentialsError::PassphraseWrong,
    };
    let bags = open(bytes, options.passphrase.unwrap_or_default()).map_err(told)?;
    match (bags.certificates.is_empty(), bags.keys.is_empty()) {
        (false, false) => Ok(bags),
        (true, false) => Err(CredentialsError::P12NoCertificate),
        (false, true) => Err(CredentialsError::P12NoKey),
        (true, true) => Err(CredentialsError::P12Empty),
    }
}

fn open(bytes: &[u8], text: &str) -> Result<Bags, Fault> {
    let mut allowance = Allowance::new();
    let mut file = Reader::new(bytes).enter(SEQUENCE)?;
    if file.number()? != VERSION {
        return Err(Fault::Damaged);
    }
    let mut content = file.enter(SEQUENCE)?;
    // The other kind is signed by a certificate, with no passphrase at all.
    if content.expect(OID)? != DATA {
        return Err(Fault::Algorithm);
    }
    let content = content.enter(EXPLICIT_0)?.expect(OCTET_STRING)?;
    let mut passphrase = Passphrase::new(text);
    if let Some(mac) = file.optional(SEQUENCE)? {
        match verify(Reader::new(mac), content, &passphrase, &mut allowance) {
            // Some programs derive keys from nothing where others do from an empty text.
            Err(Fault::Passphrase) if text.is_empty() => {
                passphrase = Passphrase::absent();
                verify(Reader::new(mac), content, &passphrase, &mut allowance)?;
            }
            verified => verified?,
        }
    }
    let mut bags = Bags::default();
    let mut safes = Reader::new(content).enter(SEQUENCE)?;
    while !safes.is_empty() {
        let mut safe = safes.enter(SEQUENCE)?;
        match safe.expect(OID)? {
            DATA => {
                let plain = safe.enter(EXPLICIT_0)?.expect(OCTET_STRING)?;
                bags.take(plain, &passphrase, &mut allowance)?;
            }
            ENCRYPTED_DATA => {
                let plain = open_safe(safe.enter(EXPLICIT_0)?, &passphrase, &mut allowance)?;
                bags.take(&plain, &passphrase, &mut allowance)?;
            }
            _ => return Err(Fault::Algorithm),
        }
    }
    Ok(bags)
}

/// Verifies that the passphrase is the one that the file was made with (RFC 7292, 4 and A).
fn verify(
    mut mac: Reader<'_>,
    content: &[u8],
    passphrase: &Passphrase<'_>,
    allowance: &mut Allowance,
) -> Result<(), Fault> {
    let mut info = mac.enter(SEQUENCE)?;
    let mut algorithm = info.enter(SEQUENCE)?;
    let expected = info.expect(OCTET_STRING)?;
    let salt = mac.expect(OCTET_STRING)?;
    let iterations = if mac.is_empty() { 1 } else { mac.number()? };
    let iterations = NonZeroU32::new(iterations).ok_or(Fault::Damaged)?;
    let (hash, hmac) = match algorithm.expect(OID)? {
        SHA1 => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        SHA224 => (&digest::SHA224, hmac::HMAC_SHA224),
        SHA256 => (&digest::SHA256, hmac::HMAC_SHA256),
        SHA384 => (&digest::SHA384, hmac::HMAC_SHA384),
        SHA512 => (&digest::SHA512, hmac::HMAC_SHA512),
        _ => return Err(Fault::Algorithm),
    };
    algorithm.optional(NULL)?;
    let bytes = hash.output_len();
    let key = cipher::derive_pkcs12(hash, Use::Mac, &passphrase.wide, salt, iterations, bytes, allowance)?;
    hmac::verify(&hmac::Key::new(hmac, &key), content, expected).map_err(|_| Fault::Passphrase)
}

fn open_safe(
    mut encrypted: Reader<'_>,
    passphrase: &Passphrase<'_>,
    allowance: &mut Allowance,
) -> Result<Vec<u8>, Fault> {
    let mut encrypted = encrypted.enter(SEQUENCE)?;
    encrypted.number()?;
    let mut info = encrypted.enter(SEQUENCE)?;
    info.expect(OID)?;
    let algorithm = info.enter(SEQUENCE)?;
    cipher::open(algorithm, info.expect(IMPLICIT_0)?, passphrase, allowance)
}

impl Bags {
    /// Takes the certificates and keys of a safe; what else there may be in it is passed over.
    fn take(&mut self, safe: &[u8], passphrase: &Passphrase<'_>, allowance: &mut Allowance) -> Result<(), Fault> {
        let mut bags = Reader::new(safe).enter(SEQUENCE)?;
        while !bags.is_empty() {
            let mut bag = bags.enter(SEQUENCE)?;
            let kind = bag.expect(OID)?;
            let mut content = bag.enter(EXPLICIT_0)?;
            bag.optional(SET)?;
            match kind {
                CERTIFICATE_BAG => {
                    let mut certificate = content.enter(SEQUENCE)?;
                    if certificate.expect(OID)? == X509_CERTIFICATE {
                        let der = certificate.enter(EXPLICIT_0)?.expect(OCTET_STRING)?;
                        self.certificates.push(der.to_vec().into());
                    }
                }
                KEY_BAG => self.keys.push(key(content.whole_sequence()?.to_vec())),
                SHROUDED_KEY_BAG => {
                    self.keys.push(key(cipher::open_key(content.whole_sequence()?, passphrase, allowance)?))
                }
                _ => (),
            }
        }
        Ok(())
    }
}

fn key(pkcs8: Vec<u8>) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(pkcs8.into())
}
