//! How the program ends: its exit codes, and the failures behind them.

use std::process::ExitCode;

use crate::store::OpenError;

/// The exit codes of every verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It is done.
    Done,
    /// It failed; the message says why.
    Failed,
    /// The command line makes no sense (clap's own code).
    Usage,
    /// No answer from the daemon.
    Unreachable,
    /// The daemon refused the call.
    Fault,
    /// A notification was rejected.
    Rejected,
    /// What became of a notification is not known, or not yet.
    Unknown,
    /// An app cannot send, or the daemon accepts nothing.
    Trouble,
    /// The state directory has a damaged store, or one of a newer version (`EX_DATAERR` of sysexits.h): starting again
    /// does not help.
    Data,
    /// Another daemon uses the state directory (`EX_TEMPFAIL`).
    InUse,
    /// The configuration has problems (`EX_CONFIG`): starting again does not help.
    Config,
    /// Ended by Ctrl-C before it was done; the number is the shells' own for SIGINT.
    Interrupted,
}

impl Exit {
    const ALL: [Self; 12] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Unreachable,
        Self::Fault,
        Self::Rejected,
        Self::Unknown,
        Self::Trouble,
        Self::Data,
        Self::InUse,
        Self::Config,
        Self::Interrupted,
    ];

    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Fault => 4,
            Self::Rejected => 5,
            Self::Unknown => 6,
            Self::Trouble => 7,
            Self::Data => 65,
            Self::InUse => 75,
            Self::Config => 78,
            Self::Interrupted => 130,
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed; the message says why",
            Self::Usage => "the command line is wrong",
            Self::Unreachable => "the daemon cannot be reached, or does not answer as one",
            Self::Fault => "the daemon refused the call",
            Self::Rejected => "a notification was rejected (`send`)",
            Self::Unknown => "the outcome of a notification is not known yet (`send`)",
            Self::Trouble => "an app cannot send, or the daemon accepts nothing (`status`)",
            Self::Data => "the state directory has a damaged store, or one of a newer apnsd",
            Self::InUse => "another daemon uses the state directory",
            Self::Config => "the configuration has problems",
            Self::Interrupted => "interrupted by Ctrl-C; the message says how far it came (`notify`)",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl From<&OpenError> for Exit {
    /// Whether starting again can help where a store cannot be opened.
    fn from(error: &OpenError) -> Self {
        match error {
            OpenError::Newer { .. } | OpenError::Corrupt { .. } => Self::Data,
            OpenError::Locked { .. } => Self::InUse,
            OpenError::Io { .. } | OpenError::Sqlite { .. } => Self::Failed,
        }
    }
}

/// The list of exit codes, for the end of the help.
pub(super) fn help() -> String {
    let lines: Vec<String> = Exit::ALL.iter().map(|exit| format!("  {:>3}  {}", exit.code(), exit.meaning())).collect();
    format!("Exit codes:\n{}", lines.join("\n"))
}

/// A verb that did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// How the program ends.
    pub(super) exit: Exit,
    /// What is said on standard error; nothing where it is empty.
    pub(super) message: String,
}

impl Failure {
    /// A failure with its message.
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}
