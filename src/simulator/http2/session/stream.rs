//! A stream: the request as far as it has come, and the answer as far as the client's windows let it go.

use bytes::{Bytes, BytesMut};

use super::CONNECTION_WINDOW;
use crate::simulator::http2::frame::{self, ConnectionError, PAYLOAD_MAX, code};
use crate::simulator::http2::hpack::{Field, TABLE_SIZE_DEFAULT};

/// Largest window, in bytes (RFC 9113 section 6.9.1).
pub(super) const WINDOW_MAX: i64 = 0x7fff_ffff;

/// A stream that is open or half-closed.
pub(super) struct Stream {
    pub(super) headers: Vec<Field>,
    pub(super) body: Vec<u8>,
    /// It was opened beyond the limit.
    pub(super) excess: bool,
    /// The client has no more to send.
    pub(super) ended: bool,
    /// What the client may still send, in bytes; below 0 after a setting made it smaller.
    pub(super) receive_window: i64,
    pub(super) answer: Answer,
}

/// The server's side of a stream.
pub(super) struct Answer {
    /// What may still be sent, in bytes; below 0 after a setting of the client made it smaller.
    pub(super) window: i64,
    body: Bytes,
    /// Longest piece of the body.
    piece_max: usize,
    ends_stream: bool,
    begun: bool,
}

impl Answer {
    /// None yet.
    pub(super) fn new(window: i64) -> Self {
        Self { window, body: Bytes::new(), piece_max: 0, ends_stream: false, begun: false }
    }

    /// The headers are sent; this is to follow them, in at least so many frames.
    pub(super) fn begin(&mut self, body: Vec<u8>, frames: usize, ends_stream: bool) {
        self.piece_max = body.len().div_ceil(frames.max(1));
        self.body = body.into();
        self.ends_stream = ends_stream;
        self.begun = true;
    }

    /// The headers are sent.
    pub(super) fn is_begun(&self) -> bool {
        self.begun
    }

    /// END_STREAM is sent.
    pub(super) fn is_complete(&self) -> bool {
        self.begun && self.ends_stream && self.body.is_empty()
    }
}

/// What bounds everything that is sent: the client's settings and the connection's window.
pub(super) struct Sender {
    /// What may still be sent on the connection, in bytes.
    pub(super) window: i64,
    /// The window of a new stream, in bytes.
    pub(super) initial_window: i64,
    /// Longest payload of a frame, in bytes.
    pub(super) payload_max: usize,
    /// Largest dynamic table that the client lets us use, in bytes.
    pub(super) table_max: u32,
    /// It became smaller: the next header block has to say so.
    pub(super) must_empty_table: bool,
}

impl Sender {
    /// Before the client's SETTINGS.
    pub(super) fn new() -> Self {
        Self {
            window: CONNECTION_WINDOW,
            initial_window: 65_535,
            payload_max: PAYLOAD_MAX,
            table_max: TABLE_SIZE_DEFAULT,
            must_empty_table: false,
        }
    }

    /// Sends of an answer what the windows allow.
    pub(super) fn send(&mut self, stream: u32, answer: &mut Answer, out: &mut BytesMut) {
        while !answer.body.is_empty() {
            let window = usize::try_from(self.window.min(answer.window)).unwrap_or(0);
            let length = answer.body.len().min(answer.piece_max).min(self.payload_max).min(window);
            if length == 0 {
                return;
            }
            let piece = answer.body.split_to(length);
            self.window -= length as i64;
            answer.window -= length as i64;
            frame::put_data(stream, &piece, answer.ends_stream && answer.body.is_empty(), out);
        }
    }

    /// The client opens the connection's window.
    pub(super) fn open(&mut self, increment: u32) -> Result<(), ConnectionError> {
        let wide = ConnectionError::new(code::FLOW_CONTROL_ERROR, "the connection's window beyond 2147483647 bytes");
        self.window = widened(self.window, i64::from(increment)).ok_or(wide)?;
        Ok(())
    }
}

/// A window with so many bytes more; `None` beyond the largest.
pub(super) fn widened(window: i64, bytes: i64) -> Option<i64> {
    Some(window + bytes).filter(|window| *window <= WINDOW_MAX)
}
