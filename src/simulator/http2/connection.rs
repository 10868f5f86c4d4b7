//! One connection of the provider API: reads, tells the conversation, writes what it says, and closes as it says.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Buf as _;
use tokio::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;

use super::conversation::{Conversation, End, Now};
use crate::clock::Instant;
use crate::simulator::ending::{self, CLEAN, FIN, RESET};
use crate::simulator::journal::entry::Side;
use crate::simulator::listener::Shared;
use crate::simulator::script::Change;
use crate::simulator::script::fault::Ending;
use crate::simulator::socket;

/// Most bytes of one read.
const READ_MAX: usize = 64 * 1024;
/// How long the last answers may take to leave.
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// A throttled connection reads so often in a second.
const THROTTLED_READS: u32 = 10;

/// A connection whose handshake is complete.
pub(super) struct Connection<'a> {
    shared: &'a Shared,
    number: u64,
    stream: TlsStream<TcpStream>,
    conversation: Conversation,
    changes: mpsc::Receiver<Change>,
    buffer: Vec<u8>,
    /// Something was written and may not have left.
    unflushed: bool,
    resume_at: Option<Instant>,
}

/// What the socket did.
enum Io {
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    Flushed(io::Result<()>),
}

impl<'a> Connection<'a> {
    /// Nothing was said yet.
    pub(super) fn new(
        shared: &'a Shared,
        number: u64,
        stream: TlsStream<TcpStream>,
        conversation: Conversation,
        changes: mpsc::Receiver<Change>,
    ) -> Self {
        let buffer = vec![0; READ_MAX];
        Self { shared, number, stream, conversation, changes, buffer, unflushed: false, resume_at: None }
    }

    /// Talks until one side ends it: which one, and how.
    pub(super) async fn run(mut self) -> (Side, &'static str) {
        loop {
            let now = self.shared.clock.now();
            self.conversation.tick(now);
            self.note();
            if let Some(end) = self.conversation.ended(now) {
                return (Side::Server, self.close(end).await);
            }
            // What is to be written leaves also while nothing is read.
            let writes = self.unflushed || !self.conversation.out().is_empty();
            let ended = match self.conversation.stopped() && !writes {
                true => self.wait_unread().await,
                false => self.wait().await,
            };
            if let Some(how) = ended {
                self.note();
                return (Side::Client, how);
            }
        }
    }

    /// Waits for the next thing to happen, and takes it in. How the client ended the connection, if it did.
    async fn wait(&mut self) -> Option<&'static str> {
        let rate = self.conversation.throttle();
        let most = rate.map_or(READ_MAX, |rate| (rate / THROTTLED_READS).clamp(1, READ_MAX as u32) as usize);
        let resume_at = self.resume_at.filter(|_| rate.is_some());
        let reading = resume_at.is_none() && !self.conversation.stopped();
        let deadline = self.conversation.deadline();
        let clock = &self.shared.clock;
        let io = io(&mut self.stream, self.conversation.out(), self.unflushed, &mut self.buffer[..most], reading);
        let io = tokio::select! {
            io = io => io,
            () = clock.sleep_until(resume_at), if resume_at.is_some() => {
                self.resume_at = None;
                return None;
            }
            () = clock.sleep_until(deadline) => return None,
            Some(change) = self.changes.recv() => {
                self.conversation.change(change, clock.now());
                return None;
            }
        };
        match io {
            Io::Written(Ok(length)) => {
                self.conversation.out().advance(length);
                self.unflushed = true;
            }
            Io::Flushed(Ok(())) => self.unflushed = false,
            Io::Read(Ok(0)) => return Some(CLEAN),
            Io::Read(Ok(length)) => {
                let now = Now { at: clock.now(), wall: clock.timestamp() };
                self.resume_at = rate.map(|rate| now.at + Duration::from_secs(length as u64) / rate);
                self.conversation.receive(&self.buffer[..length], now);
            }
            Io::Read(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Some(FIN),
            Io::Read(Err(_)) | Io::Written(Err(_)) | Io::Flushed(Err(_)) => return Some(RESET),
        }
        None
    }

    /// The same while nothing is to be read.
    async fn wait_unread(&mut self) -> Option<&'static str> {
        tokio::select! {
            () = socket::closed_by_client(self.stream.get_ref().0) => Some(RESET),
            () = self.shared.clock.sleep_until(self.conversation.deadline()) => None,
            Some(change) = self.changes.recv() => {
                self.conversation.change(change, self.shared.clock.now());
                None
            }
        }
    }

    fn note(&mut self) {
        let notes = self.conversation.notes();
        if notes.counts != Default::default() || !notes.events.is_empty() {
            let counts = std::mem::take(&mut notes.counts);
            self.shared.journal.note_chunk(self.number, &counts, &mut notes.events);
        }
    }

    /// Writes what is left and closes. What cannot be sent any more has nobody to read it, so errors end it as well.
    async fn close(mut self, End { ending, pause }: End) -> &'static str {
        let out = self.conversation.out().split();
        let write = async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await
        };
        tokio::select! {
            written = write => if written.is_err() {
                return RESET;
            },
            () = self.shared.clock.sleep(FLUSH_MAX) => (),
        }
        let clock = &self.shared.clock;
        if let Ending::DrainMs(ms) = ending {
            socket::drain(&mut self.stream, Duration::from_millis(ms), clock).await;
        }
        let (how, reads_on) = ending::close(&mut self.stream, ending, pause, clock).await;
        if reads_on {
            socket::drain(&mut self.stream, socket::DRAIN_MAX, clock).await;
        }
        how
    }
}

/// The next thing that the socket does: writes before it reads, and reads while it cannot write, so that neither side
/// waits for the other.
async fn io(stream: &mut TlsStream<TcpStream>, out: &[u8], unflushed: bool, buffer: &mut [u8], reading: bool) -> Io {
    poll_fn(|context| {
        let mut stream = Pin::new(&mut *stream);
        if !out.is_empty() {
            if let Poll::Ready(written) = stream.as_mut().poll_write(context, out) {
                return Poll::Ready(Io::Written(written));
            }
        } else if unflushed && let Poll::Ready(flushed) = stream.as_mut().poll_flush(context) {
            return Poll::Ready(Io::Flushed(flushed));
        }
        if !reading {
            return Poll::Pending;
        }
        let mut read = ReadBuf::new(buffer);
        stream.poll_read(context, &mut read).map(|done| Io::Read(done.map(|()| read.filled().len())))
    })
    .await
}
