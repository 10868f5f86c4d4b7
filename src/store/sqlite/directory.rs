//! The state directory: made, locked, and its files kept from others.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::store::OpenError;

/// A state directory that no other process uses as long as this lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes the directory if it is not there (mode 0700) and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| OpenError::Io { path: path.to_owned(), error })?;
        let lock = private_file(&path.join("apnsd.lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(OpenError::Io { path: path.join("apnsd.lock"), error }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The database, which is there afterwards, with mode 0600; SQLite gives the files beside it the same mode.
    ///
    /// To be called before SQLite opens it: closing any handle of the file drops SQLite's locks on it.
    pub(super) fn database(&self) -> Result<PathBuf, OpenError> {
        let path = self.path.join("apnsd.db");
        drop(private_file(&path)?);
        let synced = File::open(&self.path).and_then(|dir| dir.sync_all());
        synced.map_err(|error| OpenError::Io { path: self.path.clone(), error })?;
        Ok(path)
    }
}

/// Opens a file that only its owner may read; makes it if it is not there.
fn private_file(path: &Path) -> Result<File, OpenError> {
    let failed = |error: io::Error| OpenError::Io { path: path.to_owned(), error };
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = options.map_err(failed)?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(file)
}
