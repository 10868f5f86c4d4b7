//! Logs: how they look and how much of them there is. One line per event, on standard error. And the instruments of
//! [`metrics`].
//!
//! Modules write with the macros of `tracing`; this one only sets up where that goes.

pub mod metrics;

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::str::FromStr;
use std::sync::OnceLock;

use thiserror::Error;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt as lines, reload};

/// How logs are written (`[log]` in the config file).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How a line looks.
    pub format: Format,
    /// Which events are written.
    pub level: Level,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text, with colour where standard error is a terminal and `NO_COLOR` is not set.
    #[default]
    Auto,
    /// Text without colour.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which events are written: one level for all, and others for single targets: `info,apnsd::gateway=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level(String);

/// Why logs cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TelemetryError {
    /// A format that is none.
    #[error("`{0}` is not one of `auto`, `text` and `json`")]
    Format(String),
    /// A level that is none.
    #[error(
        "`{0}` is not a level: `off`, `error`, `warn`, `info`, `debug` or `trace`, or one per target as in \
         `info,apnsd::gateway=debug`"
    )]
    Level(String),
    /// Logs were set up before.
    #[error("logs are already set up in this process")]
    Repeated,
    /// Logs that go on as they are.
    #[error("it cannot be changed: {0}")]
    Reload(String),
}

impl FromStr for Format {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(TelemetryError::Format(text.to_owned())),
        }
    }
}

impl Default for Level {
    /// `info`: connections and rejections, never a payload.
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Level {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        // The filter itself would take a misspelt level for a target's name, and silently write nothing.
        let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
        let known = text.split(',').map(str::trim).all(|item| match item.rsplit_once('=') {
            Some((_, level)) => is_level(level),
            None => is_level(item),
        });
        match known && EnvFilter::try_new(text).is_ok() {
            true => Ok(Self(text.to_owned())),
            false => Err(TelemetryError::Level(text.to_owned())),
        }
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The filter of this process, once logs were set up.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Sets up logs for the whole process, once.
pub fn init(settings: &Settings) -> Result<(), TelemetryError> {
    let (filter, handle) = reload::Layer::new(settings.level.filter()?);
    let logs = tracing_subscriber::registry().with(filter);
    let lines = lines::layer().with_writer(io::stderr);
    let result = match settings.format {
        Format::Auto => logs.with(lines.with_ansi(is_colourful())).try_init(),
        Format::Text => logs.with(lines.with_ansi(false)).try_init(),
        Format::Json => logs.with(lines.json().flatten_event(true)).try_init(),
    };
    result.map_err(|_| TelemetryError::Repeated)?;
    FILTER.set(handle).map_err(|_| TelemetryError::Repeated)
}

/// Changes which events are written from now on; does nothing in a process that did not set up logs here.
pub fn set_level(level: &Level) -> Result<(), TelemetryError> {
    let filter = level.filter()?;
    match FILTER.get() {
        Some(handle) => handle.reload(filter).map_err(|error| TelemetryError::Reload(error.to_string())),
        None => Ok(()),
    }
}

impl Level {
    fn filter(&self) -> Result<EnvFilter, TelemetryError> {
        EnvFilter::try_new(&self.0).map_err(|_| TelemetryError::Level(self.0.clone()))
    }
}

/// Colour on a terminal, unless the user does not want any (no-color.org).
fn is_colourful() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_one_word_or_one_per_target() {
        for text in ["info", "OFF", "warn,apnsd::gateway=debug", "apnsd=trace"] {
            assert_eq!(text.parse::<Level>().unwrap().to_string(), text);
        }
        for text in ["", "inof", "apnsd=", "info,", "apnsd=loud", "apnsd[=info"] {
            assert_eq!(text.parse::<Level>(), Err(TelemetryError::Level(text.to_owned())));
        }
    }

    #[test]
    fn a_format_is_one_of_three() {
        assert_eq!("json".parse(), Ok(Format::Json));
        assert_eq!("xml".parse::<Format>(), Err(TelemetryError::Format("xml".to_owned())));
    }

    #[test]
    fn logs_are_set_up_once() {
        let silent = Settings { level: "off".parse().unwrap(), ..Settings::default() };
        let _first = init(&silent);
        assert_eq!(init(&silent), Err(TelemetryError::Repeated));
    }
}
