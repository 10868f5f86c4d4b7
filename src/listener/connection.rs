//! One connection, from accept to close: HTTP/1 on it, its time-outs, its end.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::Sleep;
use tracing::debug;

use super::Settings;
use super::exchange::Exchange;
use super::peer::Peer;
use super::progress::{HEAD_BYTES_MAX, Phase, SharedProgress};
use super::stream::WatchedStream;
use crate::shutdown::Shutdown;

/// Most bytes of a connection that are buffered in one direction.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Longest wait for a peer that still sends what nobody will read.
const CLOSING_MAX: Duration = Duration::from_secs(5);

/// Longest wait, once the stop has come, for the first bytes of a connection that was accepted just before it: its caller
/// has done nothing wrong, and was not told anything either.
const NEWCOMER: Duration = Duration::from_secs(1);

/// What all connections of a listener share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) settings: Settings,
    pub(super) shutdown: Shutdown,
    /// Each notification closes the connection that has been idle for longest.
    pub(super) make_room: Notify,
}

/// Serves one connection until it is over.
///
/// A request that was read is executed to its end, whatever becomes of the peer's sending side (`half_close`). After the
/// stop a connection without a request has a moment to make its first.
pub(super) async fn serve<S>(stream: S, peer: Peer, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let progress = SharedProgress::default();
    let io = TokioIo::new(WatchedStream::new(stream, progress.clone()));
    let exchange = Exchange::new(shared.router.clone(), peer, progress.clone(), shared.shutdown.clone());
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
    let mut timer: Pin<Box<Option<Sleep>>> = Box::pin(None);
    let (mut phase, mut step) = progress.phase_now();
    timer.set(limit(phase, &shared.settings).map(tokio::time::sleep));
    loop {
        if stopping && progress.lock().is_stuck_in_endless() {
            return debug!("connection closed: the peer took nothing of what has no end");
        }
        tokio::select! {
            biased;
            result = connection.as_mut() => return log_end(result),
            moved = progress.moved_from(step) => {
                (phase, step) = moved;
                timer.set(limit(phase, &shared.settings).map(tokio::time::sleep));
                if stopping {
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = elapsed(timer.as_mut()) => match phase {
                Phase::Idle => {
                    timer.set(None);
                    connection.as_mut().graceful_shutdown();
                }
                Phase::Head | Phase::Exchange | Phase::Stuck | Phase::Closing => {
                    return debug!(?phase, "connection closed: the peer took too long");
                }
            },
            () = &mut stop, if !stopping => {
                stopping = true;
                match step {
                    0 => timer.set(Some(tokio::time::sleep(NEWCOMER))),
                    _ => connection.as_mut().graceful_shutdown(),
                }
            }
            () = shared.make_room.notified(), if phase == Phase::Idle => connection.as_mut().graceful_shutdown(),
        }
    }
}

/// Resolves when the stop has come and whoever connected just before it has had a moment to say something.
pub(super) async fn stopped_for_newcomers(shutdown: &Shutdown) {
    shutdown.requested().await;
    tokio::time::sleep(NEWCOMER).await;
}

/// How long a connection may stay in a phase without moving.
fn limit(phase: Phase, settings: &Settings) -> Option<Duration> {
    match phase {
        Phase::Idle => Some(settings.keep_alive),
        Phase::Head => Some(settings.header_timeout),
        Phase::Exchange => None,
        Phase::Stuck => Some(settings.body_timeout),
        Phase::Closing => Some(CLOSING_MAX),
    }
}

async fn elapsed(mut timer: Pin<&mut Option<Sleep>>) {
    match timer.as_mut().as_pin_mut() {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

impl SharedProgress {
    fn phase_now(&self) -> (Phase, u64) {
        self.lock().phase()
    }

    /// Resolves when the connection has moved since a step. Wakes nobody: it must be polled after the connection, by
    /// the same task, and nothing else moves it.
    async fn moved_from(&self, step: u64) -> (Phase, u64) {
        poll_fn(|_| match self.phase_now() {
            (_, now) if now == step => Poll::Pending,
            moved => Poll::Ready(moved),
        })
        .await
    }
}

fn log_end(result: hyper::Result<()>) {
    match result {
        Ok(()) => debug!("connection closed"),
        Err(error) => debug!(%error, "connection closed: broken, or not HTTP"),
    }
}

#[cfg(test)]
mod tests;
