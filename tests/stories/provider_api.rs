//! Notifications over Apple's HTTP/2 provider API: what each reason comes to, and what callers hear of it.

use std::collections::BTreeSet;

use apnsd::domain::apns::ApnsReason;
use apnsd::domain::outcome::Blame;
use apnsd::simulator::journal::request::{Request, RequestVerdict};
use apnsd::xmlrpc::value::Value;

use crate::world::{APP, World, alert, cause, member, text, thirteen, token};

impl World {
    async fn with_http2_app() -> Self {
        let world = Self::over_http2(|_| ()).await;
        world.provision(&world.simulator.certificates().good.pem).await.unwrap();
        world
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.simulator.journal().requests().into_iter().map(|(_, request)| request).collect()
    }

    /// Waits until nothing of the app waits for anything.
    pub(crate) async fn wait_until_settled(&self) {
        let none = |status: &Value<'static>, name| member(status, name) == &Value::Int(0);
        self.wait_until_status(|status| ["waiting", "in_flight", "deferred"].iter().all(|name| none(status, name)))
            .await;
    }
}

/// Tokens of accepted requests.
fn accepted(requests: &[Request]) -> Vec<String> {
    let accepted = requests.iter().filter(|request| request.verdict == RequestVerdict::Accepted);
    accepted.filter_map(|request| request.token.as_deref().map(apnsd::domain::token::token_hex)).collect()
}

/// What a reason, given once, comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The notification is rejected.
    Rejected,
    /// The notification is rejected, and its token is feedback.
    Dead,
    /// It waits and is tried again.
    Deferred,
    /// It goes out again at once and is accepted.
    AtOnce,
    /// The app is paused with the reason as its cause, and keeps the notification.
    Paused,
}

/// The table of reasons: whom each blames, and what it comes to.
const TABLE: [(&str, Blame, Expected); 32] = {
    use Blame::{App, Message, Provider, Token};
    use Expected::{AtOnce, Dead, Deferred, Paused, Rejected};
    [
        ("BadCollapseId", Message, Rejected),
        ("BadDeviceToken", Token, Rejected),
        ("BadExpirationDate", Message, Rejected),
        ("BadMessageId", Message, Rejected),
        ("BadPriority", Message, Rejected),
        ("BadTopic", App, Paused),
        ("DeviceTokenNotForTopic", Token, Rejected),
        ("DuplicateHeaders", Message, Rejected),
        ("IdleTimeout", Provider, AtOnce),
        ("InvalidPushType", Message, Rejected),
        ("MissingDeviceToken", Token, Rejected),
        ("MissingTopic", App, Paused),
        ("PayloadEmpty", Message, Rejected),
        ("TopicDisallowed", App, Paused),
        ("BadCertificate", App, Paused),
        ("BadCertificateEnvironment", App, Paused),
        ("ExpiredProviderToken", App, AtOnce),
        ("Forbidden", App, Paused),
        ("InvalidProviderToken", App, Paused),
        ("MissingProviderToken", App, Paused),
        ("UnrelatedKeyIdInToken", App, AtOnce),
        ("BadEnvironmentKeyIdInToken", App, Paused),
        ("BadPath", Message, Rejected),
        ("MethodNotAllowed", Message, Rejected),
        ("ExpiredToken", Token, Dead),
        ("Unregistered", Token, Dead),
        ("PayloadTooLarge", Message, Rejected),
        ("TooManyProviderTokenUpdates", App, Deferred),
        ("TooManyRequests", Token, Deferred),
        ("InternalServerError", Provider, Deferred),
        ("ServiceUnavailable", Provider, Deferred),
        ("Shutdown", Provider, AtOnce),
    ]
};

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_has_the_outcome_and_the_blame_of_the_table() {
    for (name, blame, expected) in TABLE {
        let reason = ApnsReason::from_name(name).unwrap();
        assert_eq!(reason.blame(), blame, "{name}");
        let found = outcome_of(name, expected).await;
        assert_eq!(found, expected, "{name}");
        println!("{name:<28} {:>3}  {blame:?}: {expected:?}", reason.status());
    }
}

/// Has the next answer give a reason, and sees what it comes to.
async fn outcome_of(name: &str, expected: Expected) -> Expected {
    let world = World::over_http2(|_| ()).await;
    match name.contains("ProviderToken") || name.contains("KeyId") {
        true => world.provision_key(APP).await.unwrap(),
        false => world.provision(&world.simulator.certificates().good.pem).await.unwrap(),
    }
    world.wait_until_state("connected").await;
    world.faults(&format!(
        r#"{{"faults": [{{"http2": {{"status": {{"reason": "{name}", "answers": 1}}}}}}], "connections": "open"}}"#
    ));
    let sent = token("aa", 1);
    world.notify(std::slice::from_ref(&sent)).await.unwrap();
    let found = match expected {
        Expected::Paused => {
            let status = world.wait_until_state("paused").await;
            assert!(text(&status, "cause").contains(name), "{status:?}");
            assert_eq!(member(&status, "waiting"), &Value::Int(1), "{status:?}");
            Expected::Paused
        }
        Expected::Deferred => {
            world.wait_until_status(|status| member(status, "deferred") == &Value::Int(1)).await;
            Expected::Deferred
        }
        Expected::AtOnce => {
            world.wait_until_settled().await;
            assert_eq!(accepted(&world.requests()), [sent]);
            Expected::AtOnce
        }
        Expected::Rejected | Expected::Dead => {
            assert_eq!(world.rejections(1).await, [(sent.clone(), name.to_owned())]);
            match feedback(&world).await.as_slice() {
                [] => Expected::Rejected,
                [dead] if *dead == sent => Expected::Dead,
                other => panic!("{other:?}"),
            }
        }
    };
    let requests = world.requests();
    let first = requests.first().unwrap();
    assert_eq!(first.reason, Some(name), "the simulator did as it was told");
    assert!(requests.iter().all(|request| request.apns_id == first.apns_id), "the id is kept");
    found
}

/// Tokens that the plain `feedback` call hands out.
async fn feedback(world: &World) -> Vec<String> {
    let answer = world.client.call("feedback", vec![Value::string(APP)]).await.unwrap();
    let Value::Array(entries) = answer else { panic!("{answer:?}") };
    let token = |entry| match entry {
        Value::Array(pair) => match pair.as_slice() {
            [Value::DateTime(_), Value::String(token)] => token.to_string(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    entries.into_iter().map(token).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_certificate_and_an_old_call_reach_the_provider_api() {
    let world = World::with_http2_app().await;
    let tokens = thirteen("bad8");
    world.notify(&tokens).await.unwrap();
    world.wait_until_settled().await;
    assert_eq!(world.rejections(1).await, [(tokens[6].clone(), "BadDeviceToken".to_owned())]);
    let requests = world.requests();
    let arrived: BTreeSet<String> = accepted(&requests).into_iter().collect();
    assert_eq!(arrived, tokens.iter().filter(|token| token.starts_with("aa")).cloned().collect());
    let first = &requests[0];
    assert_eq!(first.topic.as_deref(), Some("com.example.app"));
    assert_eq!((first.push_type.as_deref(), first.priority.as_deref()), (Some("alert"), Some("10")));
    assert!(first.expiration.as_deref().is_some_and(|seconds| seconds.parse::<u32>().unwrap() > 0));
    let ids: BTreeSet<&str> = requests.iter().map(|request| request.apns_id.as_str()).collect();
    assert_eq!(ids.len(), 13, "each has an id of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_p8_key_needs_no_certificate() {
    let world = World::over_http2(|_| ()).await;
    world.provision_key(APP).await.unwrap();
    let tokens: Vec<String> = (0..300).map(|number| token("aa", number)).collect();
    world.notify(&tokens).await.unwrap();
    world.wait_until_settled().await;
    let arrived: BTreeSet<String> = accepted(&world.requests()).into_iter().collect();
    assert_eq!(arrived.len(), 300);
    assert_eq!(world.simulator.journal().summary().http2.excess, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_one_call_names_cannot_pause_the_app() {
    let world = World::with_http2_app().await;
    let options = Value::structure(vec![("topic".into(), Value::string("com.example.another"))]);
    let arguments = vec![Value::string(APP), Value::string(token("aa", 1)), alert("x"), options];
    world.client.call("notify", arguments).await.unwrap();
    assert_eq!(world.rejections(1).await, [(token("aa", 1), "TopicDisallowed".to_owned())]);
    world.notify(&[token("aa", 2)]).await.unwrap();
    world.wait_until_settled().await;
    assert_eq!(accepted(&world.requests()), [token("aa", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_always_asked_to_go_elsewhere_waits_and_holds_up_nobody() {
    let world = World::with_http2_app().await;
    // The simulator answers such a token with IdleTimeout.
    world.notify(&[token("ee08", 1)]).await.unwrap();
    // Twice at once, then it waits; the retry is counted before the row is stored.
    let waits = |status: &Value<'static>| {
        let Value::Struct(members) = status else { panic!("{status:?}") };
        member(status, "deferred") == &Value::Int(1)
            && members
                .iter()
                .any(|(name, retries)| name == "retries" && member(retries, "IdleTimeout") == &Value::Int(3))
    };
    world.wait_until_status(waits).await;
    world.notify(&[token("aa", 2)]).await.unwrap();
    world.wait_until_status(|status| member(status, "delivered") == &Value::Int(1)).await;
    assert_eq!(accepted(&world.requests()), [token("aa", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_without_a_connection_is_not_called_connected() {
    let world = World::over_http2(|config| config.delivery.connect_timeout = std::time::Duration::from_secs(3)).await;
    world.provision(&world.simulator.certificates().good.pem).await.unwrap();
    world.notify(&[token("aa", 1)]).await.unwrap();
    world.wait_until_settled().await;
    world.faults(r#"{"faults": [{"connect": "stall"}, {"http2": {"go_away": {}}}], "connections": "every"}"#);
    let status = world.wait_until_state("connecting").await;
    assert!(text(&status, "cause").ends_with(": GOAWAY: Shutdown (503)"), "{status:?}");
    let status = world.wait_until_state("waiting").await;
    assert!(text(&status, "cause").contains("TLS handshake: not done within 3 s"), "{status:?}");
    world.simulator.script().clear();
    world.client.call("apnsd.resume", vec![Value::string(APP)]).await.unwrap();
    world.notify(&[token("aa", 2)]).await.unwrap();
    let status = world.wait_until_state("connected").await;
    assert_eq!(cause(&status), "");
    world.wait_until_settled().await;
    assert_eq!(accepted(&world.requests()), [token("aa", 1), token("aa", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_file_that_is_renewed_under_load_loses_nothing() {
    let world = World::over_http2(|_| ()).await;
    let certificates = world.simulator.certificates();
    let path = certificates.dir.join("renewed.pem");
    std::fs::write(&path, &certificates.good.pem).unwrap();
    world.provision(path.to_str().unwrap()).await.unwrap();
    world.wait_until_state("connected").await;
    let before = connections(&world);
    let tokens: Vec<String> = (0..20_000).map(|number| token("aa", number)).collect();
    let mut calls = tokens.chunks(100);
    for call in calls.by_ref().take(50) {
        world.notify(call).await.unwrap();
    }
    std::fs::write(&path, certificates.issue("com.example.app").unwrap()).unwrap();
    world.client.call("apnsd.resume", vec![Value::string(APP)]).await.unwrap();
    for call in calls {
        world.notify(call).await.unwrap();
    }
    let renewed = async {
        while connections(&world).last() == before.last() {
            world.clock.sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(crate::world::PATIENCE, renewed).await.expect("the new certificate is used");
    world.wait_until_settled().await;
    let arrived: BTreeSet<String> = accepted(&world.requests()).into_iter().collect();
    assert_eq!(arrived.len(), tokens.len());
    assert_eq!(world.rejections_now().await, []);
}

/// Fingerprints of the certificates with which connections were opened, in order.
fn connections(world: &World) -> Vec<String> {
    use apnsd::simulator::journal::entry::Event;
    let entries = world.simulator.journal().page(0, usize::MAX).entries;
    let fingerprint = |event| match event {
        Event::Opened { fingerprint, .. } => Some(fingerprint),
        _ => None,
    };
    entries.into_iter().filter_map(|entry| fingerprint(entry.event)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_thousand_over_one_connection_whose_limit_jumps() {
    let world = World::with_http2_app().await;
    world.wait_until_state("connected").await;
    world.faults(
        r#"{"faults": [{"http2": {"streams": {"limits": [1000, 1, 400, 2, 1000, 100], "every": 1500}}}],
            "connections": "every"}"#,
    );
    let tokens: Vec<String> = (0..200_000).map(|number| token("aa", number)).collect();
    for call in tokens.chunks(20_000) {
        let tokens = Value::Array(call.iter().cloned().map(Value::string).collect());
        world.client.call("notify", vec![Value::string(APP), tokens, alert("x")]).await.unwrap();
    }
    let summary = world.simulator.journal().wait_until(|summary| summary.http2.accepted >= 200_000);
    let summary = tokio::time::timeout(5 * crate::world::PATIENCE, summary).await.expect("all arrive").http2;
    world.wait_until_settled().await;
    assert_eq!((summary.connections, summary.excess, summary.violations), (1, 0, 0), "{summary:?}");
    let arrived: BTreeSet<String> = accepted(&world.requests()).into_iter().collect();
    assert_eq!(arrived.len(), 200_000);
    println!("200,000 over one connection: {summary:?}");
}
