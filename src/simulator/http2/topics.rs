//! Push types and topics, and which go together. Pure.
//!
//! Source: "Sending notification requests to APNs", table of push types.

use crate::domain::apns::ApnsReason;
use crate::simulator::peer::Peer;

/// Longest topic in bytes.
const TOPIC_MAX: usize = 255;

/// Push types, and what the topic has behind the bundle id. `mdm` has topics of its own.
const PUSH_TYPES: [(&str, &str); 11] = [
    ("alert", ""),
    ("background", ""),
    ("location", ".location-query"),
    ("voip", ".voip"),
    ("complication", ".complication"),
    ("fileprovider", ".pushkit.fileprovider"),
    ("mdm", ""),
    ("liveactivity", ".push-type.liveactivity"),
    ("pushtotalk", ".voip-ptt"),
    ("controls", ".push-type.controls"),
    ("widgets", ".push-type.widgets"),
];

/// A known push type.
pub(super) fn push_type(text: &[u8]) -> Result<&str, ApnsReason> {
    let known = PUSH_TYPES.iter().map(|(name, _)| *name).find(|name| name.as_bytes() == text);
    known.ok_or(ApnsReason::InvalidPushType)
}

/// A topic that is one by its form.
pub(super) fn parse(text: &[u8]) -> Result<&str, ApnsReason> {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    match std::str::from_utf8(text) {
        Ok(topic) if (1..=TOPIC_MAX).contains(&topic.len()) && text.iter().all(good) => Ok(topic),
        Ok(_) | Err(_) => Err(ApnsReason::BadTopic),
    }
}

/// Whether a topic has the ending that its push type demands, and none that is another's.
pub(super) fn check_suffix(topic: &str, push_type: &str) -> Result<(), ApnsReason> {
    if push_type == "mdm" || suffix_of(topic) == suffix(push_type) {
        return Ok(());
    }
    Err(ApnsReason::BadTopic)
}

/// Whether a certificate may send to a topic; without one its bundle id is meant, if it has no other.
pub(super) fn check_certificate(peer: &Peer, topic: Option<&str>, push_type: Option<&str>) -> Result<(), ApnsReason> {
    // Not offered with certificates at all.
    if matches!(push_type, Some("location" | "liveactivity")) {
        return Err(ApnsReason::TopicDisallowed);
    }
    match topic {
        None if peer.topics.len() > 1 || (peer.topics.is_empty() && peer.uid.is_empty()) => {
            Err(ApnsReason::MissingTopic)
        }
        None => Ok(()),
        Some(topic) if peer.topics.is_empty() && bundle_id(topic) == peer.uid => Ok(()),
        Some(topic) if peer.topics.iter().any(|allowed| allowed == topic) => Ok(()),
        Some(_) => Err(ApnsReason::TopicDisallowed),
    }
}

fn suffix(push_type: &str) -> &'static str {
    PUSH_TYPES.iter().find(|(name, _)| *name == push_type).map_or("", |(_, suffix)| suffix)
}

/// The ending of a topic that stands for a push type; empty without one.
fn suffix_of(topic: &str) -> &'static str {
    let suffixes = PUSH_TYPES.iter().map(|(_, suffix)| *suffix);
    suffixes.filter(|suffix| !suffix.is_empty()).find(|suffix| topic.ends_with(suffix)).unwrap_or("")
}

fn bundle_id(topic: &str) -> &str {
    topic.strip_suffix(suffix_of(topic)).unwrap_or(topic)
}
