//! `[tls]`, `[unix]` and `[[user]]`: what callers must show or be, and the rule that nobody listens to the world without asking.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::reader::Reader;
use super::value::{Raw, body_size, count, parsed, path, text};
use crate::domain::app::AppId;
use crate::listener::address::ListenAddress;
use crate::listener::tls;
use crate::listener::unix::{self, SocketGroup};
use crate::listener::user::{Limits, TokenHash, User, is_user_name};
use crate::rpc::is_method;

/// Reads `[tls]`, where there is one, and looks into its files: the daemon does not start with what it cannot use.
pub(super) fn read_tls(reader: &mut Reader<'_>) -> Option<tls::Settings> {
    let (mut certificate, mut key, mut client_ca): (Option<PathBuf>, _, _) = (None, None, None);
    let mut file = |key: &str, target: &mut Option<PathBuf>| {
        if reader.read(key, target, |raw| path(raw).map(Some)) {
            *target = target.take().map(|path| reader.resolve(&path));
        }
    };
    file("tls.certificate", &mut certificate);
    file("tls.key", &mut key);
    file("tls.client_ca", &mut client_ca);
    match (certificate, key, client_ca) {
        (Some(certificate), key, client_ca) => {
            let in_one_file = key.is_none();
            let key = key.unwrap_or_else(|| certificate.clone());
            let settings = tls::Settings { certificate, key, client_ca };
            if let Err(error) = settings.check() {
                let key = if in_one_file && error.key() == "key" { "certificate" } else { error.key() };
                reader.refuse(&format!("tls.{key}"), error.to_string());
            }
            Some(settings)
        }
        (None, None, None) => None,
        (None, Some(_), _) => lack(reader, "tls.key"),
        (None, None, Some(_)) => lack(reader, "tls.client_ca"),
    }
}

fn lack(reader: &mut Reader<'_>, present: &str) -> Option<tls::Settings> {
    reader.refuse_lack(present, "is of no use without tls.certificate: add the PEM file of the daemon's certificate");
    None
}

/// Reads `[unix]`, and warns where it opens more than it seems to, or nothing.
pub(super) fn read_unix(unix: &mut unix::Settings, listen: &[ListenAddress], users: &[User], reader: &mut Reader<'_>) {
    let mode_set = reader.read("unix.mode", &mut unix.mode, mode);
    let group = |raw: &Raw<'_>| SocketGroup::find(&text(raw)?).map(Some).map_err(|error| error.to_string());
    let group_set = reader.read("unix.group", &mut unix.group, group);
    let has_socket = listen.iter().any(|address| matches!(address, ListenAddress::Unix(_)));
    for (key, set) in [("unix.mode", mode_set), ("unix.group", group_set)] {
        if set && !has_socket && *unix != unix::Settings::default() {
            let text = "has no effect: `listen` names no unix socket (those of apnsd.socket have SocketMode= and \
                        SocketGroup= there)";
            reader.warn_lack(key, text);
        }
    }
    if has_socket && unix.mode & OTHERS_WRITE != 0 && !users.is_empty() {
        let text = "lets every program of this machine call, and without a token, although there are users: write \
                    \"0660\" and a unix.group";
        reader.warn_lack("unix.mode", text);
    }
    if group_set && unix.mode & GROUP_WRITES == 0 {
        reader.warn_lack(
            "unix.group",
            "has no effect: unix.mode does not let the group write, so that it cannot connect",
        );
    }
}

/// Who may write to a socket's file may connect (unix(7)).
const EVERYBODY_WRITES: u32 = 0o222;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

fn mode(raw: &Raw<'_>) -> Result<u32, String> {
    const FORM: &str = "write three or four octal digits in quotes, as in \"0660\"";
    let text = text(raw).map_err(|error| format!("{error}: {FORM}"))?;
    let digits = text.strip_prefix('0').unwrap_or(&text);
    let is_octal = digits.len() == 3 && digits.bytes().all(|digit| digit.is_ascii_digit());
    match u32::from_str_radix(digits, 8).ok().filter(|_| is_octal) {
        None => Err(format!("`{text}` is not a mode: {FORM}")),
        Some(mode) if mode & EVERYBODY_WRITES == 0 => {
            Err(format!("`{text}` lets nobody call, who needs the permission to write: write \"0660\" or \"0600\""))
        }
        Some(mode) => Ok(mode),
    }
}

/// Reads all users.
pub(super) fn read_users(reader: &mut Reader<'_>) -> Vec<User> {
    if reader.skip_section("user") {
        reader.refuse_lack("user", "is a list of sections: head each of them [[user]], with two brackets");
    }
    let (mut users, mut names): (Vec<User>, BTreeSet<String>) = Default::default();
    for at in 0..reader.tables("user") {
        let section = format!("user[{at}]");
        let Some(user) = read_user(&section, reader) else { continue };
        if !names.insert(user.name.clone()) {
            reader.refuse(&format!("{section}.name"), format!("`{}` is there twice: a user has one entry", user.name));
        }
        let same = |other: &&User| other.token == user.token && other.name != user.name;
        if let Some(other) = users.iter().find(same) {
            let text = format!("is that of `{}` too: `apnsd token create {}` makes another", other.name, user.name);
            reader.refuse(&format!("{section}.token"), text);
        }
        users.push(user);
    }
    users
}

fn read_user(section: &str, reader: &mut Reader<'_>) -> Option<User> {
    let key = |key: &str| format!("{section}.{key}");
    let (mut user, mut token): (Option<String>, Option<TokenHash>) = (None, None);
    let (mut apps, mut methods) = (Vec::new(), Vec::new());
    let name_set = reader.read(&key("name"), &mut user, |raw| name(raw).map(Some));
    let token_set = reader.read(&key("token"), &mut token, |raw| self::token(raw).map(Some));
    let apps_set = reader.read_list(&key("apps"), &mut apps, app);
    let methods_set = reader.read_list(&key("methods"), &mut methods, method);
    let mut limits = Limits::default();
    reader.read(&key("calls_per_second"), &mut limits.per_second, |raw| count(raw).map(Some));
    reader.read(&key("calls_at_once"), &mut limits.at_once, |raw| count(raw).map(Some));
    reader.read(&key("body"), &mut limits.body, |raw| body_size(raw).map(Some));
    for (key, set) in [("name", name_set), ("token", token_set)] {
        if !set {
            reader.refuse_lack(section, format!("has no {key}: `apnsd token create NAME` makes the section"));
        }
    }
    let (apps, methods) = (Some(apps).filter(|_| apps_set), Some(methods).filter(|_| methods_set));
    Some(User { name: user?, token: token?, apps, methods, limits })
}

fn name(raw: &Raw<'_>) -> Result<String, String> {
    user_name(&text(raw)?)
}

fn token(raw: &Raw<'_>) -> Result<TokenHash, String> {
    match parsed::<TokenHash>(raw)? {
        hash if hash.is_of_nothing() => Err("is the hash of an empty token, which anybody has: `apnsd token create \
                                             NAME` makes one that nobody can guess"
            .to_owned()),
        hash => Ok(hash),
    }
}

fn app(raw: &Raw<'_>) -> Result<String, String> {
    user_app(&text(raw)?)
}

fn method(raw: &Raw<'_>) -> Result<String, String> {
    user_method(&text(raw)?)
}

/// Reads the name of a user.
pub fn user_name(name: &str) -> Result<String, String> {
    match is_user_name(name) {
        true => Ok(name.to_owned()),
        false => Err(format!("`{name}` cannot be a name: use 1 to 64 letters, digits, `.`, `_` or `-`")),
    }
}

/// Reads the id of an app that a user may use, be it there or not.
pub fn user_app(id: &str) -> Result<String, String> {
    AppId::parse(id).map_or_else(|error| Err(error.to_string()), |_| Ok(id.to_owned()))
}

/// Reads the name of a method that a user may call.
pub fn user_method(name: &str) -> Result<String, String> {
    match is_method(name) {
        true => Ok(name.to_owned()),
        false => Err(format!("`{name}` is not a method; system.listMethods lists them all")),
    }
}

/// Whether others than the programs of this machine may call at an address, whoever they are.
pub(super) fn is_open_to_others(address: &ListenAddress, tls: Option<&tls::Settings>, users: &[User]) -> bool {
    let shows_certificate = match address {
        ListenAddress::Tcp { tls: with_tls, .. } => *with_tls && tls.is_some_and(|tls| tls.client_ca.is_some()),
        ListenAddress::Unix(_) => false,
    };
    !address.is_local() && users.is_empty() && !shows_certificate
}

/// Why an address must not be listened on with these settings, and what to do.
pub(super) fn objection(address: &ListenAddress, tls: Option<&tls::Settings>, users: &[User]) -> Option<String> {
    let ListenAddress::Tcp { tls: with_tls, .. } = address else { return None };
    if *with_tls && tls.is_none() {
        return Some(format!("`{address}` needs the section [tls] with certificate and key"));
    }
    is_open_to_others(address, tls, users).then(|| format!(
        "`{address}` can be reached by others, and everybody may call: make a user with `apnsd token create NAME`, demand \
         certificates with tls.client_ca, or listen on 127.0.0.1"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_client_ca(client_ca: Option<&str>) -> tls::Settings {
        let file = PathBuf::from("/tls.pem");
        tls::Settings { certificate: file.clone(), key: file, client_ca: client_ca.map(PathBuf::from) }
    }

    fn user() -> User {
        let token = format!("sha256:{}", "00".repeat(32)).parse().unwrap();
        User { name: "web".into(), token, apps: None, methods: None, limits: Limits::default() }
    }

    fn is_fine(address: &str, tls: Option<&tls::Settings>, users: &[User]) -> bool {
        objection(&address.parse().unwrap(), tls, users).is_none()
    }

    #[test]
    fn what_only_this_machine_reaches_needs_nothing() {
        for address in ["127.0.0.1:7077", "[::1]:7077", "localhost:1", "unix:/run/apnsd.sock"] {
            assert!(is_fine(address, None, &[]), "{address}");
        }
    }

    #[test]
    fn what_others_reach_needs_users_or_certificates_of_callers() {
        let (plain, mutual) = (with_client_ca(None), with_client_ca(Some("/ca.pem")));
        assert!(!is_fine("0.0.0.0:7077", None, &[]));
        assert!(!is_fine("tls:0.0.0.0:7443", Some(&plain), &[]));
        assert!(!is_fine("0.0.0.0:7077", Some(&mutual), &[]), "nobody shows a certificate without TLS");
        assert!(is_fine("0.0.0.0:7077", None, &[user()]));
        assert!(is_fine("tls:0.0.0.0:7443", Some(&plain), &[user()]));
        assert!(is_fine("tls:0.0.0.0:7443", Some(&mutual), &[]));
    }

    #[test]
    fn tls_needs_its_section_wherever_it_is_spoken() {
        assert!(!is_fine("tls:127.0.0.1:7443", None, &[user()]));
    }
}
