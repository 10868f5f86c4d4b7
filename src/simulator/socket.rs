//! Ways to treat a TCP connection that an ordinary server has no use for.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;

use crate::clock::Clock;

/// How long a closed connection is read on, so that the client gets what was sent to it last.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Sends FIN, then reads until the client closes, or for [`DRAIN_MAX`].
pub(super) async fn close_and_drain(mut tcp: TcpStream, clock: &Clock) {
    if tcp.shutdown().await.is_ok() {
        drain(&mut tcp, DRAIN_MAX, clock).await;
    }
}

/// Reads and forgets until the end, or for so long. Whether the client closed properly in that time.
pub(super) async fn drain(stream: &mut (impl AsyncRead + Unpin), span: Duration, clock: &Clock) -> bool {
    let mut buffer = vec![0; 16 * 1024];
    let read_all = async {
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => return true,
                Ok(_) => (),
                Err(_) => return false,
            }
        }
    };
    tokio::select! {
        closed = read_all => closed,
        () = clock.sleep(span) => false,
    }
}

/// Makes the coming close a RST.
pub(super) fn reset_on_close(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_zero_linger()
}

/// Resolves when the client has closed or reset the connection; reads nothing. Bytes that wait unread hide a FIN
/// behind them only while the receive window is full.
pub(super) async fn closed_by_client(tcp: &TcpStream) {
    while let Ok(ready) = tcp.ready(Interest::READABLE).await {
        if ready.is_read_closed() {
            return;
        }
        // Nothing is taken out of the socket: this only makes the next `ready` wait for news.
        let waiting: io::Result<()> = tcp.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
        debug_assert!(waiting.is_err());
    }
}
