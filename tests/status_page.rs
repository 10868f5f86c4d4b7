//! The status page as browsers and programs ask for it: a whole daemon and literal requests. What it looks like in a
//! browser is tested in `tests/page`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::time::Duration;

use apnsd::clock::Clock;
use apnsd::config::Config;
use apnsd::daemon::Daemon;
use apnsd::listener::user::Token;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nothing takes this long.
const PATIENCE: Duration = Duration::from_secs(60);
const HTML: &str = "Accept: text/html,application/xhtml+xml\r\n";

/// A daemon whose gateway nobody answers for.
struct Site {
    dir: tempfile::TempDir,
    daemon: Daemon,
}

impl Site {
    async fn start(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("apnsd.toml");
        let common = "listen = [\"127.0.0.1:0\"]\nstate_dir = \"state\"\nstore.kind = \"memory\"\n\
                      [environments.test]\ngateway = \"binary://127.0.0.1:1\"\n";
        fs::write(&file, format!("{common}{more}")).unwrap();
        let (config, _) = Config::load(Some(&file), std::iter::empty(), Clock::system().timestamp()).unwrap();
        Self { daemon: Daemon::start(&config, Clock::system()).await.unwrap(), dir }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.daemon.addresses()[0].to_string()).await.unwrap()
    }

    /// Sends a request and leaves its answer to be read.
    async fn begin(&self, path: &str, headers: &str) -> TcpStream {
        let mut stream = self.connect().await;
        let host = if headers.contains("Host:") { "" } else { "Host: localhost:7077\r\n" };
        let request = format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// The whole answer, head and body.
    async fn page(&self, path: &str, headers: &str) -> String {
        let mut answer = String::new();
        timeout(PATIENCE, self.begin(path, headers).await.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    /// Makes a call; arguments are XML-RPC values.
    async fn call(&self, authorization: &str, method: &str, arguments: &[&str]) {
        let params: String = arguments.iter().map(|value| format!("<param><value>{value}</value></param>")).collect();
        let body = format!("<methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>");
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        let request = format!("{head}{authorization}Content-Length: {}\r\n\r\n{body}", body.len());
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && !answer.contains("<fault>"), "{method}: {answer}");
    }

    /// An app that can be used, as far as is known before its gateway is reached; `app` is escaped for XML.
    async fn provision(&self, authorization: &str, app: &str) {
        let key = KeyPair::generate().unwrap();
        let pem = CertificateParams::new(["x".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        let pem = pem + &key.serialize_pem();
        self.call(authorization, "provision", &[app, &pem, "test", "<int>1</int>"]).await;
    }

    /// An app with a rejection: it was accepted, and an operator purged it.
    async fn with_rejection(&self, authorization: &str, app: &str) {
        self.provision(authorization, app).await;
        let token = "ab".repeat(32);
        self.call(authorization, "notify", &[app, &token, "{\"aps\":{\"alert\":\"x\"}}"]).await;
        self.call(authorization, "apnsd.purge", &[app]).await;
    }
}

/// Reads a stream until a text was in it.
async fn read_until(stream: &mut TcpStream, expected: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&read).contains(expected) {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "{}", String::from_utf8_lossy(&read));
        }
    };
    assert!(timeout(PATIENCE, reading).await.is_ok(), "no {expected} in {}", String::from_utf8_lossy(&read));
    String::from_utf8_lossy(&read).into_owned()
}

fn user(name: &str, token: &Token, more: &str) -> String {
    format!("[[user]]\nname = \"{name}\"\ntoken = \"{}\"\n{more}\n", token.hash())
}

fn bearer(token: &Token) -> String {
    format!("Authorization: Bearer {}\r\n", token.reveal())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_call_says_nothing_of_what_a_page_allows() {
    let site = Site::start("").await;
    let told = async |method: &str| {
        let mut stream = site.connect().await;
        let request =
            format!("{method} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer.to_lowercase()
    };
    let call = told("POST").await;
    assert!(call.starts_with("http/1.1 200 ok\r\n") && !call.contains("\nallow:"), "{call}");
    let put = told("PUT").await;
    assert!(put.starts_with("http/1.1 405 ") && put.contains("\r\nallow: get, head, post\r\n"), "{put}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_counts_among_the_calls_at_once_of_its_user_until_it_ends() {
    let token = Token::generate().unwrap();
    let site = Site::start(&user("web", &token, "calls_at_once = 1")).await;
    let mut stream = site.begin("/status/events", &bearer(&token)).await;
    read_until(&mut stream, "event: status").await;
    let refused = site.page("/healthz", &bearer(&token)).await;
    assert!(refused.ends_with("This user may make 1 calls at once: try again later.\n"), "{refused}");
    drop(stream);
    let free = async { while !site.page("/healthz", &bearer(&token)).await.starts_with("HTTP/1.1 200") {} };
    timeout(PATIENCE, free).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_html_under_a_strict_policy() {
    let site = Site::start("").await;
    let page = site.page("/", HTML).await.to_lowercase();
    assert!(page.starts_with("http/1.1 200 ok"), "{page}");
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'\r\n",
        "content-type: text/html; charset=utf-8\r\n",
        "x-content-type-options: nosniff\r\n",
        "referrer-policy: no-referrer\r\n",
        "cross-origin-resource-policy: same-origin\r\n",
        "cache-control: no-store\r\n",
        "vary: accept\r\n",
    ] {
        assert!(page.contains(header), "{header} {page}");
    }
    assert!(page.contains("<h1>no apps yet</h1>"), "{page}");
    // The policy would stop these; nothing depends on them.
    for inline in ["style=", "onclick", "onload", "<style", "<script>", "http://", "https://"] {
        assert!(!page.contains(inline), "{inline} {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_text() {
    let site = Site::start("").await;
    site.provision("", "shop").await;
    let page = site.page("/", "Accept: */*\r\n").await;
    assert!(page.contains("text/plain; charset=utf-8\r\n"), "{page}");
    assert!(page.contains("\r\n\r\nThe app can") && page.contains("\nshop  test "), "{page}");
    assert!(page.contains("\nAccepted means: checked and queued in memory;"), "{page}");
    assert_eq!(page.matches("default-src 'none'").count(), 1, "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_files_come_with_their_types() {
    let site = Site::start("").await;
    for (path, kind) in [
        ("/status.css", "text/css; charset=utf-8"),
        ("/status.js", "text/javascript; charset=utf-8"),
        ("/status.svg", "image/svg+xml"),
    ] {
        let file = site.page(path, "").await;
        assert!(file.starts_with("HTTP/1.1 200 OK") && file.contains(kind), "{path}: {file}");
        let namespace = file.replace("http://www.w3.org/2000/svg", "");
        assert!(!namespace.contains("http://") && !namespace.contains("https://"), "{path} asks somebody else");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_callers_wrote_is_escaped_everywhere() {
    let site = Site::start("").await;
    let app = "&lt;script&gt;alert(1)&lt;/script&gt;\"'&amp;amp;";
    let escaped = "&#60;script&#62;alert(1)&#60;/script&#62;&#34;&#39;&#38;amp;";
    site.with_rejection("", app).await;
    let stream = read_until(&mut site.begin("/status/events", "").await, "an operator purged").await;
    let page = site.page("/", HTML).await;
    for html in [&stream, &page] {
        assert!(html.contains(&format!("<bdi>{escaped}</bdi>")), "{html}");
        assert!(html.contains(&format!("data-key=\"{escaped}\"")) && !html.contains("<script>"), "{html}");
        assert!(html.contains("<code>abababab…</code>") && !html.contains("ababababab"), "{html}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cause_is_on_the_page_and_the_text() {
    let site = Site::start("").await;
    site.call("", "provision", &["broken", "no certificate at all", "test", "<int>1</int>"]).await;
    let html = site.page("/", HTML).await;
    assert!(html.contains("<h1>The app cannot send</h1>"), "{html}");
    assert!(html.contains("<strong>Why it cannot send:</strong> "), "{html}");
    assert!(html.contains(">Refused</span>"), "{html}");
    let text = site.page("/", "").await;
    assert!(text.contains("\nbroken: Why it cannot send: "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sees_its_own_apps_and_what_it_may_call() {
    let tokens: Vec<Token> = (0..3).map(|_| Token::generate().unwrap()).collect();
    let users = user("all", &tokens[0], "")
        + &user("shop", &tokens[1], "apps = [\"shop\"]\nmethods = [\"apnsd.apps\"]")
        + &user("web", &tokens[2], "methods = [\"notify\"]");
    let site = Site::start(&users).await;
    let all = bearer(&tokens[0]);
    site.with_rejection(&all, "shop").await;
    site.with_rejection(&all, "other").await;
    for path in ["/", "/status/events", "/status.css"] {
        assert!(site.page(path, HTML).await.starts_with("HTTP/1.1 401 "), "{path}");
    }
    let stream = read_until(&mut site.begin("/status/events", &all).await, "an operator purged").await;
    let page = site.page("/", &format!("{HTML}{all}")).await;
    for html in [&stream, &page] {
        assert!(html.contains("data-key=\"shop\"") && html.contains("data-key=\"other\""), "{html}");
        assert!(html.contains("<dd id=\"rejected\">2</dd>"), "{html}");
    }
    let shop = bearer(&tokens[1]);
    let stream = read_until(&mut site.begin("/status/events", &shop).await, "This daemon").await;
    let page = site.page("/", &format!("{HTML}{shop}")).await;
    for html in [&stream, &page] {
        assert!(html.contains("data-key=\"shop\"") && !html.contains("other"), "{html}");
        assert!(html.contains("<dd id=\"rejected\">1</dd>"), "{html}");
        assert!(!html.contains("Last rejections"), "it may not call apnsd.rejections: {html}");
    }
    for path in ["/", "/status/events"] {
        let page = site.page(path, &format!("{HTML}{}", bearer(&tokens[2]))).await;
        assert!(page.starts_with("HTTP/1.1 403 "), "{page}");
        assert!(page.contains("user `web` may not call apnsd.apps, which this page shows: add it to `methods`"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_is_told_what_changes() {
    let site = Site::start("").await;
    let mut stream = site.begin("/status/events", "Accept: text/event-stream\r\n").await;
    let first = read_until(&mut stream, "This daemon").await;
    assert!(first.contains("content-type: text/event-stream") || first.contains("Content-Type: text/event-stream"));
    assert!(first.contains("event: status\n") && first.contains("data: <h1>No apps yet</h1>\n"), "{first}");
    site.provision("", "late").await;
    read_until(&mut stream, "data-key=\"late\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_apps_the_address_says_which_are_shown() {
    let site = Site::start("").await;
    for number in 0..51 {
        let app = format!("app-{number:02}");
        site.call("", "provision", &[&app, "no certificate at all", "test", "<int>1</int>"]).await;
    }
    let shown = |page: &str| page.matches("<tbody role=\"rowgroup\" class=").count();
    let first = site.page("/", HTML).await;
    assert_eq!(shown(&first), 50);
    assert!(first.contains("1 more are not shown: <a href=\"?show=all\">show all</a>"), "{first}");
    assert!(first.contains("In trouble <b>51</b>") && first.contains("All <b>51</b>"), "{first}");
    assert_eq!(shown(&site.page("/?show=all", HTML).await), 51);
    let found = site.page("/?app=APP-4&show=trouble", HTML).await;
    assert_eq!((shown(&found), found.matches("data-key=\"app-4").count()), (10, 10));
    assert!(
        found.contains("name=\"app\" value=\"APP-4\"") && found.contains("href=\"?app=APP-4&#38;show=all\""),
        "{found}"
    );
    assert!(found.contains("<h1>None of 51 apps can send</h1>"), "the verdict is of all apps: {found}");
    let none = site.page("/?app=%3Cb%3E", HTML).await;
    assert!(none.contains("None has “<bdi>&#60;b&#62;</bdi>” in its id."), "{none}");
    let stream = read_until(&mut site.begin("/status/events?app=app-07", "").await, "This daemon").await;
    assert_eq!(stream.matches("data-key=").count(), 1, "{stream}");
    let text = site.page("/", "").await;
    assert!(text.contains("\nand 1 app more: `apnsd apps` and /?show=all list all\n"), "{text}");
    assert!(site.page("/?app=none", "").await.contains("\nnone of 51 apps was asked for\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_streams_at_once_also_of_those_who_do_not_read() {
    let site = Site::start("").await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = site.begin("/status/events", "").await;
        read_until(&mut stream, "data: ").await;
        streams.push(stream);
    }
    let stopped = timeout(PATIENCE, site.daemon.stop()).await.unwrap();
    assert!(stopped.in_time);
    let mut rest = String::new();
    timeout(PATIENCE, streams[0].read_to_string(&mut rest)).await.unwrap().unwrap();
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "the answer is whole: {rest}");
    drop(site.dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_viewers_than_there_are_places_are_turned_away_until_one_goes() {
    let site = Site::start("").await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        let mut stream = site.begin("/status/events", "").await;
        read_until(&mut stream, "data: ").await;
        streams.push(stream);
    }
    let refused = site.page("/status/events", "").await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(site.page("/", HTML).await.starts_with("HTTP/1.1 200 "));
    streams.pop();
    let again = async {
        while read_until(&mut site.begin("/status/events", "").await, "\r\n\r\n").await.starts_with("HTTP/1.1 503 ") {}
    };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_elsewhere_cannot_read_it_through_its_visitors_browser() {
    let token = Token::generate().unwrap();
    let open = Site::start("").await;
    for path in ["/", "/status/events", "/status.js", "/metrics", "/healthz", "/readyz"] {
        let rebound = open.page(path, "Host: attacker.example:7077\r\n").await;
        assert!(rebound.starts_with("HTTP/1.1 421 "), "{path}: {rebound}");
        assert!(open.page(path, "Origin: https://attacker.example\r\n").await.starts_with("HTTP/1.1 403 "));
    }
    assert!(open.page("/", "Host: 127.0.0.1:7077\r\n").await.starts_with("HTTP/1.1 200 "));
    let guarded = Site::start(&user("web", &token, "")).await;
    let named = format!("Host: push.example.com\r\n{}", bearer(&token));
    assert!(guarded.page("/", &named).await.starts_with("HTTP/1.1 200 "), "who shows a token is no visitor's browser");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_changes_nothing() {
    let site = Site::start("").await;
    for method in ["PUT", "DELETE", "PATCH"] {
        let mut stream = site.connect().await;
        let request = format!("{method} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
    }
}
