//! Literal bytes from the Binary Provider API's layout, and random ones.

use proptest::prelude::*;

use super::*;
use crate::domain::batch::{Message, PushOptions};

fn token() -> Vec<u8> {
    (0x10..=0x2f).collect()
}

fn message(expiration: Option<u32>) -> Message {
    let payload: &[u8] = br#"{"aps":{"alert":"hi"}}"#;
    Message { payload: payload.into(), options: PushOptions { expiration, ..PushOptions::default() } }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

const TOKEN: &str = "101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f";
const PAYLOAD: &str = "7b22617073223a7b22616c657274223a226869227d7d";

#[test]
fn a_frame_is_these_83_bytes() {
    let message = message(Some(0x5e0b_e100));
    let notification = Notification { token: &token(), message: &message };
    let mut out = BytesMut::new();
    encode_frame(42, &notification, &mut out);
    let expected =
        format!("02 0000004e 03 0004 0000002a 01 0020 {TOKEN} 02 0016 {PAYLOAD} 04 0004 5e0be100 05 0001 0a");
    assert_eq!(out[..], hex(&expected)[..]);
    assert_eq!(out.len(), 83);
    assert_eq!(frame_len(&notification), 83);
}

#[test]
fn a_sentinel_is_these_29_bytes() {
    let mut out = BytesMut::new();
    encode_sentinel(43, &mut out);
    let expected = "02 00000018 03 0004 0000002b 01 0000 02 0000 04 0004 00000000 05 0001 0a";
    assert_eq!(out[..], hex(expected)[..]);
    assert_eq!(out.len(), 29);
}

#[test]
fn an_error_packet_is_these_6_bytes() {
    let packet = ErrorPacket { status: 8, identifier: 42 };
    assert_eq!(packet.encode(), [8, 8, 0, 0, 0, 42]);
    assert_eq!(ErrorPacket::decode([8, 8, 0, 0, 0, 42]), Some(packet));
    assert_eq!(ErrorPacket::decode([7, 8, 0, 0, 0, 42]), None);
}

#[test]
fn a_gateway_reads_commands_0_1_and_2_from_one_stream() {
    let simple = hex(&format!("00 0020 {TOKEN} 0016 {PAYLOAD}"));
    let enhanced = hex(&format!("01 0000002a 5e0be100 0020 {TOKEN} 0016 {PAYLOAD}"));
    let mut stream = [simple, enhanced].concat();
    stream.extend(hex("02 00000018 03 0004 0000002b 01 0000 02 0000 04 0004 00000000 05 0001 0a"));

    let Decoded::Packet(packet, 59) = decode(&stream) else { panic!("{:?}", decode(&stream)) };
    assert_eq!((packet.command, packet.identifier, packet.token), (0, None, Some(&token()[..])));
    let Decoded::Packet(packet, 67) = decode(&stream[59..]) else { panic!("{:?}", decode(&stream[59..])) };
    assert_eq!((packet.command, packet.identifier, packet.expiration), (1, Some(42), Some(0x5e0b_e100)));
    let Decoded::Packet(packet, 29) = decode(&stream[126..]) else { panic!("{:?}", decode(&stream[126..])) };
    assert_eq!((packet.token, packet.payload, packet.priority), (Some(&[][..]), Some(&[][..]), Some(10)));
}

#[test]
fn a_packet_cut_anywhere_is_incomplete() {
    let frame = hex("02 00000018 03 0004 0000002b 01 0000 02 0000 04 0004 00000000 05 0001 0a");
    for end in 0..frame.len() {
        assert_eq!(decode(&frame[..end]), Decoded::Incomplete, "cut after {end} bytes");
    }
}

#[test]
fn garbage_is_malformed_and_named_where_its_identifier_was_read() {
    assert_eq!(decode(&[9]), Decoded::Malformed(None));
    assert_eq!(decode(&hex("02 ffffffff")), Decoded::Malformed(None));
    assert_eq!(decode(&hex("02 00000008 03 0004 00000007 01")), Decoded::Malformed(Some(7)), "an item cut off");
    assert_eq!(decode(&hex("02 0000000a 03 0004 00000007 09 0000")), Decoded::Malformed(Some(7)), "unknown item");
    assert_eq!(decode(&hex("02 0000000e 0300040000000703000400000008")), Decoded::Malformed(Some(8)), "doubled item");
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(
        identifier: u32,
        token in proptest::collection::vec(any::<u8>(), 0..=100),
        payload in proptest::collection::vec(any::<u8>(), 0..=2048),
        expiration: u32,
        priority: u8,
    ) {
        let options = PushOptions { expiration: Some(expiration), priority: Some(priority), ..PushOptions::default() };
        let message = Message { payload: payload.clone().into(), options };
        let mut out = BytesMut::new();
        encode_frame(identifier, &Notification { token: &token, message: &message }, &mut out);
        let expected = Packet {
            command: 2,
            identifier: Some(identifier),
            token: Some(&token),
            payload: Some(&payload),
            expiration: Some(expiration),
            priority: Some(priority),
        };
        prop_assert_eq!(decode(&out), Decoded::Packet(expected, out.len()));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Decoded::Packet(_, length) = decode(&bytes) {
            prop_assert!(length <= bytes.len());
        }
    }
}
