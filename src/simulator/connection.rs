//! One conversation with a gateway client: reads, asks the session what becomes of it, does what the session says.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::server::TlsStream;

use super::ending::{self, CLEAN, FIN, RESET};
use super::feedback::tuples::FeedbackTuple;
use super::journal::entry::{Event, Notification, Service, Side, Summary, Verdict};
use super::listener::Shared;
use super::peer::Peer;
use super::script::Change;
use super::script::answer::Answer;
use super::script::fault::Ending;
use super::script::session::{Action, Session};
use super::script::tokens::TokenRule;
use super::socket;
use crate::clock::Instant;
use crate::gateway::binary::frame::{Decoded, Packet, decode};

/// Most bytes of one read.
const READ_MAX: usize = 64 * 1024;
/// A throttled connection reads so often in a second.
const THROTTLED_READS: u32 = 10;

/// Who ended a connection, and how.
pub(super) type End = (Side, &'static str);

/// A connection whose handshake is complete.
pub(super) struct Connection<'a> {
    pub(super) shared: &'a Shared,
    pub(super) number: u64,
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) session: Session,
    pub(super) changes: mpsc::Receiver<Change>,
    pub(super) peer: &'a Peer,
    pub(super) input: Input,
}

/// What was received, and how far it was understood.
#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: BytesMut,
    /// Notifications of one read, on their way to the journal.
    chunk: Vec<Event>,
    /// Something could not be read; nothing after it can.
    unreadable: bool,
    /// How the client ended its side.
    ended: Option<&'static str>,
    half_closed: bool,
    resume_at: Option<Instant>,
}

impl Connection<'_> {
    /// Talks until one side ends it.
    pub(super) async fn run(mut self, last_identifier: &AtomicU32) -> End {
        let end = loop {
            match self.session.action(self.shared.clock.now()) {
                Some(Action::HalfClose) => {
                    self.input.half_closed = true;
                    if self.stream.shutdown().await.is_err() {
                        break (Side::Client, RESET);
                    }
                }
                Some(Action::End { answer, ending, pause }) => break self.end(answer, ending, pause).await,
                None if self.session.stopped() => self.wait_unread().await,
                None => self.wait().await,
            }
        };
        if self.session.last_identifier() > 0 {
            last_identifier.store(self.session.last_identifier(), Ordering::Relaxed);
        }
        end
    }

    /// Waits for the next thing to happen, and takes it in.
    async fn wait(&mut self) {
        let rate = self.session.throttle();
        let most = rate.map_or(READ_MAX, |rate| (rate / THROTTLED_READS).max(1) as usize);
        let resume_at = self.input.resume_at.filter(|_| rate.is_some());
        let reading = self.input.ended.is_none() && resume_at.is_none();
        self.input.buffer.reserve(most);
        let mut limited = (&mut self.stream).take(most as u64);
        tokio::select! {
            read = limited.read_buf(&mut self.input.buffer), if reading => {
                if let (Some(rate), Ok(length)) = (rate, &read) {
                    let pause = Duration::from_secs(*length as u64) / rate;
                    self.input.resume_at = Some(self.shared.clock.now() + pause);
                }
                self.take_in(read);
            }
            () = self.shared.clock.sleep_until(resume_at), if resume_at.is_some() => self.input.resume_at = None,
            () = self.shared.clock.sleep_until(self.session.deadline()) => (),
            Some(change) = self.changes.recv() => self.change(change),
        }
    }

    /// The same while nothing is to be read.
    async fn wait_unread(&mut self) {
        tokio::select! {
            () = socket::closed_by_client(self.stream.get_ref().0) => {
                self.input.ended = Some(RESET);
                self.session.client_closed(self.shared.clock.now());
            }
            Some(change) = self.changes.recv() => self.change(change),
        }
    }

    fn change(&mut self, change: Change) {
        self.session.change(change, self.shared.clock.now());
        // Something may have been left in the buffer while nothing was to be read.
        self.judge(0);
    }

    fn take_in(&mut self, read: io::Result<usize>) {
        let now = self.shared.clock.now();
        self.input.ended = match &read {
            Ok(0) => Some(CLEAN),
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(FIN),
            Err(_) => Some(RESET),
        };
        match read {
            Ok(length) if length > 0 => {
                self.session.bytes(now);
                self.judge(length);
            }
            Ok(_) | Err(_) => self.session.client_closed(now),
        }
    }

    /// Judges the whole packets in the buffer. `length` bytes of it are new.
    fn judge(&mut self, length: usize) {
        let now = self.shared.clock.now();
        let mut counts = Summary { bytes: length as u64, ..Summary::default() };
        let mut at = 0;
        while !self.input.unreadable && !self.session.stopped() {
            let (packet, verdict) = match decode(&self.input.buffer[at..]) {
                Decoded::Incomplete => break,
                Decoded::Packet(packet, length) => {
                    at += length;
                    (packet, self.session.packet(&packet, now))
                }
                Decoded::Malformed(identifier) => {
                    self.input.unreadable = true;
                    let command = self.input.buffer[at];
                    let empty =
                        Packet { command, identifier, token: None, payload: None, expiration: None, priority: None };
                    (empty, self.session.malformed(identifier, now))
                }
            };
            counts.count(verdict);
            if self.shared.journal.keeps_entries() {
                self.input.chunk.push(Event::Notification(notification(&packet, verdict)));
            }
            if let (Verdict::Accepted, Some(token)) = (verdict, packet.token)
                && TokenRule::of(token) == TokenRule::Unregistered
            {
                self.shared.feedback.extend(&self.peer.uid, [FeedbackTuple::new(self.shared.clock.timestamp(), token)]);
            }
        }
        match self.input.unreadable {
            true => self.input.buffer.clear(),
            false => self.input.buffer.advance(at),
        }
        self.shared.journal.note_chunk(self.number, &counts, &mut self.input.chunk);
    }

    /// Ends the conversation: the answer, if it can be sent, and what follows it.
    async fn end(&mut self, answer: Option<Answer>, ending: Ending, pause: Duration) -> End {
        let by_client = self.input.ended;
        if let Some(answer) = answer.filter(|_| !self.input.half_closed)
            && self.send(&answer).await.is_err()
        {
            return (Side::Client, by_client.unwrap_or(RESET));
        }
        let how = self.close(ending, pause).await;
        by_client.map_or((Side::Server, how), |how| (Side::Client, how))
    }

    async fn send(&mut self, answer: &Answer) -> io::Result<()> {
        for (index, part) in answer.parts.iter().enumerate() {
            if index > 0 {
                self.shared.clock.sleep(answer.pause).await;
            }
            self.stream.write_all(part).await?;
            self.stream.flush().await?;
        }
        if !answer.parts.is_empty() {
            let bytes = answer.parts.concat().into();
            self.shared.journal.note(Service::Gateway, self.number, Event::Answered { bytes });
        }
        Ok(())
    }

    /// Closes the connection. What cannot be sent any more has nobody to read it, so write errors end it as well.
    async fn close(&mut self, ending: Ending, pause: Duration) -> &'static str {
        if let Ending::DrainMs(ms) = ending {
            self.drain(Duration::from_millis(ms)).await;
        }
        let (how, reads_on) = ending::close(&mut self.stream, ending, pause, &self.shared.clock).await;
        if reads_on {
            self.drain(socket::DRAIN_MAX).await;
        }
        how
    }

    /// Reads on until the client closes, or for so long; the session discards what arrives.
    async fn drain(&mut self, span: Duration) {
        let deadline = self.shared.clock.now() + span;
        while self.input.ended.is_none() {
            self.input.buffer.reserve(READ_MAX);
            tokio::select! {
                read = self.stream.read_buf(&mut self.input.buffer) => self.take_in(read),
                () = self.shared.clock.sleep_until(Some(deadline)) => return,
            }
        }
    }
}

fn notification(packet: &Packet<'_>, verdict: Verdict) -> Notification {
    Notification {
        command: packet.command,
        identifier: packet.identifier,
        token: packet.token.map(Box::from),
        payload: packet.payload.map(Box::from),
        expiration: packet.expiration,
        priority: packet.priority,
        verdict,
    }
}
