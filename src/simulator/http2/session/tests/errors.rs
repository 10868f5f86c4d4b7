//! What a client must not do, and what it gets for it.

use super::*;
use crate::simulator::http2::frame::code;

/// What a GOAWAY and its caller say of these frames.
fn breaks(session: &mut Session, digits: &str) -> u32 {
    let error = session.receive(&hex(digits)).unwrap_err();
    let said = session.out().split().to_vec();
    let end = 8 + error.words.len();
    let go_away = hex(&format!("{end:06x} 07 00 00000000 {:08x} {:08x}", session.last_stream(), error.code));
    assert!(said.ends_with(&[&go_away, error.words.as_bytes()].concat()), "{error}");
    assert_eq!(session.receive(b"more"), Err(error), "nothing more is read");
    error.code
}

/// The code with which the session resets stream 1 for these frames.
fn refused(session: &mut Session, digits: &str) -> u32 {
    receive(session, digits);
    session.out().clear();
    match events(session).pop() {
        Some(Event::Refused { stream: 1, code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

/// HEADERS of stream 1, with the fields of a request and then these; no END_STREAM.
fn headers_with(fields: &str) -> String {
    let block = format!("{FIELDS} {fields}");
    format!("{:06x} 01 04 00000001 {block}", hex(&block).len())
}

#[test]
fn a_connection_begins_with_its_preface_and_settings() {
    let mut session = Session::new(Options::default());
    assert_eq!(session.receive(b"PRI * HTTP/1.1").map_err(|error| error.code), Err(code::PROTOCOL_ERROR));
    let preface = &HELLO[..48];
    for first in ["000000 04 01 00000000", "000008 06 00 00000000 0000000000000000"] {
        let mut session = Session::new(Options::default());
        assert_eq!(breaks(&mut session, &format!("{preface} {first}")), code::PROTOCOL_ERROR);
    }
}

#[test]
fn what_breaks_a_connection() {
    let (open, ended) = (headers(3, false), headers(3, true));
    let cases = [
        ("even stream", headers(2, true), code::PROTOCOL_ERROR),
        ("PUSH_PROMISE", "000004 05 04 00000001 00000002".into(), code::PROTOCOL_ERROR),
        ("SETTINGS acknowledged twice", "000000 04 01 00000000".into(), code::PROTOCOL_ERROR),
        ("DATA on an idle stream", "000000 00 01 00000001".into(), code::PROTOCOL_ERROR),
        ("RST_STREAM on an idle stream", "000004 03 00 00000001 00000000".into(), code::PROTOCOL_ERROR),
        ("WINDOW_UPDATE on an idle stream", "000004 08 00 00000001 00000001".into(), code::PROTOCOL_ERROR),
        ("HEADERS on a lower stream", format!("{ended} {}", headers(1, true)), code::STREAM_CLOSED),
        ("DATA on a lower stream", format!("{ended} 000000 00 01 00000001"), code::STREAM_CLOSED),
        (
            "DATA after the client's reset",
            format!("{open} 000004 03 00 00000003 00000008 000000 00 00 00000003"),
            code::STREAM_CLOSED,
        ),
        ("CONTINUATION alone", format!("{open} 000000 09 04 00000003"), code::PROTOCOL_ERROR),
        (
            "PING in a header block",
            "000002 01 00 00000001 8387 000008 06 00 00000000 0000000000000000".into(),
            code::PROTOCOL_ERROR,
        ),
        (
            "CONTINUATION of another stream",
            "000002 01 00 00000001 8387 000000 09 04 00000003".into(),
            code::PROTOCOL_ERROR,
        ),
        ("a bad index", "000001 01 05 00000001 ff".into(), code::COMPRESSION_ERROR),
        ("ENABLE_PUSH 2", "000006 04 00 00000000 0002 00000002".into(), code::PROTOCOL_ERROR),
        ("MAX_FRAME_SIZE 16383", "000006 04 00 00000000 0005 00003fff".into(), code::PROTOCOL_ERROR),
        ("MAX_FRAME_SIZE 2^24", "000006 04 00 00000000 0005 01000000".into(), code::PROTOCOL_ERROR),
        ("INITIAL_WINDOW_SIZE 2^31", "000006 04 00 00000000 0004 80000000".into(), code::FLOW_CONTROL_ERROR),
        (
            "a window beyond 2^31",
            format!("{open} 000004 08 00 00000003 00000001 000006 04 00 00000000 0004 7fffffff"),
            code::FLOW_CONTROL_ERROR,
        ),
        ("WINDOW_UPDATE 0", "000004 08 00 00000000 00000000".into(), code::PROTOCOL_ERROR),
        ("WINDOW_UPDATE beyond 2^31", "000004 08 00 00000000 7fff0001".into(), code::FLOW_CONTROL_ERROR),
    ];
    for (what, digits, code) in cases {
        assert_eq!(breaks(&mut greeted(Options::default()), &digits), code, "{what}");
    }
}

#[test]
fn a_header_block_without_end_breaks_the_connection() {
    let mut session = greeted(Options::default());
    receive(&mut session, "000002 01 00 00000001 8387");
    let mut more = hex("004000 09 00 00000001");
    more.resize(more.len() + 0x4000, 0);
    (0..3).for_each(|_| session.receive(&more).unwrap());
    assert_eq!(session.receive(&more).map_err(|error| error.code), Err(code::ENHANCE_YOUR_CALM));
}

#[test]
fn streams_without_end_break_the_connection() {
    let mut session = greeted(Options { max_concurrent_streams: None, ..Options::default() });
    (0..10_000).for_each(|n| request(&mut session, 2 * n + 1));
    assert_eq!(breaks(&mut session, &headers(20_001, true)), code::ENHANCE_YOUR_CALM);
}

#[test]
fn what_breaks_a_stream() {
    let open = headers(1, false);
    let ended = headers(1, true);
    let cases = [
        ("DATA after END_STREAM", format!("{ended} 000000 00 00 00000001"), code::STREAM_CLOSED),
        ("HEADERS after END_STREAM", format!("{ended} {ended}"), code::STREAM_CLOSED),
        ("HEADERS twice", format!("{open} {open}"), code::PROTOCOL_ERROR),
        ("WINDOW_UPDATE 0", format!("{open} 000004 08 00 00000001 00000000"), code::PROTOCOL_ERROR),
        ("WINDOW_UPDATE beyond 2^31", format!("{open} 000004 08 00 00000001 7fff0001"), code::FLOW_CONTROL_ERROR),
        ("no :path", "000002 01 05 00000001 8387".into(), code::PROTOCOL_ERROR),
        ("two :method", headers_with("83"), code::PROTOCOL_ERROR),
        ("pseudo-header after a field", headers_with("00 01 61 01 62 01 01 62"), code::PROTOCOL_ERROR),
        ("unknown pseudo-header", headers_with("00 02 3a61 00"), code::PROTOCOL_ERROR),
        ("upper case", headers_with("00 01 41 00"), code::PROTOCOL_ERROR),
        ("a name without bytes", headers_with("00 00 00"), code::PROTOCOL_ERROR),
        ("a line feed", headers_with("00 01 61 03 620a62"), code::PROTOCOL_ERROR),
        ("a space at the end", headers_with("00 01 61 02 6220"), code::PROTOCOL_ERROR),
        ("connection", headers_with("00 0a 636f6e6e656374696f6e 00"), code::PROTOCOL_ERROR),
        ("te", headers_with("00 02 7465 01 61"), code::PROTOCOL_ERROR),
        ("content-length", format!("{} 000002 00 01 00000001 6162", headers_with("0f0d 01 33")), code::PROTOCOL_ERROR),
    ];
    for (what, digits, code) in cases {
        let mut session = greeted(Options::default());
        assert_eq!(refused(&mut session, &digits), code, "{what}");
        assert_eq!(session.open_streams(), 0, "{what}");
        request(&mut session, 3);
        assert_eq!(excess(&mut session), [false], "{what}: the connection goes on");
    }
}

#[test]
fn headers_that_are_allowed() {
    for fields in ["00 02 7465 08 747261696c657273", "01 01 62 00 01 7e 00", "0f0d 01 30"] {
        let mut session = greeted(Options::default());
        receive(&mut session, &format!("{} 000000 00 01 00000001", headers_with(fields)));
        assert_eq!(excess(&mut session), [false], "{fields}");
    }
}

#[test]
fn a_header_list_beyond_the_limit_costs_its_stream_and_not_the_table() {
    let mut session = greeted(Options { max_header_list_size: 200, ..Options::default() });
    let long = format!("40 01 61 64 {}", "62".repeat(100));
    assert_eq!(refused(&mut session, &headers_with(&long)), code::ENHANCE_YOUR_CALM);
    session.options().max_header_list_size = 8000;
    receive(&mut session, &format!("000011 01 05 00000003 {FIELDS} be"));
    let expected = [fields(), vec![(b"a".to_vec(), vec![b'b'; 100])]].concat();
    assert!(events(&mut session).contains(&Event::Request {
        stream: 3,
        headers: expected,
        body: Vec::new(),
        excess: false
    }));
}

#[test]
fn a_body_beyond_the_limit_costs_its_stream() {
    let options = Options { initial_window_size: 200_000, ..Options::default() };
    let mut session = greeted(options);
    receive(&mut session, &headers(1, false));
    let mut data = hex("004000 00 00 00000001");
    data.resize(data.len() + 0x4000, b' ');
    for _ in 0..4 {
        session.receive(&data).unwrap();
        session.out().clear();
    }
    assert_eq!(events(&mut session), [Event::Begun { stream: 1 }]);
    assert_eq!(refused(&mut session, "000001 00 00 00000001 20"), code::ENHANCE_YOUR_CALM);
}

#[test]
fn a_smaller_header_table_holds_from_its_acknowledgement() {
    let mut session = greeted(Options { header_table_size: 0, ..Options::default() });
    assert_eq!(breaks(&mut session, &headers(1, true)), code::COMPRESSION_ERROR);
    let mut session = greeted(Options { header_table_size: 0, ..Options::default() });
    receive(&mut session, &format!("000011 01 05 00000001 20 {FIELDS}"));
    assert_eq!(excess(&mut session), [false]);
}
