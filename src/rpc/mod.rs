//! XML-RPC over HTTP: what callers see. Decodes calls for the verbs and encodes their answers; decides nothing.
//!
//! - [`server`]: HTTP: which requests are calls, and the answers that are not XML-RPC.
//! - `intake`: request bodies: their sizes, their time, their compression.
//! - `memory`, `threads`: what large calls share.
//! - `call`: from the text of a call to the text of its answer.
//! - `methods`: one file per method, and the table of them all.
//! - `arguments`, `options`: from values to what the verbs take. `json`, `payloads`: notifications as JSON.
//! - [`fault`]: what callers are told when a call fails.

mod arguments;
mod call;
pub mod fault;
mod intake;
mod json;
mod memory;
mod methods;
mod options;
mod payloads;
pub mod server;
mod threads;
mod values;

use std::time::Duration;

use crate::xmlrpc::value::Value;

/// Whether callers can call a method of this name.
pub fn is_method(name: &str) -> bool {
    methods::is_method(name)
}

/// A notification as JSON, for `benches/`; `None` where it has no JSON form.
#[doc(hidden)]
pub fn encode_json(notification: &Value<'_>) -> Option<Vec<u8>> {
    let mut json = Vec::new();
    json::push_notification(&mut json, notification).ok().map(|()| json)
}

/// Limits of calls (`[limits]` and `http.body_timeout` in the config file).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Longest body in bytes, as it is sent and as it is after decompression alike.
    pub body_max: usize,
    /// Bytes that all bodies over 256 KiB may take at once; further ones wait. One user may have half. Taken as twice `body_max` if it is less,
    /// so that one compressed body always fits. A decoded body takes up to four times its size besides.
    pub bodies_max: usize,
    /// Longest time between two parts of a body, and for which it may wait for memory, and a large call for a thread. The
    /// whole body may take as long, and a second for each 16 KiB besides.
    pub body_timeout: Duration,
    /// How deep arrays and structs may be nested.
    pub depth_max: usize,
    /// Most device tokens in one `notify`.
    pub tokens_per_call: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_max: 64 << 20,
            bodies_max: 256 << 20,
            body_timeout: Duration::from_secs(60),
            depth_max: 64,
            tokens_per_call: 100_000,
        }
    }
}
