//! Private files: written whole or not at all, readable by their owner only.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::simulator::SimulatorError;

/// Makes a directory that only its owner may enter; one that exists stays as it is. Its absolute path.
pub(super) fn make_dir(dir: &Path) -> Result<PathBuf, SimulatorError> {
    let make = || {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        std::path::absolute(dir)
    };
    make().map_err(|source| error(dir, source))
}

/// The text of a file; `None` when it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<String>, SimulatorError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(error(path, source)),
    }
}

/// Writes a file of mode 0600 beside its place and renames it into it; returns the text.
pub(in crate::simulator) fn write_private(path: &Path, text: String) -> Result<String, SimulatorError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = Path::new(&name);
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(beside, path)
    };
    write().map_err(|source| error(path, source))?;
    Ok(text)
}

fn error(path: &Path, source: io::Error) -> SimulatorError {
    SimulatorError::File { path: path.to_owned(), source }
}
