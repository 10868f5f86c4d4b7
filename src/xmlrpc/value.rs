//! The values that XML-RPC can carry, borrowing from the document where they can.

use std::borrow::Cow;
use std::ops::Deref;
use std::slice;
use std::sync::Arc;

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
    /// `struct`.
    Struct(Members<'a>),
}

/// The members of a struct, in the order of the document, each name once. A clone shares them.
#[derive(Clone, Debug, Default)]
pub struct Members<'a>(Arc<[(Cow<'a, str>, Value<'a>)]>);

impl<'a> Members<'a> {
    /// The same members, but one of them, where there is one of that name, with another value.
    #[must_use]
    pub fn with(&self, name: &str, value: Value<'a>) -> Self {
        let value_of = |(member, old): &(Cow<'a, str>, Value<'a>)| match member == name {
            true => (member.clone(), value.clone()),
            false => (member.clone(), old.clone()),
        };
        self.iter().map(value_of).collect()
    }
}

impl<'a> Deref for Members<'a> {
    type Target = [(Cow<'a, str>, Value<'a>)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl PartialEq for Members<'_> {
    /// Shared members are equal at once, also where a `NaN` is among them.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl<'a> From<Vec<(Cow<'a, str>, Value<'a>)>> for Members<'a> {
    fn from(members: Vec<(Cow<'a, str>, Value<'a>)>) -> Self {
        Self(members.into())
    }
}

impl<'a, const N: usize> From<[(Cow<'a, str>, Value<'a>); N]> for Members<'a> {
    fn from(members: [(Cow<'a, str>, Value<'a>); N]) -> Self {
        Self(members.into())
    }
}

impl<'m, 'a> IntoIterator for &'m Members<'a> {
    type Item = &'m (Cow<'a, str>, Value<'a>);
    type IntoIter = slice::Iter<'m, (Cow<'a, str>, Value<'a>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'a> FromIterator<(Cow<'a, str>, Value<'a>)> for Members<'a> {
    fn from_iter<T: IntoIterator<Item = (Cow<'a, str>, Value<'a>)>>(members: T) -> Self {
        Self(members.into_iter().collect())
    }
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

    /// A struct of these members.
    pub fn structure(members: impl Into<Members<'a>>) -> Self {
        Self::Struct(members.into())
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
