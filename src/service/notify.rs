//! `notify`: check everything, build one batch, queue it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::{Entry, Provisioned};
use super::error::ServiceError;
use super::request::{Notify, NotifyOptions, PerRow};
use super::request_key::request_key;
use super::{App, PushService};
use crate::domain::apns::IdSeed;
use crate::domain::app::Protocol;
use crate::domain::batch::{Batch, Message, PushOptions};
use crate::domain::time::Timestamp;
use crate::domain::token::Tokens;
use crate::queue::QueueError;
use crate::store::{Commit, RequestKey, StoreError};

impl PushService {
    /// Accepts notifications. All are checked first; nothing is queued when one is wrong. A call that was accepted before
    /// under its `request_id` is told so whatever would refuse it now.
    pub async fn notify(&self, app: &App, request: Notify<'_>) -> Result<(), ServiceError> {
        match self.accept(app, &request).await {
            Err(error) => self.unless_repeated(app, &request, error).await,
            Ok(()) => Ok(()),
        }
    }

    async fn accept(&self, app: &App, request: &Notify<'_>) -> Result<(), ServiceError> {
        let (_, batch) = self.check(app, request)?;
        let rows = batch.rows();
        if rows > 0 {
            let commit = app.0.queue.accept(batch, key_of(request)).await;
            app.0.count_accepted(commit, rows)?;
        }
        Ok(())
    }

    /// What a call comes to that would be refused with this error: where the same was accepted before, it still is.
    pub(super) async fn unless_repeated(
        &self,
        app: &App,
        request: &Notify<'_>,
        error: ServiceError,
    ) -> Result<(), ServiceError> {
        let is_for_now = match &error {
            ServiceError::NotConnected(_) | ServiceError::TryLater(_) => true,
            // What is no call at all says so itself.
            ServiceError::InvalidArgument(_) => false,
            ServiceError::UnknownApp | ServiceError::InvalidEnvironment { .. } => return Err(error),
        };
        let Some(key) = key_of(request) else { return Err(error) };
        match self.0.store.requested(&app.0.id, key).await {
            Ok(Some(Commit::Repeated)) => Ok(()),
            Ok(Some(Commit::Conflict)) if is_for_now => Err(conflict()),
            Ok(_) => Err(error),
            Err(unread) => {
                tracing::debug!(app = %app.0.id, "whether a call is a repeated one cannot be read: {unread}");
                Err(error)
            }
        }
    }

    /// Checks a call as a whole; what it comes to, and the app that it is for, which takes it.
    pub(super) fn check(&self, app: &App, request: &Notify<'_>) -> Result<(Provisioned, Batch), ServiceError> {
        let provisioned = app.0.provisioned().ok_or(ServiceError::UnknownApp)?;
        let batch = self.build(app, &provisioned.defaults, request)?;
        provisioned.taking()?;
        Ok((provisioned, batch))
    }

    /// The batch of a call, with ids of its own for its notifications.
    pub(super) fn build(
        &self,
        app: &App,
        defaults: &NotifyOptions,
        request: &Notify<'_>,
    ) -> Result<Batch, ServiceError> {
        let rows = request.tokens.len();
        self.check_shape(request)?;
        let accepted_at = self.0.clock.timestamp();
        let options = RowOptions { given: &request.options, defaults, accepted_at, max_age: self.0.settings.max_age };
        check_payloads(app.protocol(), request, &options)?;
        let mut tokens = Tokens::with_capacity(rows);
        for (index, token) in request.tokens.iter().enumerate() {
            let parsed = tokens.push_text(token);
            parsed.map_err(|error| ServiceError::InvalidArgument(format!("token {index}: {error}")))?;
        }
        if !options.vary() {
            return batch_of_payloads(accepted_at, tokens, request, &options.of(0)?);
        }
        let mut messages = Vec::new();
        let mut message_of = Vec::with_capacity(rows);
        let mut known: HashMap<(u32, PushOptions), u32> = HashMap::new();
        for row in 0..rows {
            let payload = request.payload_of.get(row).copied().unwrap_or(0);
            let key = (payload, options.of(row)?);
            let next = u32::try_from(messages.len()).unwrap_or(u32::MAX);
            let index = *known.entry(key.clone()).or_insert_with(|| {
                messages.push(Message { payload: Arc::clone(&request.payloads[payload as usize]), options: key.1 });
                next
            });
            message_of.push(index);
        }
        named(Batch::paired(accepted_at, tokens, messages, message_of).ok_or_else(mismatch)?)
    }

    fn check_shape(&self, request: &Notify<'_>) -> Result<(), ServiceError> {
        let tokens_max = self.0.settings.tokens_per_call;
        let tokens = request.tokens.len();
        if tokens > tokens_max {
            let text = format!("{tokens} tokens in one call, at most {tokens_max} (limits.tokens_per_call)");
            return Err(ServiceError::InvalidArgument(text));
        }
        let counts_match = request.payload_of.is_empty() || request.payload_of.len() == tokens;
        let indices_exist = request.payload_of.iter().all(|index| (*index as usize) < request.payloads.len());
        if !counts_match || !indices_exist || (request.payloads.is_empty() && tokens > 0) {
            return Err(mismatch());
        }
        Ok(())
    }
}

/// Whether every payload is short enough for the way it is to go.
fn check_payloads(protocol: Protocol, request: &Notify<'_>, options: &RowOptions<'_>) -> Result<(), ServiceError> {
    let always = protocol.payload_max(None);
    if request.payloads.iter().all(|payload| payload.len() <= always) {
        return Ok(());
    }
    for row in 0..request.tokens.len() {
        let payload_max = protocol.payload_max(options.push_type(row).map(|push_type| &**push_type));
        let index = request.payload_of.get(row).copied().unwrap_or(0);
        let length = request.payloads[index as usize].len();
        if length > payload_max {
            let text = format!("notification {row}: {length} bytes of JSON, at most {payload_max} over {protocol}");
            return Err(ServiceError::InvalidArgument(text));
        }
    }
    Ok(())
}

/// One message a payload, all with the same options.
fn batch_of_payloads(
    accepted_at: Timestamp,
    tokens: Tokens,
    request: &Notify<'_>,
    options: &PushOptions,
) -> Result<Batch, ServiceError> {
    let message = |payload: &Arc<[u8]>| Message { payload: Arc::clone(payload), options: options.clone() };
    match &request.payloads[..] {
        [payload] => named(Batch::broadcast(accepted_at, tokens, message(payload))),
        payloads => {
            let messages = payloads.iter().map(message).collect();
            named(Batch::paired(accepted_at, tokens, messages, request.payload_of.clone()).ok_or_else(mismatch)?)
        }
    }
}

/// The same batch with ids that no other has.
fn named(batch: Batch) -> Result<Batch, ServiceError> {
    let mut seed = IdSeed::default();
    aws_lc_rs::rand::fill(&mut seed.0).map_err(|_| ServiceError::try_later("the system has no random numbers"))?;
    Ok(batch.with_ids(seed, 0))
}

/// What names the call in the store, where its caller wants that.
pub(super) fn key_of(request: &Notify<'_>) -> Option<RequestKey> {
    request.options.request_id.as_deref().map(|id| request_key(id, request))
}

impl Entry {
    /// Counts rows that were accepted; whether they were accepted now, and not by an equal call before.
    pub(super) fn count_accepted(&self, commit: Result<Commit, QueueError>, rows: u32) -> Result<bool, ServiceError> {
        match commit.map_err(refused)? {
            Commit::Accepted(_) => {
                self.accepted.fetch_add(rows.into(), Ordering::Relaxed);
                Ok(true)
            }
            Commit::Repeated => Ok(false),
            Commit::Conflict => Err(conflict()),
        }
    }
}

fn conflict() -> ServiceError {
    let text = "request_id: another call with other content had this id within the last 15 minutes";
    ServiceError::InvalidArgument(text.to_owned())
}

fn refused(error: QueueError) -> ServiceError {
    match error {
        // Another time would not help.
        QueueError::Store(StoreError::TooLarge(_)) => ServiceError::InvalidArgument(error.to_string()),
        QueueError::Full { .. } | QueueError::Memory(_) | QueueError::Closed | QueueError::Store(_) => {
            ServiceError::try_later(error)
        }
    }
}

fn mismatch() -> ServiceError {
    ServiceError::InvalidArgument("as many notifications as tokens are needed, or one for all".to_owned())
}

/// The options of each row: as given, else the app's defaults, else the daemon's.
struct RowOptions<'a> {
    given: &'a NotifyOptions,
    defaults: &'a NotifyOptions,
    accepted_at: Timestamp,
    max_age: std::time::Duration,
}

impl RowOptions<'_> {
    fn of(&self, row: usize) -> Result<PushOptions, ServiceError> {
        let (given, defaults) = (self.given, self.defaults);
        let latest = self.accepted_at.plus(self.max_age).as_secs();
        let expiration = given.expiration.of(row).or_else(|| defaults.expiration.of(row)).copied();
        Ok(PushOptions {
            expiration: expiration.or_else(|| u32::try_from(latest).ok()),
            priority: self.priority(row)?,
            collapse_id: given.collapse_id.of(row).or_else(|| defaults.collapse_id.of(row)).cloned(),
            push_type: self.push_type(row).cloned(),
            topic: given.topic.of(row).or_else(|| defaults.topic.of(row)).cloned(),
        })
    }

    fn push_type(&self, row: usize) -> Option<&Arc<str>> {
        self.given.push_type.of(row).or_else(|| self.defaults.push_type.of(row))
    }

    /// Apple refuses 10 for a background notification, and assumes 10 where nothing is said.
    fn priority(&self, row: usize) -> Result<Option<u8>, ServiceError> {
        let given = self.given.priority.of(row).copied();
        let default = self.defaults.priority.of(row).copied();
        let is_background = self.push_type(row).is_some_and(|push_type| &**push_type == "background");
        match given {
            Some(10) if is_background => {
                let place = if self.given.priority.varies() { format!("[{row}]") } else { String::new() };
                let text = format!(
                    "options.priority{place}: Apple refuses 10 with push_type background: give 5 or 1, or no priority"
                );
                Err(ServiceError::InvalidArgument(text))
            }
            None if is_background => Ok(default.filter(|default| *default != 10).or(Some(5))),
            given => Ok(given.or(default)),
        }
    }

    /// Whether rows differ in their options.
    fn vary(&self) -> bool {
        let given = self.given;
        given.expiration.varies()
            || given.priority.varies()
            || given.collapse_id.varies()
            || given.push_type.varies()
            || given.topic.varies()
    }
}

impl<T> PerRow<T> {
    fn of(&self, row: usize) -> Option<&T> {
        match self {
            Self::Absent => None,
            Self::All(value) => Some(value),
            Self::Each(values) => values.get(row),
        }
    }

    fn varies(&self) -> bool {
        match self {
            Self::Absent | Self::All(_) => false,
            Self::Each(_) => true,
        }
    }
}
