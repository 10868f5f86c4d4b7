//! The certificate authority of the simulator, and the client certificates that it writes into its directory.
//!
//! Each client file is one PEM text, certificate and PKCS#8 key, mode 0600, under a name that never changes. An
//! authority that the directory already holds is kept, and so are the files that it issued: what was provisioned with
//! them stays valid. Server certificates are never written.
//!
//! | file | what a gateway does with it |
//! |---|---|
//! | `good.pem` | takes it: universal, for `com.example.app` |
//! | `development.pem`, `production.pem` | takes it in that environment, else closes right after the handshake |
//! | `expired.pem`, `not-yet-valid.pem` | refuses it with the TLS alert `certificate_expired` |
//! | `wrong-ca.pem` | refuses it with the TLS alert `unknown_ca`: a stranger signed it |
//! | `mismatched-key.pem` | never sees it: the key belongs to another certificate |
//! | `AuthKey_SIMULATOR1.p8` | takes its provider tokens: key `SIMULATOR1` of team `SIMTEAM001` |
//! | other `AuthKey_*.p8` | see [`provider_keys`] |
//! | `ca.pem` | signed all others and the server's; clients trust it |
//! | `ca-key.pem` | the authority's own key |

mod authority;
mod files;
pub mod provider_keys;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) use self::authority::ServerIdentity;
use self::authority::{Authority, Leaf, Validity};
pub(super) use self::files::write_private;
use self::provider_keys::ProviderKeys;
use crate::clock::Clock;
use crate::domain::time::Timestamp;
use crate::simulator::SimulatorError;
use crate::simulator::script::fault::ServerCertificate;

/// Bundle id of the certificates that are written: their subject's UID, and their first topic.
pub const BUNDLE_ID: &str = "com.example.app";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const YEAR: Duration = DAY.saturating_mul(365);

/// A PEM file in the simulator's directory.
#[derive(Clone, PartialEq, Eq)]
pub struct PemFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds: the certificate and, but for `ca.pem`, its private key.
    pub pem: String,
}

impl fmt::Debug for PemFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PemFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The authority and everything that it wrote; see the table above.
#[derive(Debug)]
pub struct Certificates {
    /// The directory, absolute; so are the paths of the files.
    pub dir: PathBuf,
    /// The authority's certificate, without its key: the `ca` of an environment.
    pub ca: PemFile,
    /// Universal: the sandbox and production take it.
    pub good: PemFile,
    /// Extension 1.2.840.113635.100.6.3.1 only.
    pub development: PemFile,
    /// Extension 1.2.840.113635.100.6.3.2 only.
    pub production: PemFile,
    /// Ended a day before it was written.
    pub expired: PemFile,
    /// Begins ten years after it was written.
    pub not_yet_valid: PemFile,
    /// As `good`, signed by an authority that nobody trusts.
    pub wrong_ca: PemFile,
    /// The certificate of one pair and the key of another.
    pub mismatched_key: PemFile,
    /// The keys of provider tokens.
    pub provider_keys: ProviderKeys,
    authority: Authority,
    stranger: Authority,
    opened_at: Duration,
}

impl Certificates {
    /// Opens the directory (made if it does not exist, mode 0700) and writes what is missing in it.
    pub fn open(dir: &Path, clock: &Clock) -> Result<Self, SimulatorError> {
        let dir = files::make_dir(dir)?;
        let now = clock.timestamp().since(Timestamp::default());
        let (authority, ca, kept) = open_authority(&dir, now)?;
        let stranger = Authority::new("apnsd simulator, stranger", authority_validity(now))?;
        let file = |name: &str, make: &dyn Fn() -> Result<String, SimulatorError>| {
            let path = dir.join(name);
            let held = if kept { files::read(&path)? } else { None };
            let pem = match held {
                Some(pem) => pem,
                None => write_private(&path, make()?)?,
            };
            Ok::<_, SimulatorError>(PemFile { path, pem })
        };
        let provider_keys = ProviderKeys::open(&dir)?;
        let leaf = || Leaf::universal(BUNDLE_ID, valid(now));
        Ok(Self {
            good: file("good.pem", &|| authority.issue(&leaf()))?,
            development: file("development.pem", &|| authority.issue(&leaf().development_only()))?,
            production: file("production.pem", &|| authority.issue(&leaf().production_only()))?,
            expired: file("expired.pem", &|| authority.issue(&leaf().valid(past(now))))?,
            not_yet_valid: file("not-yet-valid.pem", &|| authority.issue(&leaf().valid(future(now))))?,
            wrong_ca: file("wrong-ca.pem", &|| stranger.issue(&leaf()))?,
            mismatched_key: file("mismatched-key.pem", &|| authority.issue_mismatched(&leaf()))?,
            dir,
            ca,
            provider_keys,
            authority,
            stranger,
            opened_at: now,
        })
    }

    /// Issues one more universal client certificate, for any bundle id, valid like `good`: PEM text with its key.
    /// Nothing is written.
    pub fn issue(&self, bundle_id: &str) -> Result<String, SimulatorError> {
        self.authority.issue(&Leaf::universal(bundle_id, valid(self.opened_at)))
    }

    /// Issues a server certificate for loopback and these addresses, or one with a fault.
    pub(super) fn server(
        &self,
        fault: Option<ServerCertificate>,
        addresses: &[IpAddr],
    ) -> Result<ServerIdentity, SimulatorError> {
        let (issuer, validity) = match fault {
            None | Some(ServerCertificate::WrongName) => (&self.authority, valid(self.opened_at)),
            Some(ServerCertificate::OtherRoot) => (&self.stranger, valid(self.opened_at)),
            Some(ServerCertificate::Expired) => (&self.authority, past(self.opened_at)),
        };
        let names = match fault {
            Some(ServerCertificate::WrongName) => vec!["gateway.example.invalid".to_owned()],
            None | Some(ServerCertificate::OtherRoot | ServerCertificate::Expired) => {
                let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
                always.into_iter().chain(addresses.iter().map(IpAddr::to_string)).collect()
            }
        };
        issuer.issue_server(names, validity)
    }
}

fn authority_validity(now: Duration) -> Validity {
    Validity { from: now.saturating_sub(2 * YEAR), until: now + 20 * YEAR }
}

fn valid(now: Duration) -> Validity {
    Validity { from: now.saturating_sub(DAY), until: now + 10 * YEAR }
}

fn past(now: Duration) -> Validity {
    Validity { from: now.saturating_sub(YEAR), until: now.saturating_sub(DAY) }
}

fn future(now: Duration) -> Validity {
    Validity { from: now + 10 * YEAR, until: now + 11 * YEAR }
}

/// The authority of the directory, and whether it is an earlier run's.
fn open_authority(dir: &Path, now: Duration) -> Result<(Authority, PemFile, bool), SimulatorError> {
    let (path, key_path) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
    if let (Some(pem), Some(key)) = (files::read(&path)?, files::read(&key_path)?) {
        let authority = Authority::from_pem(&pem, &key).ok_or_else(|| SimulatorError::Authority(dir.to_owned()))?;
        return Ok((authority, PemFile { path, pem }, true));
    }
    let authority = Authority::new("apnsd simulator", authority_validity(now))?;
    write_private(&key_path, authority.key_pem())?;
    let pem = write_private(&path, authority.certificate_pem().to_owned())?;
    Ok((authority, PemFile { path, pem }, false))
}

#[cfg(test)]
mod tests;
