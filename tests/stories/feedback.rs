//! Feedback: handed out once per app, never lost on the way, never an empty list where the service failed.

use std::time::Duration;

use apnsd::client::ClientError;
use apnsd::config::Config;
use apnsd::domain::time::Timestamp;
use apnsd::simulator::feedback::command::{FeedbackCommand, FeedbackFault};
use apnsd::simulator::feedback::tuples::FeedbackTuple;
use apnsd::xmlrpc::value::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{APP, World, member, text};

fn quick(config: &mut Config) {
    config.delivery.gateway.settle_after = Duration::from_millis(300);
}

fn list(world: &World, tokens: &[&[u8]], faults: Vec<FeedbackFault>) {
    let entry = |(n, token): (usize, &&[u8])| FeedbackTuple::new(Timestamp::from_secs(1_300_000_000 + n as i64), token);
    let entries = tokens.iter().enumerate().map(entry).collect();
    let command = FeedbackCommand { entries, faults, ..FeedbackCommand::default() };
    world.simulator.feedback(command).unwrap();
}

async fn feedback(world: &World, app: &str) -> Result<Vec<(String, String)>, ClientError> {
    let Value::Array(entries) = world.client.call("feedback", vec![Value::string(app.to_owned())]).await? else {
        panic!("no array")
    };
    let pair = |entry: &Value<'static>| match entry {
        Value::Array(pair) => match &pair[..] {
            [Value::DateTime(time), Value::String(token)] => (time.to_string(), token.to_string()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    Ok(entries.iter().map(pair).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_any_length_come_once_with_their_time() {
    let world = World::with_app(quick).await;
    list(&world, &[&[], &[1; 32], &[2; 64], &[3; 100]], vec![]);
    let found = feedback(&world, APP).await.unwrap();
    let times: Vec<&str> = found.iter().map(|(time, _)| time.as_str()).collect();
    assert_eq!(times, ["2011-03-13T07:06:40", "2011-03-13T07:06:41", "2011-03-13T07:06:42", "2011-03-13T07:06:43"]);
    let tokens: Vec<&str> = found.iter().map(|(_, token)| token.as_str()).collect();
    assert_eq!(tokens, ["", &"01".repeat(32), &"02".repeat(64), &"03".repeat(100)]);
    assert_eq!(feedback(&world, APP).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_names_itself_is_given_the_same_again() {
    let world = World::with_app(quick).await;
    let named = async |id: &'static str| {
        let options = Value::structure(vec![("request_id".into(), Value::string(id))]);
        match world.client.call("feedback", vec![Value::string(APP), options]).await.unwrap() {
            Value::Array(entries) => entries.len(),
            other => panic!("{other:?}"),
        }
    };
    list(&world, &[&[1; 32], &[2; 32]], vec![]);
    assert_eq!(named("lost").await, 2);
    assert_eq!(feedback(&world, APP).await.unwrap(), [], "another caller gets nothing twice");
    assert_eq!(named("another").await, 0);
    list(&world, &[&[3; 32]], vec![]);
    assert_eq!(named("lost").await, 3, "with what has come since");
    assert_eq!(named("later").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_apps_with_one_certificate_both_see_it_and_a_cursor_replays_it() {
    let world = World::with_app(quick).await;
    world.provision_as("other", &world.simulator.certificates().good.pem).await.unwrap();
    list(&world, &[&[1; 32]], vec![]);
    assert_eq!(feedback(&world, APP).await.unwrap().len(), 1);
    assert_eq!(feedback(&world, "other").await.unwrap().len(), 1);
    let after = |cursor: String| {
        let arguments = vec![Value::string(APP), Value::string(cursor)];
        world.client.call("apnsd.feedback", arguments)
    };
    let entries = |page: &Value<'static>| match member(page, "feedback") {
        Value::Array(entries) => entries.len(),
        other => panic!("{other:?}"),
    };
    let page = after("0".to_owned()).await.unwrap();
    assert_eq!((entries(&page), entries(&after("0".to_owned()).await.unwrap())), (1, 1));
    assert_eq!(entries(&after(text(&page, "cursor")).await.unwrap()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tuple_cut_short_keeps_the_whole_ones_before_it() {
    let world = World::with_app(quick).await;
    list(&world, &[&[1; 32], &[2; 32]], vec![FeedbackFault::Cut(38 + 20)]);
    assert_eq!(feedback(&world, APP).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_out_of_reach_is_a_fault_and_never_an_empty_list() {
    let world = World::with_app(quick).await;
    let refuse = FeedbackCommand { refuse_ms: Some(60_000), ..FeedbackCommand::default() };
    world.simulator.feedback(refuse).unwrap();
    match feedback(&world, APP).await {
        Err(ClientError::Fault(500, text)) => {
            assert!(text.starts_with("Connection to the APNS server could not be made."), "{text}");
            assert!(text.contains("refused"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

/// An answer too long for the sockets on its way, of which the caller takes a few bytes and hangs up.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_did_not_leave_whole_is_handed_out_again() {
    const ENTRIES: u32 = 100_000;
    let world = World::with_app(quick).await;
    let token = |n: u32| [n.to_be_bytes(); 8].concat();
    let entries = (0..ENTRIES).map(|n| FeedbackTuple::new(Timestamp::from_secs(1_300_000_000), &token(n))).collect();
    world.simulator.feedback(FeedbackCommand { entries, ..FeedbackCommand::default() }).unwrap();

    let body = "<?xml version='1.0'?><methodCall><methodName>feedback</methodName><params><param><value>\
                <string>app</string></value></param></params></methodCall>";
    let request = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut caller = TcpStream::connect(world.daemon.addresses()[0].to_string()).await.unwrap();
    caller.write_all(request.as_bytes()).await.unwrap();
    let mut beginning = [0; 1000];
    caller.read_exact(&mut beginning).await.unwrap();
    drop(caller);

    assert_eq!(feedback(&world, APP).await.unwrap().len(), ENTRIES as usize);
    assert_eq!(feedback(&world, APP).await.unwrap(), []);
}
