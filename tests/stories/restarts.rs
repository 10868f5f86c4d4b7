//! What a restarted daemon still knows. (That nothing is lost when it is killed is shown by `tests/durability`.)

use std::time::Duration;

use apnsd::client::ClientError;
use apnsd::config::Config;
use apnsd::domain::time::Timestamp;
use apnsd::simulator::feedback::command::FeedbackCommand;
use apnsd::simulator::feedback::tuples::FeedbackTuple;
use apnsd::xmlrpc::value::Value;

use crate::world::{APP, World, alert, member, text, thirteen, token};

fn quick(config: &mut Config) {
    config.delivery.gateway.settle_after = Duration::from_millis(300);
}

async fn notify_as(world: &World, request_id: &str, words: &str) -> Result<(), ClientError> {
    let options = Value::structure(vec![("request_id".into(), Value::string(request_id.to_owned()))]);
    let arguments = vec![Value::string(APP), Value::string(token("aa", 1)), alert(words), options];
    world.client.call("notify", arguments).await.map(drop)
}

async fn feedback(world: &World) -> usize {
    match world.client.call("feedback", vec![Value::string(APP)]).await.unwrap() {
        Value::Array(entries) => entries.len(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_repeated_after_a_restart_has_no_second_effect() {
    let world = World::with_app(quick).await;
    notify_as(&world, "order-7", "shipped").await.unwrap();
    world.wait_until_accepted(1).await;
    let world = world.restarted().await;
    notify_as(&world, "order-7", "shipped").await.unwrap();
    let other = notify_as(&world, "order-7", "lost").await;
    assert!(matches!(&other, Err(ClientError::Fault(8002, _))), "{other:?}");
    notify_as(&world, "order-8", "shipped").await.unwrap();
    world.wait_until_accepted(2).await;
    assert_eq!(world.restarted().await.accepted(), [token("aa", 1), token("aa", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejections_and_what_was_read_of_feedback_are_the_same_after_a_restart() {
    let world = World::with_app(quick).await;
    let entries = vec![FeedbackTuple::new(Timestamp::from_secs(1_300_000_000), &[1; 32])];
    world.simulator.feedback(FeedbackCommand { entries, ..FeedbackCommand::default() }).unwrap();
    world.notify(&thirteen("bad8")).await.unwrap();
    let rejections = world.rejections(1).await;
    assert_eq!(feedback(&world).await, 1);
    let world = world.restarted().await;
    assert_eq!(world.rejections_now().await, rejections);
    assert_eq!(feedback(&world).await, 0, "it was handed out before");
    world.client.call("apnsd.deprovision", vec![Value::string(APP)]).await.unwrap();
    let world = world.restarted().await;
    assert_eq!(world.rejections_now().await, rejections);
    let arguments = vec![Value::string(APP), Value::string("0")];
    let page = world.client.call("apnsd.feedback", arguments).await.unwrap();
    assert!(matches!(member(&page, "feedback"), Value::Array(entries) if entries.len() == 1), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_app_is_still_paused_after_a_restart_and_has_its_queue() {
    let world = World::with_app(quick).await;
    world.client.call("apnsd.pause", vec![Value::string(APP)]).await.unwrap();
    world.notify(&[token("aa", 1), token("aa", 2)]).await.unwrap();
    let world = world.restarted().await;
    let status = world.wait_until_state("paused").await;
    assert_eq!((member(&status, "waiting"), text(&status, "environment").as_str()), (&Value::Int(2), "sandbox-binary"));
    assert_eq!(world.accepted(), Vec::<String>::new());
    world.client.call("apnsd.resume", vec![Value::string(APP)]).await.unwrap();
    world.wait_until_accepted(2).await;
    assert_eq!(world.restarted().await.accepted(), [token("aa", 1), token("aa", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_tells_what_became_of_a_notification_before_and_after_a_restart() {
    let world = World::with_app(quick).await;
    world.notify(&thirteen("bad8")).await.unwrap();
    world.rejections(1).await;
    world.wait_until_accepted(12).await;
    let world = world.restarted().await;
    let events =
        async |prefix: &str| match world.client.call("apnsd.trace", vec![Value::string(prefix.to_owned())]).await {
            Ok(Value::Array(events)) => events.iter().map(|event| text(event, "event")).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
    assert_eq!(events("bad80000").await, ["rejected"]);
    let good = events("aa000000").await;
    assert!(good.len() == 12 && good.iter().all(|event| event == "accepted" || event == "presumed"), "{good:?}");
}
