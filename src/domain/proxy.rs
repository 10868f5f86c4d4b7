//! The HTTP proxy through which an environment is reached.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// A proxy that opens a tunnel on `CONNECT` (RFC 9110, 9.3.6).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    /// Host name or IP address (an IPv6 address without its brackets).
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// `user:password`, as the address had it; secret.
    pub user: Option<Arc<str>>,
}

/// Why a text is not the address of a proxy. Never quotes it: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProxyError {
    /// Another scheme, or none.
    #[error("a proxy's address begins with `http://`, as in `http://proxy.example:3128`")]
    Scheme,
    /// No host.
    #[error("the proxy's address names no host, as in `http://proxy.example:3128`")]
    Host,
    /// A port that is none, or none at all.
    #[error("the proxy's address needs a port from 1 to 65535, as in `http://proxy.example:3128`")]
    Port,
    /// Anything behind the port.
    #[error("the proxy's address has more than user, host and port")]
    Trailing,
}

impl Proxy {
    /// Reads `http://[user:password@]host:port`.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let rest = text.strip_prefix("http://").ok_or(ProxyError::Scheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user.into()), rest),
            None => (None, rest),
        };
        if rest.contains(['/', '?', '#']) {
            return Err(ProxyError::Trailing);
        }
        let (host, port) = rest.rsplit_once(':').ok_or(ProxyError::Port)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(ProxyError::Host);
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(ProxyError::Port)?;
        Ok(Self { host: host.into(), port, user })
    }
}

impl fmt::Display for Proxy {
    /// Host and port, without the user.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(formatter, "http://[{}]:{}", self.host, self.port),
            false => write!(formatter, "http://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|_| "…");
        formatter.debug_struct("Proxy").field("address", &self.to_string()).field("user", &user).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_reads_as_it_is_shown_and_hides_its_user() {
        let proxy = Proxy::parse("http://me:se:cr@et@[::1]:3128/").unwrap();
        assert_eq!((&*proxy.host, proxy.port, proxy.user.as_deref()), ("::1", 3128, Some("me:se:cr@et")));
        assert_eq!(proxy.to_string(), "http://[::1]:3128");
        assert!(!format!("{proxy:?}").contains("cr"));
        assert_eq!(Proxy::parse("http://proxy.example:3128").unwrap().user, None);
    }

    #[test]
    fn bad_addresses_are_refused() {
        assert_eq!(Proxy::parse("socks5://x:1"), Err(ProxyError::Scheme));
        assert_eq!(Proxy::parse("http://x"), Err(ProxyError::Port));
        assert_eq!(Proxy::parse("http://x:0"), Err(ProxyError::Port));
        assert_eq!(Proxy::parse("http://:3128"), Err(ProxyError::Host));
        assert_eq!(Proxy::parse("http://x:1/path"), Err(ProxyError::Trailing));
    }
}
