//! What a request is: valid or not, by whose fault. Pure.
//!
//! Source: "Sending notification requests to APNs" for the headers, "Handling notification responses from APNs" for the
//! reasons. Apple does not say in which order it looks; here it is method, path, headers twice, `apns-id`,
//! credentials, topic, the other headers, the token's form, payload, and last what the token stands for.

use super::provider_token::TokenAuthentication;
use super::request::RequestHeaders;
use super::topics;
use crate::domain::apns::ApnsReason;
use crate::domain::time::Timestamp;
use crate::domain::token::{TOKEN_BYTES_MAX, TOKEN_BYTES_MIN};
use crate::simulator::peer::{GatewayEnvironment, Peer};

/// Most bytes of an `apns-collapse-id`.
const COLLAPSE_ID_MAX: usize = 64;
/// Largest payload in bytes.
const PAYLOAD_MAX: usize = 4096;
/// Largest payload of a VoIP notification in bytes.
const VOIP_PAYLOAD_MAX: usize = 5120;

/// How the client of a connection proves who it is.
pub(super) enum Authentication {
    /// By the certificate of its handshake.
    Certificate(Peer),
    /// By a provider token in each request.
    Token(TokenAuthentication),
}

/// Judges the requests of one connection.
pub(super) struct Judge {
    pub(super) authentication: Authentication,
    pub(super) environment: GatewayEnvironment,
}

impl Judge {
    /// Whether a request is valid, whatever its token stands for.
    pub(super) fn check(
        &mut self,
        headers: &RequestHeaders<'_>,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<(), ApnsReason> {
        if headers.method != Some(b"POST") {
            return Err(ApnsReason::MethodNotAllowed);
        }
        let token = headers.token_text().ok_or(ApnsReason::BadPath)?;
        if headers.duplicate {
            return Err(ApnsReason::DuplicateHeaders);
        }
        if headers.apns_id.is_some_and(|id| !is_uuid(id)) {
            return Err(ApnsReason::BadMessageId);
        }
        let push_type = self.check_credentials(headers, now)?;
        check_values(headers, push_type)?;
        match token {
            b"" => return Err(ApnsReason::MissingDeviceToken),
            _ if headers.token().is_none() => return Err(ApnsReason::BadDeviceToken),
            _ => (),
        }
        let voip = push_type == Some("voip") || headers.topic.is_some_and(|topic| topic.ends_with(b".voip"));
        match payload.len() {
            0 => Err(ApnsReason::PayloadEmpty),
            length if length > if voip { VOIP_PAYLOAD_MAX } else { PAYLOAD_MAX } => Err(ApnsReason::PayloadTooLarge),
            _ => Ok(()),
        }
    }

    /// The last request was answered with ExpiredProviderToken, be it as a fault.
    pub(super) fn expired_token(&self) {
        match &self.authentication {
            Authentication::Certificate(_) => (),
            Authentication::Token(tokens) => tokens.expired(),
        }
    }

    /// Whether the client may send to the topic that it names. The push type, if there is one.
    fn check_credentials<'a>(
        &mut self,
        headers: &RequestHeaders<'a>,
        now: Timestamp,
    ) -> Result<Option<&'a str>, ApnsReason> {
        match &mut self.authentication {
            Authentication::Certificate(peer) => {
                if !peer.suits(GatewayEnvironment::Both) {
                    return Err(ApnsReason::BadCertificate);
                }
                if !peer.suits(self.environment) {
                    return Err(ApnsReason::BadCertificateEnvironment);
                }
            }
            Authentication::Token(tokens) => tokens.check(headers.authorization, now)?,
        }
        let push_type = headers.push_type.map(topics::push_type).transpose()?;
        let topic = headers.topic.map(topics::parse).transpose()?;
        match &self.authentication {
            Authentication::Certificate(peer) => topics::check_certificate(peer, topic, push_type)?,
            Authentication::Token(_) => topic.map(drop).ok_or(ApnsReason::MissingTopic)?,
        }
        if let (Some(topic), Some(push_type)) = (topic, push_type) {
            topics::check_suffix(topic, push_type)?;
        }
        Ok(push_type)
    }
}

/// The headers that say how a notification is delivered.
fn check_values(headers: &RequestHeaders<'_>, push_type: Option<&str>) -> Result<(), ApnsReason> {
    if headers.collapse_id.is_some_and(|id| id.len() > COLLAPSE_ID_MAX) {
        return Err(ApnsReason::BadCollapseId);
    }
    match headers.priority {
        None | Some(b"5" | b"1") => (),
        // "Specify 5 for background: using 10 is an error."
        Some(b"10") if push_type != Some("background") => (),
        Some(_) => return Err(ApnsReason::BadPriority),
    }
    match headers.expiration.map(|seconds| std::str::from_utf8(seconds).map(str::parse::<u64>)) {
        None | Some(Ok(Ok(_))) => Ok(()),
        Some(Ok(Err(_)) | Err(_)) => Err(ApnsReason::BadExpirationDate),
    }
}

/// Whether it is a UUID in its canonical form, 8-4-4-4-12 hex digits; upper case is taken too.
pub(super) fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// The bytes of a device token in hex, if it has a possible length.
pub(super) fn device_token(text: &[u8]) -> Option<Box<[u8]>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let bytes: Option<Box<[u8]>> = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    bytes.filter(|bytes| (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&bytes.len()))
}

#[cfg(test)]
mod tests;
