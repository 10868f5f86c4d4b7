//! The stream of an open page: the part of it that moves, whole, whenever it has changed.
//!
//! A viewer that takes nothing is given nothing: what it missed is never made, and the listener closes its connection
//! after `http.body_timeout`. A large page comes less often than every second. Every stream ends after a while and the browser asks again, so that a user whose token was
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

use super::selection::Selection;
use super::{Live, Page};
use crate::clock::Instant;
use crate::listener::endless::Endless;
use crate::listener::user::User;

/// Pages that are kept up to date at once; each holds one of the listener's connections.
pub(super) const VIEWERS_MAX: usize = 64;
/// How long a stream lasts.
const STREAM_MAX: Duration = Duration::from_secs(10 * 60);
/// Bytes that a viewer is sent in a second, over time. A page of 60 apps is smaller.
const BYTES_PER_SEC: u32 = 64 << 10;
/// How long a browser waits before it asks again.
const RETRY: Duration = Duration::from_secs(2);
/// A comment after so long without an event, by which either side notices that the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// One open page.
struct Viewer {
    page: Page,
    /// Who asked.
    asking: Extensions,
    selection: Selection,
    ticks: watch::Receiver<u64>,
    /// Hash of what it was sent last.
    sent: Option<u64>,
    /// Nothing is sent before.
    rests_until: Instant,
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
    let selection = Selection::of(request.uri().query());
    let now = page.0.clock.now();
    let ends = now + STREAM_MAX;
    let viewer = Viewer { page, asking, selection, ticks, sent: None, rests_until: now, ends, _place: place };
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
            let now = self.page.0.clock.now();
            if now < self.rests_until {
                continue;
            }
            let html = match (Live { view: &self.page.view(&self.asking, &self.selection) }).render() {
                Ok(html) => html,
                Err(error) => {
                    tracing::error!(%error, "the status page cannot be written");
                    return None;
                }
            };
            let hash = hash(&html);
            if self.sent.replace(hash) != Some(hash) {
                let length = u32::try_from(html.len()).unwrap_or(u32::MAX);
                self.rests_until = now + Duration::from_secs(1) * length / BYTES_PER_SEC;
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
