//! Tokens and their times, with an injected clock.
