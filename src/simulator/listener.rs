//! Accepts connections, closes the listener for a while where a command wants it, and gives every connection its task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::warn;

use super::feedback::FeedbackList;
use super::journal::Journal;
use super::peer::GatewayEnvironment;
use super::tls::Tls;
use crate::clock::Clock;
use crate::shutdown::Shutdown;

/// Pause after an accept or a bind that failed, for want of file descriptors or because the port was taken meanwhile.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What the connections of both services share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) shutdown: Shutdown,
    pub(super) journal: Journal,
    pub(super) tls: Tls,
    pub(super) environment: GatewayEnvironment,
    pub(super) feedback: FeedbackList,
    connections: AtomicU64,
}

impl Shared {
    pub(super) fn new(
        clock: Clock,
        shutdown: Shutdown,
        journal: Journal,
        tls: Tls,
        environment: GatewayEnvironment,
    ) -> Self {
        let connections = AtomicU64::new(0);
        Self { clock, shutdown, journal, tls, environment, feedback: FeedbackList::default(), connections }
    }

    /// The number of a connection that opens now.
    pub(super) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Accepts until the stop; `serve` is run as a task that is dropped at the stop.
pub(super) async fn accept_all<F>(
    mut listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    mut refused: watch::Receiver<Option<Duration>>,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    // It may have been said before this task ran for the first time.
    refused.mark_changed();
    loop {
        tokio::select! {
            () = shared.shutdown.requested() => return,
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => spawn(&shared.shutdown, serve(tcp, peer)),
                Err(error) => {
                    warn!(%address, %error, "accepting a connection failed");
                    shared.clock.sleep(RETRY_AFTER).await;
                }
            },
            _ = refused.changed() => {
                let Some(span) = *refused.borrow_and_update() else { continue };
                drop(listener);
                tokio::select! {
                    () = shared.shutdown.requested() => return,
                    () = shared.clock.sleep(span) => (),
                    _ = refused.changed() => (),
                }
                let Some(again) = listen_again(address, &shared).await else { return };
                listener = again;
            }
        }
    }
}

fn spawn(shutdown: &Shutdown, task: impl Future<Output = ()> + Send + 'static) {
    let stop = shutdown.clone();
    shutdown.spawn(async move {
        tokio::select! {
            () = stop.requested() => (),
            () = task => (),
        }
    });
}

/// Binds the same address once more; `None` at the stop.
async fn listen_again(address: SocketAddr, shared: &Shared) -> Option<TcpListener> {
    while !shared.shutdown.is_requested() {
        match TcpListener::bind(address).await {
            Ok(listener) => return Some(listener),
            Err(error) => {
                warn!(%address, %error, "listening again failed");
                shared.clock.sleep(RETRY_AFTER).await;
            }
        }
    }
    None
}
