//! The HTTP/2 provider API as it should be: H1 to H4 of the protocol reference.

use apnsd::domain::apns::ApnsReason;
use apnsd::domain::token::token_hex;
use apnsd::simulator::Settings;
use apnsd::simulator::journal::entry::{Event, Service};
use apnsd::simulator::journal::request::RequestVerdict;
use apnsd::simulator::peer::GatewayEnvironment;

use serde_json::json;

use super::control::call;
use super::lab::{Lab, token};
use super::provider_lab::{PAYLOAD, good, request};

const ID: &str = "0a1b2c3d-0000-4000-8000-0123456789ab";

#[tokio::test]
async fn a_good_request_is_accepted_and_its_id_is_echoed() {
    let lab = Lab::start().await;
    let provider = lab.provider(Some(lab.good())).await;
    let headers = [
        ("apns-topic", "com.example.app"),
        ("apns-id", ID),
        ("apns-push-type", "alert"),
        ("apns-expiration", "1700000000"),
        ("apns-priority", "10"),
        ("apns-collapse-id", "score"),
    ];
    let answer = provider.ask(request("c0ffee", &headers), PAYLOAD).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str(), answer.header("apns-id")), (200, "", ID));
    assert_eq!(answer.header("apns-unique-id"), "");

    let entry = lab.requests().remove(0);
    assert_eq!((entry.stream, entry.apns_id.as_str(), entry.status), (1, ID, Some(200)));
    assert_eq!(entry.token.as_deref().map(token_hex), Some(token("c0ffee")));
    assert_eq!(entry.topic.as_deref(), Some("com.example.app"));
    assert_eq!(entry.push_type.as_deref(), Some("alert"));
    assert_eq!((entry.expiration.as_deref(), entry.priority.as_deref()), (Some("1700000000"), Some("10")));
    assert_eq!((entry.collapse_id.as_deref(), entry.payload.as_deref()), (Some("score"), Some(PAYLOAD)));
    assert_eq!((entry.verdict, entry.reason, entry.excess), (RequestVerdict::Accepted, None, false));
    let Event::Opened { service, subject, .. } = &lab.events()[0] else { panic!("{:?}", lab.events()) };
    assert_eq!((*service, subject.as_str()), (Service::Http2, "Apple Push Services: com.example.app"));
}

#[tokio::test]
async fn a_request_without_an_id_gets_one() {
    let lab = Lab::start().await;
    let provider = lab.provider(Some(lab.good())).await;
    let ids = [provider.ask(good(""), PAYLOAD).await.unwrap(), provider.ask(good(""), PAYLOAD).await.unwrap()];
    let ids = ids.map(|answer| answer.header("apns-id").to_owned());
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == 36), "{ids:?}");
    assert_eq!(lab.requests().into_iter().map(|entry| entry.apns_id).collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn a_provider_token_stands_for_a_certificate() {
    let lab = Lab::start().await;
    let provider = lab.provider(None).await;
    let told = provider.push("").await;
    assert_eq!(told, (403, "MissingProviderToken".to_owned()));
    let authorization = lab.authorization();
    let headers = [("apns-topic", "com.example.anything"), ("authorization", authorization.as_str())];
    assert_eq!(provider.ask(request("", &headers), PAYLOAD).await.unwrap().status, 200);
    let taken = lab.simulator.provider_tokens();
    assert_eq!(
        taken.iter().map(|token| (token.key_id, token.team_id)).collect::<Vec<_>>(),
        [("SIMULATOR1", "SIMTEAM001")]
    );
}

#[tokio::test]
async fn the_sandbox_gives_an_id_of_its_delivery_log() {
    let lab = Lab::with(|settings| Settings { environment: GatewayEnvironment::Development, ..settings }).await;
    let provider = lab.provider(Some(lab.good())).await;
    assert_eq!(provider.ask(good(""), PAYLOAD).await.unwrap().header("apns-unique-id").len(), 36);
}

#[tokio::test]
async fn the_control_port_shows_requests_counts_and_provider_tokens() {
    let lab = Lab::start().await;
    let provider = lab.provider(None).await;
    let authorization = lab.authorization();
    let headers = [("apns-topic", "a.b"), ("apns-id", ID), ("authorization", authorization.as_str())];
    provider.ask(request("bad0", &headers), PAYLOAD).await.unwrap();
    let (_, journal) = call(&lab, "GET /journal?after=1&limit=1", "").await;
    let mut entry = journal["entries"][0].clone();
    entry.as_object_mut().unwrap().remove("at_us");
    let expected = json!({"seq": 2, "connection": 1, "event": "request", "stream": 1, "apns_id": ID,
        "token": token("bad0"), "topic": "a.b", "push_type": null, "expiration": null, "priority": null,
        "collapse_id": null, "payload": "{\"aps\":{}}", "verdict": "rejected", "reason": "BadDeviceToken",
        "status": 400, "excess": false});
    assert_eq!(entry, expected);
    let (_, summary) = call(&lab, "GET /summary", "").await;
    assert_eq!((&summary["http2"]["rejected"], &summary["packets"]), (&json!(1), &json!(0)));
    assert_eq!(summary["http2"]["reasons"], json!({"BadDeviceToken": 1}));
    let taken = &summary["provider_tokens"][0];
    assert_eq!((&taken["key_id"], &taken["team_id"]), (&json!("SIMULATOR1"), &json!("SIMTEAM001")));
    assert!(taken["issued_at"].is_i64() && taken["first_used"].as_i64() > Some(1_700_000_000_000), "{taken}");
}

#[tokio::test]
async fn faults_are_commands_of_the_control_port() {
    let lab = Lab::start().await;
    let command = r#"{"faults": [{"http2": {"status": {"reason": "Shutdown", "answers": 1}}}], "gateway": "http2"}"#;
    assert_eq!(call(&lab, "POST /script", command).await.0, 200);
    let provider = lab.provider(Some(lab.good())).await;
    assert_eq!(provider.push("").await, (503, "Shutdown".to_owned()));
    assert_eq!(provider.push("").await.0, 200);
}

#[tokio::test]
async fn http_1_is_not_spoken() {
    let lab = Lab::start().await;
    let error = lab.provider_tls(None, &[b"http/1.1"]).await.unwrap_err().to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    lab.wait(|summary| summary.refused == 1).await;
    drop(lab.provider_tls(None, &[]).await);
    lab.wait(|summary| summary.refused == 2).await;
}

#[tokio::test]
async fn a_dead_token_is_gone_since_a_time_in_milliseconds() {
    let lab = Lab::start().await;
    let provider = lab.provider(Some(lab.good())).await;
    let before = apnsd::clock::Clock::system().timestamp().as_millis();
    let answer = provider.ask(good("dead"), PAYLOAD).await.unwrap();
    assert_eq!(answer.told(), (410, "Unregistered".to_owned()));
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let since = json["timestamp"].as_i64().unwrap();
    assert!((before..before + 60_000).contains(&since), "{since}");
}

#[tokio::test]
async fn every_documented_reason_has_a_token() {
    let lab = Lab::start().await;
    let provider = lab.provider(Some(lab.good())).await;
    for (number, reason) in ApnsReason::DOCUMENTED.into_iter().enumerate() {
        let told = provider.push(&format!("ee{number:02}")).await;
        assert_eq!(told, (reason.status(), reason.name().to_owned()));
    }
    assert_eq!(provider.push("ee32").await.0, 200);
    let counts = lab.counts(|counts| counts.requests == 33).await;
    assert_eq!((counts.accepted, counts.rejected), (1, 32));
    assert!(ApnsReason::DOCUMENTED.into_iter().all(|reason| counts.reasons.of(reason) == 1), "{counts:?}");
}
