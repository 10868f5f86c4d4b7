//! What each header may be, and what a certificate may do.

use super::*;
use crate::simulator::http2::request::RequestHeaders;

const APP: &str = "com.example.app";
const TOKEN: &str = "/3/device/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn peer(topics: &[&str]) -> Peer {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    Peer { uid: APP.to_owned(), topics, leaf: vec![1], development: true, production: true, ..Peer::default() }
}

fn judge(peer: Peer) -> Judge {
    Judge { authentication: Authentication::Certificate(peer), environment: GatewayEnvironment::Both }
}

fn universal() -> Judge {
    judge(peer(&[APP, "com.example.app.voip", "com.example.app.complication"]))
}

/// The verdict on a request that is good but for these headers; an empty value leaves a header away.
fn verdict_with(judge: &mut Judge, changed: &[(&str, &str)], payload: &[u8]) -> Result<(), ApnsReason> {
    let good = [(":method", "POST"), (":path", TOKEN), ("apns-topic", APP)];
    let kept = good.iter().filter(|(name, _)| !changed.iter().any(|(other, _)| other == name));
    let headers: Vec<(Vec<u8>, Vec<u8>)> = kept
        .chain(changed)
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect();
    judge.check(&RequestHeaders::of(&headers), payload, Timestamp::default())
}

fn verdict(changed: &[(&str, &str)]) -> Result<(), ApnsReason> {
    verdict_with(&mut universal(), changed, b"{}")
}

#[test]
fn every_header_has_its_rule() {
    let id = "0a1b2c3d-0000-4000-8000-0123456789ab";
    let collapse_64 = "x".repeat(64);
    let path = |token: &str| format!("/3/device/{token}");
    let table = [
        ("apns-id", id, Ok(())),
        ("apns-id", &id.to_uppercase(), Ok(())),
        ("apns-id", "0a1b2c3d00004000800001234567 89ab", Err(ApnsReason::BadMessageId)),
        ("apns-id", "7", Err(ApnsReason::BadMessageId)),
        ("apns-id", &id.replace('a', "g"), Err(ApnsReason::BadMessageId)),
        ("apns-collapse-id", &collapse_64, Ok(())),
        ("apns-collapse-id", &format!("{collapse_64}x"), Err(ApnsReason::BadCollapseId)),
        ("apns-expiration", "0", Ok(())),
        ("apns-expiration", "1700000000", Ok(())),
        ("apns-expiration", "-1", Err(ApnsReason::BadExpirationDate)),
        ("apns-expiration", "tomorrow", Err(ApnsReason::BadExpirationDate)),
        ("apns-priority", "10", Ok(())),
        ("apns-priority", "5", Ok(())),
        ("apns-priority", "1", Ok(())),
        ("apns-priority", "7", Err(ApnsReason::BadPriority)),
        ("apns-push-type", "alert", Ok(())),
        ("apns-push-type", "Alert", Err(ApnsReason::InvalidPushType)),
        ("apns-topic", "com.example.other", Err(ApnsReason::TopicDisallowed)),
        ("apns-topic", "com.example app", Err(ApnsReason::BadTopic)),
        ("apns-topic", "", Err(ApnsReason::MissingTopic)),
        ("x-other", "whatever", Ok(())),
        (":method", "GET", Err(ApnsReason::MethodNotAllowed)),
        (":path", "/3/devices/00", Err(ApnsReason::BadPath)),
        (":path", "/2/device/00", Err(ApnsReason::BadPath)),
        (":path", "/3/device", Err(ApnsReason::MissingDeviceToken)),
        (":path", "/3/device/", Err(ApnsReason::MissingDeviceToken)),
        (":path", &path(&"ab".repeat(31)), Err(ApnsReason::BadDeviceToken)),
        (":path", &path(&"ab".repeat(101)), Err(ApnsReason::BadDeviceToken)),
        (":path", &path(&"AB".repeat(100)), Ok(())),
        (":path", &path(&"xy".repeat(32)), Err(ApnsReason::BadDeviceToken)),
        (":path", &path(&format!("{}a", "ab".repeat(32))), Err(ApnsReason::BadDeviceToken)),
    ];
    for (name, value, expected) in table {
        assert_eq!(verdict(&[(name, value)]), expected, "{name}: {value}");
    }
    assert_eq!(verdict(&[("apns-priority", "5"), ("apns-priority", "5")]), Err(ApnsReason::DuplicateHeaders));
    assert_eq!(verdict(&[("x-other", "1"), ("x-other", "2")]), Err(ApnsReason::DuplicateHeaders));
}

#[test]
fn topics_and_push_types_go_together() {
    let table = [
        ("alert", APP, Ok(())),
        ("background", APP, Ok(())),
        ("mdm", APP, Ok(())),
        ("voip", "com.example.app.voip", Ok(())),
        ("complication", "com.example.app.complication", Ok(())),
        ("voip", APP, Err(ApnsReason::BadTopic)),
        ("alert", "com.example.app.voip", Err(ApnsReason::BadTopic)),
        ("voip", "com.example.app.complication", Err(ApnsReason::BadTopic)),
        ("pushtotalk", "com.example.app.voip-ptt", Err(ApnsReason::TopicDisallowed)),
        ("liveactivity", "com.example.app.push-type.liveactivity", Err(ApnsReason::TopicDisallowed)),
    ];
    for (push_type, topic, expected) in table {
        assert_eq!(verdict(&[("apns-push-type", push_type), ("apns-topic", topic)]), expected, "{push_type} {topic}");
    }
    assert_eq!(verdict(&[("apns-topic", "com.example.app.voip")]), Ok(()), "without a push type nothing is compared");
}

#[test]
fn background_is_not_urgent() {
    let background = |priority| verdict(&[("apns-push-type", "background"), ("apns-priority", priority)]);
    assert_eq!(background("10"), Err(ApnsReason::BadPriority));
    assert_eq!((background("5"), background("")), (Ok(()), Ok(())));
}

#[test]
fn payloads_have_their_limits() {
    let check = |topic, length| verdict_with(&mut universal(), &[("apns-topic", topic)], &vec![b' '; length]);
    assert_eq!(check(APP, 0), Err(ApnsReason::PayloadEmpty));
    assert_eq!((check(APP, 4096), check(APP, 4097)), (Ok(()), Err(ApnsReason::PayloadTooLarge)));
    let voip = "com.example.app.voip";
    assert_eq!((check(voip, 5120), check(voip, 5121)), (Ok(()), Err(ApnsReason::PayloadTooLarge)));
}

#[test]
fn a_certificate_without_a_list_of_topics_is_for_its_bundle_id_and_what_belongs_to_it() {
    let check = |topic| verdict_with(&mut judge(peer(&[])), &[("apns-topic", topic)], b"{}");
    assert_eq!((check(APP), check("com.example.app.voip"), check("")), (Ok(()), Ok(()), Ok(())));
    assert_eq!(check("com.example.app2"), Err(ApnsReason::TopicDisallowed));
    assert_eq!(verdict_with(&mut judge(peer(&[APP])), &[("apns-topic", "")], b"{}"), Ok(()), "the only one is meant");
}

#[test]
fn a_certificate_is_for_its_environment() {
    let check = |development, production, environment| {
        let peer = Peer { development, production, ..peer(&[APP]) };
        let mut judge = Judge { environment, ..judge(peer) };
        verdict_with(&mut judge, &[], b"{}")
    };
    let (both, sandbox) = (GatewayEnvironment::Both, GatewayEnvironment::Development);
    assert_eq!(check(true, false, sandbox), Ok(()));
    assert_eq!(check(false, true, sandbox), Err(ApnsReason::BadCertificateEnvironment));
    assert_eq!(check(true, false, GatewayEnvironment::Production), Err(ApnsReason::BadCertificateEnvironment));
    assert_eq!((check(true, false, both), check(false, true, both)), (Ok(()), Ok(())));
    assert_eq!(check(false, false, both), Err(ApnsReason::BadCertificate));
}
