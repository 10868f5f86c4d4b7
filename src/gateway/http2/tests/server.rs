//! The other end for tests: a TLS server that speaks HTTP/2 and answers when the test says so.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{self, Connection};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Exchange;
use crate::clock::Clock;
use crate::credentials::provider_key::ProviderKey;
use crate::credentials::{CredentialOptions, Credentials};
use crate::domain::app::{Address, AppId, Environment};
use crate::gateway::{Gateway, Route, Settings};

/// A server with its own authority.
pub(super) struct Server {
    listener: TcpListener,
    config: Arc<ServerConfig>,
    ca: PathBuf,
    _directory: tempfile::TempDir,
}

/// The server's side of a connection. `None` once the test has cut it.
pub(super) struct Peer(pub(super) Option<Connection<TlsStream<TcpStream>, Bytes>>);

impl Server {
    pub(super) async fn start() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, config: Arc::new(config), ca, _directory: directory }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Accepts a connection up to the end of the TLS handshake.
    pub(super) async fn accept_tls(&self) -> TlsStream<TcpStream> {
        let (tcp, _) = self.listener.accept().await.unwrap();
        tcp.set_nodelay(true).unwrap();
        TlsAcceptor::from(self.config.clone()).accept(tcp).await.unwrap()
    }

    /// Accepts a connection that allows so many streams at first.
    pub(super) async fn accept(&self, limit: u32) -> Peer {
        let stream = self.accept_tls().await;
        let connection = server::Builder::new().max_concurrent_streams(limit).handshake(stream).await.unwrap();
        Peer(Some(connection))
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
        }
    }

    /// A gateway that begins to connect here.
    pub(super) fn gateway(&self) -> Gateway {
        self.gateway_with(Settings::default(), 1)
    }

    pub(super) fn gateway_with(&self, settings: Settings, connections: u32) -> Gateway {
        let route = Route { connections, ..self.route() };
        let mut gateway = Gateway::new(route, &settings.into(), Clock::system()).unwrap();
        gateway.connect();
        gateway
    }
}

fn provider_key() -> ProviderKey {
    let options = CredentialOptions { key_id: Some("ABC123DEFG"), team_id: Some("DEF123GHIJ"), passphrase: None };
    ProviderKey::new(&KeyPair::generate().unwrap().serialize_der(), &options).unwrap()
}

impl Peer {
    /// The next request.
    pub(super) async fn request(&mut self) -> Exchange {
        self.0.as_mut().unwrap().accept().await.unwrap().unwrap()
    }

    /// So many requests; of those the peer has not opened fewer before.
    pub(super) async fn requests(&mut self, count: usize) -> Vec<Exchange> {
        let mut requests = Vec::new();
        while requests.len() < count {
            requests.push(self.request().await);
        }
        requests
    }

    /// Moves frames, for ever; requests are not wanted.
    pub(super) async fn run(&mut self) {
        if let Some(connection) = &mut self.0 {
            let end = std::future::poll_fn(|cx| match connection.poll_closed(cx) {
                Poll::Ready(end) => Poll::Ready(end),
                Poll::Pending => Poll::Pending,
            });
            drop(end.await);
        }
        std::future::pending::<()>().await;
    }
}
