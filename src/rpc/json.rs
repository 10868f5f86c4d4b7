//! Notifications as compact JSON: raw UTF-8, members in the order of the call, numbers as they were.

use std::fmt;
use std::io::Write;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

use crate::xmlrpc::value::Value;

/// Why a notification has no JSON form, and where in it.
///
/// Shown with the path from the notification down to the value: `aps.when: dateTime.iso8601 has no JSON form`.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{}{problem}", shown(.path))]
pub(super) struct JsonError {
    /// As in `.aps.loc-args[2]`; empty for the notification itself.
    path: String,
    problem: Problem,
}

fn shown(path: &str) -> String {
    match path.strip_prefix('.').unwrap_or(path) {
        "" => String::new(),
        path => format!("{path}: "),
    }
}

#[derive(Debug, PartialEq, Eq, Error)]
enum Problem {
    #[error("{0} has no JSON form")]
    Type(&'static str),
    #[error("{0} is not a number that JSON can express")]
    Number(String),
    #[error("a struct, or a string that holds a JSON object, is needed, not {0}")]
    NotObject(&'static str),
    #[error("the string does not hold a JSON object: {0}")]
    Syntax(String),
}

impl JsonError {
    fn new(problem: Problem) -> Self {
        Self { path: String::new(), problem }
    }

    /// The same error, seen from the value that contains this one as a member or element.
    #[must_use]
    fn within(mut self, place: &str) -> Self {
        self.path.insert_str(0, place);
        self
    }
}

/// Appends a notification: a struct, or a string that holds a JSON object.
pub(super) fn push_notification(out: &mut Vec<u8>, notification: &Value<'_>) -> Result<(), JsonError> {
    match notification {
        Value::Struct(_) => push_value(out, notification),
        Value::String(text) => push_object_text(out, text),
        Value::Int(_)
        | Value::Boolean(_)
        | Value::Double(_)
        | Value::DateTime(_)
        | Value::Base64(_)
        | Value::Nil
        | Value::Array(_) => Err(JsonError::new(Problem::NotObject(notification.type_name()))),
    }
}

/// Appends any value. An integral double stays a double: `3.0`.
fn push_value(out: &mut Vec<u8>, value: &Value<'_>) -> Result<(), JsonError> {
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => push_display(out, format_args!("{number}")),
        Value::Double(number) if number.is_finite() => push_display(out, format_args!("{number:?}")),
        Value::Double(number) => return Err(JsonError::new(Problem::Number(number.to_string()))),
        Value::String(text) => push_string(out, text),
        Value::Array(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_value(out, value).map_err(|error| error.within(&format!("[{index}]")))?;
            }
            out.push(b']');
        }
        Value::Struct(members) => {
            out.push(b'{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push_string(out, name);
                out.push(b':');
                push_value(out, value).map_err(|error| error.within(&format!(".{name}")))?;
            }
            out.push(b'}');
        }
        Value::DateTime(_) | Value::Base64(_) => return Err(JsonError::new(Problem::Type(value.type_name()))),
    }
    Ok(())
}

fn push_display(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to a vector does not fail.
    let _ = out.write_fmt(text);
}

/// Appends a string; only what JSON does not allow raw is escaped.
fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, 0..=0x1f | b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            control => push_display(out, format_args!("\\u{control:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends a text that must be one JSON object, without the white space between its tokens.
fn push_object_text(out: &mut Vec<u8>, text: &str) -> Result<(), JsonError> {
    let syntax = |problem: String| JsonError::new(Problem::Syntax(problem));
    let text = text.trim_matches(is_space);
    if !text.starts_with('{') {
        return Err(syntax("it does not begin with `{`".to_owned()));
    }
    serde_json::from_str::<Checked>(text).map_err(|error| syntax(error.to_string()))?;
    let mut in_string = false;
    let mut escaped = false;
    out.extend(text.bytes().filter(|byte| {
        let keep = in_string || !is_space(char::from(*byte));
        match byte {
            b'"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && !escaped && *byte == b'\\';
        keep
    }));
    Ok(())
}

/// White space of JSON (RFC 8259, 2).
const fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

/// Any JSON value: checked in full, escapes and number ranges too, and dropped.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self, A::Error> {
        while elements.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        while members.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn structure(members: Vec<(&'static str, Value<'static>)>) -> Value<'static> {
        Value::Struct(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    fn json(notification: &Value<'_>) -> Result<String, String> {
        let mut out = Vec::new();
        push_notification(&mut out, notification).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_notification_is_compact_and_keeps_its_order_and_types() {
        let notification = structure(vec![
            ("z", Value::Nil),
            ("aps", structure(vec![("alert", Value::string("H\u{e9}llo \u{1f600}")), ("badge", Value::Int(1))])),
            ("a", Value::Array(vec![Value::Boolean(true), Value::Double(3.0), Value::Double(-1.5e300)])),
            ("big", Value::Int(i64::MAX)),
            ("empty", structure(vec![])),
        ]);
        let expected = "{\"z\":null,\"aps\":{\"alert\":\"H\u{e9}llo \u{1f600}\",\"badge\":1},\
                        \"a\":[true,3.0,-1.5e300],\"big\":9223372036854775807,\"empty\":{}}";
        assert_eq!(json(&notification).unwrap(), expected);
    }

    #[test]
    fn only_what_json_must_escape_is_escaped() {
        let notification = structure(vec![("a\"b", Value::string("\\ / \n\r\t\u{1}\u{7f}\u{2028}"))]);
        assert_eq!(json(&notification).unwrap(), "{\"a\\\"b\":\"\\\\ / \\n\\r\\t\\u0001\u{7f}\u{2028}\"}");
    }

    #[test]
    fn what_has_no_json_form_is_named_with_its_path() {
        let when = Value::DateTime(date(2011, 3, 13).at(7, 6, 40, 0));
        let notification = structure(vec![("aps", structure(vec![("when", when)]))]);
        assert_eq!(json(&notification).unwrap_err(), "aps.when: dateTime.iso8601 has no JSON form");
        let list = Value::Array(vec![Value::Nil, Value::Base64(vec![1])]);
        let error = json(&structure(vec![("list", list)])).unwrap_err();
        assert_eq!(error, "list[1]: base64 has no JSON form");
        let error = json(&structure(vec![("x", Value::Double(f64::NAN))])).unwrap_err();
        assert_eq!(error, "x: NaN is not a number that JSON can express");
    }

    #[test]
    fn only_structs_and_strings_are_notifications() {
        let error = json(&Value::Array(vec![])).unwrap_err();
        assert_eq!(error, "a struct, or a string that holds a JSON object, is needed, not array");
    }

    #[test]
    fn an_object_in_a_string_loses_its_white_space_and_nothing_else() {
        let text = " \n{ \"b\" : [ 1.0 , 1e2, -0 ],\t\"a \\\" b\\\\\" : \"x : y\" , \"\u{e9}\" : { } }\r\n";
        let expected = "{\"b\":[1.0,1e2,-0],\"a \\\" b\\\\\":\"x : y\",\"\u{e9}\":{}}";
        assert_eq!(json(&Value::string(text)).unwrap(), expected);
    }

    #[test]
    fn a_string_that_is_not_one_whole_valid_object_is_refused() {
        for text in [
            "",
            "[]",
            "1",
            "\"x\"",
            "null",
            "{",
            "{}{}",
            "{} x",
            "{a:1}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":1e999}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":nan}",
            "{'a':1}",
            "\u{a0}{}",
        ] {
            let error = json(&Value::string(text)).expect_err(text);
            assert!(error.starts_with("the string does not hold a JSON object: "), "{error}");
        }
        let nested = format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
        assert!(json(&Value::string(nested)).is_err());
    }

    fn any_value() -> impl Strategy<Value = Value<'static>> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::Boolean),
            any::<i64>().prop_map(Value::Int),
            (-1_000_000..1_000_000).prop_map(|number| Value::Double(f64::from(number) / 64.0)),
            ".*".prop_map(Value::string),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::btree_map(".*", inner, 0..5).prop_map(|members| {
                    Value::Struct(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
                }),
            ]
        })
    }

    fn same(value: &Value<'_>, json: &serde_json::Value) -> bool {
        match (value, json) {
            (Value::Nil, serde_json::Value::Null) => true,
            (Value::Boolean(left), serde_json::Value::Bool(right)) => left == right,
            (Value::Int(left), serde_json::Value::Number(right)) => right.as_i64() == Some(*left),
            (Value::Double(left), serde_json::Value::Number(right)) => right.is_f64() && right.as_f64() == Some(*left),
            (Value::String(left), serde_json::Value::String(right)) => left == right,
            (Value::Array(left), serde_json::Value::Array(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
            }
            (Value::Struct(left), serde_json::Value::Object(right)) => {
                let pairs = left.iter().zip(right);
                left.len() == right.len()
                    && pairs.into_iter().all(|(left, right)| left.0 == *right.0 && same(&left.1, right.1))
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn another_json_reader_finds_the_same_value(value in any_value()) {
            let mut out = Vec::new();
            push_value(&mut out, &value).unwrap();
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert!(same(&value, &read), "{:?} {}", value, read);
        }

        #[test]
        fn compacting_changes_no_meaning(value in any_value()) {
            let mut out = Vec::new();
            push_value(&mut out, &structure(vec![("x", value)])).unwrap();
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            let spaced = serde_json::to_string_pretty(&read).unwrap();
            let expected = serde_json::to_string(&read).unwrap();
            prop_assert_eq!(json(&Value::string(spaced)).unwrap(), expected);
        }
    }
}
