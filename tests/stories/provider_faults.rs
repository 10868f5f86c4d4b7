//! Each fault of the simulated provider API under load: every notification is accepted or rejected with a cause, none is
//! lost or stuck, no limit of open streams is exceeded, and it goes on without a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use apnsd::config::Config;
use apnsd::simulator::journal::request::RequestVerdict;
use apnsd::xmlrpc::value::Value;
use futures_util::StreamExt as _;
use futures_util::stream;

use crate::world::{APP, PATIENCE, World, member, token};

/// Notifications before the fault, during it, and after it.
const BEFORE: usize = 200;
const DURING: usize = 1000;
const AFTER: usize = 300;
/// So many worlds at a time: most of each is waiting.
const TOGETHER: usize = 8;
/// How long a fault lasts.
const LASTS: Duration = Duration::from_secs(2);

/// A fault and the load that meets it.
struct Case {
    name: &'static str,
    /// Commands for the control port.
    commands: &'static [&'static str],
    /// What every tenth token during the fault begins with.
    tenth: &'static str,
    /// The app has a `.p8` key and no certificate.
    key: bool,
}

const fn case(name: &'static str, commands: &'static [&'static str]) -> Case {
    Case { name, commands, tenth: "aa", key: false }
}

const fn with_tenth(tenth: &'static str, case: Case) -> Case {
    Case { tenth, ..case }
}

const fn with_key(case: Case) -> Case {
    Case { key: true, ..case }
}

/// A fault of the provider API on connections that are open and to come.
macro_rules! every {
    ($fault:literal) => {
        &[concat!(r#"{"faults": [{"http2": "#, $fault, r#"}], "connections": "every"}"#)]
    };
}

/// The same on connections that are open.
macro_rules! open {
    ($fault:literal) => {
        &[concat!(r#"{"faults": [{"http2": "#, $fault, r#"}], "connections": "open", "after": 20}"#)]
    };
}

/// A fault of any transport.
macro_rules! stream {
    ($fault:literal) => {
        &[concat!(r#"{"faults": [{"stream": "#, $fault, r#"}], "connections": "open", "gateway": "http2"}"#)]
    };
}

/// A connection that ends, and one that cannot be made.
macro_rules! connect {
    ($fault:literal) => {
        &[
            concat!(r#"{"faults": [{"connect": "#, $fault, r#"}], "connections": {"next": 1}, "gateway": "http2"}"#),
            r#"{"faults": [{"stream": {"close": {"then": "reset"}}}], "connections": "open", "gateway": "http2"}"#,
        ]
    };
}

const CASES: &[Case] = &[
    // H10
    case("limit 1", every!(r#"{"streams": {"limits": [1]}}"#)),
    case("limit 0 for half a second", every!(r#"{"streams": {"limits": [0, 100], "every_ms": 500}}"#)),
    case("limit jumps", every!(r#"{"streams": {"limits": [1000, 1, 5, 0, 500, 2], "every_ms": 20}}"#)),
    case(
        "limit jumps, excess is fatal",
        &[
            r#"{"faults": [{"http2": {"streams": {"limits": [1000, 1, 5, 500], "every": 40}}}, {"http2": "excess_is_fatal"}],
            "connections": "every"}"#,
        ],
    ),
    with_tenth(
        "bad8",
        case(
            "a rejection lowers the limit to 1, a success restores it",
            every!(r#"{"rejection_limit": {"to": 1, "restore": true}}"#),
        ),
    ),
    with_tenth(
        "bad8",
        case(
            "a rejection lowers the limit to 1 for good",
            every!(r#"{"rejection_limit": {"to": 1, "in_flight": "refuse_twice"}}"#),
        ),
    ),
    case("one in 3 refused", every!(r#"{"refuse": {"one_in": 3}}"#)),
    case("one in 3 refused twice", every!(r#"{"refuse": {"one_in": 3, "how": "refuse_twice"}}"#)),
    case("everything refused", every!(r#"{"refuse": {"one_in": 1}}"#)),
    with_key(case("with a key: limit jumps", every!(r#"{"streams": {"limits": [1, 1000, 1, 3], "every": 60}}"#))),
    // H11
    case("GOAWAY", open!(r#"{"go_away": {}}"#)),
    case("GOAWAY, streams on their way are not processed", open!(r#"{"go_away": {"last": "below"}}"#)),
    case("GOAWAY, last stream 0", open!(r#"{"go_away": {"last": "zero"}}"#)),
    case("GOAWAY, last stream 2^31-1", open!(r#"{"go_away": {"last": "max"}}"#)),
    case("GOAWAY twice", open!(r#"{"go_away": {"twice": true}}"#)),
    case("GOAWAY between headers and data", open!(r#"{"go_away": {"before_data": true}}"#)),
    case("GOAWAY, then left open", open!(r#"{"go_away": {"then": "leave_open"}}"#)),
    case("GOAWAY, then ignored", open!(r#"{"go_away": {"then": "ignore", "last": "max"}}"#)),
    case("GOAWAY IdleTimeout", open!(r#"{"go_away": {"debug": "{\"reason\":\"IdleTimeout\"}"}}"#)),
    case("GOAWAY without a reason, ENHANCE_YOUR_CALM", open!(r#"{"go_away": {"code": 11, "debug": ""}}"#)),
    case("GOAWAY with nonsense, PROTOCOL_ERROR", open!(r#"{"go_away": {"code": 1, "debug": "<html>"}}"#)),
    case("GOAWAY INTERNAL_ERROR", open!(r#"{"go_away": {"code": 2}}"#)),
    case(
        "GOAWAY on every connection",
        &[r#"{"faults": [{"http2": {"go_away": {"last": "below"}}}], "connections": "every", "after": 20}"#],
    ),
    // H12
    case("answers late", every!(r#"{"answer": {"how": {"delay": {"fixed_ms": 200}}}}"#)),
    case("answers in any order", every!(r#"{"answer": {"how": {"delay": {"random_ms": {"from": 0, "to": 300}}}}}"#)),
    case("answers in reverse", every!(r#"{"answer": {"how": {"reversed": 10}}}"#)),
    case("one answer in 20 never comes", every!(r#"{"answer": {"how": {"delay": "never"}, "one_in": 20}}"#)),
    case("no answer on this connection", open!(r#"{"answer": {"how": {"delay": "never"}}}"#)),
    case("one in 10 reset: INTERNAL_ERROR", every!(r#"{"answer": {"how": {"reset": 2}, "one_in": 10}}"#)),
    case("one in 10 reset: CANCEL", every!(r#"{"answer": {"how": {"reset": 8}, "one_in": 10}}"#)),
    case("one in 10 reset: ENHANCE_YOUR_CALM", every!(r#"{"answer": {"how": {"reset": 11}, "one_in": 10}}"#)),
    with_tenth("bad8", case("bodies in 5 frames", every!(r#"{"answer": {"how": {"split": 5}}}"#))),
    with_tenth("bad8", case("headers in 4 frames", every!(r#"{"answer": {"how": {"header_frames": 4}}}"#))),
    with_tenth(
        "bad8",
        case("one in 20 without an end", every!(r#"{"answer": {"how": "no_end_stream", "one_in": 20}}"#)),
    ),
    with_tenth("bad8", case("errors without a body", every!(r#"{"answer": {"how": "headers_only"}}"#))),
    with_tenth("bad8", case("errors in HTML", every!(r#"{"answer": {"how": {"body": "<html>Bad</html>"}}}"#))),
    with_tenth("bad8", case("errors that are no JSON", every!(r#"{"answer": {"how": {"body": "{\"reason\":"}}}"#))),
    with_tenth("bad8", case("unknown reasons", every!(r#"{"answer": {"how": {"reason": "NeverHeardOf"}}}"#))),
    with_tenth("bad8", case("wrong content type", every!(r#"{"answer": {"how": {"content_type": "text/html"}}}"#))),
    case("no apns-id", every!(r#"{"answer": {"how": "no_apns_id"}}"#)),
    with_tenth("dead", case("410 without a time", every!(r#"{"answer": {"how": {"timestamp": "absent"}}}"#))),
    with_tenth("dead", case("410 in seconds", every!(r#"{"answer": {"how": {"timestamp": "seconds"}}}"#))),
    with_tenth("dead", case("410 with text", every!(r#"{"answer": {"how": {"timestamp": "text"}}}"#))),
    with_tenth("dead", case("410", &[])),
    // H13
    case("429 for 50 answers", open!(r#"{"status": {"reason": "TooManyRequests", "answers": 50}}"#)),
    case("500 for 50 answers", open!(r#"{"status": {"reason": "InternalServerError", "answers": 50}}"#)),
    case("503 for 50 answers", open!(r#"{"status": {"reason": "ServiceUnavailable", "answers": 50}}"#)),
    case(
        "503 with Retry-After",
        open!(r#"{"status": {"reason": "ServiceUnavailable", "answers": 50, "retry_after": "1"}}"#),
    ),
    case("503 Shutdown", open!(r#"{"status": {"reason": "Shutdown", "answers": 50}}"#)),
    case("500 to everything on this connection", open!(r#"{"wedge": "now"}"#)),
    with_key(case(
        "expired provider token, then 500 to everything",
        &[r#"{"faults": [{"http2": {"wedge": "after_expired_token"}},
                       {"http2": {"status": {"reason": "ExpiredProviderToken", "answers": 1}}}], "connections": "open"}"#],
    )),
    with_key(case(
        "expired provider token that sticks",
        &[r#"{"faults": [{"http2": {"wedge": "expired_token_sticks"}},
                       {"http2": {"status": {"reason": "ExpiredProviderToken", "answers": 1}}}], "connections": "open"}"#],
    )),
    with_key(case(
        "too many provider token updates",
        open!(r#"{"status": {"reason": "TooManyProviderTokenUpdates", "answers": 5}}"#),
    )),
    // H14
    with_tenth("bad8", case("closed after 5 bad tokens", every!(r#"{"error_budget": {"bad_tokens": 5}}"#))),
    // H15
    case("connection reset", stream!(r#"{"close": {"then": "reset"}}"#)),
    case("connection closed", stream!(r#"{"close": {"then": "fin"}}"#)),
    case("nothing is read any more", stream!(r#""stop_reading""#)),
    case("slow reading", stream!(r#"{"throttle": 200000}"#)),
    case("PINGs unanswered", every!(r#""pings_unanswered""#)),
    case("PINGs", every!(r#""ping""#)),
    case(
        "late SETTINGS",
        &[
            r#"{"faults": [{"http2": {"settings_late": 300}}], "connections": {"next": 1}}"#,
            r#"{"faults": [{"stream": {"close": {"then": "reset"}}}], "connections": "open", "gateway": "http2"}"#,
        ],
    ),
    case(
        "no SETTINGS",
        &[
            r#"{"faults": [{"http2": {"settings_late": null}}, {"http2": "pings_unanswered"}], "connections": {"next": 1}}"#,
            r#"{"faults": [{"stream": {"close": {"then": "reset"}}}], "connections": "open", "gateway": "http2"}"#,
        ],
    ),
    case("window 0 for half a second", every!(r#"{"initial_window": {"bytes": 0, "ms": 500}}"#)),
    case("window 10", every!(r#"{"initial_window": {"bytes": 10, "ms": 500}}"#)),
    case("windows of streams withheld", every!(r#"{"withhold_window": "stream"}"#)),
    case("window of the connection withheld", open!(r#"{"withhold_window": "connection"}"#)),
    case(
        "no table for headers",
        &[
            r#"{"faults": [{"http2": {"header_table_size": 0}}], "connections": "every"}"#,
            r#"{"faults": [{"stream": {"close": {"then": "reset"}}}], "connections": "open", "gateway": "http2"}"#,
        ],
    ),
    case("accepts nothing", connect!(r#""accept_nothing""#)),
    case("handshake stalls", connect!(r#""stall""#)),
    case(
        "refused for a second",
        &[
            r#"{"refuse_ms": 1000, "gateway": "http2"}"#,
            r#"{"faults": [{"stream": {"close": {"then": "reset"}}}], "connections": "open", "gateway": "http2"}"#,
        ],
    ),
    // H16
    case("accepted, then reset", open!(r#"{"lose_answer": {"then": "reset"}}"#)),
    case("accepted, then closed", open!(r#"{"lose_answer": {"then": "clean"}}"#)),
    // H17
    case("another root", connect!(r#"{"server_certificate": "other_root"}"#)),
];

fn impatient(config: &mut Config) {
    config.delivery.gateway.request_deadline = Duration::from_secs(1);
    config.delivery.gateway.goaway_drain = Duration::from_secs(1);
    config.delivery.connect_timeout = Duration::from_secs(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_under_load_loses_nothing_and_passes_without_a_restart() {
    let wanted = std::env::var("APNSD_TEST_FAULT").unwrap_or_default();
    let cases = CASES.iter().filter(|case| case.name.contains(&wanted));
    let mut lines = stream::iter(cases.map(|case| async { (case.name, under_load(case).await) })).buffered(TOGETHER);
    println!("{:<60} accepted copies rejected connections GOAWAYs", "fault");
    let mut failures = Vec::new();
    while let Some((name, outcome)) = lines.next().await {
        match outcome {
            Ok(line) => println!("{name:<60} {line}"),
            Err(failure) => {
                println!("{name:<60} {failure}");
                failures.push(name);
            }
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}

/// Runs one fault; a line about what happened, or what went wrong.
async fn under_load(case: &Case) -> Result<String, String> {
    let Case { name: _, commands, tenth, key } = case;
    let world = World::over_http2(impatient).await;
    match key {
        true => world.provision_key(APP).await.unwrap(),
        false => world.provision(&world.simulator.certificates().good.pem).await.unwrap(),
    }
    let mut sent = Vec::new();
    send(&world, "aa", BEFORE, &mut sent).await;
    settled(&world).await?;
    commands.iter().for_each(|command| world.faults(command));
    send(&world, tenth, DURING, &mut sent).await;
    // The fault lasts, whether it has been worked off or not.
    world.clock.sleep(LASTS).await;
    world.simulator.script().clear();
    send(&world, "aa", AFTER, &mut sent).await;
    settled(&world).await?;

    let summary = world.simulator.journal().summary().http2;
    check((summary.excess, summary.violations) == (0, 0), || format!("broke the rules: {summary:?}"))?;
    let mut accepted: BTreeMap<String, u32> = BTreeMap::new();
    for request in world.requests().iter().filter(|request| request.verdict == RequestVerdict::Accepted) {
        let token = apnsd::domain::token::token_hex(request.token.as_deref().unwrap_or_default());
        *accepted.entry(token).or_default() += 1;
    }
    let rejections = world.rejections_now().await;
    let rejected: BTreeSet<&String> = rejections.iter().map(|(token, _)| token).collect();
    check(rejected.len() == rejections.len(), || "rejected twice".to_owned())?;
    let lost: Vec<&String> =
        sent.iter().filter(|token| !accepted.contains_key(*token) && !rejected.contains(token)).collect();
    check(lost.is_empty(), || format!("{} lost, the first is {:?}", lost.len(), lost.first()))?;
    let after = &sent[BEFORE + DURING..];
    check(after.iter().all(|token| accepted.contains_key(token)), || "it does not go on".to_owned())?;
    let mut reasons: BTreeMap<&str, u32> = BTreeMap::new();
    rejections.iter().for_each(|(_, reason)| *reasons.entry(reason).or_default() += 1);
    let copies: u32 = accepted.values().map(|count| count - 1).sum();
    Ok(format!(
        "{:>8} {copies:>6} {:>8} {:>11} {:>7} {reasons:?}",
        accepted.len(),
        rejections.len(),
        summary.connections,
        summary.go_aways
    ))
}

fn check(is_right: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if is_right { Ok(()) } else { Err(wrong()) }
}

/// Waits until nothing waits for anything.
async fn settled(world: &World) -> Result<(), String> {
    // A row that a fault meets three times waits for a minute.
    let deadline = world.clock.now() + 2 * PATIENCE;
    loop {
        let status = world.client.call("apnsd.status", vec![Value::string(APP)]).await;
        let status = status.map_err(|error| error.to_string())?;
        if ["waiting", "in_flight", "deferred"].iter().all(|name| member(&status, name) == &Value::Int(0)) {
            return Ok(());
        }
        if world.clock.now() > deadline {
            return Err(format!("stuck: {status:?}"));
        }
        world.clock.sleep(Duration::from_millis(20)).await;
    }
}

/// Sends so many in calls of 50, every tenth with another beginning.
async fn send(world: &World, tenth: &str, count: usize, sent: &mut Vec<String>) {
    let first = sent.len();
    sent.extend((first..first + count).map(|number| token(if number % 10 == 9 { tenth } else { "aa" }, number)));
    for call in sent[first..].chunks(50) {
        world.notify(call).await.unwrap();
    }
}
