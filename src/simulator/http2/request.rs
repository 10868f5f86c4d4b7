//! The headers of a request that the provider API reads. Pure.

use super::judge::{device_token, is_uuid};
use crate::simulator::journal::request::{Request, RequestVerdict};

/// Headers as HPACK gives them.
pub(super) type Headers = [(Vec<u8>, Vec<u8>)];

/// The headers that matter; others are ignored. Where one comes twice, the first one counts. Without `Debug`: a provider
/// token is among them.
#[derive(Clone, Copy, Default)]
pub(super) struct RequestHeaders<'a> {
    pub(super) method: Option<&'a [u8]>,
    pub(super) path: Option<&'a [u8]>,
    pub(super) authorization: Option<&'a [u8]>,
    pub(super) apns_id: Option<&'a [u8]>,
    pub(super) topic: Option<&'a [u8]>,
    pub(super) push_type: Option<&'a [u8]>,
    pub(super) expiration: Option<&'a [u8]>,
    pub(super) priority: Option<&'a [u8]>,
    pub(super) collapse_id: Option<&'a [u8]>,
    /// Some header, known or not, came twice.
    pub(super) duplicate: bool,
}

impl<'a> RequestHeaders<'a> {
    /// Reads them.
    pub(super) fn of(headers: &'a Headers) -> Self {
        let mut known = Self::default();
        for (at, (name, value)) in headers.iter().enumerate() {
            if headers.iter().take(at).any(|(earlier, _)| earlier == name) {
                known.duplicate = true;
                continue;
            }
            let place = match &name[..] {
                b":method" => &mut known.method,
                b":path" => &mut known.path,
                b"authorization" => &mut known.authorization,
                b"apns-id" => &mut known.apns_id,
                b"apns-topic" => &mut known.topic,
                b"apns-push-type" => &mut known.push_type,
                b"apns-expiration" => &mut known.expiration,
                b"apns-priority" => &mut known.priority,
                b"apns-collapse-id" => &mut known.collapse_id,
                _ => continue,
            };
            *place = Some(value);
        }
        known
    }

    /// What the path names as device token, possibly nothing; `None` for another path.
    pub(super) fn token_text(&self) -> Option<&'a [u8]> {
        let token = self.path?.strip_prefix(b"/3/device")?;
        match token {
            b"" => Some(token),
            [b'/', token @ ..] if !token.contains(&b'/') => Some(token),
            _ => None,
        }
    }

    /// The `apns-id`, if it is a UUID.
    pub(super) fn valid_apns_id(&self) -> Option<&'a str> {
        let id = self.apns_id.filter(|id| is_uuid(id))?;
        std::str::from_utf8(id).ok()
    }

    /// The device token, if it is one.
    pub(super) fn token(&self) -> Option<Box<[u8]>> {
        self.token_text().and_then(device_token)
    }

    /// The journal's entry about it.
    pub(super) fn entry(&self, stream: u32, apns_id: String, payload: Vec<u8>, excess: bool) -> Request {
        let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
        Request {
            stream,
            apns_id,
            token: self.token(),
            topic: text(self.topic),
            push_type: text(self.push_type),
            expiration: text(self.expiration),
            priority: text(self.priority),
            collapse_id: text(self.collapse_id),
            payload: Some(payload.into_boxed_slice()),
            verdict: RequestVerdict::NotProcessed,
            reason: None,
            status: None,
            excess,
        }
    }
}
