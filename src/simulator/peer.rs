//! What a client's certificate says about it.

use std::net::SocketAddr;

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, FromDer as _, Oid, Sequence, Utf8String, oid};
use x509_parser::certificate::X509Certificate;

use super::journal::entry::{Event, Service};
use crate::domain::token::token_hex;

const DEVELOPMENT: Oid<'static> = oid!(1.2.840.113635.100.6.3.1);
const PRODUCTION: Oid<'static> = oid!(1.2.840.113635.100.6.3.2);
const TOPICS: Oid<'static> = oid!(1.2.840.113635.100.6.3.6);
const UID: Oid<'static> = oid!(0.9.2342.19200300.100.1.1);

/// The environment that the gateways play. A certificate that is not made for it passes the handshake; then the binary
/// gateway closes at once, as Apple's did, and the HTTP/2 provider API answers BadCertificateEnvironment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatewayEnvironment {
    /// The sandbox: extension 1.2.840.113635.100.6.3.1 is needed.
    Development,
    /// Production: extension 1.2.840.113635.100.6.3.2 is needed.
    Production,
    /// Either will do.
    #[default]
    Both,
}

/// Who connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer {
    /// Common name.
    pub(super) subject: String,
    /// Bundle id.
    pub(super) uid: String,
    /// What extension 1.2.840.113635.100.6.3.6 lists.
    pub(super) topics: Vec<String>,
    /// Which connections belong together: all with the same leaf.
    pub(super) leaf: Vec<u8>,
    pub(super) development: bool,
    pub(super) production: bool,
}

impl Peer {
    /// Reads the leaf of a chain that was verified; what it lacks stays empty.
    pub(super) fn of(leaf: &CertificateDer<'_>) -> Self {
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) else { return Self::default() };
        let (development, production) = (has(&certificate, &DEVELOPMENT), has(&certificate, &PRODUCTION));
        // With a topic list but neither of the two, it is taken for universal.
        let universal = has(&certificate, &TOPICS) && !development && !production;
        let subject = certificate.subject();
        let common_name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
        let uid = subject.iter_by_oid(&UID).next().and_then(|uid| uid.as_str().ok());
        Self {
            subject: common_name.unwrap_or_default().to_owned(),
            uid: uid.unwrap_or_default().to_owned(),
            topics: extension(&certificate, &TOPICS).map(topics).unwrap_or_default(),
            leaf: leaf.to_vec(),
            development: development || universal,
            production: production || universal,
        }
    }

    /// What the journal says when its connection stands.
    pub(super) fn opened(&self, service: Service, from: SocketAddr, tls: &'static str) -> Event {
        let fingerprint = match &self.leaf[..] {
            [] => String::new(),
            leaf => token_hex(digest::digest(&digest::SHA256, leaf).as_ref()),
        };
        Event::Opened { service, peer: from, tls, subject: self.subject.clone(), fingerprint }
    }

    /// Whether its certificate is made for an environment.
    pub(super) fn suits(&self, environment: GatewayEnvironment) -> bool {
        match environment {
            GatewayEnvironment::Development => self.development,
            GatewayEnvironment::Production => self.production,
            GatewayEnvironment::Both => self.development || self.production,
        }
    }
}

fn has(certificate: &X509Certificate<'_>, oid: &Oid<'_>) -> bool {
    extension(certificate, oid).is_some()
}

fn extension<'a>(certificate: &'a X509Certificate<'_>, oid: &Oid<'_>) -> Option<&'a [u8]> {
    certificate.extensions().iter().find(|found| found.oid == *oid).map(|found| found.value)
}

/// The names of a topic list: SEQUENCE of alternating UTF8String topic and SEQUENCE of its kinds.
fn topics(der: &[u8]) -> Vec<String> {
    let Ok((_, list)) = Sequence::from_der(der) else { return Vec::new() };
    let mut rest: &[u8] = &list.content;
    let mut topics = Vec::new();
    while let Ok((behind, item)) = Any::from_der(rest) {
        topics.extend(Utf8String::try_from(item).map(|topic| topic.string()));
        rest = behind;
    }
    topics
}
