//! A stream of tuples as the feedback service sends it. A tuple is read alike however much follows it, and is incomplete
//! wherever it is cut.
#![no_main]

use apnsd::gateway::binary::feedback::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let mut rest = stream;
    while let Some((entry, length)) = decode(rest) {
        assert_eq!(length, 6 + entry.token.len());
        let (bytes, behind) = rest.split_at(length);
        assert_eq!(decode(&bytes[..length - 1]), None);
        assert_eq!(decode(bytes), Some((entry, length)));
        rest = behind;
    }
});
