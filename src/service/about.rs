//! What stays the same while a daemon runs, as it is told to operators.

use crate::domain::time::Timestamp;

/// The daemon itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Where it listens.
    pub addresses: Vec<String>,
    /// What a caller may rely on whose notifications were accepted, in words.
    pub accepted_means: &'static str,
    /// When it started.
    pub started: Timestamp,
}
