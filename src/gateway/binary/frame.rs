//! The packets of the binary gateway, both ways: commands 0, 1 and 2, and the error packet. Pure: bytes in, bytes out.
//!
//! Source: Binary Provider API and Legacy Notification Format (Local and Remote Notification Programming Guide).
//! All integers are big-endian. The daemon sends command 2 only; the simulator reads all three.

use bytes::{BufMut, BytesMut};

use crate::domain::batch::Notification;

/// Length of an error packet.
pub const ERROR_PACKET_LEN: usize = 6;
/// Longest body of a command 2 frame that is read; beyond it the stream is taken for garbage.
pub const FRAME_BODY_MAX: usize = 64 * 1024;

const COMMAND_FRAME: u8 = 2;
const COMMAND_ERROR: u8 = 8;
const ITEM_TOKEN: u8 = 1;
const ITEM_PAYLOAD: u8 = 2;
const ITEM_IDENTIFIER: u8 = 3;
const ITEM_EXPIRATION: u8 = 4;
const ITEM_PRIORITY: u8 = 5;
const ITEM_HEAD: usize = 3;
const FRAME_HEAD: usize = 5;

/// Priority that a frame carries where the caller named none.
pub const PRIORITY_DEFAULT: u8 = 10;

/// Bytes that [`encode_frame`] will append for a notification.
pub fn frame_len(notification: &Notification<'_>) -> usize {
    let token = notification.token.len();
    let payload = notification.message.payload.len();
    FRAME_HEAD + 5 * ITEM_HEAD + 4 + token + payload + 4 + 1
}

/// Appends a command 2 frame with all five items, identifier first, so that even a frame that the gateway cannot read
/// to its end can be named in its answer. Token and payload are at most 65,535 bytes each.
pub fn encode_frame(identifier: u32, notification: &Notification<'_>, out: &mut BytesMut) {
    let options = &notification.message.options;
    out.reserve(frame_len(notification));
    out.put_u8(COMMAND_FRAME);
    put_u32_len(out, frame_len(notification) - FRAME_HEAD);
    put_item(out, ITEM_IDENTIFIER, &identifier.to_be_bytes());
    put_item(out, ITEM_TOKEN, notification.token);
    put_item(out, ITEM_PAYLOAD, &notification.message.payload);
    put_item(out, ITEM_EXPIRATION, &options.expiration.unwrap_or(0).to_be_bytes());
    put_item(out, ITEM_PRIORITY, &[options.priority.unwrap_or(PRIORITY_DEFAULT)]);
}

/// Appends a sentinel: a frame that is known to be bad (zero-length token, empty payload). Its rejection proves that
/// everything before it was processed.
pub fn encode_sentinel(identifier: u32, out: &mut BytesMut) {
    out.put_u8(COMMAND_FRAME);
    put_u32_len(out, 5 * ITEM_HEAD + 4 + 4 + 1);
    put_item(out, ITEM_IDENTIFIER, &identifier.to_be_bytes());
    put_item(out, ITEM_TOKEN, &[]);
    put_item(out, ITEM_PAYLOAD, &[]);
    put_item(out, ITEM_EXPIRATION, &[0; 4]);
    put_item(out, ITEM_PRIORITY, &[PRIORITY_DEFAULT]);
}

fn put_item(out: &mut BytesMut, item: u8, data: &[u8]) {
    out.put_u8(item);
    out.put_u16(u16::try_from(data.len()).unwrap_or(u16::MAX));
    out.put_slice(data);
}

fn put_u32_len(out: &mut BytesMut, length: usize) {
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// The only packet that a gateway sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorPacket {
    /// Status code; see [`Reason::from_binary_status`](crate::domain::outcome::Reason::from_binary_status).
    pub status: u8,
    /// Identifier of the notification that it is about; 0 where the gateway cannot say.
    pub identifier: u32,
}

impl ErrorPacket {
    /// Reads a packet; `None` when its command byte is not 8.
    pub fn decode(bytes: [u8; ERROR_PACKET_LEN]) -> Option<Self> {
        let [command, status, a, b, c, d] = bytes;
        (command == COMMAND_ERROR).then_some(Self { status, identifier: u32::from_be_bytes([a, b, c, d]) })
    }

    /// The packet as bytes.
    pub fn encode(self) -> [u8; ERROR_PACKET_LEN] {
        let [a, b, c, d] = self.identifier.to_be_bytes();
        [COMMAND_ERROR, self.status, a, b, c, d]
    }
}

/// A packet as a gateway receives it. Items that a frame lacks, or a command does not have, are `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// 0, 1 or 2.
    pub command: u8,
    /// Identifier, opaque to the gateway.
    pub identifier: Option<u32>,
    /// Device token of any length.
    pub token: Option<&'a [u8]>,
    /// Payload of any length.
    pub payload: Option<&'a [u8]>,
    /// Unix seconds; 0: do not store.
    pub expiration: Option<u32>,
    /// Any value: 10, 5 and 1 mean something.
    pub priority: Option<u8>,
}

/// What stands at the head of a receive buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// Not all of it is there yet.
    Incomplete,
    /// A whole packet, and the bytes that it took.
    Packet(Packet<'a>, usize),
    /// Nothing that a gateway could read, with the identifier where it was read before.
    Malformed(Option<u32>),
}

/// Reads the packet at the head of a receive buffer. Time and memory are linear in its length.
pub fn decode(bytes: &[u8]) -> Decoded<'_> {
    match bytes.first() {
        None => Decoded::Incomplete,
        Some(0) => decode_legacy(bytes, Reader(&bytes[1..]), false),
        Some(1) => decode_legacy(bytes, Reader(&bytes[1..]), true),
        Some(&COMMAND_FRAME) => decode_frame(bytes),
        Some(_) => Decoded::Malformed(None),
    }
}

fn decode_legacy<'a>(bytes: &'a [u8], mut reader: Reader<'a>, enhanced: bool) -> Decoded<'a> {
    let mut read = || {
        let (identifier, expiration) = match enhanced {
            true => (Some(reader.u32()?), Some(reader.u32()?)),
            false => (None, None),
        };
        let token = reader.counted()?;
        let payload = reader.counted()?;
        let command = u8::from(enhanced);
        Some(Packet { command, identifier, token: Some(token), payload: Some(payload), expiration, priority: None })
    };
    match read() {
        Some(packet) => Decoded::Packet(packet, bytes.len() - reader.0.len()),
        None => Decoded::Incomplete,
    }
}

fn decode_frame(bytes: &[u8]) -> Decoded<'_> {
    let mut reader = Reader(&bytes[1..]);
    let Some(length) = reader.u32() else { return Decoded::Incomplete };
    let length = length as usize;
    if length > FRAME_BODY_MAX {
        return Decoded::Malformed(None);
    }
    let Some(body) = reader.take(length) else { return Decoded::Incomplete };
    let mut items = Reader(body);
    let mut packet = Packet {
        command: COMMAND_FRAME,
        identifier: None,
        token: None,
        payload: None,
        expiration: None,
        priority: None,
    };
    while !items.0.is_empty() {
        if read_item(&mut items, &mut packet).is_none() {
            return Decoded::Malformed(packet.identifier);
        }
    }
    Decoded::Packet(packet, FRAME_HEAD + length)
}

/// Reads one item into the packet; `None` when it is cut off, unknown, doubled or of the wrong length.
fn read_item<'a>(items: &mut Reader<'a>, packet: &mut Packet<'a>) -> Option<()> {
    let item = items.u8()?;
    let data = items.counted()?;
    let first = match item {
        ITEM_TOKEN => packet.token.replace(data).is_none(),
        ITEM_PAYLOAD => packet.payload.replace(data).is_none(),
        ITEM_IDENTIFIER => packet.identifier.replace(u32::from_be_bytes(data.try_into().ok()?)).is_none(),
        ITEM_EXPIRATION => packet.expiration.replace(u32::from_be_bytes(data.try_into().ok()?)).is_none(),
        ITEM_PRIORITY => {
            let [priority] = data else { return None };
            packet.priority.replace(*priority).is_none()
        }
        _ => false,
    };
    first.then_some(())
}

/// Reads from the head of a slice and never past its end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        let bytes = self.take(4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }

    /// A 16-bit length and as many bytes.
    fn counted(&mut self) -> Option<&'a [u8]> {
        let bytes = self.take(2)?;
        let length = u16::from_be_bytes(bytes.try_into().ok()?);
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests;
