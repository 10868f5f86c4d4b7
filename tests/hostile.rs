//! Callers that mean harm, over real sockets against a whole daemon. Each gets a literal answer, and after each a good
//! caller of the same daemon is answered.
//!
//! | trap | here | closer to the code |
//! |---|---|---|
//! | DOCTYPE, entities, illegal characters, depth, integers out of range, members, types, text beside elements | `xml` | `xmlrpc::decode::tests::refusals` |
//! | bodies over the limit, gzip bombs, damaged gzip | `requests` | `rpc::intake::tests`, `tests/http.rs` |
//! | framing: lengths, codings, chunks, several hosts; floods of headers; what is not HTTP/1 | `requests` | `listener::connection::tests` |
//! | slow heads and bodies | `requests`, `crowds` | `listener::connection::tests`, `tests/http.rs` |
//! | pipelining, half-closed callers, callers that do not read | `requests` | `tests/http.rs` |
//! | paths outside of `provision.certificate_dirs`, PEM that is meant to take long | `files` | `credentials::source` |
//! | thousands of wrong passwords, a thousand slow connections | `crowds` | `listener::auth::tests`, `listener::room` |
//! | large calls that wait for outcomes | `crowds` | `rpc::threads`, `service::tests::sending` |
//! | web pages: `Origin`, DNS rebinding | | `tests/http.rs`, `tests/status_page.rs` |
//!
//! There is no limit of its own for the number of elements or parameters, nor for the length of a text: what decoding takes
//! is in proportion to the body, which is bounded.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "hostile/crowds.rs"]
mod crowds;
#[path = "hostile/files.rs"]
mod files;
#[path = "hostile/requests.rs"]
mod requests;
#[path = "hostile/site.rs"]
mod site;
#[path = "hostile/xml.rs"]
mod xml;
