//! From the bytes of a body to text: which charset they are in, and whether they are valid in it.
//!
//! A byte order mark beats the charset of the HTTP header, which beats the XML declaration; without any of them it is
//! UTF-8. Malformed bytes are refused, never replaced: a token or an alert that changed on its way is worse than an error.

use std::borrow::Cow;

use encoding_rs::WINDOWS_1252;
use quick_xml::events::{BytesDecl, BytesStart};

use super::error::{DecodeError, ErrorKind, Place, excerpt};

/// Decodes a body to text, without its byte order mark. Borrows where the bytes are valid UTF-8 already.
///
/// `charset_from_http` is the `charset` parameter of the `Content-Type` header, quoted or not. Supported: UTF-8,
/// US-ASCII, ISO-8859-1, windows-1252 and UTF-16.
///
/// # Errors
/// An unsupported charset, and the offset of the first byte that is not valid in the charset.
pub fn decode_text<'a>(body: &'a [u8], charset_from_http: Option<&str>) -> Result<Cow<'a, str>, DecodeError> {
    let (charset, mark) = match by_mark(body) {
        Some(marked) => marked,
        None => (by_label(body, charset_from_http)?, 0),
    };
    charset.decode(&body[mark..]).map_err(|offset| DecodeError {
        kind: ErrorKind::MalformedText(charset.name()),
        place: Some(Place::Byte(mark + offset)),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Charset {
    Utf8,
    UsAscii,
    Iso8859_1,
    Windows1252,
    Utf16Be,
    Utf16Le,
}

impl Charset {
    const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::UsAscii => "US-ASCII",
            Self::Iso8859_1 => "ISO-8859-1",
            Self::Windows1252 => "windows-1252",
            Self::Utf16Be | Self::Utf16Le => "UTF-16",
        }
    }

    /// The text, or the offset of the first byte that is not valid.
    fn decode(self, bytes: &[u8]) -> Result<Cow<'_, str>, usize> {
        match self {
            Self::Utf8 => str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| error.valid_up_to()),
            Self::UsAscii => match bytes.iter().position(|byte| !byte.is_ascii()) {
                None => Self::Utf8.decode(bytes),
                Some(offset) => Err(offset),
            },
            Self::Iso8859_1 => Ok(encoding_rs::mem::decode_latin1(bytes)),
            Self::Windows1252 => Ok(WINDOWS_1252.decode_without_bom_handling(bytes).0),
            Self::Utf16Be => decode_utf16(bytes, u16::from_be_bytes).map(Cow::Owned),
            Self::Utf16Le => decode_utf16(bytes, u16::from_le_bytes).map(Cow::Owned),
        }
    }
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, usize> {
    let (units, odd) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len());
    let mut offset = 0;
    for decoded in char::decode_utf16(units.iter().map(|&bytes| unit(bytes))) {
        let character = decoded.map_err(|_| offset)?;
        offset += 2 * character.len_utf16();
        text.push(character);
    }
    if odd.is_empty() { Ok(text) } else { Err(offset) }
}

/// The charset that a byte order mark names, and the length of the mark.
fn by_mark(body: &[u8]) -> Option<(Charset, usize)> {
    match body {
        [0xef, 0xbb, 0xbf, ..] => Some((Charset::Utf8, 3)),
        [0xfe, 0xff, ..] => Some((Charset::Utf16Be, 2)),
        [0xff, 0xfe, ..] => Some((Charset::Utf16Le, 2)),
        _ => None,
    }
}

fn by_label(body: &[u8], charset_from_http: Option<&str>) -> Result<Charset, DecodeError> {
    if let Some(label) = charset_from_http {
        return charset_of(label.trim_matches(['"', '\'', ' ']), body).ok_or_else(|| unsupported(label, None));
    }
    match body {
        [0, b'<', ..] => return Ok(Charset::Utf16Be),
        [b'<', 0, ..] => return Ok(Charset::Utf16Le),
        _ => {}
    }
    let Some(label) = declared(body) else { return Ok(Charset::Utf8) };
    match charset_of(&label, body) {
        // The declaration was read byte by byte, so it is not UTF-16: .NET declares what its string was, not what it sends.
        Some(Charset::Utf16Be | Charset::Utf16Le) => Ok(Charset::Utf8),
        Some(charset) => Ok(charset),
        None => Err(unsupported(&label, Some(Place::Text { line: 1, column: 0 }))),
    }
}

fn unsupported(label: &str, place: Option<Place>) -> DecodeError {
    DecodeError { kind: ErrorKind::UnsupportedCharset(excerpt(label)), place }
}

fn charset_of(label: &str, body: &[u8]) -> Option<Charset> {
    match label.to_ascii_lowercase().as_str() {
        "utf-8" | "utf8" => Some(Charset::Utf8),
        "us-ascii" | "ascii" | "ansi_x3.4-1968" => Some(Charset::UsAscii),
        "iso-8859-1" | "iso8859-1" | "iso_8859-1" | "latin1" | "latin-1" | "l1" => Some(Charset::Iso8859_1),
        "windows-1252" | "cp1252" | "x-cp1252" => Some(Charset::Windows1252),
        // RFC 2781: without a mark, big-endian; unless the document plainly begins otherwise.
        "utf-16" | "utf16" => Some(if body.starts_with(b"<\0") { Charset::Utf16Le } else { Charset::Utf16Be }),
        "utf-16be" => Some(Charset::Utf16Be),
        "utf-16le" => Some(Charset::Utf16Le),
        _ => None,
    }
}

/// The encoding that the XML declaration names.
fn declared(body: &[u8]) -> Option<String> {
    let declaration = body.trim_ascii_start().strip_prefix(b"<?")?;
    let end = memchr::memmem::find(declaration, b"?>")?;
    let declaration = str::from_utf8(&declaration[..end]).ok()?;
    if !declaration.strip_prefix("xml")?.starts_with(|first: char| first.is_ascii_whitespace()) {
        return None;
    }
    let declaration = BytesDecl::from_start(BytesStart::from_content(declaration, "xml".len()));
    Some(declaration.encoding()?.ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &[u8], charset_from_http: Option<&str>) -> String {
        decode_text(body, charset_from_http).unwrap().into_owned()
    }

    fn refusal(body: &[u8], charset_from_http: Option<&str>) -> String {
        decode_text(body, charset_from_http).unwrap_err().to_string()
    }

    #[test]
    fn without_any_label_it_is_utf8_and_borrowed() {
        let decoded = decode_text("<a>ä€😀</a>".as_bytes(), None).unwrap();
        assert!(matches!(decoded, Cow::Borrowed("<a>ä€😀</a>")));
        assert_eq!(text(b"", None), "");
    }

    #[test]
    fn a_mark_beats_the_header_and_the_declaration() {
        assert_eq!(text(b"\xef\xbb\xbf<?xml encoding='latin1'?>\xc3\xa4", None), "<?xml encoding='latin1'?>ä");
        assert_eq!(text(b"\xef\xbb\xbf\xc3\xa4", Some("iso-8859-1")), "ä");
        assert_eq!(text(b"\xef\xbb\xbf\xc3\xa4", Some("koi8-r")), "ä");
        assert_eq!(text(b"\xfe\xff\0<\xd8\x3d\xde\x00", Some("utf-8")), "<😀");
        assert_eq!(text(b"\xff\xfe<\0\x3d\xd8\x00\xde", None), "<😀");
    }

    #[test]
    fn the_header_beats_the_declaration() {
        let body = b"<?xml version='1.0' encoding='iso-8859-1'?><a>\xc3\xa4</a>";
        assert!(text(body, Some("UTF-8")).ends_with("<a>ä</a>"));
        assert!(text(body, Some("\"utf-8\"")).ends_with("<a>ä</a>"));
        assert!(text(body, None).ends_with("<a>Ã¤</a>"));
    }

    #[test]
    fn the_declaration_counts_alone_also_behind_white_space() {
        assert!(text(b"<?xml version=\"1.0\" encoding=\"windows-1252\"?><a>\x80</a>", None).ends_with("<a>€</a>"));
        assert!(text(b"\r\n <?xml version='1.0' encoding='cp1252' ?>\x80", None).ends_with('€'));
        assert_eq!(
            text(b"<?xml-stylesheet encoding='latin1'?>\xc3\xa4", None),
            "<?xml-stylesheet encoding='latin1'?>ä"
        );
    }

    #[test]
    fn latin1_is_not_windows_1252() {
        assert_eq!(text(b"\x80\xe4", Some("ISO-8859-1")), "\u{80}ä");
        assert_eq!(text(b"\x80\xe4", Some("windows-1252")), "€ä");
    }

    #[test]
    fn utf16_without_a_mark_is_told_by_its_first_character() {
        assert_eq!(text(b"<\0a\0", None), "<a");
        assert_eq!(text(b"\0<\0a", None), "<a");
        assert_eq!(text(b"<\0a\0", Some("utf-16")), "<a");
        assert_eq!(text(b"\0<\0a", Some("utf-16")), "<a");
        assert_eq!(text(b"<\0a\0", Some("UTF-16LE")), "<a");
        assert_eq!(text(b"\0<\0a", Some("UTF-16BE")), "<a");
    }

    #[test]
    fn a_readable_declaration_of_utf16_means_utf8() {
        assert!(text(b"<?xml version='1.0' encoding='utf-16'?>\xc3\xa4", None).ends_with('ä'));
    }

    #[test]
    fn malformed_bytes_are_refused_with_their_offset() {
        assert_eq!(refusal(b"<a>\xc3(</a>", None), "not valid UTF-8: byte offset 3");
        assert_eq!(refusal(b"\xef\xbb\xbf<a>\xff", None), "not valid UTF-8: byte offset 6");
        assert_eq!(refusal(b"<a>\xed\xa0\x80", None), "not valid UTF-8: byte offset 3");
        assert_eq!(refusal(b"<a>\xc3\xa4", Some("us-ascii")), "not valid US-ASCII: byte offset 3");
        assert_eq!(refusal(b"\xff\xfe<\0\x3d\xd8<\0", None), "not valid UTF-16: byte offset 4");
        assert_eq!(refusal(b"\xff\xfe<\0\x00\xde", None), "not valid UTF-16: byte offset 4");
        assert_eq!(refusal(b"\xfe\xff\0<a", None), "not valid UTF-16: byte offset 4");
    }

    #[test]
    fn an_unsupported_charset_is_named_with_the_supported_ones() {
        assert_eq!(
            refusal(b"<a/>", Some("koi8-r")),
            "unsupported charset `koi8-r`: send UTF-8, US-ASCII, ISO-8859-1, windows-1252 or UTF-16"
        );
        assert_eq!(
            refusal(b"<?xml version='1.0' encoding='Shift_JIS'?><a/>", None),
            "unsupported charset `Shift_JIS`: send UTF-8, US-ASCII, ISO-8859-1, windows-1252 or UTF-16: \
             line 1, column 0"
        );
    }
}
