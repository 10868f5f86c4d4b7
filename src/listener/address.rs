//! How addresses to listen on are written: `host:port`, `tls:host:port` or `unix:PATH`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// An address as `listen` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A host name or IP address (IPv6 without its brackets), and a port; port 0 takes any free one.
    Tcp {
        /// All addresses of a name are listened on.
        host: String,
        /// TCP port.
        port: u16,
        /// Whether callers speak TLS.
        tls: bool,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// Why a text is not an address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// No host, no port, or a port that is not a number up to 65535.
    #[error(
        "`{0}` is not an address to listen on: write `127.0.0.1:7077`, `[::1]:7077`, `tls:0.0.0.0:7443` or \
         `unix:/run/apnsd/apnsd.sock`"
    )]
    Syntax(String),
    /// A relative path.
    #[error("`{0}` needs an absolute path, as in `unix:/run/apnsd/apnsd.sock`")]
    RelativePath(String),
}

impl ListenAddress {
    /// Whether only programs on this machine can reach it: a Unix socket, `localhost` or a loopback address.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    /// Reads `host:port` or `[ipv6]:port`, either with `tls:` in front, or `unix:/path`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return match path.is_absolute() {
                true => Ok(Self::Unix(path)),
                false => Err(AddressError::RelativePath(text.to_owned())),
            };
        }
        let syntax = || AddressError::Syntax(text.to_owned());
        let (tls, address) = match text.strip_prefix("tls:") {
            Some(address) => (true, address),
            None => (false, text),
        };
        let (host, port) = address.rsplit_once(':').ok_or_else(syntax)?;
        let host = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']').filter(|host| host.contains(':')).ok_or_else(syntax)?,
            None => Some(host).filter(|host| !host.contains([':', '/'])).ok_or_else(syntax)?,
        };
        if host.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(syntax());
        }
        Ok(Self::Tcp { host: host.to_owned(), port: port.parse().map_err(|_| syntax())?, tls })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, tls } => {
                let scheme = if *tls { "tls:" } else { "" };
                match host.contains(':') {
                    true => write!(formatter, "{scheme}[{host}]:{port}"),
                    false => write!(formatter, "{scheme}{host}:{port}"),
                }
            }
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// An address that is being listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalAddress {
    /// With the port that was really taken.
    Tcp(SocketAddr),
    /// The same, with TLS.
    Tls(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl LocalAddress {
    /// What `listen` would call it.
    pub fn as_listened(&self) -> ListenAddress {
        let tcp = |address: &SocketAddr, tls| ListenAddress::Tcp {
            host: address.ip().to_string(),
            port: address.port(),
            tls,
        };
        match self {
            Self::Tcp(address) => tcp(address, false),
            Self::Tls(address) => tcp(address, true),
            Self::Unix(path) => ListenAddress::Unix(path.clone()),
        }
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "{address}"),
            Self::Tls(address) => write!(formatter, "tls:{address}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_they_are_shown() {
        for text in [
            "127.0.0.1:7077",
            "localhost:0",
            "[::1]:7077",
            "[::]:65535",
            "tls:0.0.0.0:7443",
            "tls:[::1]:7443",
            "unix:/run/apnsd/apnsd.sock",
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            "7077",
            ":7077",
            "localhost:",
            "localhost:x",
            "h:65536",
            "h:+1",
            "::1:7077",
            "[::1]",
            "[h]:1",
            "tls:",
            "tls:tls:h:1",
        ] {
            assert_eq!(text.parse::<ListenAddress>(), Err(AddressError::Syntax(text.to_owned())), "{text}");
        }
        assert!("http://localhost:7077".parse::<ListenAddress>().is_err());
        assert_eq!("unix:a".parse::<ListenAddress>(), Err(AddressError::RelativePath("unix:a".to_owned())));
    }

    #[test]
    fn only_loopback_and_unix_sockets_are_local() {
        let local = |text: &str| text.parse::<ListenAddress>().unwrap().is_local();
        assert!(local("127.0.0.1:1") && local("127.9.9.9:1") && local("[::1]:1") && local("localhost:1"));
        assert!(local("unix:/x") && local("tls:127.0.0.1:1") && !local("tls:0.0.0.0:1"));
        assert!(!local("0.0.0.0:1") && !local("[::]:1") && !local("10.0.0.1:1") && !local("example.com:1"));
    }
}
