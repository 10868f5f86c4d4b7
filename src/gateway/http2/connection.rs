//! One HTTP/2 connection: opens streams as far as both sides allow, hears their answers, notices its end.
//!
//! ```text
//!               SETTINGS and PONG             GOAWAY, or drain()             last stream over
//!   establish() ────────────────► Serving ──────────────────────► Draining ──────────────────► ended
//! ```
//!
//! What an answer means for rows, tokens and other connections is not decided here.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Ping, PingPong};

use super::limit::{Limit, Pulse, Vital};
use super::request::Prepared;
use super::response;
use super::streams::{self, Sent, Streams};
use super::wire::{Seen, Wire};
use crate::clock::{Clock, Instant};
use crate::domain::apns::ApnsReason;
use crate::gateway::meter::Metered;
use crate::gateway::tls::{Failure, Stream};

/// `h2` is told this limit for as long as the peer has told none, so that "none yet" is not taken for "none at all".
const UNTOLD: usize = usize::MAX - 1;
/// What the peer may send before we have read it, over all streams; answers are small.
const WINDOW: u32 = 1 << 20;
/// Bytes of an answer's headers.
const HEADERS_MAX: u32 = 16 * 1024;
/// Streams that we reset are remembered, so that their late answers do no harm: as many, and for as long.
const RESET_STREAMS_MAX: usize = 1000;
const RESET_STREAMS_FOR: Duration = Duration::from_secs(30);
/// Stream ids are 31 bits and odd: a connection is replaced well before they run out.
const STREAMS_EVER: u32 = 1 << 29;
/// Answers in a row with the provider's fault, and no success between, after which a connection is replaced.
const SERVER_ERRORS_MAX: u32 = 10;
/// How long a connection is still read when it cannot be written to: answers may be on their way.
const READ_AFTER_WRITE_ERROR: Duration = Duration::from_secs(1);

/// A connection that stands.
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    connection: h2::client::Connection<Wire, Bytes>,
    /// `None` once it is to close.
    requests: Option<SendRequest<Bytes>>,
    ping: PingPong,
    seen: Arc<Seen>,
    bytes_read: u64,
    streams: Streams,
    limit: Limit,
    pulse: Pulse,
    opened_at: Instant,
    last_answer: Instant,
    opened: u32,
    server_errors: u32,
    answers: u64,
    delivered: u64,
    is_going_away: bool,
    /// What is left to say.
    ended: Option<End>,
    draining_until: Option<Instant>,
    unwritable_until: Option<Instant>,
    /// Since when rows wait and the peer allows no stream at all.
    starved_since: Option<Instant>,
    /// Counts it, once a gateway has it.
    pub(super) metered: Option<Metered>,
}

/// What a connection says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// The peer closes it.
    GoingAway(GoAway),
    /// It should be replaced. In words.
    Useless(String),
    /// It is over.
    Ended(End),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As it was to.
    Drained,
    /// Closed or reset by the peer.
    Silent,
    /// The peer refused our credentials. The alert's name.
    Refused(String),
    /// The peer closed it before it stood.
    Unwanted(GoAway),
    /// The path or the protocol broke. In words.
    Lost(String),
}

/// How a peer closes a connection (GOAWAY).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GoAway {
    /// What it says.
    pub(super) words: String,
    /// The provider's name for it, where it is one.
    pub(super) reason: Option<ApnsReason>,
    /// Whether it reports no error (NO_ERROR).
    pub(super) is_graceful: bool,
}

impl Connection {
    /// Begins HTTP/2 on a stream and waits until the peer has told its limits and answered a PING: a server may refuse
    /// credentials only after the handshake (TLS 1.3).
    pub(super) async fn establish(
        stream: Stream,
        peer: SocketAddr,
        clock: &Clock,
        is_cautious: bool,
    ) -> Result<Self, End> {
        let (wire, seen) = Wire::new(stream);
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_max_send_streams(UNTOLD)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(HEADERS_MAX)
            .max_concurrent_reset_streams(RESET_STREAMS_MAX)
            .reset_stream_duration(RESET_STREAMS_FOR)
            // Late answers to streams that we reset are no attack.
            .max_local_error_reset_streams(None);
        let lost = |error: h2::Error| End::Lost(error.to_string());
        let (mut requests, mut connection) = builder.handshake(wire).await.map_err(lost)?;
        let mut ping = connection.ping_pong().ok_or_else(|| End::Lost("no PING is possible".to_owned()))?;
        ping.send_ping(Ping::opaque()).map_err(lost)?;
        let mut is_alive = false;
        std::future::poll_fn(|cx| {
            let progress = Pin::new(&mut connection).poll(cx);
            if let Some(go_away) = go_away(&mut requests, cx) {
                return Poll::Ready(Err(End::Unwanted(go_away)));
            }
            if let Poll::Ready(result) = progress {
                return Poll::Ready(Err(end_of(result, &seen)));
            }
            is_alive |= ping.poll_pong(cx).is_ready();
            let is_told = requests.current_max_send_streams() != UNTOLD;
            if is_alive && is_told { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await?;
        let now = clock.now();
        Ok(Self {
            peer,
            connection,
            requests: Some(requests),
            ping,
            seen,
            bytes_read: 0,
            streams: Streams::default(),
            limit: Limit::new(is_cautious),
            pulse: Pulse::new(now),
            opened_at: now,
            last_answer: now,
            opened: 0,
            server_errors: 0,
            answers: 0,
            delivered: 0,
            is_going_away: false,
            ended: None,
            draining_until: None,
            unwritable_until: None,
            starved_since: None,
            metered: None,
        })
    }

    /// Moves bytes and takes out the requests that are over. Pending also where some are.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        finished: &mut Vec<(Sent, streams::End)>,
    ) -> Option<Notice> {
        if let Some(end) = self.ended.take() {
            return Some(Notice::Ended(end));
        }
        let result = Pin::new(&mut self.connection).poll(cx);
        if self.seen.bytes_read() != self.bytes_read {
            self.bytes_read = self.seen.bytes_read();
            self.pulse.read(now);
        }
        if let Poll::Ready(result) = result {
            self.streams.wake_all();
            self.streams.poll(finished);
            let end = self.end(result);
            let Some(going_away) = self.going_away(cx) else { return Some(Notice::Ended(end)) };
            self.ended = Some(end);
            return Some(going_away);
        }
        self.streams.poll(finished);
        if self.ping.poll_pong(cx).is_ready() {
            self.pulse.answered();
        }
        if self.seen.is_unwritable() && self.unwritable_until.is_none() {
            self.unwritable_until = Some(now + READ_AFTER_WRITE_ERROR);
            return Some(Notice::Useless("it cannot be written to any more".to_owned()));
        }
        self.going_away(cx)
    }

    /// Whether the peer has just begun to close the connection.
    fn going_away(&mut self, cx: &mut Context<'_>) -> Option<Notice> {
        let go_away = go_away(self.requests.as_mut()?, cx).filter(|_| !self.is_going_away)?;
        self.is_going_away = true;
        Some(Notice::GoingAway(go_away))
    }

    /// How many requests can be opened now.
    pub(super) fn free(&self, now: Instant) -> u32 {
        match &self.requests {
            Some(requests) if self.is_serving() => {
                self.limit.free(requests.current_max_send_streams(), self.streams.open(), now)
            }
            Some(_) | None => 0,
        }
    }

    /// How many requests may be open at the same time.
    pub(super) fn capacity(&self) -> u32 {
        match &self.requests {
            Some(requests) if self.is_serving() => self.limit.max(requests.current_max_send_streams()),
            Some(_) | None => 0,
        }
    }

    /// Tells the meter how many requests may be open at the same time.
    pub(super) fn meter(&mut self) {
        let streams = self.capacity();
        if let Some(metered) = &mut self.metered {
            metered.set_streams(streams);
        }
    }

    /// Opens a stream with a request. Gives what is known of it back where that is not possible.
    pub(super) fn open(&mut self, prepared: Prepared, sent: Sent, cx: &mut Context<'_>) -> Result<(), Sent> {
        let Some(requests) = &mut self.requests else { return Err(sent) };
        let Poll::Ready(Ok(())) = requests.poll_ready(cx) else { return Err(sent) };
        let Ok((response, mut body)) = requests.send_request(prepared.head, false) else { return Err(sent) };
        self.opened += 1;
        // Whatever keeps the body from being sent ends the stream too, and its answer tells.
        if let Err(error) = body.send_data(prepared.body, true) {
            tracing::debug!(%error, "request body");
        }
        self.streams.insert(sent, response);
        Ok(())
    }

    /// Opens no more streams, and gives up those that are open at `until`.
    pub(super) fn drain(&mut self, until: Instant) {
        self.draining_until = Some(self.draining_until.map_or(until, |before| before.min(until)));
    }

    /// Whether it takes requests.
    pub(super) fn is_serving(&self) -> bool {
        self.draining_until.is_none()
    }

    /// Requests without an answer.
    pub(super) fn in_flight(&self) -> u32 {
        self.streams.open()
    }

    /// Whether a notification was delivered over it.
    pub(super) fn has_delivered(&self) -> bool {
        self.delivered > 0
    }

    /// Whether a request was answered on it.
    pub(super) fn has_answered(&self) -> bool {
        self.answers > 0
    }

    /// Whether each request was answered that it took.
    pub(super) fn is_settled(&self) -> bool {
        self.answers == u64::from(self.opened)
    }

    /// How long it has been standing.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.since(self.opened_at)
    }

    /// A request was answered. `is_proof`: the answer shows that the provider token, if there is one, is good.
    pub(super) fn answered(&mut self, is_proof: bool, now: Instant) {
        self.answers += 1;
        self.last_answer = now;
        if is_proof {
            self.limit.proven();
        }
    }

    /// A notification was delivered.
    pub(super) fn delivered(&mut self) {
        self.delivered += 1;
        self.server_errors = 0;
        self.limit.delivered();
    }

    /// A request was answered with the provider's fault; whether that is so often that the connection may be it.
    pub(super) fn failed(&mut self) -> bool {
        self.server_errors += 1;
        self.server_errors >= SERVER_ERRORS_MAX
    }

    /// A stream was refused.
    pub(super) fn refused(&mut self, now: Instant) {
        self.limit.refused(self.streams.open(), now);
    }

    /// Rows wait, or do not, after all streams were opened that could be. Whether that moves a deadline.
    pub(super) fn set_backlog(&mut self, has_backlog: bool, now: Instant) -> bool {
        let is_starved = has_backlog && self.is_serving() && self.capacity() == 0 && self.streams.open() == 0;
        let begins = is_starved && self.starved_since.is_none();
        self.starved_since = if is_starved { self.starved_since.or(Some(now)) } else { None };
        begins
    }

    /// When to look at the clock next.
    pub(super) fn deadline(&self, patience: Duration, now: Instant) -> Instant {
        let pulse = self.pulse.deadline(self.streams.open() > 0);
        let others = [
            self.streams.deadline(),
            self.draining_until,
            self.unwritable_until,
            self.limit.not_before(now),
            self.starved_since.map(|since| since + patience),
        ];
        others.into_iter().flatten().fold(pulse, Instant::min)
    }

    /// Does what is due: gives up overdue requests, asks a silent peer, gives it up. `patience` is how long an answer is
    /// awaited.
    pub(super) fn look_at_the_clock(
        &mut self,
        patience: Duration,
        now: Instant,
        finished: &mut Vec<(Sent, streams::End)>,
    ) -> Option<Notice> {
        let overdue = self.streams.take_overdue(now);
        let is_mute = !overdue.is_empty() && self.last_answer + patience <= now;
        finished.extend(overdue.into_iter().map(|sent| (sent, streams::End::Unknown)));
        if self.draining_until.is_some_and(|until| until <= now) {
            return Some(Notice::Ended(End::Drained));
        }
        if self.unwritable_until.is_some_and(|until| until <= now) {
            return Some(Notice::Ended(self.seen.failure().map_or(End::Silent, of_failure)));
        }
        match self.pulse.vital(self.streams.open() > 0, now) {
            Vital::Alive => (),
            Vital::Ask => {
                self.pulse.asked(now);
                if let Err(error) = self.ping.send_ping(Ping::opaque()) {
                    return Some(Notice::Ended(End::Lost(error.to_string())));
                }
            }
            Vital::Dead => {
                return Some(Notice::Ended(End::Lost("the gateway does not answer a PING".to_owned())));
            }
        }
        if !self.is_serving() {
            return None;
        }
        let useless = |words: &str| Some(Notice::Useless(words.to_owned()));
        match self.starved_since {
            _ if is_mute => useless("it answers no request"),
            Some(since) if since + patience <= now => useless("it allows no request"),
            _ if self.opened >= STREAMS_EVER => useless("its stream ids run out"),
            Some(_) | None => None,
        }
    }

    /// Closes it once its last stream is over. Whether that is so.
    pub(super) fn close_when_idle(&mut self) -> bool {
        let is_idle = !self.is_serving() && self.streams.open() == 0;
        // Without a way to send requests `h2` says goodbye and closes.
        is_idle && self.requests.take().is_some()
    }

    /// Gives up what has no answer.
    pub(super) fn take_in_flight(&mut self) -> Vec<Sent> {
        self.streams.take_all()
    }

    fn end(&self, result: Result<(), h2::Error>) -> End {
        if self.requests.is_none() || (self.is_going_away && self.streams.open() == 0) {
            return End::Drained;
        }
        end_of(result, &self.seen)
    }
}

/// How the peer closes the connection, where it does: by what the next request would meet.
fn go_away(requests: &mut SendRequest<Bytes>, cx: &mut Context<'_>) -> Option<GoAway> {
    let Poll::Ready(Err(error)) = requests.poll_ready(cx) else { return None };
    if !error.is_go_away() || !error.is_remote() {
        return None;
    }
    // `h2` shows the debug data and nothing else gives it.
    let text = error.to_string();
    let reason = response::reason_in(&text);
    let code = error.reason().map_or_else(String::new, |code| code.description().to_owned());
    let words = match (reason, text.split_once('(')) {
        (Some(reason), _) => format!("GOAWAY: {reason}"),
        (None, Some((_, data))) => format!("GOAWAY: {code} ({}", response::shown(data)),
        (None, None) => format!("GOAWAY: {code}"),
    };
    let is_graceful = error.reason() == Some(h2::Reason::NO_ERROR);
    Some(GoAway { words, reason, is_graceful })
}

fn end_of(result: Result<(), h2::Error>, seen: &Seen) -> End {
    match (seen.failure(), result) {
        (Some(failure), _) => of_failure(failure),
        (None, Ok(())) => End::Silent,
        (None, Err(error)) => End::Lost(response::shown(&error.to_string())),
    }
}

fn of_failure(failure: Failure) -> End {
    match failure {
        Failure::Closed => End::Silent,
        Failure::Refused(alert) => End::Refused(alert),
        Failure::Lost(words) => End::Lost(words),
    }
}
