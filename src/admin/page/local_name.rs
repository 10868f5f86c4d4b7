//! Which names a browser may know this daemon by, where nobody has to show anything.
//!
//! A page anywhere can have its own name resolve to 127.0.0.1 and then read, as if it were its own, what a daemon on its
//! visitor's machine serves ("DNS rebinding"). The name stays in the `Host` header, which tells it from a request that
//! was meant for this machine.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::listener::peer::Peer;
use crate::listener::user::User;

/// A request by a name that is none of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StrangeName;

/// Refuses a request without a user that comes from this machine and names another.
pub(super) fn judge(request: &Request) -> Result<(), StrangeName> {
    let is_local = match request.extensions().get::<Peer>() {
        Some(Peer::Tcp(address)) => address.to_canonical().is_loopback(),
        Some(Peer::Unix) | None => false,
    };
    let is_known = request.extensions().get::<Arc<User>>().is_some();
    // Browsers always name a host.
    let Some(host) = request.headers().get(header::HOST).filter(|_| is_local && !is_known) else { return Ok(()) };
    match host.to_str().is_ok_and(is_local_name) {
        true => Ok(()),
        false => Err(StrangeName),
    }
}

impl IntoResponse for StrangeName {
    fn into_response(self) -> Response {
        let text = "This page is served by the names of this machine only: open it as http://127.0.0.1 or \
                    http://localhost with the daemon's port.\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    }
}

/// Whether a host, with or without a port, is an IP address or one of the names that no DNS decides (RFC 6761, 6.3).
fn is_local_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_local_names() {
        for host in ["127.0.0.1:7077", "127.0.0.1", "[::1]:7077", "localhost:1", "LOCALHOST", "a.localhost.:1"] {
            assert!(is_local_name(host), "{host}");
        }
        for host in ["", "example.com", "example.com:7077", "127.0.0.1.example.com", "localhost.example.com", "[x"] {
            assert!(!is_local_name(host), "{host}");
        }
    }
}
