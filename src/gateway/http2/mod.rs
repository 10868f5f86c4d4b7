//! Apple's HTTP/2 provider API: requests and answers, provider tokens, the connections of one app.
//!
//! What a request looks like, what an answer means, how many streams a connection may have and when a token is renewed
//! are pure rules in modules of their own; `connection` moves frames. [`Http2Gateway`] puts them together: it holds rows
//! until a connection has room, spreads them over its connections, and replaces those that end.
//!
//! ```text
//!            connect()                  first connection stands        refused, retire(),
//!   Closed ───────────► Open, silent ─────────────────────────► Open ──────────────────────► Ending
//!     ▲                     │ failure                             │ none left                  │ all answered,
//!     └─────────────────────┴─────────────────────────────────────┴────────────────────────────┘ or too late
//! ```

mod answers;
mod connection;
mod limit;
mod outcomes;
mod pool;
pub mod provider_token;
mod redial;
pub(crate) mod request;
pub mod response;
mod streams;
mod token_times;
mod unsent;
mod wire;

use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::uri::Authority;

use self::connection::Connection;
use self::outcomes::Outcomes;
use self::provider_token::{ProviderToken, ProviderTokens};
use self::redial::Redial;
use self::request::Requests;
use self::streams::Sent;
use self::unsent::Unsent;
use super::meter::Meter;
use super::tls::Connector;
use super::{CloseCause, Closed, Event, Route, RouteError, Settings, Shared};
use crate::clock::{Clock, Instant};
use crate::credentials::Credentials;
use crate::domain::app::{Address, AppId};
use crate::domain::batch::{Batch, Span};
use crate::domain::outcome::{Outcome, Reason, Retry};

/// The only protocol that is offered (ALPN).
const ALPN: &[&[u8]] = &[b"h2"];
/// Below the patience for a PING, so that a dead path has a name.
const ACK_TIMEOUT: Duration = Duration::from_secs(20);
/// Rows that are held beyond those that have a stream, so that one lease fills many streams.
const LOOK_AHEAD: u32 = 64;
/// How long a planned close waits for answers: the daemon's own deadline lies behind it.
const RETIRE_PATIENCE: Duration = Duration::from_secs(10);

/// Builds the requests of all rows of a batch, for `benches/`; the bytes of their payloads.
#[doc(hidden)]
pub fn build_requests(batch: &Arc<Batch>, authority: Authority, topic: &str) -> usize {
    let mut requests = Requests::new(authority, Some(topic));
    let prepared = (0..batch.rows()).filter_map(|row| requests.prepare(batch, row).ok());
    prepared.map(|prepared| std::hint::black_box(prepared).body.len()).sum()
}

/// One app's way to the HTTP/2 provider API.
pub struct Http2Gateway {
    app: AppId,
    environment: Arc<str>,
    address: Address,
    credentials: Arc<Credentials>,
    connector: Arc<Connector>,
    connect_timeout: Duration,
    /// How many connections are wanted under load.
    connections_max: usize,
    settings: Settings,
    tokens: ProviderTokens,
    clock: Clock,
    requests: Requests,
    unsent: Unsent,
    state: State,
    attempt: Option<Attempt>,
    connections: Vec<Connection>,
    redial: Redial,
    /// Why the last connection takes no more requests, until that is told.
    lost: Option<String>,
    outcomes: Outcomes,
    events: VecDeque<Event>,
    /// Reused between polls.
    finished: Vec<(Sent, streams::End)>,
    /// Whether the caller was left without room since it last heard of some.
    is_full: bool,
    /// Whether the fate of a row stayed unknown since the planned close began.
    is_unproven: bool,
    /// Whether a connection was replaced because of the key that it began with, and nothing was delivered since.
    is_key_unrelated: bool,
    /// Whether one was replaced because it called the provider token expired, and nothing was delivered since.
    is_token_doubted: bool,
    /// When the log last said that the provider token changes too often.
    token_warned_at: Option<Instant>,
    /// Unknown reasons that the log has named.
    unheard: BTreeSet<String>,
    meter: Arc<Meter>,
}

type Attempt = Pin<Box<dyn Future<Output = Result<Connection, CloseCause>> + Send>>;

enum State {
    Closed,
    /// It makes, has and replaces connections; `is_announced`: the caller has heard that one takes requests.
    Open {
        is_announced: bool,
    },
    /// What is open is awaited, at most until a moment; then it is closed for a cause.
    Ending {
        cause: CloseCause,
        is_announced: bool,
    },
}

impl Http2Gateway {
    /// Prepares a gateway without connecting.
    pub(super) fn new(route: Route, shared: &Shared, clock: Clock) -> Result<Self, RouteError> {
        let address = route.environment.gateway.clone();
        let authority = authority(&address).ok_or_else(|| RouteError::Host(address.host.clone()))?;
        Ok(Self {
            connector: Arc::new(Connector::new(&route, &address, ALPN, ACK_TIMEOUT)?),
            connect_timeout: route.connect_timeout,
            connections_max: route.connections.max(1) as usize,
            requests: Requests::new(authority, route.topic()),
            app: route.app,
            environment: route.environment.name.clone(),
            address,
            credentials: route.credentials,
            settings: shared.settings.clone(),
            tokens: shared.provider_tokens.clone(),
            clock,
            unsent: Unsent::default(),
            state: State::Closed,
            attempt: None,
            connections: Vec::new(),
            redial: Redial::default(),
            lost: None,
            outcomes: Outcomes::default(),
            events: VecDeque::new(),
            finished: Vec::new(),
            is_full: false,
            is_unproven: false,
            is_key_unrelated: false,
            is_token_doubted: false,
            token_warned_at: None,
            unheard: BTreeSet::new(),
            meter: route.meter,
        })
    }

    pub(super) fn connect(&mut self) {
        if matches!(self.state, State::Closed) {
            self.state = State::Open { is_announced: false };
            self.lost = None;
            self.redial.asked(self.clock.now());
        }
    }

    pub(super) fn hurry(&mut self) {
        if matches!(self.state, State::Open { .. }) {
            self.redial.asked(self.clock.now());
        }
    }

    pub(super) fn set_connect_timeout(&mut self, connect_timeout: Duration) {
        self.connect_timeout = connect_timeout;
        Arc::make_mut(&mut self.connector).set_connect_timeout(connect_timeout);
    }

    pub(super) fn is_connected(&self) -> bool {
        match &self.state {
            State::Closed => false,
            State::Open { is_announced } | State::Ending { is_announced, .. } => *is_announced,
        }
    }

    pub(super) fn room(&self) -> u32 {
        let serving = || self.connections.iter().filter(|connection| connection.is_serving());
        if !matches!(self.state, State::Open { is_announced: true }) || serving().next().is_none() {
            return 0;
        }
        let capacity: u32 = serving().map(|connection| connection.capacity()).sum();
        let held: u32 = serving().map(|connection| connection.in_flight()).sum::<u32>() + self.unsent.rows();
        (capacity + LOOK_AHEAD).saturating_sub(held)
    }

    pub(super) fn send(&mut self, mut span: Span) -> Option<Span> {
        self.unsent.push(span.take_front(self.room()));
        self.is_full = self.room() == 0;
        (!span.is_empty()).then_some(span)
    }

    pub(super) fn in_flight(&self) -> u64 {
        let open: u32 = self.connections.iter().map(|connection| connection.in_flight()).sum();
        u64::from(open) + u64::from(self.unsent.rows())
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(super) fn take_unsent(&mut self) -> Vec<Span> {
        self.unsent.take()
    }

    pub(super) fn retire(&mut self) {
        match self.state {
            State::Closed => {
                let cause = CloseCause::Retired { proven: true };
                self.events.push_back(Event::Closed(Closed { settled: Vec::new(), revised: Vec::new(), cause }));
            }
            State::Open { .. } | State::Ending { .. } => {
                self.is_unproven = false;
                let patience = self.settings.goaway_drain.min(RETIRE_PATIENCE);
                self.end(CloseCause::Retired { proven: true }, patience);
            }
        }
    }

    pub(super) async fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            if matches!(self.state, State::Closed) {
                return std::future::pending().await;
            }
            let (clock, deadline) = (self.clock.clone(), self.deadline());
            // What there is to read is read before the time that has passed may mean anything; however much that is.
            tokio::select! {
                biased;
                () = poll_fn(|cx| self.poll(cx)) => (),
                () = clock.sleep_until(deadline) => (),
            }
            if deadline.is_some_and(|deadline| deadline <= clock.now()) {
                self.look_at_the_clock();
            }
        }
    }

    /// Moves everything on as far as it goes. Ready when something happened: deadlines have moved.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.clock.now();
        let mut has_moved = self.poll_attempt(cx, now);
        let mut finished = std::mem::take(&mut self.finished);
        // Backwards, because what has ended is removed.
        for index in (0..self.connections.len()).rev() {
            let notice = self.connections[index].poll(cx, now, &mut finished);
            has_moved |= !finished.is_empty() || notice.is_some();
            self.judge(index, &mut finished, now);
            if let Some(notice) = notice {
                self.noticed(index, notice, now);
            }
        }
        self.finished = finished;
        has_moved |= self.fill(cx, now);
        // What has found no room now is a reason for another connection.
        has_moved |= self.dial(now);
        let has_backlog = !self.unsent.is_empty();
        for connection in &mut self.connections {
            has_moved |= connection.set_backlog(has_backlog, now);
            has_moved |= connection.close_when_idle();
            connection.meter();
        }
        self.report();
        has_moved |= !self.events.is_empty();
        if has_moved { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Opens a stream for each row that there is room for, on the connection with the most room.
    fn fill(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.unsent.is_empty() || !matches!(self.state, State::Open { .. }) {
            return false;
        }
        let mut free: Vec<u32> = self.connections.iter().map(|connection| connection.free(now)).collect();
        let token = match self.token_where(free.iter().any(|free| *free > 0)) {
            Ok(token) => token,
            Err(cause) => {
                self.end(cause, self.settings.goaway_drain);
                return true;
            }
        };
        let (number, deadline) = (token.as_ref().map_or(0, |token| token.number), now + self.settings.request_deadline);
        let mut has_opened = false;
        while let Some((index, 1..)) = free.iter().copied().enumerate().max_by_key(|(_, free)| *free)
            && let Some(row) = self.unsent.next()
        {
            let mut prepared = match self.requests.prepare(&row.batch, row.rows.start) {
                Ok(prepared) => prepared,
                Err(reason) => {
                    self.outcomes.push(row, Outcome::Rejected(Reason::Apns(reason)));
                    continue;
                }
            };
            if let Some(token) = &token {
                prepared.head.headers_mut().insert(AUTHORIZATION, token.authorization.clone());
            }
            let sent = Sent { row, token: number, is_plain_topic: prepared.is_plain_topic, deadline };
            match self.connections[index].open(prepared, sent, cx) {
                Ok(()) => {
                    has_opened = true;
                    free[index] -= 1;
                }
                Err(sent) => {
                    self.unsent.give_back(sent.row);
                    free[index] = 0;
                }
            }
        }
        has_opened
    }

    /// The provider token to use now, where the app has a key.
    fn token_where(&self, is_needed: bool) -> Result<Option<ProviderToken>, CloseCause> {
        match &*self.credentials {
            Credentials::ProviderKey(key) if is_needed => match self.tokens.token(key, self.clock.timestamp()) {
                Ok(token) => Ok(Some(token)),
                Err(error) => Err(CloseCause::Unreachable(error.to_string())),
            },
            Credentials::ProviderKey(_) | Credentials::Certificate(_) => Ok(None),
        }
    }

    /// Says what there is to say, in the order in which the caller should hear of it.
    fn report(&mut self) {
        if let State::Ending { cause, .. } = &self.state
            && self.connections.is_empty()
        {
            let cause = match cause {
                CloseCause::Retired { .. } => CloseCause::Retired { proven: !self.is_unproven },
                cause => cause.clone(),
            };
            for span in self.unsent.take() {
                self.outcomes.push(span, Outcome::Retry(Retry::NotProcessed));
            }
            let settled = self.outcomes.take();
            self.state = State::Closed;
            self.is_full = false;
            self.requests.forget();
            self.events.push_back(Event::Closed(Closed { settled, revised: Vec::new(), cause }));
            return;
        }
        self.report_loss();
        self.report_outcomes();
        if self.is_full && self.room() > 0 {
            self.is_full = false;
            self.events.push_back(Event::Room);
        }
        if self.in_flight() == 0 {
            self.requests.forget();
        }
    }

    /// Says that no connection takes rows any more. Those that have not left wait better where they can expire.
    fn report_loss(&mut self) {
        let Some(cause) = self.lost.take().filter(|_| self.serving() == 0) else { return };
        if let State::Open { is_announced } = &mut self.state {
            *is_announced = false;
            self.is_full = false;
            for span in self.unsent.take() {
                self.outcomes.push(span, Outcome::Retry(Retry::NotProcessed));
            }
            self.report_outcomes();
            self.events.push_back(Event::Reconnecting { cause });
        }
    }

    fn report_outcomes(&mut self) {
        if !self.outcomes.is_empty() {
            self.events.push_back(Event::Settled(self.outcomes.take()));
        }
    }

    /// When to look at the clock next.
    fn deadline(&self) -> Option<Instant> {
        let (patience, now) = (self.settings.request_deadline, self.clock.now());
        let connections = self.connections.iter().map(|connection| connection.deadline(patience, now));
        connections.chain(self.next_dial()).min()
    }

    /// Does what is due on each connection.
    fn look_at_the_clock(&mut self) {
        let (patience, now) = (self.settings.request_deadline, self.clock.now());
        let mut finished = std::mem::take(&mut self.finished);
        for index in (0..self.connections.len()).rev() {
            let notice = self.connections[index].look_at_the_clock(patience, now, &mut finished);
            self.judge(index, &mut finished, now);
            if let Some(notice) = notice {
                self.noticed(index, notice, now);
            }
        }
        self.finished = finished;
    }
}

/// Host and port as requests name them; the usual port is left out.
fn authority(address: &Address) -> Option<Authority> {
    let host = if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
    let text = if address.port == 443 { host } else { format!("{host}:{}", address.port) };
    Authority::try_from(text).ok()
}

#[cfg(test)]
mod tests;
