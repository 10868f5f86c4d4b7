//! What sampling keeps.
