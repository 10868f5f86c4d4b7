//! PEM text: which blocks it has, and the one certificate and key in them that belong together.
//!
//! Tolerant of what people paste: text around the blocks, CRLF, indentation, blocks without a line break between them,
//! key before or after the chain, chain in any order.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::cipher::{self, Allowance, Fault, Passphrase};
use super::error::CredentialsError;
use super::identity::pair;
use super::provider_key::ProviderKey;
use super::{CredentialOptions, Credentials};

/// What begins a block.
pub(crate) const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// Finds the certificate and key of a PEM text, or the `.p8` key that it is.
pub(crate) fn parse(text: &[u8], options: &CredentialOptions<'_>) -> Result<Credentials, CredentialsError> {
    let blocks = blocks(text)?;
    let mut certificates = Vec::new();
    let mut keys = Vec::new();
    let mut requested = false;
    let mut allowance = Allowance::new();
    for block in blocks {
        let kind: fn(Vec<u8>) -> PrivateKeyDer<'static> = match block.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => {
                certificates.push(CertificateDer::from(block.der));
                continue;
            }
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => {
                requested = true;
                continue;
            }
            "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => |der| PrivateKeyDer::Pkcs8(der.into()),
            "RSA PRIVATE KEY" => |der| PrivateKeyDer::Pkcs1(der.into()),
            "EC PRIVATE KEY" => |der| PrivateKeyDer::Sec1(der.into()),
            _ => continue,
        };
        keys.push(kind(block.open(options.passphrase, &mut allowance)?));
    }
    match (certificates.is_empty(), keys.as_slice()) {
        (true, _) if requested => Err(CredentialsError::SigningRequest),
        (true, [key, ..]) if keys.iter().all(is_p256) => {
            ProviderKey::new(key.secret_der(), options).map(Credentials::ProviderKey)
        }
        (true, [_, ..]) if options.key_id.is_some() => Err(CredentialsError::BadProviderKey),
        (true, _) => Err(CredentialsError::NoCertificate),
        (false, []) => Err(CredentialsError::NoKey),
        (false, [_, ..]) => match pair(certificates, keys) {
            Err(CredentialsError::KeyMismatch { subject }) if options.key_id.is_some() => {
                Err(CredentialsError::KeyBesideCertificate { subject })
            }
            paired => paired.map(Credentials::Certificate),
        },
    }
}

/// A block, without the text around it.
struct Block {
    label: String,
    /// `DEK-Info` of a block that old OpenSSL encrypted (RFC 1421, 4.6.1.3).
    encryption: Option<String>,
    der: Vec<u8>,
}

impl Block {
    /// Its content, without the encryption that it may have in either of two forms.
    fn open(self, passphrase: Option<&str>, allowance: &mut Allowance) -> Result<Vec<u8>, CredentialsError> {
        let is_pkcs8 = self.label == "ENCRYPTED PRIVATE KEY";
        if !is_pkcs8 && self.encryption.is_none() {
            return Ok(self.der);
        }
        let passphrase = passphrase.ok_or(CredentialsError::PassphraseMissing)?;
        let opened = match &self.encryption {
            Some(info) => cipher::open_traditional(info, &self.der, passphrase),
            None => cipher::open_key(&self.der, &Passphrase::new(passphrase), allowance),
        };
        opened.map_err(|fault| match fault {
            Fault::Ber | Fault::Damaged => CredentialsError::BrokenBlock(self.label),
            Fault::Algorithm => CredentialsError::KeyAlgorithm,
            Fault::Iterations => CredentialsError::TooManyIterations(cipher::ITERATIONS_MAX),
            Fault::Passphrase => CredentialsError::PassphraseWrong,
        })
    }
}

fn blocks(mut text: &[u8]) -> Result<Vec<Block>, CredentialsError> {
    let mut blocks = Vec::new();
    while let Some((_, rest)) = split_once(text, BEGIN) {
        let line_end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
        let Some((label, rest)) = split_once(rest, DASHES).filter(|(label, _)| label.len() <= line_end) else {
            return Err(CredentialsError::BrokenBlock("BEGIN".to_owned()));
        };
        let label = String::from_utf8_lossy(label).chars().filter(|c| !c.is_control()).take(64).collect::<String>();
        let broken = || CredentialsError::BrokenBlock(label.clone());
        let end = [END, label.as_bytes(), DASHES].concat();
        let (body, rest) = split_once(rest, &end).ok_or_else(broken)?;
        let (encryption, body) = without_headers(body);
        let der = decode(body).ok_or_else(broken)?;
        blocks.push(Block { label, encryption, der });
        text = rest;
    }
    Ok(blocks)
}

fn split_once<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memmem::find(text, separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

/// The `DEK-Info` of a block, and what follows its headers: base64 has no colon.
fn without_headers(body: &[u8]) -> (Option<String>, &[u8]) {
    let Some(colon) = memchr::memrchr(b':', body) else { return (None, body) };
    let end = memchr::memchr(b'\n', &body[colon..]).map_or(body.len(), |at| colon + at);
    let (headers, body) = body.split_at(end);
    let headers = String::from_utf8_lossy(headers);
    let info = headers.lines().find_map(|line| line.trim().strip_prefix("DEK-Info:"));
    (info.map(|info| info.trim().to_owned()), body)
}

fn decode(body: &[u8]) -> Option<Vec<u8>> {
    let base64: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(base64).ok().filter(|der| !der.is_empty())
}

fn is_p256(key: &PrivateKeyDer<'_>) -> bool {
    // Apple's .p8 is a PKCS#8 key on P-256, named by its OID 1.2.840.10045.3.1.7.
    const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    matches!(key, PrivateKeyDer::Pkcs8(_)) && memmem::find(key.secret_der(), P256).is_some()
}
