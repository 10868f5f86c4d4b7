//! The stored form of a batch, and of the small values beside it. Pure: bytes in, values or an error out.
//!
//! A record is written once and never changed; it holds the content of a batch and nothing of its progress.
//!
//! # Layout, version 1
//!
//! ```text
//! record   = version:u8(1) accepted_at:i64 seed first-row:varint message-count:varint message* row-count:varint
//!            index-width:u8 token-length:u8 tokens indices checksum:u32
//! message  = payload-length:varint payload present:u8 [expiration:u32] [priority:u8]
//!            [collapse_id:text] [push_type:text] [topic:text]
//! seed     = 16 bytes
//! text     = length:varint UTF-8
//! tokens   = row-count × token-length bytes            where token-length is 1 to 255
//!          | row-count × (length:varint bytes)         where token-length is 0
//! indices  = row-count × index-width bytes: the message of each row
//! ```
//!
//! Numbers are little-endian, `accepted_at` is milliseconds since 1970. The ids of rows are made from the seed, and from
//! their numbers beginning with `first-row`: a part of a batch keeps the ids that its rows had. A varint is LEB128 of at most 5 bytes. `present`
//! has bits 0 to 4 for the options in the order above; other bits are an error. `index-width` is 0 when there is exactly
//! one message, which all rows carry (a broadcast), else the smallest of 1, 2 and 4 that holds every index. Tokens of
//! one length cost their length and nothing more. The checksum is the CRC-32 of zlib and gzip over everything before it;
//! nothing follows it. A record is read only where its checksum is right: what was changed on the disk is never sent.
//!
//! # Limits
//!
//! At most [`RECORD_MAX`] bytes. Whatever the bytes say, decoding is linear in their number, and allocates no more than
//! a small multiple of it.
//!
//! # Compatibility
//!
//! | reader | record | |
//! |---|---|---|
//! | this one | version 1 | read |
//! | this one | a greater version, with its checksum | [`RecordError::Newer`]; the schema's version forbids the start |
//! | this one | any version, without its checksum | [`RecordError::Damaged`]: the version itself may be what changed |
//! | a later one | an older version | read: a version that was released is read for ever |
//!
//! Every change of the layout, also an added option, takes the next version. The first byte and the last four mean the
//! same in every version.

use std::sync::Arc;

use thiserror::Error;

use crate::domain::apns::{ApnsReason, IdSeed};
use crate::domain::batch::{Batch, Message, PushOptions, Tries};
use crate::domain::outcome::Reason;
use crate::domain::time::Timestamp;
use crate::domain::token::Tokens;

/// The version that is written.
const VERSION: u8 = 1;
/// Bytes of the checksum at the end.
const CHECKSUM_BYTES: usize = size_of::<u32>();
/// Largest record in bytes.
pub(super) const RECORD_MAX: usize = 256 << 20;

const EXPIRATION: u8 = 1;
const PRIORITY: u8 = 1 << 1;
const COLLAPSE_ID: u8 = 1 << 2;
const PUSH_TYPE: u8 = 1 << 3;
const TOPIC: u8 = 1 << 4;
const KNOWN_OPTIONS: u8 = EXPIRATION | PRIORITY | COLLAPSE_ID | PUSH_TYPE | TOPIC;

/// Why stored bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum RecordError {
    /// Written by a later version of the program.
    #[error("the record has version {found}, this apnsd reads up to {VERSION}")]
    Newer {
        /// The version of the record.
        found: u8,
    },
    /// Shorter than it says.
    #[error("the record is cut off")]
    CutOff,
    /// Something in it cannot be.
    #[error("the record is damaged: {0}")]
    Damaged(&'static str),
}

/// The record of a batch.
pub(super) fn encode(batch: &Batch) -> Vec<u8> {
    let rows = batch.rows();
    let mut record = Vec::with_capacity(batch.memory() + 64 + CHECKSUM_BYTES);
    record.push(VERSION);
    record.extend_from_slice(&batch.accepted_at().as_millis().to_le_bytes());
    let (seed, first_row) = batch.ids();
    record.extend_from_slice(&seed.0);
    put_varint(&mut record, first_row as usize);
    put_varint(&mut record, batch.messages().len());
    batch.messages().iter().for_each(|message| put_message(&mut record, message));
    put_varint(&mut record, rows as usize);
    let width = index_width(batch.messages().len());
    let length = common_length(batch);
    record.push(width);
    record.push(length);
    for row in 0..rows {
        let token = batch.notification(row).token;
        if length == 0 {
            put_varint(&mut record, token.len());
        }
        record.extend_from_slice(token);
    }
    if width > 0 {
        for row in 0..rows {
            let index = u32::try_from(batch.message_index(row)).unwrap_or(u32::MAX);
            record.extend_from_slice(&index.to_le_bytes()[..usize::from(width)]);
        }
    }
    let checksum = crc32fast::hash(&record);
    record.extend_from_slice(&checksum.to_le_bytes());
    record
}

/// The batch of a record.
pub(super) fn decode(record: &[u8]) -> Result<Batch, RecordError> {
    let (content, checksum) = record.split_last_chunk::<CHECKSUM_BYTES>().ok_or(RecordError::CutOff)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return Err(RecordError::Damaged("its checksum is another"));
    }
    let mut reader = Reader(content);
    let version = reader.byte()?;
    if version > VERSION {
        return Err(RecordError::Newer { found: version });
    }
    if version == 0 {
        return Err(RecordError::Damaged("version 0"));
    }
    let accepted_at = Timestamp::from_millis(i64::from_le_bytes(reader.array()?));
    let (seed, first_row) = (IdSeed(reader.array()?), reader.varint()? as u32);
    let messages = reader.messages()?;
    let rows = reader.varint()?;
    let width = reader.byte()?;
    if width != index_width(messages.len()) {
        return Err(RecordError::Damaged("width of indices"));
    }
    let tokens = reader.tokens(rows)?;
    let message_of = reader.indices(rows, width)?;
    if !reader.0.is_empty() {
        return Err(RecordError::Damaged("bytes behind its end"));
    }
    let mut messages = messages;
    let batch = match (width, messages.pop()) {
        (0, Some(message)) => Batch::broadcast(accepted_at, tokens, message),
        (_, last) => {
            messages.extend(last);
            Batch::paired(accepted_at, tokens, messages, message_of)
                .ok_or(RecordError::Damaged("a row without a message"))?
        }
    };
    Ok(batch.with_ids(seed, first_row))
}

/// Tries as one number: `unknown`, `alone` and `transient`, lowest byte first.
pub(super) fn tries_number(tries: Tries) -> i64 {
    i64::from(u32::from_le_bytes([tries.unknown, tries.alone, tries.transient, 0]))
}

/// The tries of a number.
pub(super) fn tries_of(number: i64) -> Result<Tries, RecordError> {
    let number = u32::try_from(number).map_err(|_| RecordError::Damaged("tries"))?;
    match number.to_le_bytes() {
        [unknown, alone, transient, 0] => Ok(Tries { unknown, alone, transient }),
        _ => Err(RecordError::Damaged("tries")),
    }
}

/// The reason with this stored name and status: what [`Reason::name`] and [`Reason::status`] said when it was stored.
pub(super) fn reason_of(name: &str, status: Option<u16>) -> Result<Reason, RecordError> {
    let own = [
        Reason::ConnectionClosed,
        Reason::AttemptsExhausted,
        Reason::Expired,
        Reason::EnvironmentChanged,
        Reason::Deprovisioned,
        Reason::Purged,
    ];
    if let Some(reason) = apns_reason(name, status) {
        return Ok(Reason::Apns(reason));
    }
    let numbered = status.and_then(|status| u8::try_from(status).ok());
    let numbered = numbered.and_then(|status| match name == Reason::UnknownStatus(status).name() {
        true => Some(Reason::UnknownStatus(status)),
        false => Reason::from_binary_status(status),
    });
    let found = numbered.into_iter().chain(own).find(|reason| reason.name() == name && reason.status() == status);
    found.ok_or(RecordError::Damaged("a reason that this apnsd does not know"))
}

fn apns_reason(name: &str, status: Option<u16>) -> Option<ApnsReason> {
    let unknown = ApnsReason::Unknown(status?);
    let found = ApnsReason::from_name(name).or_else(|| (name == unknown.name()).then_some(unknown));
    found.filter(|reason| Some(reason.status()) == status)
}

/// A batch of some rows of another, with only the messages that they carry.
pub(super) fn excerpt(batch: &Batch, rows: std::ops::Range<u32>) -> Batch {
    let mut tokens = Tokens::with_capacity(rows.len());
    let mut messages: Vec<Message> = Vec::new();
    let mut message_of = Vec::with_capacity(rows.len());
    let mut known = std::collections::HashMap::new();
    let (seed, first_row) = batch.ids();
    let first_row = first_row.wrapping_add(rows.start);
    for row in rows {
        let index = *known.entry(batch.message_index(row)).or_insert_with(|| {
            messages.push(batch.notification(row).message.clone());
            u32::try_from(messages.len() - 1).unwrap_or(u32::MAX)
        });
        tokens.push(batch.notification(row).token);
        message_of.push(index);
    }
    let part = match (messages.len(), messages.pop()) {
        (1, Some(message)) => Batch::broadcast(batch.accepted_at(), tokens, message),
        (_, last) => {
            messages.extend(last);
            let paired = Batch::paired(batch.accepted_at(), tokens, messages, message_of);
            match paired {
                Some(paired) => paired,
                None => return batch.clone(),
            }
        }
    };
    part.with_ids(seed, first_row)
}

fn index_width(messages: usize) -> u8 {
    match messages {
        1 => 0,
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

/// The length that all tokens have, where it fits a byte; else 0.
fn common_length(batch: &Batch) -> u8 {
    let mut lengths = (0..batch.rows()).map(|row| batch.notification(row).token.len());
    let Some(first) = lengths.next() else { return 0 };
    match u8::try_from(first) {
        Ok(length) if lengths.all(|other| other == first) => length,
        _ => 0,
    }
}

fn put_message(record: &mut Vec<u8>, message: &Message) {
    let PushOptions { expiration, priority, collapse_id, push_type, topic } = &message.options;
    put_varint(record, message.payload.len());
    record.extend_from_slice(&message.payload);
    let bit = |is_some: bool, bit: u8| if is_some { bit } else { 0 };
    record.push(
        bit(expiration.is_some(), EXPIRATION)
            | bit(priority.is_some(), PRIORITY)
            | bit(collapse_id.is_some(), COLLAPSE_ID)
            | bit(push_type.is_some(), PUSH_TYPE)
            | bit(topic.is_some(), TOPIC),
    );
    record.extend(expiration.iter().flat_map(|expiration| expiration.to_le_bytes()));
    record.extend(priority);
    for text in [collapse_id, push_type, topic].into_iter().flatten() {
        put_varint(record, text.len());
        record.extend_from_slice(text.as_bytes());
    }
}

fn put_varint(record: &mut Vec<u8>, number: usize) {
    let mut rest = number;
    while rest >= 0x80 {
        record.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    record.push(rest as u8);
}

/// What is left of a record.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(RecordError::CutOff)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(RecordError::CutOff)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, RecordError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<usize, RecordError> {
        let mut number = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let number = u32::try_from(number).map_err(|_| RecordError::Damaged("a number out of range"))?;
                return Ok(number as usize);
            }
        }
        Err(RecordError::Damaged("a number without an end"))
    }

    /// A count of things that take at least one byte each.
    fn count(&mut self) -> Result<usize, RecordError> {
        let count = self.varint()?;
        if count > self.0.len() { Err(RecordError::CutOff) } else { Ok(count) }
    }

    fn messages(&mut self) -> Result<Vec<Message>, RecordError> {
        let count = self.count()?;
        (0..count).map(|_| self.message()).collect()
    }

    fn message(&mut self) -> Result<Message, RecordError> {
        let length = self.varint()?;
        let payload = self.bytes(length)?.into();
        let present = self.byte()?;
        if present & !KNOWN_OPTIONS != 0 {
            return Err(RecordError::Damaged("an option that version 1 has not"));
        }
        let has = |bit: u8| present & bit != 0;
        let options = PushOptions {
            expiration: if has(EXPIRATION) { Some(u32::from_le_bytes(self.array()?)) } else { None },
            priority: if has(PRIORITY) { Some(self.byte()?) } else { None },
            collapse_id: if has(COLLAPSE_ID) { Some(self.text()?) } else { None },
            push_type: if has(PUSH_TYPE) { Some(self.text()?) } else { None },
            topic: if has(TOPIC) { Some(self.text()?) } else { None },
        };
        Ok(Message { payload, options })
    }

    fn text(&mut self) -> Result<Arc<str>, RecordError> {
        let length = self.varint()?;
        let text = std::str::from_utf8(self.bytes(length)?).map_err(|_| RecordError::Damaged("text"))?;
        Ok(text.into())
    }

    fn tokens(&mut self, rows: usize) -> Result<Tokens, RecordError> {
        let length = usize::from(self.byte()?);
        if rows.checked_mul(length.max(1)).is_none_or(|bytes| bytes > self.0.len()) {
            return Err(RecordError::CutOff);
        }
        let mut tokens = Tokens::with_capacity(rows);
        for _ in 0..rows {
            let length = if length == 0 { self.varint()? } else { length };
            tokens.push(self.bytes(length)?);
        }
        Ok(tokens)
    }

    fn indices(&mut self, rows: usize, width: u8) -> Result<Vec<u32>, RecordError> {
        let width = usize::from(width);
        if width == 0 {
            return Ok(Vec::new());
        }
        let bytes = self.bytes(rows.checked_mul(width).ok_or(RecordError::CutOff)?)?;
        let index = |bytes: &[u8]| {
            let mut index = [0; 4];
            index[..width].copy_from_slice(bytes);
            u32::from_le_bytes(index)
        };
        Ok(bytes.chunks_exact(width).map(index).collect())
    }
}

#[cfg(test)]
pub(in crate::store) mod tests;
