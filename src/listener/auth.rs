//! Who calls: HTTP Basic and Bearer credentials in front of everything that is served.
//!
//! Without users in the configuration everybody may call, which is why such a daemon listens on this machine alone.
//! With users, every request over TCP needs one of them; a Unix socket is guarded by its file's mode instead.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::sync::Semaphore;
use tracing::field::display;
use tracing::warn;

use super::admission::{Admission, Admitted, TooMany};
use super::after_answer::AfterAnswer;
use super::peer::Peer;
use super::user::{TokenHash, User};
use crate::clock::Clock;
use crate::telemetry::metrics::tally::Tally;

/// What a request with wrong credentials waits for its answer, so that trying tokens is slow.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);
/// Those that wait at once. Further ones are turned away immediately: waiting, they would take the
/// connections that others need.
const REFUSALS_WAITING_MAX: usize = 32;

/// Every [`Refusal`], in a word.
const FAILURES: &[&str] = &["none", "wrong"];

/// The users, and what became of those who are none. Cheap to clone; all clones change together.
#[derive(Clone, Debug)]
pub struct Auth(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    users: RwLock<Arc<[Arc<Admission>]>>,
    clock: Clock,
    waiting: Semaphore,
    failed: Arc<Tally>,
}

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denial {
    /// Nobody knows who asks.
    Stranger(Refusal),
    /// A user asks for more than it may.
    TooMany(TooMany),
}

/// Why a request proves no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    NoCredentials,
    WrongCredentials,
}

impl Refusal {
    fn word(self) -> &'static str {
        match self {
            Self::NoCredentials => "none",
            Self::WrongCredentials => "wrong",
        }
    }
}

impl Auth {
    /// Only these may call; everybody, where there are none.
    pub fn new(users: Vec<User>, clock: Clock) -> Self {
        let waiting = Semaphore::new(REFUSALS_WAITING_MAX);
        let users = RwLock::new(shared(users, &clock));
        Self(Arc::new(Inner { users, clock, waiting, failed: Arc::new(Tally::new(FAILURES)) }))
    }

    /// How often requests proved no user, by why: they had no credentials, or wrong ones.
    pub fn failed(&self) -> Arc<Tally> {
        Arc::clone(&self.0.failed)
    }

    /// From the next request on, these may call.
    pub fn replace(&self, users: Vec<User>) {
        *self.0.users.write().unwrap_or_else(PoisonError::into_inner) = shared(users, &self.0.clock);
    }

    /// Puts this in front of a router. What it lets through from a user has an `Arc<User>` among its extensions.
    pub fn guard(self, router: Router) -> Router {
        let front = move |mut request: Request, next: Next| {
            let auth = self.clone();
            async move {
                match auth.judge(&request) {
                    Ok(None) => next.run(request).await,
                    Ok(Some((user, admitted))) => {
                        request.extensions_mut().insert(user);
                        let after = request.extensions().get::<AfterAnswer>().cloned();
                        let answer = next.run(request).await;
                        admitted.until_taken(&answer, after);
                        answer
                    }
                    Err(Denial::Stranger(refusal)) => auth.refuse(refusal, request.extensions().get()).await,
                    Err(Denial::TooMany(too_many)) => slow_down(too_many),
                }
            }
        };
        router.layer(middleware::from_fn(front))
    }

    fn judge(&self, request: &Request) -> Result<Option<(Arc<User>, Admitted)>, Denial> {
        let users = Arc::clone(&self.0.users.read().unwrap_or_else(PoisonError::into_inner));
        if users.is_empty() || request.extensions().get() == Some(&Peer::Unix) {
            return Ok(None);
        }
        let known = find(&users, request.headers()).map_err(Denial::Stranger)?;
        let admitted = known.admit(self.0.clock.now()).map_err(Denial::TooMany)?;
        Ok(Some((Arc::clone(&known.user), admitted)))
    }

    async fn refuse(&self, refusal: Refusal, peer: Option<&Peer>) -> Response {
        self.0.failed.add(refusal.word());
        let peer = peer.map(display);
        let text = match refusal {
            // No guess, and how every browser begins: it is asked for credentials at once, whoever else is guessing.
            Refusal::NoCredentials => {
                warn!(peer, "a request was refused: it had no credentials");
                "This daemon wants to know who calls: put user and token into the URL, as in http://user:token@host/\n"
            }
            Refusal::WrongCredentials => {
                warn!(peer, "a request was refused: it had wrong credentials");
                let Ok(_place) = self.0.waiting.try_acquire() else { return turn_away() };
                tokio::time::sleep(REFUSAL_DELAY).await;
                "No user of this daemon has this name and token.\n"
            }
        };
        let challenge = "Basic realm=\"apnsd\", charset=\"UTF-8\"";
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], text).into_response()
    }
}

fn turn_away() -> Response {
    let text = "Too many requests with wrong credentials at the moment: try again later.\n";
    (StatusCode::TOO_MANY_REQUESTS, [(header::CONNECTION, "close")], text).into_response()
}

fn shared(users: Vec<User>, clock: &Clock) -> Arc<[Arc<Admission>]> {
    users.into_iter().map(|user| Arc::new(Admission::new(user, clock))).collect()
}

fn slow_down(too_many: TooMany) -> Response {
    let text = match too_many {
        TooMany::PerSecond(limit) => format!("This user may make {limit} calls in a second: try again later.\n"),
        TooMany::AtOnce(limit) => format!("This user may make {limit} calls at once: try again later.\n"),
    };
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], text).into_response()
}

/// The user that the `Authorization` header proves.
fn find<'a>(users: &'a [Arc<Admission>], headers: &HeaderMap) -> Result<&'a Arc<Admission>, Refusal> {
    let header = headers.get(header::AUTHORIZATION).ok_or(Refusal::NoCredentials)?;
    let (name, token) = header.to_str().ok().and_then(credentials).ok_or(Refusal::WrongCredentials)?;
    let hash = TokenHash::of(&token);
    let proven = |known: &&Arc<Admission>| {
        // Both are looked at, whatever the first says.
        known.user.token.matches(&hash) & name.as_ref().is_none_or(|name| *name == known.user.name)
    };
    users.iter().find(proven).ok_or(Refusal::WrongCredentials)
}

/// Name, where the scheme has one, and token (RFC 7617, section 2; RFC 6750, section 2.1).
fn credentials(header: &str) -> Option<(Option<String>, String)> {
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((None, rest.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64_STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (name, token) = text.split_once(':')?;
    Some((Some(name.to_owned()), token.to_owned()))
}

#[cfg(test)]
mod tests;
