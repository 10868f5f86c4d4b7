//! Calls that named themselves, so that a repeated one has no second effect: what names them, and for how long.

use std::time::Duration;

use super::Commit;
use crate::domain::time::Timestamp;

/// A call is remembered at least this long, and at most twice as long: two generations, the older dropped whole.
pub(super) const GENERATION: Duration = Duration::from_secs(15 * 60);

/// Names a call of an app, and says what was in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// Digest of the `request_id`.
    pub id: [u8; 16],
    /// Digest of everything else that the call said.
    pub content: [u8; 16],
}

impl RequestKey {
    /// What a call comes to that has the name of one with this content.
    pub(super) fn again(&self, before: [u8; 16]) -> Commit {
        if before == self.content { Commit::Repeated } else { Commit::Conflict }
    }
}

/// What is to happen with the generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Keep,
    /// The present generation becomes the older one, which is dropped.
    Rotate,
    /// Both are too old.
    Drop,
}

/// What is to happen at `now` with a generation that began at `began`; whatever it is but `Keep`, a new one begins at
/// `now`. A clock that was set back costs the older generation nothing but time.
pub(super) fn turn(began: Timestamp, now: Timestamp) -> Turn {
    let age = now.since(began);
    if age >= GENERATION * 2 {
        Turn::Drop
    } else if age >= GENERATION {
        Turn::Rotate
    } else {
        Turn::Keep
    }
}
