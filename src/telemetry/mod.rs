//! Logs: how they look and how much of them there is. One line per event, on standard error.
//!
//! Modules write with the macros of `tracing`; this one only sets up where that goes.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::str::FromStr;

use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

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

/// Sets up logs for the whole process, once.
pub fn init(settings: &Settings) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&settings.level.0).map_err(|_| TelemetryError::Level(settings.level.0.clone()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let result = match settings.format {
        Format::Auto => builder.with_ansi(is_colourful()).finish().try_init(),
        Format::Text => builder.with_ansi(false).finish().try_init(),
        Format::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    result.map_err(|_| TelemetryError::Repeated)
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
