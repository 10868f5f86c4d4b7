//! What became of rows, for those who ask later: a bounded log of its own, beside the store and cheaper than it.
//!
//! Best effort: nothing here is synced, and whatever cannot be kept is dropped and counted. It never delays delivery.
//! Nothing is decided by it. The store in memory keeps the same records in a [`Ring`], durable ones in two files
//! ([`Log`]).
//!
//! # Files
//!
//! `apnsd.outcomes` grows to half of `trace_max`, then takes the name `apnsd.outcomes.1` in place of the one before it,
//! and a new one begins (mode 0600). A file is a sequence of records of 32 bytes, as they came. Each process that
//! appends begins with a header; names of apps count from there to the next header.
//!
//! ```text
//! header  = 0x20 version:u8(1) check:u16 "apnsd outcomes" 14 × 0x00
//! name    = 0x10 length:u8 check:u16 app:u32 part:u16 parts:u16 text:20
//! outcome = kind:u8 detail:u8 check:u16 token:4 time:i64 batch:u64 row:u32 app:u32
//! ```
//!
//! Numbers are little-endian. `token` is its first four bytes, `time` milliseconds since 1970, `app` a number to which
//! name records before gave a name: `parts` of them in order, with `length` bytes of UTF-8 each. `check` are the upper 16
//! bits of c(4), where c(0) = 0, c(n+1) = (c(n) xor w(n)) × 0x9e3779b97f4a7c15 modulo 2⁶⁴, and w(0) to w(3) are the
//! record as 64-bit words, with a check of 0.
//!
//! | kind | | detail |
//! |---|---|---|
//! | 1 | accepted | 0 |
//! | 2 | presumed | 0 |
//! | 3 | rejected by the provider | its status |
//! | 4 | rejected by the daemon | 1 closed, 2 attempts, 3 expired, 4 environment, 5 deprovisioned, 6 purged |
//! | 5 | retried, as the provider asked | its status |
//! | 6 | retried by the daemon's own decision | as 4 |
//! | 7 | unknown | 0 |
//!
//! # Compatibility
//!
//! Records whose check does not fit are skipped: the end of a file after a power failure, cut or filled with anything. So
//! are records of a kind that the reader does not know, and all that follows a header of another version.

mod buffer;
mod files;
mod log;
mod record;
mod ring;

pub(super) use self::log::Log;
pub(super) use self::ring::Ring;
use crate::domain::app::AppId;
use crate::domain::batch::BatchId;
use crate::domain::outcome::Reason;
use crate::domain::time::Timestamp;

/// What became of rows, as it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Logged {
    /// The provider said so, or a later answer of it proves it.
    Accepted,
    /// Binary gateway: it stayed silent long enough.
    Presumed,
    /// For good.
    Rejected(Reason),
    /// An error that may pass: they go out again later.
    Retried(Reason),
    /// The connection was closed without an answer: they go out again.
    Unknown,
}

/// A row that was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) timestamp: Timestamp,
    /// `None` when its name was lost to damage.
    pub(super) app: Option<AppId>,
    /// The first bytes of the token.
    pub(super) token: [u8; 4],
    pub(super) batch: BatchId,
    pub(super) row: u32,
    pub(super) outcome: Logged,
}

#[cfg(test)]
pub(super) mod tests;
