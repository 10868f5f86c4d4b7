//! How a connection is ended, whatever it speaks, and the words for it in the journal.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::script::fault::Ending;
use super::socket;
use crate::clock::Clock;

/// How long [`Ending::Unread`] waits for something to leave unread.
const UNREAD_MAX: Duration = Duration::from_secs(1);

pub(super) const CLEAN: &str = "close_notify and FIN";
pub(super) const FIN: &str = "FIN without close_notify";
pub(super) const RESET: &str = "reset";
const UNREAD: &str = "closed with unread bytes";

/// Ends the server's side; how, and whether the client is to be read on until it closes. What [`Ending::DrainMs`] reads
/// before is read by now.
pub(super) async fn close(
    stream: &mut TlsStream<TcpStream>,
    ending: Ending,
    pause: Duration,
    clock: &Clock,
) -> (&'static str, bool) {
    match ending {
        Ending::Clean | Ending::DrainMs(_) => (CLEAN, stream.shutdown().await.is_ok()),
        Ending::Fin => (FIN, stream.get_mut().0.shutdown().await.is_ok()),
        Ending::Unread => {
            let mut byte = [0];
            let left_unread = stream.get_ref().0.peek(&mut byte);
            match tokio::time::timeout(UNREAD_MAX, left_unread).await {
                Ok(Ok(1..)) => (UNREAD, false),
                Ok(_) | Err(_) => (FIN, false),
            }
        }
        Ending::Reset | Ending::ResetWithinMs(_) => {
            clock.sleep(pause).await;
            match socket::reset_on_close(stream.get_ref().0) {
                Ok(()) => (RESET, false),
                Err(_) => (FIN, false),
            }
        }
    }
}
