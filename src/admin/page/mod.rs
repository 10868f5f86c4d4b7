//! The status page, `GET /`: HTML for browsers, text for everybody else, and a stream of server-sent events that keeps
//! an open page up to date.
//!
//! - `sampler`, `history`: what the last minutes were like.
//! - `selection`: which apps; `view`, `chart`, `words`: what is shown, in words; `text` and `templates/` in the
//!   repository: how.
//! - `events`: the stream.
//!
//! It changes nothing, and shows a user only what that user could ask for by a call.

mod chart;
mod events;
mod history;
mod sampler;
mod selection;
mod text;
mod view;
mod words;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::HeaderName;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use self::chart::Chart;
use self::events::Places;
use self::sampler::Samples;
use self::selection::Selection;
use self::view::{AppView, Level, Light, RejectionView, Totals, level, verdict};
use super::visible_apps;
use crate::clock::{Clock, Instant};
use crate::domain::app::AppId;
use crate::listener::user::User;
use crate::service::PushService;
use crate::service::about::About;
use crate::service::status::AppStatus;
use crate::shutdown::Shutdown;

/// The calls that answer the same as the page: who may not make them does not see it.
const APPS_CALL: &str = "apnsd.apps";
const REJECTIONS_CALL: &str = "apnsd.rejections";

/// On every answer here. Nothing runs or is drawn but the daemon's own files, nothing may embed the page.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

const CSS: &str = include_str!("assets/status.css");
const JS: &str = include_str!("assets/status.js");
const ICON: &str = include_str!("assets/status.svg");

/// What the page is made from. Cheap to clone.
#[derive(Clone, Debug)]
struct Page(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: PushService,
    about: About,
    clock: Clock,
    started: Instant,
    samples: Samples,
    /// One for each stream.
    viewers: Places,
}

/// All of it. What samples, and all streams, end with the owner's stop.
pub(super) fn routes(service: PushService, about: About, clock: Clock, shutdown: &Shutdown) -> Router {
    let samples = Samples::start(service.clone(), clock.clone(), shutdown);
    let page = Page(Arc::new(Inner { service, about, started: clock.now(), clock, samples, viewers: Places::new() }));
    Router::new()
        .route("/", get(show))
        .route("/status/events", get(events::stream))
        .route("/status.css", get(|| async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], CSS) }))
        .route("/status.js", get(|| async { ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], JS) }))
        .route("/status.svg", get(|| async { ([(header::CONTENT_TYPE, "image/svg+xml")], ICON) }))
        .with_state(page)
        .route_layer(middleware::from_fn(front))
}

/// Puts [`HEADERS`] on every answer.
async fn front(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

async fn show(State(page): State<Page>, request: Request) -> Response {
    if let Err(refusal) = page.judge(request.extensions()) {
        return refusal.into_response();
    }
    let view = page.view(request.extensions(), &Selection::of(request.uri().query()));
    let vary = (header::VARY, "Accept");
    if !wants_html(request.headers()) {
        let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), vary];
        return (headers, text::text(&view)).into_response();
    }
    match (Whole { view: &view }).render() {
        Ok(html) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8"), vary], html).into_response(),
        Err(error) => {
            tracing::error!(%error, "the status page cannot be written");
            (StatusCode::INTERNAL_SERVER_ERROR, "The page cannot be written; the log says why.\n").into_response()
        }
    }
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/html"))
}

/// The page, and the part of it that moves.
#[derive(Debug, Template)]
#[template(path = "status.html")]
struct Whole<'a> {
    view: &'a View,
}

#[derive(Debug, Template)]
#[template(path = "status_live.html")]
struct Live<'a> {
    view: &'a View,
}

/// Everything on the page.
#[derive(Debug)]
struct View {
    version: &'static str,
    /// When it was made, in UTC.
    at: String,
    verdict: Light,
    totals: Totals,
    chart: Chart,
    /// Which apps were asked for.
    selection: Selection,
    /// How many there are in all, and how many of them somebody should look at.
    known: usize,
    troubled: usize,
    apps: Vec<AppView>,
    /// Apps that were asked for and are not shown, because there are too many.
    left_out: usize,
    /// Newest first; `None` where the user may not ask for them.
    rejections: Option<Vec<RejectionView>>,
    /// Facts about the daemon, each with its name.
    facts: Vec<(&'static str, String)>,
}

impl View {
    /// What a browser's tab says.
    fn title(&self) -> String {
        format!("{} – apnsd", self.verdict.word)
    }

    /// Whether it has what finds apps.
    fn offers_selection(&self) -> bool {
        self.selection.is_offered(self.known)
    }

    /// A text in parts, each with whether it is something to type.
    fn parts<'a>(&self, text: &'a str) -> Vec<(bool, &'a str)> {
        words::parts(text)
    }
}

/// A user who may not see the page.
#[derive(Debug)]
struct Forbidden(Arc<User>);

impl IntoResponse for Forbidden {
    fn into_response(self) -> Response {
        let text =
            format!("user `{}` may not call {APPS_CALL}, which this page shows: add it to `methods`\n", self.0.name);
        (StatusCode::FORBIDDEN, text).into_response()
    }
}

impl Page {
    /// Lets nobody in who could not make the call that answers the same.
    fn judge(&self, asking: &Extensions) -> Result<(), Forbidden> {
        match asking.get::<Arc<User>>() {
            Some(user) if !user.may_call(APPS_CALL) => Err(Forbidden(Arc::clone(user))),
            Some(_) | None => Ok(()),
        }
    }

    /// What whoever asks may see of it, with the apps of a selection.
    fn view(&self, asking: &Extensions, selection: &Selection) -> View {
        let Inner { service, samples, clock, .. } = &*self.0;
        let (now, at) = (clock.now(), clock.timestamp());
        let statuses = visible_apps(service, asking);
        let mut ranked: Vec<(Level, &AppStatus)> = statuses.iter().map(|app| (level(app, at), app)).collect();
        let is_troubled = |level: Level| level < Level::Good;
        let watched = ranked.iter().filter(|(level, app)| is_troubled(*level) && app.state.can_send()).count();
        let troubled = ranked.iter().filter(|(level, _)| is_troubled(*level)).count();
        ranked.retain(|(level, app)| {
            selection.fits(app.app_id.as_str()) && (is_troubled(*level) || !selection.is_trouble())
        });
        // By name they are already.
        ranked.sort_by_key(|(level, _)| (*level).min(Level::Good));
        let view = |(_, app): &(Level, &AppStatus)| {
            AppView::new(app, Chart::new(&samples.history([&app.app_id].into_iter(), now), now), at)
        };
        let found = || statuses.iter().map(|app| &app.app_id).filter(|app| selection.fits(app.as_str()));
        let may_see_rejections = asking.get::<Arc<User>>().is_none_or(|user| user.may_call(REJECTIONS_CALL));
        View {
            version: env!("CARGO_PKG_VERSION"),
            at: words::moment(at),
            verdict: verdict(&statuses, watched, service.trouble()),
            totals: Totals::new(&statuses),
            chart: Chart::new(&samples.history(statuses.iter().map(|app| &app.app_id), now), now),
            selection: selection.clone(),
            known: statuses.len(),
            troubled,
            apps: ranked.iter().take(selection.limit()).map(view).collect(),
            left_out: ranked.len().saturating_sub(selection.limit()),
            rejections: may_see_rejections.then(|| self.rejections(found())),
            facts: self.facts(now),
        }
    }

    fn rejections<'a>(&self, apps: impl Iterator<Item = &'a AppId>) -> Vec<RejectionView> {
        self.0.samples.rejections(apps).iter().map(RejectionView::new).collect()
    }

    fn facts(&self, now: Instant) -> Vec<(&'static str, String)> {
        let About { addresses, accepted_means, started: _ } = &self.0.about;
        let mut facts = vec![("Running for", words::coarse_span(now.since(self.0.started)))];
        if let Some(bytes) = self.0.samples.memory() {
            facts.push(("Memory", words::size(bytes)));
        }
        facts.push(("Listens on", words::plain(&addresses.join(", "))));
        facts.push(("Accepted means", (*accepted_means).to_owned()));
        facts
    }
}
