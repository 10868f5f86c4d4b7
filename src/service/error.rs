//! What a verb can refuse. Texts are for the caller; the wire's numbers are chosen by the layer above.

use std::borrow::Cow;

use thiserror::Error;

/// Why a verb was refused. Nothing was done, queued or changed when one of these is returned; but a pause, a resume and
/// new credentials of an app that works hold although the store could not keep them ([`ServiceError::TryLater`]): they
/// are lost if the daemon ends before it can.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ServiceError {
    /// The app was never provisioned.
    #[error("The app_id specified has not been provisioned.")]
    UnknownApp,
    /// The environment has no row in the environments table.
    #[error("Invalid environment provided `{name}`. Valid environments are `sandbox` and `production`{}", also(.others))]
    InvalidEnvironment {
        /// As given by the caller.
        name: String,
        /// Names that the config file adds to the table.
        others: Vec<String>,
    },
    /// An argument is of the wrong shape or value; says which and why.
    #[error("{0}")]
    InvalidArgument(String),
    /// The app cannot send: refused credentials, paused. The cause in words.
    #[error("Connection to the APNS server could not be made. {}", sentence(.0))]
    NotConnected(String),
    /// Try later: the queue is full, the daemon stops, the store fails. The cause in words.
    #[error("{0}")]
    TryLater(String),
}

impl ServiceError {
    /// Wraps whatever keeps a verb from being carried out now.
    pub(super) fn try_later(cause: impl std::fmt::Display) -> Self {
        Self::TryLater(cause.to_string())
    }
}

/// A cause with a capital letter, where it begins with a word and not with a name.
fn sentence(cause: &str) -> Cow<'_, str> {
    let is_word = cause.split(' ').next().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
    match cause.split_at_checked(1) {
        Some((first, rest)) if is_word => (first.to_uppercase() + rest).into(),
        Some(_) | None => cause.into(),
    }
}

fn also(others: &[String]) -> String {
    match others {
        [] => String::new(),
        _ => format!(". Also configured: `{}`", others.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_begins_as_a_sentence_unless_a_name_stands_there() {
        let told = |cause: &str| ServiceError::NotConnected(cause.to_owned()).to_string();
        let made = "Connection to the APNS server could not be made.";
        assert_eq!(told("the gateway refuses it"), format!("{made} The gateway refuses it"));
        for cause in ["gateway.example:2195: TCP connection", "`x`", "", "100 rejected", "über"] {
            assert_eq!(told(cause), format!("{made} {cause}"));
        }
    }

    #[test]
    fn texts_that_old_callers_know_are_unchanged() {
        assert_eq!(ServiceError::UnknownApp.to_string(), "The app_id specified has not been provisioned.");
        let error = ServiceError::InvalidEnvironment { name: "staging".into(), others: vec![] };
        let text = "Invalid environment provided `staging`. Valid environments are `sandbox` and `production`";
        assert_eq!(error.to_string(), text);
    }
}
