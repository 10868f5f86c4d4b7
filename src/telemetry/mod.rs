//! Logs: how they look and how much of them there is. One line per event, on standard error, or an entry of the journal.
//! And the instruments of [`metrics`].
//!
//! Modules write with the macros of `tracing`; this one only sets up where that goes. What concerns one app names it in
//! the field `app`: by that, an app can have a level of its own, and repeats are counted for each. So they are for each
//! caller that the field `peer` names.

mod fields;
mod journal;
pub mod level;
pub mod metrics;
mod repeats;
mod sieve;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tracing::field::display;
use tracing::{error, info, warn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt as lines, reload};

use self::fields::TextFields;
use self::journal::Journal;
use self::level::{AppLevel, Level};
use self::repeats::{Sample, Summary};
use self::sieve::{HeldBack, SUMMARY, Sieve};
use crate::clock::Clock;
use crate::domain::app::AppId;
use crate::shutdown::Shutdown;

/// How often it is looked whether a summary of repeats is due.
const REPEATS_LOOK: Duration = Duration::from_secs(1);

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
    /// As [`Format::Journald`] where standard error ends in the journal; else text, with colour where standard error is
    /// a terminal and `NO_COLOR` is not set.
    #[default]
    Auto,
    /// Text without colour.
    Text,
    /// One JSON object a line.
    Json,
    /// Entries of systemd's journal, with fields: `app` is `APNSD_APP`. Text where there is no journal.
    Journald,
}

/// Why logs cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TelemetryError {
    /// A format that is none.
    #[error("`{0}` is not one of `auto`, `text`, `json` and `journald`")]
    Format(String),
    /// A level that is none.
    #[error(
        "`{0}` is not a level: `off`, `error`, `warn`, `info`, `debug` or `trace`, or one per target as in \
         `info,apnsd::gateway=debug`"
    )]
    Level(String),
    /// A level of an app that is none.
    #[error("`{0}` is not a level: `off`, `error`, `warn`, `info`, `debug` or `trace`")]
    AppLevel(String),
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
            "journald" => Ok(Self::Journald),
            _ => Err(TelemetryError::Format(text.to_owned())),
        }
    }
}

/// The logs of this process, once they were set up.
static LOGS: OnceLock<Logs> = OnceLock::new();
/// What was asked for, also in a process that did not set up logs here.
static WANTED: Mutex<Wanted> = Mutex::new(Wanted { level: None, apps: BTreeMap::new() });

/// Logs that were set up.
struct Logs {
    sieve: reload::Handle<Sieve, Registry>,
    held_back: HeldBack,
}

struct Wanted {
    level: Option<Level>,
    apps: BTreeMap<AppId, AppLevel>,
}

/// Sets up logs for the whole process, once. `clock` says what follows shortly upon what.
pub fn init(settings: &Settings, clock: &Clock) -> Result<(), TelemetryError> {
    let held_back = HeldBack::new(clock.clone());
    let (sieve, handle) = reload::Layer::new(Sieve::new(settings.level.filter()?, held_back.clone()));
    let logs = tracing_subscriber::registry().with(sieve);
    let lines = lines::layer().fmt_fields(TextFields).with_writer(io::stderr);
    let (format, journal) = match settings.format {
        Format::Auto if journal::reads_stderr() => (Format::Journald, Some(Journal::open())),
        Format::Journald => (Format::Journald, Some(Journal::open())),
        format => (format, None),
    };
    let (result, problem) = match (format, journal) {
        (_, Some(Ok(journal))) => (logs.with(journal).try_init(), None),
        (_, Some(Err(problem))) => (logs.with(lines.with_ansi(is_colourful())).try_init(), Some(problem)),
        (Format::Json, None) => (logs.with(lines.json().flatten_event(true)).try_init(), None),
        (Format::Text, None) => (logs.with(lines.with_ansi(false)).try_init(), None),
        (Format::Auto | Format::Journald, None) => (logs.with(lines.with_ansi(is_colourful())).try_init(), None),
    };
    result.map_err(|_| TelemetryError::Repeated)?;
    LOGS.set(Logs { sieve: handle, held_back }).map_err(|_| TelemetryError::Repeated)?;
    wanted().level = Some(settings.level.clone());
    if let Some(problem) = problem {
        warn!("the journal cannot be written to, the log goes to standard error as text: {problem}");
    }
    Ok(())
}

/// The level for all.
pub fn level() -> Level {
    wanted().level.clone().unwrap_or_default()
}

/// The apps that have a level of their own.
pub fn app_levels() -> BTreeMap<AppId, AppLevel> {
    wanted().apps.clone()
}

/// Changes which events are written from now on; only notes it in a process that did not set up logs here.
pub fn set_level(level: &Level) -> Result<(), TelemetryError> {
    let filter = level.filter()?;
    let mut wanted = wanted();
    change(|sieve| sieve.set_level(filter))?;
    wanted.level = Some(level.clone());
    Ok(())
}

/// Changes which events of one app are written from now on, until this process ends; `None`: the same as of all others.
pub fn set_app_level(app: &AppId, level: Option<AppLevel>) -> Result<(), TelemetryError> {
    let mut wanted = wanted();
    let before = wanted.apps.get(app).copied();
    if before == level {
        return Ok(());
    }
    let mut apps = wanted.apps.clone();
    match level {
        Some(level) => drop(apps.insert(app.clone(), level)),
        None => drop(apps.remove(app)),
    }
    change(|sieve| sieve.set_apps(apps.clone()))?;
    wanted.apps = apps;
    Ok(())
}

fn wanted() -> MutexGuard<'static, Wanted> {
    WANTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn change(by: impl FnOnce(&mut Sieve)) -> Result<(), TelemetryError> {
    let Some(logs) = LOGS.get() else { return Ok(()) };
    logs.sieve.modify(by).map_err(|error| TelemetryError::Reload(error.to_string()))
}

/// Says from now on, until a stop, how many events were held back because they repeat.
pub fn tell_repeats(shutdown: &Shutdown, clock: &Clock) {
    let (stop, clock) = (shutdown.clone(), clock.clone());
    shutdown.spawn(async move {
        loop {
            tokio::select! {
                () = stop.requested() => return,
                () = clock.sleep(REPEATS_LOOK) => (),
            }
            if let Some(logs) = LOGS.get() {
                logs.held_back.due().iter().for_each(tell);
            }
        }
    });
}

/// Says what is held back still; before a process ends.
pub fn tell_last_repeats() {
    if let Some(logs) = LOGS.get() {
        logs.held_back.rest().iter().for_each(tell);
    }
}

/// Writes one summary, as loud as what it stands for.
fn tell(summary: &Summary) {
    let Summary { sample: Sample { level, app, peer, text }, count: repeats, span } = summary;
    let (app, peer) = (app.as_deref().map(display), peer.as_deref().map(display));
    let text = format!("{repeats} more like this in {} s: {text}", span.as_secs());
    match *level {
        tracing::Level::ERROR => error!(target: SUMMARY, app, peer, repeats, "{text}"),
        tracing::Level::WARN => warn!(target: SUMMARY, app, peer, repeats, "{text}"),
        _ => info!(target: SUMMARY, app, peer, repeats, "{text}"),
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
    fn a_format_is_one_of_four() {
        assert_eq!("json".parse(), Ok(Format::Json));
        assert_eq!("journald".parse(), Ok(Format::Journald));
        assert_eq!("xml".parse::<Format>(), Err(TelemetryError::Format("xml".to_owned())));
    }

    #[test]
    fn logs_are_set_up_once_and_levels_are_noted() {
        let silent = Settings { level: "off".parse().unwrap(), ..Settings::default() };
        let _first = init(&silent, &Clock::system());
        assert_eq!(init(&silent, &Clock::system()), Err(TelemetryError::Repeated));
        let app = AppId::parse("telemetry-noted").unwrap();
        set_app_level(&app, Some("error".parse().unwrap())).unwrap();
        assert_eq!(app_levels()[&app].word(), "error");
        set_app_level(&app, None).unwrap();
        assert!(!app_levels().contains_key(&app));
        set_level(&"error".parse().unwrap()).unwrap();
        assert_eq!(level().to_string(), "error");
        set_level(&silent.level).unwrap();
    }
}
