//! What the page shows, in words: made from the state of apps and what was sampled. Knows nothing of HTML. Pure.

use super::chart::Chart;
use super::words::{coarse_span, count, day, moment, plain, several, span};
use crate::domain::app::{AppState, Protocol, RENEW_DAYS};
use crate::domain::feedback::Rejection;
use crate::domain::outcome::Blame;
use crate::domain::time::Timestamp;
use crate::domain::token::MaskedToken;
use crate::service::status::AppStatus;

/// So many days before the end of a credential are few.
const FEW_DAYS: i64 = 7;

/// How something stands; always shown together with words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Somebody must act.
    Bad,
    /// Somebody should look.
    Warn,
    /// All is well.
    Good,
    /// There is nothing to judge.
    Quiet,
}

impl Level {
    /// The name of its class.
    pub(super) fn class(&self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Good => "good",
            Self::Quiet => "quiet",
        }
    }
}

/// A judgement: how something stands, and the words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Light {
    pub(super) level: Level,
    pub(super) word: String,
    pub(super) detail: String,
}

/// One app.
#[derive(Clone, Debug)]
pub(super) struct AppView {
    pub(super) id: String,
    pub(super) environment: String,
    pub(super) protocol: &'static str,
    pub(super) gateway: String,
    pub(super) level: Level,
    pub(super) state: Light,
    /// Why it cannot send, or what else there is to know, each with its heading.
    pub(super) notes: Vec<(&'static str, String)>,
    pub(super) waiting: String,
    /// What else is to be said of the queue; may be empty.
    pub(super) queue: Vec<String>,
    pub(super) accepted: String,
    pub(super) delivered: String,
    pub(super) rejected: String,
    pub(super) chart: Chart,
    pub(super) credentials: Light,
}

impl AppView {
    pub(super) fn new(app: &AppStatus, chart: Chart, now: Timestamp) -> Self {
        Self {
            id: plain(app.app_id.as_str()),
            environment: plain(&app.environment),
            protocol: protocol(app.protocol),
            gateway: plain(&app.gateway),
            level: level(app, now),
            state: state(app, now),
            notes: notes(app),
            waiting: count(app.waiting),
            queue: queue(app, now),
            accepted: count(app.accepted),
            delivered: count(app.delivered),
            rejected: count(app.rejected),
            chart,
            credentials: credentials(app, now),
        }
    }
}

/// How an app stands as a whole.
pub(super) fn level(app: &AppStatus, now: Timestamp) -> Level {
    let renewal = if app.renewal.is_empty() { Level::Quiet } else { Level::Warn };
    state(app, now).level.min(credentials(app, now).level).min(renewal)
}

fn protocol(protocol: Option<Protocol>) -> &'static str {
    match protocol {
        Some(Protocol::Binary) => "binary gateway",
        Some(Protocol::Http2) => "HTTP/2",
        Some(Protocol::Fcm) => "FCM",
        None => "environment not configured",
    }
}

fn state(app: &AppStatus, now: Timestamp) -> Light {
    let (level, word) = match app.state {
        AppState::Connected => (Level::Good, "Connected"),
        AppState::Idle => (Level::Good, "Idle"),
        AppState::Connecting if app.cause.is_empty() => (Level::Good, "Connecting"),
        AppState::Connecting => (Level::Warn, "Connecting"),
        AppState::Waiting => (Level::Bad, "Gateway out of reach"),
        AppState::Paused => (Level::Bad, "Paused"),
        AppState::Refused => (Level::Bad, "Refused"),
    };
    let since = coarse_span(now.since(app.since));
    let detail = match app.state {
        AppState::Idle => format!("for {since}; connects with the next notification"),
        _ => format!("for {since}"),
    };
    Light { level, word: word.to_owned(), detail }
}

fn credentials(app: &AppStatus, now: Timestamp) -> Light {
    let (level, word) = match app.expires {
        _ if app.state == AppState::Refused => (Level::Bad, "Not in use".to_owned()),
        None if app.subject.is_empty() => (Level::Quiet, "None".to_owned()),
        None => (Level::Good, "No end date".to_owned()),
        Some(end) => match end.days_since(now) {
            ..=0 => (Level::Bad, "Has ended".to_owned()),
            days @ ..=FEW_DAYS => (Level::Bad, format!("Renew now: {} left", days_left(days))),
            days @ ..=RENEW_DAYS => (Level::Warn, format!("Renew soon: {} left", days_left(days))),
            _ => (Level::Good, format!("Valid until {}", day(end))),
        },
    };
    let until = app.expires.filter(|_| matches!(level, Level::Bad | Level::Warn)).map(|end| match end > now {
        true => format!("until {}", day(end)),
        false => format!("ended {}", day(end)),
    });
    let subject = Some(plain(&app.subject)).filter(|subject| !subject.is_empty());
    Light { level, word, detail: [subject, until].into_iter().flatten().collect::<Vec<_>>().join(", ") }
}

fn days_left(days: i64) -> String {
    several(usize::try_from(days).unwrap_or_default(), "day")
}

fn notes(app: &AppStatus) -> Vec<(&'static str, String)> {
    let mut notes = Vec::new();
    if !app.cause.is_empty() {
        let heading = if app.state.can_send() { "Last trouble" } else { "Why it cannot send" };
        notes.push((heading, plain(&app.cause)));
    }
    if !app.renewal.is_empty() {
        notes.push(("Renewal refused", plain(&app.renewal)));
    }
    if app.deferred > 0 && !app.retries.is_empty() {
        let reasons = app.retries.iter().map(|(reason, rows)| format!("{} × {reason}", count(*rows)));
        notes.push(("Tried again since the start", reasons.collect::<Vec<_>>().join(", ")));
    }
    notes
}

fn queue(app: &AppStatus, now: Timestamp) -> Vec<String> {
    let mut more = Vec::new();
    if app.in_flight > 0 {
        more.push(format!("{} on their way", count(app.in_flight)));
    }
    if let Some(oldest) = app.oldest.filter(|_| app.waiting > 0) {
        more.push(format!("oldest for {}", span(now.since(oldest))));
    }
    if app.deferred > 0 {
        let due = app.next_due.map(|due| format!(", next in {}", span(due.since(now)))).unwrap_or_default();
        more.push(format!("{} tried again later{due}", count(app.deferred)));
    }
    more
}

/// One notification that will not be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RejectionView {
    pub(super) at: String,
    pub(super) app: String,
    pub(super) token: String,
    pub(super) reason: String,
    pub(super) blame: &'static str,
}

impl RejectionView {
    pub(super) fn new(rejection: &Rejection) -> Self {
        let blame = match rejection.reason.blame() {
            Blame::Token => "this device's token",
            Blame::Message => "this notification",
            Blame::App => "the app's set-up",
            Blame::Provider => "the provider",
            Blame::Operator => "nobody: an operator did it",
        };
        Self {
            at: moment(rejection.timestamp),
            app: plain(rejection.app.as_str()),
            token: MaskedToken(&rejection.token).to_string(),
            reason: plain(&rejection.reason.to_string()),
            blame,
        }
    }
}

/// Sums over the apps that are seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) accepted: String,
    pub(super) delivered: String,
    pub(super) rejected: String,
    pub(super) waiting: String,
}

impl Totals {
    pub(super) fn new(apps: &[AppStatus]) -> Self {
        let sum = |part: fn(&AppStatus) -> u64| count(apps.iter().map(part).sum());
        Self {
            accepted: sum(|app| app.accepted),
            delivered: sum(|app| app.delivered),
            rejected: sum(|app| app.rejected),
            waiting: sum(|app| app.waiting + app.in_flight),
        }
    }
}

/// The page's first sentence. `trouble` is why nothing is accepted; `watched` is how many apps that can send should be
/// looked at.
pub(super) fn verdict(apps: &[AppStatus], watched: usize, trouble: Option<String>) -> Light {
    let stuck = apps.iter().filter(|app| !app.state.can_send()).count();
    let (level, word) = match (trouble.is_some(), apps.len(), stuck) {
        (true, ..) => (Level::Bad, "No notifications are accepted".to_owned()),
        (_, 0, _) => (Level::Quiet, "No apps yet".to_owned()),
        (_, 1, 1) => (Level::Bad, "The app cannot send".to_owned()),
        (_, all, stuck) if all == stuck => (Level::Bad, format!("None of {} can send", several(all, "app"))),
        (_, all, 1..) => (Level::Bad, format!("{stuck} of {} cannot send", several(all, "app"))),
        (_, 1, _) => (if watched > 0 { Level::Warn } else { Level::Good }, "The app can send".to_owned()),
        (_, all, _) => {
            (if watched > 0 { Level::Warn } else { Level::Good }, format!("All {} can send", several(all, "app")))
        }
    };
    let detail = match (trouble, apps.len(), watched) {
        (Some(trouble), ..) => plain(&trouble),
        (None, 0, _) => "Add one with `apnsd provision`.".to_owned(),
        (None, _, 0) => String::new(),
        (None, _, 1) => "One that can should be looked at.".to_owned(),
        (None, _, watched) => format!("{watched} that can should be looked at."),
    };
    Light { level, word, detail }
}

#[cfg(test)]
mod tests;
