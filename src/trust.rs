//! Whom we trust over TLS where nothing else is said: the system's store of authorities.

use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use thiserror::Error;

/// The system has no store that can be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("this system has no trusted CA certificates ({0}): install ca-certificates")]
pub struct NoAuthorities(String);

/// The system's trust store, read once: it is large, and the same for all. The variables `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` name another.
///
/// # Errors
///
/// There is none, or none of its certificates can be read.
pub fn system_roots() -> Result<Arc<RootCertStore>, NoAuthorities> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    if let Some(roots) = ROOTS.get() {
        return Ok(roots.clone());
    }
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(loaded.certs);
    if added == 0 {
        let errors: Vec<String> = loaded.errors.iter().map(ToString::to_string).collect();
        return Err(NoAuthorities(errors.join("; ")));
    }
    Ok(ROOTS.get_or_init(|| Arc::new(roots)).clone())
}
