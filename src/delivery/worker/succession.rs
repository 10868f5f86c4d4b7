//! How new credentials take over: their gateway is tried beside the present one, which is drained once they stand.

use tracing::{info, warn};

use super::Worker;
use crate::delivery::books::Origin;
use crate::delivery::{CommandError, Replacement, feedback_source};
use crate::domain::outcome::Reason;
use crate::gateway::{CloseCause, Closed, Event, Gateway};

#[derive(Debug)]
pub(super) struct Draining {
    pub(super) gateway: Gateway,
    /// Rows that come back from it may not be sent by its successor, if that has another environment.
    pub(super) origin: Origin,
}

impl Worker {
    /// Tries new credentials, after those before them have taken over for good.
    pub(super) fn on_replace(&mut self, mut replacement: Replacement) {
        if self.ending.is_some() {
            let _ = replacement.done.send(Err(CommandError::Stopped));
        } else if self.candidate.is_some() || self.draining.is_some() {
            self.next_replacement = Some(replacement);
        } else {
            replacement.gateway.connect();
            self.candidate = Some(replacement);
        }
    }

    pub(super) async fn on_candidate(&mut self, event: Event) {
        let Some(replacement) = self.candidate.take() else { return };
        match event {
            Event::Connected { .. } => self.take_over(replacement, true).await,
            Event::Closed(Closed { cause: CloseCause::Refused(alert), .. }) => {
                warn!(app = %self.books.app, "new credentials refused ({alert}), the old ones stay");
                let _ = replacement.done.send(Err(CommandError::Refused(alert)));
            }
            Event::Closed(Closed { cause, .. }) => {
                self.log_closed(&cause);
                self.take_over(replacement, false).await;
            }
            // Nothing was sent on it.
            Event::Reconnecting { .. } | Event::Room | Event::Settled(_) => self.candidate = Some(replacement),
        }
    }

    /// The new gateway becomes the present one; the old one is drained. What waits for another environment's gateway
    /// is never sent to this one.
    async fn take_over(&mut self, replacement: Replacement, connected: bool) {
        let Replacement { gateway, route, done } = replacement;
        let source = feedback_source(&route);
        let now = self.books.clock.now();
        let mut old = std::mem::replace(&mut self.gateway, gateway);
        let moved = self.origin.source.environment != source.environment;
        let mut origin = std::mem::replace(&mut self.origin, Origin { source, instead: None });
        origin.instead = moved.then_some(Reason::EnvironmentChanged);
        self.state = self.state.renewed(now);
        self.is_closed = !connected;
        if connected {
            self.state.connecting(now);
            self.state.connected(now);
        }
        info!(app = %self.books.app, environment = %self.environment(), connected, "credentials replaced");
        self.express.replace(route, origin.instead);
        self.books.queue.give_back(old.take_unsent());
        let mut last = None;
        if let Some(reason) = origin.instead {
            let (rows, up_to) = self.reject_all(reason).await;
            last = Some(up_to);
            info!(app = %self.books.app, rows, "rejected: {reason}");
        }
        old.retire();
        self.draining = Some(Draining { gateway: old, origin });
        let _ = done.send(Ok(last));
    }

    pub(super) async fn on_draining(&mut self, event: Event) {
        let Some(draining) = &self.draining else { return };
        match event {
            Event::Connected { .. } | Event::Reconnecting { .. } | Event::Room => (),
            Event::Settled(settled) => drop(self.books.enter(settled, &draining.origin).await),
            Event::Closed(closed) => {
                let origin = draining.origin.clone();
                self.draining = None;
                self.log_closed(&closed.cause);
                self.books.enter(closed.settled, &origin).await;
                self.books.revise(closed.revised, &origin).await;
                if let Some(next) = self.next_replacement.take() {
                    self.on_replace(next);
                }
            }
        }
    }
}

pub(super) async fn candidate_event(candidate: &mut Option<Replacement>) -> Event {
    match candidate {
        Some(candidate) => candidate.gateway.event().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn draining_event(draining: &mut Option<Draining>) -> Event {
    match draining {
        Some(draining) => draining.gateway.event().await,
        None => std::future::pending().await,
    }
}
