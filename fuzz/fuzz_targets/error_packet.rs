//! The six bytes that a gateway answers with. What decodes, encodes to the same bytes.
#![no_main]

use apnsd::gateway::binary::frame::{ERROR_PACKET_LEN, ErrorPacket};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: [u8; ERROR_PACKET_LEN]| {
    match ErrorPacket::decode(bytes) {
        Some(packet) => assert_eq!(packet.encode(), bytes),
        None => assert_ne!(bytes[0], 8),
    }
});
