//! DER, as far as files with keys need it: elements one after the other, nothing copied.

use super::cipher::Fault;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// `[0]` around another element.
pub(super) const EXPLICIT_0: u8 = 0xa0;
/// `[0]` instead of the tag of a simple element.
pub(super) const IMPLICIT_0: u8 = 0x80;

/// The bit of a tag that says that it holds other elements.
const CONSTRUCTED: u8 = 0x20;

/// What is left to read of the content of an element.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(der: &'a [u8]) -> Self {
        Self(der)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The content of the next element, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<&'a [u8], Fault> {
        match self.next()? {
            (found, content) if found == tag => Ok(content),
            // BER allows strings in parts, below the constructed form of the same tag.
            (found, _) if found == tag | CONSTRUCTED => Err(Fault::Ber),
            _ => Err(Fault::Damaged),
        }
    }

    /// The same as a reader.
    pub(super) fn enter(&mut self, tag: u8) -> Result<Self, Fault> {
        self.expect(tag).map(Self)
    }

    /// The next element, if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Fault> {
        match self.0.first() {
            Some(found) if *found == tag => self.expect(tag).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// The next element whole, with its tag; it must be a sequence.
    pub(super) fn whole_sequence(&mut self) -> Result<&'a [u8], Fault> {
        let before = self.0;
        self.expect(SEQUENCE)?;
        Ok(&before[..before.len() - self.0.len()])
    }

    /// A number from 0 to 2^32 - 1.
    pub(super) fn number(&mut self) -> Result<u32, Fault> {
        let bytes = self.expect(INTEGER)?;
        let digits = bytes.iter().position(|byte| *byte != 0).map_or(&[][..], |at| &bytes[at..]);
        match bytes {
            [] => Err(Fault::Damaged),
            // Negative.
            [first, ..] if *first >= 0x80 => Err(Fault::Damaged),
            // More than a file can ask for.
            _ if digits.len() > 4 => Ok(u32::MAX),
            _ => Ok(digits.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))),
        }
    }

    fn next(&mut self) -> Result<(u8, &'a [u8]), Fault> {
        let [tag, length, rest @ ..] = self.0 else { return Err(Fault::Damaged) };
        let (length, rest) = match *length {
            0x80 => return Err(Fault::Ber),
            short @ ..0x80 => (usize::from(short), rest),
            long => {
                let bytes = usize::from(long & 0x7f);
                let (length, rest) = rest.split_at_checked(bytes).ok_or(Fault::Damaged)?;
                if bytes > 4 {
                    return Err(Fault::Damaged);
                }
                (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(Fault::Damaged)?;
        self.0 = rest;
        Ok((*tag, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_one_after_the_other() {
        let mut reader = Reader::new(b"\x30\x06\x02\x01\x03\x04\x01a\x02\x02\x00\xff\x05\x00");
        let mut inner = reader.clone().enter(SEQUENCE).unwrap();
        assert_eq!(inner.number(), Ok(3));
        assert_eq!(inner.optional(NULL), Ok(None));
        assert_eq!(inner.expect(OCTET_STRING), Ok(&b"a"[..]));
        assert!(inner.is_empty());
        assert_eq!(reader.whole_sequence(), Ok(&b"\x30\x06\x02\x01\x03\x04\x01a"[..]));
        assert_eq!(reader.number(), Ok(255));
        assert_eq!(reader.optional(NULL), Ok(Some(&b""[..])));
    }

    #[test]
    fn lengths_take_one_to_four_bytes() {
        let long = [&b"\x04\x82\x01\x00"[..], &[7; 256]].concat();
        assert_eq!(Reader::new(&long).expect(OCTET_STRING), Ok(&[7; 256][..]));
        for cut in [&b""[..], b"\x04", b"\x04\x02a", b"\x04\x82\x01", b"\x04\x85\x00\x00\x00\x00\x00", &long[..200]] {
            assert_eq!(Reader::new(cut).expect(OCTET_STRING), Err(Fault::Damaged));
        }
    }

    #[test]
    fn what_only_ber_allows_is_told_apart_from_damage() {
        assert_eq!(Reader::new(b"\x30\x80\x00\x00").expect(SEQUENCE), Err(Fault::Ber));
        assert_eq!(Reader::new(b"\x24\x03\x04\x01a").expect(OCTET_STRING), Err(Fault::Ber));
        assert_eq!(Reader::new(b"\x0c\x01a").expect(OCTET_STRING), Err(Fault::Damaged));
    }

    #[test]
    fn numbers_are_not_negative_and_have_an_upper_end() {
        assert_eq!(Reader::new(b"\x02\x03\x09\x27\xc0").number(), Ok(600_000));
        assert_eq!(Reader::new(b"\x02\x01\x00").number(), Ok(0));
        assert_eq!(Reader::new(b"\x02\x09\x00\xff\xff\xff\xff\xff\xff\xff\xff").number(), Ok(u32::MAX));
        assert_eq!(Reader::new(b"\x02\x01\xff").number(), Err(Fault::Damaged));
        assert_eq!(Reader::new(b"\x02\x00").number(), Err(Fault::Damaged));
    }
}
