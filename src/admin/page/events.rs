//! The stream of an open page: the part of it that moves, whole, whenever it has changed.
//!
//! A viewer that takes nothing is given nothing: what it missed is never made, and the listener closes its connection
//! after `http.body_timeout`. Every stream ends after a while and the browser asks again, so that a user whose token was
//! taken away does not look on.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use askama::Template as _;
use axum::extract::{Request, State};
use axum::http::{Extensions, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{Live, Page};
use crate::clock::Instant;
use crate::listener::endless::Endless;
use crate::listener::user::User;

/// Pages that are kept up to date at once; each holds one of the listener's connections.
pub(super) const VIEWERS_MAX: usize = 64;
/// How long a stream lasts.
const STREAM_MAX: Duration = Duration::from_secs(10 * 60);
/// How long a browser waits before it asks again.
const RETRY: Duration = Duration::from_secs(2);
/// A comment after so long without an event, by which either side notices that the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// One open page.
struct Viewer {
    page: Page,
    /// Who asked.
    asking: Extensions,
    ticks: watch::Receiver<u64>,
    /// Hash of what it was sent last.
    sent: Option<u64>,
    ends: Instant,
    _place: OwnedSemaphorePermit,
}

/// `GET /status/events`.
pub(super) async fn stream(State(page): State<Page>, request: Request) -> Response {
    if let Err(refusal) = page.judge(request.extensions()) {
        return refusal.into_response();
    }
    let Ok(place) = Arc::clone(&page.0.viewers).try_acquire_owned() else {
        let text = "Too many pages are open at once: reload this one by hand.\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "60")], text).into_response();
    };
    let mut asking = Extensions::new();
    if let Some(user) = request.extensions().get::<Arc<User>>() {
        asking.insert(Arc::clone(user));
    }
    let mut ticks = page.0.samples.ticks();
    // The first event comes at once.
    ticks.mark_changed();
    let ends = page.0.clock.now() + STREAM_MAX;
    let viewer = Viewer { page, asking, ticks, sent: None, ends, _place: place };
    let events = futures_util::stream::unfold(viewer, Viewer::next);
    let mut answer = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    answer.extensions_mut().insert(Endless);
    answer
}

impl Viewer {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            tokio::select! {
                biased;
                () = self.page.0.clock.sleep_until(Some(self.ends)) => return None,
                // The sampler ends with the daemon's stop.
                changed = self.ticks.changed() => changed.ok()?,
            }
            let html = match (Live { view: &self.page.view(&self.asking) }).render() {
                Ok(html) => html,
                Err(error) => {
                    tracing::error!(%error, "the status page cannot be written");
                    return None;
                }
            };
            let hash = hash(&html);
            if self.sent.replace(hash) != Some(hash) {
                return Some((Ok(Event::default().event("status").retry(RETRY).data(html)), self));
            }
        }
    }
}

fn hash(html: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    html.hash(&mut hasher);
    hasher.finish()
}
