//! Where a request came from.

use std::fmt;
use std::net::IpAddr;

/// The other end of a connection; every request has it among its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP, with or without TLS.
    Tcp(IpAddr),
    /// Over a Unix socket: whoever may open its file.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "{address}"),
            Self::Unix => formatter.write_str("unix"),
        }
    }
}
