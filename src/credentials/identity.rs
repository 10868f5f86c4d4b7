//! A certificate and a key that belong together, out of whatever a file has of both.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::crypto::aws_lc_rs::sign;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Identity;
use super::certificate::facts;
use super::error::CredentialsError;

/// Most certificates and keys of a file: each of the one is tried with each of the other.
const CERTIFICATES_MAX: usize = 64;
const KEYS_MAX: usize = 16;

/// The certificate and key that belong together; what is left of the certificates becomes the chain.
pub(super) fn pair(
    mut certificates: Vec<CertificateDer<'static>>,
    keys: Vec<PrivateKeyDer<'static>>,
) -> Result<Identity, CredentialsError> {
    if certificates.len() > CERTIFICATES_MAX || keys.len() > KEYS_MAX {
        return Err(CredentialsError::TooMany { certificates: CERTIFICATES_MAX, keys: KEYS_MAX });
    }
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
