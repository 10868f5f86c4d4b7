//! What the machine allows: the same bytes over the same kind of connection, by the least code that moves them. Each is
//! measured once a run, when a scenario first asks for it.

mod frames;
mod handler;
mod http2;
mod sync;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::report::{Figure, Report, Unit};
use super::world::World;
use super::{BenchError, Settings};
use crate::clock::Clock;
use crate::shutdown::Shutdown;

/// A limit takes no longer than this: it is steady sooner than a load is.
const SPAN_MAX: Duration = Duration::from_secs(2);

/// A limit of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limit {
    /// Frames of the binary gateway through one rustls connection, in writes of 48 KiB, to somebody who drops them.
    FrameSink,
    /// The same to the simulator, which looks at each.
    FrameSimulator,
    /// Requests of the provider API by the h2 crate's client, over so many connections, to the simulator.
    Http2(usize),
    /// POST requests to a handler that does nothing, over so many keep-alive connections.
    Handler(usize),
    /// The same with a new connection for each, so many at once.
    HandlerReconnecting(usize),
    /// Writes of 4 KiB into a file, each synced to the disk, one after the other.
    Sync,
}

impl Limit {
    /// Its key in the report.
    pub(super) fn key(self) -> String {
        match self {
            Self::FrameSink => "limit.frames".to_owned(),
            Self::FrameSimulator => "limit.frames.simulator".to_owned(),
            Self::Http2(connections) => format!("limit.http2.{connections}"),
            Self::Handler(connections) => format!("limit.http.{connections}"),
            Self::HandlerReconnecting(_) => "limit.http.new".to_owned(),
            Self::Sync => "limit.sync".to_owned(),
        }
    }

    fn what(self) -> String {
        match self {
            Self::FrameSink => "frames, one TLS connection, 48 KiB writes, dropped".to_owned(),
            Self::FrameSimulator => "the same to the simulator, which reads each".to_owned(),
            Self::Http2(connections) => format!("h2 client to the simulator, connections: {connections}"),
            Self::Handler(connections) => format!("empty HTTP handler, keep-alive connections: {connections}"),
            Self::HandlerReconnecting(at_once) => {
                format!("empty HTTP handler, a connection a call, at once: {at_once}")
            }
            Self::Sync => "4 KiB written and synced, one after the other".to_owned(),
        }
    }
}

/// The limits, as far as they were measured.
pub(super) struct Limits {
    span: Duration,
    clock: Clock,
    shutdown: Shutdown,
    measured: BTreeMap<Limit, f64>,
}

impl Limits {
    /// None is measured yet.
    pub(super) fn new(settings: &Settings, clock: Clock, shutdown: Shutdown) -> Self {
        Self { span: settings.seconds.min(SPAN_MAX), clock, shutdown, measured: BTreeMap::new() }
    }

    /// How many in a second. Measured now, and noted in the report, unless it was before.
    pub(super) async fn of(&mut self, limit: Limit, world: &World, report: &mut Report) -> Result<f64, BenchError> {
        if let Some(value) = self.measured.get(&limit) {
            return Ok(*value);
        }
        let (span, clock) = (self.span, self.clock.clone());
        let value = match limit {
            Limit::FrameSink => blocking(move || frames::to_a_sink(span, &clock)).await?,
            Limit::FrameSimulator => {
                let (certificates, address) = (world.certificates(), world.gateway.binary);
                blocking(move || frames::to_a_gateway(address, &certificates, span, &clock)).await?
            }
            Limit::Http2(connections) => {
                let (certificates, address) = (world.certificates(), world.gateway.http2);
                http2::requests(address, &certificates, connections, span, &clock, &self.shutdown).await?
            }
            Limit::Handler(connections) => handler::posts(connections, false, span, &clock, &self.shutdown).await?,
            Limit::HandlerReconnecting(at_once) => handler::posts(at_once, true, span, &clock, &self.shutdown).await?,
            Limit::Sync => {
                let file = world.dir.path().join("sync");
                blocking(move || sync::writes(&file, span, &clock)).await?
            }
        };
        self.measured.insert(limit, value);
        report.add(Figure::new(limit.key(), limit.what(), value, Unit::PerSecond));
        Ok(value)
    }
}

/// Work that waits for a socket or a disk without the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BenchError> + Send + 'static,
) -> Result<T, BenchError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(BenchError::io("measure a limit")(error.into())),
    }
}

/// A TLS client as the daemon is one: the simulator's certificate, and its authority.
fn client_config(certificates: &Path, alpn: &[&[u8]]) -> Result<rustls::ClientConfig, BenchError> {
    let pem = |name: &str| {
        let path = certificates.join(name);
        std::fs::read(&path).map_err(BenchError::io(format!("read {}", path.display())))
    };
    let (ca, good) = (pem("ca.pem")?, pem("good.pem")?);
    let build = || {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&ca) {
            roots.add(certificate.map_err(std::io::Error::other)?).map_err(std::io::Error::other)?;
        }
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&good).collect();
        let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(&good).map_err(std::io::Error::other)?;
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(std::io::Error::other)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.map_err(std::io::Error::other)?, key)
            .map_err(std::io::Error::other)?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    };
    build().map_err(BenchError::io("set up TLS"))
}

fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The name of a server on this machine.
fn server_name(address: SocketAddr) -> rustls_pki_types::ServerName<'static> {
    rustls_pki_types::ServerName::from(address.ip())
}
