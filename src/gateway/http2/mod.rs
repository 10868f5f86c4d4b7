//! Apple's HTTP/2 provider API.

pub mod provider_token;
