//! One request and its answer, seen by the connection's progress.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use hyper::body::{Frame, Incoming, SizeHint};
use tower::ServiceExt;

use super::after_answer::AfterAnswer;
use super::connection::Shared;
use super::endless::Endless;
use super::peer::Peer;
use super::progress::SharedProgress;
use super::turn::Turn;

/// Hands a connection's requests to a router, each with its [`Peer`], its [`AfterAnswer`] and its [`Turn`].
#[derive(Debug)]
pub(super) struct Exchange {
    peer: Peer,
    progress: SharedProgress,
    shared: Arc<Shared>,
}

impl Exchange {
    pub(super) fn new(peer: Peer, progress: SharedProgress, shared: Arc<Shared>) -> Self {
        Self { peer, progress, shared }
    }

    /// Why two programs on a request's way could read it as two different requests (RFC 9112, 3.2 and 6.1), where they
    /// could: it has a `Content-Length` and a `Transfer-Encoding` (the HTTP layer believes the latter), a coding besides
    /// `chunked` (which the HTTP layer would leave in place), or several hosts.
    fn ambiguity(&self, headers: &HeaderMap) -> Option<&'static str> {
        let codings = || headers.get_all(header::TRANSFER_ENCODING).iter();
        if codings().next().is_some() && self.progress.lock().head_names_length() {
            return Some("a request has either Content-Length or Transfer-Encoding, not both\n");
        }
        if codings().count() > 1 || codings().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            return Some("Transfer-Encoding has to be `chunked` alone, or left out\n");
        }
        (headers.get_all(header::HOST).iter().count() > 1).then_some("a request names one Host\n")
    }

    /// Whether a request in chunks may have had a `Content-Length` besides that nobody here has seen: its head, or some of
    /// it, arrived together with an earlier request. What follows its body may then be no request to others.
    fn may_hide_length(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(header::TRANSFER_ENCODING) && self.progress.lock().head_lines() < headers.len()
    }
}

impl hyper::service::Service<Request<Incoming>> for Exchange {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let ambiguity = self.ambiguity(request.headers());
        let is_hidden = ambiguity.is_none() && self.may_hide_length(request.headers());
        let has_body = !hyper::body::Body::is_end_stream(request.body());
        let number = self.progress.lock().request_begins(has_body);
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(AfterAnswer::new(self.progress.clone(), number));
        request.extensions_mut().insert(Turn::new(self.progress.clone(), number));
        let progress = self.progress.clone();
        let bodyless = request.method() == Method::HEAD;
        let request = request.map(|inner| Body::new(RequestBody { inner, progress: self.progress.clone() }));
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let mut answer = match ambiguity {
                Some(text) => refuse(text),
                None => shared.router.clone().oneshot(request).await?,
            };
            shared.callers.answered(answer.status().as_u16());
            if answer.extensions().get::<Endless>().is_some() {
                progress.lock().answer_is_endless();
            }
            let is_last = ambiguity.is_some() || is_hidden;
            if is_last || progress.lock().is_body_unread() || shared.shutdown.is_requested() {
                // What is left of the body would have to be read to find the next request; or there is to be none; or
                // another program may see it elsewhere.
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            if bodyless || hyper::body::Body::is_end_stream(answer.body()) {
                progress.lock().answer_ends();
            }
            Ok(answer.map(|inner| AnswerBody { inner, progress }))
        })
    }
}

fn refuse(text: &'static str) -> Response<Body> {
    (StatusCode::BAD_REQUEST, text).into_response()
}

/// A request's body that tells when it was read to its end.
#[derive(Debug)]
struct RequestBody {
    inner: Incoming,
    progress: SharedProgress,
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if frame.is_none() || self.inner.is_end_stream() {
            self.progress.lock().body_ends();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body that tells when the HTTP layer took the last of it.
#[derive(Debug)]
pub(super) struct AnswerBody {
    inner: Body,
    progress: SharedProgress,
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let failed = matches!(frame, Some(Err(_)));
        if frame.is_none() || (self.inner.is_end_stream() && !failed) {
            self.progress.lock().answer_ends();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
