//! `convert`: a `.p12` file, or PEM with an encrypted key, as plain PEM.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use rustls_pki_types::PrivateKeyDer;

use super::credential::{self, Passphrase};
use super::exit::{Exit, Failure};
use super::output;
use crate::credentials::error::CredentialsError;
use crate::credentials::{CredentialOptions, Credentials, Identity};

/// Write a .p12 file, or PEM with an encrypted key, as plain PEM
///
/// The certificate comes first, then those that it was signed with, then the key without a passphrase. Only the user of
/// this process may read the new file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd convert myapp.p12 myapp.pem\n  \
    apnsd convert myapp.p12 /etc/apnsd/certs/myapp.pem --passphrase-file myapp.pass --force")]
pub(super) struct Convert {
    /// The file to read; - reads standard input
    input: String,
    /// The PEM file to write
    output: PathBuf,
    #[command(flatten)]
    passphrase: Passphrase,
    /// Replace the output file if there is one
    #[arg(long)]
    force: bool,
}

/// Reads credentials and writes them.
pub(super) fn run(args: &Convert) -> Result<(), Failure> {
    let failed = |problem: String| Failure::new(Exit::Failed, problem);
    let bytes = args.passphrase.read_beside(&args.input)?;
    let opened = args.passphrase.open(&args.input, &bytes, &CredentialOptions::default())?;
    let identity = match opened.credentials {
        Ok(Credentials::Certificate(identity)) => identity,
        Ok(Credentials::ProviderKey(_)) | Err(CredentialsError::Ids { .. }) => {
            return Err(failed("a provider token key (.p8) needs no conversion: use it as it is".to_owned()));
        }
        Err(error) => return Err(failed(format!("{}: {error}", credential::shown(&args.input).display()))),
    };
    let (path, shown) = (&args.output, args.output.display());
    write(path, &pem(&identity), args.force).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => failed(format!("{shown} is there already: --force replaces it")),
        _ => failed(format!("{shown}: {error}")),
    })?;
    let facts = &identity.certificate;
    output::print(&format!(
        "{shown} has certificate `{}` (until {}), {} more of its chain, and its key without a passphrase\n",
        facts.subject,
        facts.not_after,
        identity.chain.len() - 1
    ))
}

/// Leaf, chain, key.
fn pem(identity: &Identity) -> String {
    let certificates = identity.chain.iter().map(|certificate| block("CERTIFICATE", certificate));
    let label = match &identity.key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        // The type may have more kinds some day, none of which is read here.
        _ => "PRIVATE KEY",
    };
    certificates.collect::<String>() + &block(label, identity.key.secret_der())
}

/// A block of PEM (RFC 7468, 2).
fn block(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines = base64.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n");
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", lines.collect::<String>())
}

/// Writes a file for the user alone, whole or not at all.
fn write(path: &Path, text: &str, replaces: bool) -> io::Result<()> {
    if !replaces && path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_string_lossy();
    let new = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let written = create(&new, text).and_then(|()| match replaces {
        true => fs::rename(&new, path),
        // Unlike a rename, a link never replaces a file that has come up meanwhile.
        false => fs::hard_link(&new, path).and_then(|()| fs::remove_file(&new)),
    });
    if written.is_err() && new.exists() {
        fs::remove_file(&new)?;
    }
    written
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_lines_of_64_characters() {
        assert_eq!(block("X", b"\x30\x03\x02\x01\x03"), "-----BEGIN X-----\nMAMCAQM=\n-----END X-----\n");
        let lines = block("X", &[0; 49]);
        assert_eq!(lines, format!("-----BEGIN X-----\n{}\nAA==\n-----END X-----\n", "A".repeat(64)));
    }
}
