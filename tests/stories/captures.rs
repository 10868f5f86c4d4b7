//! Requests recorded from unmodified clients of pyapns, against its answers.
//!
//! Where apnsd answers differently on purpose, the table of differences says what it answers and why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::world::World;
use apnsd::domain::time::Timestamp;
use apnsd::simulator::feedback::command::FeedbackCommand;
use apnsd::simulator::feedback::tuples::FeedbackTuple;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What apnsd answers where pyapns answered something else.
#[derive(Clone, Copy, Debug)]
enum Difference {
    /// Success: `nil`.
    Nil,
    /// A fault with this code, whose text begins so.
    Fault(i32, &'static str),
    /// An answer with this in it.
    Contains(&'static str),
    /// A page of ours, where pyapns had none.
    Page(&'static str),
}

use Difference::{Contains, Fault, Nil, Page};

const DIFFERENCES: &[(&str, Difference)] = &[
    // Refused by pyapns by mistake: the documented single form of its own Ruby client, a broadcast, brackets.
    ("rb-notify-single", Nil),
    ("py2-notify-str-list", Nil),
    ("py2-notify-list-dict", Nil),
    ("py2-notify-spaces", Nil),
    // Accepted by pyapns and then lost or mangled.
    ("py2-notify-mismatched", Fault(8002, "notifications: 2 tokens and an array of 1;")),
    ("py2-notify-shorttoken", Fault(8002, "token 0: a token has 32 to 100 bytes, this one has 2")),
    // The same code, and words instead of `error`.
    ("py2-notify-none-float", Fault(8002, "notification 0: d: dateTime.iso8601 has no JSON form")),
    ("py2-notify-badtoken-hex", Fault(8002, "token 0: neither hex digits nor the base64 of 32 bytes")),
    ("py2-notify-toolong", Fault(8002, "notification 0: 70020 bytes of JSON, at most 2048 over binary")),
    ("gen-xmlrpcc-notify", Fault(8002, "notification 0: the string does not hold a JSON object")),
    ("py2raw-too-few", Fault(8002, "notify takes 3 or 4 arguments, 1 given")),
    // The same code and sentence, and the cause: credentials are judged when they are provisioned.
    (
        "py2-notify-badpath",
        Fault(500, "Connection to the APNS server could not be made. Certificate path is not under"),
    ),
    // Methods that pyapns does not have.
    ("py2raw-listMethods", Contains("<value><string>notify</string></value>")),
    ("gen-py3-multicall", Contains("<value><array><data><value><nil/></value></data></array></value>")),
    // The answer was not kept; the service had the three entries then.
    ("py2-feedback-empty", Contains("<dateTime.iso8601>20110313T07:06:40</dateTime.iso8601>")),
    // The status page.
    ("gen-curl-get", Page("APP      ENVIRONMENT")),
];

#[tokio::test(flavor = "multi_thread")]
async fn old_callers_get_the_answers_that_they_know() {
    let world = World::start(|_| {}).await;
    for app in APPS {
        world.provision_as(app, &world.simulator.certificates().issue(app).unwrap()).await.unwrap();
    }
    let mut differences: BTreeMap<&str, Difference> = DIFFERENCES.iter().copied().collect();
    for capture in captures() {
        let name = capture.file_name().unwrap().to_str().unwrap();
        if name.contains("feedback") {
            list_feedback(&world);
        }
        let recorded = std::fs::read_to_string(capture.with_extension("resp.http"));
        let recorded = recorded.unwrap_or_else(|_| "HTTP/1.1 200 OK\r\n\r\n".to_owned());
        let answer = replay(&world, &std::fs::read(capture.with_extension("req.http")).unwrap()).await;
        let difference = differences.remove(name);
        let expected = if matches!(difference, Some(Page(_))) { "200 OK" } else { status(&recorded) };
        assert_eq!(status(&answer), expected, "{name}");
        match difference {
            None => assert_eq!(content(&answer), content(&recorded), "{name}"),
            Some(Nil) => assert!(content(&answer).contains("<param><value><nil/></value></param>"), "{name}: {answer}"),
            Some(Fault(code, text)) => {
                let expected = format!("<int>{code}</int></value></member><member><name>faultString</name><value>");
                let expected = format!("{expected}<string>{text}");
                assert!(content(&answer).contains(&expected), "{name}: {answer}");
            }
            Some(Page(text)) => assert!(answer.contains(text), "{name}: {answer}"),
            Some(Contains(text)) => {
                assert!(answer.contains(text) || content(&answer).contains(text), "{name}: {answer}")
            }
        }
    }
    assert!(differences.is_empty(), "without a capture: {differences:?}");
}

/// The status line, but for the version of HTTP.
fn status(answer: &str) -> &str {
    answer.lines().next().and_then(|line| line.split_once(' ')).expect("an answer has a status").1
}

/// The body without the line ends between tags.
fn content(answer: &str) -> String {
    answer.split_once("\r\n\r\n").expect("an answer has a head").1.replace('\n', "")
}

/// The apps of the recorded requests, each with a certificate of its own.
const APPS: [&str; 3] = ["myapp", "rapp", "pathapp"];

/// The three entries that the feedback service had for each app when the requests were recorded.
fn list_feedback(world: &World) {
    let entry = |n: u8| {
        let mut token = [0xab; 32];
        token[..4].copy_from_slice(&[0, 0, 0, n]);
        FeedbackTuple::new(Timestamp::from_secs(1_300_000_000 + i64::from(n)), &token)
    };
    for app in APPS.map(str::to_owned) {
        let entries = (0..3).map(entry).collect();
        let command = FeedbackCommand { app, entries, replace: true, ..FeedbackCommand::default() };
        world.simulator.feedback(command).unwrap();
    }
}

/// Sends a request as it was recorded, byte for byte, and reads one answer.
async fn replay(world: &World, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.daemon.addresses()[0].to_string()).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn captures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures");
    let index = std::fs::read_to_string(root.join("INDEX.tsv")).unwrap();
    let rows = index.lines().skip(1).map(|row| row.split('\t'));
    rows.filter_map(|mut row| Some(root.join(row.next()?).join(row.next()?))).collect()
}
