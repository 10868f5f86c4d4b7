//! HTTP in front of the methods: which requests are calls, and the answers that are not XML-RPC.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::Settings;
use super::call::{Answer, answer, unfinished};
use super::intake::{Intake, Received, Refusal};
use super::methods::{Caller, calls};
use super::threads::{Threads, Whose};
use crate::listener::after_answer::AfterAnswer;
use crate::listener::turn::Turn;
use crate::listener::user::User;
use crate::service::PushService;
use crate::service::about::About;
use crate::telemetry::metrics::calls::Calls;

/// Answers XML-RPC calls over HTTP. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: PushService,
    settings: Settings,
    about: About,
    intake: Intake,
    calls: Arc<Calls>,
    /// Threads for large calls.
    threads: Threads,
}

impl Server {
    /// A server for these verbs.
    pub fn new(service: PushService, settings: Settings, about: About) -> Self {
        let intake = Intake::new(&settings);
        let calls = Arc::new(calls());
        Self(Arc::new(Inner { service, settings, about, intake, calls, threads: Threads::new() }))
    }

    /// How often each method was called, and with which faults.
    pub fn calls(&self) -> Arc<Calls> {
        Arc::clone(&self.0.calls)
    }

    /// Every POST, whatever its path, is a call, as with pyapns; other methods reach the pages, and what those do not
    /// serve is answered 405.
    ///
    /// A request that a web page caused is refused, be it for a call or a page: no page anywhere may reach a daemon on
    /// loopback through its visitor's browser.
    pub fn router(self, pages: Router) -> Router {
        let front = move |request: Request, next: Next| {
            let server = self.clone();
            async move {
                match request.method() {
                    _ if request.headers().contains_key(header::ORIGIN) => refuse_origin(),
                    &Method::POST => server.call(request).await.unwrap_or_else(IntoResponse::into_response),
                    _ => next.run(request).await,
                }
            }
        };
        let pages = pages.fallback(refuse_method).method_not_allowed_fallback(refuse_page_method);
        // Around all of them and not on each: a page would add what it allows to the answer of a call.
        Router::new().fallback_service(pages).layer(middleware::from_fn(front))
    }

    async fn call(&self, request: Request) -> Result<Response, Refusal> {
        let (head, body) = request.into_parts();
        let user = head.extensions.get::<Arc<User>>();
        let received =
            self.0.intake.receive(&head.headers, body, whose(user), user.and_then(|user| user.limits.body)).await?;
        let charset = charset(&head.headers);
        let Answer { xml, receipt } = match received.is_large() {
            true => self.answer_on_thread(received, charset, user.cloned(), head.extensions.get()).await?,
            false => self.answer(received, charset.as_deref(), user).await?,
        };
        if let (Some(receipt), Some(after)) = (receipt, head.extensions.get::<AfterAnswer>()) {
            after.run(|| receipt.handed_out());
        }
        Ok(([(header::CONTENT_TYPE, "text/xml; charset=utf-8")], xml).into_response())
    }

    async fn answer(
        &self,
        received: Received,
        charset: Option<&str>,
        user: Option<&Arc<User>>,
    ) -> Result<Answer, Refusal> {
        let body = received.plain()?;
        let Inner { service, settings, about, calls, .. } = &*self.0;
        let caller = Caller::new(service, settings, about, user.map(|user| &**user), calls);
        Ok(answer(caller, body.bytes(), charset).await)
    }

    /// Makes a large call where its decoding holds up nobody: on threads, whenever it computes.
    async fn answer_on_thread(
        &self,
        received: Received,
        charset: Option<String>,
        user: Option<Arc<User>>,
        turn: Option<&Turn>,
    ) -> Result<Answer, Refusal> {
        let Inner { threads, settings, .. } = &*self.0;
        let whose = whose(user.as_ref());
        let comes = timeout(settings.body_timeout, threads.turn(whose.clone()));
        let thread = match turn {
            Some(turn) => turn.wait(comes).await,
            None => comes.await,
        };
        let thread = thread.map_err(|_| Refusal::Busy)?;
        let server = self.clone();
        let call = async move { server.answer(received, charset.as_deref(), user.as_ref()).await };
        match threads.run(thread, whose, call).await {
            Ok(answer) => answer,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => Ok(unfinished(panic.as_ref())),
                Err(_) => Ok(unfinished(&"the runtime ended first")),
            },
        }
    }
}

fn whose(user: Option<&Arc<User>>) -> Whose {
    user.map(|user| user.name.as_str().into())
}

/// The `charset` parameter of the `Content-Type` header.
fn charset(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().to_owned())
    })
}

fn refuse_origin() -> Response {
    let text = "Requests from web pages (with an Origin header) are not served. Call from a program.\n";
    (StatusCode::FORBIDDEN, text).into_response()
}

async fn refuse_method() -> Response {
    not_allowed("POST")
}

/// Where a page can be had too.
async fn refuse_page_method() -> Response {
    not_allowed("GET, HEAD, POST")
}

fn not_allowed(allowed: &'static str) -> Response {
    let text = "This is apnsd, a push-notification daemon. Calls are XML-RPC in HTTP POST requests, on any path.\n";
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, allowed)], text).into_response()
}

impl IntoResponse for Refusal {
    /// The listener closes the connection after an answer that did not wait for the end of the body.
    fn into_response(self) -> Response {
        match self {
            Self::TooLarge => {
                let text = "The body is over the limit (limits.body): send fewer notifications in one call.\n";
                (StatusCode::PAYLOAD_TOO_LARGE, text).into_response()
            }
            Self::TooSlow => {
                let text = "The body did not arrive in time (http.body_timeout).\n";
                (StatusCode::REQUEST_TIMEOUT, text).into_response()
            }
            Self::Busy => {
                let text = "Too many large calls at once: this one was not begun, try again later.\n";
                (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
            }
            Self::Encoding(encoding) => {
                let text = format!("Content-Encoding {encoding} is not supported: send gzip, or none.\n");
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, [(header::ACCEPT_ENCODING, "gzip")], text).into_response()
            }
            Self::Damaged(problem) => {
                let text = format!("The body is not valid gzip: {problem}.\n");
                (StatusCode::BAD_REQUEST, text).into_response()
            }
            Self::Broken => {
                (StatusCode::BAD_REQUEST, "The body ended early, or its chunks are malformed.\n").into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charset_of(content_type: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        charset(&headers)
    }

    #[test]
    fn the_charset_is_found_among_the_parameters() {
        assert_eq!(charset_of("text/xml"), None);
        assert_eq!(charset_of("text/xml; charset=utf-8").as_deref(), Some("utf-8"));
        assert_eq!(charset_of("text/xml;a=b; Charset = \"iso-8859-1\" ;c").as_deref(), Some("\"iso-8859-1\""));
        assert_eq!(charset(&HeaderMap::new()), None);
    }
}
