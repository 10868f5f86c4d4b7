//! Responses and calls as text, in the form of Python's `xmlrpc` library, whose answers pyapns' callers know.
//!
//! Strings are always typed, integers beyond 32 bits are `i8`, doubles have no exponent, dates have the form
//! `YYYYMMDDTHH:MM:SS`. A carriage return is written as a reference, since a parser would make a line feed of it; a
//! character that XML does not allow becomes U+FFFD.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::value::{Fault, Value};

const HEADER: &str = "<?xml version='1.0'?>\n";

/// A `methodResponse` with a value.
pub fn encode_response(value: &Value<'_>) -> String {
    let mut out = format!("{HEADER}<methodResponse>\n<params>\n<param>\n");
    push_value(&mut out, value);
    out.push_str("</param>\n</params>\n</methodResponse>\n");
    out
}

/// A `methodResponse` with a fault.
pub fn encode_fault(fault: &Fault) -> String {
    let mut out = format!("{HEADER}<methodResponse>\n<fault>\n");
    let members = [
        ("faultCode".into(), Value::Int(fault.code.into())),
        ("faultString".into(), Value::string(fault.text.as_str())),
    ];
    push_value(&mut out, &Value::Struct(members.into()));
    out.push_str("</fault>\n</methodResponse>\n");
    out
}

/// A `methodCall`.
pub fn encode_call(name: &str, params: &[Value<'_>]) -> String {
    let mut out = format!("{HEADER}<methodCall>\n<methodName>");
    push_text(&mut out, name);
    out.push_str("</methodName>\n<params>\n");
    for param in params {
        out.push_str("<param>\n");
        push_value(&mut out, param);
        out.push_str("</param>\n");
    }
    out.push_str("</params>\n</methodCall>\n");
    out
}

fn push_value(out: &mut String, value: &Value<'_>) {
    match value {
        // Without a line end, as in Python.
        Value::Nil => out.push_str("<value><nil/></value>"),
        Value::Int(number) if i32::try_from(*number).is_ok() => push_scalar(out, "int", number),
        Value::Int(number) => push_scalar(out, "i8", number),
        Value::Boolean(truth) => push_scalar(out, "boolean", u8::from(*truth)),
        Value::Double(number) => push_scalar(out, "double", double(*number)),
        Value::DateTime(time) => push_scalar(out, "dateTime.iso8601", time.strftime("%Y%m%dT%H:%M:%S")),
        Value::Base64(bytes) => push_scalar(out, "base64", STANDARD.encode(bytes)),
        Value::String(text) => {
            out.push_str("<value><string>");
            push_text(out, text);
            out.push_str("</string></value>\n");
        }
        Value::Array(values) => {
            out.push_str("<value><array><data>\n");
            for value in values {
                push_value(out, value);
            }
            out.push_str("</data></array></value>\n");
        }
        Value::Struct(members) => {
            out.push_str("<value><struct>\n");
            for (name, value) in members {
                out.push_str("<member>\n<name>");
                push_text(out, name);
                out.push_str("</name>\n");
                push_value(out, value);
                out.push_str("</member>\n");
            }
            out.push_str("</struct></value>\n");
        }
    }
}

fn push_scalar(out: &mut String, tag: &str, text: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "<value><{tag}>{text}</{tag}></value>");
}

/// All digits and at least one behind the point, as XML-RPC wants it; `nan` and `inf` as Python writes them.
fn double(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    let text = number.to_string();
    if number.is_finite() && number.fract() == 0.0 { text + ".0" } else { text }
}

fn push_text(out: &mut String, text: &str) {
    // Most text is plain, and all of it is seen to be at once, in vector instructions.
    if text.bytes().fold(true, |plain, byte| plain & !matches!(byte, b'&' | b'<' | b'>' | 0..=0x1f | 0xef)) {
        return out.push_str(text);
    }
    let mut rest = text;
    while let Some(at) = rest.find(is_special) {
        let (plain, special) = rest.split_at(at);
        let mut characters = special.chars();
        let replacement = match characters.next() {
            Some('&') => "&amp;",
            Some('<') => "&lt;",
            Some('>') => "&gt;",
            Some('\r') => "&#13;",
            _ => "\u{fffd}",
        };
        out.push_str(plain);
        out.push_str(replacement);
        rest = characters.as_str();
    }
    out.push_str(rest);
}

const fn is_special(character: char) -> bool {
    let plain_control = matches!(character, '\t' | '\n');
    matches!(character, '&' | '<' | '>' | '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}') && !plain_control
}

#[cfg(test)]
mod tests;
