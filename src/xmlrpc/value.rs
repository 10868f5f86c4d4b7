//! The values that XML-RPC can carry, borrowing from the document where they can.

use std::borrow::Cow;

/// One XML-RPC value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `int`, `i4`, `i8`, `ex:i8` and the shorter ones.
    Int(i64),
    /// `boolean`.
    Boolean(bool),
    /// `double`.
    Double(f64),
    /// `string`, and a value without a type element.
    String(Cow<'a, str>),
    /// `dateTime.iso8601`; a zone, where one was given, has been applied: UTC then, unspecified otherwise.
    DateTime(jiff::civil::DateTime),
    /// `base64`, decoded.
    Base64(Vec<u8>),
    /// `nil` and `ex:nil`.
    Nil,
    /// `array`.
    Array(Vec<Self>),
    /// `struct`, members in the order of the document, each name once.
    Struct(Vec<(Cow<'a, str>, Self)>),
}

/// A decoded `methodCall`.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodCall<'a> {
    /// Method name, trimmed.
    pub name: Cow<'a, str>,
    /// Positional parameters.
    pub params: Vec<Value<'a>>,
}

/// The fault of a `methodResponse`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `faultCode`.
    pub code: i32,
    /// `faultString`.
    pub text: String,
}

impl<'a> Value<'a> {
    /// A string value.
    pub fn string(text: impl Into<Cow<'a, str>>) -> Self {
        Self::String(text.into())
    }

    /// The word for its type in messages: `int`, `struct`, ….
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Boolean(_) => "boolean",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::DateTime(_) => "dateTime.iso8601",
            Self::Base64(_) => "base64",
            Self::Nil => "nil",
            Self::Array(_) => "array",
            Self::Struct(_) => "struct",
        }
    }
}
