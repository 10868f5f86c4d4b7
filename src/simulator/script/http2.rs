//! Everything that can be made to go wrong in the HTTP/2 provider API, as types and as JSON.
//!
//! The letters and numbers are those of the project's protocol reference, section 6.3. Faults of the connection's
//! beginning and of its transport are those of `fault.rs`.

use serde::Deserialize;

use super::CommandError;
use super::fault::{Delay, Ending};
use crate::domain::apns::ApnsReason;

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Http2Fault {
    /// How many streams may be open (H10).
    Streams(StreamLimits),
    /// A rejection lowers that number (H10).
    RejectionLimit {
        /// To so many.
        to: u32,
        /// The next success restores it.
        #[serde(default)]
        restore: bool,
        /// What becomes of requests that were on their way above the new number.
        #[serde(default)]
        in_flight: Refusal,
    },
    /// One request in so many is refused unprocessed: RST_STREAM REFUSED_STREAM (H10).
    Refuse {
        /// One in so many, at least 1.
        one_in: u32,
        /// How.
        #[serde(default)]
        how: Refusal,
    },
    /// Streams beyond the number that the client has acknowledged end the connection, as Apple's "Maximum active
    /// streams violated", instead of being refused (H10).
    ExcessIsFatal,
    /// The server says that it goes away (H11).
    GoAway(GoAway),
    /// Answers are not what they should be (H12).
    Answer {
        /// What is wrong with them.
        how: AnswerFault,
        /// With one in so many, at least 1.
        #[serde(default = "one")]
        one_in: u32,
    },
    /// Good requests are answered with another reason (H13).
    Status {
        /// The reason, by Apple's name; its status follows from it.
        reason: String,
        /// The header `retry-after`, as it is.
        #[serde(default)]
        retry_after: Option<String>,
        /// For so many answers.
        #[serde(default)]
        answers: Option<u64>,
        /// For so many milliseconds.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// From some moment on every answer on this connection is the same error (H13).
    Wedge(Wedge),
    /// The connection ends after so many answers of BadDeviceToken, at least 1; 410 does not count (H14).
    ErrorBudget {
        /// So many.
        bad_tokens: u64,
        /// How it ends.
        #[serde(default)]
        then: Ending,
    },
    /// The server sends a PING.
    Ping,
    /// PINGs are not answered (H15).
    PingsUnanswered,
    /// SETTINGS come so many milliseconds after the connection's beginning, or never (H15).
    SettingsLate(Option<u64>),
    /// Streams begin with this window for request bodies, for so many milliseconds or for ever (H15).
    InitialWindow {
        /// Bytes.
        bytes: u32,
        /// For so many milliseconds.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// No WINDOW_UPDATE any more (H15).
    WithholdWindow(Window),
    /// Size of the table for compressed headers, in bytes; at the connection's beginning (H15).
    HeaderTableSize(u32),
    /// The next request is accepted, and the connection ends without an answer to it (H16).
    LoseAnswer {
        /// How it ends.
        #[serde(default)]
        then: Ending,
    },
}

/// The numbers of streams that may be open, one after the other and over again; the first one at once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamLimits {
    /// The numbers.
    pub limits: Vec<u32>,
    /// The next one after so many requests.
    #[serde(default)]
    pub every: Option<u64>,
    /// The next one after so many milliseconds.
    #[serde(default)]
    pub every_ms: Option<u64>,
}

/// How requests are refused unprocessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// They are not.
    Process,
    /// RST_STREAM with REFUSED_STREAM.
    #[default]
    Refuse,
    /// The same, and then another RST_STREAM with STREAM_CLOSED, as Apple's server does.
    RefuseTwice,
}

/// A GOAWAY frame and what follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GoAway {
    /// Error code: 0 is NO_ERROR.
    pub code: u32,
    /// Debug data as it is; if it is not said, `{"reason":"Shutdown"}`.
    pub debug: Option<String>,
    /// The last stream that is processed.
    pub last: LastStream,
    /// It is sent twice.
    pub twice: bool,
    /// It is sent when the headers of the next request are there, before its body.
    pub before_data: bool,
    /// What follows it.
    pub then: AfterGoAway,
}

/// The last stream id of a GOAWAY frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastStream {
    /// The newest one of which anything arrived.
    #[default]
    Equal,
    /// The newest one whose request was judged: those that are on their way are not processed.
    Below,
    /// 0: nothing that has no answer yet is processed.
    Zero,
    /// 2^31-1: it does not say.
    Max,
}

/// What follows a GOAWAY frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterGoAway {
    /// The connection is closed once what is to be processed is answered.
    #[default]
    Close,
    /// It stays open; later streams are refused.
    LeaveOpen,
    /// It stays open; later streams are never answered.
    Ignore,
}

/// What is wrong with answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AnswerFault {
    /// They come late: in the order of the requests with `fixed_ms`, in any order with `random_ms`. `further` counts
    /// requests.
    Delay(Delay),
    /// So many at a time, in reverse order; fewer if there was no further one within 100 milliseconds.
    Reversed(u32),
    /// RST_STREAM with this code comes instead; the request is processed.
    Reset(u32),
    /// The body comes in so many DATA frames.
    Split(u16),
    /// The headers come in so many HEADERS and CONTINUATION frames.
    HeaderFrames(u16),
    /// Headers and body come, and the stream stays open.
    NoEndStream,
    /// An error has headers only.
    HeadersOnly,
    /// An error has this body.
    Body(String),
    /// An error has this reason.
    Reason(String),
    /// An error has this `content-type`.
    ContentType(String),
    /// There is no `apns-id`.
    NoApnsId,
    /// What 410 says about the time.
    Timestamp(WrongTimestamp),
}

/// What a 410 says about the time instead of milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WrongTimestamp {
    /// Nothing.
    Absent,
    /// Seconds.
    Seconds,
    /// Milliseconds as a JSON string.
    Text,
}

/// When a connection begins to answer everything with the same error, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wedge {
    /// At once, with InternalServerError.
    Now,
    /// Once it has answered ExpiredProviderToken, with InternalServerError.
    AfterExpiredToken,
    /// Once it has answered ExpiredProviderToken, with the same again, whatever the token.
    ExpiredTokenSticks,
}

/// A flow-control window of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// Of the connection.
    Connection,
    /// Of each stream.
    Stream,
}

impl Http2Fault {
    /// What is wrong with its numbers and names.
    pub(super) fn problem(&self) -> Option<CommandError> {
        let text = match self {
            Self::Streams(streams) if streams.limits.is_empty() => "`streams` needs at least one number in `limits`",
            Self::Streams(StreamLimits { every: Some(0), .. } | StreamLimits { every_ms: Some(0), .. }) => {
                "`every` and `every_ms` are at least 1"
            }
            Self::Refuse { one_in: 0, .. } | Self::Answer { one_in: 0, .. } => "`one_in` is at least 1",
            Self::Answer {
                how: AnswerFault::Reversed(0) | AnswerFault::Split(0) | AnswerFault::HeaderFrames(0),
                ..
            } => "`reversed`, `split` and `header_frames` are at least 1",
            Self::Answer { how: AnswerFault::Delay(delay), .. } => delay.problem()?,
            Self::ErrorBudget { bad_tokens: 0, .. } => "`bad_tokens` is at least 1",
            Self::InitialWindow { bytes: 0x8000_0000.., .. } => "a window is less than 2^31 bytes",
            Self::Status { reason, .. } => {
                return ApnsReason::from_name(reason).is_none().then_some(CommandError::UnknownReason);
            }
            Self::Streams(_)
            | Self::RejectionLimit { .. }
            | Self::Refuse { .. }
            | Self::ExcessIsFatal
            | Self::GoAway(_)
            | Self::Answer { .. }
            | Self::Wedge(_)
            | Self::ErrorBudget { .. }
            | Self::Ping
            | Self::PingsUnanswered
            | Self::SettingsLate(_)
            | Self::InitialWindow { .. }
            | Self::WithholdWindow(_)
            | Self::HeaderTableSize(_)
            | Self::LoseAnswer { .. } => return None,
        };
        Some(CommandError::Range(text))
    }
}

fn one() -> u32 {
    1
}
