//! Holds the documentation true: every error and reason of the program stands in `docs/errors.md` and nothing else does,
//! every command line parses, every key of the configuration exists, every link leads somewhere.

#![expect(clippy::expect_used, reason = "a page or a source that cannot be read is a failed test")]

#[path = "docs/commands.rs"]
mod commands;
#[path = "docs/errors.rs"]
mod errors;
#[path = "docs/keys.rs"]
mod keys;
#[path = "docs/links.rs"]
mod links;
#[path = "docs/source.rs"]
mod source;
#[path = "docs/text.rs"]
mod text;
