//! XML-RPC as bytes and values. Pure: knows nothing of HTTP, apps or Apple.
//!
//! - [`charset`]: from the bytes of a body to text.
//! - [`decode`]: from text to a call or a response; what it accepts and refuses is below.
//! - [`encode`]: from values to a response, a fault or a call.
//! - [`value`]: the values in between, borrowing from the text where they can.
//! - [`error`]: why a document is refused, and where.
//! - `tokens` and `scalar`, inside: XML as start tags, end tags and text; the text of numbers, dates and base64.
//!
//! # Accepted
//!
//! What pyapns and the XML-RPC libraries in use send, which is more than the specification says:
//!
//! - Charsets UTF-8, US-ASCII, ISO-8859-1, windows-1252 and UTF-16, told by byte order mark, HTTP header or XML
//!   declaration, in this order; a declaration of UTF-16 in a document that is plainly not is read as UTF-8.
//! - Types `int` `i4` (32 bits), `i8` `ex:i8`, `i1` `ex:i1`, `i2` `ex:i2`, `boolean`, `double` `float` `ex:float`,
//!   `string`, `dateTime.iso8601`, `base64`, `nil` `ex:nil`, `array`, `struct`; a value without a type is a string with
//!   all its white space, `<value/>` the empty one.
//! - White space, comments and processing instructions between elements; white space around the method name and the
//!   text of all types but strings, and anywhere in base64, whose padding may be missing.
//! - CDATA, character references, the five predefined entities, `]]>` in text.
//! - White space before the XML declaration. What stands in comments, processing instructions, attributes and the rest
//!   of the declaration means nothing.
//! - Numbers with `+` and leading zeros; doubles with an exponent, and `nan`, `inf`, `infinity` in any case.
//! - Dates with or without dashes and colons, with a fraction, `Z` or an offset, which is applied. Second 60 becomes
//!   second 59; 24:00:00 becomes the next midnight.
//! - `params` and `data` may be missing.
//! - A member that comes twice has its last value, at the place of the first.
//!
//! Line ends in text become a line feed, as XML says, unless written as a reference.
//!
//! # Refused
//!
//! With an [`error::DecodeError`] that says where: any DOCTYPE, entities beyond the five, characters that XML does not
//! allow (raw or by reference), bytes that are not valid in their charset, unknown types, elements missing, superfluous
//! or out of order, text beside an element, two types in a value, anything after the root element, numbers out of
//! range, arrays and structs nested beyond [`decode::Limits::depth`], method names with other characters than
//! `A-Z a-z 0-9 _ . : /`.
//!
//! # Cost
//!
//! Time and memory are linear in the length of the document, whatever it holds. The most expensive text is
//! `<value/>` in an array, whose 8 bytes become a [`value::Value`] of 32.

pub mod charset;
pub mod decode;
pub mod encode;
pub mod error;
mod scalar;
mod tokens;
pub mod value;
