//! XML as the decoder sees it: start tags, end tags and text. Everything that only XML knows ends here: declarations,
//! comments, CDATA, references, line ends, attributes (read over), illegal characters and DOCTYPE (refused).
//!
//! [`Tokens`] is the whole face of the XML parser below (quick-xml's slice reader).

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, BytesText, Event};

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

/// Reads a document token by token. Plain markup, which is nearly all there is, is read here; everything else is read by
/// quick-xml, one event at a time.
pub(super) struct Tokens<'a> {
    text: &'a str,
    /// Where the last token began.
    start: usize,
    /// Where the next one begins.
    at: usize,
    /// Names of the elements that are open.
    open: Vec<&'a str>,
    /// Whether the last token began an element that has no content.
    empty: bool,
    has_carriage_returns: bool,
    /// Whether plain markup is read here. Only tests and fuzzing do without.
    by_hand: bool,
}

impl<'a> Tokens<'a> {
    /// Begins a document, once it is sure that all its characters are allowed.
    pub(super) fn new(text: &'a str, by_hand: bool) -> Result<Self, Problem> {
        if let Some((offset, character)) = illegal_character(text) {
            return Err(Problem::new(ErrorKind::IllegalCharacter(character.into()), offset));
        }
        let has_carriage_returns = memchr::memchr(b'\r', text.as_bytes()).is_some();
        let at = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
        Ok(Self { text, start: at, at, open: Vec::new(), empty: false, has_carriage_returns, by_hand })
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
            self.start = self.at;
            let token = match self.text.as_bytes().get(self.at) {
                None => return Ok(Token::Eof),
                Some(b'<') => match self.plain_tag() {
                    Some(token) => return Ok(token),
                    None => self.other()?,
                },
                Some(b'&') => self.other()?,
                Some(_) => self.characters()?,
            };
            if let Some(token) = token {
                return Ok(token);
            }
        }
    }

    /// Passes over elements that stand next and are, byte for byte, equal to the one that began at `from` and has just
    /// ended; how many they are. White space may stand between.
    pub(super) fn skip_repeats(&mut self, from: usize) -> usize {
        let (text, mut count) = (self.text.as_bytes(), 0);
        let Some(element) = text.get(from..self.at).filter(|element| !element.is_empty() && self.by_hand) else {
            return 0;
        };
        loop {
            let rest = text.get(self.at..).unwrap_or_default();
            let next = rest.trim_ascii_start();
            if !next.starts_with(element) {
                return count;
            }
            self.at += rest.len() - next.len() + element.len();
            count += 1;
        }
    }

    /// A start tag without attributes of an element that XML-RPC has, or the end tag of the open element, both without
    /// white space.
    fn plain_tag(&mut self) -> Option<Token<'a>> {
        let rest = self.text.get(self.at + 1..).filter(|_| self.by_hand)?;
        if let Some(rest) = rest.strip_prefix('/') {
            let name = self.open.last()?;
            rest.strip_prefix(name)?.strip_prefix('>')?;
            self.at += name.len() + "</>".len();
            return Some(self.end_tag());
        }
        let length = rest.bytes().take(NAME_MAX + 1).position(|byte| byte == b'>')?;
        let name = &rest[..length];
        let tag = Some(Tag::named(name)).filter(|tag| *tag != Tag::Unknown)?;
        self.open.push(name);
        self.at += length + "<>".len();
        Some(Token::Start(tag))
    }

    /// Text up to the next tag or reference; outside of the root element it can be white space only.
    fn characters(&mut self) -> Result<Option<Token<'a>>, Problem> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = memchr::memchr2(b'<', b'&', rest.as_bytes()).unwrap_or(rest.len());
        let text = &rest[..length];
        self.at += length;
        match self.open.is_empty() {
            true if text.trim_ascii().is_empty() => Ok(None),
            true => Err(self.text_outside()),
            false if self.has_carriage_returns => Ok(Some(Token::Text(normalised(text)))),
            false => Ok(Some(Token::Text(Cow::Borrowed(text)))),
        }
    }

    /// What the next event of quick-xml means; `None` when it means nothing to XML-RPC.
    fn other(&mut self) -> Result<Option<Token<'a>>, Problem> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if matches!(rest.as_bytes(), [b'<', b'!', b'D' | b'd', ..]) {
            return Err(self.problem(ErrorKind::Doctype));
        }
        let mut reader = Reader::from_str(rest);
        let config = reader.config_mut();
        config.check_comments = true;
        // Each event is the first of its reader, which knows nothing of the tags before it.
        (config.check_end_names, config.allow_unmatched_ends) = (false, true);
        let event = reader.read_event().map_err(|error| self.syntax_problem(error))?;
        let length = usize::try_from(reader.buffer_position()).unwrap_or(rest.len());
        self.at += length;
        match event {
            Event::Start(tag) => self.start_tag(&tag).map(Some),
            Event::Empty(tag) => {
                self.empty = true;
                self.start_tag(&tag).map(Some)
            }
            Event::End(tag) => match self.open.last() {
                Some(open) if *open == tag.name().as_ref() => Ok(Some(self.end_tag())),
                Some(open) => {
                    let (open, close) = (excerpt(open), excerpt(tag.name().as_ref()));
                    Err(self.problem(ErrorKind::MismatchedTag { open, close }))
                }
                None => Err(self.not_well_formed("end tag without a start tag")),
            },
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) if self.open.is_empty() => Err(self.text_outside()),
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
        let name = self.start + "<".len();
        self.open.push(self.text.get(name..name + tag.name().as_ref().len()).unwrap_or_default());
        Ok(Token::Start(named))
    }

    fn end_tag(&mut self) -> Token<'a> {
        self.open.pop();
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

    fn text_outside(&self) -> Problem {
        self.not_well_formed("text outside of the root element")
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
            Error::IllFormed(IllFormedError::UnclosedReference) => {
                ErrorKind::NotWellFormed("`&` that begins no reference: write &amp;")
            }
            Error::IllFormed(IllFormedError::DoubleHyphenInComment) => ErrorKind::NotWellFormed("`--` in a comment"),
            _ => ErrorKind::NotWellFormed("invalid token"),
        };
        self.problem(kind)
    }
}

/// Text with its line ends as XML has them (XML 1.0, 2.11).
fn normalised(text: &str) -> Cow<'_, str> {
    BytesText::from_escaped(text).xml10_content()
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

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The longest name that XML-RPC has: `dateTime.iso8601`.
const NAME_MAX: usize = 16;

const fn is_xml_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}
