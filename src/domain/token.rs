//! Device tokens: how callers write them, how they are kept, how they are shown.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use thiserror::Error;

/// Fewest bytes of a token.
pub const TOKEN_BYTES_MIN: usize = 32;
/// Most bytes of a token (Binary Provider API, item 1).
pub const TOKEN_BYTES_MAX: usize = 100;

/// Why a text is not a device token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Hex digits, but an odd number of them.
    #[error("a hex token has an even number of digits, this one has {0}")]
    OddDigits(usize),
    /// Hex of a length that no token has.
    #[error("a token has 32 to 100 bytes, this one has {0}")]
    Length(usize),
    /// Neither hex nor base64 of 32 bytes.
    #[error("neither hex digits nor the base64 of 32 bytes")]
    Syntax,
}

/// Device tokens side by side in one allocation; row `n` is the n-th that was pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Tokens {
    /// Room for `rows` tokens of 32 bytes.
    pub fn with_capacity(rows: usize) -> Self {
        Self { bytes: Vec::with_capacity(rows * TOKEN_BYTES_MIN), ends: Vec::with_capacity(rows) }
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The token of a row, which must exist.
    pub fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        &self.bytes[start..self.ends[row] as usize]
    }

    /// Appends a token as it goes over the wire.
    pub fn push(&mut self, token: &[u8]) {
        self.bytes.extend_from_slice(token);
        self.close_row();
    }

    /// Reads a token as callers write it and appends it: spaces, `<` and `>` are dropped; what has only hex digits
    /// is hex of 32 to 100 bytes; anything else is base64 or base64url of exactly 32 bytes.
    pub fn push_text(&mut self, text: &str) -> Result<(), TokenError> {
        let start = self.bytes.len();
        let parsed = parse_hex(text.as_bytes(), &mut self.bytes).or_else(|error| {
            self.bytes.truncate(start);
            match error {
                TokenError::Syntax => parse_base64(text, &mut self.bytes),
                TokenError::OddDigits(_) | TokenError::Length(_) => Err(error),
            }
        });
        match parsed {
            Ok(()) => self.close_row(),
            Err(_) => self.bytes.truncate(start),
        }
        parsed
    }

    /// Bytes of memory that the tokens take.
    pub fn memory(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<u32>()
    }

    fn close_row(&mut self) {
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }
}

const NOT_HEX: u8 = 0xff;
const SKIPPED: u8 = 0xfe;

/// Value of each byte as a hex digit, or one of the two marks above.
const HEX: [u8; 256] = {
    let mut table = [NOT_HEX; 256];
    let mut digit = 0;
    while digit < 10 {
        table[b'0' as usize + digit] = digit as u8;
        digit += 1;
    }
    let mut letter = 0;
    while letter < 6 {
        table[b'a' as usize + letter] = 10 + letter as u8;
        table[b'A' as usize + letter] = 10 + letter as u8;
        letter += 1;
    }
    table[b' ' as usize] = SKIPPED;
    table[b'<' as usize] = SKIPPED;
    table[b'>' as usize] = SKIPPED;
    table
};

fn parse_hex(text: &[u8], bytes: &mut Vec<u8>) -> Result<(), TokenError> {
    let start = bytes.len();
    let mut high = None;
    let mut digits = 0;
    for byte in text {
        match HEX[usize::from(*byte)] {
            NOT_HEX => return Err(TokenError::Syntax),
            SKIPPED => continue,
            digit => {
                digits += 1;
                match high.take() {
                    None => high = Some(digit << 4),
                    Some(high) => bytes.push(high | digit),
                }
            }
        }
    }
    let length = bytes.len() - start;
    match high {
        _ if digits == 0 => Err(TokenError::Length(0)),
        Some(_) => Err(TokenError::OddDigits(digits)),
        None if (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&length) => Ok(()),
        None => Err(TokenError::Length(length)),
    }
}

fn parse_base64(text: &str, bytes: &mut Vec<u8>) -> Result<(), TokenError> {
    let text: String = text.chars().filter(|c| !matches!(c, ' ' | '<' | '>')).collect();
    let text = text.trim_end_matches('=');
    let decoded = STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text));
    match decoded {
        Ok(decoded) if decoded.len() == TOKEN_BYTES_MIN => {
            bytes.extend_from_slice(&decoded);
            Ok(())
        }
        _ => Err(TokenError::Syntax),
    }
}

/// A token as logs and tables show it: its first 8 hex digits and an ellipsis. Always the same mask, so that a log
/// can be searched by it.
pub struct MaskedToken<'a>(pub &'a [u8]);

impl fmt::Display for MaskedToken<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(4) {
            write!(formatter, "{byte:02x}")?;
        }
        formatter.write_str("…")
    }
}

/// A token in full as lower-case hex, for answers to the app that owns it; never for a log.
pub fn token_hex(token: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = String::with_capacity(token.len() * 2);
    for byte in token {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<u8>, TokenError> {
        let mut tokens = Tokens::default();
        tokens.push(&[9; 32]);
        tokens.push_text(text)?;
        Ok(tokens.get(1).to_vec())
    }

    #[test]
    fn hex_of_any_case_with_spaces_and_brackets_is_a_token() {
        let token = parse("<00112233 44556677 8899AABB ccddeeff 00112233 44556677 8899aabb ccddeeff>").unwrap();
        assert_eq!(token.len(), 32);
        assert_eq!(token[..4], [0x00, 0x11, 0x22, 0x33]);
        assert_eq!(parse(&"ab".repeat(100)).unwrap().len(), 100);
    }

    #[test]
    fn base64_of_32_bytes_is_a_token_in_both_alphabets_padded_or_not() {
        let expected = vec![0xfb; 32];
        for text in ["+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=", "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s"] {
            assert_eq!(parse(text).unwrap(), expected);
        }
    }

    #[test]
    fn what_pyapns_padded_or_cut_is_refused_by_name() {
        assert_eq!(parse("abcd"), Err(TokenError::Length(2)));
        assert_eq!(parse(&"ab".repeat(101)), Err(TokenError::Length(101)));
        assert_eq!(parse(&"a".repeat(65)), Err(TokenError::OddDigits(65)));
        assert_eq!(parse(""), Err(TokenError::Length(0)));
        assert_eq!(parse("not a token"), Err(TokenError::Syntax));
    }

    #[test]
    fn a_refused_token_leaves_the_table_as_it_was() {
        let mut tokens = Tokens::default();
        assert!(tokens.push_text("abcdxyz").is_err());
        assert_eq!(tokens, Tokens::default());
    }

    #[test]
    fn a_mask_shows_eight_digits() {
        assert_eq!(MaskedToken(&[0xab; 32]).to_string(), "abababab…");
        assert_eq!(token_hex(&[0x0f, 0xa0]), "0fa0");
    }
}
