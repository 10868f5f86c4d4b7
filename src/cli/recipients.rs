//! Device tokens on the command line: one by one, or in a file.

use std::fs;
use std::io;

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

impl Recipients {
    /// The tokens, those of the file last.
    pub(super) fn tokens(&self) -> Result<Vec<String>, Failure> {
        let mut tokens = self.token.clone();
        if let Some(file) = &self.tokens {
            let (name, text) = match file.as_str() {
                "-" => ("standard input", io::read_to_string(io::stdin().lock())),
                path => (path, fs::read_to_string(path)),
            };
            let text =
                text.map_err(|error| Failure::new(Exit::Failed, format!("cannot read tokens from `{file}`: {error}")))?;
            tokens.extend(lines_of_tokens(name, &text)?);
        }
        match tokens.is_empty() {
            true => Err(Failure::new(Exit::Failed, "there is no token in the file: write one a line")),
            false => Ok(tokens),
        }
    }
}

/// The tokens of a file. They are read here as the daemon will, because only here is it known which line is wrong.
fn lines_of_tokens(file: &str, text: &str) -> Result<Vec<String>, Failure> {
    let mut tokens = Vec::new();
    for (at, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let read = Tokens::default().push_text(line);
        read.map_err(|error| Failure::new(Exit::Failed, format!("{file}:{}: {error}", at + 1)))?;
        tokens.push(line.to_owned());
    }
    Ok(tokens)
}
