//! The second connection of an app on a binary gateway, for callers who wait for outcomes.
//!
//! That gateway says nothing for success. What waits in the express line is therefore sent together on a connection of
//! its own, and a sentinel behind it proves it within a round trip, without a pause of the app's first connection:
//!
//! ```text
//!          rows wait in the line            connected           all written
//!   None ───────────────────────► Connecting ────────► Up ────► Sending ────► Retiring
//!    ▲                                                                           │
//!    └─────────── closed: Accepted what it proves, the rest again ◄──────────────┘
//! ```
//!
//! Where it ends in any other way than with a sentinel's answer or the name of a bad row, the line is given up: its
//! rows go out on the first connection, before the others, and none is opened here for a while. What ends this
//! connection says nothing about the first one.

use std::time::Duration;

use tracing::{debug, warn};

use super::books::Books;
use crate::clock::{Clock, Instant};
use crate::domain::app::Protocol;
use crate::domain::outcome::{Blame, Reason};
use crate::gateway::{self, CloseCause, Event, Gateway, Route};

/// Shortest time between two such connections of one app.
const SPACING: Duration = Duration::from_millis(250);
/// The same after one that the gateway closed because of a bad row, as on the first connection.
const AFTER_ERROR: Duration = Duration::from_millis(40);
/// How long none is opened after one that failed.
const REST: Duration = Duration::from_secs(5 * 60);
/// How often it is looked whether everything is written.
const SENT_LOOK: Duration = Duration::from_millis(10);

/// The second connection of one app, where there is one.
#[derive(Debug)]
pub(super) struct Express {
    route: Route,
    shared: gateway::Shared,
    clock: Clock,
    connection: Option<Connection>,
    /// A gateway that proved itself, without a connection.
    proven: Option<Gateway>,
    /// The next connection comes not before.
    not_before: Instant,
    /// Until when the line is given up.
    rests_until: Instant,
}

#[derive(Debug)]
struct Connection {
    gateway: Gateway,
    phase: Phase,
    /// What rows that come back are rejected for, where they may not be sent again.
    instead: Option<Reason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Up,
    Sending,
    Retiring,
}

impl Express {
    /// No connection yet.
    pub(super) fn new(route: Route, shared: gateway::Shared, clock: Clock) -> Self {
        let (not_before, rests_until) = Default::default();
        Self { route, shared, clock, connection: None, proven: None, not_before, rests_until }
    }

    /// The way to the gateway.
    pub(super) fn route(&self) -> &Route {
        &self.route
    }

    /// Whether the line has a connection of its own; a protocol that answers each notification needs none.
    pub(super) fn is_separate(&self) -> bool {
        self.route.environment.gateway.protocol == Protocol::Binary
    }

    /// Whether there is no connection.
    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_none()
    }

    /// Goes on with what is to be done; when to look again. `may_connect`: the first connection stands and sends;
    /// `may_send`: nothing forbids sending.
    pub(super) async fn advance(&mut self, books: &Books, may_connect: bool, may_send: bool) -> Option<Instant> {
        let now = self.clock.now();
        if let Some(connection) = &mut self.connection {
            return connection.advance(books, may_send, now).await;
        }
        if !self.is_separate() || !books.queue.has_express() {
            return None;
        }
        if now < self.rests_until {
            books.queue.demote_express();
        } else if may_connect && now < self.not_before {
            return Some(self.not_before);
        } else if may_connect {
            self.connect(now);
        }
        // What the first connection waits for, this one does too.
        None
    }

    fn connect(&mut self, now: Instant) {
        self.not_before = now + SPACING;
        let new = || Gateway::new(self.route.clone(), &self.shared, self.clock.clone());
        match self.proven.take().map_or_else(new, Ok) {
            Ok(mut gateway) => {
                gateway.connect();
                self.connection = Some(Connection { gateway, phase: Phase::Connecting, instead: None });
            }
            // The first gateway was made the same way, so that this cannot last.
            Err(error) => self.rest(&error, now),
        }
    }

    /// What the connection has to say; pending for ever where there is none.
    pub(super) async fn event(&mut self) -> Event {
        match &mut self.connection {
            Some(connection) => connection.gateway.event().await,
            None => std::future::pending().await,
        }
    }

    /// The connection stands.
    pub(super) fn connected(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.phase = Phase::Up;
        }
    }

    /// What rows that come back are rejected for, where they may not be sent again.
    pub(super) fn instead(&self) -> Option<Reason> {
        self.connection.as_ref().and_then(|connection| connection.instead)
    }

    /// The connection is over.
    pub(super) fn closed(&mut self, cause: &CloseCause) {
        let (app, now) = (&self.route.app, self.clock.now());
        let connection = self.connection.take();
        match cause {
            CloseCause::Retired { proven: true } => {
                self.proven = connection.filter(|connection| connection.instead.is_none()).map(|it| it.gateway);
                debug!(%app, "second connection: {cause}");
            }
            // The name of a bad row proves the way: the others need not wait for it.
            CloseCause::Error(reason) if reason.blame() != Blame::App => {
                self.not_before = self.not_before.min(now + AFTER_ERROR);
                debug!(%app, "second connection: {cause}");
            }
            CloseCause::Shutdown => debug!(%app, "second connection: {cause}"),
            CloseCause::Error(_)
            | CloseCause::Retired { proven: false }
            | CloseCause::Unreachable(_)
            | CloseCause::Untrusted(_)
            | CloseCause::Refused(_)
            | CloseCause::Silent { .. }
            | CloseCause::Dead(_) => self.rest(cause, now),
        }
    }

    fn rest(&mut self, cause: &dyn std::fmt::Display, now: Instant) {
        self.rests_until = now + REST;
        let app = &self.route.app;
        warn!(%app, "the second connection failed, for 5 minutes sends go over the first: {cause}");
    }

    /// Closes the connection as planned.
    pub(super) fn retire(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.retire();
        }
    }

    /// Later connections go another way. What comes back from the present one is rejected for `instead`, if there is a
    /// reason.
    pub(super) fn replace(&mut self, route: Route, instead: Option<Reason>) {
        self.route = route;
        self.proven = None;
        self.rests_until = Instant::default();
        if let Some(connection) = &mut self.connection {
            connection.instead = instead;
            connection.retire();
        }
    }

    /// Bounds later connection attempts.
    pub(super) fn set_connect_timeout(&mut self, timeout: Duration) {
        self.route.connect_timeout = timeout;
        if let Some(gateway) = &mut self.proven {
            gateway.set_connect_timeout(timeout);
        }
    }
}

impl Connection {
    async fn advance(&mut self, books: &Books, may_send: bool, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Connecting | Phase::Retiring => return None,
            Phase::Up | Phase::Sending if !may_send => {
                self.retire();
                return None;
            }
            Phase::Up => self.send(books).await,
            Phase::Sending => (),
        }
        if self.gateway.has_unsent() {
            return Some(now + SENT_LOOK);
        }
        self.retire();
        None
    }

    /// Hands over what waits, as far as there is room: the rest is for the next connection.
    async fn send(&mut self, books: &Books) {
        self.phase = Phase::Sending;
        while let room @ 1.. = self.gateway.room() {
            let Some(span) = books.lease_express(room).await else { return };
            if let Some(rest) = self.gateway.send(span) {
                return books.queue.give_back(vec![rest]);
            }
        }
    }

    fn retire(&mut self) {
        if self.phase != Phase::Retiring {
            self.phase = Phase::Retiring;
            self.gateway.retire();
        }
    }
}
