//! The control port: the journal as JSON, and commands. Plain HTTP for people with curl and for test programs.
//!
//! Requests that a web page sends (with an `Origin` header) are refused: a page must not reach a port on loopback.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CONTENT_TYPE, ORIGIN};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpListener;
use tracing::warn;

use super::HELP;
use super::feedback::FeedbackList;
use super::http2::provider_token::{ProviderTokenUse, ProviderTokens};
use super::journal::Journal;
use super::journal::entry::Summary;
use super::script::{CommandError, Script};
use crate::clock::Clock;
use crate::shutdown::Shutdown;

/// Largest body: a feedback list of some 500,000 entries.
const BODY_MAX: usize = 64 * 1024 * 1024;
/// Entries of a page when no limit is named.
const LIMIT_DEFAULT: usize = 1000;
/// How long requests may take to end after the stop.
const STOP_MAX: Duration = Duration::from_secs(1);

/// What the control port shows and steers.
#[derive(Clone, Debug)]
pub(super) struct Control {
    pub(super) journal: Journal,
    pub(super) script: Script,
    pub(super) feedback: FeedbackList,
    pub(super) provider_tokens: ProviderTokens,
}

/// The counts, and the provider tokens that were taken.
#[derive(Serialize)]
struct Counts {
    #[serde(flatten)]
    summary: Summary,
    provider_tokens: Vec<ProviderTokenUse>,
}

/// Serves until the stop; requests that are under way have [`STOP_MAX`].
pub(super) async fn serve(listener: TcpListener, control: Control, clock: Clock, shutdown: Shutdown) {
    let stop = shutdown.clone();
    let server = axum::serve(listener, router(control)).with_graceful_shutdown(async move { stop.requested().await });
    let too_late = async {
        shutdown.requested().await;
        clock.sleep(STOP_MAX).await;
    };
    tokio::select! {
        served = server.into_future() => if let Err(error) = served {
            warn!(%error, "the control port failed");
        },
        () = too_late => (),
    }
}

fn router(control: Control) -> Router {
    Router::new()
        .route("/", get(|| async { HELP }))
        .route("/journal", get(journal))
        .route("/summary", get(summary))
        .route("/script", post(command).delete(clear))
        .route("/feedback", post(feedback))
        .fallback(|| async { Refusal::Path })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(refuse_web_pages))
        .with_state(Arc::new(control))
}

/// Why a request is refused.
#[derive(Debug, Error)]
enum Refusal {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Command(#[from] CommandError),
    #[error("`{0}` is not a number from 0")]
    Number(String),
    #[error("unknown parameter `{0}`, expected `after` or `limit`")]
    Parameter(String),
    #[error("nothing here; GET / tells what there is")]
    Path,
    #[error("requests from web pages are refused")]
    WebPage,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Json(_) | Self::Command(_) | Self::Number(_) | Self::Parameter(_) => StatusCode::BAD_REQUEST,
            Self::Path => StatusCode::NOT_FOUND,
            Self::WebPage => StatusCode::FORBIDDEN,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

/// An answer as one line of JSON.
struct Json<T>(T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(mut body) => {
                body.push(b'\n');
                ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
            }
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

async fn refuse_web_pages(request: Request, next: Next) -> Response {
    match request.headers().contains_key(ORIGIN) {
        true => Refusal::WebPage.into_response(),
        false => next.run(request).await,
    }
}

async fn journal(State(control): State<Arc<Control>>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let (mut after, mut limit) = (0, LIMIT_DEFAULT);
    for pair in query.as_deref().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let number = || value.parse::<u64>().map_err(|_| Refusal::Number(value.to_owned()));
        match name {
            "after" => after = number()?,
            "limit" => limit = usize::try_from(number()?).unwrap_or(usize::MAX),
            _ => return Err(Refusal::Parameter(name.to_owned())),
        }
    }
    Ok(Json(control.journal.page(after, limit)).into_response())
}

async fn summary(State(control): State<Arc<Control>>) -> Response {
    let (summary, provider_tokens) = (control.journal.summary(), control.provider_tokens.taken());
    Json(Counts { summary, provider_tokens }).into_response()
}

async fn command(State(control): State<Arc<Control>>, body: Bytes) -> Result<Response, Refusal> {
    let open = control.script.command(parse(&body)?)?;
    Ok(Json(json!({ "open_connections": open })).into_response())
}

async fn clear(State(control): State<Arc<Control>>) -> StatusCode {
    control.script.clear();
    control.feedback.clear_faults();
    StatusCode::NO_CONTENT
}

async fn feedback(State(control): State<Arc<Control>>, body: Bytes) -> Result<Response, Refusal> {
    let waiting = control.feedback.command(parse(&body)?)?;
    Ok(Json(json!({ "waiting": waiting })).into_response())
}

/// Reads a command, whatever the request says about its content.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    Ok(serde_json::from_slice(body)?)
}
