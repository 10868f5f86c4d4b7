//! HPACK (RFC 7541): decodes the header blocks of requests, and encodes those of responses as literals that need no
//! table. Pure.
//!
//! A decoder must read every header block of its connection, whatever becomes of the stream, because each may change
//! the dynamic table.

mod huffman;
mod static_table;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};

use self::static_table::STATIC_TABLE;

/// Size of the dynamic table before anything was agreed upon, in bytes (RFC 9113 section 6.5.2).
pub(super) const TABLE_SIZE_DEFAULT: u32 = 4096;

/// What a field costs beside its bytes, in tables and lists (RFC 7541 section 4.1, RFC 9113 section 6.5.2).
const FIELD_OVERHEAD: usize = 32;
/// Index of `:status` in the static table.
const STATUS_INDEX: u8 = 8;
/// A literal without indexing whose name is a literal too.
const LITERAL: u8 = 0;
/// A size update to 0.
const EMPTY_TABLE: u8 = 0x20;

/// Name and value of a header field.
pub(super) type Field = (Vec<u8>, Vec<u8>);

/// Why a header block cannot be read. The connection is over then: the table is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockError {
    /// It ends within a field.
    Cut,
    /// A number of more than 28 bits beyond its prefix.
    Number,
    /// Codes that are none, or wrong padding.
    Huffman,
    /// No table has this field.
    Index,
    /// A table larger than the settings allow, or a change of its size after the first field.
    SizeUpdate,
    /// The settings made the table smaller, and the encoder did not follow (RFC 9113 section 4.3.1).
    SizeUpdateMissing,
}

impl BlockError {
    /// The same in words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Cut => "a header block that ends within a field",
            Self::Number => "a header block with a number that is too large",
            Self::Huffman => "a header block with a string that is not in the Huffman code",
            Self::Index => "a header block with an index beyond the tables",
            Self::SizeUpdate => "a header block with a table size update that is not allowed",
            Self::SizeUpdateMissing => "a header block without the table size update that smaller settings demand",
        }
    }
}

/// The decoding side of a connection.
pub(super) struct Decoder {
    /// The newest field is the first.
    table: VecDeque<Field>,
    table_size: usize,
    /// What the encoder uses at most.
    table_max: usize,
    /// What it may use at most.
    limit: usize,
    /// The smallest limit that the encoder has not followed yet.
    demanded: Option<usize>,
}

impl Decoder {
    /// A decoder at the beginning of a connection.
    pub(super) fn new() -> Self {
        let default = TABLE_SIZE_DEFAULT as usize;
        Self { table: VecDeque::new(), table_size: 0, table_max: default, limit: default, demanded: None }
    }

    /// The encoder acknowledged a largest table of `limit` bytes.
    pub(super) fn limit(&mut self, limit: u32) {
        self.limit = limit as usize;
        if self.limit < self.demanded.unwrap_or(self.table_max) {
            self.demanded = Some(self.limit);
        }
    }

    /// Decodes a whole header block. `None` if the list is larger than `list_max` bytes (RFC 9113 section 6.5.2).
    pub(super) fn decode(&mut self, block: &[u8], list_max: u32) -> Result<Option<Vec<Field>>, BlockError> {
        let mut input = Input(block);
        self.decode_size_updates(&mut input)?;
        let mut list = List { fields: Vec::new(), room: Some(list_max as usize) };
        while let Some(first) = input.peek() {
            match first {
                0x80.. => list.push(self.field(input.number(7)?)?),
                0x40..0x80 => {
                    let field = self.decode_literal(&mut input, 6)?;
                    list.push((&field.0, &field.1));
                    self.insert(field);
                }
                0x20..0x40 => return Err(BlockError::SizeUpdate),
                0x00..0x20 => {
                    let (name, value) = self.decode_literal(&mut input, 4)?;
                    list.push((&name, &value));
                }
            }
        }
        Ok(list.room.map(|_| list.fields))
    }

    /// Size updates come before the first field (RFC 7541 section 4.2).
    fn decode_size_updates(&mut self, input: &mut Input<'_>) -> Result<(), BlockError> {
        while let Some(0x20..0x40) = input.peek() {
            let size = input.number(5)?;
            if size > self.demanded.take().unwrap_or(self.limit) {
                return Err(BlockError::SizeUpdate);
            }
            self.table_max = size;
            self.evict();
        }
        if self.demanded.is_some() { Err(BlockError::SizeUpdateMissing) } else { Ok(()) }
    }

    fn decode_literal(&self, input: &mut Input<'_>, prefix: u8) -> Result<Field, BlockError> {
        let name = match input.number(prefix)? {
            0 => input.string()?,
            index => self.field(index)?.0.to_vec(),
        };
        Ok((name, input.string()?))
    }

    /// The field with an index into the static and then the dynamic table, counted from 1.
    fn field(&self, index: usize) -> Result<(&[u8], &[u8]), BlockError> {
        let index = index.checked_sub(1).ok_or(BlockError::Index)?;
        if let Some((name, value)) = STATIC_TABLE.get(index) {
            return Ok((name.as_bytes(), value.as_bytes()));
        }
        let (name, value) = self.table.get(index - STATIC_TABLE.len()).ok_or(BlockError::Index)?;
        Ok((name, value))
    }

    fn insert(&mut self, field: Field) {
        self.table_size += field_size(&field.0, &field.1);
        self.table.push_front(field);
        self.evict();
    }

    fn evict(&mut self) {
        while self.table_size > self.table_max
            && let Some((name, value)) = self.table.pop_back()
        {
            self.table_size -= field_size(&name, &value);
        }
    }
}

/// A header list as it grows. Beyond its limit nothing more is copied: a short block can name a long field many times.
struct List {
    fields: Vec<Field>,
    /// Bytes that are left; `None` beyond the limit.
    room: Option<usize>,
}

impl List {
    fn push(&mut self, (name, value): (&[u8], &[u8])) {
        self.room = self.room.and_then(|room| room.checked_sub(field_size(name, value)));
        if self.room.is_some() {
            self.fields.push((name.to_vec(), value.to_vec()));
        }
    }
}

fn field_size(name: &[u8], value: &[u8]) -> usize {
    name.len() + value.len() + FIELD_OVERHEAD
}

/// What is left of a block.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn byte(&mut self) -> Result<u8, BlockError> {
        let (first, rest) = self.0.split_first().ok_or(BlockError::Cut)?;
        self.0 = rest;
        Ok(*first)
    }

    /// An integer whose first `prefix` bits are in the next byte (RFC 7541 section 5.1).
    fn number(&mut self, prefix: u8) -> Result<usize, BlockError> {
        let full = (1 << prefix) - 1;
        let mut number = usize::from(self.byte()?) & full;
        if number < full {
            return Ok(number);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            number += usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(BlockError::Number)
    }

    fn string(&mut self) -> Result<Vec<u8>, BlockError> {
        let coded = self.peek().is_some_and(|byte| byte >= 0x80);
        let length = self.number(7)?;
        let (octets, rest) = self.0.split_at_checked(length).ok_or(BlockError::Cut)?;
        self.0 = rest;
        if coded { huffman::decode(octets).ok_or(BlockError::Huffman) } else { Ok(octets.to_vec()) }
    }
}

/// Appends the size update to 0 that a peer expects after it made the table smaller. Nothing of ours is ever in it.
pub(super) fn put_empty_table(out: &mut BytesMut) {
    out.put_u8(EMPTY_TABLE);
}

/// Appends `:status`, as a literal without indexing.
pub(super) fn put_status(status: u16, out: &mut BytesMut) {
    out.put_u8(STATUS_INDEX);
    put_string(status.to_string().as_bytes(), out);
}

/// Appends a field, as a literal without indexing.
pub(super) fn put_field(name: &str, value: &str, out: &mut BytesMut) {
    out.put_u8(LITERAL);
    put_string(name.as_bytes(), out);
    put_string(value.as_bytes(), out);
}

/// A string without the Huffman code.
fn put_string(octets: &[u8], out: &mut BytesMut) {
    let length = octets.len();
    if length < 0x7f {
        out.put_u8(length as u8);
    } else {
        out.put_u8(0x7f);
        let mut rest = length - 0x7f;
        while rest >= 0x80 {
            out.put_u8((rest % 0x80) as u8 | 0x80);
            rest /= 0x80;
        }
        out.put_u8(rest as u8);
    }
    out.put_slice(octets);
}
