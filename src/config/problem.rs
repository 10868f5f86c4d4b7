//! What is said about a configuration: problems and warnings, each with its place.

use std::fmt::{self, Write as _};
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of the config file, from 1.
    Line(PathBuf, usize),
    /// The config file as a whole.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

/// What is wrong with the configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// The key with its sections, `delivery.settle_after`; empty where there is none.
    pub key: String,
    /// What is wrong and what to do.
    pub text: String,
}

/// What is accepted but will not do what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub Problem);

/// A configuration that the daemon does not start with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why; at least one.
    pub problems: Vec<Problem>,
    /// What else there is to say.
    pub warnings: Vec<Warning>,
}

impl Problem {
    /// The file from top to bottom, then the variables.
    pub(super) fn order(&self) -> (u8, usize) {
        match &self.place {
            Place::File(_) => (0, 0),
            Place::Line(_, line) => (1, *line),
            Place::Variable(_) => (2, 0),
            Place::Flag(_) => (3, 0),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(formatter, "{}:{line}", file.display()),
            Self::File(file) => write!(formatter, "{}", file.display()),
            Self::Variable(name) => formatter.write_str(name),
            Self::Flag(flag) => formatter.write_str(flag),
        }
    }
}

impl fmt::Display for Problem {
    /// `apnsd.toml:12: delivery.settle_after: 5 has no unit: …`. What cannot be seen is escaped: it comes from a file.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        for character in format!("{}: {key}{}", self.place, self.text).chars() {
            match character.is_control() {
                true => write!(formatter, "{}", character.escape_default())?,
                false => formatter.write_char(character)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for Refused {
    /// A line for each problem, then one for each warning.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems = self.problems.iter().map(ToString::to_string);
        let warnings = self.warnings.iter().map(|warning| format!("warning: {warning}"));
        formatter.write_str(&problems.chain(warnings).collect::<Vec<_>>().join("\n"))
    }
}
