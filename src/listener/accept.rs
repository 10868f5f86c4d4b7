//! Accepting connections: one task per socket, within the limit, through errors.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::address::LocalAddress;
use super::bind::SocketFile;
use super::connection::{Shared, serve, stopped_for_newcomers};
use super::peer::Peer;
use super::room::{Lull, Place, SLOW_AFTER};
use super::tls::Tls;
use crate::telemetry::metrics::callers::CallerEnd;

/// First and longest wait after an error that is not the fault of one connection, such as too many open files.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A socket that accepts.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Tls(TcpListener, Tls),
    /// The file goes before the socket, so that no other program can take the path in between. None where the socket is
    /// another process' making.
    Unix {
        _file: Option<SocketFile>,
        listener: UnixListener,
    },
}

/// Where an accept loop is asked whether it is alive.
pub(super) type Asked = mpsc::Receiver<oneshot::Sender<()>>;

/// The accept loops of all sockets, to be asked whether they are alive.
#[derive(Debug, Default)]
pub struct AcceptLoops(Vec<(LocalAddress, mpsc::Sender<oneshot::Sender<()>>)>);

impl AcceptLoops {
    pub(super) fn add(&mut self, address: LocalAddress) -> Asked {
        let (ask, asked) = mpsc::channel(1);
        self.0.push((address, ask));
        asked
    }

    /// Resolves once every loop has answered: it accepts connections, or waits for one to end because there are as many
    /// as there may be. Does not resolve while one hangs. The address of one that has ended is the error.
    pub async fn answer(&self) -> Result<(), LocalAddress> {
        for (address, ask) in &self.0 {
            let (answer, answered) = oneshot::channel();
            ask.send(answer).await.map_err(|_| address.clone())?;
            answered.await.map_err(|_| address.clone())?;
        }
        Ok(())
    }
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
    asked: Asked,
}

/// A connection that was accepted and is not served yet.
enum Accepted {
    Tcp(TcpStream, Peer),
    Tls(TcpStream, TlsAcceptor, Peer),
    Unix(UnixStream),
}

impl Acceptor {
    pub(super) fn new(socket: Socket, shared: Arc<Shared>, connections: Arc<Semaphore>, asked: Asked) -> Self {
        Self { socket, shared, connections, full: false, asked }
    }

    /// Accepts until the stop. Every connection is a task of the same owner. One that was accepted is served, whenever
    /// the stop comes.
    pub(super) async fn run(mut self) {
        let stop = self.shared.shutdown.clone();
        let mut wait = BACK_OFF.0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.requested() => return,
                accepted = answering(&mut self.asked, self.socket.accept()) => accepted,
            };
            match accepted {
                Ok(accepted) => {
                    wait = BACK_OFF.0;
                    self.serve(accepted).await;
                }
                Err(error) if is_of_one_connection(&error) => debug!(%error, "a caller was gone before it was served"),
                Err(error) => {
                    warn!(%error, again_in = ?wait, "no connection can be accepted");
                    // Where nobody can go there is nothing to be done but wait.
                    let _ = self.shared.room.ask();
                    tokio::select! {
                        () = stop.requested() => return,
                        () = answering(&mut self.asked, tokio::time::sleep(wait)) => (),
                    }
                    wait = (wait * 2).min(BACK_OFF.1);
                }
            }
        }
    }

    async fn serve(&mut self, accepted: Accepted) {
        // The semaphore is never closed.
        let Ok(turn) = self.turn().await else { return };
        let (shared, place) = (self.shared.clone(), self.shared.room.place());
        match accepted {
            Accepted::Tcp(stream, peer) => self.spawn(turn, serve(stream, peer, shared, place)),
            Accepted::Tls(stream, tls, peer) => {
                self.spawn(turn, shake_hands_and_serve(stream, tls, peer, shared, place));
            }
            Accepted::Unix(stream) => self.spawn(turn, serve(stream, Peer::Unix, shared, place)),
        }
    }

    fn spawn(&self, turn: OwnedSemaphorePermit, connection: impl Future<Output = CallerEnd> + Send + 'static) {
        let callers = Arc::clone(&self.shared.callers);
        callers.begins();
        self.shared.shutdown.spawn(async move {
            callers.ends(connection.await);
            drop(turn);
        });
    }

    async fn turn(&mut self) -> Result<OwnedSemaphorePermit, AcquireError> {
        if let Ok(turn) = self.connections.clone().try_acquire_owned() {
            self.full = false;
            return Ok(turn);
        }
        if !self.full {
            warn!(connections_max = self.shared.settings.connections_max, "all connections are taken: callers wait");
            self.full = true;
        }
        let turn = self.shared.room.ask_until(self.connections.clone().acquire_owned());
        answering(&mut self.asked, turn).await
    }
}

impl Socket {
    /// Loses no connection when it is dropped before it resolves.
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, Peer::Tcp(from.ip())))
            }
            Self::Tls(listener, tls) => {
                let (stream, from) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tls(stream, tls.acceptor(), Peer::Tcp(from.ip())))
            }
            Self::Unix { listener, .. } => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

/// Waits, and says meanwhile that it is alive.
async fn answering<T>(asked: &mut Asked, wait: impl Future<Output = T>) -> T {
    let mut wait = pin!(wait);
    loop {
        tokio::select! {
            done = &mut wait => return done,
            // Nobody waits for the answer of a question that was given up.
            Some(answer) = asked.recv() => drop(answer.send(())),
        }
    }
}

/// A handshake is part of what must come in `header_timeout`.
async fn shake_hands_and_serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    peer: Peer,
    shared: Arc<Shared>,
    mut place: Place,
) -> CallerEnd {
    let handshake = tokio::time::timeout(shared.settings.header_timeout, acceptor.accept(stream));
    let shaken = tokio::select! {
        biased;
        () = stopped_for_newcomers(&shared.shutdown) => return CallerEnd::Closed,
        shaken = handshake => shaken,
        () = must_go(&mut place) => {
            debug!(%peer, "no TLS with a caller: it was slow, and another one needed the place");
            return CallerEnd::Crowded;
        }
    };
    match shaken {
        Ok(Ok(stream)) => {
            place.could_go(None);
            serve(stream, peer, shared, place).await
        }
        Ok(Err(error)) => {
            debug!(%peer, %error, "no TLS with a caller");
            CallerEnd::Handshake
        }
        Err(_) => {
            debug!(%peer, "no TLS with a caller: the handshake took too long");
            CallerEnd::Slow
        }
    }
}

/// Resolves when a connection has been slow with its handshake and another one needs the place.
async fn must_go(place: &mut Place) {
    tokio::time::sleep(SLOW_AFTER).await;
    place.could_go(Some(Lull::Slow));
    place.told().await;
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
    use crate::listener::unix;
    use crate::shutdown::Shutdown;

    #[tokio::test]
    async fn a_caller_beyond_the_limit_is_served_in_place_of_an_idle_connection() {
        let listeners =
            Listeners::bind(&["127.0.0.1:0".parse().unwrap()], None, &unix::Settings::default()).await.unwrap();
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

    #[tokio::test]
    async fn an_accept_loop_that_waits_for_room_is_alive_and_one_that_was_stopped_is_not() {
        let listeners =
            Listeners::bind(&["127.0.0.1:0".parse().unwrap()], None, &unix::Settings::default()).await.unwrap();
        let address = listeners.local_addresses()[0].clone();
        let settings = Settings { connections_max: 1, ..Settings::default() };
        let (began, mut begins) = tokio::sync::mpsc::channel(1);
        let never = Router::new().fallback(move || async move {
            began.send(()).await.unwrap();
            std::future::pending::<()>().await;
        });
        let shutdown = Shutdown::new();
        let loops = listeners.serve(never, settings, &shutdown);
        let mut busy = TcpStream::connect(address.to_string()).await.unwrap();
        busy.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        begins.recv().await.unwrap();
        let _waits = TcpStream::connect(address.to_string()).await.unwrap();
        for _ in 0..3 {
            assert_eq!(timeout(Duration::from_secs(60), loops.answer()).await, Ok(Ok(())));
        }

        let listeners =
            Listeners::bind(&["127.0.0.1:0".parse().unwrap()], None, &unix::Settings::default()).await.unwrap();
        let address = listeners.local_addresses()[0].clone();
        let shutdown = Shutdown::new();
        let loops = listeners.serve(Router::new(), Settings::default(), &shutdown);
        assert!(shutdown.finish(Duration::from_secs(60)).await);
        assert_eq!(timeout(Duration::from_secs(60), loops.answer()).await, Ok(Err(address)));
    }
}
