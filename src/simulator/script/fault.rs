//! Everything that can be made to go wrong on a gateway connection, as types and as JSON.
//!
//! The letters and numbers are those of the project's protocol reference, section 6.1. What needs root is left out:
//! a black-holed SYN, acknowledgements that are dropped, a path that dies without a word.

use serde::Deserialize;

use super::http2::Http2Fault;
use super::{CommandError, Gateway};

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Before the first notification.
    Connect(ConnectFault),
    /// In the stream of notifications.
    Stream(StreamFault),
    /// In the error packet, and after it.
    Error(ErrorFault),
    /// In the HTTP/2 provider API.
    Http2(Http2Fault),
}

impl Fault {
    /// What is wrong with its numbers.
    pub(super) fn problem(&self) -> Option<CommandError> {
        let text = match self {
            Self::Connect(ConnectFault::RecordSize(size)) if !(32..=16_000).contains(size) => {
                "`record_size` is 32 to 16000 bytes"
            }
            Self::Connect(ConnectFault::KeyUpdates(1001..) | ConnectFault::SessionTickets(1001..)) => {
                "`key_updates` and `session_tickets` are 0 to 1000"
            }
            Self::Stream(StreamFault::Lose(101..)) => "`lose` is 0 to 100 per cent",
            Self::Stream(StreamFault::Throttle(0)) => "`throttle` is at least 1 byte per second",
            Self::Error(ErrorFault::Delay(delay)) => delay.problem()?,
            Self::Http2(fault) => return fault.problem(),
            Self::Connect(_) | Self::Stream(_) | Self::Error(_) => return None,
        };
        Some(CommandError::Range(text))
    }

    /// The only gateway that it is for.
    pub(super) fn only_at(&self) -> Option<Gateway> {
        match self {
            Self::Connect(_) => None,
            Self::Stream(fault) => fault.is_binary().then_some(Gateway::Binary),
            Self::Error(_) => Some(Gateway::Binary),
            Self::Http2(_) => Some(Gateway::Http2),
        }
    }
}

impl From<ConnectFault> for Fault {
    fn from(fault: ConnectFault) -> Self {
        Self::Connect(fault)
    }
}

impl From<StreamFault> for Fault {
    fn from(fault: StreamFault) -> Self {
        Self::Stream(fault)
    }
}

impl From<ErrorFault> for Fault {
    fn from(fault: ErrorFault) -> Self {
        Self::Error(fault)
    }
}

impl From<Http2Fault> for Fault {
    fn from(fault: Http2Fault) -> Self {
        Self::Http2(fault)
    }
}

/// What goes wrong before the first notification (B16, B20, B21).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ConnectFault {
    /// TCP is accepted, then nothing is read or written.
    AcceptNothing,
    /// The client's first handshake message is read, never answered.
    Stall,
    /// The client certificate is refused with this TLS alert. With TLS 1.3 it arrives after the client's handshake is
    /// complete, and may follow its first write.
    Alert(Alert),
    /// The server shows another certificate.
    ServerCertificate(ServerCertificate),
    /// Only this version of TLS.
    TlsVersion(TlsVersion),
    /// So many TLS 1.3 session tickets, 0 to 1,000; 0 if it is not said.
    SessionTickets(u16),
    /// So many TLS 1.3 key updates right after the handshake, 0 to 1,000.
    KeyUpdates(u16),
    /// TLS records with at most so much plaintext, 32 to 16,000 bytes.
    RecordSize(u16),
    /// At most so many connections with one certificate; one more is closed right after the handshake.
    ConnectionsMax(u32),
    /// Closed unheard, if so many connections were opened within the last milliseconds.
    Block {
        /// How many connections.
        connections: u32,
        /// Within which time.
        within_ms: u64,
    },
}

/// TLS alerts that a gateway sends about a client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alert {
    /// `certificate_expired`.
    Expired,
    /// `unknown_ca`.
    UnknownCa,
    /// `certificate_revoked`.
    Revoked,
    /// `bad_certificate`.
    BadCertificate,
}

/// Server certificates that a client must not trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerCertificate {
    /// For another host.
    WrongName,
    /// Signed by another authority.
    OtherRoot,
    /// Ended yesterday.
    Expired,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// What goes wrong in the stream of notifications (B15, B17 to B20).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StreamFault {
    /// The connection ends without an error packet; what arrives until then is discarded.
    Close {
        /// After a random time of at most this.
        #[serde(default)]
        within_ms: u64,
        /// How.
        #[serde(default)]
        then: Ending,
    },
    /// The next notification is rejected with this status, whatever it is.
    Reject(u8),
    /// Status 10, naming the last notification that was accepted; 0 if there was none.
    Shutdown,
    /// Nothing is read any more, so that the client's writes block in the end.
    StopReading,
    /// The server's side is closed (close_notify and FIN), and it goes on reading; error packets cannot be sent.
    HalfClose,
    /// So many per cent of the notifications, 0 to 100, are forgotten as if they were accepted.
    Lose(u8),
    /// So many bytes are read per second, at least 1.
    Throttle(u32),
    /// Closed (close_notify and FIN) when nothing arrived for so long, in milliseconds.
    IdleClose(u64),
    /// When nothing arrived for so long, in milliseconds, the next bytes are answered with a reset.
    IdleReset(u64),
    /// A zero-length token is answered with status 2 and identifier 0, a bug that Apple's gateway had (B14).
    ZeroTokenQuirk,
}

impl StreamFault {
    /// Whether it speaks the binary protocol; the others end or starve a connection, whatever it speaks.
    const fn is_binary(&self) -> bool {
        match self {
            Self::Reject(_) | Self::Shutdown | Self::HalfClose | Self::Lose(_) | Self::ZeroTokenQuirk => true,
            Self::Close { .. } | Self::StopReading | Self::Throttle(_) | Self::IdleClose(_) | Self::IdleReset(_) => {
                false
            }
        }
    }
}

/// What goes wrong with the error packet and after it (B10 to B13, B21).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ErrorFault {
    /// When it is sent.
    Delay(Delay),
    /// What follows it.
    Then(Ending),
    /// It is sent in parts of these sizes, each in its own TLS record, and the rest at the end.
    Split {
        /// Bytes of each part.
        sizes: Vec<u8>,
        /// Pause between two parts, in milliseconds.
        #[serde(default = "pause_default")]
        pause_ms: u64,
    },
    /// Only its first bytes are sent.
    Cut(u8),
    /// So many bytes of garbage follow it.
    Trailing(u8),
    /// It is sent twice.
    Twice,
    /// It has this command byte instead of 8.
    Command(u8),
    /// It has this status.
    Status(u8),
    /// It names another notification.
    Identifier(WrongIdentifier),
}

fn pause_default() -> u64 {
    20
}

/// When the error packet is sent. Everything that arrives before it is discarded all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Delay {
    /// After so many milliseconds.
    FixedMs(u64),
    /// After a random number of milliseconds.
    RandomMs {
        /// At least.
        from: u64,
        /// At most.
        to: u64,
    },
    /// After so many further notifications, or when the client closes.
    Further(u32),
    /// Never: what would have followed it comes at once.
    Never,
}

impl Delay {
    /// What is wrong with its numbers.
    pub(super) const fn problem(&self) -> Option<&'static str> {
        match self {
            Self::RandomMs { from, to } if *from > *to => Some("`random_ms` needs `from` not above `to`"),
            Self::FixedMs(_) | Self::RandomMs { .. } | Self::Further(_) | Self::Never => None,
        }
    }
}

/// How the gateway ends a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// close_notify and FIN; what still arrives is read and discarded until the client closes, at most 5 seconds.
    #[default]
    Clean,
    /// FIN without close_notify, else as `clean`.
    Fin,
    /// What arrives within so many milliseconds is read and discarded, then as `clean`.
    DrainMs(u64),
    /// Closed while received bytes are unread, at most 1 second later: the kernel sends a RST.
    Unread,
    /// RST at once (`SO_LINGER` 0).
    Reset,
    /// RST after a random time of at most so many milliseconds.
    ResetWithinMs(u64),
}

/// An identifier that the error packet does not deserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WrongIdentifier {
    /// 0.
    Zero,
    /// Of the connection's first notification, forgotten long ago.
    Forgotten,
    /// One that was not sent yet: 1,000,000 more.
    NeverSent,
    /// The right one with its bytes in reverse order.
    ByteSwapped,
    /// The last one of an earlier connection; 0 if there was none.
    EarlierConnection,
}
