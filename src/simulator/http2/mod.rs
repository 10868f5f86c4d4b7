//! The HTTP/2 provider API.

mod frame;
mod hpack;
mod session;
