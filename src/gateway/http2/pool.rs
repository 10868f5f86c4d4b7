//! The connections of a gateway come, are replaced, and go.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tracing::{debug, info, warn};

use super::connection::{Connection, End, GoAway, Notice};
use super::{Attempt, Http2Gateway, State};
use crate::clock::Instant;
use crate::credentials::Credentials;
use crate::domain::apns::ApnsReason;
use crate::domain::outcome::{Blame, Outcome, Reason, Retry};
use crate::gateway::meter::{Metered, REPLACED};
use crate::gateway::tls::Connector;
use crate::gateway::{CloseCause, Event};

/// A connection that is closed without a word within this time of its handshake, and nothing was answered on it, may not
/// have been wanted; later it was idle.
const EARLY: Duration = Duration::from_secs(10);

impl Http2Gateway {
    /// When the next connection is to be begun, where one is wanted.
    pub(super) fn next_dial(&self) -> Option<Instant> {
        let serving = self.serving();
        let is_wanted = serving == 0 || (serving < self.connections_max && !self.unsent.is_empty());
        let may_dial = matches!(self.state, State::Open { .. }) && self.attempt.is_none() && is_wanted;
        may_dial.then(|| self.redial.not_before())
    }

    /// Begins a connection where one is due; whether that is so.
    pub(super) fn dial(&mut self, now: Instant) -> bool {
        let is_due = self.next_dial().is_some_and(|not_before| not_before <= now);
        if is_due {
            let serving = self.serving();
            debug!(app = %self.app, environment = %self.environment, serving, "a connection is begun");
            self.redial.began(now);
            self.attempt = Some(self.begin(now));
        }
        is_due
    }

    fn begin(&self, now: Instant) -> Attempt {
        let (connector, clock) = (self.connector.clone(), self.clock.clone());
        let (timeout, deadline) = (self.connect_timeout, now + self.connect_timeout);
        let is_cautious = matches!(&*self.credentials, Credentials::ProviderKey(_));
        Box::pin(async move {
            let (stream, peer) = connector.connect(&clock).await?;
            if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err(connector.unreachable("TLS handshake", &"the server does not speak HTTP/2"));
            }
            tokio::select! {
                biased;
                connection = Connection::establish(stream, peer, &clock, is_cautious) => {
                    connection.map_err(|end| not_established(end, &connector))
                }
                () = clock.sleep_until(Some(deadline)) => {
                    let words = format!("no SETTINGS and PONG within {} s", timeout.as_secs_f32());
                    Err(connector.unreachable("HTTP/2", &words))
                }
            }
        })
    }

    /// Looks after the attempt that is under way; whether it is over.
    pub(super) fn poll_attempt(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(attempt) = &mut self.attempt else { return false };
        let Poll::Ready(result) = attempt.as_mut().poll(cx) else { return false };
        self.attempt = None;
        match result {
            Ok(connection) => self.established(connection),
            Err(cause) => {
                self.redial.failed(now);
                self.meter.count_end(cause.word());
                match cause {
                    _ if self.serving() > 0 => {
                        warn!(app = %self.app, environment = %self.environment, "no further connection: {cause}");
                    }
                    // Those that are replaced are still awaited: others are tried meanwhile.
                    CloseCause::Unreachable(words) if !self.connections.is_empty() => self.lost = Some(words),
                    cause => self.end(cause, self.settings.goaway_drain),
                }
            }
        }
        true
    }

    fn established(&mut self, mut connection: Connection) {
        let peer = connection.peer;
        connection.metered = Some(Metered::new(Arc::clone(&self.meter)));
        self.connections.push(connection);
        match &mut self.state {
            State::Open { is_announced } if !*is_announced => {
                *is_announced = true;
                self.events.push_back(Event::Connected { peer });
            }
            State::Open { .. } => {
                let connections = self.serving();
                info!(app = %self.app, environment = %self.environment, %peer, connections, "connected once more");
                self.is_full = true;
            }
            State::Closed | State::Ending { .. } => (),
        }
    }

    /// A connection has something to say of itself.
    pub(super) fn noticed(&mut self, index: usize, notice: Notice, now: Instant) {
        match notice {
            Notice::GoingAway(go_away) => match refusal(&go_away) {
                Some(reason) => self.refuse(reason),
                None => {
                    let connection = &self.connections[index];
                    let is_routine = go_away.is_graceful && connection.is_settled() && connection.age(now) >= EARLY;
                    let word = if go_away.is_graceful { CloseCause::Shutdown.word() } else { "dead" };
                    self.replace_for(index, &go_away.words, (is_routine, word), now);
                }
            },
            Notice::Useless(words) => self.replace(index, &words, now),
            Notice::Ended(end) => self.ended(index, end, now),
        }
    }

    /// Has a connection take no more requests; another one takes its place at once where it was good for something.
    pub(super) fn replace(&mut self, index: usize, why: &str, now: Instant) {
        self.replace_for(index, why, (false, REPLACED), now);
    }

    /// `is_routine`: it was good for something although nothing was delivered. `word`: why it ends, for the meter.
    fn replace_for(&mut self, index: usize, why: &str, (is_routine, word): (bool, &str), now: Instant) {
        let connection = &mut self.connections[index];
        if !connection.is_serving() {
            return;
        }
        connection.drain(now + self.settings.goaway_drain);
        self.meter.count_end(word);
        let is_good = is_routine || connection.has_delivered();
        info!(app = %self.app, environment = %self.environment, peer = %connection.peer, "connection replaced: {why}");
        self.lost = Some(format!("{}: {why}", self.address));
        if is_good {
            if self.serving() == 0 {
                // Those beside it may have failed.
                self.redial.asked(now);
            }
            return;
        }
        self.redial.failed(now);
        if self.serving() == 0 && self.attempt.is_none() {
            let words = format!("{}: {why}, and nothing was delivered on this connection", self.address);
            self.end(CloseCause::Unreachable(words), self.settings.goaway_drain);
        }
    }

    /// Closes all connections because every request would fail the same way.
    pub(super) fn refuse(&mut self, reason: ApnsReason) {
        self.end(CloseCause::Error(Reason::Apns(reason)), self.settings.goaway_drain);
    }

    /// Opens no more streams and closes when those that are open are over, or after `patience`. The first cause counts.
    pub(super) fn end(&mut self, cause: CloseCause, patience: Duration) {
        let until = self.clock.now() + patience;
        self.attempt = None;
        for connection in &mut self.connections {
            if connection.is_serving() {
                self.meter.count_end(cause.word());
            }
            connection.drain(until);
        }
        if let State::Open { is_announced } = self.state {
            self.state = State::Ending { cause, is_announced };
        }
    }

    fn ended(&mut self, index: usize, end: End, now: Instant) {
        let mut connection = self.connections.remove(index);
        let lost = connection.take_in_flight();
        if !lost.is_empty() {
            // What was answered before is reported before.
            self.report_outcomes();
            self.is_unproven = true;
        }
        for sent in lost {
            self.outcomes.push(sent.row, Outcome::Retry(Retry::Unanswered));
        }
        let cause = cause_of(&connection, end, now);
        if connection.is_serving() {
            self.meter.count_end(cause.word());
        }
        match &mut self.state {
            // A name for it explains more than what was noticed before.
            State::Ending { cause: earlier, .. } if matches!(cause, CloseCause::Refused(_)) => *earlier = cause,
            State::Open { .. } if connection.is_serving() => {
                if self.serving() == 0 && self.attempt.is_none() {
                    return self.end(cause, self.settings.goaway_drain);
                }
                warn!(app = %self.app, environment = %self.environment, "one of the connections closed: {cause}");
                if !connection.has_delivered() {
                    self.redial.failed(now);
                }
                self.lost = Some(cause.to_string());
            }
            State::Closed | State::Open { .. } | State::Ending { .. } => (),
        }
    }

    /// Connections that take requests.
    pub(super) fn serving(&self) -> usize {
        self.connections.iter().filter(|connection| connection.is_serving()).count()
    }
}

/// The reason to close a connection, where it would close the next one too.
fn refusal(go_away: &GoAway) -> Option<ApnsReason> {
    let reason = go_away.reason?;
    let is_of_this_token = matches!(
        reason,
        ApnsReason::ExpiredProviderToken | ApnsReason::TooManyProviderTokenUpdates | ApnsReason::UnrelatedKeyIdInToken
    );
    (reason.blame() == Blame::App && !is_of_this_token).then_some(reason)
}

fn not_established(end: End, connector: &Connector) -> CloseCause {
    match end {
        End::Drained | End::Silent => CloseCause::Silent { settled: false },
        End::Refused(alert) => CloseCause::Refused(alert),
        End::Unwanted(go_away) => match refusal(&go_away) {
            Some(reason) => CloseCause::Error(Reason::Apns(reason)),
            None => connector.unreachable("HTTP/2", &go_away.words),
        },
        End::Lost(words) => CloseCause::Dead(words),
    }
}

fn cause_of(connection: &Connection, end: End, now: Instant) -> CloseCause {
    match end {
        End::Drained => CloseCause::Shutdown,
        End::Silent if connection.has_answered() => CloseCause::Silent { settled: true },
        End::Silent if connection.age(now) < EARLY => CloseCause::Silent { settled: false },
        End::Silent => CloseCause::Dead("the gateway closed the idle connection".to_owned()),
        End::Refused(alert) => CloseCause::Refused(alert),
        End::Unwanted(GoAway { words, .. }) | End::Lost(words) => CloseCause::Dead(words),
    }
}
