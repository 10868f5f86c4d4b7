//! Accepting connections: one task per socket, within the limit, through errors.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::bind::SocketFile;
use super::connection::{Shared, serve};
use super::peer::Peer;
use super::tls::Tls;

/// First and longest wait after an error that is not the fault of one connection, such as too many open files.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A socket that accepts.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Tls(TcpListener, Tls),
    /// The file goes before the socket, so that no other program can take the path in between.
    Unix {
        _file: SocketFile,
        listener: UnixListener,
    },
}

/// Accepts connections of one socket.
#[derive(Debug)]
pub(super) struct Acceptor {
    socket: Socket,
    shared: Arc<Shared>,
    /// Shared by all sockets.
    connections: Arc<Semaphore>,
    /// The last connection had to wait for its turn.
    full: bool,
}

impl Acceptor {
    pub(super) fn new(socket: Socket, shared: Arc<Shared>, connections: Arc<Semaphore>) -> Self {
        Self { socket, shared, connections, full: false }
    }

    /// Accepts until the stop. Every connection is a task of the same owner.
    pub(super) async fn run(mut self) {
        let stop = self.shared.shutdown.clone();
        tokio::select! {
            biased;
            () = stop.requested() => {}
            () = self.accept_all() => {}
        }
    }

    async fn accept_all(&mut self) {
        let mut wait = BACK_OFF.0;
        loop {
            match self.accept_one().await {
                Ok(()) => wait = BACK_OFF.0,
                Err(error) if is_of_one_connection(&error) => debug!(%error, "a caller was gone before it was served"),
                Err(error) => {
                    warn!(%error, again_in = ?wait, "no connection can be accepted");
                    self.shared.make_room.notify_one();
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(BACK_OFF.1);
                }
            }
        }
    }

    async fn accept_one(&mut self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let turn = self.turn().await?;
                self.spawn(turn, serve(stream, Peer::Tcp(from.ip()), self.shared.clone()));
            }
            Socket::Tls(listener, tls) => {
                let (stream, from) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let acceptor = tls.acceptor();
                let turn = self.turn().await?;
                self.spawn(turn, shake_hands_and_serve(stream, acceptor, Peer::Tcp(from.ip()), self.shared.clone()));
            }
            Socket::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let turn = self.turn().await?;
                self.spawn(turn, serve(stream, Peer::Unix, self.shared.clone()));
            }
        }
        Ok(())
    }

    fn spawn(&self, turn: OwnedSemaphorePermit, connection: impl Future<Output = ()> + Send + 'static) {
        self.shared.shutdown.spawn(async move {
            connection.await;
            drop(turn);
        });
    }

    async fn turn(&mut self) -> io::Result<OwnedSemaphorePermit> {
        if let Ok(turn) = self.connections.clone().try_acquire_owned() {
            self.full = false;
            return Ok(turn);
        }
        if !self.full {
            warn!(connections_max = self.shared.settings.connections_max, "all connections are taken: callers wait");
            self.full = true;
        }
        self.shared.make_room.notify_one();
        self.connections.clone().acquire_owned().await.map_err(io::Error::other)
    }
}

/// A handshake is part of what must come in `header_timeout`.
async fn shake_hands_and_serve(stream: TcpStream, acceptor: TlsAcceptor, peer: Peer, shared: Arc<Shared>) {
    let handshake = tokio::time::timeout(shared.settings.header_timeout, acceptor.accept(stream));
    let shaken = tokio::select! {
        biased;
        () = shared.shutdown.requested() => return,
        shaken = handshake => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => serve(stream, peer, shared).await,
        Ok(Err(error)) => debug!(%peer, %error, "no TLS with a caller"),
        Err(_) => debug!(%peer, "no TLS with a caller: the handshake took too long"),
    }
}

/// Errors of `accept` that say something about the connection and nothing about the socket.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use crate::listener::Settings;
    use crate::listener::bind::Listeners;
    use crate::shutdown::Shutdown;

    #[tokio::test]
    async fn a_caller_beyond_the_limit_is_served_in_place_of_an_idle_connection() {
        let listeners = Listeners::bind(&["127.0.0.1:0".parse().unwrap()], None).await.unwrap();
        let address = listeners.local_addresses()[0].to_string();
        let settings = Settings { connections_max: 2, ..Settings::default() };
        let shutdown = Shutdown::new();
        listeners.serve(Router::new().fallback(|| async { "x" }), settings, &shutdown);

        let mut kept = Vec::new();
        for _ in 0..5 {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut answer = [0; 15];
            let served = timeout(Duration::from_secs(60), stream.read_exact(&mut answer)).await;
            assert!(served.is_ok_and(|read| read.is_ok()));
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
            kept.push(stream);
        }
    }
}
