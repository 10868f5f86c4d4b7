//! What holds for any value, any bytes and any document that is nearly right.

use proptest::prelude::*;

use super::{LIMITS, call, call_with, response};
use crate::xmlrpc::charset::decode_text;
use crate::xmlrpc::decode::{decode_call, decode_call_by_quick_xml};
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

/// Lists in which values repeat themselves, some of them nearly.
fn repetitive() -> impl Strategy<Value = Value<'static>> {
    prop::collection::vec((values(), 1..4_usize), 0..6).prop_map(|runs| {
        Value::Array(runs.into_iter().flat_map(|(value, times)| std::iter::repeat_n(value, times)).collect())
    })
}

/// What is read by hand must be what quick-xml reads, errors and their places included.
fn assert_read_as_by_quick_xml(text: &str) {
    let (by_hand, by_quick_xml) = (decode_call(text, &LIMITS), decode_call_by_quick_xml(text, &LIMITS));
    // As text, in which a NaN is its own equal.
    assert_eq!(format!("{by_hand:?}"), format!("{by_quick_xml:?}"), "{text}");
}

proptest! {
    #[test]
    fn pieces_are_read_as_quick_xml_reads_them(text in pieces()) {
        assert_read_as_by_quick_xml(&text);
        assert_read_as_by_quick_xml(&call_with(&text));
    }

    #[test]
    fn lists_are_read_as_quick_xml_reads_them(
        list in repetitive(),
        between in prop::sample::select(vec!["", "\n", " \r\n", "<!---->", "x"]),
        cut in (any::<prop::sample::Index>(), 0..4_usize, pieces()),
        is_cut in any::<bool>(),
    ) {
        let mut text = encode_call("m", &[list]).replace("</value>", &format!("</value>{between}"));
        assert_read_as_by_quick_xml(&text);
        let (at, removed, piece) = cut;
        let at = text.floor_char_boundary(at.index(text.len() + 1));
        let end = text.ceil_char_boundary((at + removed).min(text.len()));
        if is_cut {
            text.replace_range(at..end, &piece);
        }
        assert_read_as_by_quick_xml(&text);
    }

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
