//! Outcomes into the queue and the store: settle, return, defer, reject.

use std::sync::Arc;

use tracing::{error, info};

use super::Counters;
use crate::clock::Clock;
use crate::domain::app::AppId;
use crate::domain::batch::Span;
use crate::domain::feedback::Rejection;
use crate::domain::outcome::{Outcome, Reason, Settled};
use crate::domain::token::MaskedToken;
use crate::queue::retry::{self, Next};
use crate::queue::{AppQueue, Leased};
use crate::store::Store;

/// One app's queue, and where its rejections go.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) app: AppId,
    pub(super) queue: AppQueue,
    pub(super) store: Store,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Clock,
    pub(super) attempts_max: u8,
}

/// What a set of outcomes meant for the app, in the order in which it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Rows were delivered.
    Delivered,
    /// So many rows in a row were rejected by the gateway for a reason.
    Rejected(Reason, u64),
}

impl Books {
    /// The next rows to send, at most `rows_max`; what has expired meanwhile is settled on the way.
    pub(super) async fn lease(&self, rows_max: u32) -> Option<Span> {
        loop {
            match self.queue.lease(rows_max, self.clock.now(), self.clock.timestamp())? {
                Leased::Send(span) => return Some(span),
                Leased::Expired(span) => self.reject(span, Reason::Expired).await,
            }
        }
    }

    /// Enters outcomes. With `instead`, rows that would go back to the queue are rejected for that reason.
    pub(super) async fn enter(&self, settled: Vec<Settled>, instead: Option<Reason>) -> Vec<News> {
        let mut news = Vec::new();
        let mut returned = Vec::new();
        for Settled { span, outcome } in settled {
            match outcome {
                Outcome::Accepted | Outcome::Presumed => {
                    self.counters.add_delivered(span.len());
                    self.queue.settle(&span);
                    news.push(News::Delivered);
                }
                Outcome::Rejected(reason) => {
                    news.push(News::Rejected(reason, u64::from(span.len())));
                    self.reject(span, reason).await;
                }
                Outcome::Expired => self.reject(span, Reason::Expired).await,
                Outcome::Retry(retry) => match (instead, retry::next(span.tries, &retry, self.attempts_max)) {
                    (Some(reason), _) | (None, Next::Reject(reason)) => self.reject(span, reason).await,
                    (None, Next::AtOnce(tries)) => returned.push(span.with_tries(tries)),
                    (None, Next::After(tries, wait)) => {
                        self.queue.defer(span.with_tries(tries), self.clock.now() + wait);
                    }
                },
            }
        }
        self.queue.give_back(returned);
        news
    }

    /// Enters corrected outcomes of rows that were settled as presumed. `instead` as in [`Books::enter`].
    pub(super) async fn revise(&self, revised: Vec<Settled>, instead: Option<Reason>) {
        let mut returned = Vec::new();
        for Settled { span, outcome } in revised {
            self.counters.take_back_delivered(span.len());
            let next = match outcome {
                Outcome::Accepted | Outcome::Presumed => {
                    self.counters.add_delivered(span.len());
                    continue;
                }
                Outcome::Rejected(reason) => Next::Reject(reason),
                Outcome::Expired => Next::Reject(Reason::Expired),
                Outcome::Retry(retry) => match instead {
                    Some(reason) => Next::Reject(reason),
                    None => retry::next(span.tries, &retry, self.attempts_max),
                },
            };
            match next {
                Next::Reject(reason) => self.record(&span, reason).await,
                Next::AtOnce(tries) | Next::After(tries, _) => returned.push(span.with_tries(tries)),
            }
        }
        self.queue.readmit(returned);
    }

    /// Rejects everything that waits; how many rows that were.
    pub(super) async fn reject_all(&self, reason: Reason) -> u64 {
        let mut rows = 0;
        for span in self.queue.lease_all() {
            rows += u64::from(span.len());
            self.reject(span, reason).await;
        }
        rows
    }

    async fn reject(&self, span: Span, reason: Reason) {
        self.record(&span, reason).await;
        self.queue.settle(&span);
    }

    async fn record(&self, span: &Span, reason: Reason) {
        let timestamp = self.clock.timestamp();
        let rejections: Vec<Rejection> = span
            .rows
            .clone()
            .map(|row| {
                let token = span.batch.notification(row).token;
                info!(app = %self.app, token = %MaskedToken(token), batch = span.id.0, row, "rejected: {reason}");
                Rejection { timestamp, app: self.app.clone(), token: token.into(), reason, batch: span.id, row }
            })
            .collect();
        self.counters.add_rejected(span.len());
        if let Err(problem) = self.store.append_rejections(rejections).await {
            error!(app = %self.app, batch = span.id.0, rows = span.len(), "rejections could not be kept: {problem}");
        }
    }
}
