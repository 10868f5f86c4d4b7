//! `notify` with long lists.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

use tempfile::TempDir;

use crate::shell::{NIL, Script, answer, apnsd, fault, stderr, stdout};
use crate::world::World;

/// A file with so many tokens, the first of them in line 2, each another one.
fn list(count: u32) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.txt");
    fs::write(&path, text(count)).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

fn text(count: u32) -> String {
    let mut text = "# devices\n".to_owned();
    (0..count).for_each(|at| writeln!(text, "{at:064x}").unwrap());
    text
}

/// Sends the list in the file to this daemon.
fn notify(url: &str, file: &str, more: &[&str]) -> Output {
    let args = ["notify", "shop", "--tokens", file, "--alert", "x", "--url", url];
    apnsd(&[&args, more].concat()).output().unwrap()
}

/// The name of a call, and how many tokens it has.
fn name_and_size(request: &str) -> (&str, usize) {
    let (_, rest) = request.split_once("<name>request_id</name>").unwrap();
    let (_, rest) = rest.split_once("<string>").unwrap();
    (rest.split_once("</string>").unwrap().0, request.matches("<string>00000000").count())
}

#[test]
fn a_long_list_goes_out_in_calls_of_ten_thousand_and_a_lost_answer_is_asked_for_again() {
    let (_dir, file) = list(20_001);
    let (done, lost) = (answer(NIL), String::new());
    let daemon = Script::new(vec![done.clone(), lost.clone(), lost, done.clone(), done]);
    let output = notify(&daemon.url, &file, &["--request-id", "r1"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert_eq!(stdout(&output), "20,001 notifications accepted for shop\n");
    let requests = daemon.requests();
    let asked: Vec<_> = requests.iter().map(|request| name_and_size(request)).collect();
    let second = ("r1-1", 10_000);
    assert_eq!(asked, [("r1", 10_000), second, second, second, ("r1-2", 1)]);
}

#[test]
fn a_list_that_is_accepted_in_part_is_told_with_the_line_to_go_on_from() {
    let (_dir, file) = list(20_001);
    let answers = || vec![answer(NIL), fault(500, "the queue is full")];
    let output = notify(&Script::new(answers()).url, &file, &["--request-id", "r1"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(4), ""));
    assert_eq!(
        stderr(&output),
        format!(
            "apnsd: the queue is full (fault 500)\n\
             accepted for shop: 10,000, all before line 10002\n\
             not accepted: the rest\n\
             to send the rest, and nothing twice: the same command with --request-id r1, within 15 minutes\n\
             later than that: tail -n +10002 {file} | apnsd notify … --tokens -\n"
        )
    );
    let output = notify(&Script::new(answers()).url, &file, &["--request-id", "r1", "--json"]);
    assert_eq!(output.status.code(), Some(4));
    let told = "{\n  \"accepted\": 10000,\n  \"request_id\": \"r1\",\n  \"next_line\": 10002\n}\n";
    assert_eq!(stdout(&output), told);
}

#[test]
fn a_pipe_is_sent_as_it_is_read_up_to_the_first_bad_line() {
    let daemon = Script::new(vec![answer(NIL)]);
    let mut notify = apnsd(&["notify", "shop", "--tokens", "-", "--alert", "x", "--url", &daemon.url]);
    let mut child = notify.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text(10_001).as_bytes()).unwrap();
    // The first call is answered before the pipe has ended.
    let requests = daemon.requests();
    let (name, size) = name_and_size(&requests[0]);
    assert_eq!(size, 10_000);
    stdin.write_all(b"abcd\n").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        format!(
            "apnsd: standard input:10003: a token has 32 to 100 bytes, this one has 2\n\
             accepted for shop: 10,000, all before line 10002\n\
             not accepted: the rest\n\
             to send the rest, and nothing twice: the same command with --request-id {name}, within 15 minutes\n\
             later than that: tail -n +10002 | apnsd notify … --tokens -\n"
        )
    );
}

#[test]
fn quiet_says_nothing_where_all_is_accepted() {
    let (_dir, file) = list(1);
    let output = notify(&Script::new(vec![answer(NIL)]).url, &file, &["--quiet"]);
    assert_eq!((output.status.code(), stdout(&output), stderr(&output)), (Some(0), "", ""));
}

#[test]
fn a_second_run_with_the_same_name_sends_nothing_twice() {
    let world = World::start();
    let certificate = world.certificate();
    world.done(&["provision", "shop", certificate.to_str().unwrap(), "sandbox-binary"]);
    world.done(&["pause", "shop"]);
    let (_dir, file) = list(20_001);
    let run = || world.done(&["notify", "shop", "--tokens", &file, "--alert", "x", "--request-id", "r1"]);
    assert_eq!(run(), "20,001 notifications accepted for shop\n");
    assert_eq!(run(), "20,001 notifications accepted for shop\n");
    let output = world.run(&["status", "shop", "--json"]);
    let status: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(status["waiting"], 20_001);
    let checked = world.run(&["notify", "shop", "--tokens", &file, "--alert", "x", "--dry-run", "--json"]);
    let checked: serde_json::Value = serde_json::from_str(stdout(&checked)).unwrap();
    assert_eq!(checked["notifications"], 20_001);
}
