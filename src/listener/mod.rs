//! Sockets, HTTP/1 connections and their limits. Serves a router; knows nothing of what the requests mean.
//!
//! - [`address`]: how addresses are written in `listen`.
//! - [`bind`]: [`bind::Listeners`]: binds them all, says where they ended up, serves them.
//! - [`inherited`]: sockets that a service manager has bound.
//! - [`accept`]: accepts connections, and says whether it still does.
//! - [`tls`], [`auth`], [`user`]: what a caller must show.
//! - [`unix`]: mode and group of Unix sockets.
//! - [`peer`]: where a request came from.
//! - `connection`, `progress`, `pace`: one connection, how far it is, what it may take; `room`: which ones give way to
//!   others.
//! - [`after_answer`]: runs something once the whole answer has left the process; [`endless`]: answers without an end;
//!   [`turn`]: requests that wait for their turn.
//!
//! Requests arrive whole or not at all: a call that was read is executed and answered even when the caller has closed
//! its side meanwhile. Idle connections are closed only between requests.

pub mod accept;
pub mod address;
mod admission;
pub mod after_answer;
pub mod auth;
pub mod bind;
mod connection;
pub mod endless;
mod exchange;
pub mod inherited;
mod pace;
pub mod peer;
mod progress;
mod room;
mod stream;
pub mod tls;
pub mod turn;
pub mod unix;
pub mod user;

use std::time::Duration;

/// Limits of every connection (`[http]` in the config file).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From the first byte of a request's head to its last.
    pub header_timeout: Duration,
    /// Longest time for which a peer may take nothing of its answer.
    pub body_timeout: Duration,
    /// Longest time between two requests, and from the connection's start to its first.
    pub keep_alive: Duration,
    /// Connections served at once, over all addresses. More of them wait to be accepted, and one that is idle, or else
    /// slow, is closed to make room.
    pub connections_max: usize,
}

impl Default for Settings {
    /// 512 connections leave room for gateways and files under the usual limit of 1,024 open files.
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(75),
            connections_max: 512,
        }
    }
}
