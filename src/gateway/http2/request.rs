//! A row as a request of the provider API: path, headers, body. Pure.
//!
//! Source: "Sending notification requests to APNs". What rows of one message share is built once; a row adds its path
//! and its `apns-id`.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::domain::apns::ApnsReason;
use crate::domain::batch::{Batch, Message, PushOptions};

const APNS_COLLAPSE_ID: HeaderName = HeaderName::from_static("apns-collapse-id");
const APNS_EXPIRATION: HeaderName = HeaderName::from_static("apns-expiration");
const APNS_ID: HeaderName = HeaderName::from_static("apns-id");
const APNS_PRIORITY: HeaderName = HeaderName::from_static("apns-priority");
const APNS_PUSH_TYPE: HeaderName = HeaderName::from_static("apns-push-type");
const APNS_TOPIC: HeaderName = HeaderName::from_static("apns-topic");
const PATH: &[u8] = b"/3/device/";
/// Headers of a request with everything.
const HEADERS_MAX: usize = 7;
/// Messages of a batch whose shared part is kept.
const KEPT_MESSAGES: usize = 16;

/// Builds the requests of one app.
pub(super) struct Requests {
    authority: Authority,
    topic: Option<Arc<str>>,
    /// Of the batch that was last asked for, by message.
    batch: Option<Arc<Batch>>,
    kept: [Option<(usize, Shared)>; KEPT_MESSAGES],
}

/// A request, whole but for what authorizes it.
pub(super) struct Prepared {
    /// Path and headers.
    pub(super) head: Request<()>,
    /// The payload.
    pub(super) body: Bytes,
    /// Whether it carries the app's own topic as it is, so that every other request would carry it too.
    pub(super) is_plain_topic: bool,
}

/// What rows of one message share, or why it cannot be sent.
type Shared = Result<Arc<SharedPart>, ApnsReason>;

struct SharedPart {
    headers: HeaderMap,
    body: Bytes,
    is_plain_topic: bool,
}

impl Requests {
    /// Requests to a server for an app with this topic, if it has one.
    pub(super) fn new(authority: Authority, topic: Option<&str>) -> Self {
        Self { authority, topic: topic.map(Arc::from), batch: None, kept: Default::default() }
    }

    /// The request of a row, which must exist; or for which reason the message cannot be sent.
    pub(super) fn prepare(&mut self, batch: &Arc<Batch>, row: u32) -> Result<Prepared, ApnsReason> {
        let shared = self.shared(batch, batch.message_index(row))?;
        let mut headers = shared.headers.clone();
        let id = Bytes::copy_from_slice(&batch.id(row).text());
        let mut id = HeaderValue::from_maybe_shared(id).map_err(|_| ApnsReason::BadMessageId)?;
        // Unique: in the peer's header table it would only displace what comes again.
        id.set_sensitive(true);
        headers.insert(APNS_ID, id);
        let mut head = Request::new(());
        *head.method_mut() = Method::POST;
        *head.version_mut() = Version::HTTP_2;
        *head.uri_mut() = self.uri(batch.notification(row).token)?;
        *head.headers_mut() = headers;
        Ok(Prepared { head, body: shared.body.clone(), is_plain_topic: shared.is_plain_topic })
    }

    /// Forgets what it keeps of a batch, so that its memory is free.
    pub(super) fn forget(&mut self) {
        self.batch = None;
        self.kept = Default::default();
    }

    fn shared(&mut self, batch: &Arc<Batch>, index: usize) -> Shared {
        if !self.batch.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, batch)) {
            self.forget();
            self.batch = Some(batch.clone());
        }
        let slot = &mut self.kept[index % KEPT_MESSAGES];
        match slot {
            Some((kept, shared)) if *kept == index => shared.clone(),
            Some(_) | None => {
                let shared = SharedPart::of(&batch.messages()[index], self.topic.as_deref()).map(Arc::new);
                *slot = Some((index, shared.clone()));
                shared
            }
        }
    }

    fn uri(&self, token: &[u8]) -> Result<Uri, ApnsReason> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut path = BytesMut::with_capacity(PATH.len() + 2 * token.len());
        path.put_slice(PATH);
        for byte in token {
            path.put_u8(DIGITS[usize::from(byte >> 4)]);
            path.put_u8(DIGITS[usize::from(byte & 0x0f)]);
        }
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = PathAndQuery::from_maybe_shared(path.freeze()).ok();
        Uri::from_parts(parts).map_err(|_| ApnsReason::BadPath)
    }
}

impl SharedPart {
    fn of(message: &Message, app_topic: Option<&str>) -> Result<Self, ApnsReason> {
        let PushOptions { expiration, collapse_id, .. } = &message.options;
        let Resolved { push_type, priority, topic } = Resolved::of(message, app_topic);
        let value = |text: &str, reason| HeaderValue::from_bytes(text.as_bytes()).map_err(|_| reason);
        let mut headers = HeaderMap::with_capacity(HEADERS_MAX);
        headers.insert(APNS_PUSH_TYPE, value(push_type, ApnsReason::InvalidPushType)?);
        if let Some(topic) = topic {
            headers.insert(APNS_TOPIC, value(&topic, ApnsReason::BadTopic)?);
        }
        headers.insert(APNS_PRIORITY, HeaderValue::from(u16::from(priority)));
        if let Some(expiration) = expiration {
            headers.insert(APNS_EXPIRATION, HeaderValue::from(*expiration));
        }
        if let Some(collapse_id) = collapse_id {
            headers.insert(APNS_COLLAPSE_ID, value(collapse_id, ApnsReason::BadCollapseId)?);
        }
        let body = Bytes::from_owner(message.payload.clone());
        let is_plain_topic = message.options.topic.is_none() && topic_suffix(push_type).is_empty();
        Ok(Self { headers, body, is_plain_topic })
    }
}

/// What a request says of a message beyond what its options leave open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved<'a> {
    /// As given, or by what the payload shows and sounds.
    pub(crate) push_type: &'a str,
    /// As given, or what fits the push type.
    pub(crate) priority: u8,
    /// As given, or the app's with what the push type adds to it; `None` leaves it to the certificate.
    pub(crate) topic: Option<Cow<'a, str>>,
}

impl<'a> Resolved<'a> {
    /// What a message of an app with this topic, if it has one, is sent with.
    pub(crate) fn of(message: &'a Message, app_topic: Option<&'a str>) -> Self {
        let PushOptions { priority, push_type, topic, .. } = &message.options;
        let push_type = push_type.as_deref().unwrap_or_else(|| derived_push_type(&message.payload));
        let suffix = topic_suffix(push_type);
        let extended = |topic: &'a str| match topic.ends_with(suffix) {
            true => Cow::Borrowed(topic),
            false => Cow::Owned(format!("{topic}{suffix}")),
        };
        Self {
            push_type,
            priority: priority.unwrap_or(if push_type == "background" { 5 } else { 10 }),
            topic: topic.as_deref().map(Cow::Borrowed).or_else(|| app_topic.map(extended)),
        }
    }
}

/// What a push type adds to the bundle id.
fn topic_suffix(push_type: &str) -> &'static str {
    match push_type {
        "location" => ".location-query",
        "voip" => ".voip",
        "complication" => ".complication",
        "fileprovider" => ".pushkit.fileprovider",
        "liveactivity" => ".push-type.liveactivity",
        "pushtotalk" => ".voip-ptt",
        "controls" => ".push-type.controls",
        "widgets" => ".push-type.widgets",
        // `alert`, `background`, `mdm`, and what only the provider knows.
        _ => "",
    }
}

/// The push type of a payload whose caller names none: `background` where it shows and sounds nothing.
fn derived_push_type(payload: &[u8]) -> &'static str {
    match serde_json::from_slice(payload) {
        Ok(Payload { aps: Some(aps) }) if aps.is_background() => "background",
        Ok(_) | Err(_) => "alert",
    }
}

#[derive(Deserialize)]
struct Payload {
    aps: Option<Aps>,
}

#[derive(Deserialize)]
struct Aps {
    alert: Option<IgnoredAny>,
    badge: Option<IgnoredAny>,
    sound: Option<IgnoredAny>,
    #[serde(rename = "content-available")]
    content_available: Option<serde_json::Value>,
}

impl Aps {
    fn is_background(&self) -> bool {
        let is_set = match &self.content_available {
            Some(serde_json::Value::Number(number)) => number.as_i64() == Some(1),
            Some(value) => value.as_bool() == Some(true) || value.as_str() == Some("1"),
            None => false,
        };
        is_set && self.alert.is_none() && self.badge.is_none() && self.sound.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::apns::IdSeed;
    use crate::domain::time::Timestamp;
    use crate::domain::token::Tokens;

    fn batch(payload: &str, options: PushOptions) -> Arc<Batch> {
        let mut tokens = Tokens::default();
        tokens.push(&[0xab; 32]);
        tokens.push(&[0x0f; 100]);
        let message = Message { payload: payload.as_bytes().into(), options };
        Arc::new(Batch::broadcast(Timestamp::default(), tokens, message).with_ids(IdSeed([0; 16]), 0))
    }

    fn requests(topic: Option<&str>) -> Requests {
        Requests::new(Authority::from_static("api.push.apple.com"), topic)
    }

    /// All headers, in the order of their names.
    fn headers(prepared: &Prepared) -> Vec<(&str, &str)> {
        let headers = prepared.head.headers().iter();
        let mut headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        headers.sort_unstable();
        headers
    }

    fn headers_of(payload: &str, options: PushOptions, topic: Option<&str>) -> Vec<(String, String)> {
        let prepared = requests(topic).prepare(&batch(payload, options), 0).unwrap();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        headers(&prepared).iter().filter(|(name, _)| *name != "apns-id").map(owned).collect()
    }

    #[test]
    fn a_request_has_path_headers_and_the_payload_as_it_is() {
        let options = PushOptions {
            expiration: Some(1_900_000_000),
            priority: Some(1),
            collapse_id: Some("scores".into()),
            push_type: Some("alert".into()),
            topic: Some("com.example.other".into()),
        };
        let batch = batch(r#"{"aps":{"alert":"hi"}}"#, options);
        let mut requests = requests(Some("com.example.app"));
        let prepared = requests.prepare(&batch, 0).unwrap();
        let uri = format!("https://api.push.apple.com/3/device/{}", "ab".repeat(32));
        assert_eq!((prepared.head.method(), prepared.head.uri().to_string()), (&Method::POST, uri));
        assert_eq!(
            headers(&prepared),
            [
                ("apns-collapse-id", "scores"),
                ("apns-expiration", "1900000000"),
                ("apns-id", "00000000-0000-4000-8000-000000000000"),
                ("apns-priority", "1"),
                ("apns-push-type", "alert"),
                ("apns-topic", "com.example.other"),
            ]
        );
        assert_eq!(&*prepared.body, br#"{"aps":{"alert":"hi"}}"#);
        assert!(!prepared.is_plain_topic);
        let second = requests.prepare(&batch, 1).unwrap();
        assert_eq!(second.head.uri().path(), format!("/3/device/{}", "0f".repeat(100)));
        assert_eq!(second.head.headers()["apns-id"], "00000000-0000-4000-8000-000000000001");
        assert!(second.head.headers()["apns-id"].is_sensitive());
    }

    #[test]
    fn what_shows_and_sounds_nothing_is_a_background_push_of_priority_5() {
        let derived = |payload| {
            let headers = headers_of(payload, PushOptions::default(), None);
            headers.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert_eq!(derived(r#"{"aps":{"content-available":1}}"#), ["5", "background"]);
        assert_eq!(derived(r#"{"aps":{"content-available":true},"x":1}"#), ["5", "background"]);
        assert_eq!(derived(r#"{"aps":{"content-available":0}}"#), ["10", "alert"]);
        assert_eq!(derived(r#"{"aps":{"content-available":1,"badge":0}}"#), ["10", "alert"]);
        assert_eq!(derived(r#"{"aps":{"content-available":1,"sound":"x"}}"#), ["10", "alert"]);
        assert_eq!(derived(r#"{"aps":{"content-available":1,"alert":{"body":"x"}}}"#), ["10", "alert"]);
        assert_eq!(derived(r#"{"aps":[]}"#), ["10", "alert"]);
        assert_eq!(derived("{}"), ["10", "alert"]);
    }

    #[test]
    fn the_push_type_extends_the_apps_topic_once_and_never_the_callers() {
        let topic = |push_type: &str, own: Option<&str>, app: &str| {
            let options =
                PushOptions { push_type: Some(push_type.into()), topic: own.map(Arc::from), ..PushOptions::default() };
            let prepared = requests(Some(app)).prepare(&batch("{}", options), 0).unwrap();
            (prepared.head.headers()["apns-topic"].to_str().unwrap().to_owned(), prepared.is_plain_topic)
        };
        let table = [
            ("alert", "com.x", true),
            ("background", "com.x", true),
            ("mdm", "com.x", true),
            ("none", "com.x", true),
            ("location", "com.x.location-query", false),
            ("voip", "com.x.voip", false),
            ("complication", "com.x.complication", false),
            ("fileprovider", "com.x.pushkit.fileprovider", false),
            ("liveactivity", "com.x.push-type.liveactivity", false),
            ("pushtotalk", "com.x.voip-ptt", false),
            ("controls", "com.x.push-type.controls", false),
            ("widgets", "com.x.push-type.widgets", false),
        ];
        for (push_type, expected, is_plain) in table {
            assert_eq!(topic(push_type, None, "com.x"), (expected.to_owned(), is_plain));
        }
        assert_eq!(topic("voip", None, "com.x.voip").0, "com.x.voip");
        assert_eq!(topic("voip", Some("com.y"), "com.x"), ("com.y".to_owned(), false));
    }

    #[test]
    fn what_no_header_can_hold_is_a_reason_and_no_panic() {
        let prepare = |options| requests(None).prepare(&batch("{}", options), 0).map(drop);
        let with = |set: fn(&mut PushOptions)| {
            let mut options = PushOptions::default();
            set(&mut options);
            options
        };
        assert_eq!(prepare(with(|o| o.topic = Some("a\nb".into()))), Err(ApnsReason::BadTopic));
        assert_eq!(prepare(with(|o| o.collapse_id = Some("\0".into()))), Err(ApnsReason::BadCollapseId));
        assert_eq!(prepare(with(|o| o.push_type = Some("\r".into()))), Err(ApnsReason::InvalidPushType));
        assert_eq!(prepare(with(|o| o.collapse_id = Some("ü".into()))), Ok(()));
    }

    #[test]
    fn an_app_without_a_topic_leaves_it_to_the_certificate() {
        let headers = headers_of("{}", PushOptions::default(), None);
        assert!(headers.iter().all(|(name, _)| name != "apns-topic"));
    }
}
