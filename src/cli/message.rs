//! What the verbs that send have in common: the notification, and how it is to be delivered.

use clap::Args;
use serde_json::{Map, Value as Json};

use crate::xmlrpc::value::Value;

/// The notification: its parts, or the whole payload. The verb requires the group `what`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Message {
    /// The text to show
    #[arg(long, group = "what", value_name = "TEXT")]
    alert: Option<String>,
    /// The number on the app's icon; 0 removes it
    #[arg(long, conflicts_with = "payload", value_name = "NUMBER", value_parser = badge, allow_negative_numbers = true)]
    badge: Option<u32>,
    /// The sound to play
    #[arg(long, conflicts_with = "payload", value_name = "NAME")]
    sound: Option<String>,
    /// The whole payload, a JSON object
    #[arg(long, group = "what", value_name = "JSON", value_parser = object)]
    payload: Option<Map<String, Json>>,
}

impl Message {
    /// The payload as text, which the daemon takes as it is: XML-RPC has no null and no large numbers of its own.
    pub(super) fn to_value(&self) -> Value<'static> {
        Value::string(Json::Object(self.payload()).to_string())
    }

    fn payload(&self) -> Map<String, Json> {
        if let Some(payload) = &self.payload {
            return payload.clone();
        }
        let mut aps = Map::new();
        aps.extend(self.alert.as_deref().map(|alert| ("alert".to_owned(), alert.into())));
        aps.extend(self.badge.map(|badge| ("badge".to_owned(), badge.into())));
        aps.extend(self.sound.as_deref().map(|sound| ("sound".to_owned(), sound.into())));
        Map::from_iter([("aps".to_owned(), aps.into())])
    }
}

/// How it is to be delivered.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// When it is not worth delivering any more; 0: one attempt only
    #[arg(long, value_name = "UNIX_SECONDS", value_parser = expiration, allow_negative_numbers = true)]
    expiration: Option<u32>,
    /// 10: at once; 5: when it suits the device's battery; 1: even less urgent
    #[arg(long, value_name = "NUMBER", value_parser = priority, allow_negative_numbers = true)]
    priority: Option<u8>,
    /// Replaces an earlier notification of the same id on the device
    #[arg(long, value_name = "ID")]
    collapse_id: Option<String>,
    /// alert, background, voip, …
    #[arg(long, value_name = "TYPE")]
    push_type: Option<String>,
    /// Overrides the topic of the app
    #[arg(long)]
    topic: Option<String>,
    /// Name of this call: a second one with the same name has no effect
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

impl Options {
    /// The name that the caller gave to the call.
    pub(super) fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// The members of the struct that the daemon takes.
    pub(super) fn members(&self) -> Vec<(std::borrow::Cow<'_, str>, Value<'_>)> {
        let texts = [
            ("collapse_id", &self.collapse_id),
            ("push_type", &self.push_type),
            ("topic", &self.topic),
            ("request_id", &self.request_id),
        ];
        let mut members = Vec::new();
        members.extend(self.expiration.map(|secs| ("expiration".into(), Value::Int(secs.into()))));
        members.extend(self.priority.map(|priority| ("priority".into(), Value::Int(priority.into()))));
        members
            .extend(texts.into_iter().filter_map(|(name, text)| Some((name.into(), Value::string(text.as_deref()?)))));
        members
    }
}

fn badge(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("a badge is a whole number from 0 to {}; 0 removes it", u32::MAX))
}

fn expiration(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "an expiration is in whole seconds since 1970, as `date +%s` prints them".to_owned())
}

fn priority(text: &str) -> Result<u8, String> {
    text.parse().map_err(|_| "a priority is 10, 5 or 1".to_owned())
}

fn object(text: &str) -> Result<Map<String, Json>, String> {
    match serde_json::from_str(text) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err("a payload is a JSON object, as in {\"aps\": {\"alert\": \"Hello\"}}".to_owned()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}
