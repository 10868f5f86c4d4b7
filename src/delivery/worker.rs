//! The task of one app: performs what [`State`] says, and tells it what happened.

mod succession;

use std::borrow::Cow;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info, warn};

use self::succession::{Draining, candidate_event, draining_event};
use super::bad_tokens::BadTokens;
use super::books::{Books, News, Origin};
use super::express::Express;
use super::reading::Reading;
use super::setbacks::Setbacks;
use super::state::{State, Step};
use super::{Command, REMOVED, Replacement, WorkerStatus, feedback_source};
use crate::clock::Instant;
use crate::domain::app::AppState;
use crate::domain::batch::{BatchId, Span};
use crate::domain::outcome::{Outcome, Reason, Retry, Settled};
use crate::domain::time::Timestamp;
use crate::gateway::{CloseCause, Closed, Event, Gateway};
use crate::shutdown::Shutdown;

/// How often a stopping worker looks whether its gateway has sent what it holds.
const SENT_LOOK: Duration = Duration::from_millis(10);
/// How often a worker looks whether the store works again.
const TROUBLE_LOOK: Duration = Duration::from_secs(1);
/// Moments are shown in whole seconds: the one that is named is not before the attempt.
const ROUNDED_UP: Duration = Duration::from_millis(999);

/// One app's worker.
#[derive(Debug)]
pub(super) struct Worker {
    gateway: Gateway,
    origin: Origin,
    express: Express,
    books: Books,
    reading: Reading,
    state: State,
    /// When it is tried again after a failure, by the wall clock.
    next_attempt: Option<Timestamp>,
    bad_tokens: BadTokens,
    setbacks: Setbacks,
    /// A gateway with new credentials, tried beside the present one.
    candidate: Option<Replacement>,
    /// The gateway before the present one, as long as it has rows without an outcome.
    draining: Option<Draining>,
    /// What comes after `candidate` and `draining`.
    next_replacement: Option<Replacement>,
    mailbox: mpsc::Receiver<Command>,
    status: watch::Sender<WorkerStatus>,
    ending: Option<Ending>,
    /// Whether the gateway has no connection and makes none.
    is_closed: bool,
    shutdown: Shutdown,
}

/// Why the worker ends once its gateways are closed.
#[derive(Debug)]
enum Ending {
    /// The daemon stops; what waits goes out after the next start, or first where it would be lost.
    Shutdown,
    /// The app is removed; what waits is rejected.
    Removed(oneshot::Sender<()>),
    /// The app cannot send any more; what waits stays.
    Parked(oneshot::Sender<()>),
}

impl Worker {
    pub(super) fn new(
        gateway: Gateway,
        express: Express,
        books: Books,
        mailbox: mpsc::Receiver<Command>,
        shutdown: Shutdown,
    ) -> (Self, watch::Receiver<WorkerStatus>) {
        let state = State::new(books.app.clone(), books.clock.now());
        let (status, watched) = watch::channel(WorkerStatus {
            state: state.shown(),
            cause: String::new(),
            since: books.clock.timestamp(),
            refuses: false,
            rests: false,
        });
        let worker = Self {
            gateway,
            origin: Origin { source: feedback_source(express.route()), instead: None },
            express,
            books,
            reading: Reading::default(),
            state,
            next_attempt: None,
            bad_tokens: BadTokens::default(),
            setbacks: Setbacks::default(),
            candidate: None,
            draining: None,
            next_replacement: None,
            mailbox,
            status,
            ending: None,
            is_closed: true,
            shutdown,
        };
        (worker, watched)
    }

    pub(super) async fn run(mut self) {
        while !self.has_ended() {
            let wake_at = self.act().await;
            self.publish();
            if self.ending.is_none() {
                self.reading.begin(&self.books.queue, self.books.clock.now(), self.gateway.is_connected());
            }
            tokio::select! {
                event = self.gateway.event() => self.on_event(event).await,
                event = self.express.event() => self.on_express(event).await,
                event = candidate_event(&mut self.candidate) => self.on_candidate(event).await,
                event = draining_event(&mut self.draining) => self.on_draining(event).await,
                Some(command) = self.mailbox.recv() => self.on_command(command).await,
                () = self.books.queue.changed() => (),
                () = self.reading.finished() => (),
                () = self.books.clock.sleep_until(wake_at) => (),
                () = self.shutdown.requested(), if self.ending.is_none() => self.end(Ending::Shutdown),
            }
        }
        // Whoever asked may have gone; it is done all the same.
        match self.ending.take() {
            Some(Ending::Removed(done)) => {
                self.books.queue.close();
                self.reject_all(REMOVED).await;
                let _ = done.send(());
            }
            Some(Ending::Parked(done)) => drop(done.send(())),
            Some(Ending::Shutdown) | None => (),
        }
    }

    /// Carries out the next steps until there is something to wait for; when to look again at the latest.
    async fn act(&mut self) -> Option<Instant> {
        let look = self.advance().await;
        let may_send = !self.is_held() && !self.state.is_paused() && (self.ending.is_none() || self.drains());
        let may_connect = may_send && self.state.step(self.books.clock.now(), true) == Step::Send;
        earliest(look, self.express.advance(&self.books, may_connect, may_send).await)
    }

    /// The same but for the second connection.
    async fn advance(&mut self) -> Option<Instant> {
        loop {
            let now = self.books.clock.now();
            if self.ending.is_some() && !self.drains() {
                return self.retire_to_end(now);
            }
            self.books.expire(now).await;
            let rows_due = !self.is_held() && self.books.queue.is_ready(now);
            match self.state.step(now, rows_due) {
                Step::Connect => {
                    debug!(app = %self.books.app, environment = %self.environment(), "connecting");
                    self.state.connecting(now);
                    self.is_closed = false;
                    self.gateway.connect();
                }
                Step::Send => {
                    self.send().await;
                    if self.ending.is_none() || self.drains() {
                        return self.next_look(now);
                    }
                }
                Step::Retire => self.retire(),
                Step::Wait(until) => return earliest(until, self.next_look(now)),
            }
        }
    }

    /// Whether nothing may be sent for now. A row that the gateway before this one still holds may not be overtaken.
    /// What cannot be settled is not sent: after a crash it would go out again.
    fn is_held(&self) -> bool {
        self.draining.is_some() || self.books.store.trouble().is_some()
    }

    /// When to look again although nothing happens. What is ready waits for the connection, not for time.
    fn next_look(&self, now: Instant) -> Option<Instant> {
        let trouble = self.books.store.trouble().map(|_| now + TROUBLE_LOOK);
        earliest(trouble, self.books.next_look().filter(|look| *look > now))
    }

    /// Begins a planned close. What has not left yet is the queue's again at once.
    fn retire(&mut self) {
        self.state.retiring();
        self.books.queue.give_back(self.gateway.take_unsent());
        self.gateway.retire();
    }

    /// Hands rows to the gateway until it has no room or nothing is due.
    async fn send(&mut self) {
        while let room @ 1.. = self.gateway.room() {
            let express = match self.express.is_separate() {
                true => None,
                false => self.books.lease_express(room).await,
            };
            let span = match express {
                Some(span) => Some(span),
                None => self.books.lease(room).await,
            };
            let Some(span) = span else { return };
            let (batch, leased) = (span.id.0, span.len());
            let rest = self.gateway.send(span);
            let rows = leased - rest.as_ref().map_or(0, Span::len);
            debug!(app = %self.books.app, batch, rows, room, "handed to the gateway");
            if let Some(rest) = rest {
                return self.books.queue.give_back(vec![rest]);
            }
        }
    }

    async fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected { peer } => {
                info!(app = %self.books.app, environment = %self.environment(), %peer, "connected");
                self.state.connected(self.books.clock.now());
            }
            // The gateway has said why in the log.
            Event::Reconnecting { cause } => self.state.reconnecting(cause),
            Event::Room => (),
            Event::Settled(settled) => self.enter(settled).await,
            Event::Closed(closed) => self.on_closed(closed).await,
        }
    }

    async fn on_closed(&mut self, closed: Closed) {
        self.log_closed(&closed.cause);
        self.is_closed = true;
        let sent = was_sent(&closed.settled);
        if was_answered(&closed.settled) {
            self.state.answered();
        }
        let now = self.books.clock.now();
        self.state.closed(&closed.cause, sent, now, fastrand::f64());
        self.next_attempt =
            self.state.next_attempt().map(|at| self.books.clock.timestamp().plus(at.since(now) + ROUNDED_UP));
        if let Step::Wait(Some(until)) = self.state.step(now, true) {
            debug!(app = %self.books.app, wait = ?until.since(now), cause = self.state.cause(), "waits before it connects");
        }
        self.enter(closed.settled).await;
        // They were sent before the others, so they go to the front last.
        self.books.revise(closed.revised, &self.origin).await;
    }

    async fn on_express(&mut self, event: Event) {
        let origin = Origin { source: self.origin.source.clone(), instead: self.express.instead() };
        match event {
            Event::Connected { .. } => self.express.connected(),
            // Only a gateway that needs no second connection does so.
            Event::Reconnecting { .. } | Event::Room => (),
            Event::Settled(settled) => self.enter_from(settled, &origin).await,
            Event::Closed(closed) => {
                self.enter_from(closed.settled, &origin).await;
                self.books.revise(closed.revised, &origin).await;
                self.express.closed(&closed.cause);
            }
        }
    }

    /// Enters outcomes; those of another environment say nothing about this one.
    async fn enter_from(&mut self, settled: Vec<Settled>, origin: &Origin) {
        match origin.instead {
            Some(_) => drop(self.books.enter(settled, origin).await),
            None => self.enter(settled).await,
        }
    }

    async fn enter(&mut self, settled: Vec<Settled>) {
        for news in self.books.enter(settled, &self.origin).await {
            match news {
                News::Delivered => self.state.delivered(),
                News::Rejected(reason, rows) => {
                    let now = self.books.clock.now();
                    self.state.rejected(reason, rows, now);
                    if let Some(count) = self.bad_tokens.rejected(reason, rows, now) {
                        self.warn_of_bad_tokens(count);
                    }
                }
                News::PutOff(reason, rows) => {
                    if let Some(count) = self.setbacks.put_off(rows, self.books.clock.now()) {
                        self.warn_of_setbacks(count, reason);
                    }
                }
            }
        }
    }

    fn warn_of_bad_tokens(&self, count: u64) {
        let (app, environment) = (&self.books.app, self.environment());
        warn!(
            %app, %environment, count,
            "many bad tokens within a minute: do they belong to this environment? A token of a development build works in \
             the sandbox alone, one of TestFlight or the App Store in production alone"
        );
    }

    fn warn_of_setbacks(&self, count: u64, reason: Reason) {
        let (app, environment) = (&self.books.app, self.environment());
        warn!(
            %app, %environment, count,
            "the gateway puts many notifications off, the last one for: {reason}; they are tried again (`apnsd queue` \
             tells how many for which reason)"
        );
    }

    async fn on_command(&mut self, command: Command) {
        let done = match command {
            Command::Replace(replacement) => return self.on_replace(*replacement),
            Command::Remove(done) => return self.end(Ending::Removed(done)),
            Command::Park(done) => return self.end(Ending::Parked(done)),
            Command::Purge(done) => {
                let (rows, _) = self.reject_all(Reason::Purged).await;
                info!(app = %self.books.app, rows, "rejected: {}", Reason::Purged);
                let _ = done.send(rows);
                return;
            }
            Command::Pause(done) => {
                self.state.pause();
                done
            }
            Command::Answer(done) => done,
            Command::ConnectTimeout(timeout, done) => {
                self.gateway.set_connect_timeout(timeout);
                self.express.set_connect_timeout(timeout);
                done
            }
            Command::Resume(done) => {
                self.state.resume(self.books.clock.now());
                self.gateway.hurry();
                done
            }
        };
        // Who hears that it is done finds the app so.
        self.publish();
        // Whoever asked may have gone; the command is carried out all the same.
        let _ = done.send(());
    }

    /// Rejects everything that waits; how many rows that were, and the last batch that may be among them.
    async fn reject_all(&mut self, reason: Reason) -> (u64, BatchId) {
        // Whatever it brings would be rejected twice.
        self.reading.cancel();
        self.books.reject_all(reason).await
    }

    fn end(&mut self, ending: Ending) {
        self.ending = Some(ending);
        self.candidate = None;
        self.next_replacement = None;
    }

    /// Whether a stopping worker goes on sending: what waits would be lost.
    fn drains(&self) -> bool {
        let is_shutdown = matches!(self.ending, Some(Ending::Shutdown));
        let queue = &self.books.queue;
        is_shutdown && !queue.is_durable() && !self.state.is_paused() && queue.depth().waiting > 0
    }

    /// Closes the gateway as planned, once. What it has not sent yet is sent first where it would be lost.
    fn retire_to_end(&mut self, now: Instant) -> Option<Instant> {
        self.express.retire();
        let is_shutdown = matches!(self.ending, Some(Ending::Shutdown));
        let sends = is_shutdown && !self.books.queue.is_durable() && !self.state.is_paused();
        if sends && self.gateway.is_connected() && self.gateway.has_unsent() && !self.state.is_retiring() {
            return Some(now + SENT_LOOK);
        }
        if !self.is_closed && !self.state.is_retiring() {
            self.retire();
        }
        None
    }

    /// Whether nothing is on its way, nor will be before somebody or something resumes.
    fn rests(&self) -> bool {
        let has_connection = self.state.has_connection() || self.draining.is_some() || !self.express.is_closed();
        self.state.is_paused() && !has_connection
    }

    fn has_ended(&self) -> bool {
        let are_closed = self.is_closed && self.draining.is_none() && self.express.is_closed();
        self.ending.is_some() && are_closed && !self.drains()
    }

    /// Shows the state outside, and says in the log when the app stops sending and when it goes on.
    fn publish(&self) {
        let (state, cause) = self.shown();
        let (was_paused, is_paused) = (self.status.borrow().state == AppState::Paused, state == AppState::Paused);
        match (was_paused, is_paused, self.state.refuses()) {
            (false, true, true) => warn!(app = %self.books.app, "paused: {cause}"),
            (false, true, false) => info!(app = %self.books.app, "paused: {cause}"),
            (true, false, _) => info!(app = %self.books.app, "sends again"),
            (true, true, _) | (false, false, _) => (),
        }
        let since = self.books.clock.timestamp();
        self.status.send_if_modified(|status| {
            let (refuses, rests) = (self.state.refuses(), self.rests());
            let shown = (status.state, status.cause.as_str(), status.refuses, status.rests);
            let changed = shown != (state, &*cause, refuses, rests);
            if changed {
                let since = if status.state == state { status.since } else { since };
                *status = WorkerStatus { state, cause: cause.into_owned(), since, refuses, rests };
            }
            changed
        });
    }

    /// The state as it looks from outside, and what stands in the way.
    fn shown(&self) -> (AppState, Cow<'_, str>) {
        match self.books.queue.trouble() {
            Some(trouble) if !self.state.is_paused() => (AppState::Paused, trouble.to_string().into()),
            Some(_) | None => {
                let (state, cause) = (self.state.shown(), self.state.cause());
                match self.next_attempt {
                    Some(at) if state == AppState::Waiting => (state, format!("{cause} (tried again at {at})").into()),
                    Some(_) | None => (state, cause.into()),
                }
            }
        }
    }

    fn environment(&self) -> &str {
        &self.origin.source.environment
    }

    fn log_closed(&self, cause: &CloseCause) {
        let (app, environment) = (&self.books.app, self.environment());
        match cause {
            CloseCause::Error(_) | CloseCause::Shutdown | CloseCause::Retired { .. } => {
                info!(%app, %environment, "closed: {cause}");
            }
            CloseCause::Unreachable(_)
            | CloseCause::Untrusted(_)
            | CloseCause::Refused(_)
            | CloseCause::Silent { .. }
            | CloseCause::Dead(_) => warn!(%app, %environment, "closed: {cause}"),
        }
    }
}

/// Whether any of the rows that a connection held at its end had gone out.
fn was_sent(settled: &[Settled]) -> bool {
    settled.iter().any(|settled| settled.outcome != Outcome::Retry(Retry::NotProcessed))
}

/// Whether the gateway had anything to say about a row, and not only about the app.
fn was_answered(settled: &[Settled]) -> bool {
    settled.iter().any(|settled| match settled.outcome {
        Outcome::Accepted | Outcome::Presumed | Outcome::Rejected(_) | Outcome::Unregistered { .. } => true,
        Outcome::Retry(Retry::Transient { .. }) => true,
        Outcome::Expired => false,
        Outcome::Retry(Retry::NotProcessed | Retry::Refused(_)) => false,
        Outcome::Retry(Retry::Unknown { .. } | Retry::Unanswered) => false,
    })
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests;
