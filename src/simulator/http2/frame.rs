//! The frames of HTTP/2 (RFC 9113 section 4 and 6), as a server reads and writes them. Pure: bytes in, bytes out. What a
//! frame means, and whether it may come now, is the session's matter.

#[cfg(test)]
pub(super) mod tests;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// What a client sends first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest payload of a frame that is read, in bytes, and that a peer takes before it has said otherwise.
pub(super) const PAYLOAD_MAX: usize = 16_384;

const HEAD: usize = 9;
const STREAM_MASK: u32 = 0x7fff_ffff;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITIZED: u8 = 0x20;

/// Error codes of RFC 9113 section 7 that a session itself has a use for.
pub(super) mod code {
    pub(in crate::simulator::http2) const PROTOCOL_ERROR: u32 = 0x1;
    pub(in crate::simulator::http2) const FLOW_CONTROL_ERROR: u32 = 0x3;
    pub(in crate::simulator::http2) const STREAM_CLOSED: u32 = 0x5;
    pub(in crate::simulator::http2) const FRAME_SIZE_ERROR: u32 = 0x6;
    pub(in crate::simulator::http2) const COMPRESSION_ERROR: u32 = 0x9;
    pub(in crate::simulator::http2) const ENHANCE_YOUR_CALM: u32 = 0xb;
}

/// Identifiers of settings (RFC 9113 section 6.5.2).
pub(super) mod setting {
    pub(in crate::simulator::http2) const HEADER_TABLE_SIZE: u16 = 1;
    pub(in crate::simulator::http2) const ENABLE_PUSH: u16 = 2;
    pub(in crate::simulator::http2) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(in crate::simulator::http2) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(in crate::simulator::http2) const MAX_FRAME_SIZE: u16 = 5;
    pub(in crate::simulator::http2) const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// What a client did that ends its connection.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{words} (HTTP/2 error code {code})")]
pub(super) struct ConnectionError {
    /// Error code of RFC 9113 section 7.
    pub(super) code: u32,
    /// What it did.
    pub(super) words: &'static str,
}

impl ConnectionError {
    /// An error with a code of RFC 9113 section 7.
    pub(super) const fn new(code: u32, words: &'static str) -> Self {
        Self { code, words }
    }
}

/// A frame that was read, without its padding.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) enum Frame {
    /// Part of a request's body. `length` is what it takes from the windows, in bytes: padding counts.
    Data { stream: u32, data: Bytes, length: u32, ends_stream: bool },
    /// A header block, or its beginning.
    Headers { stream: u32, fragment: Bytes, ends_headers: bool, ends_stream: bool },
    /// Deprecated advice; it means nothing here.
    Priority,
    /// The end of one stream.
    Reset { stream: u32, code: u32 },
    /// Pairs of identifier and value.
    Settings(Vec<(u16, u32)>),
    /// The peer has applied our oldest settings that it had not applied yet.
    SettingsAcknowledged,
    /// What only a server may send.
    PushPromise,
    /// Is answered with the same payload.
    Ping { payload: [u8; 8] },
    /// The answer to one.
    PingAcknowledged { payload: [u8; 8] },
    /// The peer ends the connection.
    GoAway { last_stream: u32, code: u32, debug: Bytes },
    /// So many bytes more may be sent; stream 0 is the connection.
    WindowUpdate { stream: u32, increment: u32 },
    /// More of a header block.
    Continuation { stream: u32, fragment: Bytes, ends_headers: bool },
    /// A type that RFC 9113 does not know, and which is to be ignored.
    Unknown,
}

/// Takes the first frame out of `input`; `None` where it is not complete. `input` is of no use after an error.
pub(super) fn decode(input: &mut BytesMut) -> Result<Option<Frame>, ConnectionError> {
    let Some(mut head) = input.get(..HEAD) else { return Ok(None) };
    let length = usize::try_from(head.get_uint(3)).unwrap_or(usize::MAX);
    let (kind, flags, stream) = (head.get_u8(), head.get_u8(), head.get_u32() & STREAM_MASK);
    if length > PAYLOAD_MAX {
        return Err(ConnectionError::new(code::FRAME_SIZE_ERROR, "a frame longer than 16384 bytes"));
    }
    if input.len() < HEAD + length {
        return Ok(None);
    }
    input.advance(HEAD);
    decode_payload(kind, flags, stream, input.split_to(length).freeze()).map(Some)
}

fn decode_payload(kind: u8, flags: u8, stream: u32, mut payload: Bytes) -> Result<Frame, ConnectionError> {
    check_place(kind, stream)?;
    check_length(kind, flags, payload.len())?;
    let is = |flag| flags & flag != 0;
    Ok(match kind {
        DATA => {
            let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
            Frame::Data {
                stream,
                data: without_padding(payload, is(PADDED), false)?,
                length,
                ends_stream: is(END_STREAM),
            }
        }
        HEADERS => {
            let fragment = without_padding(payload, is(PADDED), is(PRIORITIZED))?;
            Frame::Headers { stream, fragment, ends_headers: is(END_HEADERS), ends_stream: is(END_STREAM) }
        }
        PRIORITY => Frame::Priority,
        RST_STREAM => Frame::Reset { stream, code: payload.get_u32() },
        SETTINGS if is(ACK) => Frame::SettingsAcknowledged,
        SETTINGS => {
            let pairs = payload.len() / 6;
            Frame::Settings((0..pairs).map(|_| (payload.get_u16(), payload.get_u32())).collect())
        }
        PUSH_PROMISE => Frame::PushPromise,
        PING if is(ACK) => Frame::PingAcknowledged { payload: payload.get_u64().to_be_bytes() },
        PING => Frame::Ping { payload: payload.get_u64().to_be_bytes() },
        GOAWAY => {
            Frame::GoAway { last_stream: payload.get_u32() & STREAM_MASK, code: payload.get_u32(), debug: payload }
        }
        WINDOW_UPDATE => Frame::WindowUpdate { stream, increment: payload.get_u32() & STREAM_MASK },
        CONTINUATION => Frame::Continuation { stream, fragment: payload, ends_headers: is(END_HEADERS) },
        _ => Frame::Unknown,
    })
}

/// Some frames belong to a stream, some to the connection, which is stream 0.
fn check_place(kind: u8, stream: u32) -> Result<(), ConnectionError> {
    let words = match (kind, stream) {
        (DATA | HEADERS | PRIORITY | RST_STREAM | PUSH_PROMISE | CONTINUATION, 0) => "a frame of a stream without one",
        (SETTINGS | PING | GOAWAY, 1..) => "a frame of the connection on a stream",
        _ => return Ok(()),
    };
    Err(ConnectionError::new(code::PROTOCOL_ERROR, words))
}

fn check_length(kind: u8, flags: u8, length: usize) -> Result<(), ConnectionError> {
    let fits = match kind {
        PRIORITY => length == 5,
        RST_STREAM | WINDOW_UPDATE => length == 4,
        SETTINGS if flags & ACK != 0 => length == 0,
        SETTINGS => length.is_multiple_of(6),
        PING => length == 8,
        GOAWAY => length >= 8,
        _ => true,
    };
    let error = ConnectionError::new(code::FRAME_SIZE_ERROR, "a frame whose length does not fit its type");
    if fits { Ok(()) } else { Err(error) }
}

/// Takes off padding and the priority fields of HEADERS.
fn without_padding(mut payload: Bytes, padded: bool, prioritized: bool) -> Result<Bytes, ConnectionError> {
    let too_short = ConnectionError::new(code::FRAME_SIZE_ERROR, "a frame too short for its flags");
    let padding = if padded { payload.try_get_u8().map_err(|_| too_short)? } else { 0 };
    let priority = if prioritized { 5 } else { 0 };
    if payload.len() < priority {
        return Err(too_short);
    }
    payload.advance(priority);
    let Some(length) = payload.len().checked_sub(usize::from(padding)) else {
        return Err(ConnectionError::new(code::PROTOCOL_ERROR, "padding longer than its frame"));
    };
    payload.truncate(length);
    Ok(payload)
}

/// Appends a part of a body of at most 16,777,215 bytes.
pub(super) fn put_data(stream: u32, data: &[u8], ends_stream: bool, out: &mut BytesMut) {
    put_head(DATA, if ends_stream { END_STREAM } else { 0 }, stream, data.len(), out);
    out.put_slice(data);
}

/// Appends a header block as HEADERS and as many CONTINUATIONs as it takes: at least `frames` in all, and no payload
/// longer than `payload_max`.
pub(super) fn put_headers(
    stream: u32,
    mut block: &[u8],
    ends_stream: bool,
    frames: usize,
    payload_max: usize,
    out: &mut BytesMut,
) {
    let share = block.len().div_ceil(frames.max(1)).min(payload_max).max(1);
    let frames = frames.max(block.len().div_ceil(share)).max(1);
    for index in 0..frames {
        let (fragment, rest) = block.split_at(share.min(block.len()));
        let kind = if index == 0 { HEADERS } else { CONTINUATION };
        let ends_headers = if index + 1 == frames { END_HEADERS } else { 0 };
        let ends_stream = if index == 0 && ends_stream { END_STREAM } else { 0 };
        put_head(kind, ends_headers | ends_stream, stream, fragment.len(), out);
        out.put_slice(fragment);
        block = rest;
    }
}

/// Appends the end of one stream.
pub(super) fn put_reset(stream: u32, code: u32, out: &mut BytesMut) {
    put_head(RST_STREAM, 0, stream, 4, out);
    out.put_u32(code);
}

/// Appends settings: pairs of identifier and value.
pub(super) fn put_settings(pairs: &[(u16, u32)], out: &mut BytesMut) {
    put_head(SETTINGS, 0, 0, 6 * pairs.len(), out);
    for &(identifier, value) in pairs {
        out.put_u16(identifier);
        out.put_u32(value);
    }
}

/// Appends the word that the peer's settings are applied.
pub(super) fn put_settings_acknowledged(out: &mut BytesMut) {
    put_head(SETTINGS, ACK, 0, 0, out);
}

/// Appends a PING.
pub(super) fn put_ping(payload: [u8; 8], out: &mut BytesMut) {
    put_head(PING, 0, 0, payload.len(), out);
    out.put_slice(&payload);
}

/// Appends the answer to a PING.
pub(super) fn put_ping_acknowledged(payload: [u8; 8], out: &mut BytesMut) {
    put_head(PING, ACK, 0, payload.len(), out);
    out.put_slice(&payload);
}

/// Appends a GOAWAY.
pub(super) fn put_go_away(last_stream: u32, code: u32, debug: &[u8], out: &mut BytesMut) {
    put_head(GOAWAY, 0, 0, 8 + debug.len(), out);
    out.put_u32(last_stream & STREAM_MASK);
    out.put_u32(code);
    out.put_slice(debug);
}

/// Appends more window for a stream, or for the connection, which is stream 0.
pub(super) fn put_window_update(stream: u32, increment: u32, out: &mut BytesMut) {
    put_head(WINDOW_UPDATE, 0, stream, 4, out);
    out.put_u32(increment);
}

fn put_head(kind: u8, flags: u8, stream: u32, length: usize, out: &mut BytesMut) {
    out.reserve(HEAD + length);
    out.put_uint(length as u64, 3);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(stream & STREAM_MASK);
}
