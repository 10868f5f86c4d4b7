//! `trace`.

use serde_json::Value as Json;

use crate::shell::{array, ask, members, run, stderr};
use crate::world::World;

#[test]
fn events_are_a_table_and_a_prefix_can_be_copied_from_a_log() {
    let time = "<dateTime.iso8601>20110313T07:06:40</dateTime.iso8601>";
    let event = |event: &str, more: &[(&str, &str)]| {
        let known = [("timestamp", time), ("app_id", "myapp"), ("token", "0badcafe…"), ("event", event)];
        members(&[&known, more].concat())
    };
    let reason = [("reason", "InvalidToken"), ("status", "<int>8</int>"), ("text", "invalid token (8)")];
    let row = [("batch", "17"), ("row", "<int>3</int>")];
    let events = array(&[event("rejected", &[&reason[..], &row].concat()), event("due", &[("due", time)])]);
    let (printed, asked) = ask(&["trace", "0badcafe…", "--limit", "7"], &events);
    assert_eq!(
        printed,
        "\
TIMESTAMP                APP ID  TOKEN      EVENT     REASON             DUE                      BATCH  ROW
2011-03-13 07:06:40 UTC  myapp   0badcafe…  rejected  invalid token (8)                           17       3
2011-03-13 07:06:40 UTC  myapp   0badcafe…  due                          2011-03-13 07:06:40 UTC
"
    );
    let expected = "<methodName>apnsd.trace</methodName><params><param><value><string>0badcafe</string></value>\
        </param><param><value><int>7</int></value></param></params>";
    assert!(asked.contains(expected), "{asked}");
}

#[test]
fn nothing_known_is_said_and_a_bad_limit_refused() {
    assert_eq!(ask(&["trace", "0bad"], &array(&[])).0, "nothing is known of tokens that begin with 0bad\n");
    assert_eq!(ask(&["trace", "0bad", "--json"], &array(&[])).0, "[]\n");
    let output = run(&["trace", "0bad", "--limit", "all"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("a limit is a whole number from 1 to 10000"), "{output:?}");
}

#[test]
fn a_notification_is_found_by_the_beginning_of_its_token_wherever_it_is() {
    let world = World::start();
    world.done(&["provision", "myapp", world.certificate().to_str().unwrap(), "sandbox-binary"]);
    world.done(&["pause", "myapp"]);
    let [token, other] = ["0badcafe", "0badcaff"].map(|digits| digits.repeat(8));
    world.done(&["notify", "myapp", "--token", &token, "--token", &other, "--alert", "Hello"]);
    let events = || serde_json::from_str::<Json>(&world.done(&["trace", "0badcafe…", "--json"])).unwrap();
    let waiting = events();
    assert_eq!(waiting.as_array().unwrap().len(), 1, "{waiting}");
    assert_eq!((&waiting[0]["event"], &waiting[0]["app_id"]), (&"waiting".into(), &"myapp".into()));
    assert_eq!(waiting[0]["token"], "0badcafe…");
    world.done(&["queue", "purge", "myapp", "--yes"]);
    let rejected = events();
    assert_eq!(rejected.as_array().unwrap().len(), 1, "{rejected}");
    assert_eq!((&rejected[0]["event"], &rejected[0]["reason"]), (&"rejected".into(), &"Purged".into()));

    let output = world.run(&["trace", "0ba"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("prefix: a token is given by its first 4 to 200 hex digits"), "{output:?}");
    assert_eq!(world.run(&["trace", "0badcafe", "--limit", "0"]).status.code(), Some(4));
}
