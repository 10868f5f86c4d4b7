//! The other end for tests: a TLS server whose every byte the test decides on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::clock::Clock;
use crate::credentials::{CertificateFacts, Credentials, Identity};
use crate::domain::app::{Address, AppId, Environment};
use crate::domain::time::Timestamp;
use crate::gateway::{Gateway, Route, Settings};

/// A server with its own authority, which also signs the client certificates that it accepts.
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    config: Arc<ServerConfig>,
    /// Where the authority's certificate lies.
    ca: PathBuf,
    credentials: Arc<Credentials>,
    directory: tempfile::TempDir,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Who signs what, and until when it is valid: each test spoils at most one of these.
pub(crate) struct Options {
    pub(crate) version: &'static SupportedProtocolVersion,
    pub(crate) server_name: &'static str,
    pub(crate) client_expired: bool,
    pub(crate) client_of_other_authority: bool,
    pub(crate) server_of_other_authority: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: &rustls::version::TLS13,
            server_name: "127.0.0.1",
            client_expired: false,
            client_of_other_authority: false,
            server_of_other_authority: false,
        }
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let (ours, other) = (authority("ours"), authority("other"));
        let signs_client = if options.client_of_other_authority { &other } else { &ours };
        let signs_server = if options.server_of_other_authority { &other } else { &ours };

        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, ours.pem()).unwrap();

        let mut roots = RootCertStore::empty();
        roots.add(ours.der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([options.server_name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, signs_server).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[options.version])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], private_key(&key))
            .unwrap();
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            config: Arc::new(config),
            ca,
            credentials: Arc::new(Credentials::Certificate(identity(signs_client, options.client_expired))),
            directory,
        }
    }

    /// Accepts one connection.
    pub(crate) async fn accept(&self) -> TlsStream<TcpStream> {
        let (tcp, _) = self.listener.accept().await.unwrap();
        // So that a reset right behind some bytes does not find them still here.
        tcp.set_nodelay(true).unwrap();
        TlsAcceptor::from(self.config.clone()).accept(tcp).await.unwrap()
    }

    /// A TLS session whose bytes the test moves itself.
    pub(crate) fn session(&self) -> rustls::ServerConnection {
        rustls::ServerConnection::new(self.config.clone()).unwrap()
    }

    pub(crate) fn address(&self) -> String {
        format!("binary://{}", self.listener.local_addr().unwrap())
    }

    /// The way here, as gateway and as feedback service.
    pub(crate) fn route(&self) -> Route {
        let environment = Environment {
            name: "test".into(),
            gateway: Address::parse(&self.address()).unwrap(),
            feedback: Some(Address::parse(&self.address()).unwrap()),
            ca: Some(self.ca.clone()),
            proxy: None,
        };
        Route {
            app: AppId::parse("myapp").unwrap(),
            environment: Arc::new(environment),
            credentials: self.credentials.clone(),
            connect_timeout: Duration::from_secs(10),
            topic: None,
            connections: 1,
            meter: Arc::default(),
        }
    }

    /// A file beside the authority's certificate.
    pub(crate) fn write_file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A gateway that begins to connect here and settles what is silent for a long time.
    pub(crate) fn patient_gateway(&self) -> Gateway {
        self.gateway(Settings { settle_after: Duration::from_secs(60), ..Settings::default() })
    }

    /// A gateway that begins to connect here.
    pub(crate) fn gateway(&self, settings: Settings) -> Gateway {
        let mut gateway = Gateway::new(self.route(), &settings.into(), Clock::system()).unwrap();
        gateway.connect();
        gateway
    }
}

fn identity(authority: &Authority, is_expired: bool) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    if is_expired {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let certificate = params.signed_by(&key, authority).unwrap();
    let facts = CertificateFacts {
        subject: "Apple Push Services: com.example.app".to_owned(),
        uid: None,
        topics: Vec::new(),
        team: None,
        not_before: Timestamp::default(),
        not_after: Timestamp::default(),
        development: true,
        production: true,
    };
    Identity {
        chain: vec![certificate.der().clone()],
        key: private_key(&key),
        fingerprint: [0; 32],
        certificate: facts,
    }
}

fn private_key(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(key.serialize_der().into())
}
