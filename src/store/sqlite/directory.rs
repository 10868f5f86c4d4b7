//! The state directory: made, locked, and its files kept from others.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::store::OpenError;

const LOCK: &str = "apnsd.lock";
pub(super) const DATABASE: &str = "apnsd.db";

/// A state directory that no other process uses as long as this lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    was_used: bool,
    _locks: [File; 2],
}

impl Directory {
    /// Makes the directory if it is not there, with mode 0700, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |error: io::Error| OpenError::Io { path: path.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let dir = File::open(path).map_err(failed)?;
        let was_used = [LOCK, "apnsd.reserve"].iter().any(|name| path.join(name).exists());
        let lock = private_file(&path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { dir: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(OpenError::Io { path: path.join(LOCK), error }),
        }
        // The directory too: the file can be deleted. Some file systems lock nothing that is not open for writing.
        match dir.try_lock() {
            Ok(()) | Err(TryLockError::Error(_)) => (),
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { dir: path.to_owned() }),
        }
        keep_from_others(path, &dir).map_err(failed)?;
        Ok(Self { path: path.to_owned(), was_used, _locks: [lock, dir] })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The database, which is there afterwards, with mode 0600; SQLite gives the files beside it the same mode.
    ///
    /// To be called before SQLite opens it: closing any handle of the file drops SQLite's locks on it.
    pub(super) fn database(&self) -> Result<PathBuf, OpenError> {
        let path = self.path.join(DATABASE);
        let file = private_file(&path)?;
        let is_empty = file.metadata().is_ok_and(|file| file.len() == 0);
        drop(file);
        if self.was_used && is_empty {
            warn!(
                "{} has been used before, but {DATABASE} is missing or empty: a new, empty store was made; if there \
                 should be apps and notifications in it, stop the daemon and restore the directory from a backup",
                self.path.display()
            );
        }
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

/// Takes from others what they may do with a directory, if it has nothing in it but files of this program; else they
/// are told of. What is in the files is not theirs to read in any case.
fn keep_from_others(path: &Path, dir: &File) -> io::Result<()> {
    let mode = dir.metadata()?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let mut is_ours = true;
    for entry in fs::read_dir(path)? {
        is_ours &= entry?.file_name().as_encoded_bytes().starts_with(b"apnsd.");
    }
    let path = path.display();
    if is_ours && dir.set_permissions(Permissions::from_mode(0o700)).is_ok() {
        info!("{path} had mode {mode:04o}: it has 0700 now, for this user alone");
    } else {
        warn!(
            "{path} has mode {mode:04o}, so that others may look into it: give apnsd a directory of its own, mode 0700"
        );
    }
    Ok(())
}
