//! The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: codes of one length follow one another in the order of their symbols, and the first of a
//! length follows the last of the length before. So the lengths alone say it all.

/// Decodes a string. `None` if it holds the end-of-string symbol or does not end as it must: with the first bits, at
/// most seven, of that symbol, which is all ones.
pub(super) fn decode(octets: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(octets.len() * 8 / 5);
    let (mut bits, mut length) = (0, 0);
    for octet in octets {
        for shift in (0..8).rev() {
            bits = bits << 1 | u32::from(octet >> shift & 1);
            length += 1;
            if let Some(symbol) = CODE.symbol(bits, length) {
                decoded.push(u8::try_from(symbol).ok()?);
                (bits, length) = (0, 0);
            }
        }
    }
    (length < 8 && bits == (1 << length) - 1).then_some(decoded)
}

const SYMBOLS: usize = 257;
const LENGTH_MAX: usize = 30;

/// The code of appendix B.
static CODE: Code = Code::new();

/// A canonical code.
struct Code {
    /// Symbols by length of their codes, then by value.
    symbols: [u16; SYMBOLS],
    /// For each length: the first code, how many there are, and where their symbols begin.
    rows: [(u32, u32, usize); LENGTH_MAX + 1],
}

impl Code {
    const fn new() -> Self {
        let mut code = Self { symbols: [0; SYMBOLS], rows: [(0, 0, 0); LENGTH_MAX + 1] };
        let (mut length, mut next, mut sorted) = (1, 0, 0);
        while length <= LENGTH_MAX {
            next <<= 1;
            let first = (next, sorted);
            let mut symbol = 0;
            while symbol < SYMBOLS {
                if LENGTHS[symbol] as usize == length {
                    code.symbols[sorted] = symbol as u16;
                    sorted += 1;
                    next += 1;
                }
                symbol += 1;
            }
            code.rows[length] = (first.0, next - first.0, first.1);
            length += 1;
        }
        code
    }

    /// The symbol of a code; 256 is the end-of-string symbol. Every 30 bits begin with a code.
    fn symbol(&self, bits: u32, length: usize) -> Option<u16> {
        let (first, count, start) = *self.rows.get(length)?;
        let offset = bits.checked_sub(first).filter(|offset| *offset < count)?;
        self.symbols.get(start + offset as usize).copied()
    }
}

/// For each symbol the length of its code, in bits.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];
