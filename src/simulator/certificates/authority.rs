//! Issues certificates: what Apple's push certificates look like, and what a gateway shows.
//!
//! Names and extensions of a push certificate: subject UID = bundle id, OU = team id, 1.2.840.113635.100.6.3.1
//! (development) and .2 (production) = DER NULL, .6 = topics, each a name and its kinds.

use std::fmt;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::simulator::SimulatorError;

const OID_UID: &[u64] = &[0, 9, 2342, 19_200_300, 100, 1, 1];
const OID_DEVELOPMENT: &[u64] = &[1, 2, 840, 113_635, 100, 6, 3, 1];
const OID_PRODUCTION: &[u64] = &[1, 2, 840, 113_635, 100, 6, 3, 2];
const OID_TOPICS: &[u64] = &[1, 2, 840, 113_635, 100, 6, 3, 6];
const DER_NULL: [u8; 2] = [0x05, 0x00];
const TEAM_ID: &str = "SIMULATOR1";

/// Signs certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new one with a new key.
    pub(super) fn new(name: &str, validity: Validity) -> Result<Self, SimulatorError> {
        let key = KeyPair::generate()?;
        let mut params = authority_params(name);
        validity.apply(&mut params);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem })
    }

    /// An earlier run's; `None` when the texts cannot be read or do not belong together.
    pub(super) fn from_pem(certificate_pem: &str, key_pem: &str) -> Option<Self> {
        let key = KeyPair::from_pem(key_pem).ok()?;
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return None;
        }
        let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
        Some(Self { issuer: Issuer::new(authority_params(name), key), certificate_pem: certificate_pem.to_owned() })
    }

    /// Its own certificate.
    pub(super) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its own key.
    pub(super) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A client certificate and its key, as one PEM text.
    pub(super) fn issue(&self, leaf: &Leaf) -> Result<String, SimulatorError> {
        let key = KeyPair::generate()?;
        Ok(self.sign(leaf, &key)? + &key.serialize_pem())
    }

    /// A client certificate and a key that is not its own.
    pub(super) fn issue_mismatched(&self, leaf: &Leaf) -> Result<String, SimulatorError> {
        Ok(self.sign(leaf, &KeyPair::generate()?)? + &KeyPair::generate()?.serialize_pem())
    }

    fn sign(&self, leaf: &Leaf, key: &KeyPair) -> Result<String, SimulatorError> {
        Ok(leaf.params().signed_by(key, &self.issuer)?.pem())
    }

    /// A server certificate for these names and addresses.
    pub(super) fn issue_server(
        &self,
        names: Vec<String>,
        validity: Validity,
    ) -> Result<ServerIdentity, SimulatorError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        validity.apply(&mut params);
        params.distinguished_name.push(DnType::CommonName, "apnsd simulator gateway");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        Ok(ServerIdentity { certificate, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() })
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// From when until when a certificate is valid, as time since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validity {
    pub(super) from: Duration,
    pub(super) until: Duration,
}

impl Validity {
    fn apply(self, params: &mut CertificateParams) {
        params.not_before = date_time_ymd(1970, 1, 1) + self.from;
        params.not_after = date_time_ymd(1970, 1, 1) + self.until;
    }
}

/// What a gateway shows to its clients.
pub(in crate::simulator) struct ServerIdentity {
    /// Its certificate; the authority's own is not sent.
    pub(in crate::simulator) certificate: CertificateDer<'static>,
    /// The certificate's key.
    pub(in crate::simulator) key: PrivateKeyDer<'static>,
}

/// A client certificate to be issued.
pub(super) struct Leaf {
    bundle_id: String,
    development: bool,
    production: bool,
    validity: Validity,
}

impl Leaf {
    /// For both environments.
    pub(super) fn universal(bundle_id: &str, validity: Validity) -> Self {
        Self { bundle_id: bundle_id.to_owned(), development: true, production: true, validity }
    }

    /// For the sandbox only.
    pub(super) fn development_only(self) -> Self {
        Self { production: false, ..self }
    }

    /// For production only.
    pub(super) fn production_only(self) -> Self {
        Self { development: false, ..self }
    }

    /// With another validity.
    pub(super) fn valid(self, validity: Validity) -> Self {
        Self { validity, ..self }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        self.validity.apply(&mut params);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let kind = match (self.development, self.production) {
            (true, false) => "Apple Development IOS Push Services",
            (false, true) => "Apple Production IOS Push Services",
            (true, true) | (false, false) => "Apple Push Services",
        };
        // Built anew: the default has a common name, and the UID comes first in Apple's certificates.
        let mut name = DistinguishedName::new();
        name.push(DnType::CustomDnType(OID_UID.to_vec()), &self.bundle_id);
        name.push(DnType::CommonName, format!("{kind}: {}", self.bundle_id));
        name.push(DnType::OrganizationalUnitName, TEAM_ID);
        params.distinguished_name = name;
        let flags = [(self.development, OID_DEVELOPMENT), (self.production, OID_PRODUCTION)];
        for (_, oid) in flags.into_iter().filter(|(wanted, _)| *wanted) {
            params.custom_extensions.push(CustomExtension::from_oid_content(oid, DER_NULL.to_vec()));
        }
        params.custom_extensions.push(CustomExtension::from_oid_content(OID_TOPICS, topics(&self.bundle_id)));
        params
    }
}

/// SEQUENCE of alternating UTF8String topic and SEQUENCE { UTF8String kind }.
fn topics(bundle_id: &str) -> Vec<u8> {
    let mut list = Vec::new();
    for (suffix, kind) in [("", "app"), (".voip", "voip"), (".complication", "complication")] {
        list.extend(der(0x0c, format!("{bundle_id}{suffix}").as_bytes()));
        list.extend(der(0x30, &der(0x0c, kind.as_bytes())));
    }
    der(0x30, &list)
}

/// One DER value: tag, definite length, content. Content is at most 65,535 bytes.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut out = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        (_, _) => vec![tag, 0x82, high, low],
    };
    out.extend_from_slice(content);
    out
}
