//! Credentials of every kind, with the passphrase and the ids that may belong to them. Whatever they say of themselves
//! stands in logs and faults: no character of it may forge a line. The encrypted seeds have one iteration, to be quick.
#![no_main]

use apnsd::credentials::{CredentialOptions, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for passphrase in [None, Some("secret")] {
        let options = CredentialOptions { passphrase, key_id: Some("ABC123DEFG"), team_id: Some("DEF123GHIJ") };
        let told = match parse(bytes, &options) {
            Ok(credentials) => {
                let again = parse(bytes, &options).expect("what was read is read again");
                assert_eq!(again.fingerprint(), credentials.fingerprint());
                format!("{}{:?}", credentials.subject(), credentials.default_topic())
            }
            Err(error) => error.to_string(),
        };
        assert!(!told.contains(char::is_control), "{told:?}");
    }
});
