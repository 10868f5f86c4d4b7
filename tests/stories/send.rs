//! `apnsd.send`: callers who wait for outcomes, over the binary gateway, which says nothing for success, and over the
//! provider API, which answers each notification.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use apnsd::client::ClientError;
use apnsd::config::Config;
use apnsd::simulator::script::Command;
use apnsd::simulator::script::fault::StreamFault;
use apnsd::store::Kind;
use apnsd::xmlrpc::value::Value;

use crate::world::{APP, PATIENCE, World, alert, cause, member, text, thirteen, token};

fn settle_after(span: Duration) -> impl FnOnce(&mut Config) {
    move |config| config.delivery.gateway.settle_after = span
}

/// Calls with these tokens and options; the rows of the answer.
async fn send(
    world: &World,
    tokens: &[String],
    options: &[(&'static str, Value<'static>)],
) -> Result<Vec<Value<'static>>, ClientError> {
    let tokens = Value::Array(tokens.iter().cloned().map(Value::string).collect());
    let options = Value::Struct(options.iter().map(|(name, value)| ((*name).into(), value.clone())).collect());
    let arguments = vec![Value::string(APP), tokens, alert("now"), options];
    match world.client.call("apnsd.send", arguments).await? {
        Value::Array(rows) => Ok(rows),
        other => panic!("no array: {other:?}"),
    }
}

fn outcomes(rows: &[Value<'static>]) -> Vec<String> {
    rows.iter().map(|row| text(row, "outcome")).collect()
}

/// The same of a call that would wait for a minute, where nothing is worth waiting for.
async fn send_within_patience(world: &World, tokens: &[String]) -> Vec<Value<'static>> {
    let answer = send(world, tokens, &[("timeout", Value::Int(60))]);
    tokio::time::timeout(PATIENCE / 2, answer).await.expect("nobody waits in vain").unwrap()
}

/// How often each of these tokens was accepted.
fn times(world: &World, tokens: &[String]) -> Vec<u32> {
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    world.accepted().into_iter().for_each(|token| *times.entry(token).or_default() += 1);
    tokens.iter().map(|token| times.get(token).copied().unwrap_or(0)).collect()
}

/// The first connection takes what waits slowly; the second one is not behind it.
#[tokio::test(flavor = "multi_thread")]
async fn thirteen_with_one_bad_are_answered_while_fifty_thousand_wait() {
    let world = World::with_app(settle_after(Duration::from_secs(5))).await;
    world.wait_until_state("connected").await;
    world.simulator.script().command(Command::open([StreamFault::Throttle(50_000)])).unwrap();
    let bulk: Vec<String> = (0..50_000).map(|number| token("bb", number)).collect();
    world.notify(&bulk).await.unwrap();

    let tokens = thirteen("bad8");
    let rows = send(&world, &tokens, &[]).await.unwrap();
    let mut expected = vec!["accepted"; 13];
    expected[6] = "rejected";
    assert_eq!(outcomes(&rows), expected);
    let bad = &rows[6];
    assert_eq!((text(bad, "token"), text(bad, "reason")), (tokens[6].clone(), "InvalidToken".to_owned()));
    assert_eq!((member(bad, "status"), member(bad, "retry")), (&Value::Int(8), &Value::Boolean(false)));
    let ids: BTreeSet<String> = rows.iter().map(|row| text(row, "id")).collect();
    assert!(ids.len() == 13 && ids.iter().all(|id| id.len() == 36), "{ids:?}");

    let status = world.client.call("apnsd.status", vec![Value::string(APP)]).await.unwrap();
    assert!(world.simulator.journal().summary().accepted < 50_000, "the others wait all the while: {status:?}");
    assert_eq!(text(&status, "state"), "connected", "the first connection stands");
    assert_eq!(world.rejections(1).await, [(tokens[6].clone(), "InvalidToken".to_owned())]);
    assert_eq!(times(&world, &tokens).iter().sum::<u32>(), 12, "nothing was sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_after_the_other_each_is_proven() {
    let world = World::with_app(settle_after(Duration::from_secs(60))).await;
    for number in 0..3 {
        let rows = send(&world, &[token("aa", number)], &[]).await.unwrap();
        assert_eq!(outcomes(&rows), ["accepted"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_gateway_is_down_rows_are_queued_and_go_out_later_exactly_once() {
    let world = World::start(settle_after(Duration::from_millis(300))).await;
    world.simulator.script().command(Command::refuse(2000)).unwrap();
    world.provision(&world.simulator.certificates().good.pem).await.unwrap();
    let tokens = [token("aa", 1), token("aa", 2)];
    world.wait_until_status(|status| cause(status).contains("refused")).await;
    let rows = send(&world, &tokens, &[("timeout", Value::Double(0.1))]).await.unwrap();
    assert_eq!(outcomes(&rows), ["queued", "queued"]);
    assert!(rows.iter().all(|row| member(row, "retry") == &Value::Boolean(false)));
    assert!(rows.iter().all(|row| text(row, "cause").contains("Connection refused")), "{rows:?}");
    world.wait_until_arrived(&tokens).await;
    world.wait_until_status(|status| member(status, "delivered") == &Value::Int(2)).await;
    assert_eq!(times(&world, &tokens), [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_second_connection_is_to_be_had_the_first_one_sends_them() {
    let world = World::with_app(settle_after(Duration::from_millis(300))).await;
    world.wait_until_state("connected").await;
    world.simulator.script().command(Command::refuse(60_000)).unwrap();
    for number in 0..2 {
        let tokens = [token("aa", number)];
        assert_eq!(outcomes(&send(&world, &tokens, &[]).await.unwrap()), ["presumed"]);
        assert_eq!(times(&world, &tokens), [1]);
    }
    assert_eq!(cause(&world.wait_until_state("connected").await), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_makes_the_gateway_close_without_a_word_is_found_among_the_others() {
    let world = World::with_app(settle_after(Duration::from_millis(300))).await;
    let rows = send(&world, &thirteen("badc"), &[("timeout", Value::Int(60))]).await.unwrap();
    let good = |outcome: &String| outcome == "accepted" || outcome == "presumed";
    assert!(outcomes(&rows).iter().enumerate().all(|(at, outcome)| good(outcome) == (at != 6)), "{rows:?}");
    assert_eq!((text(&rows[6], "outcome"), text(&rows[6], "reason")), ("rejected".into(), "ConnectionClosed".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_to_a_paused_app_is_queued_and_goes_out_when_it_resumes() {
    let world = World::with_app(settle_after(Duration::from_secs(60))).await;
    world.client.call("apnsd.pause", vec![Value::string(APP)]).await.unwrap();
    let tokens = [token("aa", 1)];
    let rows = send_within_patience(&world, &tokens).await;
    assert_eq!(outcomes(&rows), ["queued"]);
    assert_eq!(text(&rows[0], "cause"), format!("paused by an operator: `apnsd resume {APP}` sends again"));
    world.client.call("apnsd.resume", vec![Value::string(APP)]).await.unwrap();
    let status = world.wait_until_status(|status| member(status, "delivered") == &Value::Int(1)).await;
    assert_eq!(member(&status, "waiting"), &Value::Int(0));
    assert_eq!(times(&world, &tokens), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_send_sends_nothing_and_says_so() {
    let world = World::with_app(settle_after(Duration::from_secs(5))).await;
    let tokens = [token("aa", 1)];
    let request_id = [("request_id", Value::string("order-7"))];
    assert_eq!(outcomes(&send(&world, &tokens, &request_id).await.unwrap()), ["accepted"]);
    let again = send(&world, &tokens, &request_id).await.unwrap();
    assert_eq!(outcomes(&again), ["repeated"]);
    assert_eq!(times(&world, &tokens), [1]);
    let other = send(&world, &[token("aa", 2)], &request_id).await;
    assert!(matches!(&other, Err(ClientError::Fault(8002, _))), "{other:?}");
}

/// A call that waits for outcomes for a minute, on a client of its own.
fn waiting(world: &World, tokens: &[String]) -> impl Future<Output = Result<Value<'static>, ClientError>> + use<> {
    let (client, tokens) = (world.client.clone(), tokens.iter().cloned().map(Value::string).collect());
    let timeout = Value::structure(vec![("timeout".into(), Value::Int(60))]);
    async move {
        let arguments = vec![Value::string(APP), Value::Array(tokens), alert("now"), timeout];
        client.call("apnsd.send", arguments).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_stops_answers_who_waits_and_keeps_what_waits() {
    let world = World::start(settle_after(Duration::from_secs(5))).await;
    world.simulator.script().command(Command::refuse(60_000)).unwrap();
    world.provision(&world.simulator.certificates().good.pem).await.unwrap();
    let tokens = [token("aa", 1)];
    let waits = waiting(&world, &tokens);
    let restarted = async {
        world.wait_until_status(|status| member(status, "waiting") == &Value::Int(1)).await;
        world.restarted().await
    };
    let (answer, world) = tokio::join!(waits, restarted);
    let Ok(Value::Array(rows)) = answer else { panic!("{answer:?}") };
    assert_eq!(outcomes(&rows), ["queued"]);
    world.simulator.script().clear();
    world.client.call("apnsd.resume", vec![Value::string(APP)]).await.unwrap();
    world.wait_until_arrived(&tokens).await;
}

/// Wherever the stop meets it: before the second connection, on it, or between the first and the one after the bad row.
#[tokio::test(flavor = "multi_thread")]
async fn in_memory_a_stop_sends_what_callers_wait_for() {
    let in_memory = |config: &mut Config| config.store.kind = Kind::Memory;
    for _ in 0..3 {
        let world = World::with_app(in_memory).await;
        let waits = waiting(&world, &thirteen("bad8"));
        let stopped = async {
            world.wait_until_status(|status| member(status, "accepted") == &Value::Int(13)).await;
            world.stop().await
        };
        let (answer, (simulator, stopped)) = tokio::join!(waits, stopped);
        assert!(answer.is_ok(), "{answer:?}");
        assert_eq!((stopped.lost, stopped.in_time), (0, true));
        assert_eq!(simulator.journal().summary().accepted, 12);
    }
}

/// Those who wait hold up no new certificate, and none of them is lost to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_takes_over_while_callers_wait() {
    let world = World::with_app(settle_after(Duration::from_secs(60))).await;
    let bundle_id = "com.example.app";
    let sends = async {
        for number in 0..20 {
            assert_eq!(outcomes(&send(&world, &[token("aa", number)], &[]).await.unwrap()), ["accepted"]);
        }
    };
    let replacements = async {
        for _ in 0..3 {
            world.replace(bundle_id).await.unwrap();
        }
    };
    tokio::join!(sends, replacements);
    let tokens: Vec<String> = (0..20).map(|number| token("aa", number)).collect();
    assert_eq!(times(&world, &tokens), [1; 20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_has_the_same_faults_and_no_effect() {
    let world = World::with_app(|_| {}).await;
    let call = async |method: &'static str, tokens: Value<'static>| {
        world.client.call(method, vec![Value::string(APP), tokens, alert("hi")]).await
    };
    let wrong = Value::Array(vec![Value::string(token("aa", 1)), Value::string("12")]);
    let (dry, real) = (call("apnsd.validate", wrong.clone()).await, call("notify", wrong).await);
    assert!(matches!(&dry, Err(ClientError::Fault(8002, _))), "{dry:?}");
    assert_eq!(format!("{dry:?}"), format!("{real:?}"));

    let good = Value::Array(vec![Value::string(token("aa", 1)), Value::string(token("aa", 2))]);
    let answer = call("apnsd.validate", good).await.unwrap();
    let numbers = ["notifications", "payloads", "payload_bytes"].map(|name| member(&answer, name).clone());
    assert_eq!(numbers, [Value::Int(2), Value::Int(1), Value::Int(22)]);
    assert_eq!((text(&answer, "protocol"), text(&answer, "environment")), ("binary".into(), "sandbox-binary".into()));
    let status = world.client.call("apnsd.status", vec![Value::string(APP)]).await.unwrap();
    assert_eq!(member(&status, "accepted"), &Value::Int(0));
}

/// The provider API takes what waits one by one; who waits for an outcome is not behind it.
#[tokio::test(flavor = "multi_thread")]
async fn over_the_provider_api_each_is_answered_with_its_own_outcome() {
    let world = World::over_http2(|_| ()).await;
    world.provision(&world.simulator.certificates().good.pem).await.unwrap();
    world.wait_until_state("connected").await;
    world.faults(
        r#"{"faults": [{"http2": {"streams": {"limits": [1]}}}, {"http2": {"answer": {"how": {"delay": {"fixed_ms": 5}}}}}],
            "connections": "open"}"#,
    );
    let bulk: Vec<String> = (0..50_000).map(|number| token("bb", number)).collect();
    world.notify(&bulk).await.unwrap();

    let tokens = [token("aa", 1), token("bad8", 2), token("dead", 3), token("ee28", 4)];
    let rows = send(&world, &tokens, &[("timeout", Value::Int(20))]).await.unwrap();
    assert_eq!(outcomes(&rows), ["accepted", "rejected", "rejected", "queued"]);
    let told =
        |row: &Value<'static>| (text(row, "reason"), member(row, "status").clone(), member(row, "retry").clone());
    let expected = |reason: &str, status, retry| (reason.to_owned(), Value::Int(status), Value::Boolean(retry));
    assert_eq!(told(&rows[1]), expected("BadDeviceToken", 400, false));
    assert_eq!(told(&rows[2]), expected("Unregistered", 410, false));
    assert_eq!(told(&rows[3]), expected("TooManyRequests", 429, true));
    assert!(matches!(member(&rows[2], "timestamp"), Value::DateTime(_)));
    let requests = world.requests();
    assert!(requests.len() < 25_000, "the others wait all the while: {}", requests.len());
    for (row, token) in rows.iter().zip(&tokens) {
        let of_token = requests
            .iter()
            .find(|request| request.token.as_deref().map(apnsd::domain::token::token_hex).as_ref() == Some(token));
        assert_eq!(of_token.unwrap().apns_id, text(row, "id"), "the id is Apple's too");
    }
}

/// What a queued row says of the provider's last answer.
fn told(row: &Value<'static>) -> (String, String, Value<'static>, Value<'static>) {
    (text(row, "outcome"), text(row, "reason"), member(row, "status").clone(), member(row, "retry").clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_the_provider_refuses_answers_at_once_with_the_reason() {
    for (reason, status) in [("InvalidProviderToken", 403), ("BadTopic", 400), ("BadCertificateEnvironment", 403)] {
        let world = World::over_http2(|_| ()).await;
        world.provision(&world.simulator.certificates().good.pem).await.unwrap();
        world.wait_until_state("connected").await;
        world.faults(&format!(
            r#"{{"faults": [{{"http2": {{"status": {{"reason": "{reason}", "answers": 9}}}}}}], "connections": "every"}}"#
        ));
        let tokens = [token("aa", 1)];
        let rows = send_within_patience(&world, &tokens).await;
        let expected = ("queued".to_owned(), reason.to_owned(), Value::Int(status), Value::Boolean(true));
        assert_eq!(told(&rows[0]), expected);
        let cause = text(&rows[0], "cause");
        assert!(cause.starts_with("the gateway refuses this app: ") && cause.contains(reason), "{cause}");
        let status = world.wait_until_state("paused").await;
        assert_eq!(text(&status, "cause"), cause);
        assert_eq!(member(member(&status, "retries"), reason), &Value::Int(1), "{status:?}");
        let trace = world.client.call("apnsd.trace", vec![Value::string(tokens[0].clone())]).await.unwrap();
        let Value::Array(events) = trace else { panic!("{trace:?}") };
        assert_eq!((text(&events[0], "event"), text(&events[0], "reason")), ("retried".into(), reason.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_gateway_too_can_refuse_an_app() {
    let world = World::with_app(settle_after(Duration::from_secs(60))).await;
    let rows = send_within_patience(&world, &[token("bad3", 1)]).await;
    let expected = ("queued".to_owned(), "MissingTopic".to_owned(), Value::Int(3), Value::Boolean(true));
    assert_eq!(told(&rows[0]), expected);
    assert!(text(&rows[0], "cause").starts_with("the gateway refuses this app: missing topic (3)"), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pauses_or_removes_an_app_answers_those_who_wait() {
    for (method, expected) in [("apnsd.pause", "queued"), ("apnsd.deprovision", "rejected")] {
        let world = World::start(|_| ()).await;
        world.simulator.script().command(Command::refuse(120_000)).unwrap();
        world.provision(&world.simulator.certificates().good.pem).await.unwrap();
        let tokens = [token("aa", 1)];
        let stopped = async {
            world.wait_until_status(|status| member(status, "waiting") == &Value::Int(1)).await;
            world.client.call(method, vec![Value::string(APP)]).await.unwrap();
        };
        let (rows, ()) = tokio::join!(send_within_patience(&world, &tokens), stopped);
        assert_eq!(outcomes(&rows), [expected], "{method}");
        match expected {
            "queued" => assert!(text(&rows[0], "cause").starts_with("paused by an operator"), "{rows:?}"),
            _ => assert_eq!(text(&rows[0], "reason"), "Deprovisioned"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_gateway_is_not_to_be_trusted_those_who_wait_hear_of_it() {
    let world = World::over_http2(|_| ()).await;
    world.faults(r#"{"faults": [{"connect": {"server_certificate": "other_root"}}], "connections": "every"}"#);
    world.provision(&world.simulator.certificates().good.pem).await.unwrap();
    let status = world.wait_until_status(|status| cause(status).contains("cannot be trusted")).await;
    let rows = send(&world, &[token("aa", 1)], &[("timeout", Value::Double(0.2))]).await.unwrap();
    assert_eq!((outcomes(&rows), text(&rows[0], "cause")), (vec!["queued".to_owned()], cause(&status)));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_connection_is_made_those_who_wait_hear_of_it() {
    let world = World::over_http2(|_| ()).await;
    world.faults(r#"{"faults": [{"connect": "stall"}], "connections": "every"}"#);
    world.provision(&world.simulator.certificates().good.pem).await.unwrap();
    let status = world.wait_until_state("connecting").await;
    let rows = send(&world, &[token("aa", 1)], &[("timeout", Value::Double(0.1))]).await.unwrap();
    let expected = (vec!["queued".to_owned()], format!("connecting to {}", text(&status, "gateway")));
    assert_eq!((outcomes(&rows), text(&rows[0], "cause")), expected);
}

/// What a notification is sent with is what a dry run shows.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_what_is_sent() {
    let world = World::over_http2(|_| ()).await;
    world.provision(&world.simulator.certificates().good.pem).await.unwrap();
    let silent = Value::structure(vec![("content-available".into(), Value::Int(1))]);
    let payloads = [alert("hi"), Value::structure(vec![("aps".into(), silent)])];
    let push_types =
        [None, Some("alert"), Some("background"), Some("voip"), Some("liveactivity"), Some("complication")];
    let options = push_types.map(|push_type| match push_type {
        Some(push_type) => vec![("push_type".into(), Value::string(push_type))],
        None => Vec::new(),
    });
    let own = vec![("topic".into(), Value::string("com.example.app.voip")), ("expiration".into(), Value::Int(0))];
    for (number, (options, payload)) in options
        .into_iter()
        .chain([own])
        .flat_map(|options| payloads.clone().map(|payload| (options.clone(), payload)))
        .enumerate()
    {
        let token = token("aa", number);
        let arguments = || {
            vec![Value::string(APP), Value::string(token.clone()), payload.clone(), Value::structure(options.clone())]
        };
        let dry = world.client.call("apnsd.validate", arguments()).await.unwrap();
        world.client.call("apnsd.send", arguments()).await.unwrap();
        let request = world.requests().pop().unwrap();
        let sent = [request.topic, request.push_type, request.priority].map(Option::unwrap_or_default);
        let shown = member(&dry, "options");
        let Value::Int(priority) = member(shown, "priority") else { panic!("{dry:?}") };
        assert_eq!([text(shown, "topic"), text(shown, "push_type"), priority.to_string()], sent, "{options:?}");
        let Value::Int(expiration) = member(shown, "expiration") else { panic!("{dry:?}") };
        // The default is a day from the call.
        let sent: i64 = request.expiration.unwrap().parse().unwrap();
        assert!((sent - expiration).abs() <= 60, "{sent} and {expiration}");
    }
}
