//! What the feedback service is told: entries, when to clear the list, and what goes wrong (F1 to F3).

use serde::Deserialize;

use super::tuples::FeedbackTuple;
use crate::simulator::certificates::BUNDLE_ID;
use crate::simulator::script::Connections;

/// One command.
///
/// As JSON: `{"entries": [{"timestamp": 1577836800, "token": "…"}], "clear": "on_connect", "faults": ["never_close"]}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedbackCommand {
    /// Whose list; the bundle id of the written certificates if it is not said.
    #[serde(default = "app_default")]
    pub app: String,
    /// Added to the list.
    #[serde(default)]
    pub entries: Vec<FeedbackTuple>,
    /// Whether the list is emptied first.
    #[serde(default)]
    pub replace: bool,
    /// When lists are cleared from now on; unchanged if it is not said.
    #[serde(default)]
    pub clear: Option<Clear>,
    /// What goes wrong on these connections.
    #[serde(default)]
    pub faults: Vec<FeedbackFault>,
    /// Which connections: the next ones or every one.
    #[serde(default)]
    pub connections: Connections,
    /// Closes the service's listener at once and for so long, in milliseconds.
    #[serde(default)]
    pub refuse_ms: Option<u64>,
}

fn app_default() -> String {
    BUNDLE_ID.to_owned()
}

impl Default for FeedbackCommand {
    fn default() -> Self {
        Self {
            app: app_default(),
            entries: Vec::new(),
            replace: false,
            clear: None,
            faults: Vec::new(),
            connections: Connections::default(),
            refuse_ms: None,
        }
    }
}

/// When a list is cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clear {
    /// As soon as someone connects: a second reader at the same time gets nothing, and what is not read is gone.
    OnConnect,
    /// Once all of it was sent.
    #[default]
    OnComplete,
    /// Once all of it was sent and the client closed with close_notify.
    OnCleanClose,
}

/// What goes wrong on a feedback connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FeedbackFault {
    /// Closed after so many bytes, which may be inside a tuple.
    Cut(u64),
    /// A pause.
    Pause {
        /// Before it, so many tuples are sent.
        after: usize,
        /// Milliseconds.
        ms: u64,
    },
    /// So many bytes at a time.
    Trickle {
        /// Bytes of one write, at least 1.
        bytes: u16,
        /// Milliseconds between two writes.
        ms: u64,
    },
    /// The server does not close.
    NeverClose,
    /// RST after the last byte.
    Reset,
}
