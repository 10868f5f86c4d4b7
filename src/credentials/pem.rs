//! PEM text: which blocks it has, and the one certificate and key in them that belong together.
//!
//! Tolerant of what people paste: text around the blocks, CRLF, indentation, blocks without a line break between them,
//! key before or after the chain, chain in any order.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use rustls::crypto::aws_lc_rs::sign;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::certificate::facts;
use super::error::CredentialsError;
use super::provider_key::ProviderKey;
use super::{CredentialOptions, Credentials, Identity};

/// What begins a block.
pub(crate) const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// Finds the certificate and key of a PEM text, or the `.p8` key that it is.
pub(crate) fn parse(text: &[u8], options: &CredentialOptions<'_>) -> Result<Credentials, CredentialsError> {
    let blocks = blocks(text)?;
    let mut certificates = Vec::new();
    let mut keys = Vec::new();
    let mut encrypted = false;
    let mut requested = false;
    for block in blocks {
        match block.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => certificates.push(CertificateDer::from(block.der)),
            _ if block.encrypted => encrypted = true,
            "PRIVATE KEY" => keys.push(PrivateKeyDer::Pkcs8(block.der.into())),
            "RSA PRIVATE KEY" => keys.push(PrivateKeyDer::Pkcs1(block.der.into())),
            "EC PRIVATE KEY" => keys.push(PrivateKeyDer::Sec1(block.der.into())),
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => requested = true,
            _ => (),
        }
    }
    match (certificates.is_empty(), keys.as_slice()) {
        (true, _) if requested => Err(CredentialsError::SigningRequest),
        (true, [key, ..]) if keys.iter().all(is_p256) => {
            ProviderKey::new(key.secret_der(), options).map(Credentials::ProviderKey)
        }
        (_, []) if encrypted => Err(CredentialsError::EncryptedKey),
        (true, _) => Err(CredentialsError::NoCertificate),
        (false, []) => Err(CredentialsError::NoKey),
        (false, [_, ..]) => pair(certificates, keys).map(Credentials::Certificate),
    }
}

/// A block, without the text around it.
struct Block {
    label: String,
    /// Has a passphrase, in either of the two forms (RFC 7468 label, RFC 1421 header). Its content is not decoded then.
    encrypted: bool,
    der: Vec<u8>,
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
        let encrypted = label == "ENCRYPTED PRIVATE KEY" || memmem::find(body, b"Proc-Type: 4,ENCRYPTED").is_some();
        let der = if encrypted { Vec::new() } else { decode(body).ok_or_else(broken)? };
        blocks.push(Block { label, encrypted, der });
        text = rest;
    }
    Ok(blocks)
}

fn split_once<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memmem::find(text, separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
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

/// The certificate and key that belong together; what is left of the certificates becomes the chain.
fn pair(
    mut certificates: Vec<CertificateDer<'static>>,
    keys: Vec<PrivateKeyDer<'static>>,
) -> Result<Identity, CredentialsError> {
    let first = facts(certificates.first().ok_or(CredentialsError::NoCertificate)?)?;
    let mut usable = false;
    for key in keys {
        let Ok(signing_key) = sign::any_supported_type(&key) else { continue };
        usable = true;
        let leaf = certificates.iter().position(|certificate| belongs(certificate, &signing_key));
        if let Some(leaf) = leaf {
            let leaf = certificates.remove(leaf);
            let certificate = facts(&leaf)?;
            let fingerprint = fingerprint(&leaf, &key);
            return Ok(Identity { chain: chain(leaf, certificates)?, key, fingerprint, certificate });
        }
    }
    match usable {
        true => Err(CredentialsError::KeyMismatch { subject: first.subject }),
        false => Err(CredentialsError::UnusableKey),
    }
}

/// The check that TLS itself makes before it presents the pair.
fn belongs(certificate: &CertificateDer<'static>, key: &Arc<dyn SigningKey>) -> bool {
    CertifiedKey::new(vec![certificate.clone()], Arc::clone(key)).keys_match().is_ok()
}

/// Leaf first, then each certificate's issuer (RFC 5246, 7.4.2), then what belongs to none.
fn chain(
    leaf: CertificateDer<'static>,
    mut others: Vec<CertificateDer<'static>>,
) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    others.retain(|other| *other != leaf);
    let mut issuer = names(&leaf)?.issuer;
    let mut chain = vec![leaf];
    while !others.is_empty() {
        let mut next = None;
        for (at, other) in others.iter().enumerate() {
            let names = names(other)?;
            if names.subject == issuer {
                next = Some((at, names.issuer));
                break;
            }
        }
        let Some((at, next_issuer)) = next else { break };
        chain.push(others.remove(at));
        issuer = next_issuer;
    }
    chain.append(&mut others);
    Ok(chain)
}

/// Distinguished names in DER.
struct Names {
    subject: Vec<u8>,
    issuer: Vec<u8>,
}

fn names(certificate: &CertificateDer<'_>) -> Result<Names, CredentialsError> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| CredentialsError::BadCertificate)?;
    Ok(Names { subject: certificate.subject().as_raw().to_vec(), issuer: certificate.issuer().as_raw().to_vec() })
}

fn fingerprint(leaf: &CertificateDer<'_>, key: &PrivateKeyDer<'_>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(leaf);
    context.update(key.secret_der());
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}
