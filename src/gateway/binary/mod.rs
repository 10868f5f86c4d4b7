//! Apple's binary gateway: packets, the send window, the connection, the feedback service.
//!
//! The rules are pure and live in `window`; `connection` moves bytes between it and a socket. [`BinaryGateway`]
//! puts both together and watches the clock:
//!
//! ```text
//!            connect()               handshake, then 100 ms of calm      packet, close, dead path,
//!   Closed ───────────► Connecting ─────────────────────────────► Open ──────────────────────────► Closed
//!     ▲                     │                                      │       sentinel answered
//!     └─────────────────────┘ failure                              └ retire(), idle, window full: sentinel
//! ```

mod connection;
pub mod feedback;
pub mod frame;
mod limits;
mod ranges;
mod window;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use self::connection::{Connection, Progress};
use self::window::{End, Ending, Window};
use super::meter::{Meter, Metered};
use super::tls::{Connector, Stream};
use super::{CloseCause, Closed, Event, Route, RouteError, Settings};
use crate::clock::{Clock, Instant};
use crate::domain::app::AppId;
use crate::domain::batch::Span;

/// A gateway accepts the certificate of another environment and then closes at once, and TLS 1.3 reports a refused
/// certificate only after the handshake: so a new connection is watched for a while before it is used. Not where the
/// last one proved that the credentials are good.
const CALM_AFTER_HANDSHAKE: Duration = Duration::from_millis(100);
/// How long a sentinel may stay without an answer at a planned close.
const SENTINEL_PATIENCE: Duration = Duration::from_secs(5);
/// How long the kernel may refuse bytes before the connection is given up, where `TCP_USER_TIMEOUT` did not do it; and
/// how long a sentinel that is to make room may stay without an answer, because a gateway that is slow to read a full
/// window is not dead.
const STALL: Duration = Duration::from_secs(30);

/// One app's way to a binary gateway.
pub struct BinaryGateway {
    app: AppId,
    environment: Arc<str>,
    connector: Arc<Connector>,
    idle_after: Duration,
    clock: Clock,
    window: Window,
    state: State,
    events: VecDeque<Event>,
    /// Whether the caller was left without room since it last heard of some.
    is_full: bool,
    /// Whether the last connection proved that the gateway accepts the credentials.
    is_proven: bool,
    meter: Arc<Meter>,
}

type Attempt = Pin<Box<dyn Future<Output = Result<(Stream, SocketAddr), CloseCause>> + Send>>;

enum State {
    Closed,
    Connecting(Attempt),
    Open(Box<Open>),
}

struct Open {
    connection: Connection,
    peer: SocketAddr,
    /// When the connection may be used; `None` once it is.
    calm_at: Option<Instant>,
    last_traffic: Instant,
    /// Counts it.
    _metered: Metered,
}

impl BinaryGateway {
    /// Prepares a gateway without connecting.
    pub(super) fn new(route: Route, settings: &Settings, clock: Clock) -> Result<Self, RouteError> {
        // Below `settle_after`: a path that takes bytes to nowhere is known dead before they are presumed delivered.
        let ack_timeout = settings.settle_after * 4 / 5;
        let connector = Connector::new(&route, &route.environment.gateway, &[], ack_timeout)?;
        Ok(Self {
            app: route.app,
            environment: route.environment.name.clone(),
            connector: Arc::new(connector),
            idle_after: settings.idle_after,
            clock,
            window: Window::new(settings),
            state: State::Closed,
            events: VecDeque::new(),
            is_full: false,
            is_proven: false,
            meter: route.meter,
        })
    }

    pub(super) fn connect(&mut self) {
        if matches!(self.state, State::Closed) {
            let (connector, clock) = (self.connector.clone(), self.clock.clone());
            self.state = State::Connecting(Box::pin(async move { connector.connect(&clock).await }));
        }
    }

    pub(super) fn set_connect_timeout(&mut self, connect_timeout: Duration) {
        Arc::make_mut(&mut self.connector).set_connect_timeout(connect_timeout);
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.calm_at.is_none())
    }

    pub(super) fn room(&self) -> u32 {
        if self.is_connected() { self.window.room() } else { 0 }
    }

    pub(super) fn send(&mut self, span: Span) -> Option<Span> {
        match &mut self.state {
            State::Open(open) if open.calm_at.is_none() => {
                open.last_traffic = self.clock.now();
                let rest = self.window.push(span);
                self.is_full = self.window.room() == 0;
                rest
            }
            State::Closed | State::Connecting(_) | State::Open(_) => Some(span),
        }
    }

    pub(super) fn in_flight(&self) -> u64 {
        u64::from(self.window.rows())
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.window.has_unsent()
    }

    pub(super) fn take_unsent(&mut self) -> Vec<Span> {
        self.window.take_unsent()
    }

    pub(super) fn retire(&mut self) {
        match &self.state {
            State::Open(_) if !self.window.is_unused() => self.window.retire(self.clock.now() + SENTINEL_PATIENCE),
            State::Closed | State::Connecting(_) | State::Open(_) => self.end(End::Unused),
        }
    }

    pub(super) async fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            match &mut self.state {
                State::Closed => return std::future::pending().await,
                State::Connecting(attempt) => {
                    let result = attempt.await;
                    self.attempted(result);
                }
                State::Open(open) => {
                    let deadline = open.deadline(&self.window, self.idle_after);
                    // What there is to read is read before the time that has passed may mean anything.
                    let progress = tokio::select! {
                        biased;
                        progress = poll_fn(|cx| open.connection.poll(cx, &mut self.window, self.clock.now())) => progress,
                        () = self.clock.sleep_until(deadline) => Progress::Wrote,
                    };
                    match progress {
                        Progress::Wrote => self.look_at_the_clock(),
                        Progress::End(end) => self.end(end),
                    }
                }
            }
        }
    }

    fn attempted(&mut self, result: Result<(Stream, SocketAddr), CloseCause>) {
        match result {
            Ok((stream, peer)) => {
                let now = self.clock.now();
                let calm_at = if self.is_proven { now } else { now + CALM_AFTER_HANDSHAKE };
                self.window.opened(now);
                let connection = Connection::new(stream);
                let _metered = Metered::new(Arc::clone(&self.meter));
                let open = Open { connection, peer, calm_at: Some(calm_at), last_traffic: now, _metered };
                self.state = State::Open(Box::new(open));
            }
            Err(cause) => {
                self.state = State::Closed;
                self.meter.count_end(cause.word());
                self.closed(Closed { settled: Vec::new(), revised: Vec::new(), cause });
            }
        }
    }

    /// Does what is due, in the order in which the caller should hear of it.
    fn look_at_the_clock(&mut self) {
        let now = self.clock.now();
        let State::Open(open) = &mut self.state else { return };
        if open.calm_at.take_if(|calm_at| *calm_at <= now).is_some() {
            self.events.push_back(Event::Connected { peer: open.peer });
        }
        let settled = self.window.poll(now);
        if !settled.is_empty() {
            open.last_traffic = now;
            self.is_proven = true;
            self.events.push_back(Event::Settled(settled));
        }
        if self.is_full && self.window.room() > 0 {
            self.is_full = false;
            self.events.push_back(Event::Room);
        }
        if let Some(end) = open.overdue(&self.window, now) {
            self.end(end);
        } else if self.window.wants_retirement() {
            self.window.retire(now + STALL);
        } else if open.idle_at(&self.window, self.idle_after).is_some_and(|idle_at| idle_at <= now) {
            self.retire();
        }
    }

    fn end(&mut self, end: End) {
        tracing::debug!(app = %self.app, environment = %self.environment, ?end, "the connection ends");
        self.is_proven |= matches!(end, End::Packet(_));
        let Ending { closed, is_late } = self.window.end(end);
        if let State::Open(open) = std::mem::replace(&mut self.state, State::Closed) {
            open.connection.close();
            self.meter.count_end(closed.cause.word());
        }
        if is_late {
            let rows: u32 = closed.revised.iter().map(|settled| settled.span.len()).sum();
            let (app, environment) = (&self.app, &self.environment);
            tracing::warn!(%app, %environment, rows, "an error packet came later than settle_after; outcomes are revised");
        }
        self.closed(closed);
    }

    fn closed(&mut self, closed: Closed) {
        if let CloseCause::Silent { settled: false } | CloseCause::Refused(_) = &closed.cause {
            self.is_proven = false;
        }
        self.is_full = false;
        self.events.push_back(Event::Closed(closed));
    }
}

impl Open {
    /// When to look at the clock next.
    fn deadline(&self, window: &Window, idle_after: Duration) -> Option<Instant> {
        let stalled_at = window.unflushed_since().map(|since| since + STALL);
        let idle_at = self.idle_at(window, idle_after);
        let deadlines = [self.calm_at, window.deadline(), self.connection.deadline(), stalled_at, idle_at];
        deadlines.into_iter().flatten().min()
    }

    /// When the connection is to be retired for lack of traffic.
    fn idle_at(&self, window: &Window, idle_after: Duration) -> Option<Instant> {
        let is_idle = window.rows() == 0 && !window.is_retiring();
        is_idle.then_some(self.last_traffic + idle_after)
    }

    /// The end of the connection, where it is overdue.
    fn overdue(&self, window: &Window, now: Instant) -> Option<End> {
        if let Some(end) = self.connection.overdue(now) {
            return Some(end);
        }
        if window.is_sentinel_overdue(now) {
            return Some(End::Unanswered);
        }
        let is_stalled = window.unflushed_since().is_some_and(|since| since + STALL <= now);
        is_stalled.then(|| End::Lost(format!("the gateway has read nothing for {} s", STALL.as_secs())))
    }
}

/// Passes the rows of a span through a send window, from the queue to their settlement, for `benches/`; how many bytes
/// and rows that were.
#[doc(hidden)]
pub fn pass_window(span: Span, out: &mut BytesMut) -> (usize, usize) {
    let settings = Settings::default();
    let (mut window, start) = (Window::new(&settings), Instant::default());
    window.opened(start);
    let (mut rest, mut bytes) = (Some(span), 0);
    loop {
        rest = rest.and_then(|span| window.push(span));
        window.encode(out, start);
        if out.is_empty() {
            break;
        }
        bytes += out.len();
        out.clear();
        window.flushed(start);
    }
    let settled = window.poll(start + settings.settle_after);
    (bytes, settled.iter().map(|settled| settled.span.len() as usize).sum())
}

#[cfg(test)]
mod tests;
