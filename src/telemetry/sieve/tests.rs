//! What passes the sieve, seen by a layer behind it.

use std::time::Duration;

use tracing::{Dispatch, debug, error, info, warn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;

use super::*;
use crate::domain::time::Timestamp;

/// The texts of what passed.
#[derive(Clone, Default)]
struct Passed(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Passed {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = String::new();
        event.record(&mut Everything(&mut text));
        self.0.lock().unwrap().push(text.trim_end().to_owned());
    }
}

impl Passed {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

struct Log {
    dispatch: Dispatch,
    handle: reload::Handle<Sieve, tracing_subscriber::Registry>,
    held_back: HeldBack,
    passed: Passed,
}

fn log(level: &str) -> Log {
    let held_back = HeldBack::new(Clock::with_wall(Timestamp::from_secs(0)));
    let (sieve, handle) = reload::Layer::new(Sieve::new(EnvFilter::new(level), held_back.clone()));
    let passed = Passed::default();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(sieve).with(passed.clone()));
    Log { dispatch, handle, held_back, passed }
}

impl Log {
    fn set_apps(&self, apps: &[(&str, &str)]) {
        let apps = apps.iter().map(|(app, level)| (AppId::parse(app).unwrap(), level.parse().unwrap())).collect();
        // What callers of the macros remember is asked anew of the present subscriber.
        tracing::dispatcher::with_default(&self.dispatch, || self.handle.modify(|sieve| sieve.set_apps(apps)).unwrap());
    }

    fn passing(&self, say: impl FnOnce()) -> Vec<String> {
        tracing::dispatcher::with_default(&self.dispatch, say);
        self.passed.take()
    }
}

fn say(app: &str) {
    debug!(app, "detail");
    info!(app = %AppId::parse(app).unwrap(), "news");
    debug!("of no app");
    debug!(target: "h2", app, "of a library");
}

#[test]
fn the_level_of_an_app_concerns_that_app_alone() {
    let log = log("info");
    let news = |app: &str| format!("message=news app={app}");
    let quiet = log.passing(|| ["shop", "other"].iter().for_each(|app| say(app)));
    assert_eq!(quiet, [news("shop"), news("other")]);
    log.set_apps(&[("shop", "debug"), ("other", "error")]);
    let loud = log.passing(|| ["shop", "other", "third"].iter().for_each(|app| say(app)));
    assert_eq!(loud, ["message=detail app=\"shop\"".to_owned(), news("shop"), news("third")]);
    log.set_apps(&[]);
    assert_eq!(log.passing(|| say("shop")), [news("shop")]);
}

#[test]
fn the_greatest_level_is_as_before_while_no_app_has_one() {
    let log = log("warn");
    let hint = || log.handle.with_current(Layer::<tracing_subscriber::Registry>::max_level_hint).unwrap();
    assert_eq!(hint(), Some(LevelFilter::WARN));
    log.set_apps(&[("shop", "debug"), ("other", "off")]);
    assert_eq!(hint(), Some(LevelFilter::DEBUG));
    log.set_apps(&[("other", "off")]);
    assert_eq!(hint(), Some(LevelFilter::WARN));
}

#[tokio::test(start_paused = true)]
async fn repeats_of_an_app_are_held_back_and_counted() {
    let log = log("debug");
    let closed = |app: &str| warn!(app, rows = 1, "closed: {}", "by peer");
    let passed = log.passing(|| (0..9).for_each(|_| ["shop", "other"].iter().for_each(|app| closed(app))));
    assert_eq!(passed.len(), 10);
    assert_eq!(log.held_back.due(), []);
    tokio::time::advance(Duration::from_secs(10)).await;
    let mut due = log.held_back.due();
    due.sort_by(|a, b| a.sample.app.cmp(&b.sample.app));
    let sample = |app: &str| Sample {
        level: Level::WARN,
        app: Some(app.to_owned()),
        peer: None,
        text: "closed: by peer".to_owned(),
    };
    let summary = |app| Summary { sample: sample(app), count: 4, span: Duration::from_secs(10) };
    assert_eq!(due, [summary("other"), summary("shop")]);
}

#[tokio::test(start_paused = true)]
async fn the_size_of_an_attack_is_told_for_its_address_and_for_all_of_many() {
    let log = log("info");
    let refused = |peer: u32| warn!(peer, "a request was refused: it had wrong credentials");
    assert_eq!(log.passing(|| (0..1000).for_each(|_| refused(7))).len(), 5);
    assert_eq!(log.passing(|| (1000..2000).for_each(refused)).len(), 45);
    tokio::time::advance(Duration::from_secs(10)).await;
    let due = log.held_back.due();
    let mut told: Vec<_> = due.iter().map(|told| (told.sample.peer.as_deref(), told.count)).collect();
    told.sort_unstable();
    assert_eq!(told, [(None, 955), (Some("7"), 995)]);
}

#[test]
fn a_gateway_that_is_gone_for_all_apps_is_said_for_fifty() {
    let log = log("info");
    let refused = |app: u32| warn!(app, "closed: connection refused");
    assert_eq!(log.passing(|| (0..1000).for_each(refused)).len(), 50);
    let other = log.passing(|| warn!(app = 7, "closed: certificate expired"));
    assert_eq!(other.len(), 1, "what only one app has is said");
    let connected = log.passing(|| (0..1000).for_each(|app| info!(app, "connected")));
    assert_eq!(connected.len(), 1000);
    let rest = log.held_back.rest();
    let sample = Sample { level: Level::WARN, app: None, peer: None, text: "closed: connection refused".to_owned() };
    assert_eq!((rest.len(), &rest[0].sample, rest[0].count), (1, &sample, 950));
}

#[test]
fn nothing_is_held_back_at_debug_nor_of_an_app_that_was_asked_for() {
    let log = log("debug");
    assert_eq!(log.passing(|| (0..9).for_each(|_| debug!(app = "shop", "row"))).len(), 9);
    log.set_apps(&[("shop", "debug"), ("other", "info")]);
    assert_eq!(log.passing(|| (0..9).for_each(|_| info!(app = "shop", "row"))).len(), 9);
    assert_eq!(log.passing(|| (0..9).for_each(|_| info!(app = "other", "row"))).len(), 5);
}

#[test]
fn events_without_an_app_repeat_when_they_say_the_same() {
    let log = log("info");
    let mistakes = log.passing(|| (0..9).for_each(|line| error!("line {line}: unknown key")));
    assert_eq!(mistakes.len(), 9);
    assert_eq!(log.passing(|| (0..9).for_each(|_| error!("the disk is full"))).len(), 5);
    let listening = log.passing(|| (0..9).for_each(|port| info!(port, "listening")));
    assert_eq!(listening.len(), 9);
}

#[test]
fn a_summary_passes_whatever_the_level_is() {
    let log = log("apnsd::gateway=error");
    log.set_apps(&[("shop", "error")]);
    let summary = || error!(target: SUMMARY, app = Some("shop"), "7 more");
    assert_eq!(log.passing(summary), ["message=7 more app=\"shop\""]);
}

#[test]
fn a_summary_quotes_the_beginning_of_a_long_text() {
    let log = log("info");
    log.passing(|| (0..6).for_each(|_| warn!(app = "shop", "{}", "ä".repeat(200))));
    assert_eq!(log.held_back.rest()[0].sample.text, format!("{}…", "ä".repeat(100)));
}
