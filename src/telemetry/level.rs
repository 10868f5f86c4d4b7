//! How much is written: one level for all, others for single targets, and one of its own for an app.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::TelemetryError;

/// The words for levels, from silent to loud.
const WORDS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// Which events are written: one level for all, and others for single targets: `info,apnsd::gateway=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level(String);

impl Level {
    /// The filter that lets such events pass.
    pub(super) fn filter(&self) -> Result<EnvFilter, TelemetryError> {
        EnvFilter::try_new(&self.0).map_err(|_| TelemetryError::Level(self.0.clone()))
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
        let known = text.split(',').map(str::trim).all(|item| match item.rsplit_once('=') {
            Some((_, level)) => find(level).is_some(),
            None => find(item).is_some(),
        });
        match known && EnvFilter::try_new(text).is_ok() {
            true => Ok(Self(text.to_owned())),
            false => Err(TelemetryError::Level(text.to_owned())),
        }
    }
}

/// Which events of one app are written, whatever the level for all is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppLevel(pub(super) LevelFilter);

impl AppLevel {
    /// The word for it, as it is parsed.
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(_, level)| *level == self.0).map_or("off", |(word, _)| word)
    }
}

impl FromStr for AppLevel {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        find(text).map(Self).ok_or_else(|| TelemetryError::AppLevel(text.to_owned()))
    }
}

fn find(word: &str) -> Option<LevelFilter> {
    WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, level)| *level)
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
    fn the_level_of_an_app_is_one_word() {
        assert_eq!("Debug".parse::<AppLevel>().unwrap().word(), "debug");
        for text in ["", "loud", "info,apnsd=debug"] {
            assert_eq!(text.parse::<AppLevel>(), Err(TelemetryError::AppLevel(text.to_owned())));
        }
    }
}
