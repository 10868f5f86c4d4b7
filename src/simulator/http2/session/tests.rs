//! Conversations with a session.
