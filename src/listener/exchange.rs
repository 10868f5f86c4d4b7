//! One request and its answer, seen by the connection's progress.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use hyper::body::{Frame, Incoming, SizeHint};
use tower::ServiceExt;

use super::after_answer::AfterAnswer;
use super::connection::Shared;
use super::endless::Endless;
use super::peer::Peer;
use super::progress::SharedProgress;

/// Hands a connection's requests to a router, each with its [`Peer`] and its [`AfterAnswer`].
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

    /// Whether the request has a `Content-Length` and a `Transfer-Encoding`, which two programs on its way could read
    /// as two different requests (RFC 9112, 6.1). The HTTP layer believes the latter and closes after the answer.
    fn has_two_lengths<B>(&self, request: &Request<B>) -> bool {
        request.headers().contains_key(header::TRANSFER_ENCODING) && self.progress.lock().head_names_length()
    }
}

impl hyper::service::Service<Request<Incoming>> for Exchange {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let two_lengths = self.has_two_lengths(&request);
        let has_body = !hyper::body::Body::is_end_stream(request.body());
        let number = self.progress.lock().request_begins(has_body);
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(AfterAnswer::new(self.progress.clone(), number));
        let progress = self.progress.clone();
        let bodyless = request.method() == Method::HEAD;
        let request = request.map(|inner| Body::new(RequestBody { inner, progress: self.progress.clone() }));
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let mut answer = match two_lengths {
                true => refuse_two_lengths(),
                false => shared.router.clone().oneshot(request).await?,
            };
            shared.callers.answered(answer.status().as_u16());
            if answer.extensions().get::<Endless>().is_some() {
                progress.lock().answer_is_endless();
            }
            if progress.lock().is_body_unread() || shared.shutdown.is_requested() {
                // What is left of the body would have to be read to find the next request; or there is to be none.
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            if bodyless || hyper::body::Body::is_end_stream(answer.body()) {
                progress.lock().answer_ends();
            }
            Ok(answer.map(|inner| AnswerBody { inner, progress }))
        })
    }
}

fn refuse_two_lengths() -> Response<Body> {
    let text = "a request has either Content-Length or Transfer-Encoding, not both\n";
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
