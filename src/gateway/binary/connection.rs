//! One TLS connection to a binary gateway: bytes between the socket and the window. Keeps no rule of the protocol.
//!
//! Reading goes first, always: what the gateway says is about what was written, and a close may destroy it. After a
//! write error the connection is still read to its end.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::frame::{ERROR_PACKET_LEN, ErrorPacket};
use super::window::{End, Window};
use crate::clock::Instant;
use crate::gateway::tls::{Failure, Stream};

/// How long a connection is still read after a write error: the error packet may be on its way.
const READ_AFTER_WRITE_ERROR: Duration = Duration::from_secs(1);

/// A connection and what of it is half read or half written.
pub(super) struct Connection {
    stream: Stream,
    /// The first bytes of an error packet.
    packet: [u8; ERROR_PACKET_LEN],
    packet_len: usize,
    /// Frames that TLS has not taken yet.
    out: BytesMut,
    /// Why writing failed, and until when to read on.
    write_failure: Option<(Failure, Instant)>,
}

/// What happened on a connection.
pub(super) enum Progress {
    /// Bytes were written, or cannot be any more: deadlines have moved.
    Wrote,
    /// It is over.
    End(End),
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, packet: [0; ERROR_PACKET_LEN], packet_len: 0, out: BytesMut::new(), write_failure: None }
    }

    /// Reads, then writes the next chunk of what the window holds, as far as the socket goes along.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, window: &mut Window, now: Instant) -> Poll<Progress> {
        match (self.poll_packet(cx), &self.write_failure) {
            // The kernel reports an error once: where writing met it, reading finds a plain end.
            (Poll::Ready(End::Silent), Some((failure, _))) => {
                return Poll::Ready(Progress::End(end_by(failure.clone())));
            }
            (Poll::Ready(end), _) => return Poll::Ready(Progress::End(end)),
            (Poll::Pending, Some(_)) => return Poll::Pending,
            (Poll::Pending, None) => {}
        }
        if let Err(error) = ready!(self.poll_chunk(cx, window, now)) {
            self.write_failure = Some((Failure::of(&error), now + READ_AFTER_WRITE_ERROR));
        }
        Poll::Ready(Progress::Wrote)
    }

    /// When to stop reading after a write error.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.write_failure.as_ref().map(|(_, deadline)| *deadline)
    }

    /// The end after a write error when nothing more was to be read in time.
    pub(super) fn overdue(&self, now: Instant) -> Option<End> {
        let (failure, deadline) = self.write_failure.as_ref()?;
        (*deadline <= now).then(|| end_by(failure.clone()))
    }

    /// Says goodbye the way TLS wants it, as far as that goes without waiting.
    pub(super) fn close(mut self) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_shutdown(&mut cx) {
            tracing::debug!(%error, "closing");
        }
    }

    /// Reads until there is a packet or the connection has ended.
    fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let mut buffer = ReadBuf::new(&mut self.packet[self.packet_len..]);
            let read = match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) => buffer.filled().len(),
                Err(error) => match self.read_before_error() {
                    0 => return Poll::Ready(end_by(Failure::of(&error))),
                    read => read,
                },
            };
            self.packet_len += read;
            if read == 0 {
                return Poll::Ready(End::Silent);
            }
            let Some(packet) = ErrorPacket::decode(self.packet) else {
                tracing::warn!(first_byte = self.packet[0], "the gateway sent bytes that begin no error packet");
                return Poll::Ready(End::Silent);
            };
            if self.packet_len == ERROR_PACKET_LEN {
                return Poll::Ready(End::Packet(packet));
            }
        }
    }

    /// What was decrypted before a TLS error, which hides it. Nothing more to read is no error here.
    fn read_before_error(&mut self) -> usize {
        self.stream.get_mut().1.reader().read(&mut self.packet[self.packet_len..]).unwrap_or(0)
    }

    /// Writes one chunk and flushes it to the kernel. Pending also when there is nothing to write.
    fn poll_chunk(&mut self, cx: &mut Context<'_>, window: &mut Window, now: Instant) -> Poll<io::Result<()>> {
        if window.unflushed_since().is_none() {
            window.encode(&mut self.out, now);
        }
        if window.unflushed_since().is_none() {
            return Poll::Pending;
        }
        let mut stream = Pin::new(&mut self.stream);
        while !self.out.is_empty() {
            let written = ready!(stream.as_mut().poll_write(cx, &self.out))?;
            self.out.advance(written);
        }
        ready!(stream.poll_flush(cx))?;
        window.flushed(now);
        Poll::Ready(Ok(()))
    }
}

fn end_by(failure: Failure) -> End {
    match failure {
        Failure::Closed => End::Silent,
        Failure::Refused(alert) => End::Refused(alert),
        Failure::Lost(words) => End::Lost(words),
    }
}
