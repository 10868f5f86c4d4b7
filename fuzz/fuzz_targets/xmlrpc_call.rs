//! Bytes of a request body to a call, in every charset that a header may name. What is read by
//! hand is what quick-xml reads; what decodes, encodes to its equal.
#![no_main]

use apnsd::xmlrpc::charset::decode_text;
use apnsd::xmlrpc::decode::{Limits, decode_call, decode_call_by_quick_xml};
use apnsd::xmlrpc::encode::encode_call;
use libfuzzer_sys::fuzz_target;

const CHARSETS: [Option<&str>; 6] =
    [None, Some("utf-8"), Some("us-ascii"), Some("iso-8859-1"), Some("windows-1252"), Some("utf-16")];

fuzz_target!(|body: &[u8]| {
    for charset in CHARSETS {
        let Ok(text) = decode_text(body, charset) else { continue };
        let decoded = decode_call(&text, &Limits::default());
        let by_quick_xml = decode_call_by_quick_xml(&text, &Limits::default());
        assert_eq!(format!("{decoded:?}"), format!("{by_quick_xml:?}"));
        let Ok(call) = decoded else { continue };
        let encoded = encode_call(&call.name, &call.params);
        let again = decode_call(&encoded, &Limits::default()).expect("our own calls decode");
        // Fractions of seconds have no place in the encoding, and a NaN is not its equal: compare what is written.
        assert_eq!(encode_call(&again.name, &again.params), encoded);
    }
});
