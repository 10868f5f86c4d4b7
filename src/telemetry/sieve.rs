//! Which events pass: the level for all, the levels of single apps, and repeats held back.
//!
//! As long as no app has a level of its own, events that the level for all does not want cost what they always do: one
//! look at a number.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::level::AppLevel;
use super::repeats::{BURST, Kind, Repeats, Sample, Summary};
use crate::clock::Clock;
use crate::domain::app::AppId;

/// The field that names the app of an event.
const APP: &str = "app";
/// The field that names where a request came from.
const PEER: &str = "peer";
/// The targets that levels of apps concern: this program's own.
const OWN: &str = env!("CARGO_PKG_NAME");
/// The target of summaries, which always pass.
pub(super) const SUMMARY: &str = "apnsd::telemetry::repeats";
/// Warnings and errors that say the same of whatever app, or of whatever peer, and are written within ten seconds: a
/// gateway that is gone is gone for all, and who guesses tokens may have many addresses.
const BURST_OF_ALL: u32 = 50;
/// Bytes of an event's text that a summary quotes.
const QUOTED_MAX: usize = 200;

/// Lets events pass, or not, for all layers.
pub(super) struct Sieve {
    level: EnvFilter,
    apps: BTreeMap<AppId, AppLevel>,
    /// The loudest level of an app; `OFF` where none has one.
    loudest: LevelFilter,
    held_back: HeldBack,
}

/// Counts what repeats. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub(super) struct HeldBack {
    repeats: Arc<Mutex<Repeats>>,
    clock: Clock,
}

impl HeldBack {
    pub(super) fn new(clock: Clock) -> Self {
        Self { repeats: Arc::default(), clock }
    }

    /// Summaries that are due now.
    pub(super) fn due(&self) -> Vec<Summary> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner).due(self.clock.now())
    }

    /// Summaries of all that is held back.
    pub(super) fn rest(&self) -> Vec<Summary> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner).rest(self.clock.now())
    }

    fn admit(&self, event: &Event<'_>, app: Option<String>) -> bool {
        let mut place = DefaultHasher::new();
        event.metadata().callsite().hash(&mut place);
        let peer = if app.is_none() { field_of(event, PEER) } else { None };
        // Where an event has neither, all that it says tells it from others of its place: ten mistakes in a file are ten.
        let subject = app.as_ref().or(peer.as_ref());
        let detail = match subject {
            Some(subject) => hash(|text| text.write_str(subject)),
            None => hash(|text| {
                event.record(&mut Everything(text));
                Ok(())
            }),
        };
        let kind = Kind { place: place.finish(), detail: Some(detail) };
        let level = *event.metadata().level();
        let sample = |has_subject: bool| {
            let of = |subject: &Option<String>| subject.clone().filter(|_| has_subject);
            Sample { level, app: of(&app), peer: of(&peer), text: text_of(event) }
        };
        let now = self.clock.now();
        let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
        if !repeats.admit((kind, BURST), now, |kind| sample(kind.detail.is_some())) {
            return false;
        }
        if subject.is_none() || level > Level::WARN {
            return true;
        }
        let of_all = Kind { detail: Some(hash(|text| text.write_str(&text_of(event)))), ..kind };
        repeats.admit((of_all, BURST_OF_ALL), now, |_| sample(false))
    }
}

impl Sieve {
    pub(super) fn new(level: EnvFilter, held_back: HeldBack) -> Self {
        Self { level, apps: BTreeMap::new(), loudest: LevelFilter::OFF, held_back }
    }

    /// From now on, this is the level for all.
    pub(super) fn set_level(&mut self, level: EnvFilter) {
        self.level = level;
    }

    /// From now on, these apps have levels of their own.
    pub(super) fn set_apps(&mut self, apps: BTreeMap<AppId, AppLevel>) {
        self.loudest = apps.values().map(|level| level.0).max().unwrap_or(LevelFilter::OFF);
        self.apps = apps;
    }

    /// Whether the level of some app may let an event pass that the level for all does not.
    fn may_concern_an_app(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.loudest
            && metadata.is_event()
            && metadata.target().split("::").next() == Some(OWN)
            && metadata.fields().field(APP).is_some()
    }

    fn level_of(&self, app: Option<&str>) -> Option<LevelFilter> {
        self.apps.iter().find(|(id, _)| Some(id.as_str()) == app).map(|(_, level)| level.0)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Sieve {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = Layer::<S>::register_callsite(&self.level, metadata);
        match interest.is_never() && self.may_concern_an_app(metadata) {
            _ if metadata.target() == SUMMARY => Interest::always(),
            true => Interest::sometimes(),
            false => interest,
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        metadata.target() == SUMMARY || self.may_concern_an_app(metadata) || self.level.enabled(metadata, context)
    }

    fn event_enabled(&self, event: &Event<'_>, context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let is_repeatable = *metadata.level() <= Level::INFO && metadata.target() != SUMMARY;
        if metadata.target() == SUMMARY || (!is_repeatable && self.apps.is_empty()) {
            return true;
        }
        let app = field_of(event, APP);
        let own = self.level_of(app.as_deref());
        let is_wanted = match own {
            Some(own) => *metadata.level() <= own,
            None => !self.may_concern_an_app(metadata) || self.level.enabled(metadata, context),
        };
        // Who asks for the details of an app gets all of them.
        let is_whole = !is_repeatable || own.is_some_and(|own| own >= LevelFilter::DEBUG);
        is_wanted && (is_whole || self.held_back.admit(event, app))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.level.max_level_hint().map(|level| level.max(self.loudest))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.level.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Layer::<S>::on_record(&self.level, id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Layer::<S>::on_enter(&self.level, id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Layer::<S>::on_exit(&self.level, id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        Layer::<S>::on_close(&self.level, id, context);
    }
}

/// What an event has in a field, as text.
fn field_of(event: &Event<'_>, name: &'static str) -> Option<String> {
    struct Wanted(Field, Option<String>);

    impl Visit for Wanted {
        fn record_str(&mut self, field: &Field, value: &str) {
            if *field == self.0 {
                self.1 = Some(value.to_owned());
            }
        }

        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if *field == self.0 {
                self.1 = Some(format!("{value:?}"));
            }
        }
    }

    let mut wanted = Wanted(event.metadata().fields().field(name)?, None);
    event.record(&mut wanted);
    wanted.1
}

/// What an event says, without its fields.
fn text_of(event: &Event<'_>) -> String {
    struct Message(String);

    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if field.name() == "message" {
                self.0 = format!("{value:?}");
            }
        }
    }

    let mut message = Message(String::new());
    event.record(&mut message);
    let Message(mut text) = message;
    if text.len() > QUOTED_MAX {
        text.truncate(text.floor_char_boundary(QUOTED_MAX));
        text.push('…');
    }
    text
}

/// Writes the message and all fields.
struct Everything<'a>(&'a mut dyn fmt::Write);

impl Visit for Everything<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // What it is written to takes everything.
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

/// The hash of a text that is never put together.
fn hash(write: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result) -> u64 {
    struct Hashed(DefaultHasher);

    impl fmt::Write for Hashed {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }

    let mut hashed = Hashed(DefaultHasher::new());
    // A value that cannot be written is told apart by what came before.
    let _ = write(&mut hashed);
    hashed.0.finish()
}

#[cfg(test)]
mod tests;
