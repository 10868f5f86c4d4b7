//! `check-config`, and how every verb that has a configuration loads it.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output;
use crate::clock::Clock;
use crate::config::{Config, Place, Problem, Refused, Warning};

/// Report all problems of a configuration, and do nothing else
///
/// The file and the variables APNSD__SECTION__KEY are read exactly as `serve` reads them.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  apnsd check-config --config /etc/apnsd/apnsd.toml")]
pub(super) struct CheckConfig {
    #[command(flatten)]
    file: ConfigFile,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file; without it every key has its default
    #[arg(long, env = variable(), value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The variable that names the file; empty, it is as if it were not set.
fn variable() -> Option<&'static str> {
    let name = "APNSD_CONFIG";
    Some(name).filter(|name| std::env::var_os(name).is_none_or(|file| !file.is_empty()))
}

impl ConfigFile {
    /// Loads it, with the variables of this process.
    pub(super) fn load(&self) -> Result<(Config, Vec<Warning>), Refused> {
        Config::load(self.config.as_deref(), variables(), Clock::system().timestamp())
    }
}

/// What can be read of a file, with the variables of this process.
pub(super) fn glimpse(file: &Path) -> std::io::Result<Config> {
    Config::glimpse(file, variables(), Clock::system().timestamp())
}

/// A variable that is not UTF-8 is none of ours, or its value is refused for what became of it.
fn variables() -> impl Iterator<Item = (String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// All findings as the failure of a verb that cannot go on.
pub(super) fn refuse(refused: &Refused) -> Failure {
    Failure::new(Exit::Config, format!("the configuration has problems\n{refused}"))
}

/// Prints all findings; the exit code says whether the daemon would start.
pub(super) fn run(args: &CheckConfig) -> Result<(), Failure> {
    let (problems, warnings) = match args.file.load() {
        Ok((_, warnings)) => (Vec::new(), warnings),
        Err(Refused { problems, warnings }) => (problems, warnings),
    };
    let warnings: Vec<Problem> = warnings.into_iter().map(|Warning(finding)| finding).collect();
    output::print(&if args.json { as_json(&problems, &warnings) } else { as_text(&problems, &warnings) })?;
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Exit::Config, "")),
    }
}

fn as_text(problems: &[Problem], warnings: &[Problem]) -> String {
    let warnings_only = warnings.iter().map(|warning| format!("warning: {warning}\n"));
    let mut text: String = problems.iter().map(|problem| format!("{problem}\n")).chain(warnings_only).collect();
    text += &match (problems.len(), warnings.len()) {
        (0, 0) => "no problems\n".to_owned(),
        (0, 1) => "1 warning; the daemon would start\n".to_owned(),
        (0, warnings) => format!("{warnings} warnings; the daemon would start\n"),
        (_, _) => String::new(),
    };
    text
}

fn as_json(problems: &[Problem], warnings: &[Problem]) -> String {
    let finding = |Problem { place, key, text }: &Problem| match place {
        Place::Line(file, line) => json!({"file": file.to_string_lossy(), "line": line, "key": key, "text": text}),
        Place::File(file) => json!({"file": file.to_string_lossy(), "key": key, "text": text}),
        Place::Variable(name) => json!({"variable": name, "key": key, "text": text}),
        Place::Flag(flag) => json!({"flag": flag, "text": text}),
    };
    let list = |findings: &[Problem]| findings.iter().map(finding).collect::<serde_json::Value>();
    format!("{:#}\n", json!({"problems": list(problems), "warnings": list(warnings)}))
}
