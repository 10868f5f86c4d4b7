//! Apple on loopback: the binary gateway, its feedback service, the HTTP/2 provider API, and a control port. A product: for the demo, for
//! staging and for tests.
//!
//! Without commands it behaves as Apple's gateways do (Binary Provider API; "Sending notification requests to APNs"). What it is told to do otherwise, by token
//! prefixes and by commands, is in the text below, which is also what `GET /` on the control port answers.
//!
//! - `script`: what goes wrong and where; `script/session.rs` is the protocol's state machine, and pure;
//! - `journal`: everything that was received, with its verdict;
//! - `certificates`, `config_file`: what is written into the directory;
//! - `binary`, `connection`, `feedback`: the binary gateway and its feedback service;
//! - `http2`: the provider API;
//! - `listener`, `reception`, `admission`, `tls`, `socket`, `peer`, `ending`: what the servers have in common;
//! - `control`: journal and commands over HTTP.
//!
#![doc = include_str!("../../docs/simulator.md")]

mod admission;
mod binary;
pub mod certificates;
mod config_file;
mod connection;
mod control;
mod ending;
pub mod feedback;
pub mod http2;
pub mod journal;
mod listener;
pub mod peer;
mod reception;
pub mod script;
mod socket;
mod tls;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpListener;

use self::binary::Gateway;
use self::certificates::Certificates;
use self::config_file::Addresses;
use self::control::Control;
use self::feedback::FeedbackList;
use self::feedback::command::FeedbackCommand;
use self::http2::provider_token::{ProviderTokenUse, ProviderTokens};
use self::http2::server::Server;
use self::journal::Journal;
use self::listener::Shared;
use self::peer::GatewayEnvironment;
use self::script::session::Limits;
use self::script::{CommandError, Script};
use self::tls::{Inside, Tls};
use crate::clock::Clock;
use crate::shutdown::Shutdown;

const HELP: &str = include_str!("../../docs/simulator.md");

/// What a simulator is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where certificates and `apnsd.toml` are written; made if it does not exist.
    pub dir: PathBuf,
    /// Where the binary gateway listens.
    pub binary: SocketAddr,
    /// Where the feedback service listens.
    pub feedback: SocketAddr,
    /// Where the HTTP/2 provider API listens.
    pub http2: SocketAddr,
    /// Where the control port listens.
    pub control: SocketAddr,
    /// The environment that it plays.
    pub environment: GatewayEnvironment,
    /// Only counts: the journal keeps no entries.
    pub count_only: bool,
    /// Memory for journal entries, in bytes; the oldest are dropped beyond it.
    pub journal_memory: usize,
    /// Largest payload of commands 0 and 1, in bytes: 256 by the book, 2048 as clients sent it after 2014.
    pub legacy_limit: usize,
    /// Largest payload of command 2, in bytes: 2048, or 4096 with VoIP certificates.
    pub frame_limit: usize,
    /// For everything random: the same seed and the same connections give the same faults.
    pub seed: u64,
}

impl Settings {
    /// Memory for journal entries: about a million small notifications.
    pub const JOURNAL_MEMORY: usize = 256 * 1024 * 1024;

    /// Apple's ports on loopback, and 2199 for the control port.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            dir: dir.into(),
            binary: loopback(2195),
            feedback: loopback(2196),
            http2: loopback(2197),
            control: loopback(2199),
            environment: GatewayEnvironment::Both,
            count_only: false,
            journal_memory: Self::JOURNAL_MEMORY,
            legacy_limit: 256,
            frame_limit: 2048,
            seed: 0,
        }
    }

    /// Free ports on loopback, for tests and demos.
    pub fn on_free_ports(dir: impl Into<PathBuf>) -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { binary: free, feedback: free, http2: free, control: free, ..Self::new(dir) }
    }
}

/// Why a simulator does not start.
#[derive(Debug, Error)]
pub enum SimulatorError {
    /// A port that cannot be had.
    #[error("cannot listen on {address} for {what}: {source}; is another simulator running? choose another address")]
    Listen {
        /// Which service.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A file or directory that cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// `ca.pem` and `ca-key.pem` exist and are of no use.
    #[error("ca.pem and ca-key.pem in {} do not belong together: remove both to get new ones", .0.display())]
    Authority(PathBuf),
    /// A provider key that exists and is of no use.
    #[error("{} is no key on the curve P-256: remove it to get a new one", .0.display())]
    ProviderKey(PathBuf),
    /// A certificate could not be made.
    #[error("cannot issue a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS could not be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A running simulator. It runs until the stop of the [`Shutdown`] that it was started with.
#[derive(Debug)]
pub struct Simulator {
    binary: SocketAddr,
    feedback: SocketAddr,
    http2: SocketAddr,
    control: SocketAddr,
    config_file: PathBuf,
    certificates: Arc<Certificates>,
    journal: Journal,
    script: Script,
    feedback_list: FeedbackList,
    provider_tokens: ProviderTokens,
}

impl Simulator {
    /// Writes the files, listens, and serves. Ports that are 0 are chosen by the system.
    pub async fn start(settings: Settings, clock: Clock, shutdown: &Shutdown) -> Result<Self, SimulatorError> {
        let certificates = Arc::new(Certificates::open(&settings.dir, &clock)?);
        let (binary_listener, binary) = listen("the binary gateway", settings.binary).await?;
        let (feedback_listener, feedback) = listen("the feedback service", settings.feedback).await?;
        let (http2_listener, http2) = listen("the HTTP/2 provider API", settings.http2).await?;
        let (control_listener, control) = listen("the control port", settings.control).await?;
        let reached = Addresses { binary: reachable(binary), feedback: reachable(feedback), http2: reachable(http2) };
        let config_file = config_file::write(&reached, &certificates)?;

        let journal_memory = if settings.count_only { 0 } else { settings.journal_memory };
        let journal = Journal::new(clock.clone(), journal_memory);
        let hosts = vec![reached.binary.ip(), reached.feedback.ip(), reached.http2.ip()];
        let tls = |inside| Tls::new(inside, Arc::clone(&certificates), hosts.clone(), clock.clone());
        let (binary_tls, http2_tls) = (tls(Inside::Binary)?, tls(Inside::Http2)?);
        let environment = settings.environment;
        let shared = Arc::new(Shared::new(clock.clone(), shutdown.clone(), journal.clone(), binary_tls, environment));
        let (script, provider_tokens) = (Script::default(), ProviderTokens::new(Arc::clone(&certificates)));
        let feedback_list = shared.feedback.clone();
        let limits = Limits { legacy: settings.legacy_limit, frame: settings.frame_limit };
        let gateway = Arc::new(Gateway::new(Arc::clone(&shared), script.clone(), limits, settings.seed));
        let (tokens, seed) = (provider_tokens.clone(), settings.seed);
        let server = Arc::new(Server::new(Arc::clone(&shared), http2_tls, script.clone(), seed, tokens));
        let simulator = Self {
            binary,
            feedback,
            http2,
            control,
            config_file,
            certificates,
            journal,
            script,
            feedback_list,
            provider_tokens,
        };
        shutdown.spawn(binary::serve(binary_listener, binary, gateway));
        shutdown.spawn(http2::server::serve(http2_listener, http2, server));
        shutdown.spawn(control::serve(control_listener, simulator.steering(), clock, shutdown.clone()));
        shutdown.spawn(feedback::serve(feedback_listener, feedback, shared));
        Ok(simulator)
    }

    /// What the control port shows and steers.
    fn steering(&self) -> Control {
        Control {
            journal: self.journal.clone(),
            script: self.script.clone(),
            feedback: self.feedback_list.clone(),
            provider_tokens: self.provider_tokens.clone(),
        }
    }

    /// Where the binary gateway listens.
    pub fn binary_address(&self) -> SocketAddr {
        self.binary
    }

    /// Where the feedback service listens.
    pub fn feedback_address(&self) -> SocketAddr {
        self.feedback
    }

    /// Where the HTTP/2 provider API listens.
    pub fn http2_address(&self) -> SocketAddr {
        self.http2
    }

    /// Where the control port listens.
    pub fn control_address(&self) -> SocketAddr {
        self.control
    }

    /// The `apnsd.toml` that it wrote: a configuration with which the daemon uses this simulator.
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// The certificates that it wrote.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// What it received.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What goes wrong on gateway connections.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// The provider tokens that it took, in the order of their first use.
    pub fn provider_tokens(&self) -> Vec<ProviderTokenUse> {
        self.provider_tokens.taken()
    }

    /// Tells the feedback service something. How many tuples wait for the app that the command names.
    pub fn feedback(&self, command: FeedbackCommand) -> Result<usize, CommandError> {
        self.feedback_list.command(command)
    }
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), SimulatorError> {
    let bind = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bind.await.map_err(|source| SimulatorError::Listen { what, address, source })
}

/// The address under which a listener is reached from this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => (),
    }
    address
}
