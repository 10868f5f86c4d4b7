//! `apnsd.send`: as `notify`, and waits for what becomes of each notification.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::entry::Provisioned;
use super::error::ServiceError;
use super::notify::key_of;
use super::request::Notify;
use super::{App, PushService};
use crate::delivery::watch::Known;
use crate::domain::apns::NotificationId;
use crate::domain::app::AppState;
use crate::domain::batch::Batch;
use crate::domain::outcome::Reason;
use crate::domain::time::Timestamp;
use crate::store::Logged;

/// Most tokens in one call: each has an answer of its own, and they go before what others wait for.
pub const SEND_TOKENS_MAX: usize = 1000;

/// How long a call waits at most.
pub const SEND_WAIT_MAX: Duration = Duration::from_secs(60);

/// Most calls that wait at a time: each holds a connection, and those of other callers must find some too.
pub(super) const WAITING_MAX: usize = 256;

/// How long the calls of one request may still wait for outcomes, all of them together: a request holds a connection.
#[derive(Debug)]
pub struct Patience(Mutex<Duration>);

impl Default for Patience {
    /// [`SEND_WAIT_MAX`].
    fn default() -> Self {
        Self(Mutex::new(SEND_WAIT_MAX))
    }
}

impl Patience {
    fn left(&self) -> Duration {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spend(&self, time: Duration) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_sub(time);
    }
}

/// What became of one notification by the end of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The device token, raw.
    pub token: Box<[u8]>,
    /// Its `apns-id`; `None` where the call was a repeated one, whose first gave them.
    pub id: Option<NotificationId>,
    /// In a word.
    pub outcome: SendOutcome,
    /// Why it was rejected, or has to be sent again.
    pub reason: Option<Reason>,
    /// Since when the token is dead, where the provider rejected it for that.
    pub dead_since: Option<Timestamp>,
    /// Whether it was sent and has to be sent again.
    pub retry: bool,
    /// Why the app does not send now what is queued, in words with the cure; `None` where nothing stands in the way.
    pub cause: Option<Arc<str>>,
}

/// What became of a notification, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The provider said so.
    Accepted,
    /// The binary gateway said nothing for long enough.
    Presumed,
    /// It will not be delivered.
    Rejected,
    /// It was too old before it could be sent, and will not be delivered.
    Expired,
    /// It waits, or is on its way, and will be delivered like any other.
    Queued,
    /// A call with the same `request_id` and content was accepted before: nothing was sent for this one.
    Repeated,
}

impl SendOutcome {
    /// A stable name for answers and scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Presumed => "presumed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Queued => "queued",
            Self::Repeated => "repeated",
        }
    }
}

impl PushService {
    /// Accepts notifications as [`PushService::notify`] does, sends them before what others wait for, and answers with
    /// what became of each, in order: as soon as all is known or the app is paused or refused, and after `timeout` at the
    /// latest, or when the patience of its request is at an end. What has no outcome by then stays queued, also when the
    /// caller goes away.
    pub async fn send(
        &self,
        app: &App,
        request: Notify<'_>,
        timeout: Duration,
        patience: &Patience,
    ) -> Result<Vec<Sent>, ServiceError> {
        let provisioned = app.0.provisioned().ok_or(ServiceError::UnknownApp)?;
        let batch = self.build(app, &provisioned.defaults, &request)?;
        if batch.rows() as usize > SEND_TOKENS_MAX {
            return Err(ServiceError::InvalidArgument(too_many(batch.rows() as usize)));
        }
        let blank = unsent(&batch);
        match self.send_batch(app, &provisioned, batch, (&request, timeout, patience)).await {
            Ok(Some(known)) => {
                let cause = self.cause(app);
                Ok(blank.into_iter().zip(known).map(|(sent, known)| sent.with(known, cause.as_ref())).collect())
            }
            Ok(None) => Ok(repeated(blank)),
            Err(error) => {
                self.unless_repeated(app, &request, error).await?;
                Ok(repeated(blank))
            }
        }
    }

    /// What becomes of the rows of a call as far as that is known in time; `None` where it was accepted before.
    async fn send_batch(
        &self,
        app: &App,
        provisioned: &Provisioned,
        batch: Batch,
        (request, timeout, patience): (&Notify<'_>, Duration, &Patience),
    ) -> Result<Option<Vec<Known>>, ServiceError> {
        let worker = provisioned.taking()?;
        if batch.rows() == 0 {
            return Ok(Some(Vec::new()));
        }
        let _turn = self.0.waiting.try_acquire().map_err(|_| ServiceError::try_later(too_many_wait("")))?;
        let watch = worker.watch(&batch);
        let watch = watch.ok_or_else(|| ServiceError::try_later(too_many_wait(" of this app")))?;
        let rows = batch.rows();
        let commit = app.0.queue.accept_express(batch, key_of(request)).await;
        if !app.0.count_accepted(commit, rows)? {
            return Ok(None);
        }
        let began = self.0.clock.now();
        tokio::select! {
            biased;
            () = watch.finished() => (),
            () = worker.rests() => (),
            () = self.0.clock.sleep(timeout.min(patience.left())) => (),
            () = self.0.stopping.cancelled() => (),
        }
        patience.spend(self.0.clock.now().since(began));
        Ok(Some(watch.known()))
    }

    /// Why an app does not send, as its status says it.
    fn cause(&self, app: &App) -> Option<Arc<str>> {
        let status = self.status(app).ok()?;
        match status.state {
            AppState::Connecting if status.cause.is_empty() => Some(format!("connecting to {}", status.gateway).into()),
            _ => Some(status.cause).filter(|cause| !cause.is_empty()).map(Arc::from),
        }
    }

    /// Answers callers who wait for outcomes with what is known by now, and later ones at once: the daemon stops.
    pub fn stop_waiting(&self) {
        self.0.stopping.cancel();
    }
}

/// The rows of a call that was accepted before.
fn repeated(blank: Vec<Sent>) -> Vec<Sent> {
    blank.into_iter().map(|sent| Sent { id: None, outcome: SendOutcome::Repeated, ..sent }).collect()
}

fn too_many_wait(whose: &str) -> String {
    format!("too many calls wait for outcomes{whose}: try again later, or use notify, which does not wait")
}

/// What a call with too many tokens is told.
pub fn too_many(tokens: usize) -> String {
    format!("tokens: {tokens} in one call, at most {SEND_TOKENS_MAX} are allowed in apnsd.send; notify takes more")
}

/// All rows of a batch, before anything became of them.
fn unsent(batch: &Batch) -> Vec<Sent> {
    let row = |row| Sent {
        token: batch.notification(row).token.into(),
        id: Some(batch.id(row)),
        outcome: SendOutcome::Queued,
        reason: None,
        dead_since: None,
        retry: false,
        cause: None,
    };
    (0..batch.rows()).map(row).collect()
}

impl Sent {
    fn with(self, known: Known, cause: Option<&Arc<str>>) -> Self {
        let (outcome, reason, retry) = match known.outcome {
            None => (SendOutcome::Queued, None, false),
            Some(Logged::Accepted) => (SendOutcome::Accepted, None, false),
            Some(Logged::Presumed) => (SendOutcome::Presumed, None, false),
            Some(Logged::Rejected(Reason::Expired)) => (SendOutcome::Expired, Some(Reason::Expired), false),
            Some(Logged::Rejected(reason)) => (SendOutcome::Rejected, Some(reason), false),
            Some(Logged::Retried(reason)) => (SendOutcome::Queued, Some(reason), true),
            Some(Logged::Unknown) => (SendOutcome::Queued, None, true),
        };
        let cause = cause.filter(|_| outcome == SendOutcome::Queued).cloned();
        Self { outcome, reason, retry, dead_since: known.dead_since, cause, ..self }
    }
}
