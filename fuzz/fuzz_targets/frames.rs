//! A stream of packets as the binary gateway receives it. A packet is read alike however much follows it, and is
//! incomplete wherever it is cut.
#![no_main]

use apnsd::gateway::binary::frame::{Decoded, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let mut rest = stream;
    while let Decoded::Packet(packet, length) = decode(rest) {
        assert!(length > 0);
        let (bytes, behind) = rest.split_at(length);
        assert_eq!(decode(bytes), Decoded::Packet(packet, length));
        assert_eq!(decode(&bytes[..length - 1]), Decoded::Incomplete);
        rest = behind;
    }
});
