//! TLS of callers: the daemon's own certificate, and whether callers must show one too.
//!
//! TLS 1.2 and 1.3, HTTP/1.1 inside. The files are read at the start and again when asked to, so that a renewed
//! certificate counts for the next connection; what cannot be used then leaves the present one in its place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// ALPN's name of HTTP/1.1 (RFC 7301, section 6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// Files of `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// PEM: the daemon's certificate, then those between it and its authority.
    pub certificate: PathBuf,
    /// PEM: its private key, unencrypted. May be the same file.
    pub key: PathBuf,
    /// PEM: authorities of which callers must show a certificate. None: they need none.
    pub client_ca: Option<PathBuf>,
}

impl Settings {
    /// Looks into the files, as [`Tls::load`] will.
    pub fn check(&self) -> Result<(), TlsError> {
        server_config(self).map(drop)
    }
}

/// Why TLS cannot be spoken, and what to do.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file that is not there, or not for this user.
    #[error("{} cannot be read ({source}): correct tls.{key}, or let this user read it", path.display())]
    Unreadable {
        /// Key of `[tls]`.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file without what is needed in it.
    #[error("{} has no {needed} in PEM that can be read: correct tls.{key}", path.display())]
    Empty {
        /// Key of `[tls]`.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        needed: &'static str,
    },
    /// Files that do not make a TLS server.
    #[error("{} and {} cannot be used for TLS ({source}): tls.key must be the key of tls.certificate",
        certificate.display(), key.display())]
    Unusable {
        /// `tls.certificate`.
        certificate: PathBuf,
        /// `tls.key`.
        key: PathBuf,
        /// In words.
        source: rustls::Error,
    },
    /// Authorities that cannot be.
    #[error("{} has a certificate that is not of an authority ({problem}): correct tls.client_ca", path.display())]
    Authority {
        /// `tls.client_ca`.
        path: PathBuf,
        /// In words.
        problem: String,
    },
    /// An address wants what is not configured.
    #[error("{0} needs [tls] with `certificate` and `key`")]
    Missing(String),
}

impl TlsError {
    /// The key of `[tls]` whose file it is about.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Unreadable { key, .. } | Self::Empty { key, .. } => key,
            Self::Unusable { .. } => "key",
            Self::Authority { .. } => "client_ca",
            Self::Missing(_) => "certificate",
        }
    }
}

/// The TLS that new connections get. Cheap to clone; all clones change together.
#[derive(Clone, Debug)]
pub struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

impl Tls {
    /// Reads the files.
    pub fn load(settings: &Settings) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new(server_config(settings)?))))
    }

    /// Reads them again. After an error, new connections get what they got before.
    pub fn reload(&self, settings: &Settings) -> Result<(), TlsError> {
        let config = server_config(settings)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Shakes hands with what is loaded now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

fn server_config(settings: &Settings) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates("certificate", &settings.certificate)?;
    let key = private_key(&settings.key)?;
    let unusable =
        |source| TlsError::Unusable { certificate: settings.certificate.clone(), key: settings.key.clone(), source };
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match &settings.client_ca {
        Some(path) => builder.with_client_cert_verifier(verifier(path)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(Arc::new(config))
}

fn verifier(path: &Path) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let unusable = |problem: String| TlsError::Authority { path: path.to_owned(), problem };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client_ca", path)? {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(aws_lc_rs::default_provider()))
        .build()
        .map_err(|error| unusable(error.to_string()))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let empty = || TlsError::Empty { key, path: path.to_owned(), needed: "certificate" };
    let pem = read(key, path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| empty())?;
    if found.is_empty() { Err(empty()) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let needed = "unencrypted private key";
    PrivateKeyDer::from_pem_slice(&read("key", path)?).map_err(|_| TlsError::Empty {
        key: "key",
        path: path.to_owned(),
        needed,
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { key, path: path.to_owned(), source })
}
