//! Frames against the layouts of RFC 9113 section 6.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Bytes written as hexadecimal digits; whitespace is left out.
pub(in crate::simulator::http2) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<char> = digits.chars().filter(|digit| !digit.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn decoded(digits: &str) -> Result<Option<Frame>, ConnectionError> {
    decode(&mut BytesMut::from(&*hex(digits)))
}

fn written(put: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    put(&mut out);
    out.to_vec()
}

#[test]
fn every_type_is_read() {
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    let frames = [
        ("000003 00 01 00000001 616263", Frame::Data { stream: 1, data: bytes("abc"), length: 3, ends_stream: true }),
        (
            "000002 01 04 00000003 6869",
            Frame::Headers { stream: 3, fragment: bytes("hi"), ends_headers: true, ends_stream: false },
        ),
        ("000005 02 00 00000003 00000001 10", Frame::Priority),
        ("000004 03 00 00000005 00000008", Frame::Reset { stream: 5, code: 8 }),
        ("00000c 04 00 00000000 0003 000003e8 0004 0000ffff", Frame::Settings(vec![(3, 1000), (4, 65_535)])),
        ("000000 04 01 00000000", Frame::SettingsAcknowledged),
        ("000004 05 04 00000001 00000002", Frame::PushPromise),
        ("000008 06 00 00000000 6161616161616161", Frame::Ping { payload: *b"aaaaaaaa" }),
        ("000008 06 01 00000000 0102030405060708", Frame::PingAcknowledged { payload: [1, 2, 3, 4, 5, 6, 7, 8] }),
        (
            "00000a 07 00 00000000 00000007 0000000b 6f6b",
            Frame::GoAway { last_stream: 7, code: 11, debug: bytes("ok") },
        ),
        ("000004 08 00 00000000 00000010", Frame::WindowUpdate { stream: 0, increment: 16 }),
        ("000001 09 04 00000001 61", Frame::Continuation { stream: 1, fragment: bytes("a"), ends_headers: true }),
        ("000002 f0 ff 80000000 6161", Frame::Unknown),
    ];
    for (digits, frame) in frames {
        assert_eq!(decoded(digits), Ok(Some(frame)), "{digits}");
    }
}

#[test]
fn the_reserved_bit_of_identifiers_and_windows_is_ignored() {
    assert_eq!(decoded("000004 08 00 80000003 80000010"), Ok(Some(Frame::WindowUpdate { stream: 3, increment: 16 })));
}

#[test]
fn padding_is_taken_off_and_counts_against_the_window() {
    let data = Frame::Data { stream: 1, data: Bytes::from_static(b"ab"), length: 6, ends_stream: false };
    assert_eq!(decoded("000006 00 08 00000001 03 6162 000000"), Ok(Some(data)));
}

#[test]
fn padding_and_priority_are_taken_off_a_header_block() {
    let headers =
        Frame::Headers { stream: 1, fragment: Bytes::from_static(b"ab"), ends_headers: true, ends_stream: true };
    assert_eq!(decoded("000009 01 2d 00000001 01 80000000 ff 6162 00"), Ok(Some(headers)));
}

#[test]
fn what_breaks_the_layout_breaks_the_connection() {
    let cases = [
        ("004001 00 00 00000001", code::FRAME_SIZE_ERROR),
        ("000003 03 00 00000001 000000", code::FRAME_SIZE_ERROR),
        ("000004 02 00 00000001 00000000", code::FRAME_SIZE_ERROR),
        ("000005 04 00 00000000 0003000003", code::FRAME_SIZE_ERROR),
        ("000006 04 01 00000000 0003000003e8", code::FRAME_SIZE_ERROR),
        ("000007 06 00 00000000 00000000000000", code::FRAME_SIZE_ERROR),
        ("000007 07 00 00000000 00000000000000", code::FRAME_SIZE_ERROR),
        ("000005 08 00 00000000 0000000000", code::FRAME_SIZE_ERROR),
        ("000000 00 08 00000001", code::FRAME_SIZE_ERROR),
        ("000004 01 20 00000001 00000000", code::FRAME_SIZE_ERROR),
        ("000002 00 08 00000001 02 61", code::PROTOCOL_ERROR),
        ("000006 01 28 00000001 01 00000000 00", code::PROTOCOL_ERROR),
        ("000000 00 00 00000000", code::PROTOCOL_ERROR),
        ("000000 01 04 00000000", code::PROTOCOL_ERROR),
        ("000000 09 04 00000000", code::PROTOCOL_ERROR),
        ("000004 03 00 00000000 00000000", code::PROTOCOL_ERROR),
        ("000000 04 00 00000001", code::PROTOCOL_ERROR),
        ("000008 06 00 00000001 0000000000000000", code::PROTOCOL_ERROR),
        ("000008 07 00 00000001 0000000000000000", code::PROTOCOL_ERROR),
    ];
    for (digits, code) in cases {
        assert_eq!(decoded(digits).map_err(|error| error.code), Err(code), "{digits}");
    }
}

#[test]
fn a_frame_cut_anywhere_is_incomplete_and_stays() {
    let whole = hex("000003 00 01 00000001 616263");
    for length in 0..whole.len() {
        let mut input = BytesMut::from(&whole[..length]);
        assert_eq!(decode(&mut input), Ok(None));
        assert_eq!(input, whole[..length]);
    }
}

#[test]
fn every_type_is_written() {
    assert_eq!(written(|out| put_data(1, b"abc", true, out)), hex("000003 00 01 00000001 616263"));
    assert_eq!(written(|out| put_data(1, b"", false, out)), hex("000000 00 00 00000001"));
    assert_eq!(written(|out| put_reset(5, 7, out)), hex("000004 03 00 00000005 00000007"));
    assert_eq!(written(|out| put_settings(&[(3, 1)], out)), hex("000006 04 00 00000000 0003 00000001"));
    assert_eq!(written(put_settings_acknowledged), hex("000000 04 01 00000000"));
    assert_eq!(written(|out| put_ping([1; 8], out)), hex("000008 06 00 00000000 0101010101010101"));
    assert_eq!(written(|out| put_ping_acknowledged([1; 8], out)), hex("000008 06 01 00000000 0101010101010101"));
    assert_eq!(
        written(|out| put_go_away(0x7fff_ffff, 11, b"{}", out)),
        hex("00000a 07 00 00000000 7fffffff 0000000b 7b7d")
    );
    assert_eq!(written(|out| put_window_update(0, 258, out)), hex("000004 08 00 00000000 00000102"));
}

#[test]
fn a_header_block_is_written_in_as_many_frames_as_asked() {
    let headers = |frames, payload_max| written(|out| put_headers(1, b"abc", true, frames, payload_max, out));
    assert_eq!(headers(1, 16_384), hex("000003 01 05 00000001 616263"));
    assert_eq!(headers(2, 16_384), hex("000002 01 01 00000001 6162  000001 09 04 00000001 63"));
    assert_eq!(headers(0, 2), hex("000002 01 01 00000001 6162  000001 09 04 00000001 63"));
    let empty_ones = "000001 01 01 00000001 61  000001 09 00 00000001 62  000001 09 00 00000001 63
                      000000 09 00 00000001  000000 09 04 00000001";
    assert_eq!(headers(5, 16_384), hex(empty_ones));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_without_panic_and_to_an_end(bytes in vec(any::<u8>(), 0..200)) {
        let mut input = BytesMut::from(&*bytes);
        while let Ok(Some(_)) = decode(&mut input) {}
    }
}
