//! What holds for any value, any bytes and any document that is nearly right.

use proptest::prelude::*;

use super::{LIMITS, call, call_with, response};
use crate::xmlrpc::charset::decode_text;
use crate::xmlrpc::decode::decode_call;
use crate::xmlrpc::encode::{encode_call, encode_fault, encode_response};
use crate::xmlrpc::error::Place;
use crate::xmlrpc::value::{Fault, MethodCall, Value};

/// Any text that XML can carry.
fn texts() -> impl Strategy<Value = String> {
    let characters = prop_oneof![
        Just('\r'),
        Just('\n'),
        prop::sample::select(vec!['<', '>', '&', ' ', ']', '\t', '"']),
        prop::char::range(' ', '\u{d7ff}'),
        prop::char::range('\u{e000}', '\u{fffd}'),
        prop::char::range('\u{10000}', '\u{10ffff}'),
    ];
    prop::collection::vec(characters, 0..20).prop_map(|characters| characters.into_iter().collect())
}

fn values() -> impl Strategy<Value = Value<'static>> {
    let seconds = -62_167_219_200_i64..=253_402_300_799;
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Int),
        any::<i32>().prop_map(|number| Value::Int(number.into())),
        any::<bool>().prop_map(Value::Boolean),
        any::<f64>().prop_filter("equal to itself", |number| !number.is_nan()).prop_map(Value::Double),
        texts().prop_map(Value::string),
        seconds.prop_map(|seconds| {
            let time = jiff::Timestamp::from_second(seconds).unwrap();
            Value::DateTime(jiff::tz::Offset::UTC.to_datetime(time))
        }),
        prop::collection::vec(any::<u8>(), 0..100).prop_map(Value::Base64),
        Just(Value::Nil),
    ];
    leaf.prop_recursive(5, 100, 40, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..10).prop_map(Value::Array),
            prop::collection::btree_map(texts(), inner, 0..40)
                .prop_map(|members| Value::Struct(members.into_iter().map(|(k, v)| (k.into(), v)).collect())),
        ]
    })
}

/// Pieces from which documents are made that are nearly right.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "<methodCall>",
        "</methodCall>",
        "<methodName>m</methodName>",
        "<params>",
        "</params>",
        "<param>",
        "</param>",
        "<value>",
        "</value>",
        "<value/>",
        "<array>",
        "</array>",
        "<data>",
        "</data>",
        "<struct>",
        "</struct>",
        "<member>",
        "</member>",
        "<name>a</name>",
        "<int>1</int>",
        "<string>",
        "</string>",
        "<nil/>",
        "<base64>",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "<?",
        "?>",
        "<?xml ",
        "<!DOCTYPE",
        "&amp;",
        "&#13;",
        "&",
        ";",
        "\r",
        "\n",
        "<",
        ">",
        "/",
        "'",
        "\"",
        "=",
        "ä",
        "\u{feff}",
        "\0",
        "a",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn decode_everything(body: &[u8]) {
    for charset in [None, Some("utf-8"), Some("latin1"), Some("utf-16")] {
        if let Ok(text) = decode_text(body, charset) {
            let _ = call(&text);
            let _ = response(&text);
        }
    }
}

proptest! {
    #[test]
    fn any_value_survives_encoding_and_decoding(values in prop::collection::vec(values(), 0..5), text in texts()) {
        let encoded = encode_call("a.b", &values);
        prop_assert_eq!(call(&encoded), Ok(MethodCall { name: "a.b".into(), params: values.clone() }));
        for value in values {
            let encoded = encode_response(&value);
            prop_assert_eq!(response(&encoded), Ok(Ok(value)));
        }
        let fault = Fault { code: -1, text };
        let encoded = encode_fault(&fault);
        prop_assert_eq!(response(&encoded), Ok(Err(fault)));
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        decode_everything(&body);
    }

    #[test]
    fn no_pieces_make_it_panic(text in pieces()) {
        decode_everything(text.as_bytes());
        decode_everything(call_with(&text).as_bytes());
    }

    #[test]
    fn no_mutation_makes_it_panic(
        values in prop::collection::vec(values(), 0..3),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, pieces()), 1..4),
    ) {
        let mut body = encode_call("m", &values).into_bytes();
        for (at, removed, piece) in cuts {
            let at = at.index(body.len() + 1);
            let end = (at + removed).min(body.len());
            body.splice(at..end, piece.bytes());
        }
        decode_everything(&body);
    }

    #[test]
    fn every_error_in_a_text_has_a_place_within_it(text in pieces()) {
        if let Err(error) = decode_call(&text, &LIMITS) {
            let Some(Place::Text { line, column }) = error.place else { panic!("{error:?}") };
            prop_assert!(line >= 1 && line + column <= text.chars().count() + 1);
        }
    }
}
