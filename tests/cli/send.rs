//! `send`, and the dry run of `notify`.

use crate::shell::{Daemon, apnsd, array, ask, members, run, stderr, stdout};
use crate::world::World;

fn row(token: &str, outcome: &str, more: &[(&str, &str)]) -> String {
    let first = [("token", token), ("outcome", outcome), ("retry", "<boolean>0</boolean>")];
    members(&[&first, more].concat())
}

#[test]
fn a_send_asks_for_outcomes_and_shows_them() {
    let answer = array(&[row("aa", "accepted", &[("id", "1-2")]), row("bb", "presumed", &[("id", "1-3")])]);
    let (printed, asked) =
        ask(&["send", "myapp", "--token", "aa", "--token", "bb", "--alert", "Hi", "--wait", "2500ms"], &answer);
    assert_eq!(
        printed,
        "\
TOKEN  OUTCOME   ID
aa     accepted  1-2
bb     presumed  1-3
"
    );
    let expected = "<methodName>apnsd.send</methodName><params><param><value><string>myapp</string></value></param>\
        <param><value><array><data><value><string>aa</string></value><value><string>bb</string></value></data></array>\
        </value></param><param><value><string>{\"aps\":{\"alert\":\"Hi\"}}</string></value></param>\
        <param><value><struct><member><name>timeout</name><value><double>2.5</double></value></member></struct></value>\
        </param></params>";
    assert!(asked.contains(expected), "{asked}");
}

#[test]
fn the_exit_code_says_the_worst_of_the_outcomes() {
    let status = ("status", "<int>8</int>");
    let rejected = row("bb", "rejected", &[("reason", "InvalidToken"), status]);
    for (rows, code) in [
        (vec![row("aa", "accepted", &[]), rejected.clone(), row("cc", "queued", &[])], 5),
        (vec![row("aa", "expired", &[])], 5),
        (vec![row("aa", "accepted", &[]), row("cc", "queued", &[])], 6),
        (vec![row("aa", "repeated", &[])], 6),
    ] {
        let daemon = Daemon::answering(&array(&rows));
        let output =
            apnsd(&["send", "myapp", "--token", "aa", "--alert", "Hi"]).env("APNSD_URL", &daemon.url).output().unwrap();
        daemon.request();
        assert_eq!((output.status.code(), stderr(&output)), (Some(code), ""), "{rows:?}");
        assert_eq!(stdout(&output).contains("bb     rejected  InvalidToken       8"), rows.contains(&rejected));
    }
}

#[test]
fn what_keeps_the_app_from_sending_is_said_once_below_the_table() {
    let refused = [("reason", "InvalidProviderToken"), ("status", "<int>403</int>"), ("cause", "no & key")];
    let rows = array(&[row("aa", "queued", &refused), row("bb", "queued", &[("cause", "no & key")])]);
    let daemon = Daemon::answering(&rows.replace('&', "&amp;"));
    let output =
        apnsd(&["send", "myapp", "--token", "aa", "--alert", "Hi"]).env("APNSD_URL", &daemon.url).output().unwrap();
    daemon.request();
    assert_eq!((output.status.code(), stderr(&output)), (Some(6), ""));
    assert_eq!(
        stdout(&output),
        "\
TOKEN  OUTCOME  REASON                STATUS
aa     queued   InvalidProviderToken     403
bb     queued

still queued: no & key
"
    );
}

#[test]
fn a_wait_that_is_too_long_is_named_as_it_was_given() {
    let output = run(&["send", "myapp", "--token", "aa", "--alert", "Hi", "--wait", "2m"]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("'2m' for '--wait <DURATION>': at most 60s are possible"), "{said}");
}

#[test]
fn a_send_to_the_simulator_is_accepted_and_a_dry_run_has_no_effect() {
    let world = World::start();
    let certificate = world.certificate();
    world.done(&["provision", "myapp", certificate.to_str().unwrap(), "sandbox"]);
    let token = "aa".repeat(32);
    let said = world.done(&["notify", "myapp", "--token", &token, "--alert", "Hello", "--dry-run"]);
    assert!(said.starts_with("notifications  1\npayloads       1\npayload bytes  25\n"), "{said}");
    assert!(world.done(&["queue"]).contains("myapp         0"), "nothing waits");

    let said = world.done(&["send", "myapp", "--token", &token, "--alert", "Hello"]);
    assert!(said.contains(&format!("{token}  accepted  ")), "{said}");
    let bad = format!("bad8{}", "0".repeat(60));
    let output = world.run(&["send", "myapp", "--token", &token, "--token", &bad, "--alert", "Hello", "--json"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(5), ""));
    let rows: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!((&rows[0]["outcome"], &rows[1]["outcome"]), (&"accepted".into(), &"rejected".into()));
    assert_eq!((&rows[1]["status"], &rows[1]["reason"]), (&400.into(), &"BadDeviceToken".into()));
}
