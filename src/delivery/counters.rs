//! What became of one app's notifications since the daemon started. Counted per range of rows; nothing here waits for
//! another app.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::batch::Span;
use crate::domain::outcome::{Blame, Reason};
use crate::domain::time::Timestamp;
use crate::gateway::meter::Meter;
use crate::telemetry::metrics::histogram::Histogram;

/// Upper bounds of the time from accept to outcome, in seconds. HTTP/2 answers within a second, a binary gateway is
/// silent for `settle_after`, and what is tried again waits for minutes or hours.
const OUTCOME_SECONDS: [f64; 16] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0];

/// Outcomes of one app since the daemon started.
#[derive(Debug)]
pub struct Counters {
    confirmed: AtomicU64,
    presumed: AtomicU64,
    revised: AtomicU64,
    rejected: Reasons,
    retried: Reasons,
    unanswered: AtomicU64,
    /// Seconds from accept to outcome, of each row.
    outcome_seconds: Histogram,
    /// Counts the app's connections.
    pub connections: Arc<Meter>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            confirmed: AtomicU64::new(0),
            presumed: AtomicU64::new(0),
            revised: AtomicU64::new(0),
            rejected: Reasons::default(),
            retried: Reasons::default(),
            unanswered: AtomicU64::new(0),
            outcome_seconds: Histogram::new(&OUTCOME_SECONDS),
            connections: Arc::default(),
        }
    }
}

impl Counters {
    /// Rows that the provider accepted, or presumably did, and did not name after all.
    pub fn delivered(&self) -> u64 {
        (self.confirmed() + self.presumed()).saturating_sub(self.revised())
    }

    /// Rows that the provider said it accepted.
    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Relaxed)
    }

    /// Rows that a silent gateway presumably accepted.
    pub fn presumed(&self) -> u64 {
        self.presumed.load(Ordering::Relaxed)
    }

    /// Of the presumed ones: those of which the gateway said otherwise later. They have another outcome then.
    pub fn revised(&self) -> u64 {
        self.revised.load(Ordering::Relaxed)
    }

    /// Rows that were rejected or expired.
    pub fn rejected(&self) -> u64 {
        self.rejected.counts().iter().map(|(_, rows)| rows).sum()
    }

    /// Rows that were rejected or expired; each reason once.
    pub fn rejected_for(&self) -> Vec<(Reason, u64)> {
        self.rejected.counts()
    }

    /// Rows that went back to the queue for an error that may pass; each reason once.
    pub fn retried(&self) -> Vec<(Reason, u64)> {
        self.retried.counts()
    }

    /// Rows that went back to the queue because they were sent and never answered.
    pub fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Seconds from accept to outcome, of each row that has one.
    pub fn outcome_seconds(&self) -> &Histogram {
        &self.outcome_seconds
    }

    pub(super) fn add_confirmed(&self, span: &Span, now: Timestamp) {
        self.confirmed.fetch_add(span.len().into(), Ordering::Relaxed);
        self.add_outcome(span, now);
    }

    pub(super) fn add_presumed(&self, span: &Span, now: Timestamp) {
        self.presumed.fetch_add(span.len().into(), Ordering::Relaxed);
        self.add_outcome(span, now);
    }

    pub(super) fn add_rejected(&self, span: &Span, reason: Reason, now: Timestamp) {
        self.rejected.add(reason, span.len());
        // How long it took says nothing where somebody ended it.
        if reason.blame() != Blame::Operator {
            self.add_outcome(span, now);
        }
    }

    pub(super) fn add_revised(&self, rows: u32) {
        self.revised.fetch_add(rows.into(), Ordering::Relaxed);
    }

    pub(super) fn add_retried(&self, reason: Reason, rows: u32) {
        self.retried.add(reason, rows);
    }

    pub(super) fn add_unanswered(&self, rows: u32) {
        self.unanswered.fetch_add(rows.into(), Ordering::Relaxed);
    }

    fn add_outcome(&self, span: &Span, now: Timestamp) {
        let took = now.since(span.batch.accepted_at());
        self.outcome_seconds.observe(took.as_secs_f64(), span.len().into());
    }
}

/// Rows by reason; each reason once.
#[derive(Debug, Default)]
struct Reasons(Mutex<Vec<(Reason, u64)>>);

impl Reasons {
    fn counts(&self) -> Vec<(Reason, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, reason: Reason, rows: u32) {
        let mut reasons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += u64::from(rows),
            None => reasons.push((reason, u64::from(rows))),
        }
    }
}
