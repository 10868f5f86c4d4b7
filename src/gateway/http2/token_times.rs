//! When provider tokens were issued and first used, kept in a file: a restart is no reason for another token.
//!
//! A JSON object: the fingerprint of a key, 64 hex digits, and an object with `iat` and `first_used`, and `forced_at`
//! where the token was renewed out of turn; all in Unix seconds. No secret is in it. What cannot be read counts as nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::provider_token::Issue;
use crate::domain::time::Timestamp;
use crate::domain::token::token_hex;

#[derive(Serialize, Deserialize)]
struct Times {
    iat: i64,
    first_used: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    forced_at: Option<i64>,
}

/// The times of a file, by fingerprint; none where there is no file.
pub(super) fn read(path: &Path) -> io::Result<HashMap<[u8; 32], Issue>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(error),
    };
    let times: BTreeMap<String, Times> = serde_json::from_slice(&text).map_err(io::Error::other)?;
    Ok(times.into_iter().filter_map(|(hex, times)| Some((fingerprint(&hex)?, times.into_issue()))).collect())
}

/// Puts a file with these times in the place of the one before.
pub(super) fn write<'a>(path: &Path, issues: impl Iterator<Item = (&'a [u8; 32], &'a Issue)>) -> io::Result<()> {
    let times: BTreeMap<String, Times> =
        issues.map(|(fingerprint, issue)| (token_hex(fingerprint), Times::of(issue))).collect();
    let text = serde_json::to_vec(&times).map_err(io::Error::other)?;
    let part = path.with_extension("new");
    fs::write(&part, text)?;
    fs::rename(&part, path)
}

impl Times {
    fn of(issue: &Issue) -> Self {
        let Issue { iat, first_used, forced_at, is_expired: _ } = issue;
        Self { iat: iat.as_secs(), first_used: first_used.as_secs(), forced_at: forced_at.map(Timestamp::as_secs) }
    }

    fn into_issue(self) -> Issue {
        Issue {
            iat: Timestamp::from_secs(self.iat),
            first_used: Timestamp::from_secs(self.first_used),
            is_expired: false,
            forced_at: self.forced_at.map(Timestamp::from_secs),
        }
    }
}

fn fingerprint(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}
