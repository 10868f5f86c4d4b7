//! What requests that are over mean for their rows, their connection, the provider token and the app.

use std::time::Duration;

use tracing::{error, trace, warn};

use super::Http2Gateway;
use super::provider_token::Expired;
use super::response::{self, Answer, Consequence};
use super::streams::{End, Sent};
use crate::clock::Instant;
use crate::credentials::Credentials;
use crate::domain::apns::ApnsReason;
use crate::domain::outcome::{Outcome, Retry};

/// Unknown reasons that are named in the log; a provider that invents more is not worth more lines.
const UNHEARD_MAX: usize = 16;
/// Shortest time between two warnings of the same thing.
const WARN_EVERY: Duration = Duration::from_secs(60);

impl Http2Gateway {
    /// Gives each of the requests that are over on a connection its outcome.
    pub(super) fn judge(&mut self, index: usize, finished: &mut Vec<(Sent, End)>, now: Instant) {
        for (sent, end) in finished.drain(..) {
            let outcome = match end {
                End::Answer { status, headers, body } => {
                    let status = status.as_u16();
                    let (batch, row) = (sent.row.id.0, sent.row.rows.start);
                    trace!(app = %self.app, batch, row, status, "answered");
                    let answer = Answer { status, headers: &headers, body: &body, is_plain_topic: sent.is_plain_topic };
                    let verdict = response::read(answer, self.clock.timestamp());
                    self.answered(index, sent.token, status, verdict.consequence, now);
                    verdict.outcome
                }
                End::Refused => {
                    self.connections[index].refused(now);
                    Outcome::Retry(Retry::NotProcessed)
                }
                End::NotProcessed => Outcome::Retry(Retry::NotProcessed),
                End::Unknown => {
                    self.is_unproven = true;
                    Outcome::Retry(Retry::Unanswered)
                }
            };
            self.outcomes.push(sent.row, outcome);
        }
    }

    fn answered(&mut self, index: usize, token: u64, status: u16, consequence: Consequence, now: Instant) {
        let connection = &mut self.connections[index];
        // Whoever refuses a provider token answers 403; a server that fails may not have looked at it.
        connection.answered(status != 403 && status < 500, now);
        match consequence {
            Consequence::Nothing => (),
            Consequence::Delivered => {
                connection.delivered();
                self.redial.delivered();
                self.is_key_unrelated = false;
                self.is_token_doubted = false;
            }
            Consequence::ServerError(reason) => {
                if connection.failed() {
                    let why = format!("the gateway answers nothing but server errors, the last one {reason}");
                    self.replace(index, &why, now);
                }
            }
            Consequence::Replace(reason) => self.replace(index, &format!("the gateway answered {reason}"), now),
            Consequence::TokenExpired => self.token_expired(index, token, now),
            Consequence::KeyUnrelated => self.key_unrelated(index, now),
            Consequence::TokenTooNew => self.token_too_new(now),
            Consequence::Refused(reason) => self.refuse(reason),
            Consequence::Unheard(text) => self.unheard(text, status),
        }
    }

    /// A token is never used for as long as an hour: a new connection may take it all the same. If the next one says the
    /// same, it is renewed out of turn; if that one is called expired too, the clock is the reason.
    fn token_expired(&mut self, index: usize, token: u64, now: Instant) {
        if !self.connections[index].is_serving() {
            return;
        }
        if !std::mem::replace(&mut self.is_token_doubted, true) {
            return self.replace(index, "it calls the provider token expired", now);
        }
        let renewal = match &*self.credentials {
            Credentials::ProviderKey(key) => Some(self.tokens.expired(key, token, self.clock.timestamp())),
            Credentials::Certificate(_) => None,
        };
        match renewal {
            Some(Expired::Renewed) => self.replace(index, "its provider token expired", now),
            Some(Expired::ClockSuspected) => {
                let (app, environment) = (&self.app, &self.environment);
                error!(%app, %environment, "the gateway calls a new provider token expired: is this machine's clock right?");
                self.refuse(ApnsReason::ExpiredProviderToken);
            }
            None => self.refuse(ApnsReason::ExpiredProviderToken),
        }
    }

    fn token_too_new(&mut self, now: Instant) {
        if self.token_warned_at.is_some_and(|at| now < at + WARN_EVERY) {
            return;
        }
        self.token_warned_at = Some(now);
        let (app, environment) = (&self.app, &self.environment);
        warn!(%app, %environment, "the provider token changes too often: does another program use the same key, or is this \
            machine's clock wrong?");
    }

    /// A connection that began with another key is replaced; if the next one says the same, the key is the reason.
    fn key_unrelated(&mut self, index: usize, now: Instant) {
        if !self.connections[index].is_serving() {
            return;
        }
        if std::mem::replace(&mut self.is_key_unrelated, true) {
            return self.refuse(ApnsReason::UnrelatedKeyIdInToken);
        }
        self.replace(index, "it began with another key", now);
    }

    fn unheard(&mut self, text: String, status: u16) {
        if self.unheard.len() < UNHEARD_MAX && !self.unheard.contains(&text) {
            let (app, environment) = (&self.app, &self.environment);
            warn!(%app, %environment, status, reason = text, "the gateway names a reason that this version does not know");
            self.unheard.insert(text);
        }
    }
}
