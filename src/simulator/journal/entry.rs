//! The lines of the journal, as types and as JSON, and the counts.

use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use super::request::{Request, RequestCounts};
use crate::clock::Instant;
use crate::domain::token::token_hex;

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "status")]
pub enum Verdict {
    /// It goes to the device.
    Accepted,
    /// It is bad, by this status (Binary Provider API, table of status codes).
    Rejected(u8),
    /// It arrived on a connection that had failed already, or failed without a word because of it.
    Discarded,
    /// It was accepted and then forgotten, as a fault.
    Lost,
}

/// A notification as it arrived. Items that the packet does not have are `None`; a packet that could not be read has
/// neither token nor payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// First byte of the packet: 0, 1 or 2.
    pub command: u8,
    /// Its identifier.
    pub identifier: Option<u32>,
    /// Its device token, in full; hex in JSON.
    #[serde(serialize_with = "hex")]
    pub token: Option<Box<[u8]>>,
    /// Its payload; text in JSON, with replacement characters where it is not UTF-8.
    #[serde(serialize_with = "text")]
    pub payload: Option<Box<[u8]>>,
    /// Unix seconds.
    pub expiration: Option<u32>,
    /// 10 or 5.
    pub priority: Option<u8>,
    /// What became of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Who speaks on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// The binary gateway.
    Gateway,
    /// The HTTP/2 provider API.
    Http2,
    /// The feedback service.
    Feedback,
}

/// One of the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The simulator.
    Server,
    /// Whoever connected to it.
    Client,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A TLS connection stands.
    Opened {
        /// Who it is with.
        service: Service,
        /// From where.
        peer: SocketAddr,
        /// `TLSv1.2` or `TLSv1.3`.
        tls: &'static str,
        /// Common name of the client's certificate; empty without one.
        subject: String,
        /// SHA-256 of that certificate in hex, as `openssl x509 -fingerprint -sha256` has it without its colons; empty
        /// without one.
        fingerprint: String,
    },
    /// A connection came to nothing: refused, or given up by the client, before the handshake was complete.
    Refused {
        /// Who it was for.
        service: Service,
        /// From where.
        peer: SocketAddr,
        /// In words.
        reason: String,
    },
    /// A notification arrived.
    Notification(Notification),
    /// A request of the HTTP/2 provider API arrived.
    Request(Request),
    /// The HTTP/2 provider API said that it goes away.
    GoAway {
        /// The last stream that it processes.
        last_stream: u32,
        /// Error code.
        code: u32,
        /// Debug data; text in JSON.
        debug: String,
    },
    /// A client of the HTTP/2 provider API broke the rules of HTTP/2.
    Violation {
        /// In words.
        what: String,
    },
    /// An error packet was sent, or what a fault made of it.
    Answered {
        /// Its bytes; hex in JSON.
        #[serde(serialize_with = "hex_bytes")]
        bytes: Box<[u8]>,
    },
    /// Feedback was sent.
    Feedback {
        /// Tuples that were sent whole.
        tuples: usize,
    },
    /// A connection ended.
    Closed {
        /// Who ended it.
        by: Side,
        /// In words.
        how: &'static str,
    },
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Counts from 1, without a gap.
    pub seq: u64,
    /// When; microseconds of the simulator's monotonic clock in JSON.
    #[serde(rename = "at_us", serialize_with = "microseconds")]
    pub at: Instant,
    /// On which connection; they count from 1, those of both services together.
    pub connection: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Entry {
    /// Bytes of memory that it takes.
    pub(super) fn memory(&self) -> usize {
        let outside = match &self.event {
            Event::Notification(notification) => {
                let length = |bytes: &Option<Box<[u8]>>| bytes.as_deref().map_or(0, <[u8]>::len);
                length(&notification.token) + length(&notification.payload)
            }
            Event::Opened { subject, fingerprint, .. } => subject.len() + fingerprint.len(),
            Event::Refused { reason, .. } => reason.len(),
            Event::Request(request) => request.memory(),
            Event::GoAway { debug: text, .. } | Event::Violation { what: text } => text.len(),
            Event::Answered { bytes } => bytes.len(),
            Event::Feedback { .. } | Event::Closed { .. } => 0,
        };
        size_of::<Self>() + outside
    }
}

/// Exact counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Connections to the binary gateway whose handshake was completed.
    pub connections: u64,
    /// Those of them that are open.
    pub open: u64,
    /// Connections to any service that came to nothing.
    pub refused: u64,
    /// Notifications that the binary gateway got; the sum of the next four.
    pub packets: u64,
    /// Notifications accepted.
    pub accepted: u64,
    /// Notifications rejected.
    pub rejected: u64,
    /// Notifications discarded.
    pub discarded: u64,
    /// Notifications lost on purpose.
    pub lost: u64,
    /// Bytes received on connections to the binary gateway, without TLS.
    pub bytes: u64,
    /// Error packets sent.
    pub answered: u64,
    /// Feedback connections whose handshake was completed.
    pub feedback_connections: u64,
    /// Those of them that are open.
    pub feedback_open: u64,
    /// Feedback tuples sent whole.
    pub feedback_tuples: u64,
    /// The HTTP/2 provider API.
    pub http2: RequestCounts,
}

impl Summary {
    /// Counts one notification.
    pub(in crate::simulator) fn count(&mut self, verdict: Verdict) {
        self.packets += 1;
        match verdict {
            Verdict::Accepted => self.accepted += 1,
            Verdict::Rejected(_) => self.rejected += 1,
            Verdict::Discarded => self.discarded += 1,
            Verdict::Lost => self.lost += 1,
        }
    }

    /// Adds the counts of a chunk of notifications.
    pub(super) fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.discarded += other.discarded;
        self.lost += other.lost;
        self.bytes += other.bytes;
        self.http2.add(&other.http2);
    }

    /// Counts anything else that is noted.
    pub(super) fn count_event(&mut self, event: &Event, service: Service) {
        match (event, service) {
            (Event::Opened { .. }, Service::Gateway) => {
                self.connections += 1;
                self.open += 1;
            }
            (Event::Opened { .. }, Service::Feedback) => {
                self.feedback_connections += 1;
                self.feedback_open += 1;
            }
            (Event::Opened { .. }, Service::Http2) => {
                self.http2.connections += 1;
                self.http2.open += 1;
            }
            (Event::Refused { .. }, _) => self.refused += 1,
            (Event::Request(request), _) => {
                self.http2.count(request.verdict, request.status.is_some(), request.excess);
            }
            (Event::GoAway { .. }, _) => self.http2.go_aways += 1,
            (Event::Violation { .. }, _) => self.http2.violations += 1,
            (Event::Notification(notification), _) => self.count(notification.verdict),
            (Event::Answered { .. }, _) => self.answered += 1,
            (Event::Feedback { tuples }, _) => self.feedback_tuples += *tuples as u64,
            (Event::Closed { .. }, Service::Gateway) => self.open -= 1,
            (Event::Closed { .. }, Service::Http2) => self.http2.open -= 1,
            (Event::Closed { .. }, Service::Feedback) => self.feedback_open -= 1,
        }
    }
}

pub(super) fn hex<S: Serializer>(bytes: &Option<Box<[u8]>>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_deref().map(token_hex).serialize(serializer)
}

#[expect(clippy::borrowed_box, reason = "serde passes the field as it is")]
fn hex_bytes<S: Serializer>(bytes: &Box<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    token_hex(bytes).serialize(serializer)
}

pub(super) fn text<S: Serializer>(bytes: &Option<Box<[u8]>>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_deref().map(String::from_utf8_lossy).serialize(serializer)
}

fn microseconds<S: Serializer>(at: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
    u64::try_from(at.since(Instant::default()).as_micros()).unwrap_or(u64::MAX).serialize(serializer)
}
