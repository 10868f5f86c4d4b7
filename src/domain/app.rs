//! Apps and the environments (named gateways) that they are provisioned for.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::proxy::Proxy;

/// The name under which an application was provisioned: 1 to 255 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(Arc<str>);

/// Why a text is not an app id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AppIdError {
    /// The empty string.
    #[error("an app id has at least one character")]
    Empty,
    /// More than 255 characters.
    #[error("an app id has at most 255 characters")]
    TooLong,
    /// A control character somewhere.
    #[error("an app id has no control characters")]
    ControlCharacter,
    /// A character that nobody sees, or that changes the order of those around it. Only new ids are judged by this.
    #[error("an app id has no characters that cannot be seen, such as the U+{0:04X} here: leave it out")]
    Invisible(u32),
}

impl AppId {
    /// Longest app id, in characters.
    pub const CHARS_MAX: usize = 255;

    /// Checks the text and takes it as an app id.
    pub fn parse(text: &str) -> Result<Self, AppIdError> {
        if text.is_empty() {
            return Err(AppIdError::Empty);
        }
        if text.chars().count() > Self::CHARS_MAX {
            return Err(AppIdError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(AppIdError::ControlCharacter);
        }
        Ok(Self(text.into()))
    }

    /// The same for an app that is not there yet: nor may it have what cannot be seen, as it could pass for another.
    pub fn parse_new(text: &str) -> Result<Self, AppIdError> {
        match text.chars().find(|character| is_invisible(*character)) {
            Some(invisible) => Self::parse(text).and(Err(AppIdError::Invisible(invisible.into()))),
            None => Self::parse(text),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Line separators and what Unicode calls format characters (U+2028, U+2029, and category Cf without signs that are
/// seen): soft hyphens, marks of direction, joiners, tags.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e007f}')
}

impl fmt::Display for AppId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for AppId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// So many days before their end an app's credentials are to be renewed, and everybody who shows them says so.
pub const RENEW_DAYS: i64 = 30;

/// Whether an app's notifications go out, as its status tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AppState {
    /// A connection stands.
    Connected,
    /// A connection is being made.
    Connecting,
    /// No connection; the next notification makes one.
    Idle,
    /// The gateway is out of reach; the next attempt waits for its time.
    Waiting,
    /// Nothing is sent before somebody or something resumes.
    Paused,
    /// The credentials cannot be used: nothing is accepted either.
    Refused,
}

impl AppState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Connected, Self::Connecting, Self::Idle, Self::Waiting, Self::Paused, Self::Refused];

    /// The word for it in answers, metrics, logs and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Connecting => "connecting",
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Refused => "refused",
        }
    }

    /// Whether what is accepted goes out, as far as is known: neither paused nor refused, nor is the gateway out of
    /// reach.
    pub const fn can_send(self) -> bool {
        match self {
            Self::Connected | Self::Connecting | Self::Idle => true,
            Self::Waiting | Self::Paused | Self::Refused => false,
        }
    }
}

/// The protocol that a gateway speaks, told by the scheme of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Apple's binary gateway (`binary://host:2195`).
    Binary,
    /// Apple's HTTP/2 provider API (`https://host`).
    Http2,
    /// Google's Firebase Cloud Messaging, HTTP v1 (`fcm://host`).
    Fcm,
}

impl Protocol {
    /// The word for it in answers, logs and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Http2 => "http2",
            Self::Fcm => "fcm",
        }
    }

    /// Largest payload in bytes of JSON: 2048 for a command 2 frame, 4096 for HTTP/2 and FCM, 5120 for VoIP over
    /// HTTP/2 ("Sending notification requests to APNs").
    pub fn payload_max(self, push_type: Option<&str>) -> usize {
        match self {
            Self::Binary => 2048,
            Self::Http2 if push_type == Some("voip") => 5120,
            Self::Http2 | Self::Fcm => 4096,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Where a gateway or feedback service listens: `binary://gateway.push.apple.com:2195`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Host name or IP address (an IPv6 address without its brackets). Server certificates are verified for it.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Why a text is not the address of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// No `scheme://`, or one that no gateway here speaks.
    #[error("`{0}` does not begin with `binary://`, `https://` or `fcm://`")]
    Scheme(String),
    /// Nothing between the scheme and the port.
    #[error("`{0}` names no host")]
    Host(String),
    /// A port that is not a number from 1 to 65535, or none where the scheme has no usual one.
    #[error("`{0}` needs a port from 1 to 65535, as in `binary://127.0.0.1:2195`")]
    Port(String),
    /// A path, query or anything else behind host and port.
    #[error("`{0}` has more than scheme, host and port")]
    Trailing(String),
}

impl Address {
    /// Reads `scheme://host[:port]`. HTTP/2 and FCM default to port 443, the binary gateway has no default.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| AddressError::Scheme(text.to_owned()))?;
        let (protocol, port_default) = match scheme {
            "binary" => (Protocol::Binary, None),
            "https" => (Protocol::Http2, Some(443)),
            "fcm" => (Protocol::Fcm, Some(443)),
            _ => return Err(AddressError::Scheme(text.to_owned())),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(AddressError::Trailing(text.to_owned()));
        }
        let (host, port) = split_host_port(rest).ok_or_else(|| AddressError::Port(text.to_owned()))?;
        if host.is_empty() {
            return Err(AddressError::Host(text.to_owned()));
        }
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0),
            None => port_default,
        };
        let port = port.ok_or_else(|| AddressError::Port(text.to_owned()))?;
        Ok(Self { protocol, host: host.to_owned(), port })
    }
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`; `None` when brackets do not match.
fn split_host_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest {
            "" => Some((host, None)),
            _ => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    match text.rsplit_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Binary => "binary",
            Protocol::Http2 => "https",
            Protocol::Fcm => "fcm",
        };
        match self.host.contains(':') {
            true => write!(formatter, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(formatter, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl Environment {
    /// Whether it is one of Apple's binary gateways, which do not exist any more.
    pub fn is_closed_by_apple(&self) -> bool {
        self.gateway.protocol == Protocol::Binary && self.gateway.host.ends_with(".push.apple.com")
    }
}

/// One row of the environments table: a name, and the gateway behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Environment {
    /// The name that `provision` uses.
    pub name: Arc<str>,
    /// Where notifications go.
    pub gateway: Address,
    /// Where the feedback service listens; `None` where the gateway itself reports dead tokens.
    pub feedback: Option<Address>,
    /// PEM file that replaces the system's trust store for this environment.
    pub ca: Option<PathBuf>,
    /// Through which it is reached; `None` where that is direct.
    pub proxy: Option<Proxy>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_ids_have_1_to_255_characters_and_no_control_characters() {
        assert_eq!(AppId::parse("myapp").unwrap().as_str(), "myapp");
        assert!(AppId::parse(&"ü".repeat(255)).is_ok());
        assert_eq!(AppId::parse(""), Err(AppIdError::Empty));
        assert_eq!(AppId::parse(&"x".repeat(256)), Err(AppIdError::TooLong));
        assert_eq!(AppId::parse("a\nb"), Err(AppIdError::ControlCharacter));
    }

    #[test]
    fn new_app_ids_have_nothing_that_cannot_be_seen() {
        for invisible in ['\u{2028}', '\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}'] {
            let text = format!("shop{invisible}");
            assert_eq!(AppId::parse_new(&text), Err(AppIdError::Invisible(invisible.into())));
            assert!(AppId::parse(&text).is_ok(), "what was stored before is found");
        }
        let error = AppId::parse_new("\u{ad}").unwrap_err().to_string();
        assert_eq!(error, "an app id has no characters that cannot be seen, such as the U+00AD here: leave it out");
        for text in ["shop", "my app", "a=b \"c\"", "été", "商店", "\u{1f4a3}"] {
            assert!(AppId::parse_new(text).is_ok(), "{text}");
        }
        assert_eq!(AppId::parse_new("\n\u{200b}"), Err(AppIdError::ControlCharacter));
    }

    #[test]
    fn addresses_read_as_they_are_shown() {
        for text in ["binary://gateway.push.apple.com:2195", "https://api.push.apple.com:443", "binary://[::1]:2195"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Address::parse("https://api.push.apple.com").unwrap().port, 443);
    }

    #[test]
    fn bad_addresses_are_refused_with_their_text() {
        assert_eq!(Address::parse("host:1"), Err(AddressError::Scheme("host:1".into())));
        assert_eq!(Address::parse("binary://host"), Err(AddressError::Port("binary://host".into())));
        assert_eq!(Address::parse("binary://host:0"), Err(AddressError::Port("binary://host:0".into())));
        assert_eq!(Address::parse("binary://:2195"), Err(AddressError::Host("binary://:2195".into())));
        assert_eq!(Address::parse("https://host/path"), Err(AddressError::Trailing("https://host/path".into())));
    }
}
