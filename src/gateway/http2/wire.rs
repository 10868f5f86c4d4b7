//! The bytes below HTTP/2: notes when something was read, and what the path broke of.
//!
//! `h2` reports a broken path without the TLS alert behind it, and stops reading as soon as it cannot write, although
//! answers and the alert that explains the end may still be there to read. So a path that cannot be written to any more
//! takes bytes to nowhere here, and is read to its end.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::gateway::tls::{Failure, Stream};

/// A TLS stream that is watched.
pub(super) struct Wire {
    stream: Stream,
    seen: Arc<Seen>,
}

/// What was seen of a stream.
#[derive(Debug, Default)]
pub(super) struct Seen {
    bytes_read: AtomicU64,
    is_unwritable: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

impl Wire {
    /// Watches a stream.
    pub(super) fn new(stream: Stream) -> (Self, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        (Self { stream, seen: seen.clone() }, seen)
    }

    fn write_failed(&self, error: &io::Error) {
        self.seen.fail(error);
        self.seen.is_unwritable.store(true, Ordering::Relaxed);
    }

    /// What was decrypted before a TLS error, which hides it.
    fn read_before_error(&mut self, buffer: &mut ReadBuf<'_>) -> usize {
        let read = self.stream.get_mut().1.reader().read(buffer.initialize_unfilled()).unwrap_or(0);
        buffer.advance(read);
        read
    }
}

impl Seen {
    /// Bytes read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Whether nothing can be written any more.
    pub(super) fn is_unwritable(&self) -> bool {
        self.is_unwritable.load(Ordering::Relaxed)
    }

    /// What the path broke of, where it did.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A verdict on the credentials explains any other failure; else the first one counts.
    fn fail(&self, error: &io::Error) {
        let failure = Failure::of(error);
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() || matches!(failure, Failure::Refused(_)) {
            *first = Some(failure);
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))
            && self.read_before_error(buffer) == 0
        {
            self.seen.fail(&error);
            return Poll::Ready(Err(error));
        }
        let read = buffer.filled().len() - before;
        self.seen.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.seen.is_unwritable() {
            return Poll::Ready(Ok(bytes.len()));
        }
        match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)) {
            Ok(written) => Poll::Ready(Ok(written)),
            Err(error) => {
                self.write_failed(&error);
                Poll::Ready(Ok(bytes.len()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.seen.is_unwritable() {
            return Poll::Ready(Ok(()));
        }
        if let Err(error) = ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
            self.write_failed(&error);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
