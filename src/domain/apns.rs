//! What Apple's HTTP/2 provider API answers with, by its own names, and the ids of notifications there.
//!
//! Source: "Handling notification responses from APNs" (UserNotifications), tables of status codes and of reasons.

use std::fmt;

use super::outcome::Blame;

/// A reason of the HTTP/2 provider API, with the status that it comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApnsReason {
    /// 400: the collapse id is longer than 64 bytes.
    BadCollapseId,
    /// 400: the token is malformed, or of the other environment.
    BadDeviceToken,
    /// 400: `apns-expiration` is no number.
    BadExpirationDate,
    /// 400: `apns-id` is no UUID.
    BadMessageId,
    /// 400: `apns-priority` is none of the known ones, or not one that the push type allows.
    BadPriority,
    /// 400: `apns-topic` is malformed.
    BadTopic,
    /// 400: the token belongs to another topic.
    DeviceTokenNotForTopic,
    /// 400: a header came twice.
    DuplicateHeaders,
    /// 400: the connection was idle for too long.
    IdleTimeout,
    /// 400: `apns-push-type` is none of the known ones.
    InvalidPushType,
    /// 400: the path names no token.
    MissingDeviceToken,
    /// 400: no `apns-topic`, and the credentials do not name exactly one.
    MissingTopic,
    /// 400: there was no payload.
    PayloadEmpty,
    /// 400: the credentials may not push to this topic.
    TopicDisallowed,
    /// 403: the certificate is not good.
    BadCertificate,
    /// 403: the certificate is for the other environment.
    BadCertificateEnvironment,
    /// 403: the provider token is older than an hour.
    ExpiredProviderToken,
    /// 403: the credentials may not do this.
    Forbidden,
    /// 403: the provider token is not valid, or its signature cannot be verified.
    InvalidProviderToken,
    /// 403: neither certificate nor provider token.
    MissingProviderToken,
    /// 403: the key of the provider token is not related to the one that this connection began with.
    UnrelatedKeyIdInToken,
    /// 403: the key of the provider token is for the other environment.
    BadEnvironmentKeyIdInToken,
    /// 404: no such path.
    BadPath,
    /// 405: the method was not POST.
    MethodNotAllowed,
    /// 410: the token expired.
    ExpiredToken,
    /// 410: the app is not on the device any more.
    Unregistered,
    /// 413: the payload is too large.
    PayloadTooLarge,
    /// 429: the provider token changes too often.
    TooManyProviderTokenUpdates,
    /// 429: too many notifications to this token.
    TooManyRequests,
    /// 500.
    InternalServerError,
    /// 503: the service is not available.
    ServiceUnavailable,
    /// 503: the server is shutting down.
    Shutdown,
    /// A status with a reason that this version does not know, or without any.
    Unknown(u16),
}

impl ApnsReason {
    /// Every reason that the provider API documents, in the order of its table.
    pub const DOCUMENTED: [Self; 32] = [
        Self::BadCollapseId,
        Self::BadDeviceToken,
        Self::BadExpirationDate,
        Self::BadMessageId,
        Self::BadPriority,
        Self::BadTopic,
        Self::DeviceTokenNotForTopic,
        Self::DuplicateHeaders,
        Self::IdleTimeout,
        Self::InvalidPushType,
        Self::MissingDeviceToken,
        Self::MissingTopic,
        Self::PayloadEmpty,
        Self::TopicDisallowed,
        Self::BadCertificate,
        Self::BadCertificateEnvironment,
        Self::ExpiredProviderToken,
        Self::Forbidden,
        Self::InvalidProviderToken,
        Self::MissingProviderToken,
        Self::UnrelatedKeyIdInToken,
        Self::BadEnvironmentKeyIdInToken,
        Self::BadPath,
        Self::MethodNotAllowed,
        Self::ExpiredToken,
        Self::Unregistered,
        Self::PayloadTooLarge,
        Self::TooManyProviderTokenUpdates,
        Self::TooManyRequests,
        Self::InternalServerError,
        Self::ServiceUnavailable,
        Self::Shutdown,
    ];

    /// The documented reason of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::DOCUMENTED.into_iter().find(|reason| reason.name() == name)
    }

    /// Apple's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadCollapseId => "BadCollapseId",
            Self::BadDeviceToken => "BadDeviceToken",
            Self::BadExpirationDate => "BadExpirationDate",
            Self::BadMessageId => "BadMessageId",
            Self::BadPriority => "BadPriority",
            Self::BadTopic => "BadTopic",
            Self::DeviceTokenNotForTopic => "DeviceTokenNotForTopic",
            Self::DuplicateHeaders => "DuplicateHeaders",
            Self::IdleTimeout => "IdleTimeout",
            Self::InvalidPushType => "InvalidPushType",
            Self::MissingDeviceToken => "MissingDeviceToken",
            Self::MissingTopic => "MissingTopic",
            Self::PayloadEmpty => "PayloadEmpty",
            Self::TopicDisallowed => "TopicDisallowed",
            Self::BadCertificate => "BadCertificate",
            Self::BadCertificateEnvironment => "BadCertificateEnvironment",
            Self::ExpiredProviderToken => "ExpiredProviderToken",
            Self::Forbidden => "Forbidden",
            Self::InvalidProviderToken => "InvalidProviderToken",
            Self::MissingProviderToken => "MissingProviderToken",
            Self::UnrelatedKeyIdInToken => "UnrelatedKeyIdInToken",
            Self::BadEnvironmentKeyIdInToken => "BadEnvironmentKeyIdInToken",
            Self::BadPath => "BadPath",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::ExpiredToken => "ExpiredToken",
            Self::Unregistered => "Unregistered",
            Self::PayloadTooLarge => "PayloadTooLarge",
            Self::TooManyProviderTokenUpdates => "TooManyProviderTokenUpdates",
            Self::TooManyRequests => "TooManyRequests",
            Self::InternalServerError => "InternalServerError",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Shutdown => "Shutdown",
            Self::Unknown(_) => "UnknownReason",
        }
    }

    /// The HTTP status that it comes with.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadCollapseId
            | Self::BadDeviceToken
            | Self::BadExpirationDate
            | Self::BadMessageId
            | Self::BadPriority
            | Self::BadTopic
            | Self::DeviceTokenNotForTopic
            | Self::DuplicateHeaders
            | Self::IdleTimeout
            | Self::InvalidPushType
            | Self::MissingDeviceToken
            | Self::MissingTopic
            | Self::PayloadEmpty
            | Self::TopicDisallowed => 400,
            Self::BadCertificate
            | Self::BadCertificateEnvironment
            | Self::ExpiredProviderToken
            | Self::Forbidden
            | Self::InvalidProviderToken
            | Self::MissingProviderToken
            | Self::UnrelatedKeyIdInToken
            | Self::BadEnvironmentKeyIdInToken => 403,
            Self::BadPath => 404,
            Self::MethodNotAllowed => 405,
            Self::ExpiredToken | Self::Unregistered => 410,
            Self::PayloadTooLarge => 413,
            Self::TooManyProviderTokenUpdates | Self::TooManyRequests => 429,
            Self::InternalServerError => 500,
            Self::ServiceUnavailable | Self::Shutdown => 503,
            Self::Unknown(status) => status,
        }
    }

    /// Whom it blames.
    pub const fn blame(self) -> Blame {
        match self {
            Self::BadDeviceToken
            | Self::DeviceTokenNotForTopic
            | Self::ExpiredToken
            | Self::MissingDeviceToken
            | Self::TooManyRequests
            | Self::Unregistered => Blame::Token,
            Self::BadCollapseId
            | Self::BadExpirationDate
            | Self::BadMessageId
            | Self::BadPath
            | Self::BadPriority
            | Self::DuplicateHeaders
            | Self::InvalidPushType
            | Self::MethodNotAllowed
            | Self::PayloadEmpty
            | Self::PayloadTooLarge => Blame::Message,
            Self::BadCertificate
            | Self::BadCertificateEnvironment
            | Self::BadEnvironmentKeyIdInToken
            | Self::BadTopic
            | Self::ExpiredProviderToken
            | Self::Forbidden
            | Self::InvalidProviderToken
            | Self::MissingProviderToken
            | Self::MissingTopic
            | Self::TooManyProviderTokenUpdates
            | Self::TopicDisallowed
            | Self::UnrelatedKeyIdInToken => Blame::App,
            Self::IdleTimeout | Self::InternalServerError | Self::ServiceUnavailable | Self::Shutdown => {
                Blame::Provider
            }
            Self::Unknown(status) => match status {
                400..500 => Blame::Message,
                _ => Blame::Provider,
            },
        }
    }
}

impl ApnsReason {
    /// What a person should look at when it stops an app.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::ExpiredProviderToken => "The provider token was new: is this machine's clock right?",
            Self::InvalidProviderToken => {
                "With a `.p8` key: do the key, its `key_id` and its `team_id` belong together, and was it revoked? An app \
                 with a certificate sends no token: the gateway does not know it by its certificate"
            }
            Self::MissingProviderToken => "It needs a `.p8` key or a push certificate",
            Self::UnrelatedKeyIdInToken => "May this key push to the app's topic?",
            Self::BadEnvironmentKeyIdInToken => "The key is for the other environment (`sandbox`, `production`)",
            Self::BadCertificateEnvironment => "The certificate is for the other environment (`sandbox`, `production`)",
            Self::BadTopic | Self::MissingTopic | Self::TopicDisallowed => {
                "Is the app's `topic` its bundle id, and may its credentials push to it?"
            }
            Self::BadCertificate => "Was the certificate revoked, or has it expired?",
            Self::Forbidden
            | Self::BadCollapseId
            | Self::BadDeviceToken
            | Self::BadExpirationDate
            | Self::BadMessageId
            | Self::BadPath
            | Self::BadPriority
            | Self::DeviceTokenNotForTopic
            | Self::DuplicateHeaders
            | Self::ExpiredToken
            | Self::IdleTimeout
            | Self::InternalServerError
            | Self::InvalidPushType
            | Self::MethodNotAllowed
            | Self::MissingDeviceToken
            | Self::PayloadEmpty
            | Self::PayloadTooLarge
            | Self::ServiceUnavailable
            | Self::Shutdown
            | Self::TooManyProviderTokenUpdates
            | Self::TooManyRequests
            | Self::Unknown(_)
            | Self::Unregistered => "Are the app's credentials good?",
        }
    }
}

impl fmt::Display for ApnsReason {
    /// Apple's name and the status: `BadDeviceToken (400)`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(status) => write!(formatter, "a reason that this version does not know ({status})"),
            named => write!(formatter, "{} ({})", named.name(), named.status()),
        }
    }
}

/// What the ids of a batch's notifications are made from: random, minted when the batch is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IdSeed(pub [u8; 16]);

/// The id of one notification, a UUID (RFC 9562): sent as `apns-id`, kept on every resend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotificationId(pub [u8; 16]);

impl NotificationId {
    /// Characters of its text.
    pub const TEXT_LEN: usize = 36;

    /// The id of a row of the batch with this seed. Ids of different rows differ.
    pub fn of_row(seed: IdSeed, row: u32) -> Self {
        let [head @ .., a, b, c, d] = seed.0;
        let tail = u32::from_be_bytes([a, b, c, d]).wrapping_add(row).to_be_bytes();
        let mut bytes = [0; 16];
        bytes[..12].copy_from_slice(&head);
        bytes[12..].copy_from_slice(&tail);
        // Version 4 and the variant of RFC 9562, 5.4.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// Its canonical text, lower-case, 8-4-4-4-12.
    pub fn text(self) -> [u8; Self::TEXT_LEN] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; Self::TEXT_LEN];
        let mut at = 0;
        for (index, byte) in self.0.into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 0x0f)];
            at += 2;
        }
        text
    }
}

impl fmt::Display for NotificationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_reason_is_found_by_its_name() {
        for reason in ApnsReason::DOCUMENTED {
            assert_eq!(ApnsReason::from_name(reason.name()), Some(reason));
        }
        assert_eq!(ApnsReason::from_name("UnknownReason"), None);
        assert_eq!(ApnsReason::from_name("baddevicetoken"), None);
    }

    #[test]
    fn ids_are_uuids_of_version_4_that_differ_by_row() {
        let seed = IdSeed([0xff; 16]);
        assert_eq!(NotificationId::of_row(seed, 0).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(NotificationId::of_row(seed, 1).to_string(), "ffffffff-ffff-4fff-bfff-ffff00000000");
        assert_eq!(NotificationId::of_row(IdSeed([0; 16]), 7).to_string(), "00000000-0000-4000-8000-000000000007");
    }
}
