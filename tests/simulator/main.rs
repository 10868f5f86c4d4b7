//! The simulator over real TLS, with literal bytes: what it does right, every family of faults, the feedback service
//! and the control port.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod behavior;
mod control;
mod error_packets;
mod feedback;
mod handshakes;
mod lab;
mod provider;
mod provider_faults;
mod provider_lab;
mod streams;
