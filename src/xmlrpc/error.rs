//! Why a document is refused, and where. Positions are computed once, when an error is made.

use std::fmt;

/// A document that is not what it should be.
///
/// Shown as `{kind}: {place}`, in expat's words where it has them, since pyapns showed expat's:
/// `no element found: line 1, column 0`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DecodeError {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Where; `None` when it is not in the document (the charset of an HTTP header).
    pub place: Option<Place>,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(place) => write!(formatter, "{}: {place}", self.kind),
            None => write!(formatter, "{}", self.kind),
        }
    }
}

/// Where in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In bytes that could not be decoded to text: offset from the first byte.
    Byte(usize),
    /// In decoded text.
    Text {
        /// Line, from 1. Lines end with LF, CR or both.
        line: usize,
        /// Characters before it on its line.
        column: usize,
    },
}

impl Place {
    /// The place of a byte of the text.
    fn in_text(text: &str, offset: usize) -> Self {
        let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
        let pairs = before.windows(2).filter(|pair| pair == b"\r\n").count();
        let line_ends = before.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() - pairs;
        let line_start = before.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')).map_or(0, |end| end + 1);
        let column = before[line_start..].iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        Self::Text { line: line_ends + 1, column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(offset) => write!(formatter, "byte offset {offset}"),
            Self::Text { line, column } => write!(formatter, "line {line}, column {column}"),
        }
    }
}

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// A charset that is not supported, as it was named.
    #[error("unsupported charset `{0}`: send UTF-8, US-ASCII, ISO-8859-1, windows-1252 or UTF-16")]
    UnsupportedCharset(String),
    /// Bytes that the charset does not have.
    #[error("not valid {0}")]
    MalformedText(&'static str),
    /// A character that XML does not allow, neither raw nor by reference.
    #[error("character U+{0:04X} is not allowed in XML")]
    IllegalCharacter(u32),
    /// The document ends before its root element does.
    #[error("no element found")]
    NoElement,
    /// The document ends inside a tag, comment, CDATA section or processing instruction.
    #[error("unclosed token")]
    UnclosedToken,
    /// An end tag that closes another element than the open one.
    #[error("mismatched tag: <{open}> is closed by </{close}>")]
    MismatchedTag {
        /// The element that is open.
        open: String,
        /// The name in the end tag.
        close: String,
    },
    /// Anything else that XML's grammar does not allow.
    #[error("not well-formed: {0}")]
    NotWellFormed(&'static str),
    /// A document type declaration, whatever it holds.
    #[error("a DOCTYPE is not accepted: remove it")]
    Doctype,
    /// An entity beyond the five that XML predefines.
    #[error("undefined entity &{0};: use lt, gt, amp, quot, apos or a character reference")]
    UndefinedEntity(String),
    /// Something after the end of the root element.
    #[error("junk after document element")]
    Trailing,
    /// An element that is missing, superfluous or in the wrong order.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What may stand here.
        expected: &'static str,
        /// The tag that does.
        found: String,
    },
    /// Text where only elements may be.
    #[error("text beside an element")]
    StrayText,
    /// A value of a type that XML-RPC does not have.
    #[error("unknown type {0}")]
    UnknownType(String),
    /// A value with more than one type element.
    #[error("a value holds one type element, found {0} as well")]
    SecondType(String),
    /// Arrays and structs within each other beyond [`Limits::depth`](super::decode::Limits::depth).
    #[error("arrays and structs are nested more than {0} deep")]
    TooDeep(usize),
    /// A method name that is empty or has other characters than XML-RPC allows.
    #[error("`{0}` is not a method name: use A-Z a-z 0-9 _ . : /")]
    MethodName(String),
    /// The text of an integer that is none.
    #[error("`{0}` is not an integer")]
    Integer(String),
    /// An integer that does not fit its type.
    #[error("`{text}` is out of range for an integer of {bits} bits")]
    IntegerRange {
        /// The number.
        text: String,
        /// Width of its type.
        bits: u32,
    },
    /// The text of a double that is none, or is beyond the largest.
    #[error("`{0}` is not a double")]
    Double(String),
    /// The text of a boolean that is none.
    #[error("`{0}` is not a boolean: write 0 or 1")]
    Boolean(String),
    /// The text of a date that is none, or does not exist.
    #[error("`{0}` is not a dateTime.iso8601 such as 19980717T14:08:55")]
    DateTime(String),
    /// Text that is not base64.
    #[error("not base64")]
    Base64,
    /// A fault without its two members.
    #[error("a fault is a struct of faultCode (int) and faultString (string)")]
    Fault,
}

/// A [`DecodeError`] whose place is not computed yet. Boxed, since it passes through the results of small functions.
#[derive(Debug)]
pub(super) struct Problem(Box<(ErrorKind, usize)>);

impl Problem {
    /// With the offset in the text; white space there is not meant.
    pub(super) fn new(kind: ErrorKind, offset: usize) -> Self {
        Self(Box::new((kind, offset)))
    }

    pub(super) fn locate(self, text: &str) -> DecodeError {
        let (kind, offset) = *self.0;
        let rest = text.get(offset..).unwrap_or_default();
        let offset = text.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        DecodeError { kind, place: Some(Place::in_text(text, offset)) }
    }
}

/// A piece of the document as it is shown in a message: its first 40 characters.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

const EXCERPT_CHARS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_lf_cr_or_both() {
        let text = "a\nb\rc\r\nd";
        let place = |letter| Place::in_text(text, text.find(letter).unwrap());
        assert_eq!(place('a'), Place::Text { line: 1, column: 0 });
        assert_eq!(place('b'), Place::Text { line: 2, column: 0 });
        assert_eq!(place('c'), Place::Text { line: 3, column: 0 });
        assert_eq!(place('d'), Place::Text { line: 4, column: 0 });
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(Place::in_text("äö€x", 7), Place::Text { line: 1, column: 3 });
    }

    #[test]
    fn a_place_behind_the_end_is_the_end() {
        assert_eq!(Place::in_text("ab", 9), Place::Text { line: 1, column: 2 });
    }

    #[test]
    fn excerpts_stay_short() {
        assert_eq!(excerpt(&"ä".repeat(40)), "ä".repeat(40));
        assert_eq!(excerpt(&"ä".repeat(41)), format!("{}…", "ä".repeat(40)));
    }
}
