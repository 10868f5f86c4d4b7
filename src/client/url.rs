//! Where a daemon is, as a URL says it.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Uri;

/// The way to a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Tcp {
        /// Without the brackets that an IPv6 address has in a URL.
        host: String,
        port: u16,
        tls: bool,
    },
    Unix(PathBuf),
}

/// A URL, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct DaemonUrl {
    pub(super) way: Way,
    /// For the `Host` header.
    pub(super) authority: String,
    pub(super) path: String,
    /// For the `Authorization` header (RFC 7617).
    pub(super) authorization: Option<String>,
    /// The URL for messages, without a password.
    pub(super) shown: String,
}

impl DaemonUrl {
    /// Reads `http://[USER:TOKEN@]HOST[:PORT][/PATH]`, the same with `https`, or `unix:/PATH`.
    pub(super) fn parse(url: &str) -> Option<Self> {
        if let Some(path) = url.strip_prefix("unix:") {
            let path = Some(PathBuf::from(path)).filter(|path| path.is_absolute())?;
            let (authority, shown) = ("localhost".to_owned(), url.to_owned());
            return Some(Self { way: Way::Unix(path), authority, path: "/".to_owned(), authorization: None, shown });
        }
        let uri: Uri = url.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let whole = uri.authority()?;
        let host = Some(whole.host()).filter(|host| !host.is_empty())?;
        let user = whole.as_str().rsplit_once('@').map(|(user, _)| user);
        let port = whole.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let scheme = if tls { "https" } else { "http" };
        Some(Self {
            way: Way::Tcp { host: host.trim_start_matches('[').trim_end_matches(']').to_owned(), port, tls },
            authority: format!("{host}:{port}"),
            path: path.to_owned(),
            authorization: match user {
                Some(user) => Some(basic(user)?),
                None => None,
            },
            shown: match user {
                Some(_) => format!("{scheme}://{host}:{port}{path}"),
                None => url.to_owned(),
            },
        })
    }
}

/// HTTP Basic credentials of `user:password` as a URL has them, percent-encoded.
fn basic(user: &str) -> Option<String> {
    let (name, password) = user.split_once(':')?;
    let credentials = [decoded(name)?, decoded(password)?].join(&b':');
    Some(format!("Basic {}", BASE64_STANDARD.encode(credentials)))
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                bytes.push(digit(high)? << 4 | digit(low)?);
                rest = after;
            }
            (b'%', _) => return None,
            (byte, after) => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> DaemonUrl {
        DaemonUrl::parse(url).unwrap_or_else(|| panic!("{url}"))
    }

    #[test]
    fn urls_have_their_ports_and_paths() {
        let tcp = |host: &str, port, tls| Way::Tcp { host: host.to_owned(), port, tls };
        assert_eq!(read("http://127.0.0.1:7077").way, tcp("127.0.0.1", 7077, false));
        assert_eq!(read("http://localhost/RPC2").way, tcp("localhost", 80, false));
        assert_eq!(read("http://localhost/RPC2").path, "/RPC2");
        assert_eq!(read("https://push.example").way, tcp("push.example", 443, true));
        let six = read("http://[::1]:7077/");
        assert_eq!((six.way, &*six.authority), (tcp("::1", 7077, false), "[::1]:7077"));
        assert_eq!(read("unix:/run/apnsd/apnsd.sock").way, Way::Unix("/run/apnsd/apnsd.sock".into()));
    }

    #[test]
    fn user_and_token_become_a_header_and_are_not_shown() {
        let url = read("https://web:apnsd%5Fsecret@push.example:7443/");
        // "web:apnsd_secret" in base64.
        assert_eq!(url.authorization.as_deref(), Some("Basic d2ViOmFwbnNkX3NlY3JldA=="));
        assert_eq!(url.shown, "https://push.example:7443/");
    }

    #[test]
    fn what_is_not_the_url_of_a_daemon_is_refused() {
        for url in ["", "127.0.0.1:7077", "ftp://localhost", "http://", "/RPC2", "unix:", "unix:a", "http://web@h/"] {
            assert!(DaemonUrl::parse(url).is_none(), "{url}");
        }
        assert!(DaemonUrl::parse("http://a:%4@h/").is_none() && DaemonUrl::parse("http://a:%zz@h/").is_none());
    }
}
