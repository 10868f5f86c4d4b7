//! Who may open a Unix socket: the mode and the group of its file, set before anybody can connect.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

/// The file of every Unix socket that the daemon makes (`[unix]` in the config file).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Permission bits; who may write may connect.
    pub mode: u32,
    /// The group that the file is given; `None` leaves it the daemon's own.
    pub group: Option<SocketGroup>,
}

impl Default for Settings {
    /// Owner and group may connect.
    fn default() -> Self {
        Self { mode: 0o660, group: None }
    }
}

/// A group of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketGroup {
    /// As it is written.
    pub name: String,
    /// Its number (gid).
    pub id: u32,
}

/// A name that does not stand for a group, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a group of this machine: `getent group` lists them, `groupadd --system {0}` makes one")]
pub struct UnknownGroup(String);

impl SocketGroup {
    /// Looks a group up by its name, or takes its number.
    pub fn find(name: &str) -> Result<Self, UnknownGroup> {
        if let Ok(id) = name.parse() {
            return Ok(Self { name: name.to_owned(), id });
        }
        let group = uzers::get_group_by_name(name).ok_or_else(|| UnknownGroup(name.to_owned()))?;
        Ok(Self { name: name.to_owned(), id: group.gid() })
    }
}

/// Why a socket has no file with that mode and group.
#[derive(Debug)]
pub(super) enum Unmade {
    /// The process may not give files to the group.
    Group(String),
    /// Anything else.
    Io(io::Error),
}

impl From<io::Error> for Unmade {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A socket with its file, to which nobody can connect yet: that begins with `listen`, whatever the mode was before.
pub(super) fn make(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// Gives the file its group and mode, the group first: a mode counts for the group that it was meant for.
pub(super) fn guard(path: &Path, settings: &Settings) -> Result<(), Unmade> {
    if let Some(group) = &settings.group {
        chown(path, None, Some(group.id)).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Unmade::Group(group.name.clone()),
            _ => Unmade::Io(error),
        })?;
    }
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(settings.mode))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_group_is_found_by_name_or_number() {
        assert_eq!(SocketGroup::find("root").map(|group| group.id), Ok(0));
        assert_eq!(SocketGroup::find("4711").map(|group| group.id), Ok(4711));
        assert_eq!(
            SocketGroup::find("no-such").unwrap_err().to_string(),
            "`no-such` is not a group of this machine: `getent group` lists them, `groupadd --system no-such` makes one"
        );
    }

    #[test]
    fn nobody_connects_before_mode_and_group_are_set() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket = make(&path).unwrap();
        let refused = |path: &Path| UnixStream::connect(path).map_err(|error| error.kind()).err();
        assert_eq!(refused(&path), Some(io::ErrorKind::ConnectionRefused));
        let own = fs::metadata(&path).unwrap().gid();
        let group = Some(SocketGroup { name: "own".to_owned(), id: own });
        guard(&path, &Settings { mode: 0o600, group }).unwrap();
        assert_eq!(refused(&path), Some(io::ErrorKind::ConnectionRefused));
        let file = fs::metadata(&path).unwrap();
        assert_eq!((file.mode() & 0o777, file.gid()), (0o600, own));
        socket.listen(1).unwrap();
        assert_eq!(refused(&path), None);
    }
}
