//! A simulator of its own for each test, and a TLS client that writes and reads literal bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use apnsd::clock::Clock;
use apnsd::shutdown::Shutdown;
use apnsd::simulator::journal::entry::{Event, Summary, Verdict};
use apnsd::simulator::script::Command;
use apnsd::simulator::{Settings, Simulator};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long a test waits for an event before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens in time")
}

/// Bytes written as hex digits; anything else between them is ignored.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// A token that begins with these hex digits: 32 bytes as 64 digits.
pub(crate) fn token(prefix: &str) -> String {
    format!("{prefix:1<64}")
}

/// A command 2 frame with the payload `{"aps":{}}`.
pub(crate) fn frame(identifier: u32, prefix: &str) -> Vec<u8> {
    hex(&format!(
        "02 00000042 03 0004 {identifier:08x} 01 0020 {} 02 000a 7b22617073223a7b7d7d 04 0004 00000000 05 0001 0a",
        token(prefix)
    ))
}

/// A simulator on free ports.
pub(crate) struct Lab {
    pub(crate) simulator: Simulator,
    pub(crate) shutdown: Shutdown,
    _dir: TempDir,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::with(|settings| settings).await
    }

    pub(crate) async fn with(change: impl FnOnce(Settings) -> Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shutdown = Shutdown::new();
        let settings = change(Settings::on_free_ports(dir.path()));
        let simulator = Simulator::start(settings, Clock::system(), &shutdown).await.unwrap();
        Self { simulator, shutdown, _dir: dir }
    }

    /// The same with a command in force.
    pub(crate) async fn with_command(command: Command) -> Self {
        let lab = Self::start().await;
        lab.command(command);
        lab
    }

    pub(crate) fn command(&self, command: Command) -> usize {
        self.simulator.script().command(command).unwrap()
    }

    pub(crate) fn good(&self) -> &str {
        &self.simulator.certificates().good.pem
    }

    /// A gateway connection with the good certificate.
    pub(crate) async fn connect(&self) -> Client {
        self.connect_as(self.good(), rustls::ALL_VERSIONS).await.unwrap()
    }

    pub(crate) async fn connect_as(
        &self,
        pem: &str,
        versions: &[&'static SupportedProtocolVersion],
    ) -> io::Result<Client> {
        Client::connect(self.simulator.binary_address(), self.connector(pem, versions)).await
    }

    /// A feedback connection with this certificate.
    pub(crate) async fn feedback_as(&self, pem: &str) -> Client {
        Client::connect(self.simulator.feedback_address(), self.connector(pem, rustls::ALL_VERSIONS)).await.unwrap()
    }

    fn connector(&self, pem: &str, versions: &[&'static SupportedProtocolVersion]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.simulator.certificates().ca.pem.as_bytes()).unwrap()).unwrap();
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        TlsConnector::from(Arc::new(config))
    }

    pub(crate) async fn wait(&self, wanted: impl FnMut(&Summary) -> bool) -> Summary {
        soon(self.simulator.journal().wait_until(wanted)).await
    }

    /// Identifier and verdict of everything that arrived, once it is so many.
    pub(crate) async fn verdicts(&self, count: u64) -> Vec<(Option<u32>, Verdict)> {
        self.wait(|summary| summary.packets >= count).await;
        let notifications = self.simulator.journal().notifications();
        notifications.into_iter().map(|(_, notification)| (notification.identifier, notification.verdict)).collect()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.simulator.journal().page(0, usize::MAX).entries.into_iter().map(|entry| entry.event).collect()
    }
}

/// How the server ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    CloseNotify,
    Fin,
    Reset,
}

/// The client's end of a connection.
pub(crate) struct Client {
    pub(crate) stream: TlsStream<TcpStream>,
}

impl Client {
    async fn connect(address: SocketAddr, connector: TlsConnector) -> io::Result<Self> {
        let tcp = soon(TcpStream::connect(address)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::from(address.ip());
        Ok(Self { stream: soon(connector.connect(name, tcp)).await? })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        soon(async {
            self.stream.write_all(bytes).await.unwrap();
            self.stream.flush().await.unwrap();
        })
        .await;
    }

    /// Closes the client's side: close_notify and FIN.
    pub(crate) async fn close(&mut self) {
        soon(self.stream.shutdown()).await.unwrap();
    }

    pub(crate) async fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        soon(self.stream.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// Everything up to the end, and what the end was.
    pub(crate) async fn read_to_end(&mut self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let end = soon(async {
            loop {
                match self.stream.read_buf(&mut bytes).await {
                    Ok(0) => return End::CloseNotify,
                    Ok(_) => (),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return End::Fin,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return End::Reset,
                    Err(error) => panic!("{error}"),
                }
            }
        })
        .await;
        (bytes, end)
    }

    /// The error that ends the connection, in words.
    pub(crate) async fn read_error(&mut self) -> String {
        soon(self.stream.read(&mut [0; 16])).await.unwrap_err().to_string()
    }
}
