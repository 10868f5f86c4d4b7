//! What makes a request malformed, whatever it asks for (RFC 9113 section 8).

use crate::simulator::http2::hpack::Field;

const PSEUDO: [&[u8]; 4] = [b":method", b":scheme", b":path", b":authority"];
const OF_CONNECTIONS: [&[u8]; 5] =
    [b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"];

/// What is wrong with the headers of a request.
pub(super) fn fault_of_headers(headers: &[Field]) -> Option<&'static str> {
    let mut counts = [0; PSEUDO.len()];
    let mut fields_began = false;
    for (name, value) in headers {
        match PSEUDO.iter().position(|pseudo| pseudo == name) {
            Some(_) if fields_began => return Some("a pseudo-header field after a header field"),
            Some(index) => counts[index] += 1,
            None => fields_began = true,
        }
        if let Some(fault) = fault_of_field(name, value) {
            return Some(fault);
        }
    }
    match counts {
        [1, 1, 1, 0 | 1] => None,
        _ => Some("not one each of :method, :scheme and :path"),
    }
}

fn fault_of_field(name: &[u8], value: &[u8]) -> Option<&'static str> {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if OF_CONNECTIONS.contains(&name) || (name == b"te" && value != b"trailers") {
        Some("a header field of HTTP/1.1 connections")
    } else if !PSEUDO.contains(&name) && (name.is_empty() || name.iter().any(|byte| !is_name_byte(*byte))) {
        Some("a header field whose name is not allowed")
    } else if value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
        || is_space(value.first())
        || is_space(value.last())
    {
        Some("a header field whose value is not allowed")
    } else {
        None
    }
}

/// A character of a token in RFC 9110 section 5.6.2, without upper case.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `content-length`, if it is there, is the length of the body.
pub(super) fn is_content_length_right(headers: &[Field], body: &[u8]) -> bool {
    let mut lengths = headers.iter().filter(|(name, _)| name == b"content-length");
    lengths.all(|(_, value)| value == body.len().to_string().as_bytes())
}
