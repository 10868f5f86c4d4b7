//! One provider's protocol at a time: connects, sends spans, answers with outcomes. Never sees queue or store.
//!
//! A [`Gateway`] belongs to one app's delivery worker, which drives it: [`Gateway::connect`], [`Gateway::send`] while
//! there is [`Gateway::room`], and [`Gateway::event`] for what comes back. A gateway takes rows only while it is
//! connected; [`Event::Closed`] returns every row that has no outcome yet.

pub mod alert;
pub mod binary;
pub mod http2;
pub mod meter;
pub mod probe;
mod proxy;
mod tls;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use self::http2::provider_token::ProviderTokens;
use self::meter::Meter;
use crate::clock::Clock;
use crate::credentials::Credentials;
use crate::domain::app::{AppId, Environment, Protocol};
use crate::domain::batch::Span;
use crate::domain::outcome::{Reason, Settled};
use crate::trust::NoAuthorities;

/// What all gateways are configured with (`[delivery]` in the config file).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Binary gateway: how long it must stay silent before what it got is presumed delivered.
    pub settle_after: Duration,
    /// Binary gateway: how long a connection may idle before it is closed with a sentinel.
    pub idle_after: Duration,
    /// How often a row whose fate is unknown is sent again before it is given up.
    pub max_attempts: u8,
    /// HTTP/2: longest wait for an answer; its row is unknown after it.
    pub request_deadline: Duration,
    /// HTTP/2: how long a connection that the provider closes may finish what it has.
    pub goaway_drain: Duration,
}

impl From<Settings> for Shared {
    fn from(settings: Settings) -> Self {
        Self { settings, provider_tokens: ProviderTokens::default() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            settle_after: Duration::from_secs(5),
            idle_after: Duration::from_secs(30 * 60),
            max_attempts: 5,
            // Apple answers within a second; longer than this and the path is dead.
            request_deadline: Duration::from_secs(30),
            // No answer comes later than the deadline of its request.
            goaway_drain: Duration::from_secs(30),
        }
    }
}

/// What all gateways of a process share. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// How they are configured.
    pub settings: Settings,
    /// What they authenticate with, where that is not a certificate.
    pub provider_tokens: ProviderTokens,
}

/// Whose notifications go where, and as whom.
#[derive(Clone, Debug)]
pub struct Route {
    /// The app.
    pub app: AppId,
    /// The gateway that it was provisioned for.
    pub environment: Arc<Environment>,
    /// What it authenticates with.
    pub credentials: Arc<Credentials>,
    /// Longest connection attempt, name look-up and TLS handshake included (pyapns' `timeout`).
    pub connect_timeout: Duration,
    /// The topic that the app was provisioned with; `None`: that of its credentials.
    pub topic: Option<Arc<str>>,
    /// HTTP/2: connections to keep open, at least 1.
    pub connections: u32,
    /// Counts the connections.
    pub meter: Arc<Meter>,
}

impl Route {
    /// The topic of notifications that name none, where there is one.
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref().or_else(|| self.credentials.default_topic())
    }
}

/// Why there can be no gateway for a route.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RouteError {
    /// A protocol that this version does not speak.
    #[error(
        "environment `{environment}` speaks {protocol}, which this version does not: use an `https://` or `binary://` address"
    )]
    Protocol {
        /// The environment's name.
        environment: Arc<str>,
        /// What is spoken there.
        protocol: Protocol,
    },
    /// A host that is neither a name nor an address.
    #[error("`{0}` is neither a host name nor an IP address: correct it in the environment's address")]
    Host(String),
    /// The file that replaces the system's trust store cannot be used.
    #[error("the environment's `ca` {path}: {why}: name a readable PEM file with CA certificates", path = path.display())]
    Ca {
        /// Where it was looked for.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system has no certificates to trust.
    #[error("{0}, or set the environment's `ca`")]
    NoSystemRoots(#[from] NoAuthorities),
    /// Certificate and key that TLS cannot use.
    #[error("the app's certificate cannot be used for TLS: {0}")]
    Credentials(String),
}

/// What a gateway has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The connection stands; rows may be sent.
    Connected {
        /// Who answered.
        peer: SocketAddr,
    },
    /// There is room again after there was none.
    Room,
    /// HTTP/2: no connection takes rows any more, and the gateway makes another one by itself; then [`Event::Connected`]
    /// says so again. Rows that were sent may still settle.
    Reconnecting {
        /// Why, in words.
        cause: String,
    },
    /// Outcomes.
    Settled(Vec<Settled>),
    /// The connection, or the attempt to make one, is over.
    Closed(Closed),
}

/// The end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// An outcome for every row that the gateway still held, in the order in which they were sent.
    pub settled: Vec<Settled>,
    /// Corrected outcomes of rows that were settled as presumed: the gateway named one of them later than
    /// `settle_after`, and discarded those after it. They were sent before all in `settled`.
    pub revised: Vec<Settled>,
    /// Why it ended.
    pub cause: CloseCause,
}

/// Why a connection, or the attempt to make one, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// No connection could be made: name look-up, TCP, proxy, time-out. In words, with the address.
    Unreachable(String),
    /// The gateway's certificate is not trusted. In words, with what to do.
    Untrusted(String),
    /// The gateway refused the credentials with a TLS alert, during the handshake or just after. The alert's name.
    Refused(String),
    /// The provider named a reason: it blames one notification, and the protocol wants a close; or it blames the app, and
    /// every other notification would fail the same way.
    Error(Reason),
    /// The provider announced its shutdown (binary status 10, HTTP/2 GOAWAY).
    Shutdown,
    /// Closed or reset by the peer without a word.
    Silent {
        /// Whether anything had settled on this connection before.
        settled: bool,
    },
    /// The path died: no acknowledgement from the peer, a write error, a time-out. In words.
    Dead(String),
    /// We closed it, as planned.
    Retired {
        /// Whether the gateway confirmed everything that was sent.
        proven: bool,
    },
}

impl fmt::Display for CloseCause {
    /// One line for logs and status.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(words) | Self::Untrusted(words) | Self::Dead(words) => formatter.write_str(words),
            Self::Refused(alert) => write!(formatter, "the gateway refused the credentials: {alert}"),
            Self::Error(reason) => write!(formatter, "the gateway reported an error: {reason}"),
            Self::Shutdown => formatter.write_str("the gateway is shutting down"),
            Self::Silent { settled: true } => formatter.write_str("the gateway closed the connection without a word"),
            Self::Silent { settled: false } => formatter.write_str(
                "the gateway closed the connection without a word before anything settled: is the certificate for this \
                 environment?",
            ),
            Self::Retired { proven: true } => formatter.write_str("closed as planned"),
            Self::Retired { proven: false } => {
                formatter.write_str("closed as planned; the gateway did not confirm what was sent")
            }
        }
    }
}

/// A gateway of one app: a connection at a time, and the rows on it.
pub enum Gateway {
    /// Apple's binary gateway.
    Binary(Box<binary::BinaryGateway>),
    /// Apple's HTTP/2 provider API.
    Http2(Box<http2::Http2Gateway>),
}

impl fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gateway = formatter.debug_struct(match self {
            Self::Binary(_) => "Binary",
            Self::Http2(_) => "Http2",
        });
        gateway.field("connected", &self.is_connected()).field("in_flight", &self.in_flight()).finish()
    }
}

impl Gateway {
    /// Prepares a gateway without connecting. Reads the environment's CA file.
    pub fn new(route: Route, shared: &Shared, clock: Clock) -> Result<Self, RouteError> {
        match route.environment.gateway.protocol {
            Protocol::Binary => Ok(Self::Binary(Box::new(binary::BinaryGateway::new(route, &shared.settings, clock)?))),
            Protocol::Http2 => Ok(Self::Http2(Box::new(http2::Http2Gateway::new(route, shared, clock)?))),
            protocol @ Protocol::Fcm => {
                Err(RouteError::Protocol { environment: route.environment.name.clone(), protocol })
            }
        }
    }

    /// Begins a connection if there is none.
    pub fn connect(&mut self) {
        match self {
            Self::Binary(gateway) => gateway.connect(),
            Self::Http2(gateway) => gateway.connect(),
        }
    }

    /// Makes the next connection at once where the gateway waits before it makes one by itself.
    pub fn hurry(&mut self) {
        match self {
            // It makes no connection by itself.
            Self::Binary(_) => (),
            Self::Http2(gateway) => gateway.hurry(),
        }
    }

    /// Bounds connection attempts that begin from now on.
    pub fn set_connect_timeout(&mut self, connect_timeout: Duration) {
        match self {
            Self::Binary(gateway) => gateway.set_connect_timeout(connect_timeout),
            Self::Http2(gateway) => gateway.set_connect_timeout(connect_timeout),
        }
    }

    /// Whether the gateway is connected, as its events say.
    pub fn is_connected(&self) -> bool {
        match self {
            Self::Binary(gateway) => gateway.is_connected(),
            Self::Http2(gateway) => gateway.is_connected(),
        }
    }

    /// Rows that would be taken now, an estimate; 0 while not connected, retiring, or full.
    pub fn room(&self) -> u32 {
        match self {
            Self::Binary(gateway) => gateway.room(),
            Self::Http2(gateway) => gateway.room(),
        }
    }

    /// Takes the rows at the front that fit and returns the rest. A rest tells the gateway that more rows wait.
    pub fn send(&mut self, span: Span) -> Option<Span> {
        match self {
            Self::Binary(gateway) => gateway.send(span),
            Self::Http2(gateway) => gateway.send(span),
        }
    }

    /// Rows without an outcome.
    pub fn in_flight(&self) -> u64 {
        match self {
            Self::Binary(gateway) => gateway.in_flight(),
            Self::Http2(gateway) => gateway.in_flight(),
        }
    }

    /// Whether it holds rows that have not left yet.
    pub fn has_unsent(&self) -> bool {
        match self {
            Self::Binary(gateway) => gateway.has_unsent(),
            Self::Http2(gateway) => gateway.has_unsent(),
        }
    }

    /// Takes back the rows that have not left yet, in order; before [`Gateway::retire`], so that whoever sends next keeps
    /// the order.
    pub fn take_unsent(&mut self) -> Vec<Span> {
        match self {
            Self::Binary(gateway) => gateway.take_unsent(),
            Self::Http2(gateway) => gateway.take_unsent(),
        }
    }

    /// Closes as planned: what has not left yet comes back as not processed, what has is to be confirmed. Always ends
    /// with [`Event::Closed`], even where there is no connection.
    pub fn retire(&mut self) {
        match self {
            Self::Binary(gateway) => gateway.retire(),
            Self::Http2(gateway) => gateway.retire(),
        }
    }

    /// Moves bytes until there is something to say. Pending for ever without a connection or an attempt to make one.
    /// May be dropped and called again at any time; nothing is lost.
    pub async fn event(&mut self) -> Event {
        match self {
            Self::Binary(gateway) => gateway.event().await,
            Self::Http2(gateway) => gateway.event().await,
        }
    }
}
