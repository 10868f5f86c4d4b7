//! The HTTP/2 provider API.
//!
//! - `frame`, `hpack`, `session`: HTTP/2 as bytes and events, pure, and able to misbehave;
//! - `request`, `judge`, `topics`, `provider_token`: what a request is, and whether it is good;
//! - `conversation`: a connection's state machine; `behavior`, `stream_limit`, `held`, `answer`: its parts;
//! - `server`, `connection`: sockets.

mod answer;
mod behavior;
mod connection;
mod conversation;
mod frame;
mod held;
mod hpack;
mod judge;
pub mod provider_token;
mod request;
pub(super) mod server;
mod session;
mod stream_limit;
mod topics;
