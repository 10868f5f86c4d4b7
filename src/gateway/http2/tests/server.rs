//! The other end for tests: a TLS server that reads and writes HTTP/2 frames one by one (RFC 9113, 4 and 6), so that it
//! may behave as badly as a test wants.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::clock::Clock;
use crate::credentials::provider_key::ProviderKey;
use crate::credentials::{CredentialOptions, Credentials};
use crate::domain::app::{Address, AppId, Environment};
use crate::gateway::{Gateway, Route, Settings, Shared};

/// A server with its own authority.
pub(super) struct Server {
    listener: TcpListener,
    config: Arc<ServerConfig>,
    ca: PathBuf,
    _directory: tempfile::TempDir,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::with(&[b"h2"], false).await
    }

    /// A server that knows nothing of HTTP/2.
    pub(super) async fn of_another_protocol() -> Self {
        Self::with(&[], false).await
    }

    /// A server that wants a client certificate.
    pub(super) async fn demanding_certificates() -> Self {
        Self::with(&[b"h2"], true).await
    }

    async fn with(alpn: &[&[u8]], demands_certificates: bool) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let verifier = if demands_certificates { verifier } else { verifier.allow_unauthenticated() };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, config: Arc::new(config), ca, _directory: directory }
    }

    /// Begins a TLS handshake that fails.
    pub(super) async fn refuse_tls(&self) {
        let tcp = self.accept_tcp().await;
        TlsAcceptor::from(self.config.clone()).accept(tcp).await.unwrap_err();
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(super) async fn accept_tcp(&self) -> TcpStream {
        let (tcp, _) = self.listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp
    }

    /// Accepts a connection up to the end of the TLS handshake.
    pub(super) async fn accept_tls(&self) -> TlsStream<TcpStream> {
        let tcp = self.accept_tcp().await;
        TlsAcceptor::from(self.config.clone()).accept(tcp).await.unwrap()
    }

    /// Accepts a connection, says nothing yet.
    pub(super) async fn accept_silently(&self) -> Peer {
        Peer::begin(self.accept_tls().await).await.unwrap()
    }

    /// Accepts a connection that allows so many streams at first, and makes it stand.
    pub(super) async fn accept(&self, limit: u32) -> Peer {
        self.welcome(self.accept_tcp().await, limit).await.unwrap()
    }

    /// Makes a connection stand; `None` where the gateway closes it before.
    pub(super) async fn welcome(&self, tcp: TcpStream, limit: u32) -> Option<Peer> {
        let stream = TlsAcceptor::from(self.config.clone()).accept(tcp).await.ok()?;
        let mut peer = Peer::begin(stream).await?;
        peer.limit(limit).await;
        // The acknowledgement of our SETTINGS and the first PING; answered on the way.
        while peer.frame_or_end().await?.kind != PING {}
        Some(peer)
    }

    pub(super) fn route(&self) -> Route {
        let environment = Environment {
            name: "test".into(),
            gateway: Address::parse(&format!("https://{}", self.address())).unwrap(),
            feedback: None,
            ca: Some(self.ca.clone()),
            proxy: None,
        };
        Route {
            app: AppId::parse("myapp").unwrap(),
            environment: Arc::new(environment),
            credentials: Arc::new(Credentials::ProviderKey(provider_key())),
            connect_timeout: Duration::from_secs(10),
            topic: Some("com.example.app".into()),
            connections: 1,
            meter: Arc::default(),
        }
    }

    /// A gateway that begins to connect here.
    pub(super) fn gateway(&self) -> Gateway {
        self.gateway_with(Settings::default(), 1)
    }

    pub(super) fn gateway_with(&self, settings: Settings, connections: u32) -> Gateway {
        let route = Route { connections, ..self.route() };
        let mut gateway = Gateway::new(route, &Shared::from(settings), Clock::system()).unwrap();
        gateway.connect();
        gateway
    }
}

fn provider_key() -> ProviderKey {
    let options = CredentialOptions { key_id: Some("ABC123DEFG"), team_id: Some("DEF123GHIJ"), passphrase: None };
    ProviderKey::new(&KeyPair::generate().unwrap().serialize_der(), &options).unwrap()
}

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// The server's side of a connection.
pub(super) struct Peer {
    pub(super) stream: TlsStream<TcpStream>,
    read: BytesMut,
    pub(super) answers_pings: bool,
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// Whether it is the end of a request.
    pub(super) fn is_end(&self) -> bool {
        self.kind == DATA && self.flags & END_STREAM != 0
    }
}

impl Peer {
    async fn begin(mut stream: TlsStream<TcpStream>) -> Option<Self> {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.ok()?;
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        Some(Self { stream, read: BytesMut::new(), answers_pings: true })
    }

    /// The next frame, after it was acknowledged where that is due.
    pub(super) async fn frame(&mut self) -> Frame {
        self.frame_or_end().await.expect("the gateway closed")
    }

    /// The next frame; `None` at the end of the connection.
    pub(super) async fn frame_or_end(&mut self) -> Option<Frame> {
        let length = loop {
            match &self.read[..] {
                [a, b, c, rest @ ..] if rest.len() >= 6 + u32::from_be_bytes([0, *a, *b, *c]) as usize => {
                    break u32::from_be_bytes([0, *a, *b, *c]) as usize;
                }
                _ => match self.stream.read_buf(&mut self.read).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => (),
                },
            }
        };
        self.read.advance(3);
        let (kind, flags, stream) = (self.read.get_u8(), self.read.get_u8(), self.read.get_u32());
        let payload = self.read.split_to(length).to_vec();
        let frame = Frame { kind, flags, stream, payload };
        match (frame.kind, frame.flags & ACK) {
            (SETTINGS, 0) => self.write(SETTINGS, ACK, 0, &[]).await,
            (PING, 0) if self.answers_pings => self.write(PING, ACK, 0, &frame.payload).await,
            (DATA, _) => {
                // What was read of the connection's window is given back.
                let length = u32::try_from(frame.payload.len()).unwrap();
                self.write(WINDOW_UPDATE, 0, 0, &length.to_be_bytes()).await;
            }
            _ => (),
        }
        Some(frame)
    }

    pub(super) async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        // What the gateway has closed takes no more.
        if self.stream.write_all(&frame).await.is_ok() {
            self.stream.flush().await.unwrap_or_default();
        }
    }

    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    pub(super) async fn limit(&mut self, limit: u32) {
        let mut payload = vec![0, 3];
        payload.extend(limit.to_be_bytes());
        self.write(SETTINGS, 0, 0, &payload).await;
    }

    /// The streams of so many requests, in the order in which they are whole.
    pub(super) async fn requests(&mut self, count: usize) -> Vec<u32> {
        let mut streams = Vec::new();
        while streams.len() < count {
            let frame = self.frame().await;
            if frame.is_end() {
                streams.push(frame.stream);
            }
        }
        streams
    }

    /// Answers with a status, and a body where there is one.
    pub(super) async fn answer(&mut self, stream: u32, status: u16, body: &str) {
        // Literal without indexing, name 8 of the static table (RFC 7541, 6.2.2): `:status`.
        let mut head = vec![0x08, 3];
        head.extend(status.to_string().bytes());
        let end = if body.is_empty() { END_STREAM } else { 0 };
        self.write(HEADERS, END_HEADERS | end, stream, &head).await;
        if !body.is_empty() {
            self.write(DATA, END_STREAM, stream, body.as_bytes()).await;
        }
    }

    /// Answers with a reason and its status.
    pub(super) async fn refuse(&mut self, stream: u32, reason: crate::domain::apns::ApnsReason) {
        let body = format!(r#"{{"reason":"{}"}}"#, reason.name());
        self.answer(stream, reason.status(), &body).await;
    }

    pub(super) async fn reset(&mut self, stream: u32, code: u32) {
        self.write(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    pub(super) async fn go_away(&mut self, last_stream: u32, code: u32, data: &str) {
        let mut payload = last_stream.to_be_bytes().to_vec();
        payload.extend(code.to_be_bytes());
        payload.extend(data.as_bytes());
        self.write(GOAWAY, 0, 0, &payload).await;
    }
}
