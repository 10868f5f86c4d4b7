//! What goes wrong in SQLite and in what it holds, and what that means to a caller.

use rusqlite::ErrorCode;
use thiserror::Error;

use super::disk::Disk;
use crate::store::StoreError;
use crate::store::record::RecordError;

/// Why a transaction or a query failed.
#[derive(Debug, Error)]
pub(super) enum Problem {
    /// SQLite says so.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A record cannot be read.
    #[error("batch {id}: {error}")]
    Record {
        /// Of which batch.
        id: i64,
        /// Why.
        error: RecordError,
    },
    /// What is stored of settled rows does not fit the batch.
    #[error("batch {id}: the progress does not fit its rows")]
    Progress {
        /// Of which batch.
        id: i64,
    },
    /// A batch belongs to no app.
    #[error("batch {id}: it belongs to no app")]
    App {
        /// Of which batch.
        id: i64,
    },
    /// Something else cannot be what was stored.
    #[error("{0}")]
    Damaged(String),
}

impl Problem {
    /// Whether others can be read, if this was met in reading one batch. A record of a later version is no such problem:
    /// that file should never have been opened.
    pub(super) fn is_of_one_batch(&self) -> bool {
        match self {
            Self::Record { error: RecordError::CutOff | RecordError::Damaged(_), .. } => true,
            Self::Progress { .. } | Self::App { .. } => true,
            Self::Record { error: RecordError::Newer { .. }, .. } | Self::Damaged(_) => false,
            // Not from SQLite itself: a value is not what the column should hold.
            Self::Sqlite(error) => error.sqlite_error_code().is_none(),
        }
    }

    /// What a caller is told of a failed change.
    pub(super) fn of_change(self, disk: &Disk) -> StoreError {
        let no_room = match self.code() {
            Some(ErrorCode::DiskFull) => true,
            // The memory-mapped index beside the database cannot grow either, and calls it an I/O error.
            Some(ErrorCode::SystemIoFailure) => disk.is_exhausted(),
            Some(_) | None => false,
        };
        if no_room { disk.full() } else { self.of_query() }
    }

    /// What a caller is told of a failed query.
    pub(super) fn of_query(self) -> StoreError {
        match self.code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(self.to_string()),
            Some(_) => StoreError::Io(self.to_string()),
            // What SQLite read is not what was stored.
            None => StoreError::Corrupt(self.to_string()),
        }
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code(),
            Self::Record { .. } | Self::Progress { .. } | Self::App { .. } | Self::Damaged(_) => None,
        }
    }
}
