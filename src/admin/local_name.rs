//! Which names a browser may know this daemon by, where nobody has to show anything: for all pages, be they for people
//! or for machines. Calls need no such rule: browsers send `Origin` with every POST, and those are refused.
//!
//! A page anywhere can have its own name resolve to 127.0.0.1 and then read, as if it were its own, what a daemon on its
//! visitor's machine serves ("DNS rebinding"). The name stays in the `Host` header, which tells it from a request that
//! was meant for this machine.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::listener::peer::Peer;
use crate::listener::user::User;

/// Refuses a request without a user that comes from this machine and names another.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    match is_strange(&request) {
        true => refuse(),
        false => next.run(request).await,
    }
}

fn is_strange(request: &Request) -> bool {
    let is_local = match request.extensions().get::<Peer>() {
        Some(Peer::Tcp(address)) => address.to_canonical().is_loopback(),
        Some(Peer::Unix) | None => false,
    };
    let is_known = request.extensions().get::<Arc<User>>().is_some();
    // Browsers always name a host.
    let host = request.headers().get(header::HOST).filter(|_| is_local && !is_known);
    host.is_some_and(|host| !host.to_str().is_ok_and(is_local_name))
}

fn refuse() -> Response {
    let text = "This page is served by the names of this machine only: open it as http://127.0.0.1 or \
                http://localhost with the daemon's port.\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

/// Whether a host, with or without a port, is an IP address or one of the names that no DNS decides (RFC 6761, 6.3).
fn is_local_name(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or_default(),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port =
        |port: &str| port.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    if !port.is_empty() && !is_port(port) {
        return false;
    }
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
        for host in ["127.0.0.1:80@evil.com", "[::1]@evil.com", "[::1]x:80", "localhost:80:90", "127.0.0.1@evil.com"] {
            assert!(!is_local_name(host), "{host}");
        }
    }
}
