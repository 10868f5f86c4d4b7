//! `notify`: check everything, build one batch, queue it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::ServiceError;
use super::request::{Notify, NotifyOptions, PerRow};
use super::request_key::request_key;
use super::{App, PushService};
use crate::domain::apns::IdSeed;
use crate::domain::batch::{Batch, Message, PushOptions};
use crate::domain::time::Timestamp;
use crate::domain::token::Tokens;
use crate::queue::QueueError;
use crate::store::{Commit, StoreError};

impl PushService {
    /// Accepts notifications. All are checked first; nothing is queued when one is wrong.
    pub async fn notify(&self, app: &App, request: Notify<'_>) -> Result<(), ServiceError> {
        let entry = &app.0;
        let provisioned = entry.provisioned().ok_or(ServiceError::UnknownApp)?;
        let batch = self.build(app, &provisioned.defaults, &request)?;
        let status = provisioned.worker()?.status();
        if status.refuses {
            return Err(ServiceError::NotConnected(status.cause));
        }
        let rows = u64::from(batch.rows());
        if rows == 0 {
            return Ok(());
        }
        let key = request.options.request_id.as_deref().map(|id| request_key(id, &request));
        match entry.queue.accept(batch, key).await.map_err(refused)? {
            Commit::Accepted(_) => drop(entry.accepted.fetch_add(rows, Ordering::Relaxed)),
            Commit::Repeated => (),
            Commit::Conflict => {
                let text = "request_id: another call with other content had this id within the last 15 minutes";
                return Err(ServiceError::InvalidArgument(text.to_owned()));
            }
        }
        Ok(())
    }

    /// The batch of a call, with ids of its own for its notifications.
    pub(super) fn build(
        &self,
        app: &App,
        defaults: &NotifyOptions,
        request: &Notify<'_>,
    ) -> Result<Batch, ServiceError> {
        let seed = IdSeed(fastrand::u128(..).to_be_bytes());
        Ok(self.batch(app, defaults, request)?.with_ids(seed, 0))
    }

    fn batch(&self, app: &App, defaults: &NotifyOptions, request: &Notify<'_>) -> Result<Batch, ServiceError> {
        let rows = request.tokens.len();
        self.check_size(app, request)?;
        let mut tokens = Tokens::with_capacity(rows);
        for (index, token) in request.tokens.iter().enumerate() {
            let parsed = tokens.push_text(token);
            parsed.map_err(|error| ServiceError::InvalidArgument(format!("token {index}: {error}")))?;
        }
        let accepted_at = self.0.clock.timestamp();
        let options = RowOptions { given: &request.options, defaults, accepted_at, max_age: self.0.settings.max_age };
        if !options.vary() {
            return batch_of_payloads(accepted_at, tokens, request, &options.of(0));
        }
        let mut messages = Vec::new();
        let mut message_of = Vec::with_capacity(rows);
        let mut known: HashMap<(u32, PushOptions), u32> = HashMap::new();
        for row in 0..rows {
            let payload = request.payload_of.get(row).copied().unwrap_or(0);
            let key = (payload, options.of(row));
            let next = u32::try_from(messages.len()).unwrap_or(u32::MAX);
            let index = *known.entry(key.clone()).or_insert_with(|| {
                messages.push(Message { payload: Arc::clone(&request.payloads[payload as usize]), options: key.1 });
                next
            });
            message_of.push(index);
        }
        Batch::paired(accepted_at, tokens, messages, message_of).ok_or_else(mismatch)
    }

    fn check_size(&self, app: &App, request: &Notify<'_>) -> Result<(), ServiceError> {
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
        let payload_max = app.protocol().payload_max();
        let too_long = request.payloads.iter().position(|payload| payload.len() > payload_max);
        if let Some(index) = too_long {
            let row = request.payload_of.iter().position(|of| *of as usize == index).unwrap_or(0);
            let (length, protocol) = (request.payloads[index].len(), app.protocol());
            let text = format!("notification {row}: {length} bytes of JSON, at most {payload_max} over {protocol}");
            return Err(ServiceError::InvalidArgument(text));
        }
        Ok(())
    }
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
        [payload] => Ok(Batch::broadcast(accepted_at, tokens, message(payload))),
        payloads => {
            let messages = payloads.iter().map(message).collect();
            Batch::paired(accepted_at, tokens, messages, request.payload_of.clone()).ok_or_else(mismatch)
        }
    }
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
    fn of(&self, row: usize) -> PushOptions {
        let (given, defaults) = (self.given, self.defaults);
        let latest = self.accepted_at.plus(self.max_age).as_secs();
        let expiration = given.expiration.of(row).or_else(|| defaults.expiration.of(row)).copied();
        PushOptions {
            expiration: expiration.or_else(|| u32::try_from(latest).ok()),
            priority: given.priority.of(row).or_else(|| defaults.priority.of(row)).copied(),
            collapse_id: given.collapse_id.of(row).or_else(|| defaults.collapse_id.of(row)).cloned(),
            push_type: given.push_type.of(row).or_else(|| defaults.push_type.of(row)).cloned(),
            topic: given.topic.of(row).or_else(|| defaults.topic.of(row)).cloned(),
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
