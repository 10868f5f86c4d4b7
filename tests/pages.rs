//! Pages for operators, with a whole daemon.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use apnsd::clock::Clock;
use apnsd::config::Config;
use apnsd::daemon::Daemon;
use apnsd::listener::user::Token;
use apnsd::service::request::Provision;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A daemon in memory with the apps `one` and `two`, both refused: their certificates are none.
struct Site {
    _dir: tempfile::TempDir,
    daemon: Daemon,
}

impl Site {
    async fn start(config: &str) -> Self {
        Self::start_on(&format!("store.kind = \"memory\"\n{config}")).await
    }

    /// The same with the store that the configuration names.
    async fn start_on(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("apnsd.toml");
        fs::write(&file, format!("listen = [\"127.0.0.1:0\"]\nstate_dir = \"state\"\n{config}")).unwrap();
        let (config, _) = Config::load(Some(&file), std::iter::empty(), Clock::system().timestamp()).unwrap();
        let daemon = Daemon::start(&config, Clock::system()).await.unwrap();
        for app in ["one", "two"] {
            let certificate = "no certificate".to_owned();
            let (app_id, environment) = (app.to_owned(), "sandbox".to_owned());
            let provision = Provision { app_id, certificate, environment, timeout: None, options: None };
            daemon.service().provision(provision).await.unwrap();
        }
        Self { _dir: dir, daemon }
    }

    /// Status and body of a page.
    async fn get(&self, path: &str, authorization: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.daemon.addresses()[0].to_string()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn json(&self, path: &str, authorization: &str) -> (u16, Value) {
        let (status, body) = self.get(path, authorization).await;
        (status, serde_json::from_str(&body).unwrap())
    }
}

#[tokio::test]
async fn a_daemon_that_runs_is_alive() {
    let site = Site::start("").await;
    let (status, body) = site.json("/healthz", "").await;
    assert_eq!((status, &body["status"]), (200, &json!("alive")));
}

#[tokio::test]
async fn a_refused_app_is_told_and_the_daemon_is_ready_for_the_others() {
    let site = Site::start("").await;
    let (status, body) = site.json("/readyz", "").await;
    assert_eq!((status, &body["ready"]), (200, &json!(true)));
    let one = &body["apps"][0];
    assert_eq!((&one["app_id"], &one["can_send"], &one["state"]), (&json!("one"), &json!(false), &json!("refused")));
    assert!(one["cause"].as_str().unwrap().contains("neither PEM text, nor base64"), "{one}");
    assert_eq!(body["apps"][1]["app_id"], "two");
}

#[tokio::test]
async fn a_daemon_whose_disk_is_too_full_to_accept_is_not_ready() {
    // No disk has that much.
    let site = Site::start_on("store.min_free = \"8000000000GiB\"\n").await;
    let (status, body) = site.json("/readyz", "").await;
    assert_eq!((status, &body["ready"]), (503, &json!(false)));
    let cause = body["cause"].as_str().unwrap();
    assert!(cause.contains("are kept free by store.min_free"), "{cause}");
    assert_eq!(body["apps"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_user_sees_its_apps_alone() {
    let token = Token::generate().unwrap();
    let config = format!("[[user]]\nname = \"web\"\ntoken = \"{}\"\napps = [\"two\"]\n", token.hash());
    let site = Site::start(&config).await;
    assert_eq!(site.get("/readyz", "").await.0, 401);
    let authorization = format!("Authorization: Bearer {}\r\n", token.reveal());
    let (_, body) = site.json("/readyz", &authorization).await;
    let apps = body["apps"].as_array().unwrap();
    assert_eq!((apps.len(), &apps[0]["app_id"]), (1, &json!("two")));
}
