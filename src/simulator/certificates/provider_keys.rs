//! Keys that sign provider tokens, as Apple gives them out: `AuthKey_KEYID.p8`, a PKCS#8 key on the curve P-256.
//!
//! | key id | what it is |
//! |---|---|
//! | `SIMULATOR1` | the one to use: team `SIMTEAM001`, both environments |
//! | `SIMRELATED` | related to it: may be used on the same connection |
//! | `SIMULATOR2` | of the same team and not related: UnrelatedKeyIdInToken where `SIMULATOR1` came first |
//! | `SIMSANDBOX` | for the sandbox only: BadEnvironmentKeyIdInToken in production |
//! | `SIMFOREIGN` | of another team, `SIMTEAM002` |
//!
//! Files of an earlier run are kept.

use std::path::Path;

use rcgen::{KeyPair, PublicKeyData as _};

use super::{PemFile, files, write_private};
use crate::simulator::SimulatorError;

/// Team of the keys.
pub const TEAM_ID: &str = "SIMTEAM001";
/// Team of the key `SIMFOREIGN`.
pub const OTHER_TEAM_ID: &str = "SIMTEAM002";
/// Id of the key to use.
pub const KEY_ID: &str = "SIMULATOR1";

/// A key of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderKeyFile {
    /// The key's id: 10 characters.
    pub key_id: &'static str,
    /// The team's id: 10 characters.
    pub team_id: &'static str,
    /// The private key, as Apple gives it out.
    pub file: PemFile,
    /// Its public key: an uncompressed point, 65 bytes.
    pub(in crate::simulator) public_key: Vec<u8>,
    /// Keys of the same number are related.
    pub(in crate::simulator) relation: u8,
    /// For the sandbox only.
    pub(in crate::simulator) sandbox_only: bool,
}

/// The keys; see the table above.
#[derive(Clone, Debug)]
pub struct ProviderKeys {
    /// The one to use.
    pub good: ProviderKeyFile,
    /// Related to it.
    pub related: ProviderKeyFile,
    /// Of the same team and not related.
    pub unrelated: ProviderKeyFile,
    /// For the sandbox only.
    pub sandbox: ProviderKeyFile,
    /// Of another team.
    pub foreign: ProviderKeyFile,
}

impl ProviderKeys {
    /// Writes what is missing in the directory.
    pub(super) fn open(dir: &Path) -> Result<Self, SimulatorError> {
        Ok(Self {
            good: open(dir, KEY_ID, TEAM_ID, 1)?,
            related: open(dir, "SIMRELATED", TEAM_ID, 1)?,
            unrelated: open(dir, "SIMULATOR2", TEAM_ID, 2)?,
            sandbox: ProviderKeyFile { sandbox_only: true, ..open(dir, "SIMSANDBOX", TEAM_ID, 1)? },
            foreign: open(dir, "SIMFOREIGN", OTHER_TEAM_ID, 1)?,
        })
    }

    /// The key of this id.
    pub(in crate::simulator) fn find(&self, key_id: &str) -> Option<&ProviderKeyFile> {
        let Self { good, related, unrelated, sandbox, foreign } = self;
        [good, related, unrelated, sandbox, foreign].into_iter().find(|key| key.key_id == key_id)
    }
}

fn open(
    dir: &Path,
    key_id: &'static str,
    team_id: &'static str,
    relation: u8,
) -> Result<ProviderKeyFile, SimulatorError> {
    let path = dir.join(format!("AuthKey_{key_id}.p8"));
    let pem = match files::read(&path)? {
        Some(pem) => pem,
        None => write_private(&path, KeyPair::generate()?.serialize_pem())?,
    };
    let key = KeyPair::from_pem(&pem).map_err(|_| SimulatorError::ProviderKey(path.clone()))?;
    let public_key = key.der_bytes().to_vec();
    Ok(ProviderKeyFile { key_id, team_id, file: PemFile { path, pem }, public_key, relation, sandbox_only: false })
}
