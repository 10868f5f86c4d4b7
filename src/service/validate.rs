//! `apnsd.validate`: what `notify` would say to a call, without its effect.

use std::sync::Arc;

use super::entry::Standing;
use super::error::ServiceError;
use super::request::Notify;
use super::{App, PushService};
use crate::domain::app::Protocol;
use crate::domain::batch::{Message, PushOptions};
use crate::gateway::binary::frame::PRIORITY_DEFAULT;
use crate::gateway::http2::request::Resolved;

/// What a call of `notify` comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// Notifications, one a token.
    pub notifications: u32,
    /// Distinct payloads.
    pub payloads: usize,
    /// Bytes of JSON of the largest.
    pub payload_bytes: usize,
    /// What the app's gateway speaks.
    pub protocol: Protocol,
    /// The app's environment.
    pub environment: Arc<str>,
    /// How they would be sent, as far as all notifications agree and the protocol has a field for it.
    pub options: PushOptions,
}

impl PushService {
    /// Checks a call as [`PushService::notify`] does, with the same errors. Queues nothing.
    pub fn validate(&self, app: &App, request: &Notify<'_>) -> Result<Validated, ServiceError> {
        let (provisioned, batch) = self.check(app, request)?;
        let topic = match &provisioned.standing {
            Standing::Accepted { route, .. } => route.topic(),
            Standing::Refused(_) => None,
        };
        let protocol = app.protocol();
        let of_message = |message: &Message| sent_with(protocol, topic, message);
        let options = batch.messages().iter().map(of_message).reduce(common).unwrap_or_default();
        Ok(Validated {
            notifications: batch.rows(),
            payloads: request.payloads.len(),
            payload_bytes: request.payloads.iter().map(|payload| payload.len()).max().unwrap_or(0),
            protocol,
            environment: Arc::clone(provisioned.basis.environment()),
            options,
        })
    }
}

/// What a message of an app with this topic is sent with, by the rules of the gateways.
fn sent_with(protocol: Protocol, topic: Option<&str>, message: &Message) -> PushOptions {
    let options = &message.options;
    match protocol {
        Protocol::Binary => PushOptions {
            expiration: Some(options.expiration.unwrap_or(0)),
            priority: Some(options.priority.unwrap_or(PRIORITY_DEFAULT)),
            ..PushOptions::default()
        },
        Protocol::Http2 => {
            let Resolved { push_type, priority, topic } = Resolved::of(message, topic);
            PushOptions {
                priority: Some(priority),
                push_type: Some(push_type.into()),
                topic: topic.map(Arc::from),
                ..options.clone()
            }
        }
        Protocol::Fcm => PushOptions { push_type: None, topic: None, ..options.clone() },
    }
}

/// What both agree on.
fn common(one: PushOptions, other: PushOptions) -> PushOptions {
    fn agreed<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<T> {
        if one == other { one } else { None }
    }
    PushOptions {
        expiration: agreed(one.expiration, other.expiration),
        priority: agreed(one.priority, other.priority),
        collapse_id: agreed(one.collapse_id, other.collapse_id),
        push_type: agreed(one.push_type, other.push_type),
        topic: agreed(one.topic, other.topic),
    }
}
