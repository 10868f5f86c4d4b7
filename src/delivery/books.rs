//! Outcomes into the queue and the store: settle, return, defer, reject.
//!
//! What must be kept is tried until it is: while the store fails, the app waits. When the daemon stops meanwhile, the
//! rows are in the store as they were, and go out again after the next start.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tracing::{debug, error, info};

use super::counters::Counters;
use super::watch::Watches;
use crate::clock::{Clock, Instant};
use crate::domain::app::AppId;
use crate::domain::batch::{BatchId, Span};
use crate::domain::feedback::{FeedbackEntry, Rejection};
use crate::domain::outcome::{Outcome, Reason, Retry, Settled};
use crate::domain::time::Timestamp;
use crate::domain::token::MaskedToken;
use crate::queue::retry::{self, Next, Policy};
use crate::queue::{AppQueue, Leased};
use crate::shutdown::Shutdown;
use crate::store::{FeedbackSource, Logged, Store, StoreError};

/// What could not be kept is tried again so much later.
const KEEP_RETRY: Duration = Duration::from_secs(1);
/// How often rows that wait are looked through for expired ones, besides when they are to be sent.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);
/// Rejections of a span up to this length are logged row by row.
const LOGGED_ROWS_MAX: u32 = 10;
/// Rows that are rejected in one transaction; more would delay others.
const REJECTED_TOGETHER: u32 = 1000;
/// Rows that are deferred at the same time, so that they share commits.
const DEFERRED_TOGETHER: usize = 256;

/// One app's queue, and where its rejections go.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) app: AppId,
    pub(super) queue: AppQueue,
    pub(super) store: Store,
    pub(super) counters: Arc<Counters>,
    pub(super) watches: Watches,
    pub(super) clock: Clock,
    pub(super) policy: Policy,
    pub(super) shutdown: Shutdown,
    /// When rows that wait are looked through next.
    pub(super) expiry_look: Instant,
}

/// Where outcomes come from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// The environment, and whose feedback dead tokens are.
    pub(super) source: FeedbackSource,
    /// What rows that would go back to the queue are rejected for, where they may not be sent again.
    pub(super) instead: Option<Reason>,
}

/// What a set of outcomes meant for the app, in the order in which it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Rows were delivered, or would have been if their tokens were not dead.
    Delivered,
    /// So many rows in a row were rejected by the gateway for a reason, or given up.
    Rejected(Reason, u64),
    /// So many rows in a row are put off for a reason that may pass.
    PutOff(Reason, u64),
}

/// What follows from a set of outcomes.
#[derive(Default)]
struct Verdicts {
    news: Vec<News>,
    delivered: Vec<Span>,
    rejected: Vec<(Span, Reason)>,
    /// Rows, also among `rejected`, whose tokens are dead, and since when.
    dead: Vec<(Span, Timestamp)>,
    returned: Vec<Span>,
    deferred: Vec<(Span, Duration)>,
    /// What is to be said of rows that are not rejected.
    logged: Vec<(Span, Logged)>,
}

impl Books {
    /// The next rows to send, at most `rows_max`; what has expired meanwhile is settled on the way.
    pub(super) async fn lease(&self, rows_max: u32) -> Option<Span> {
        self.unexpired(|| self.queue.lease(rows_max, self.clock.now(), self.clock.timestamp())).await
    }

    /// The same of the express line.
    pub(super) async fn lease_express(&self, rows_max: u32) -> Option<Span> {
        self.unexpired(|| self.queue.lease_express(rows_max, self.clock.now(), self.clock.timestamp())).await
    }

    async fn unexpired(&self, lease: impl Fn() -> Option<Leased>) -> Option<Span> {
        loop {
            match lease()? {
                Leased::Send(span) => return Some(span),
                Leased::Expired(span) => self.reject(vec![(span, Reason::Expired)]).await,
            }
        }
    }

    /// Settles what has expired at the head of the queue, every minute: it need not wait for a connection.
    pub(super) async fn expire(&mut self, now: Instant) {
        if now < self.expiry_look {
            return;
        }
        let mut expired = Vec::new();
        while let Some(span) = self.queue.lease_expired(now, self.clock.timestamp()) {
            expired.push((span, Reason::Expired));
        }
        // What is read on in place of them is likely to have expired too.
        let has_more = !expired.is_empty() && !self.queue.is_in_memory() && self.queue.is_ready(now);
        self.expiry_look = if has_more { now } else { now + EXPIRY_INTERVAL };
        self.reject(expired).await;
    }

    /// When to look again although nothing happens: for rows that become due, or expire.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let expiry = self.queue.is_in_memory().then_some(self.expiry_look);
        expiry.into_iter().chain(self.queue.next_look()).min()
    }

    /// Enters outcomes.
    pub(super) async fn enter(&self, settled: Vec<Settled>, origin: &Origin) -> Vec<News> {
        let mut verdicts = Verdicts::default();
        for Settled { span, outcome } in settled {
            let (first, rows) = (span.rows.start, span.len());
            let token = MaskedToken(span.batch.notification(first).token);
            debug!(app = %self.app, batch = span.id.0, first, rows, %token, ?outcome, "outcome");
            if let Outcome::Unregistered { since, .. } = &outcome {
                self.watches.note_dead(&span, *since);
            }
            verdicts.add(span, outcome, origin.instead, self.policy);
        }
        self.log(&verdicts.logged);
        self.keep_dead(&verdicts.dead, &origin.source).await;
        for span in &verdicts.delivered {
            self.queue.settle(span);
        }
        self.reject(verdicts.rejected).await;
        self.defer(verdicts.deferred).await;
        self.queue.give_back(verdicts.returned);
        verdicts.news
    }

    /// Enters corrected outcomes of rows that were settled as presumed. Only the
    /// binary gateway has them, which names no dead tokens.
    pub(super) async fn revise(&self, revised: Vec<Settled>, origin: &Origin) {
        let mut verdicts = Verdicts::default();
        for Settled { span, outcome } in revised {
            self.counters.add_revised(span.len());
            verdicts.add(span, outcome, origin.instead, self.policy);
        }
        self.log(&verdicts.logged);
        self.revoke(verdicts.rejected).await;
        // Their batch may be gone: they come back in one of their own, at once.
        let deferred = verdicts.deferred.into_iter().map(|(span, _)| span);
        let mut readmitted = Vec::new();
        for span in verdicts.returned.into_iter().chain(deferred) {
            let kept =
                self.keep("rows that were presumed delivered cannot be kept", || self.queue.readmit(&span)).await;
            readmitted.extend(kept.flatten());
        }
        self.queue.prepend(readmitted);
    }

    /// Keeps dead tokens as feedback, before their rows are settled.
    async fn keep_dead(&self, dead: &[(Span, Timestamp)], source: &FeedbackSource) {
        let entry = |token: &[u8], timestamp| FeedbackEntry { timestamp, token: token.into() };
        let of_span = |(span, since): &(Span, Timestamp)| {
            span.notifications().map(|notification| entry(notification.token, *since)).collect::<Vec<_>>()
        };
        let entries: Vec<FeedbackEntry> = dead.iter().flat_map(of_span).collect();
        if !entries.is_empty() {
            self.keep("dead tokens cannot be kept", || self.store.append_feedback(source, entries.clone())).await;
        }
    }

    /// Rejects everything that waits; how many rows that were, and the last batch that may be among them.
    pub(super) async fn reject_all(&self, reason: Reason) -> (u64, BatchId) {
        let up_to = self.queue.newest();
        (self.reject_leased(reason, || self.queue.lease_all(up_to)).await, up_to)
    }

    /// Rejects what was never tried, up to a batch; how many rows that were.
    pub(super) async fn reject_until(&self, last: BatchId, reason: Reason) -> u64 {
        self.reject_leased(reason, || self.queue.lease_until(last)).await
    }

    /// Rejects what is leased, part by part, until there is no more.
    async fn reject_leased<F>(&self, reason: Reason, mut lease: impl FnMut() -> F) -> u64
    where
        F: Future<Output = Result<Vec<Span>, StoreError>>,
    {
        let mut rows = 0;
        while let Some(spans) = self.keep("the rows that wait cannot be read", &mut lease).await
            && !spans.is_empty()
        {
            rows += spans.iter().map(|span| u64::from(span.len())).sum::<u64>();
            self.reject(spans.into_iter().map(|span| (span, reason)).collect()).await;
        }
        rows
    }

    /// Rejects rows and settles them, part by part.
    async fn reject(&self, rejected: Vec<(Span, Reason)>) {
        for part in parts(rejected) {
            let spans: Vec<Span> = part.iter().map(|(span, _)| span.clone()).collect();
            if self.record(&part, &spans).await {
                spans.iter().for_each(|span| self.queue.forget(span));
            }
        }
    }

    /// Rejects rows that are settled already.
    async fn revoke(&self, rejected: Vec<(Span, Reason)>) {
        for part in parts(rejected) {
            self.record(&part, &[]).await;
        }
    }

    /// Keeps rejections and settles rows with them; whether that is done. If not, the daemon stops.
    async fn record(&self, rejected: &[(Span, Reason)], settled: &[Span]) -> bool {
        let timestamp = self.clock.timestamp();
        let of_span = |(span, reason): &(Span, Reason)| {
            Rejection::of_span(&self.app, span, *reason, timestamp).collect::<Vec<_>>()
        };
        let rejections: Vec<Rejection> = rejected.iter().flat_map(of_span).collect();
        let kept = self.keep("rejections cannot be kept", || self.store.reject(rejections.clone(), settled)).await;
        if kept.is_some() {
            rejected.iter().for_each(|(span, reason)| self.watches.tell(span, Logged::Rejected(*reason)));
        }
        self.tell_of(rejected);
        kept.is_some()
    }

    fn tell_of(&self, rejected: &[(Span, Reason)]) {
        let timestamp = self.clock.timestamp();
        for (span, reason) in rejected {
            self.counters.add_rejected(span, *reason, timestamp);
            self.store.log_outcome(&self.app, span, Logged::Rejected(*reason), timestamp);
            self.say_rejected(span, *reason);
        }
    }

    async fn defer(&self, deferred: Vec<(Span, Duration)>) {
        for (span, wait) in &deferred {
            debug!(app = %self.app, batch = span.id.0, rows = span.len(), ?wait, "tried again later");
        }
        for together in deferred.chunks(DEFERRED_TOGETHER) {
            let done = join_all(together.iter().map(|(span, wait)| self.queue.defer(span, *wait))).await;
            for ((span, wait), _) in together.iter().zip(done).filter(|(_, done)| done.is_err()) {
                self.keep("rows to be tried again cannot be kept", || self.queue.defer(span, *wait)).await;
            }
        }
    }

    /// Tries until it is done; `None` when the daemon stops before, or the store is damaged.
    async fn keep<T, F>(&self, what: &str, mut attempt: impl FnMut() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut is_first = true;
        loop {
            match attempt().await {
                Ok(kept) => return Some(kept),
                Err(StoreError::Closed) => return None,
                Err(error @ StoreError::Corrupt(_)) => {
                    error!(app = %self.app, "{what}: {error}");
                    return None;
                }
                Err(error) if is_first => error!(app = %self.app, "{what}; the app waits until they can: {error}"),
                Err(_) => (),
            }
            is_first = false;
            tokio::select! {
                () = self.clock.sleep(KEEP_RETRY) => (),
                () = self.shutdown.requested() => return None,
            }
        }
    }

    fn log(&self, logged: &[(Span, Logged)]) {
        let timestamp = self.clock.timestamp();
        for (span, outcome) in logged {
            self.store.log_outcome(&self.app, span, *outcome, timestamp);
            match outcome {
                Logged::Accepted => self.counters.add_confirmed(span, timestamp),
                Logged::Presumed => self.counters.add_presumed(span, timestamp),
                Logged::Retried(reason) => self.counters.add_retried(*reason, span.len()),
                Logged::Unknown => self.counters.add_unanswered(span.len()),
                // Counted where it is kept.
                Logged::Rejected(_) => (),
            }
            self.watches.tell(span, *outcome);
        }
    }

    fn say_rejected(&self, span: &Span, reason: Reason) {
        let (app, batch) = (&self.app, span.id.0);
        if span.len() > LOGGED_ROWS_MAX {
            info!(%app, batch, rows = span.len(), "rejected: {reason}");
            return;
        }
        for row in span.rows.clone() {
            let token = MaskedToken(span.batch.notification(row).token);
            info!(%app, %token, batch, row, "rejected: {reason}");
        }
    }
}

/// Cuts rejected spans into parts that are small enough for a transaction.
fn parts(rejected: Vec<(Span, Reason)>) -> Vec<Vec<(Span, Reason)>> {
    let mut parts: Vec<Vec<(Span, Reason)>> = Vec::new();
    let mut room = 0;
    for (mut span, reason) in rejected {
        while !span.is_empty() {
            if room == 0 {
                parts.push(Vec::new());
                room = REJECTED_TOGETHER;
            }
            let front = span.take_front(room);
            room -= front.len();
            if let Some(part) = parts.last_mut() {
                part.push((front, reason));
            }
        }
    }
    parts
}

impl Verdicts {
    fn add(&mut self, span: Span, outcome: Outcome, instead: Option<Reason>, policy: Policy) {
        let retry = match outcome {
            Outcome::Accepted => return self.deliver(span, Logged::Accepted),
            Outcome::Presumed => return self.deliver(span, Logged::Presumed),
            Outcome::Rejected(reason) => return self.reject(span, reason),
            Outcome::Unregistered { reason, since } => {
                self.news.push(News::Delivered);
                self.dead.push((span.clone(), since));
                return self.rejected.push((span, reason));
            }
            Outcome::Expired => return self.rejected.push((span, Reason::Expired)),
            Outcome::Retry(retry) => retry,
        };
        let next = retry::next(span.tries, &retry, policy, fastrand::f64());
        if let Some(reason) = instead {
            return self.rejected.push((span, reason));
        }
        if let Next::Reject(reason) = next {
            return self.reject(span, reason);
        }
        match retry {
            Retry::NotProcessed => (),
            Retry::Unknown { .. } | Retry::Unanswered => self.logged.push((span.clone(), Logged::Unknown)),
            Retry::Refused(reason) => self.logged.push((span.clone(), Logged::Retried(reason))),
            Retry::Transient { reason, .. } => {
                self.news.push(News::PutOff(reason, u64::from(span.len())));
                self.logged.push((span.clone(), Logged::Retried(reason)));
            }
        }
        match next {
            Next::AtOnce(tries) => self.returned.push(span.with_tries(tries)),
            Next::After(tries, wait) => self.deferred.push((span.with_tries(tries), wait)),
            Next::Reject(_) => (),
        }
    }

    fn reject(&mut self, span: Span, reason: Reason) {
        self.news.push(News::Rejected(reason, u64::from(span.len())));
        self.rejected.push((span, reason));
    }

    fn deliver(&mut self, span: Span, outcome: Logged) {
        self.news.push(News::Delivered);
        self.logged.push((span.clone(), outcome));
        self.delivered.push(span);
    }
}

#[cfg(test)]
mod tests;
