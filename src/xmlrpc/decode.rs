//! Calls and responses from text. What is accepted and refused stands in [the module's docs](super).

use std::borrow::Cow;
use std::collections::HashMap;
use std::iter;

use super::error::{DecodeError, ErrorKind, Problem, excerpt};
use super::scalar;
use super::tokens::{Tag, Token, Tokens};
use super::value::{Fault, MethodCall, Value};

/// How far a document may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many arrays and structs may be nested within each other; taken as [`Limits::DEPTH_MAX`] beyond it.
    pub depth: usize,
}

impl Limits {
    /// The deepest nesting that can be allowed: every level takes some of the thread's stack.
    pub const DEPTH_MAX: usize = 256;
}

impl Default for Limits {
    /// 64 levels, the limit of xmlrpc-c.
    fn default() -> Self {
        Self { depth: 64 }
    }
}

/// Decodes a `methodCall`. Strings borrow from the text where it holds them as they are meant.
///
/// # Errors
/// Why and where the text is no call, or one beyond the limits.
pub fn decode_call<'a>(text: &'a str, limits: &Limits) -> Result<MethodCall<'a>, DecodeError> {
    decode(text, limits, true, Decoder::call)
}

/// As [`decode_call`], with all markup read by quick-xml: what decides, in fuzzing, whether a call was read rightly.
///
/// # Errors
/// The same.
#[doc(hidden)]
pub fn decode_call_by_quick_xml<'a>(text: &'a str, limits: &Limits) -> Result<MethodCall<'a>, DecodeError> {
    decode(text, limits, false, Decoder::call)
}

/// Decodes a `methodResponse`: the one value it holds, or the fault.
///
/// # Errors
/// Why and where the text is no response, or one beyond the limits.
pub fn decode_response<'a>(text: &'a str, limits: &Limits) -> Result<Result<Value<'a>, Fault>, DecodeError> {
    decode(text, limits, true, Decoder::response)
}

fn decode<'a, T>(
    text: &'a str,
    limits: &Limits,
    by_hand: bool,
    root: impl FnOnce(&mut Decoder<'a>) -> Result<T, Problem>,
) -> Result<T, DecodeError> {
    let document = || {
        let depth = limits.depth.min(Limits::DEPTH_MAX);
        let mut decoder = Decoder { tokens: Tokens::new(text, by_hand)?, depth, nested: 0 };
        let decoded = root(&mut decoder)?;
        decoder.end_of_document()?;
        Ok(decoded)
    };
    document().map_err(|problem: Problem| problem.locate(text))
}

/// One method an element: each is called after the start tag and returns after the end tag.
struct Decoder<'a> {
    tokens: Tokens<'a>,
    depth: usize,
    /// Arrays and structs that are open.
    nested: usize,
}

impl<'a> Decoder<'a> {
    fn call(&mut self) -> Result<MethodCall<'a>, Problem> {
        self.only(Tag::MethodCall, "<methodCall>")?;
        self.only(Tag::MethodName, "<methodName>")?;
        let name = self.method_name()?;
        let mut params = Vec::new();
        if self.perhaps(Tag::Params, "<params>")? {
            while self.perhaps(Tag::Param, "<param>")? {
                params.push(self.param()?);
            }
            self.end("</methodCall>")?;
        }
        Ok(MethodCall { name, params })
    }

    fn response(&mut self) -> Result<Result<Value<'a>, Fault>, Problem> {
        self.only(Tag::MethodResponse, "<methodResponse>")?;
        let response = match self.child()? {
            Some(Tag::Params) => {
                self.only(Tag::Param, "<param>")?;
                let value = self.param()?;
                self.end("</params>")?;
                Ok(value)
            }
            Some(Tag::Fault) => Err(self.fault()?),
            _ => return Err(self.unexpected("<params> or <fault>")),
        };
        self.end("</methodResponse>")?;
        Ok(response)
    }

    fn method_name(&mut self) -> Result<Cow<'a, str>, Problem> {
        let (start, text) = self.text_only()?;
        let name = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_ascii()),
            Cow::Owned(text) => Cow::Owned(text.trim_ascii().to_owned()),
        };
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_legal) {
            return Err(Problem::new(ErrorKind::MethodName(excerpt(&name)), start));
        }
        Ok(name)
    }

    fn param(&mut self) -> Result<Value<'a>, Problem> {
        self.only(Tag::Value, "<value>")?;
        let value = self.value()?;
        self.end("</param>")?;
        Ok(value)
    }

    fn fault(&mut self) -> Result<Fault, Problem> {
        self.only(Tag::Value, "<value>")?;
        let start = self.tokens.start();
        let value = self.value()?;
        self.end("</fault>")?;
        let no_fault = Problem::new(ErrorKind::Fault, start);
        let Value::Struct(members) = value else { return Err(no_fault) };
        let (mut code, mut text) = (None, None);
        for (name, value) in members.iter() {
            match (name.as_ref(), value) {
                ("faultCode", Value::Int(number)) => code = i32::try_from(*number).ok(),
                ("faultString", Value::String(string)) => text = Some(string.clone().into_owned()),
                _ => {}
            }
        }
        let (Some(code), Some(text)) = (code, text) else { return Err(no_fault) };
        Ok(Fault { code, text })
    }

    fn value(&mut self) -> Result<Value<'a>, Problem> {
        let (start, text, tag) = self.text()?;
        let Some(tag) = tag else { return Ok(Value::String(text)) };
        self.only_space(start, &text)?;
        let value = self.typed(tag)?;
        match self.child()? {
            None => Ok(value),
            Some(_) => Err(self.problem(ErrorKind::SecondType(self.tokens.excerpt()))),
        }
    }

    fn typed(&mut self, tag: Tag) -> Result<Value<'a>, Problem> {
        match tag {
            Tag::String => self.text_only().map(|(_, text)| Value::String(text)),
            Tag::Int(bits) => self.scalar(|text| scalar::integer(text, bits)).map(Value::Int),
            Tag::Boolean => self.scalar(scalar::boolean).map(Value::Boolean),
            Tag::Double => self.scalar(scalar::double).map(Value::Double),
            Tag::DateTime => self.scalar(scalar::date_time).map(Value::DateTime),
            Tag::Base64 => self.scalar(scalar::base64).map(Value::Base64),
            Tag::Nil => self.end("</nil>").map(|()| Value::Nil),
            Tag::Array => self.within(Self::array).map(Value::Array),
            Tag::Struct => self.within(Self::members).map(Value::structure),
            Tag::MethodCall
            | Tag::MethodName
            | Tag::MethodResponse
            | Tag::Params
            | Tag::Param
            | Tag::Fault
            | Tag::Value
            | Tag::Data
            | Tag::Member
            | Tag::Name
            | Tag::Unknown => Err(self.problem(ErrorKind::UnknownType(self.tokens.excerpt()))),
        }
    }

    fn scalar<T>(&mut self, read: impl FnOnce(&str) -> Result<T, ErrorKind>) -> Result<T, Problem> {
        let (start, text) = self.text_only()?;
        read(&text).map_err(|kind| Problem::new(kind, start))
    }

    /// Reads one level deeper, unless that is too deep.
    fn within<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Problem>) -> Result<T, Problem> {
        if self.nested == self.depth {
            return Err(self.problem(ErrorKind::TooDeep(self.depth)));
        }
        self.nested += 1;
        let content = read(self)?;
        self.nested -= 1;
        Ok(content)
    }

    fn array(&mut self) -> Result<Vec<Value<'a>>, Problem> {
        let mut values = Vec::new();
        if self.perhaps(Tag::Data, "<data>")? {
            while self.perhaps(Tag::Value, "<value>")? {
                let from = self.tokens.start();
                values.push(self.value()?);
                let repeats = self.tokens.skip_repeats(from);
                values.extend(values.last().map(|last| iter::repeat_n(last.clone(), repeats)).into_iter().flatten());
            }
            self.end("</array>")?;
        }
        Ok(values)
    }

    fn members(&mut self) -> Result<Vec<(Cow<'a, str>, Value<'a>)>, Problem> {
        let mut members = Members::default();
        while self.perhaps(Tag::Member, "<member>")? {
            self.only(Tag::Name, "<name>")?;
            let (_, name) = self.text_only()?;
            self.only(Tag::Value, "<value>")?;
            members.put(name, self.value()?);
            self.end("</member>")?;
        }
        Ok(members.list)
    }

    /// The next child, which has to be this.
    fn only(&mut self, tag: Tag, expected: &'static str) -> Result<(), Problem> {
        if self.child()? == Some(tag) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    /// The next child, which has to be this if there is one.
    fn perhaps(&mut self, tag: Tag, expected: &'static str) -> Result<bool, Problem> {
        match self.child()? {
            None => Ok(false),
            Some(child) if child == tag => Ok(true),
            Some(_) => Err(self.unexpected(expected)),
        }
    }

    /// The end of the element, without another child.
    fn end(&mut self, expected: &'static str) -> Result<(), Problem> {
        if self.child()?.is_none() { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    /// The next child, `None` at the end of the element. Only white space may stand before it.
    fn child(&mut self) -> Result<Option<Tag>, Problem> {
        let (start, text, tag) = self.text()?;
        self.only_space(start, &text)?;
        Ok(tag)
    }

    /// The text of an element without children, and where it begins.
    fn text_only(&mut self) -> Result<(usize, Cow<'a, str>), Problem> {
        match self.text()? {
            (start, text, None) => Ok((start, text)),
            (_, _, Some(_)) => Err(self.unexpected("text")),
        }
    }

    /// The text up to the next tag, where it begins, and the tag; `None` for the end of the element.
    fn text(&mut self) -> Result<(usize, Cow<'a, str>, Option<Tag>), Problem> {
        let mut text = Cow::Borrowed("");
        let mut start = None;
        loop {
            let token = self.tokens.next()?;
            let start = *start.get_or_insert_with(|| self.tokens.start());
            match token {
                Token::Text(more) if text.is_empty() => text = more,
                Token::Text(more) => text.to_mut().push_str(&more),
                Token::Character(character) => text.to_mut().push(character),
                Token::Start(tag) => return Ok((start, text, Some(tag))),
                Token::End => return Ok((start, text, None)),
                Token::Eof => return Err(self.problem(ErrorKind::NoElement)),
            }
        }
    }

    fn only_space(&self, start: usize, text: &str) -> Result<(), Problem> {
        if text.trim_ascii().is_empty() { Ok(()) } else { Err(Problem::new(ErrorKind::StrayText, start)) }
    }

    fn end_of_document(&mut self) -> Result<(), Problem> {
        match self.tokens.next()? {
            Token::Eof => Ok(()),
            Token::Text(_) | Token::Character(_) | Token::Start(_) | Token::End => {
                Err(self.problem(ErrorKind::Trailing))
            }
        }
    }

    fn unexpected(&self, expected: &'static str) -> Problem {
        self.problem(ErrorKind::Unexpected { expected, found: self.tokens.excerpt() })
    }

    fn problem(&self, kind: ErrorKind) -> Problem {
        Problem::new(kind, self.tokens.start())
    }
}

/// The members of a struct: each name once, with its last value, at its first place.
#[derive(Default)]
struct Members<'a> {
    list: Vec<(Cow<'a, str>, Value<'a>)>,
    /// Where each name stands, once there are too many to look through.
    index: HashMap<Cow<'a, str>, usize>,
}

impl<'a> Members<'a> {
    fn put(&mut self, name: Cow<'a, str>, value: Value<'a>) {
        let next = self.list.len();
        let position = if next < MEMBERS_LOOKED_THROUGH {
            self.list.iter().position(|(other, _)| *other == name).unwrap_or(next)
        } else {
            if self.index.is_empty() {
                self.index = self.list.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
            }
            *self.index.entry(name.clone()).or_insert(next)
        };
        match self.list.get_mut(position) {
            Some(member) => member.1 = value,
            None => self.list.push((name, value)),
        }
    }
}

const MEMBERS_LOOKED_THROUGH: usize = 16;

#[cfg(test)]
mod tests;
