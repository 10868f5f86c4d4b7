//! The control port, over plain HTTP.

use std::net::SocketAddr;

use apnsd::simulator::journal::entry::Verdict;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::lab::{Lab, frame, soon, token};

/// Sends a request; the status and the body that come back.
async fn request(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let request =
        format!("{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(tcp.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(crate) async fn call(lab: &Lab, head: &str, body: &str) -> (u16, Value) {
    let (status, body) = request(lab.simulator.control_address(), head, body).await;
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn journal_and_summary_are_json() {
    let lab = Lab::start().await;
    let mut client = lab.connect().await;
    client.send(&[frame(1, ""), frame(2, "bad0")].concat()).await;
    client.read_to_end().await;
    drop(client);
    lab.wait(|summary| summary.connections == 1 && summary.open == 0).await;

    let (status, summary) = call(&lab, "GET /summary", "").await;
    assert_eq!((status, &summary["packets"], &summary["rejected"]), (200, &json!(2), &json!(1)));
    let (_, journal) = call(&lab, "GET /journal", "").await;
    let events: Vec<&str> = journal["entries"].as_array().unwrap().iter().filter_map(|e| e["event"].as_str()).collect();
    assert_eq!(events, ["opened", "notification", "notification", "answered", "closed"]);
    assert_eq!((&journal["next"], &journal["oldest"]), (&json!(5), &json!(1)));

    let (_, page) = call(&lab, "GET /journal?after=2&limit=1", "").await;
    assert_eq!(page["entries"].as_array().unwrap().len(), 1);
    let entry = &page["entries"][0];
    assert_eq!(entry["token"], json!(token("bad0")));
    assert_eq!(entry["payload"], json!(r#"{"aps":{}}"#));
    assert_eq!((&entry["verdict"], &entry["status"], &entry["identifier"]), (&json!("rejected"), &json!(8), &json!(2)));
}

#[tokio::test]
async fn commands_take_effect_and_are_taken_back() {
    let lab = Lab::start().await;
    let mut client = lab.connect().await;
    lab.wait(|summary| summary.open == 1).await;
    let lose = r#"{"faults": [{"stream": {"lose": 100}}], "connections": "every"}"#;
    assert_eq!(call(&lab, "POST /script", lose).await, (200, json!({ "open_connections": 1 })));
    // The command is in the connection's mailbox, but bytes may be read before it.
    let mut sent = 0;
    while lab.simulator.journal().summary().lost == 0 {
        sent += 1;
        client.send(&frame(sent, "")).await;
        lab.wait(|summary| summary.packets == u64::from(sent)).await;
    }
    assert_eq!(call(&lab, "DELETE /script", "").await.0, 204);
    let mut next = lab.connect().await;
    next.send(&frame(99, "")).await;
    let verdicts = lab.verdicts(u64::from(sent) + 1).await;
    assert_eq!(verdicts.last(), Some(&(Some(99), Verdict::Accepted)));
}

#[tokio::test]
async fn feedback_is_listed() {
    let lab = Lab::start().await;
    let entries = r#"{"entries": [{"timestamp": 1, "token": "abcd"}, {"timestamp": 2, "token": ""}]}"#;
    assert_eq!(call(&lab, "POST /feedback", entries).await, (200, json!({ "waiting": 2 })));
    let (bytes, _) = lab.feedback_as(lab.good()).await.read_to_end().await;
    assert_eq!(bytes, [0, 0, 0, 1, 0, 2, 0xab, 0xcd, 0, 0, 0, 2, 0, 0]);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let lab = Lab::start().await;
    let table = [
        ("POST /script", "{", 400, "EOF while parsing"),
        ("POST /script", "{}", 400, "a command needs `faults` or `refuse_ms`"),
        ("POST /script", r#"{"falts": []}"#, 400, "unknown field `falts`, expected one of `faults`"),
        ("POST /script", r#"{"faults": [{"stream": "explode"}]}"#, 400, "unknown variant `explode`"),
        ("POST /feedback", r#"{"entrys": []}"#, 400, "unknown field `entrys`"),
        ("POST /feedback", r#"{"entries": [{"timestamp": 1, "token": "xyz"}]}"#, 400, "hex digits"),
        ("GET /journal?since=3", "", 400, "unknown parameter `since`"),
        ("GET /journal?after=x", "", 400, "`x` is not a number"),
        ("GET /nowhere", "", 404, "GET / tells what there is"),
    ];
    for (head, body, status, problem) in table {
        let (answered, json) = call(&lab, head, body).await;
        let error = json["error"].as_str().unwrap_or_default();
        assert!(answered == status && error.contains(problem), "{head} {body}: {answered} {json}");
    }
}

#[tokio::test]
async fn the_root_tells_what_there_is() {
    let lab = Lab::start().await;
    let (status, text) = request(lab.simulator.control_address(), "GET /", "").await;
    assert_eq!(status, 200);
    assert!(text.contains("POST /script") && text.contains("| `bad0`, `bad8` |"), "{text}");
}

#[tokio::test]
async fn web_pages_are_refused() {
    let lab = Lab::start().await;
    let address = lab.simulator.control_address();
    let (status, body) = request(address, "GET /journal HTTP/1.1\r\nOrigin: http://evil.example\r\nX: ", "").await;
    assert_eq!(status, 403, "{body}");
}

#[tokio::test]
async fn the_written_configuration_names_the_ports() {
    let lab = Lab::start().await;
    let text = std::fs::read_to_string(lab.simulator.config_file()).unwrap();
    assert!(text.contains(&format!("gateway = \"binary://{}\"", lab.simulator.binary_address())), "{text}");
    assert!(text.contains(&format!("feedback = \"binary://{}\"", lab.simulator.feedback_address())), "{text}");
}
