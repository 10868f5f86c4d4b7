//! `status`: all apps and the daemon itself, once or again and again.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::shell::{answer, apnsd, array, ask, members, read_request, stderr, stdout};
use crate::world::World;

/// The daemon as it tells of itself, with one app.
fn daemon() -> String {
    let time = "<dateTime.iso8601>20110313T07:06:40</dateTime.iso8601>";
    let app = members(&[("app_id", "shop"), ("state", "idle"), ("can_send", "<boolean>1</boolean>")]);
    members(&[
        ("ready", "<boolean>1</boolean>"),
        ("version", "0.1.0"),
        ("started", time),
        ("now", time),
        ("accepted_means", "on disk"),
        ("addresses", &array(&["127.0.0.1:7077".to_owned()])),
        ("apps", &array(&[app])),
    ])
}

const PAGE: [&str; 6] = [
    "ready: accepts calls on 127.0.0.1:7077",
    "apnsd 0.1.0, up for 0 s; accepted means: on disk",
    "1 app, which can send; 0 waiting, 0 in flight; delivered and rejected are counted since the start",
    "",
    "APP ID  STATE",
    "shop    idle",
];

#[test]
fn without_an_app_the_daemon_and_all_apps_are_told() {
    let (printed, asked) = ask(&["status"], &daemon());
    assert!(asked.contains("<methodName>apnsd.status</methodName><params></params>"), "{asked}");
    assert_eq!(printed, PAGE.join("\n") + "\n");
    let (printed, _) = ask(&["status", "--json"], &daemon());
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&printed["ready"], &printed["apps"][0]["app_id"]), (&true.into(), &"shop".into()));
}

#[test]
fn what_cannot_send_has_its_cause_below_it_and_an_exit_code_of_its_own() {
    let world = World::start();
    assert!(world.done(&["status"]).ends_with("\nno apps yet: add one with `apnsd provision`\n"));
    let certificate = world.certificate();
    world.done(&["provision", "shop", certificate.to_str().unwrap(), "sandbox-binary"]);
    world.done(&["pause", "shop"]);
    let output = world.run(&["status"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(7), ""));
    let told = stdout(&output);
    assert!(told.starts_with("ready: accepts calls on 127.0.0.1:"), "{told}");
    assert!(told.contains("; accepted means: on disk and synced; "), "{told}");
    assert!(told.contains("\n1 app, which cannot send; 0 waiting, 0 in flight; "), "{told}");
    let cause = told.lines().last().unwrap();
    assert!(cause.starts_with("    ") && cause.contains("apnsd resume"), "{told}");
    assert_eq!(world.run(&["status", "shop"]).status.code(), Some(7));
    assert_eq!(world.run(&["apps"]).status.code(), Some(0));
    world.done(&["resume", "shop"]);
    world.done(&["status"]);
}

fn watch(url: &str, more: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut watch = apnsd(&[&["status", "--watch=1", "--url", url], more].concat());
    let mut child = watch.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

fn give(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    read_request(&mut stream);
    stream.write_all(answer(&daemon()).as_bytes()).unwrap();
}

/// Reads a line that begins like this, and passes over others.
fn until(lines: &mut Lines<BufReader<ChildStdout>>, beginning: &str) {
    assert!(lines.any(|line| line.unwrap().starts_with(beginning)), "{beginning}");
}

#[test]
fn a_watch_survives_a_restart_of_the_daemon_and_ends_with_an_interrupt() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (mut child, mut lines) = watch(&format!("http://{address}"), &[]);
    give(&listener);
    drop(listener);
    assert!(lines.next().unwrap().unwrap().ends_with(" UTC, every 1 s"));
    let block: Vec<String> = lines.by_ref().take(PAGE.len()).map(Result::unwrap).collect();
    assert_eq!(block, PAGE);
    until(&mut lines, "cannot reach it since 0 s: cannot connect to ");
    let listener = TcpListener::bind(address).unwrap();
    give(&listener);
    until(&mut lines, PAGE[0]);
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_watch_ends_when_nobody_reads_any_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut child, mut lines) = watch(&format!("http://{}", listener.local_addr().unwrap()), &["--json"]);
    give(&listener);
    until(&mut lines, "{");
    drop(lines);
    give(&listener);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
