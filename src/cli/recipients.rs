//! Device tokens on the command line: one by one, or in a file, of which no more is held than is asked for.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _};
use std::vec;

use clap::{ArgGroup, Args};

use super::exit::{Exit, Failure};
use crate::domain::token::Tokens;

/// Whom a notification is for.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("to").required(true).multiple(true))]
pub(super) struct Recipients {
    /// A device token; may be repeated
    #[arg(long = "token", group = "to", value_name = "TOKEN")]
    token: Vec<String>,
    /// A file with one device token a line; - reads standard input
    ///
    /// Blank lines and lines that begin with # are passed over.
    #[arg(long, group = "to", value_name = "FILE")]
    tokens: Option<String>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipient {
    /// As it was written.
    pub(super) token: String,
    /// Its line in the file, from 1 on; `None` where it stood on the command line.
    pub(super) line: Option<u64>,
}

impl Recipients {
    /// The tokens, those of the file last.
    pub(super) fn tokens(&self) -> Result<Vec<String>, Failure> {
        let tokens: Vec<String> = self.read()?.map(|read| Ok(read?.token)).collect::<Result<_, Failure>>()?;
        if tokens.is_empty() { Err(no_token()) } else { Ok(tokens) }
    }

    /// The same, read as they are taken. What is wrong with a line is told when its turn comes.
    pub(super) fn read(&self) -> Result<Reading, Failure> {
        let file = self.tokens.as_deref().map(TokenFile::open).transpose()?;
        Ok(Reading { given: self.token.clone().into_iter(), file })
    }

    /// How many there are, every line looked at; `None` where they can be read only once, as from a pipe.
    pub(super) fn check(&self) -> Result<Option<u64>, Failure> {
        let is_file = |path: &String| path != STDIN && fs::metadata(path).is_ok_and(|found| found.is_file());
        if !self.tokens.as_ref().is_none_or(is_file) {
            return Ok(None);
        }
        match self.read()?.try_fold(0, |count, read| read.map(|_| count + 1))? {
            0 => Err(no_token()),
            count => Ok(Some(count)),
        }
    }

    /// The file as messages name it; `None` without one.
    pub(super) fn file(&self) -> Option<&str> {
        self.tokens.as_deref()
    }
}

/// Nothing to send to.
pub(super) fn no_token() -> Failure {
    Failure::new(Exit::Failed, "there is no token in the file: write one a line")
}

/// Stands for standard input.
pub(super) const STDIN: &str = "-";

/// Recipients, one after the other.
pub(super) struct Reading {
    given: vec::IntoIter<String>,
    file: Option<TokenFile>,
}

impl Iterator for Reading {
    type Item = Result<Recipient, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.given.next() {
            Some(token) => Some(Ok(Recipient { token, line: None })),
            None => self.file.as_mut()?.next(),
        }
    }
}

/// The file, read line by line.
struct TokenFile {
    /// As it was given, for what the system says.
    given: String,
    reader: Box<dyn BufRead + Send>,
    line: u64,
}

/// Longest line in bytes: a token of 100 bytes in hex, with room for a remark after a #.
const LINE_MAX: u64 = 4096;

impl TokenFile {
    fn open(given: &str) -> Result<Self, Failure> {
        let reader: Box<dyn BufRead + Send> = match given {
            STDIN => Box::new(BufReader::new(io::stdin())),
            path => Box::new(BufReader::new(File::open(path).map_err(|error| unreadable(given, &error))?)),
        };
        Ok(Self { given: given.to_owned(), reader, line: 0 })
    }

    fn next(&mut self) -> Option<Result<Recipient, Failure>> {
        loop {
            let mut bytes = Vec::new();
            match (&mut self.reader).take(LINE_MAX).read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(unreadable(&self.given, &error))),
            }
            self.line += 1;
            // What editors of other systems put in front of UTF-8.
            let line = bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| self.line == 1).unwrap_or(&bytes);
            match token(line) {
                Ok(None) => {}
                Ok(Some(token)) => return Some(Ok(Recipient { token, line: Some(self.line) })),
                Err(text) => {
                    let name = if self.given == STDIN { "standard input" } else { &self.given };
                    return Some(Err(Failure::new(Exit::Failed, format!("{name}:{}: {text}", self.line))));
                }
            }
        }
    }
}

fn unreadable(file: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot read tokens from `{file}`: {error}"))
}

/// The token on a line, if there is one. It is read here as the daemon will, because only here is it known which line is
/// wrong.
fn token(line: &[u8]) -> Result<Option<String>, String> {
    if !line.ends_with(b"\n") && line.len() as u64 == LINE_MAX {
        return Err(format!("the line is longer than {LINE_MAX} bytes: write one token a line"));
    }
    let line = str::from_utf8(line).map_err(|_| "the line is not text in UTF-8".to_owned())?.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    Tokens::default().push_text(line).map_err(|error| error.to_string())?;
    Ok(Some(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipients(text: &[u8]) -> (tempfile::TempDir, Recipients) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens");
        fs::write(&path, text).unwrap();
        (dir, Recipients { token: vec!["aa".into()], tokens: Some(path.to_str().unwrap().to_owned()) })
    }

    #[test]
    fn tokens_are_read_with_their_lines_and_can_be_counted_before() {
        let token = "bb".repeat(32);
        let (_dir, recipients) = recipients(format!("# staff\n{token}\n\n  {token}\r\n{token}").as_bytes());
        assert_eq!(recipients.check(), Ok(Some(4)));
        let read: Vec<Recipient> = recipients.read().unwrap().map(Result::unwrap).collect();
        let lines: Vec<Option<u64>> = read.iter().map(|recipient| recipient.line).collect();
        assert_eq!(lines, [None, Some(2), Some(4), Some(5)]);
        assert!(read[1..].iter().all(|recipient| recipient.token == token));
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        let (_dir, recipients) = recipients(format!("\u{feff}{}\n", "bb".repeat(32)).as_bytes());
        assert_eq!(recipients.tokens().unwrap(), ["aa".to_owned(), "bb".repeat(32)]);
    }

    #[test]
    fn a_bad_line_is_named_before_anything_is_taken() {
        for (bad, said) in [
            (&b"abcd"[..], "a token has 32 to 100 bytes, this one has 2"),
            (b"\xff\xfe", "the line is not text in UTF-8"),
            (&[b'a'; 5000], "the line is longer than 4096 bytes: write one token a line"),
        ] {
            let (_dir, recipients) = recipients(&[b"# head\n", bad].concat());
            let message = recipients.check().unwrap_err().message;
            assert_eq!(message, format!("{}:2: {said}", recipients.file().unwrap()));
        }
    }
}
