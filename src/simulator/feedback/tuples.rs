//! Feedback tuples as bytes, and the pieces in which they are sent. Pure.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::command::FeedbackFault;
use crate::domain::time::Timestamp;

/// A device that the app is gone from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedbackTuple {
    /// Since when; Unix seconds.
    pub timestamp: u32,
    /// Its token, of any length up to 65,535 bytes, even empty; hex in JSON.
    #[serde(deserialize_with = "hex")]
    pub token: Box<[u8]>,
}

impl FeedbackTuple {
    /// A device that the app is gone from since this time.
    pub fn new(timestamp: Timestamp, token: &[u8]) -> Self {
        Self { timestamp: u32::try_from(timestamp.as_secs()).unwrap_or(u32::MAX), token: token.into() }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.timestamp.to_be_bytes());
        out.extend(u16::try_from(self.token.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(&*self.token);
    }
}

fn hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<[u8]>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 && digits.len() <= 2 * usize::from(u16::MAX) => {
            Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
        Some(_) | None => Err(D::Error::custom("`token` is an even number of hex digits, at most 131070")),
    }
}

/// How a list is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pattern {
    cut: Option<u64>,
    pause: Option<(usize, Duration)>,
    trickle: Option<(u16, Duration)>,
    pub(super) never_close: bool,
    pub(super) reset: bool,
}

/// Bytes that are written at once, and the pause after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) pause: Duration,
}

/// What is written on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) pieces: Vec<Piece>,
    /// How many tuples that is, without one that is cut off.
    pub(super) whole: usize,
}

impl Pattern {
    /// All faults of a connection together.
    pub(super) fn of(faults: &[FeedbackFault]) -> Self {
        let mut pattern = Self::default();
        for fault in faults {
            match fault {
                FeedbackFault::Cut(bytes) => pattern.cut = Some(*bytes),
                FeedbackFault::Pause { after, ms } => pattern.pause = Some((*after, Duration::from_millis(*ms))),
                FeedbackFault::Trickle { bytes, ms } => {
                    pattern.trickle = Some(((*bytes).max(1), Duration::from_millis(*ms)));
                }
                FeedbackFault::NeverClose => pattern.never_close = true,
                FeedbackFault::Reset => pattern.reset = true,
            }
        }
        pattern
    }

    /// The bytes of a list, in the pieces in which they are to be written.
    pub(super) fn outgoing<'a>(&self, tuples: impl Iterator<Item = &'a FeedbackTuple>) -> Outgoing {
        let most = self.cut.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let mut bytes = Vec::new();
        let mut whole = 0;
        let mut pause_at = None;
        for (index, tuple) in tuples.enumerate() {
            if self.pause.is_some_and(|(after, _)| after == index) {
                pause_at = Some(bytes.len());
            }
            tuple.encode(&mut bytes);
            whole += usize::from(bytes.len() <= most);
        }
        bytes.truncate(most);
        let (first, second) = bytes.split_at(pause_at.unwrap_or(bytes.len()).min(bytes.len()));
        let mut pieces = self.trickle(first);
        if let (Some((_, pause)), Some(last)) = (self.pause, pieces.last_mut()) {
            last.pause = pause;
        }
        pieces.extend(self.trickle(second));
        Outgoing { pieces, whole }
    }

    fn trickle(&self, bytes: &[u8]) -> Vec<Piece> {
        let (size, pause) =
            self.trickle.map_or((usize::MAX, Duration::ZERO), |(size, pause)| (usize::from(size), pause));
        bytes.chunks(size).map(|bytes| Piece { bytes: bytes.to_vec(), pause }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(timestamp: u32, token: &[u8]) -> FeedbackTuple {
        FeedbackTuple { timestamp, token: token.into() }
    }

    fn outgoing(faults: &[FeedbackFault]) -> Outgoing {
        let tuples = [tuple(0x5e0b_e100, &[1, 2]), tuple(0xffff_ffff, &[]), tuple(1, &[3])];
        Pattern::of(faults).outgoing(tuples.iter())
    }

    const BYTES: [u8; 21] = [0x5e, 0x0b, 0xe1, 0, 0, 2, 1, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 3];

    fn piece(bytes: &[u8], ms: u64) -> Piece {
        Piece { bytes: bytes.to_vec(), pause: Duration::from_millis(ms) }
    }

    #[test]
    fn a_list_is_these_bytes_in_one_piece() {
        assert_eq!(outgoing(&[]), Outgoing { pieces: vec![piece(&BYTES, 0)], whole: 3 });
    }

    #[test]
    fn a_list_is_cut_inside_a_tuple() {
        let cut = outgoing(&[FeedbackFault::Cut(15)]);
        assert_eq!(cut, Outgoing { pieces: vec![piece(&BYTES[..15], 0)], whole: 2 });
    }

    #[test]
    fn a_list_pauses_between_two_tuples() {
        let paused = outgoing(&[FeedbackFault::Pause { after: 1, ms: 1500 }]);
        assert_eq!(paused.pieces, [piece(&BYTES[..8], 1500), piece(&BYTES[8..], 0)]);
    }

    #[test]
    fn a_list_trickles() {
        let slow = outgoing(&[FeedbackFault::Trickle { bytes: 10, ms: 3 }]);
        assert_eq!(slow.pieces, [piece(&BYTES[..10], 3), piece(&BYTES[10..20], 3), piece(&BYTES[20..], 3)]);
    }

    #[test]
    fn a_token_in_json_is_hex_of_any_length() {
        let parse = serde_json::from_str::<FeedbackTuple>;
        assert_eq!(parse(r#"{"timestamp": 1, "token": "0aFf"}"#).unwrap(), tuple(1, &[0x0a, 0xff]));
        assert_eq!(parse(r#"{"timestamp": 1, "token": ""}"#).unwrap(), tuple(1, &[]));
        assert!(parse(r#"{"timestamp": 1, "token": "abc"}"#).unwrap_err().to_string().contains("hex digits"));
    }
}
