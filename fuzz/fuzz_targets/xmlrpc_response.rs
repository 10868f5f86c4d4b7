//! Bytes of a response body to a value or a fault. What decodes, encodes to its equal.
#![no_main]

use apnsd::xmlrpc::charset::decode_text;
use apnsd::xmlrpc::decode::{Limits, decode_response};
use apnsd::xmlrpc::encode::{encode_fault, encode_response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Ok(text) = decode_text(body, None) else { return };
    match decode_response(&text, &Limits::default()) {
        Ok(Ok(value)) => {
            let encoded = encode_response(&value);
            let again = decode_response(&encoded, &Limits::default()).expect("our own responses decode");
            assert_eq!(encode_response(&again.expect("a value stays a value")), encoded);
        }
        Ok(Err(fault)) => {
            let encoded = encode_fault(&fault);
            let again = decode_response(&encoded, &Limits::default()).expect("our own faults decode");
            assert_eq!(again.expect_err("a fault stays a fault"), fault);
        }
        Err(_) => {}
    }
});
