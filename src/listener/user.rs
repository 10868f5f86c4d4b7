//! Users: callers that prove themselves with a token, and what each of them may do.
//!
//! A token is 256 random bits, so its plain SHA-256 is safe to keep: there is nothing to guess that a slow hash would
//! have to slow down.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use thiserror::Error;

/// In front of every token, so that one in the wrong place is recognized.
const TOKEN_PREFIX: &str = "apnsd_";
const TOKEN_BYTES: usize = 32;
const HASH_BYTES: usize = digest::SHA256_OUTPUT_LEN;
const HASH_PREFIX: &str = "sha256:";
/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 64;

/// A caller that the configuration knows (`[[user]]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// As in HTTP Basic, and in the log.
    pub name: String,
    /// What proves it.
    pub token: TokenHash,
    /// App ids that it may use; all where `None`.
    pub apps: Option<Vec<String>>,
    /// Methods that it may call; all where `None`. Those of `system` are always allowed.
    pub methods: Option<Vec<String>>,
    /// How much it may ask for.
    pub limits: Limits,
}

/// How much a user may ask for; `None`: no limit of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests that may begin in a second.
    pub per_second: Option<u32>,
    /// Requests that may be under way at once.
    pub at_once: Option<u32>,
    /// Bytes of a body, where that is less than everybody's limit.
    pub body: Option<usize>,
}

impl User {
    /// Whether it may call a method.
    pub fn may_call(&self, method: &str) -> bool {
        let listed = |methods: &Vec<String>| methods.iter().any(|allowed| allowed == method);
        method.starts_with("system.") || self.methods.as_ref().is_none_or(listed)
    }

    /// Whether it may use an app, be it there or not.
    pub fn may_use(&self, app_id: &str) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.iter().any(|allowed| allowed == app_id))
    }
}

/// Whether a text can be a user's name: 1 to 64 letters, digits, `.`, `_` or `-`, none of which a URL would change.
pub fn is_user_name(text: &str) -> bool {
    let allowed = |character: char| character.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&character);
    !text.is_empty() && text.chars().count() <= NAME_CHARS_MAX && text.chars().all(allowed)
}

/// What a caller shows. Only its hash is kept.
pub struct Token(String);

impl Token {
    /// A new one.
    ///
    /// # Errors
    ///
    /// The system has no random bytes.
    pub fn generate() -> Result<Self, NoRandom> {
        let mut bytes = [0; TOKEN_BYTES];
        rand::fill(&mut bytes).map_err(|_| NoRandom)?;
        Ok(Self(format!("{TOKEN_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The token in clear, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// There are no random bytes to make a token of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the system gave no random bytes: try again")]
pub struct NoRandom;

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; HASH_BYTES]);

impl TokenHash {
    pub(super) fn of(token: &str) -> Self {
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }

    /// Whether the token is empty, as where a script hashed a variable that was not set.
    pub fn is_of_nothing(&self) -> bool {
        *self == Self::of("")
    }

    /// Compares in a time that does not depend on what is equal.
    pub(super) fn matches(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(HASH_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A text that is no hash of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is not the hash of a token, `sha256:` and 64 hex digits: `apnsd token create NAME` makes both")]
pub struct NotAHash;

impl FromStr for TokenHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let digits = text.strip_prefix(HASH_PREFIX).map(str::as_bytes).filter(|digits| digits.len() == 2 * HASH_BYTES);
        let mut hash = [0; HASH_BYTES];
        for (byte, pair) in hash.iter_mut().zip(digits.ok_or(NotAHash)?.chunks_exact(2)) {
            let text = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+')).ok_or(NotAHash)?;
            *byte = u8::from_str_radix(text, 16).map_err(|_| NotAHash)?;
        }
        Ok(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(apps: Option<&[&str]>, methods: Option<&[&str]>) -> User {
        let list = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
        User {
            name: "web".into(),
            token: TokenHash([0; 32]),
            apps: apps.map(list),
            methods: methods.map(list),
            limits: Limits::default(),
        }
    }

    #[test]
    fn a_token_is_long_fits_into_a_url_and_is_not_shown_by_accident() {
        let token = Token::generate().unwrap();
        let random = token.reveal().strip_prefix("apnsd_").unwrap();
        assert_eq!(random.len(), 43);
        assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        assert_eq!(format!("{token:?}"), "Token(…)");
        assert_ne!(Token::generate().unwrap().reveal(), token.reveal());
    }

    #[test]
    fn a_hash_reads_as_it_is_shown() {
        // The second test vector of FIPS 180-4 is the SHA-256 of "abc".
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenHash::of("abc").to_string(), text);
        assert_eq!(text.parse(), Ok(TokenHash::of("abc")));
        assert_eq!(text.to_uppercase().replace("SHA256", "sha256").parse(), Ok(TokenHash::of("abc")));
        assert!(TokenHash::of("abc").matches(&text.parse().unwrap()));
        assert!(!TokenHash::of("abd").matches(&text.parse().unwrap()));
    }

    #[test]
    fn what_is_not_a_hash_is_refused() {
        for text in ["", "sha256:", "sha256:00", &format!("sha256:{}", "+1".repeat(32)), &"0".repeat(64)] {
            assert_eq!(text.parse::<TokenHash>(), Err(NotAHash), "{text}");
        }
        assert_eq!(format!("sha256:{}", "é".repeat(32)).parse::<TokenHash>(), Err(NotAHash));
    }

    #[test]
    fn a_user_without_lists_may_do_everything() {
        let user = user(None, None);
        assert!(user.may_call("notify") && user.may_call("apnsd.deprovision") && user.may_use("myapp"));
    }

    #[test]
    fn a_user_with_lists_may_do_what_they_say() {
        let user = user(Some(&["myapp"]), Some(&["notify", "feedback"]));
        assert!(user.may_call("notify") && !user.may_call("provision") && user.may_call("system.listMethods"));
        assert!(user.may_use("myapp") && !user.may_use("other") && !user.may_use("MYAPP"));
    }

    #[test]
    fn names_are_what_a_url_can_carry() {
        assert!(is_user_name("web-1.example_x"));
        for text in ["", "a b", "a:b", "a@b", "é", "a%", &"a".repeat(65)] {
            assert!(!is_user_name(text), "{text}");
        }
    }
}
