//! Provider tokens: one per key and team, shared by every app and connection that uses it.

/// The provider tokens of a process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ProviderTokens {}
