//! The server's side of TLS 1.2 and 1.3, with the faults that a handshake can have. Clients of the binary gateway show a
//! certificate, those of the HTTP/2 provider API may; it is verified against the simulator's own authority. Sessions are not resumed, so that every connection is judged anew.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ProtocolVersion, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::SimulatorError;
use super::certificates::{Certificates, ServerIdentity};
use super::peer::Peer;
use super::script::fault::{Alert, ConnectFault, ServerCertificate, TlsVersion};
use super::socket;
use crate::clock::Clock;
use crate::domain::time::Timestamp;

/// Longest handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(30);
/// Most that TLS adds to the plaintext of a record, as rustls counts it.
const RECORD_HEAD: usize = 5;

/// How a handshake is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Handshake {
    pub(super) alert: Option<Alert>,
    pub(super) certificate: Option<ServerCertificate>,
    pub(super) version: Option<TlsVersion>,
    pub(super) tickets: u16,
    pub(super) key_updates: u16,
    pub(super) record_size: Option<u16>,
}

impl Handshake {
    /// Takes over a fault, if it is one of the handshake.
    pub(super) fn shape(&mut self, fault: &ConnectFault) {
        match fault {
            ConnectFault::Alert(alert) => self.alert = Some(*alert),
            ConnectFault::ServerCertificate(certificate) => self.certificate = Some(*certificate),
            ConnectFault::TlsVersion(version) => self.version = Some(*version),
            ConnectFault::SessionTickets(count) => self.tickets = *count,
            ConnectFault::KeyUpdates(count) => self.key_updates = *count,
            ConnectFault::RecordSize(size) => self.record_size = Some(*size),
            ConnectFault::AcceptNothing
            | ConnectFault::Stall
            | ConnectFault::ConnectionsMax(_)
            | ConnectFault::Block { .. } => (),
        }
    }
}

/// What is spoken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// The binary protocols: with a client certificate, without ALPN.
    Binary,
    /// HTTP/2: ALPN `h2` is required; the client certificate may be left away.
    Http2,
}

/// ALPN's name of HTTP/2 over TLS (RFC 9113, 3.2).
const H2: &[u8] = b"h2";

/// Makes TLS connections out of TCP connections.
#[derive(Debug)]
pub(super) struct Tls {
    inside: Inside,
    clock: Clock,
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    certificates: Arc<Certificates>,
    addresses: Vec<IpAddr>,
    correct: Arc<ServerConfig>,
}

impl Tls {
    /// A server for loopback and these addresses.
    pub(super) fn new(
        inside: Inside,
        certificates: Arc<Certificates>,
        addresses: Vec<IpAddr>,
        clock: Clock,
    ) -> Result<Self, SimulatorError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(certificates.ca.pem.as_bytes());
        roots.add(ca.map_err(|error| rustls::Error::General(error.to_string()))?)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = match inside {
            Inside::Binary => verifier.build(),
            Inside::Http2 => verifier.allow_unauthenticated().build(),
        };
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        let identity = certificates.server(None, &addresses)?;
        let correct = config(inside, &provider, &clock, &verifier, identity, &Handshake::default())?;
        Ok(Self { inside, clock, provider, verifier, certificates, addresses, correct })
    }

    /// Shakes hands. An error is in words.
    pub(super) async fn accept(
        &self,
        tcp: TcpStream,
        handshake: &Handshake,
    ) -> Result<(TlsStream<TcpStream>, Peer), String> {
        let config = self.config(handshake).map_err(|error| error.to_string())?;
        let accept = TlsAcceptor::from(config).accept(tcp).into_fallible();
        let mut stream = match tokio::time::timeout(HANDSHAKE_MAX, accept).await {
            Ok(Ok(stream)) => stream,
            Ok(Err((error, tcp))) => {
                // The client must be able to read the alert before the kernel answers its bytes with a reset.
                socket::close_and_drain(tcp, &self.clock).await;
                return Err(error.to_string());
            }
            Err(_) => return Err(format!("no handshake within {} s", HANDSHAKE_MAX.as_secs())),
        };
        if self.inside == Inside::Http2 && stream.get_ref().1.alpn_protocol() != Some(H2) {
            return Err("the client does not speak HTTP/2: no ALPN `h2`".to_owned());
        }
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let peer = leaf.map(Peer::of).unwrap_or_default();
        update_keys(&mut stream, handshake.key_updates).await.map_err(|error| error.to_string())?;
        Ok((stream, peer))
    }

    fn config(&self, handshake: &Handshake) -> Result<Arc<ServerConfig>, SimulatorError> {
        if *handshake == Handshake::default() {
            return Ok(Arc::clone(&self.correct));
        }
        let identity = self.certificates.server(handshake.certificate, &self.addresses)?;
        let verifier: Arc<dyn ClientCertVerifier> = match handshake.alert {
            Some(alert) => Arc::new(Refusing { inner: Arc::clone(&self.verifier), alert }),
            None => Arc::clone(&self.verifier),
        };
        config(self.inside, &self.provider, &self.clock, &verifier, identity, handshake)
    }
}

/// The version of a connection, as people write it.
pub(super) fn version(stream: &TlsStream<TcpStream>) -> &'static str {
    match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    }
}

fn config(
    inside: Inside,
    provider: &Arc<CryptoProvider>,
    clock: &Clock,
    verifier: &Arc<dyn ClientCertVerifier>,
    identity: ServerIdentity,
    handshake: &Handshake,
) -> Result<Arc<ServerConfig>, SimulatorError> {
    let versions: &[&SupportedProtocolVersion] = match handshake.version {
        None => &[&rustls::version::TLS12, &rustls::version::TLS13],
        Some(TlsVersion::V1_2) => &[&rustls::version::TLS12],
        Some(TlsVersion::V1_3) => &[&rustls::version::TLS13],
    };
    let time = Arc::new(WallClock(clock.clone()));
    let mut config = ServerConfig::builder_with_details(Arc::clone(provider), time)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(Arc::clone(verifier))
        .with_single_cert(vec![identity.certificate], identity.key)?;
    if inside == Inside::Http2 {
        config.alpn_protocols = vec![H2.to_vec()];
    }
    config.session_storage = match handshake.tickets {
        0 => Arc::new(NoServerSessionStorage {}),
        count => ServerSessionMemoryCache::new(usize::from(count)),
    };
    config.send_tls13_tickets = usize::from(handshake.tickets);
    config.max_tls13_tickets = usize::from(handshake.tickets);
    config.max_fragment_size = handshake.record_size.map(|size| usize::from(size) + RECORD_HEAD);
    Ok(Arc::new(config))
}

async fn update_keys(stream: &mut TlsStream<TcpStream>, count: u16) -> io::Result<()> {
    if version(stream) == "TLSv1.2" {
        return Ok(());
    }
    for _ in 0..count {
        stream.get_mut().1.refresh_traffic_keys().map_err(io::Error::other)?;
        stream.flush().await?;
    }
    Ok(())
}

/// The product's wall clock, as rustls asks for it.
#[derive(Debug)]
struct WallClock(Clock);

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.timestamp().since(Timestamp::default())))
    }
}

/// Refuses every client certificate with one alert.
#[derive(Debug)]
struct Refusing {
    inner: Arc<dyn ClientCertVerifier>,
    alert: Alert,
}

impl ClientCertVerifier for Refusing {
    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Err(rustls::Error::InvalidCertificate(match self.alert {
            Alert::Expired => CertificateError::Expired,
            Alert::UnknownCa => CertificateError::UnknownIssuer,
            Alert::Revoked => CertificateError::Revoked,
            Alert::BadCertificate => CertificateError::BadEncoding,
        }))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
