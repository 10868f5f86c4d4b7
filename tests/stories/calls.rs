//! The verbs as callers use them, from the bytes of a request to what the gateway gets.

use apnsd::client::ClientError;
use apnsd::simulator::journal::entry::Notification;
use apnsd::xmlrpc::value::Value;

use crate::world::{APP, World, alert, text, token};

fn array(items: impl IntoIterator<Item = Value<'static>>) -> Value<'static> {
    Value::Array(items.into_iter().collect())
}

fn tokens(count: usize) -> Vec<Value<'static>> {
    (1..=count).map(|number| Value::string(token("aa", number))).collect()
}

async fn fault(world: &World, method: &str, arguments: Vec<Value<'static>>) -> (i32, String) {
    match world.client.call(method, arguments).await {
        Err(ClientError::Fault(code, text)) => (code, text),
        other => panic!("no fault: {other:?}"),
    }
}

fn payloads(world: &World) -> Vec<String> {
    let payload = |(_, notification): (u64, Notification)| notification.payload.unwrap_or_default();
    let payloads = world.simulator.journal().notifications().into_iter().map(payload);
    payloads.map(|payload| String::from_utf8(payload.into()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_notify_arrives_as_compact_json() {
    let world = World::with_app(|_| {}).await;
    let note = || {
        let custom =
            [("n", Value::Int(3)), ("d", Value::Double(2.0)), ("s", Value::string("grün & \"so\"")), ("z", Value::Nil)];
        Value::Struct(custom.map(|(name, value)| (name.into(), value)).into())
    };
    let json = "{\"n\":3,\"d\":2.0,\"s\":\"grün & \\\"so\\\"\",\"z\":null}";
    let one = || Value::string(token("aa", 1));
    let shapes = [
        (one(), note()),
        (one(), array([note()])),
        (array([one()]), array([note()])),
        (array([one()]), note()),
        (one(), Value::string(format!(" {} ", json.replace(':', " :\n ")))),
    ];
    for (tokens, notifications) in shapes {
        world.client.call("notify", vec![Value::string(APP), tokens, notifications]).await.unwrap();
    }
    world.wait_until_accepted(5).await;
    assert_eq!(payloads(&world), [json; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_megabyte_arrives_whole_and_in_order() {
    let world = World::with_app(|_| {}).await;
    let notifications = (0..3000).map(|n| alert(&format!("{n} {}", "x".repeat(300))));
    let arguments = vec![Value::string(APP), array(tokens(3000)), array(notifications)];
    world.client.call("notify", arguments).await.unwrap();
    world.wait_until_accepted(3000).await;
    let expected: Vec<String> = (1..=3000).map(|number| token("aa", number)).collect();
    assert_eq!(world.accepted(), expected);
    assert!(payloads(&world)[2999].starts_with("{\"aps\":{\"alert\":\"2999 xxx"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_item_refuses_the_call_and_nothing_is_queued() {
    let world = World::with_app(|_| {}).await;
    let mut wrong = tokens(3);
    wrong[2] = Value::string("12");
    let arguments = vec![Value::string(APP), array(wrong), alert("hi")];
    let expected = (8002, "token 2: a token has 32 to 100 bytes, this one has 1".to_owned());
    assert_eq!(fault(&world, "notify", arguments).await, expected);

    let notifications = array([alert("one"), Value::structure(vec![("b".into(), Value::Base64(vec![1]))])]);
    let (code, text) = fault(&world, "notify", vec![Value::string(APP), array(tokens(2)), notifications]).await;
    assert_eq!((code, text.as_str()), (8002, "notification 1: b: base64 has no JSON form"));

    let status = world.client.call("apnsd.status", vec![Value::string(APP)]).await.unwrap();
    assert_eq!(crate::world::member(&status, "accepted"), &Value::Int(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_app_comes_before_wrong_arguments() {
    let world = World::start(|_| {}).await;
    let arguments = vec![Value::string("nobody"), Value::string("not a token"), Value::string("no json")];
    let expected = (404, "The app_id specified has not been provisioned.".to_owned());
    assert_eq!(fault(&world, "notify", arguments).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn configure_provisions_all_of_initial_although_one_certificate_is_bad() {
    let world = World::start(|_| {}).await;
    let entry = |app: &'static str, certificate: String| {
        array([Value::string(app), Value::string(certificate), Value::string("sandbox-binary")])
    };
    let certificates = world.simulator.certificates();
    let initial = array([
        entry("first", certificates.good.pem.clone()),
        entry("expired", certificates.expired.pem.clone()),
        entry("last", certificates.good.pem.clone()),
    ]);
    let host = Value::string("http://localhost:7077/");
    let settings = [("HOST", host), ("TIMEOUT", Value::Int(15)), ("INITIAL", initial)];
    let settings = Value::Struct(settings.map(|(name, value)| (name.into(), value)).into());
    let answer = world.client.call("configure", vec![settings]).await.unwrap();
    assert_eq!(answer, Value::Boolean(true));
    let Value::Array(apps) = world.client.call("apnsd.apps", vec![]).await.unwrap() else { panic!("no array") };
    let names: Vec<String> = apps.iter().map(|app| text(app, "app_id")).collect();
    assert_eq!(names, ["expired", "first", "last"]);
    assert_eq!(text(&apps[0], "state"), "refused");
    assert!(text(&apps[0], "cause").contains("expired"), "{:?}", apps[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deprovisioned_means_unknown_and_its_rejections_stay_readable() {
    let world = World::with_app(|_| {}).await;
    world.client.call("apnsd.pause", vec![Value::string(APP)]).await.unwrap();
    world.notify(&[token("aa", 1)]).await.unwrap();
    world.client.call("apnsd.deprovision", vec![Value::string(APP)]).await.unwrap();
    assert_eq!(fault(&world, "notify", vec![Value::string(APP), array([]), array([])]).await.0, 404);
    assert_eq!(world.rejections_now().await, [(token("aa", 1), "Deprovisioned".to_owned())]);
}
