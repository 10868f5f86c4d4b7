//! The socket of a connection, seen by its progress.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::progress::SharedProgress;

/// Bytes read at once and dropped while a connection closes.
const DROPPED_BYTES: usize = 4096;

/// A socket that tells [`SharedProgress`] what moves, and closes without taking the answer away from a peer that is
/// still sending.
#[derive(Debug)]
pub(super) struct WatchedStream<S> {
    stream: S,
    progress: SharedProgress,
    close: Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    Open,
    /// Our side is to be closed; whether to wait for the peer's side then.
    Ours {
        wait: bool,
    },
    /// Ours is closed: the peer's bytes are dropped until its side is closed too.
    Theirs,
}

impl<S> WatchedStream<S> {
    pub(super) fn new(stream: S, progress: SharedProgress) -> Self {
        Self { stream, progress, close: Close::Open }
    }

    fn wrote<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.progress.lock().write(result.is_pending());
        result
    }
}

impl<S> Drop for WatchedStream<S> {
    fn drop(&mut self) {
        let dropped = self.progress.lock().gone();
        drop(dropped);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if let Some(bytes) = buffer.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
            self.progress.lock().read(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        ready!(self.wrote(result))?;
        let due = self.progress.lock().flushed();
        due.into_iter().for_each(|action| action());
        Poll::Ready(Ok(()))
    }

    /// Closes our side; then, where the peer may still be sending, reads and drops until it has closed its own. Closing
    /// a socket with unread bytes would reset the connection, and the answer could be lost with it.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.close == Close::Open {
            let wait = self.progress.lock().closing();
            self.close = Close::Ours { wait };
        }
        if let Close::Ours { wait } = self.close {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !wait {
                return Poll::Ready(Ok(()));
            }
            self.close = Close::Theirs;
        }
        let mut dropped = [0; DROPPED_BYTES];
        loop {
            let mut buffer = ReadBuf::new(&mut dropped);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
