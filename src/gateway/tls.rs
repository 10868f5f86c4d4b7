//! The way to a provider: name look-up, TCP, proxy, TLS handshake, and what their failures mean.
//!
//! Knows no protocol above TLS. Every connection resolves the name anew, offers TLS 1.3 and 1.2, shows the app's
//! certificate and verifies the server's.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tracing::{debug, field};

use super::{CloseCause, Route, RouteError, alert, proxy};
use crate::clock::{Clock, Instant};
use crate::credentials::Credentials;
use crate::domain::app::{Address, AppId};
use crate::domain::proxy::Proxy;
use crate::trust::system_roots;

/// A TLS connection to a provider.
pub(super) type Stream = tokio_rustls::client::TlsStream<TcpStream>;

/// How long one address may take before the next one is tried beside it (RFC 8305 recommends 250 ms).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// Where to look when a name cannot be looked up, and when nobody answers.
const LOOK_UP_HINT: &str = "is the host spelt right, and does this machine reach its DNS server?";
const TCP_HINT: &str = "is the address right, and does a firewall let it out?";
/// TCP keep-alive keeps idle connections in the tables of NATs and finds dead ones.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Makes connections to one address as one app.
#[derive(Clone)]
pub(super) struct Connector {
    app: AppId,
    address: Address,
    environment: Arc<str>,
    proxy: Option<Proxy>,
    server: ServerName<'static>,
    tls: TlsConnector,
    connect_timeout: Duration,
    ack_timeout: Duration,
}

impl Connector {
    /// Prepares connections of a route to one of its addresses. A peer that does not acknowledge what was sent to it
    /// within `ack_timeout` is given up. `alpn`: protocols to offer; none is not to mention any.
    pub(super) fn new(
        route: &Route,
        address: &Address,
        alpn: &[&[u8]],
        ack_timeout: Duration,
    ) -> Result<Self, RouteError> {
        let server = ServerName::try_from(address.host.clone()).map_err(|_| RouteError::Host(address.host.clone()))?;
        Ok(Self {
            app: route.app.clone(),
            address: address.clone(),
            environment: route.environment.name.clone(),
            proxy: route.environment.proxy.clone(),
            server,
            tls: TlsConnector::from(Arc::new(client_config(route, alpn)?)),
            connect_timeout: route.connect_timeout,
            ack_timeout,
        })
    }

    /// Bounds attempts that are made from now on.
    pub(super) fn set_connect_timeout(&mut self, connect_timeout: Duration) {
        self.connect_timeout = connect_timeout;
    }

    /// Makes a connection within the route's time-out, and says with which of the host's addresses; of the proxy's where
    /// there is one, which then looks up the gateway's name.
    pub(super) async fn connect(&self, clock: &Clock) -> Result<(Stream, SocketAddr), CloseCause> {
        let deadline = clock.now() + self.connect_timeout;
        let (tcp, peer) = match &self.proxy {
            None => self.connect_tcp(clock, deadline, (&self.address.host, self.address.port), "").await?,
            Some(proxy) => {
                let place = format!("proxy {proxy}: ");
                let (mut tcp, peer) = self.connect_tcp(clock, deadline, (&proxy.host, proxy.port), &place).await?;
                let tunnel = proxy::open_tunnel(&mut tcp, proxy, &self.address);
                let opened = self.within(clock, deadline, &format!("{place}CONNECT"), tunnel).await?;
                opened.map_err(|error| self.unreachable(&format!("proxy {proxy}"), &error))?;
                (tcp, peer)
            }
        };
        let handshake = self.tls.connect(self.server.clone(), tcp);
        let stream = self.within(clock, deadline, "TLS handshake", handshake).await?;
        let stream = stream.map_err(|error| self.handshake_failure(&error))?;
        self.say_established(&stream, peer);
        Ok((stream, peer))
    }

    fn say_established(&self, stream: &Stream, peer: SocketAddr) {
        let session = stream.get_ref().1;
        let version = session.protocol_version().map(field::debug);
        let cipher = session.negotiated_cipher_suite().map(|cipher| field::debug(cipher.suite()));
        debug!(app = %self.app, address = %self.address, %peer, version, cipher, "TLS stands");
    }

    /// Connects to a host. `place` comes before the name of a step that fails.
    async fn connect_tcp(
        &self,
        clock: &Clock,
        deadline: Instant,
        host: (&str, u16),
        place: &str,
    ) -> Result<(TcpStream, SocketAddr), CloseCause> {
        let [look_up, connection] = ["name look-up", "TCP connection"].map(|step| format!("{place}{step}"));
        let addresses = self.within(clock, deadline, &look_up, tokio::net::lookup_host(host)).await?;
        let addresses: Vec<SocketAddr> =
            addresses.map_err(|error| self.unreachable(&look_up, &format!("{error}: {LOOK_UP_HINT}")))?.collect();
        debug!(app = %self.app, host = host.0, ?addresses, "connecting to one of the addresses");
        let tcp = self.within(clock, deadline, &connection, connect_to_any(addresses.into_iter(), clock)).await?;
        let (tcp, peer) = tcp.map_err(|failures| self.unreachable(&connection, &format!("{failures}: {TCP_HINT}")))?;
        configure(&tcp, self.ack_timeout).map_err(|error| self.unreachable("socket options", &error))?;
        Ok((tcp, peer))
    }

    async fn within<T>(
        &self,
        clock: &Clock,
        deadline: Instant,
        step: &str,
        work: impl Future<Output = T>,
    ) -> Result<T, CloseCause> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = clock.sleep_until(Some(deadline)) => {
                let words = format!("not done within {} s", self.connect_timeout.as_secs_f32());
                Err(self.unreachable(step, &words))
            }
        }
    }

    /// The end of an attempt: at which step, and why.
    pub(super) fn unreachable(&self, step: &str, why: &dyn std::fmt::Display) -> CloseCause {
        CloseCause::Unreachable(format!("{}: {step}: {why}", self.address))
    }

    fn handshake_failure(&self, error: &io::Error) -> CloseCause {
        match tls_error(error) {
            Some(rustls::Error::InvalidCertificate(problem)) => self.untrusted(problem),
            Some(rustls::Error::AlertReceived(alert)) if alert::blames_credentials(*alert) => {
                CloseCause::Refused(alert::words(*alert))
            }
            Some(rustls::Error::AlertReceived(alert)) => {
                self.unreachable("TLS handshake", &format!("the gateway sent the alert `{}`", alert::words(*alert)))
            }
            Some(error) => self.unreachable("TLS handshake", error),
            None if is_close(error) => self.unreachable("TLS handshake", &"the gateway closed the connection"),
            None => self.unreachable("TLS handshake", error),
        }
    }

    fn untrusted(&self, problem: &CertificateError) -> CloseCause {
        let Self { address, environment, .. } = self;
        let advice = match problem {
            CertificateError::UnknownIssuer => format!(
                "it is signed by an authority that is not trusted here: set `ca` of [environments.{environment}] to a PEM \
                 file with the authority's certificate"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("{problem}: correct the host in [environments.{environment}], or the server's certificate")
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                format!("{problem}: renew it, or correct this machine's clock")
            }
            problem => format!("{problem}: replace it, or set `ca` of [environments.{environment}]"),
        };
        CloseCause::Untrusted(format!("{address}: the server's certificate cannot be trusted: {advice}"))
    }
}

/// What is written goes out at once, an idle peer is probed, and a peer that does not acknowledge is given up.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "only Linux has such a time-out"))]
fn configure(tcp: &TcpStream, ack_timeout: Duration) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE_AFTER).with_interval(KEEP_ALIVE_EVERY))?;
    // Elsewhere the kernel's own, longer patience applies.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(ack_timeout))?;
    Ok(())
}

/// Connects to the first address that answers. Each next one is tried as soon as one failed, or beside the others
/// when they take long.
async fn connect_to_any(
    addresses: impl Iterator<Item = SocketAddr>,
    clock: &Clock,
) -> Result<(TcpStream, SocketAddr), String> {
    let mut addresses = addresses.peekable();
    let mut attempts = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        match addresses.next() {
            Some(address) => attempts.push(async move { (address, TcpStream::connect(address).await) }),
            None if attempts.is_empty() && failures.is_empty() => return Err("the name has no address".to_owned()),
            None if attempts.is_empty() => return Err(failures.join("; ")),
            None => {}
        }
        tokio::select! {
            Some((address, result)) = attempts.next() => match result {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => failures.push(format!("{address}: {error}")),
            },
            () = clock.sleep(NEXT_ADDRESS_AFTER), if addresses.peek().is_some() => {}
        }
    }
}

fn client_config(route: &Route, alpn: &[&[u8]]) -> Result<ClientConfig, RouteError> {
    let roots = match &route.environment.ca {
        Some(path) => Arc::new(roots_from_file(path)?),
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| RouteError::Credentials(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match &*route.credentials {
        Credentials::Certificate(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(|error| RouteError::Credentials(error.to_string()))?,
        Credentials::ProviderKey(_) => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    // A resumed session skips the certificates; here every connection is to show that they are still accepted.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn roots_from_file(path: &Path) -> Result<RootCertStore, RouteError> {
    let failed = |why: String| RouteError::Ca { path: path.to_owned(), why };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))? {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(failed("it holds no PEM certificate".to_owned())),
        false => Ok(roots),
    }
}

/// What an error on an established connection means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The peer closed or reset it.
    Closed,
    /// The peer refused our credentials, as TLS 1.3 does only after the handshake. The alert's name.
    Refused(String),
    /// The path or the TLS session is broken. In words.
    Lost(String),
}

impl Failure {
    pub(super) fn of(error: &io::Error) -> Self {
        match tls_error(error) {
            Some(rustls::Error::AlertReceived(alert)) if alert::blames_credentials(*alert) => {
                Self::Refused(alert::words(*alert))
            }
            Some(rustls::Error::AlertReceived(alert)) => {
                Self::Lost(format!("the gateway sent the alert `{}`", alert::words(*alert)))
            }
            Some(error) => Self::Lost(error.to_string()),
            None if is_close(error) => Self::Closed,
            None => Self::Lost(error.to_string()),
        }
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Whether an error says that the peer closed the connection, with or without the TLS form of it.
fn is_close(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use rustls::AlertDescription;

    use super::*;

    #[test]
    fn an_error_is_a_close_a_refusal_or_a_lost_path() {
        let tls = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let alert = |alert| tls(rustls::Error::AlertReceived(alert));
        for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe, io::ErrorKind::UnexpectedEof] {
            assert_eq!(Failure::of(&kind.into()), Failure::Closed);
        }
        let expired = alert(AlertDescription::CertificateExpired);
        assert_eq!(Failure::of(&expired), Failure::Refused("certificate expired".into()));
        let internal = alert(AlertDescription::InternalError);
        assert_eq!(Failure::of(&internal), Failure::Lost("the gateway sent the alert `internal error`".into()));
        assert_eq!(Failure::of(&io::ErrorKind::TimedOut.into()), Failure::Lost("timed out".into()));
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_fails() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let clock = Clock::system();
        let (stream, peer) = connect_to_any([closed, open].into_iter(), &clock).await.unwrap();
        assert_eq!((stream.peer_addr().unwrap(), peer), (open, open));
        let failures = connect_to_any([closed].into_iter(), &clock).await.unwrap_err();
        assert!(failures.starts_with(&format!("{closed}: Connection refused")), "{failures}");
        assert_eq!(connect_to_any([].into_iter(), &clock).await.unwrap_err(), "the name has no address");
    }
}
