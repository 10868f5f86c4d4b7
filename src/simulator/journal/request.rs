//! What the journal says about the HTTP/2 provider API: requests and their counts, as types and as JSON.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::entry::{hex, text};
use crate::domain::apns::ApnsReason;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestVerdict {
    /// It goes to the device.
    Accepted,
    /// It is bad, for this reason.
    Rejected(ApnsReason),
    /// It was accepted and then forgotten, as a fault.
    Lost,
    /// It was not looked at: refused, or later than what the connection still processes.
    NotProcessed,
}

impl RequestVerdict {
    /// The word for it in JSON.
    const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected(_) => "rejected",
            Self::Lost => "lost",
            Self::NotProcessed => "not_processed",
        }
    }
}

/// A request as it arrived, with its body. Headers that it does not have are `None`; they are as they arrived, also
/// where they are wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// On which stream.
    pub stream: u32,
    /// Its `apns-id`, or the one that the answer gives it.
    pub apns_id: String,
    /// The device token of its path, in full; hex in JSON. `None` when it is not one.
    #[serde(serialize_with = "hex")]
    pub token: Option<Box<[u8]>>,
    /// Its `apns-topic`.
    pub topic: Option<String>,
    /// Its `apns-push-type`.
    pub push_type: Option<String>,
    /// Its `apns-expiration`.
    pub expiration: Option<String>,
    /// Its `apns-priority`.
    pub priority: Option<String>,
    /// Its `apns-collapse-id`.
    pub collapse_id: Option<String>,
    /// Its body; text in JSON, with replacement characters where it is not UTF-8.
    #[serde(serialize_with = "text")]
    pub payload: Option<Box<[u8]>>,
    /// What became of it.
    #[serde(serialize_with = "verdict")]
    pub verdict: RequestVerdict,
    /// The reason of a rejection, by Apple's name.
    pub reason: Option<&'static str>,
    /// The status of its answer, which may come later; `None` where there is none.
    pub status: Option<u16>,
    /// Its stream was opened beyond the number that the client had acknowledged.
    pub excess: bool,
}

impl Request {
    /// Bytes of memory that it takes beside itself.
    pub(super) fn memory(&self) -> usize {
        let length = |bytes: &Option<Box<[u8]>>| bytes.as_deref().map_or(0, <[u8]>::len);
        let headers = [&self.topic, &self.push_type, &self.expiration, &self.priority, &self.collapse_id];
        let headers: usize = headers.into_iter().flatten().map(String::len).sum();
        self.apns_id.len() + length(&self.token) + length(&self.payload) + headers
    }
}

/// Exact counts of the HTTP/2 provider API since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestCounts {
    /// Connections whose handshake was completed.
    pub connections: u64,
    /// Those of them that are open.
    pub open: u64,
    /// Requests that arrived; the sum of the next four.
    pub requests: u64,
    /// Requests accepted.
    pub accepted: u64,
    /// Requests rejected.
    pub rejected: u64,
    /// Requests lost on purpose.
    pub lost: u64,
    /// Requests that were not looked at.
    pub not_processed: u64,
    /// Requests that were looked at and have no answer, as a fault.
    pub unanswered: u64,
    /// Streams beyond the number that the client had acknowledged.
    pub excess: u64,
    /// Streams that the client reset, before their request was complete or its answer was.
    pub canceled: u64,
    /// Answers with an error, by its reason.
    pub reasons: ReasonCounts,
    /// GOAWAY frames sent.
    pub go_aways: u64,
    /// Connections that the client failed by breaking the rules of HTTP/2.
    pub violations: u64,
    /// Bytes received, without TLS.
    pub bytes: u64,
}

impl RequestCounts {
    /// Counts one request.
    pub(in crate::simulator) fn count(&mut self, verdict: RequestVerdict, answered: bool, excess: bool) {
        self.requests += 1;
        self.excess += u64::from(excess);
        match verdict {
            RequestVerdict::Accepted => self.accepted += 1,
            RequestVerdict::Rejected(reason) => {
                self.rejected += 1;
                self.reasons.count(reason);
            }
            RequestVerdict::Lost => self.lost += 1,
            RequestVerdict::NotProcessed => return self.not_processed += 1,
        }
        self.unanswered += u64::from(!answered);
    }

    /// Adds counts that belong to one chunk of what was received.
    pub(super) fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.open += other.open;
        self.requests += other.requests;
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.lost += other.lost;
        self.not_processed += other.not_processed;
        self.unanswered += other.unanswered;
        self.excess += other.excess;
        self.canceled += other.canceled;
        self.reasons.add(&other.reasons);
        self.go_aways += other.go_aways;
        self.violations += other.violations;
        self.bytes += other.bytes;
    }
}

/// How often each documented reason was given; those that were are in its JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReasonCounts([u64; ApnsReason::DOCUMENTED.len()]);

impl ReasonCounts {
    /// How often this reason was given; 0 for one that is not documented.
    pub fn of(&self, reason: ApnsReason) -> u64 {
        position(reason).map_or(0, |at| self.0[at])
    }

    fn count(&mut self, reason: ApnsReason) {
        if let Some(at) = position(reason) {
            self.0[at] += 1;
        }
    }

    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }
}

impl Serialize for ReasonCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (reason, count) in ApnsReason::DOCUMENTED.iter().zip(self.0).filter(|(_, count)| *count > 0) {
            map.serialize_entry(reason.name(), &count)?;
        }
        map.end()
    }
}

fn position(reason: ApnsReason) -> Option<usize> {
    ApnsReason::DOCUMENTED.iter().position(|documented| *documented == reason)
}

fn verdict<S: Serializer>(verdict: &RequestVerdict, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(verdict.name())
}
