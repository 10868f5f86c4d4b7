//! The feedback service: which devices no longer have the app. One connection, one list, read to its end.
//!
//! The service forgets what it sent: whatever arrived is handed on, however the connection ends.
//! Source: Binary Provider API, "The Feedback Service".

use std::io::ErrorKind;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use thiserror::Error;
use tokio::io::AsyncReadExt as _;

use crate::clock::Clock;
use crate::domain::feedback::FeedbackEntry;
use crate::domain::time::Timestamp;
use crate::gateway::tls::{Connector, Failure, Stream};
use crate::gateway::{CloseCause, Route, RouteError};

/// Most entries of one read, which bounds its memory; the rest would come with the next one.
pub const ENTRIES_MAX: usize = 1_000_000;

const TUPLE_HEAD: usize = 6;

/// What one read of the feedback service brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackRead {
    /// The entries, in the order in which they came.
    pub entries: Vec<FeedbackEntry>,
    /// Why there may have been more; `None` when the list was read to its end.
    pub incomplete: Option<String>,
}

/// Why nothing could be read from the feedback service.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FeedbackError {
    /// The environment has no feedback service.
    #[error("environment `{0}` has no `feedback` address")]
    NoService(String),
    /// There can be no connection with this configuration.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// No connection, or one that ended before anything was read; in the same words as a gateway's.
    #[error("feedback service: {0}")]
    Closed(CloseCause),
}

/// Reads the tuple at the head of a buffer, and says how many bytes it took; `None` while it is incomplete.
///
/// `time u32 | token length u16 | token`, big-endian; the time is in Unix seconds.
pub fn decode(bytes: &[u8]) -> Option<(FeedbackEntry, usize)> {
    let (head, rest) = bytes.split_first_chunk::<TUPLE_HEAD>()?;
    let [a, b, c, d, length @ ..] = *head;
    let token = rest.get(..usize::from(u16::from_be_bytes(length)))?;
    let timestamp = Timestamp::from_secs(i64::from(u32::from_be_bytes([a, b, c, d])));
    Some((FeedbackEntry { timestamp, token: token.into() }, TUPLE_HEAD + token.len()))
}

/// Connects to the route's feedback service and reads its list to the end.
///
/// The list ends where the service closes the connection. A pause does not end it: the service is given up only after
/// a silence as long as the route's connect time-out.
pub async fn read_feedback(route: &Route, clock: &Clock) -> Result<FeedbackRead, FeedbackError> {
    let environment = &route.environment;
    let address = environment.feedback.as_ref();
    let address = address.ok_or_else(|| FeedbackError::NoService(environment.name.as_ref().to_owned()))?;
    let connector = Connector::new(route, address, &[], route.connect_timeout)?;
    let (stream, peer) = connector.connect(clock).await.map_err(FeedbackError::Closed)?;
    let (app, environment) = (&route.app, &environment.name);
    tracing::debug!(%app, %environment, %peer, "reading feedback");
    let list = read_list(stream, route.connect_timeout, clock).await;
    match list.end {
        End::Complete => Ok(FeedbackRead { entries: list.entries, incomplete: None }),
        End::Cut(words) => Ok(FeedbackRead { entries: list.entries, incomplete: Some(words) }),
        End::Broken(cause) if list.entries.is_empty() => Err(FeedbackError::Closed(cause)),
        End::Broken(cause) => Ok(FeedbackRead { entries: list.entries, incomplete: Some(cause.to_string()) }),
    }
}

struct List {
    entries: Vec<FeedbackEntry>,
    end: End,
}

enum End {
    /// Closed between two tuples.
    Complete,
    /// Ended inside a tuple, or too long.
    Cut(String),
    /// The connection failed.
    Broken(CloseCause),
}

async fn read_list(mut stream: Stream, silence_max: Duration, clock: &Clock) -> List {
    let mut entries = Vec::new();
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    let end = loop {
        let read = tokio::select! {
            biased;
            read = stream.read_buf(&mut buffer) => read,
            () = clock.sleep(silence_max) => {
                let words = format!("the feedback service was silent for {} s", silence_max.as_secs_f32());
                break End::Broken(CloseCause::Dead(words));
            }
        };
        while let Some((entry, length)) = decode(&buffer).filter(|_| entries.len() < ENTRIES_MAX) {
            entries.push(entry);
            buffer.advance(length);
        }
        if entries.len() == ENTRIES_MAX {
            break End::Cut(format!("stopped after {ENTRIES_MAX} entries"));
        }
        match read {
            Ok(1..) => {}
            Ok(0) => break end_of_stream(&buffer),
            // Closed on TCP only: many servers do not say goodbye the way TLS wants it.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break end_of_stream(&buffer),
            Err(error) => break End::Broken(broken(&error)),
        }
    };
    List { entries, end }
}

fn end_of_stream(rest: &[u8]) -> End {
    match rest.len() {
        0 => End::Complete,
        length => End::Cut(format!("the connection ended {length} bytes into an entry")),
    }
}

fn broken(error: &std::io::Error) -> CloseCause {
    match Failure::of(error) {
        Failure::Refused(alert) => CloseCause::Refused(alert),
        Failure::Closed => CloseCause::Dead(error.to_string()),
        Failure::Lost(words) => CloseCause::Dead(words),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tuple_is_these_38_bytes() {
        let mut bytes = vec![0x5e, 0x0b, 0xe1, 0x00, 0x00, 0x20];
        bytes.extend(0x10..=0x2f);
        bytes.push(0xff);
        let entry = FeedbackEntry { timestamp: Timestamp::from_secs(1_577_836_800), token: (0x10..=0x2f).collect() };
        assert_eq!(decode(&bytes), Some((entry, 38)));
    }

    #[test]
    fn times_after_2038_and_tokens_of_any_length_are_read() {
        let entry = FeedbackEntry { timestamp: Timestamp::from_secs(4_294_967_295), token: Box::new([]) };
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff, 0, 0]), Some((entry, 6)));
        let mut bytes = vec![0, 0, 0, 1, 0xff, 0xff];
        bytes.resize(6 + 65_535, 7);
        assert_eq!(decode(&bytes).unwrap().1, 65_541);
    }

    proptest! {
        #[test]
        fn a_tuple_cut_anywhere_is_incomplete(token in proptest::collection::vec(any::<u8>(), 0..150), cut: usize) {
            let mut bytes = vec![0, 0, 0, 1];
            bytes.extend(u16::try_from(token.len()).unwrap().to_be_bytes());
            bytes.extend(&token);
            prop_assert_eq!(decode(&bytes[..cut % bytes.len()]), None);
            prop_assert_eq!(&*decode(&bytes).unwrap().0.token, &token[..]);
        }
    }
}
