//! What users were promised, told from outside: a daemon between a client and a simulated gateway, over real sockets.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on is a failed test")]

mod apps;
mod calls;
mod captures;
mod delivery;
mod feedback;
mod provider_api;
mod provider_faults;
mod provisions;
mod restarts;
mod send;
mod world;
