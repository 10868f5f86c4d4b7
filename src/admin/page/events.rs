//! The stream of an open page: the part of it that moves, whole, whenever it has changed.
//!
//! A viewer that takes nothing is given nothing: what it missed is never made, and the listener closes its connection
//! after `http.body_timeout`. A large page comes less often than every second. Every stream ends after a while and the browser asks again, so that a user whose token was
//! taken away does not look on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use askama::Template as _;
use axum::extract::{Request, State};
use axum::http::{Extensions, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::selection::Selection;
use super::{Live, Page};
use crate::clock::Instant;
use crate::listener::endless::Endless;
use crate::listener::user::User;

/// Pages that are kept up to date at once; each holds one of the listener's connections.
const VIEWERS_MAX: usize = 64;
/// Those of one user.
const VIEWERS_OF_USER_MAX: usize = VIEWERS_MAX / 2;
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
    _place: Place,
}

/// Room for viewers: some for each user, so that no user can take it all.
#[derive(Clone, Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    /// Those of each user that has any.
    of_users: Arc<Mutex<HashMap<String, usize>>>,
}

/// A viewer's place.
#[derive(Debug)]
struct Place {
    places: Places,
    user: Option<Arc<User>>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(VIEWERS_MAX)), of_users: Arc::default() }
    }

    fn take(&self, user: Option<&Arc<User>>) -> Option<Place> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        if let Some(user) = user {
            let mut of_users = self.of_users.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = of_users.entry(user.name.clone()).or_default();
            if *taken >= VIEWERS_OF_USER_MAX {
                return None;
            }
            *taken += 1;
        }
        Some(Place { places: self.clone(), user: user.cloned(), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(user) = &self.user else { return };
        let mut of_users = self.places.of_users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut taken) = of_users.entry(user.name.clone()) {
            *taken.get_mut() -= 1;
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }
}

/// `GET /status/events`.
pub(super) async fn stream(State(page): State<Page>, request: Request) -> Response {
    if let Err(refusal) = page.judge(request.extensions()) {
        return refusal.into_response();
    }
    let Some(place) = page.0.viewers.take(request.extensions().get()) else {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::user::{Limits, Token};

    #[test]
    fn one_user_takes_half_of_the_places_at_most_and_gives_them_back() {
        let user = |name: &str| {
            let token = Token::generate().unwrap().hash();
            Arc::new(User { name: name.into(), token, apps: None, methods: None, limits: Limits::default() })
        };
        let (shop, other, places) = (user("shop"), user("other"), Places::new());
        let take = |user, wanted: usize| (0..wanted).filter_map(|_| places.take(user)).collect::<Vec<_>>();
        let mut held = take(Some(&shop), 64);
        assert_eq!(held.len(), 32);
        let rest = take(Some(&other), 10);
        assert_eq!((rest.len(), take(None, 64).len()), (10, 22), "whoever is no user may have what is left");
        held.truncate(31);
        assert_eq!(take(Some(&shop), 64).len(), 1);
        drop((held, rest));
        assert!(places.of_users.lock().unwrap().is_empty());
        assert_eq!(places.all.available_permits(), 64);
    }
}
