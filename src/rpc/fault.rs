//! What callers are told when a call fails: the only place that knows fault codes.

use crate::service::error::ServiceError;
use crate::xmlrpc::error::DecodeError;
use crate::xmlrpc::value::Fault;

/// Longest name of a method that is sent back.
const NAME_BYTES_MAX: usize = 255;

/// Every fault code that a call can end with. The first three are what pyapns' clients turn into exceptions of their
/// own, the others are Twisted's, which pyapns was built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultCode {
    /// The app was never provisioned.
    UnknownApp,
    /// The environment is not in the table.
    InvalidEnvironment,
    /// Nothing was done or queued; the same call may succeed later.
    NotSent,
    /// There is no such method.
    UnknownMethod,
    /// The request is not XML-RPC, or its arguments are not what the method takes.
    BadRequest,
}

impl FaultCode {
    /// Its number on the wire.
    pub const fn number(self) -> i32 {
        match self {
            Self::UnknownApp => 404,
            Self::InvalidEnvironment => 401,
            Self::NotSent => 500,
            Self::UnknownMethod => 8001,
            Self::BadRequest => 8002,
        }
    }

    /// The fault with this code.
    pub(super) fn fault(self, text: impl Into<String>) -> Fault {
        Fault { code: self.number(), text: text.into() }
    }
}

/// What a call is counted as: the code of its fault, or `none`.
pub(super) const OUTCOMES: [&str; 6] = ["none", "404", "401", "500", "8001", BAD_REQUEST];
/// That of [`FaultCode::BadRequest`].
pub(super) const BAD_REQUEST: &str = "8002";

/// What a call with this answer is counted as, one of [`OUTCOMES`].
pub(super) fn outcome<T>(answer: &Result<T, Fault>) -> &'static str {
    match answer {
        Ok(_) => "none",
        Err(fault) if fault.code == FaultCode::UnknownApp.number() => "404",
        Err(fault) if fault.code == FaultCode::InvalidEnvironment.number() => "401",
        Err(fault) if fault.code == FaultCode::NotSent.number() => "500",
        Err(fault) if fault.code == FaultCode::UnknownMethod.number() => "8001",
        Err(_) => BAD_REQUEST,
    }
}

/// An argument that the method does not take; says which and why.
pub(super) fn bad_argument(text: impl Into<String>) -> Fault {
    FaultCode::BadRequest.fault(text)
}

/// A method that does not exist. Where the part before the first dot is not one of ours either, that is said instead,
/// as pyapns did.
pub(super) fn unknown_method(name: &str, prefixes: &[&str]) -> Fault {
    let text = match name.split_once('.') {
        Some((prefix, _)) if !prefixes.contains(&prefix) => format!("no such subHandler {}", shortened(prefix)),
        Some(_) | None => format!("procedure {} not found", shortened(name)),
    };
    FaultCode::UnknownMethod.fault(text)
}

/// What a caller made up is not sent back at any length.
fn shortened(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}

/// A body that is not an XML-RPC call.
pub(super) fn not_a_call(error: &DecodeError) -> Fault {
    FaultCode::BadRequest.fault(format!("Can't deserialize input: {error}"))
}

impl From<ServiceError> for Fault {
    fn from(error: ServiceError) -> Self {
        let code = match error {
            ServiceError::UnknownApp => FaultCode::UnknownApp,
            ServiceError::InvalidEnvironment { .. } => FaultCode::InvalidEnvironment,
            ServiceError::InvalidArgument(_) => FaultCode::BadRequest,
            ServiceError::NotConnected(_) | ServiceError::TryLater(_) => FaultCode::NotSent,
        };
        code.fault(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(code: i32, text: &str) -> Fault {
        Fault { code, text: text.to_owned() }
    }

    #[test]
    fn errors_of_the_verbs_have_the_numbers_that_old_callers_know() {
        let unknown = fault(404, "The app_id specified has not been provisioned.");
        assert_eq!(Fault::from(ServiceError::UnknownApp), unknown);
        let environment = ServiceError::InvalidEnvironment { name: "x".into(), others: vec![] };
        let text = "Invalid environment provided `x`. Valid environments are `sandbox` and `production`";
        assert_eq!(Fault::from(environment), fault(401, text));
        let not_connected = ServiceError::NotConnected("Certificate expired.".into());
        let text = "Connection to the APNS server could not be made. Certificate expired.";
        assert_eq!(Fault::from(not_connected), fault(500, text));
        assert_eq!(Fault::from(ServiceError::TryLater("queue full".into())), fault(500, "queue full"));
        assert_eq!(Fault::from(ServiceError::InvalidArgument("tokens[1]".into())), fault(8002, "tokens[1]"));
    }

    #[test]
    fn unknown_methods_are_named_as_pyapns_did() {
        let unknown = |name: &str| unknown_method(name, &["apnsd", "system"]);
        assert_eq!(unknown("nosuch"), fault(8001, "procedure nosuch not found"));
        assert_eq!(unknown("foo.bar.baz"), fault(8001, "no such subHandler foo"));
        let long = "\u{e9}".repeat(200);
        let text = format!("procedure {} not found", "\u{e9}".repeat(127));
        assert_eq!(unknown(long.as_str()), fault(8001, &text));
        assert_eq!(unknown("system.nosuch"), fault(8001, "procedure system.nosuch not found"));
    }
}
