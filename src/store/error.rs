//! Why the store could not be opened, or could not do what was asked.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use thiserror::Error;

/// Why something could not be kept or read. When it is a change, nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// No room: nothing more is accepted until there is. What waits is delivered meanwhile.
    #[error(
        "the disk of {} is full ({} free, {} are kept free by store.min_free): \
         make room, the daemon goes on by itself",
        dir.display(),
        size(*free),
        size(*min_free)
    )]
    Full {
        /// The state directory.
        dir: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be free.
        min_free: u64,
    },
    /// The database is not where it was; nothing more is accepted.
    #[error(
        "{} cannot be reached ({error}): if the state directory was deleted, stop the daemon, put it back from a \
         backup and start again; if its disk was taken away, the daemon goes on by itself once it is back",
        path.display()
    )]
    Gone {
        /// The database.
        path: PathBuf,
        /// The operating system's word.
        error: String,
    },
    /// The disk or the file system failed; it is tried again with the next call.
    #[error("the store in the state directory could not be written or read ({0}): see to the disk")]
    Io(String),
    /// What is stored is damaged.
    #[error(
        "the store is damaged ({0}): stop the daemon and restore the state directory from a backup, \
         or rescue what `sqlite3 apnsd.db .dump` still reads of it"
    )]
    Corrupt(String),
    /// One call with more than a record can hold.
    #[error("the call takes {0} bytes in the store, more than a record holds: split it")]
    TooLarge(usize),
    /// The store was closed: the daemon stops.
    #[error("the store is closed, the daemon is stopping: try again later")]
    Closed,
}

/// Why the store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be made, opened or read.
    #[error("{}: {error}: {}", path.display(), cure(.error))]
    Io {
        /// What could not be used.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process has it open.
    #[error("{} is in use by another apnsd: stop that one, or give this one a state_dir of its own", dir.display())]
    Locked {
        /// The state directory.
        dir: PathBuf,
    },
    /// Written by a later version of the program.
    #[error("{} has schema {found}, this apnsd knows up to {known}: run the newer apnsd that wrote it", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The latest version that is known here.
        known: u32,
    },
    /// Not a store, or a damaged one.
    #[error(
        "{path} is damaged ({problem}): restore it from a backup, rescue what `sqlite3 {path} .dump` still reads, \
         or move it away to begin with an empty store",
        path = path.display()
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// SQLite refused for another reason.
    #[error("{}: {problem}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// SQLite's words, and what to do where that is known.
        problem: String,
    },
}

fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "the state directory must be writable by the daemon's user"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on the disk of the state directory",
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::AlreadyExists | ErrorKind::IsADirectory => {
            "state_dir must name a directory that is there or can be made"
        }
        // Of the operating system's kinds, which are many, no other tells what to do.
        _ => "see to the state directory and its disk",
    }
}

/// Bytes as people read them, rounded down.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..10_737_418_240 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}
