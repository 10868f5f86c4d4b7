//! What became of a notification, who is to blame, and what follows.

use std::fmt;
use std::time::Duration;

use super::apns::ApnsReason;
use super::batch::Span;
use super::time::Timestamp;

/// What became of a row at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider said so, or a later answer of it proves it.
    Accepted,
    /// Binary gateway: all bytes are with the kernel and the gateway stayed silent long enough.
    Presumed,
    /// Permanent for this token or message.
    Rejected(Reason),
    /// Permanent, and the provider says that the token is dead: feedback for the caller.
    Unregistered {
        /// The provider's word for it.
        reason: Reason,
        /// When the provider last knew the token to be dead, by its own clock.
        since: Timestamp,
    },
    /// Not processed, or a transient failure: back to the queue.
    Retry(Retry),
    /// Its expiration or `max_age` passed while it waited.
    Expired,
}

/// Rows with their common outcome, as a gateway reports them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Which rows.
    pub span: Span,
    /// What became of them.
    pub outcome: Outcome,
}

/// Why rows go back to the queue, and whether that counts as an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Certainly not processed: the front of the queue, in order; no attempt.
    NotProcessed,
    /// The provider answered that the app is to blame, and not the row: otherwise as `NotProcessed`. Its word for it.
    Refused(Reason),
    /// Binary gateway: sent and never answered, an attempt whose result is not known.
    Unknown {
        /// The row was alone on the wire when the connection was closed without a word.
        alone: bool,
    },
    /// HTTP/2: sent and never answered, an attempt whose result is not known. Nothing tells which row is to blame, if any
    /// is, so that all are tried later each time.
    Unanswered,
    /// The provider answered with an error that may pass: an attempt.
    Transient {
        /// The provider's word for it.
        reason: Reason,
        /// Not before this much time has passed; `None` leaves it to the retry policy.
        after: Option<Duration>,
    },
}

/// Whom a reason blames, which decides what follows for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// This device token only.
    Token,
    /// This message only.
    Message,
    /// The app's credentials or configuration: every other notification would fail the same way.
    App,
    /// The provider or the way to it.
    Provider,
    /// Nobody: an operator wanted it so.
    Operator,
}

/// A named reason for which something was rejected, retried or paused.
///
/// Sources: Binary Provider API, table of status codes (2 to 255); for [`Reason::Apns`] see there; the others are this
/// daemon's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Binary status 1.
    ProcessingError,
    /// Binary status 2.
    MissingDeviceToken,
    /// Binary status 3.
    MissingTopic,
    /// Binary status 4.
    MissingPayload,
    /// Binary status 5.
    InvalidTokenSize,
    /// Binary status 6.
    InvalidTopicSize,
    /// Binary status 7.
    InvalidPayloadSize,
    /// Binary status 8: wrong token, or a token of another environment.
    InvalidToken,
    /// Binary status 128: the gateway could not parse what it got.
    ProtocolError,
    /// Binary status 255, and any status that no document names.
    UnknownStatus(u8),
    /// What the HTTP/2 provider API answered.
    Apns(ApnsReason),
    /// The gateway closed the connection without a word each time this row stood alone on it.
    ConnectionClosed,
    /// The row was sent `max_attempts` times and never answered.
    AttemptsExhausted,
    /// Its expiration or `max_age` passed while it waited.
    Expired,
    /// It waited under another environment than the app has now.
    EnvironmentChanged,
    /// Its app was deprovisioned while it waited.
    Deprovisioned,
    /// An operator purged the queue while it waited.
    Purged,
}

impl Reason {
    /// The reason for an error packet's status on the binary gateway. `None` for 0 and 10, which blame nobody.
    pub const fn from_binary_status(status: u8) -> Option<Self> {
        Some(match status {
            0 | 10 => return None,
            1 => Self::ProcessingError,
            2 => Self::MissingDeviceToken,
            3 => Self::MissingTopic,
            4 => Self::MissingPayload,
            5 => Self::InvalidTokenSize,
            6 => Self::InvalidTopicSize,
            7 => Self::InvalidPayloadSize,
            8 => Self::InvalidToken,
            128 => Self::ProtocolError,
            other => Self::UnknownStatus(other),
        })
    }

    /// The provider's number for it, where it has one.
    pub const fn status(self) -> Option<u16> {
        Some(match self {
            Self::ProcessingError => 1,
            Self::MissingDeviceToken => 2,
            Self::MissingTopic => 3,
            Self::MissingPayload => 4,
            Self::InvalidTokenSize => 5,
            Self::InvalidTopicSize => 6,
            Self::InvalidPayloadSize => 7,
            Self::InvalidToken => 8,
            Self::ProtocolError => 128,
            Self::UnknownStatus(status) => status as u16,
            Self::Apns(reason) => reason.status(),
            Self::ConnectionClosed
            | Self::AttemptsExhausted
            | Self::Expired
            | Self::EnvironmentChanged
            | Self::Deprovisioned
            | Self::Purged => return None,
        })
    }

    /// A stable name for answers, metrics and scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProcessingError => "ProcessingError",
            Self::MissingDeviceToken => "MissingDeviceToken",
            Self::MissingTopic => "MissingTopic",
            Self::MissingPayload => "MissingPayload",
            Self::InvalidTokenSize => "InvalidTokenSize",
            Self::InvalidTopicSize => "InvalidTopicSize",
            Self::InvalidPayloadSize => "InvalidPayloadSize",
            Self::InvalidToken => "InvalidToken",
            Self::ProtocolError => "ProtocolError",
            Self::UnknownStatus(_) => "UnknownStatus",
            Self::Apns(reason) => reason.name(),
            Self::ConnectionClosed => "ConnectionClosed",
            Self::AttemptsExhausted => "AttemptsExhausted",
            Self::Expired => "Expired",
            Self::EnvironmentChanged => "EnvironmentChanged",
            Self::Deprovisioned => "Deprovisioned",
            Self::Purged => "Purged",
        }
    }

    /// Whom it blames.
    pub const fn blame(self) -> Blame {
        match self {
            Self::Apns(reason) => reason.blame(),
            Self::MissingDeviceToken | Self::InvalidTokenSize | Self::InvalidToken => Blame::Token,
            Self::MissingPayload | Self::InvalidPayloadSize | Self::ConnectionClosed => Blame::Message,
            Self::Expired | Self::ProtocolError => Blame::Message,
            Self::MissingTopic | Self::InvalidTopicSize => Blame::App,
            Self::EnvironmentChanged | Self::Deprovisioned => Blame::App,
            Self::Purged => Blame::Operator,
            Self::ProcessingError | Self::UnknownStatus(_) | Self::AttemptsExhausted => Blame::Provider,
        }
    }
}

impl Reason {
    /// What a person should look at when it stops an app.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Apns(reason) => reason.advice(),
            Self::ProcessingError
            | Self::MissingDeviceToken
            | Self::MissingTopic
            | Self::MissingPayload
            | Self::InvalidTokenSize
            | Self::InvalidTopicSize
            | Self::InvalidPayloadSize
            | Self::InvalidToken
            | Self::ProtocolError
            | Self::UnknownStatus(_)
            | Self::ConnectionClosed
            | Self::AttemptsExhausted
            | Self::Expired
            | Self::EnvironmentChanged
            | Self::Deprovisioned
            | Self::Purged => "Is it the app's certificate?",
        }
    }
}

impl fmt::Display for Reason {
    /// Words for people, with the provider's number: `invalid token (8)`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::ProcessingError => "processing error",
            Self::MissingDeviceToken => "missing device token",
            Self::MissingTopic => "missing topic",
            Self::MissingPayload => "missing payload",
            Self::InvalidTokenSize => "invalid token size",
            Self::InvalidTopicSize => "invalid topic size",
            Self::InvalidPayloadSize => "invalid payload size",
            Self::InvalidToken => "invalid token",
            Self::ProtocolError => "protocol error",
            Self::UnknownStatus(_) => "unknown status",
            Self::Apns(reason) => return reason.fmt(formatter),
            Self::ConnectionClosed => "the gateway closed the connection each time this one was sent alone",
            Self::AttemptsExhausted => "sent and never answered",
            Self::Expired => "expired while it waited",
            Self::EnvironmentChanged => "the app was provisioned for another environment while it waited",
            Self::Deprovisioned => "the app was deprovisioned while it waited",
            Self::Purged => "an operator purged the queue while it waited",
        };
        match self.status() {
            Some(status) => write!(formatter, "{words} ({status})"),
            None => formatter.write_str(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_byte_has_the_reason_with_its_own_number() {
        for status in 0..=u8::MAX {
            match Reason::from_binary_status(status) {
                None => assert!(status == 0 || status == 10),
                Some(reason) => assert_eq!(reason.status(), Some(u16::from(status))),
            }
        }
    }

    #[test]
    fn a_reason_shows_words_and_number() {
        assert_eq!(Reason::InvalidToken.to_string(), "invalid token (8)");
        assert_eq!(Reason::UnknownStatus(254).to_string(), "unknown status (254)");
    }
}
