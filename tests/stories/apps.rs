//! Apps: what pauses them, what replaces them, and that none of them is another one's trouble.

use std::time::Duration;

use apnsd::client::ClientError;
use apnsd::config::Config;
use apnsd::simulator::script::Command;
use apnsd::simulator::script::fault::{Alert, ConnectFault, StreamFault};
use apnsd::store::Kind;
use apnsd::xmlrpc::value::Value;

use crate::world::{APP, World, member, text, token};

fn quick(config: &mut Config) {
    config.delivery.gateway.settle_after = Duration::from_millis(300);
}

/// What waits would be lost with the daemon.
fn in_memory(config: &mut Config) {
    quick(config);
    config.store.kind = Kind::Memory;
}

fn tokens(count: usize) -> Vec<String> {
    (1..=count).map(|number| token("aa", number)).collect()
}

fn fault(error: ClientError) -> (i32, String) {
    match error {
        ClientError::Fault(code, text) => (code, text),
        other => panic!("no fault: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_certificate_pauses_the_app_and_provisioning_again_resumes_it() {
    let world = World::start(quick).await;
    let script = world.simulator.script();
    script.command(Command::every([ConnectFault::Alert(Alert::Revoked)])).unwrap();
    let certificate = world.simulator.certificates().good.pem.clone();
    world.provision(&certificate).await.unwrap();
    let status = world.wait_until_state("paused").await;
    let cause = text(&status, "cause");
    assert!(cause.starts_with("the gateway refused the certificate: certificate revoked"), "{cause}");

    let error = world.notify(&tokens(1)).await.unwrap_err();
    let sentence = cause.replacen("the gateway", "The gateway", 1);
    assert_eq!(fault(error), (500, format!("Connection to the APNS server could not be made. {sentence}")));
    assert_eq!(member(&status, "waiting"), &Value::Int(0));

    script.clear();
    world.provision(&certificate).await.unwrap();
    world.wait_until_state("connected").await;
    world.notify(&tokens(1)).await.unwrap();
    world.wait_until_arrived(&tokens(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_out_of_reach_pauses_nobody_and_gets_everything_later() {
    let world = World::start(quick).await;
    world.simulator.script().command(Command::refuse(1500)).unwrap();
    world.provision(&world.simulator.certificates().good.pem).await.unwrap();
    world.notify(&tokens(5)).await.unwrap();
    let status = world.wait_until_state("waiting").await;
    assert!(text(&status, "cause").contains("Connection refused"), "{status:?}");
    world.wait_until_arrived(&tokens(5)).await;
    assert_eq!(world.accepted(), tokens(5), "in order, each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_cannot_connect_holds_up_nobody_else() {
    let world = World::with_app(quick).await;
    let stuck = world.simulator.certificates().issue("com.example.stuck").unwrap();
    world.simulator.script().command(Command::next([ConnectFault::AcceptNothing])).unwrap();
    world.provision_as("stuck", &stuck).await.unwrap();
    let arguments = [Value::string("stuck"), Value::string(token("aa", 99)), crate::world::alert("waits")];
    world.client.call("notify", arguments.to_vec()).await.unwrap();
    world.notify(&tokens(13)).await.unwrap();
    world.wait_until_arrived(&tokens(13)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_bad_tokens_in_a_row_pause_the_app_and_the_rest_waits() {
    let world = World::with_app(quick).await;
    let bad: Vec<String> = (0..150).map(|number| token("bad8", number)).collect();
    world.notify(&bad).await.unwrap();
    let status = world.wait_until_state("paused").await;
    assert!(text(&status, "cause").starts_with("100 notifications in a row were rejected"), "{status:?}");
    assert_eq!(member(&status, "waiting"), &Value::Int(50));
    assert_eq!(world.rejections_now().await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_pauses_and_resumes() {
    let world = World::with_app(quick).await;
    world.wait_until_state("connected").await;
    world.client.call("apnsd.pause", vec![Value::string(APP)]).await.unwrap();
    world.notify(&tokens(3)).await.unwrap();
    let status = world.wait_until_state("paused").await;
    assert_eq!(member(&status, "waiting"), &Value::Int(3));
    world.client.call("apnsd.resume", vec![Value::string(APP)]).await.unwrap();
    world.wait_until_arrived(&tokens(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_takes_over_between_calls_and_nothing_is_lost() {
    let world = World::with_app(quick).await;
    world.wait_until_state("connected").await;
    let all = tokens(400);
    let mut certificates = vec![world.simulator.certificates().good.pem.clone()];
    certificates.push(world.simulator.certificates().issue("com.example.app").unwrap());
    for (round, call) in all.chunks(20).enumerate() {
        world.notify(call).await.unwrap();
        let options = Value::structure(vec![("force".into(), Value::Boolean(true))]);
        let pem = Value::string(certificates[(round + 1) % 2].clone());
        let arguments = vec![Value::string(APP), pem, Value::string("sandbox-binary"), Value::Int(15), options];
        world.client.call("provision", arguments).await.unwrap();
    }
    world.wait_until_arrived(&all).await;
    assert_eq!(world.rejections_now().await, []);
    assert!(world.simulator.journal().summary().connections >= 21, "each certificate got its own connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_that_the_gateway_refuses_is_a_fault_and_the_old_one_stays() {
    let world = World::with_app(quick).await;
    world.wait_until_state("connected").await;
    world.simulator.script().command(Command::next([ConnectFault::Alert(Alert::Revoked)])).unwrap();
    let error = world.replace("com.example.app").await.unwrap_err();
    let text = "the gateway refused the new credentials (certificate revoked); the app keeps its old ones";
    assert_eq!(fault(error), (8002, text.to_owned()));
    world.notify(&tokens(2)).await.unwrap();
    world.wait_until_arrived(&tokens(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_closes_right_after_the_handshake_pauses_after_three_times_and_blames_no_row() {
    let world = World::start(quick).await;
    let close = StreamFault::Close { within_ms: 50, then: Default::default() };
    world.simulator.script().command(Command::every([close])).unwrap();
    world.provision(&world.simulator.certificates().good.pem).await.unwrap();
    world.notify(&tokens(5)).await.unwrap();
    let status = world.wait_until_state("paused").await;
    assert!(text(&status, "cause").contains("3 connections in a row before anything was sent"), "{status:?}");
    assert_eq!(world.rejections_now().await, []);
    world.simulator.script().clear();
    world.client.call("apnsd.resume", vec![Value::string(APP)]).await.unwrap();
    world.wait_until_arrived(&tokens(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_with_a_sentinel_and_reopened_by_the_next_call() {
    let idle = |config: &mut Config| {
        quick(config);
        config.delivery.gateway.idle_after = Duration::from_millis(500);
    };
    let world = World::with_app(idle).await;
    world.notify(&tokens(1)).await.unwrap();
    world.wait_until_state("idle").await;
    let sentinels = world.received(|verdict| verdict == apnsd::simulator::journal::entry::Verdict::Rejected(2));
    assert_eq!(sentinels, [""]);
    world.notify(&[token("aa", 2)]).await.unwrap();
    world.wait_until_arrived(&tokens(2)).await;
    assert_eq!(world.rejections_now().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_swallowed_without_reading_is_sent_again_on_a_new_connection() {
    let world = World::with_app(|config| {
        quick(config);
        // Longer than all calls together take on a busy machine: what lies in the kernel before it is full is presumed.
        config.delivery.gateway.settle_after = Duration::from_secs(8);
    })
    .await;
    world.wait_until_state("connected").await;
    world.simulator.script().command(Command::open([StreamFault::StopReading])).unwrap();
    let all = tokens(50_000);
    for call in all.chunks(10_000) {
        world.notify(call).await.unwrap();
    }
    world.wait_until_arrived(&all).await;
    assert_eq!(world.rejections_now().await, []);
}

/// A stop in the middle of an error: the rows behind the bad one come back from the gateway and go out again.
#[tokio::test(flavor = "multi_thread")]
async fn in_memory_a_stop_waits_for_rows_that_come_back_and_for_an_app_that_is_still_connecting() {
    let world = World::start(in_memory).await;
    world.provision(&world.simulator.certificates().good.pem).await.unwrap();
    let mut all = tokens(1000);
    all[10] = token("bad8", 10);
    world.notify(&all).await.unwrap();
    let (simulator, stopped) = world.stop().await;
    assert_eq!((stopped.lost, stopped.in_time), (0, true));
    assert_eq!(simulator.journal().summary().accepted, 999);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory_a_stop_gives_up_at_its_deadline_and_counts_what_is_lost() {
    let world = World::start(|config| {
        in_memory(config);
        config.shutdown.deadline = Duration::from_millis(500);
    })
    .await;
    world.simulator.script().command(Command::refuse(60_000)).unwrap();
    world.provision(&world.simulator.certificates().good.pem).await.unwrap();
    world.notify(&tokens(7)).await.unwrap();
    let (_simulator, stopped) = world.stop().await;
    assert_eq!((stopped.lost, stopped.in_time), (7, false));
}

/// The old connection is slow to read, so most rows have not left it when the new one takes over.
#[tokio::test(flavor = "multi_thread")]
async fn rows_keep_their_order_when_a_certificate_is_replaced() {
    let world = World::with_app(quick).await;
    world.wait_until_state("connected").await;
    world.simulator.script().command(Command::open([StreamFault::Throttle(2_000_000)])).unwrap();
    let all = tokens(60_000);
    for call in all.chunks(20_000) {
        world.notify(call).await.unwrap();
    }
    world.replace("com.example.app").await.unwrap();
    world.wait_until_arrived(&all).await;
    let mut first_seen = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for token in world.accepted() {
        if seen.insert(token.clone()) {
            first_seen.push(token);
        }
    }
    assert!(first_seen.is_sorted(), "a later row overtook an earlier one");
}

/// While the connection before is being drained, the next change waits for its turn and is carried out.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_change_during_the_first_one_is_carried_out_too() {
    let world = World::with_app(quick).await;
    world.wait_until_state("connected").await;
    world.notify(&tokens(1)).await.unwrap();
    world.wait_until_accepted(1).await;
    world.simulator.script().command(Command::open([StreamFault::StopReading])).unwrap();
    for environment in ["production-binary", "sandbox-binary"] {
        let pem = Value::string(world.simulator.certificates().good.pem.clone());
        let arguments = vec![Value::string(APP), pem, Value::string(environment)];
        world.client.call("provision", arguments).await.unwrap();
        let status = world.client.call("apnsd.status", vec![Value::string(APP)]).await.unwrap();
        assert_eq!(text(&status, "environment"), environment);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory_a_stopping_daemon_delivers_what_waits_first() {
    let world = World::with_app(in_memory).await;
    let all = tokens(20_000);
    world.notify(&all).await.unwrap();
    let (simulator, stopped) = world.stop().await;
    assert_eq!((stopped.lost, stopped.in_time), (0, true));
    assert_eq!(simulator.journal().summary().accepted, 20_000);
}
