//! `[environments.NAME]`: the table of named gateways, built in and changed row by row.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::reader::Reader;
use super::value::{Raw, path, text};
use crate::credentials::error::CredentialsError;
use crate::credentials::source::read_file;
use crate::domain::app::{Address, Environment, Protocol};
use crate::domain::proxy::Proxy;

/// The environments by name.
pub type Environments = BTreeMap<Arc<str>, Arc<Environment>>;

/// The rows that are there without a config file: name, gateway, feedback service.
const BUILT_IN: [(&str, &str, Option<&str>); 5] = [
    ("production", "https://api.push.apple.com", None),
    ("sandbox", "https://api.sandbox.push.apple.com", None),
    ("production-binary", "binary://gateway.push.apple.com:2195", Some("binary://feedback.push.apple.com:2196")),
    (
        "sandbox-binary",
        "binary://gateway.sandbox.push.apple.com:2195",
        Some("binary://feedback.sandbox.push.apple.com:2196"),
    ),
    ("fcm", "fcm://fcm.googleapis.com", None),
];

/// The table without a config file.
pub(super) fn built_in() -> Environments {
    let row = |(name, gateway, feedback): (&str, &str, Option<&str>)| {
        let gateway = Address::parse(gateway).ok()?;
        let feedback = feedback.and_then(|feedback| Address::parse(feedback).ok());
        let name: Arc<str> = name.into();
        Some((Arc::clone(&name), Arc::new(Environment { name, gateway, feedback, ca: None, proxy: None })))
    };
    BUILT_IN.into_iter().filter_map(row).collect()
}

/// Merges the configured rows over the table.
pub(super) fn read(environments: &mut Environments, reader: &mut Reader<'_>) {
    for name in environments.keys() {
        reader.rename_variables(&format!("environments.{}", name.replace('-', "_")), &format!("environments.{name}"));
    }
    let mut names = reader.sections_under("environments");
    names.extend(environments.keys().map(|name| name.to_string()));
    for name in names {
        if name.is_empty() || name.chars().any(char::is_control) {
            let text = "needs a name that can be seen, as in [environments.staging]";
            reader.refuse(&format!("environments.{name}"), text);
        }
        if let Some(environment) = read_row(&name, environments.get(name.as_str()), reader) {
            environments.insert(Arc::clone(&environment.name), Arc::new(environment));
        }
    }
}

fn read_row(name: &str, built_in: Option<&Arc<Environment>>, reader: &mut Reader<'_>) -> Option<Environment> {
    let section = format!("environments.{name}");
    let key = |key: &str| format!("{section}.{key}");
    let mut gateway = built_in.map(|row| row.gateway.clone());
    let mut feedback = None;
    let mut ca: Option<PathBuf> = built_in.and_then(|row| row.ca.clone());
    let mut proxy = built_in.and_then(|row| row.proxy.clone());

    let gateway_set = reader.read(&key("gateway"), &mut gateway, |raw| address(raw).map(Some));
    let feedback_set = reader.read(&key("feedback"), &mut feedback, |raw| feedback_address(raw).map(Some));
    if reader.read(&key("ca"), &mut ca, |raw| path(raw).map(Some)) {
        ca = ca.map(|ca| reader.resolve(&ca));
        if let Some(fault) = ca.as_deref().and_then(ca_fault) {
            reader.warn(&key("ca"), fault);
        }
    }
    reader.read(&key("proxy"), &mut proxy, |raw| proxy_address(raw).map(Some));

    // A feedback service belongs to its gateway: another gateway does not inherit it.
    if !gateway_set && !feedback_set {
        feedback = built_in.and_then(|row| row.feedback.clone());
    }
    let Some(gateway) = gateway else {
        if !gateway_set {
            reader.refuse_lack(&section, "has no gateway: add gateway = \"https://HOST\" or \"binary://HOST:2195\"");
        }
        return None;
    };
    if gateway.protocol == Protocol::Fcm && built_in.is_none_or(|row| row.gateway != gateway) {
        let text = "fcm gateways come in a later version; apps cannot use this one yet".to_owned();
        reader.warn(&key("gateway"), text);
    }
    Some(Environment { name: name.into(), gateway, feedback, ca, proxy })
}

/// Why nobody can be trusted by this file.
fn ca_fault(file: &Path) -> Option<String> {
    match read_file(file) {
        Ok(bytes) if CertificateDer::pem_slice_iter(&bytes).any(|certificate| certificate.is_ok()) => None,
        Ok(_) => Some(format!("`{}` holds no PEM certificate", file.display())),
        // The limit is for credentials; a bundle of authorities may be large.
        Err(CredentialsError::TooLarge(_)) => None,
        Err(error) => Some(error.to_string()),
    }
}

fn address(raw: &Raw<'_>) -> Result<Address, String> {
    Address::parse(&text(raw)?).map_err(|error| error.to_string())
}

fn proxy_address(raw: &Raw<'_>) -> Result<Proxy, String> {
    Proxy::parse(&text(raw)?).map_err(|error| error.to_string())
}

fn feedback_address(raw: &Raw<'_>) -> Result<Address, String> {
    match address(raw)? {
        address if address.protocol == Protocol::Binary => Ok(address),
        address => Err(format!("`{address}` is no feedback service: its address begins with `binary://`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_row_is_in_the_table() {
        let environments = built_in();
        for (name, gateway, feedback) in BUILT_IN {
            let row = &environments[name];
            assert_eq!((&*row.name, row.ca.as_ref()), (name, None));
            assert!(row.gateway.to_string().starts_with(gateway));
            assert_eq!(row.feedback.as_ref().map(Address::to_string).as_deref(), feedback);
        }
    }
}
