//! Answers that have no end of their own, such as a stream of events.

/// Among an answer's extensions: whoever made it ends it when the daemon stops, and nobody needs the rest. A peer that
/// takes nothing of it does not hold up the stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endless;
