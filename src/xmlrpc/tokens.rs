//! XML as the decoder sees it: start tags, end tags and text. Everything that only XML knows ends here: declarations,
//! comments, CDATA, references, line ends, attributes (read over), illegal characters and DOCTYPE (refused).
//!
//! [`Tokens`] is the whole face of the XML parser below (quick-xml's slice reader), so that another may take its place.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};

use super::error::{ErrorKind, Problem, excerpt};

/// One step through a document. An empty-element tag is a start and an end.
#[derive(Debug)]
pub(super) enum Token<'a> {
    /// A start tag.
    Start(Tag),
    /// The end tag of the element that is open.
    End,
    /// A piece of text, as it is meant: unescaped, with line ends normalised. Neighbours are one text.
    Text(Cow<'a, str>),
    /// A character of text that was written as a reference.
    Character(char),
    /// The end of the document, wherever it comes.
    Eof,
}

/// The elements of XML-RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    MethodCall,
    MethodName,
    MethodResponse,
    Params,
    Param,
    Fault,
    Value,
    /// An integer of so many bits.
    Int(u32),
    Boolean,
    Double,
    String,
    DateTime,
    Base64,
    Nil,
    Array,
    Data,
    Struct,
    Member,
    Name,
    Unknown,
}

impl Tag {
    fn named(name: &str) -> Self {
        match name {
            "value" => Self::Value,
            "string" => Self::String,
            "member" => Self::Member,
            "name" => Self::Name,
            "struct" => Self::Struct,
            "int" | "i4" => Self::Int(32),
            "array" => Self::Array,
            "data" => Self::Data,
            "param" => Self::Param,
            "i8" | "ex:i8" => Self::Int(64),
            "i2" | "ex:i2" => Self::Int(16),
            "i1" | "ex:i1" => Self::Int(8),
            "boolean" => Self::Boolean,
            "double" | "float" | "ex:float" => Self::Double,
            "dateTime.iso8601" => Self::DateTime,
            "base64" => Self::Base64,
            "nil" | "ex:nil" => Self::Nil,
            "params" => Self::Params,
            "methodCall" => Self::MethodCall,
            "methodName" => Self::MethodName,
            "methodResponse" => Self::MethodResponse,
            "fault" => Self::Fault,
            _ => Self::Unknown,
        }
    }
}

/// Reads a document token by token.
pub(super) struct Tokens<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    /// Where the last token began.
    start: usize,
    /// Elements that are open.
    open: usize,
    /// Whether the last token began an element that has no content.
    empty: bool,
    has_carriage_returns: bool,
}

impl<'a> Tokens<'a> {
    /// Begins a document, once it is sure that all its characters are allowed.
    pub(super) fn new(text: &'a str) -> Result<Self, Problem> {
        if let Some((offset, character)) = illegal_character(text) {
            return Err(Problem::new(ErrorKind::IllegalCharacter(character.into()), offset));
        }
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_comments = true;
        let has_carriage_returns = memchr::memchr(b'\r', text.as_bytes()).is_some();
        Ok(Self { text, reader, start: 0, open: 0, empty: false, has_carriage_returns })
    }

    /// Where the last token began.
    pub(super) const fn start(&self) -> usize {
        self.start
    }

    /// The last token as it stands in the text, as it is shown in a message; a tag, that is.
    pub(super) fn excerpt(&self) -> String {
        let rest = self.text.get(self.start..).unwrap_or_default();
        excerpt(rest.split_inclusive('>').next().unwrap_or_default())
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Token<'a>, Problem> {
        if std::mem::take(&mut self.empty) {
            return Ok(self.end_tag());
        }
        loop {
            self.start = usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX);
            if matches!(self.text.as_bytes().get(self.start..), Some([b'<', b'!', b'D' | b'd', ..])) {
                return Err(self.problem(ErrorKind::Doctype));
            }
            // What plain documents are made of is matched where it is read: moving events on takes a fifth of all the time.
            return match self.reader.read_event() {
                Ok(Event::Start(tag)) => self.start_tag(&tag),
                Ok(Event::End(_)) => Ok(self.end_tag()),
                Ok(Event::Text(text)) if self.open > 0 && !self.has_carriage_returns => {
                    Ok(Token::Text(text.into_inner()))
                }
                Ok(event) => match self.token(event)? {
                    Some(token) => Ok(token),
                    None => continue,
                },
                Err(error) => Err(self.syntax_problem(error)),
            };
        }
    }

    /// What an event means; `None` when it means nothing to XML-RPC.
    fn token(&mut self, event: Event<'a>) -> Result<Option<Token<'a>>, Problem> {
        match event {
            Event::Start(tag) => self.start_tag(&tag).map(Some),
            Event::Empty(tag) => {
                self.empty = true;
                self.start_tag(&tag).map(Some)
            }
            Event::End(_) => Ok(Some(self.end_tag())),
            Event::Text(text) if self.open == 0 && text.trim_ascii().is_empty() => Ok(None),
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) if self.open == 0 => {
                Err(self.not_well_formed("text outside of the root element"))
            }
            Event::Text(text) => Ok(Some(Token::Text(text.xml10_content()))),
            Event::CData(text) => Ok(Some(Token::Text(text.xml10_content()))),
            Event::GeneralRef(name) => self.reference(&name).map(|character| Some(Token::Character(character))),
            Event::PI(instruction) if instruction.target().is_empty() => {
                Err(self.not_well_formed("processing instruction without a name"))
            }
            Event::Decl(_) if !self.is_first() => Err(self.not_well_formed("XML declaration not at the start")),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => Ok(None),
            Event::DocType(_) => Err(self.problem(ErrorKind::Doctype)),
            Event::Eof => Ok(Some(Token::Eof)),
        }
    }

    /// Whether nothing but white space stands before the last token.
    fn is_first(&self) -> bool {
        self.text.get(..self.start).is_some_and(|before| before.trim_ascii().is_empty())
    }

    /// Attributes mean nothing to XML-RPC; they only have to be some.
    fn start_tag(&mut self, tag: &BytesStart<'_>) -> Result<Token<'a>, Problem> {
        let named = Tag::named(tag.name().as_ref());
        if (named == Tag::Unknown || !tag.attributes_raw().is_empty()) && !is_well_formed(tag) {
            return Err(self.not_well_formed("invalid tag; write &lt; for a `<` in text"));
        }
        self.open += 1;
        Ok(Token::Start(named))
    }

    const fn end_tag(&mut self) -> Token<'a> {
        self.open = self.open.saturating_sub(1);
        Token::End
    }

    /// The character that `&name;` stands for.
    fn reference(&self, name: &str) -> Result<char, Problem> {
        let Some(number) = name.strip_prefix('#') else {
            let character = resolve_xml_entity(name).and_then(|text| text.chars().next());
            return character.ok_or_else(|| self.problem(ErrorKind::UndefinedEntity(excerpt(name))));
        };
        let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |digits| (digits, 16));
        if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
            return Err(self.not_well_formed("character reference without a number"));
        }
        let code = u32::from_str_radix(digits, radix).unwrap_or(u32::MAX);
        let character = char::from_u32(code).filter(|&character| is_xml_character(character));
        character.ok_or_else(|| self.problem(ErrorKind::IllegalCharacter(code)))
    }

    fn not_well_formed(&self, what: &'static str) -> Problem {
        self.problem(ErrorKind::NotWellFormed(what))
    }

    fn problem(&self, kind: ErrorKind) -> Problem {
        Problem::new(kind, self.start)
    }

    fn syntax_problem(&self, error: Error) -> Problem {
        let kind = match error {
            Error::Syntax(SyntaxError::InvalidBangMarkup) => ErrorKind::NotWellFormed("unknown markup after `<!`"),
            Error::Syntax(SyntaxError::UnclosedDoctype) => ErrorKind::Doctype,
            Error::Syntax(_) => ErrorKind::UnclosedToken,
            Error::IllFormed(IllFormedError::MismatchedEndTag { expected, found }) => {
                ErrorKind::MismatchedTag { open: excerpt(&expected), close: excerpt(&found) }
            }
            Error::IllFormed(IllFormedError::UnmatchedEndTag(_)) => {
                ErrorKind::NotWellFormed("end tag without a start tag")
            }
            Error::IllFormed(IllFormedError::UnclosedReference) => {
                ErrorKind::NotWellFormed("`&` that begins no reference: write &amp;")
            }
            Error::IllFormed(IllFormedError::DoubleHyphenInComment) => ErrorKind::NotWellFormed("`--` in a comment"),
            _ => ErrorKind::NotWellFormed("invalid token"),
        };
        self.problem(kind)
    }
}

fn is_well_formed(tag: &BytesStart<'_>) -> bool {
    let is_attribute = |attribute: Result<_, _>| attribute.is_ok();
    !tag.name().as_ref().is_empty() && !tag.contains('<') && tag.attributes().with_checks(false).all(is_attribute)
}

/// The first character that XML 1.0 does not allow (2.2, production Char), and its offset.
fn illegal_character(text: &str) -> Option<(usize, char)> {
    let bytes = text.as_bytes();
    let is_control = |byte: u8| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    // A block is looked at as a whole, which the compiler turns into a few vector instructions.
    let block = bytes.chunks(BLOCK).position(|block| block.iter().fold(false, |found, &byte| found | is_control(byte)));
    let control = block.and_then(|block| {
        let within = bytes[block * BLOCK..].iter().position(|&byte| is_control(byte))?;
        Some(block * BLOCK + within)
    });
    let noncharacters = ["\u{fffe}", "\u{ffff}"].map(|it| memchr::memmem::find(bytes, it.as_bytes()));
    let offset = noncharacters.into_iter().chain([control]).flatten().min()?;
    Some((offset, text[offset..].chars().next()?))
}

const BLOCK: usize = 256;

const fn is_xml_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}
