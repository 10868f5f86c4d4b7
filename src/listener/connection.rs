//! One connection, from accept to close: HTTP/1 on it, its time-outs, its end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::Settings;
use super::exchange::Exchange;
use super::pace::{Pace, Verdict};
use super::peer::Peer;
use super::progress::{HEAD_BYTES_MAX, SharedProgress};
use super::room::{Place, Room};
use super::stream::WatchedStream;
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::callers::{CallerEnd, Callers};

/// Most bytes of a connection that are buffered in one direction.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Longest wait, once the stop has come, for the first bytes of a connection that was accepted just before it: its caller
/// has done nothing wrong, and was not told anything either.
const NEWCOMER: Duration = Duration::from_secs(1);

/// What all connections of a listener share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) settings: Settings,
    pub(super) shutdown: Shutdown,
    pub(super) room: Room,
    pub(super) callers: Arc<Callers>,
}

/// Serves one connection until it is over.
///
/// A request that was read is executed to its end, whatever becomes of the peer's sending side (`half_close`). After the
/// stop a connection without a request has a moment to make its first.
pub(super) async fn serve<S>(stream: S, peer: Peer, shared: Arc<Shared>, place: Place) -> CallerEnd
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let progress = SharedProgress::default();
    let io = TokioIo::new(WatchedStream::new(stream, progress.clone()));
    let exchange = Exchange::new(peer, progress.clone(), Arc::clone(&shared));
    let connection = http1::Builder::new()
        .half_close(true)
        // As pyapns wrote them: some old clients compare header names to the letter.
        .title_case_headers(true)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(io, exchange);
    let mut connection = pin!(connection);
    let mut stop = pin!(shared.shutdown.requested());
    let mut stopping = false;
    let mut pace = Pace::new(progress.clone(), &shared.settings, place);
    loop {
        if stopping && progress.lock().is_stuck_in_endless() {
            debug!("connection closed: the peer took nothing of what has no end");
            return CallerEnd::Slow;
        }
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                let end = ended(result);
                return refused(&progress, &shared.callers).unwrap_or(end);
            }
            verdict = pace.next() => match verdict {
                Verdict::GoOn if !stopping => {}
                Verdict::GoOn | Verdict::Finish => connection.as_mut().graceful_shutdown(),
                Verdict::Leave(end) => {
                    debug!(%peer, phase = ?pace.phase(), ?end, "connection closed: the peer took too long");
                    return refused(&progress, &shared.callers).unwrap_or(end);
                }
            },
            () = &mut stop, if !stopping => {
                stopping = true;
                match pace.has_begun() {
                    false => pace.finish_in(NEWCOMER),
                    true => connection.as_mut().graceful_shutdown(),
                }
            }
        }
    }
}

/// Resolves when the stop has come and whoever connected just before it has had a moment to say something.
pub(super) async fn stopped_for_newcomers(shutdown: &Shutdown) {
    shutdown.requested().await;
    tokio::time::sleep(NEWCOMER).await;
}

fn ended(result: hyper::Result<()>) -> CallerEnd {
    match result {
        Ok(()) => {
            debug!("connection closed");
            CallerEnd::Closed
        }
        Err(error) => {
            debug!(%error, "connection closed: broken, or not HTTP");
            CallerEnd::Broken
        }
    }
}

/// Counts what the HTTP layer refused by itself, since no request came of it.
fn refused(progress: &SharedProgress, callers: &Callers) -> Option<CallerEnd> {
    let status = progress.lock().refused_head()?;
    callers.answered(status);
    Some(CallerEnd::Broken)
}

#[cfg(test)]
mod tests;
