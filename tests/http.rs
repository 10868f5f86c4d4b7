//! HTTP as callers speak it: literal bytes over real sockets.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use apnsd::clock::Clock;
use apnsd::delivery::Delivery;
use apnsd::listener::after_answer::AfterAnswer;
use apnsd::listener::bind::Listeners;
use apnsd::listener::unix;
use apnsd::queue::Queue;
use apnsd::queue::retry::Unknown;
use apnsd::rpc::server::Server;
use apnsd::service::PushService;
use apnsd::service::about::About;
use apnsd::shutdown::Shutdown;
use apnsd::store::Store;
use apnsd::{gateway, listener, queue, rpc, service, store};
use axum::Router;
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// Nothing takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Verbs behind the server; no test here calls one.
fn service() -> PushService {
    let store = Store::memory(&store::Settings::default());
    let clock = Clock::system();
    let queue = Queue::new(store.clone(), queue::Settings::default(), clock.clone());
    let gateway = gateway::Settings::default();
    let delivery =
        Delivery { gateway: gateway.into(), unknown: Unknown::Resend, store, clock, shutdown: Shutdown::new() };
    PushService::new(BTreeMap::new(), queue, delivery, service::Settings::default())
}

/// A server on a free port.
struct Served {
    address: String,
    shutdown: Shutdown,
}

impl Served {
    async fn start(http: listener::Settings, limits: rpc::Settings) -> Self {
        let pages = Router::new().route("/", get(|| async { "a page" }));
        Self::start_router(http, Server::new(service(), limits, About::default()).router(pages)).await
    }

    async fn with_defaults() -> Self {
        Self::start(listener::Settings::default(), rpc::Settings::default()).await
    }

    async fn start_router(http: listener::Settings, router: Router) -> Self {
        let listeners =
            Listeners::bind(&["127.0.0.1:0".parse().unwrap()], None, &unix::Settings::default()).await.unwrap();
        let address = listeners.local_addresses()[0].to_string();
        let shutdown = Shutdown::new();
        listeners.serve(router, http, &shutdown);
        Self { address, shutdown }
    }

    async fn connect(&self) -> Peer {
        Peer(TcpStream::connect(&self.address).await.unwrap())
    }

    /// Sends bytes on a connection of their own and returns the first answer.
    async fn answer_to(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut peer = self.connect().await;
        peer.send(request).await;
        peer.answer().await
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

/// A caller's end of a connection.
struct Peer(TcpStream);

#[derive(Debug)]
struct Answer {
    head: String,
    body: String,
}

impl Answer {
    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Peer {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(PATIENCE, self.0.write_all(bytes.as_ref())).await.unwrap().unwrap();
    }

    async fn read_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let byte = timeout(PATIENCE, self.0.read_u8()).await.unwrap();
            text.push(char::from(byte.unwrap_or_else(|error| panic!("{error} after {text}"))));
        }
        text
    }

    /// Reads one answer, which must have a length.
    async fn answer(&mut self) -> Answer {
        let head = self.read_until("\r\n\r\n").await;
        let mut answer = Answer { head, body: String::new() };
        let length = answer.header("content-length").unwrap_or_else(|| panic!("{answer:?}")).parse().unwrap();
        let mut body = vec![0; length];
        timeout(PATIENCE, self.0.read_exact(&mut body)).await.unwrap().unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// Waits for the other side to close.
    async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("still open");
        // A reset is a way of closing, too.
        read.is_err() || rest.is_empty()
    }
}

fn call(method: &str) -> String {
    format!("<?xml version='1.0'?>\n<methodCall><methodName>{method}</methodName></methodCall>\n")
}

/// A POST with these header lines, and its length.
fn post(headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut request =
        format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    request.extend_from_slice(body);
    request
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn fault(code: i32, text: &str) -> String {
    format!(
        "<?xml version='1.0'?>\n<methodResponse>\n<fault>\n<value><struct>\n\
         <member>\n<name>faultCode</name>\n<value><int>{code}</int></value>\n</member>\n\
         <member>\n<name>faultString</name>\n<value><string>{text}</string></value>\n</member>\n\
         </struct></value>\n</fault>\n</methodResponse>\n"
    )
}

#[tokio::test]
async fn a_fault_travels_as_200_with_its_type_and_exact_length() {
    let answer = Served::with_defaults().await.answer_to(post("", call("nosuch"))).await;
    assert_eq!(answer.status(), "200");
    assert_eq!(answer.header("content-type"), Some("text/xml; charset=utf-8"));
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.body, fault(8001, "procedure nosuch not found"));
}

#[tokio::test]
async fn every_path_and_every_content_type_takes_calls() {
    let served = Served::with_defaults().await;
    for path in ["/", "/RPC2", "/any/thing?x=y", "*"] {
        for content_type in
            ["text/xml", "application/x-www-form-urlencoded", "nonsense", "text/xml; charset=iso-8859-1"]
        {
            let body = call("nosuch");
            let length = body.len();
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {length}");
            let answer = served.answer_to(format!("{head}\r\n\r\n{body}")).await;
            assert_eq!(answer.body, fault(8001, "procedure nosuch not found"), "{path} {content_type}");
        }
    }
}

#[tokio::test]
async fn what_is_not_a_call_is_told_as_pyapns_told_it() {
    let served = Served::with_defaults().await;
    let empty = served.answer_to(post("", "")).await;
    assert_eq!(empty.body, fault(8002, "Can't deserialize input: no element found: line 1, column 0"));
    let none = served.answer_to("POST / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(none.body, empty.body);
    let cut = served.answer_to(post("", "<?xml version='1.0'?>\n<methodCall")).await;
    assert_eq!(cut.body, fault(8002, "Can't deserialize input: unclosed token: line 2, column 0"));
    let charset = served.answer_to(post("Content-Type: text/xml; charset=ebcdic\r\n", call("x"))).await;
    assert!(charset.body.contains("unsupported charset `ebcdic`"), "{charset:?}");
}

#[tokio::test]
async fn wrong_arguments_are_told() {
    let served = Served::with_defaults().await;
    let answer = served.answer_to(post("", call("notify"))).await;
    assert_eq!(answer.body, fault(8002, "notify takes 3 or 4 arguments, 0 given"));
}

#[tokio::test]
async fn many_calls_in_one_have_an_answer_or_a_fault_each() {
    let inner = |name: &str, params: &str| {
        format!(
            "<value><struct><member><name>methodName</name><value>{name}</value></member><member><name>params</name>\
             <value><array><data>{params}</data></array></value></member></struct></value>"
        )
    };
    let calls = [
        inner("system.methodHelp", "<value>apnsd.apps</value>"),
        inner("nosuch", ""),
        inner("system.multicall", ""),
        inner("provision", "<value>a</value><value><int>1</int></value><value>sandbox</value>"),
    ];
    let body = format!(
        "<methodCall><methodName>system.multicall</methodName><params><param><value><array><data>{}</data></array></value>\
         </param></params></methodCall>",
        calls.concat()
    );
    let answer = Served::with_defaults().await.answer_to(post("", body)).await.body;
    let parts: Vec<&str> = answer.split("<value><struct>").collect();
    assert!(parts[0].contains("<string>apnsd.apps(): "), "{answer}");
    assert!(parts[1].contains("<int>8001</int>") && parts[1].contains("procedure nosuch not found"), "{answer}");
    assert!(parts[2].contains("<int>8002</int>") && parts[2].contains("not allowed within"), "{answer}");
    assert!(
        parts[3].contains("<int>8002</int>") && parts[3].contains("cert: a string or base64 is needed, not int"),
        "{answer}"
    );
    assert_eq!(parts.len(), 4);
}

#[tokio::test]
async fn http_1_0_is_answered_in_kind_and_closed_unless_it_asks_to_stay() {
    let served = Served::with_defaults().await;
    let body = call("nosuch");
    let length = body.len();
    let mut peer = served.connect().await;
    peer.send(format!("POST / HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}")).await;
    let answer = peer.answer().await;
    assert!(answer.head.starts_with("HTTP/1.0 200 OK\r\n"), "{answer:?}");
    assert!(peer.is_closed().await);

    let mut peer = served.connect().await;
    for _ in 0..2 {
        peer.send(format!("POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: {length}\r\n\r\n{body}")).await;
        assert_eq!(peer.answer().await.header("connection"), Some("keep-alive"));
    }
}

#[tokio::test]
async fn a_connection_serves_many_calls_and_closes_when_asked() {
    let served = Served::with_defaults().await;
    let mut peer = served.connect().await;
    for _ in 0..3 {
        peer.send(post("", call("nosuch"))).await;
        assert_eq!(peer.answer().await.status(), "200");
    }
    peer.send(post("Connection: close\r\n", call("nosuch"))).await;
    assert_eq!(peer.answer().await.header("connection"), Some("close"));
    assert!(peer.is_closed().await);
}

#[tokio::test]
async fn pipelined_calls_are_answered_in_order() {
    let served = Served::with_defaults().await;
    let mut peer = served.connect().await;
    let names: Vec<String> = (0..40).map(|n| format!("nosuch{n}")).collect();
    peer.send(names.iter().flat_map(|name| post("", call(name))).collect::<Vec<u8>>()).await;
    for name in names {
        assert_eq!(peer.answer().await.body, fault(8001, &format!("procedure {name} not found")));
    }
}

#[tokio::test]
async fn a_chunked_body_is_read_and_the_connection_kept() {
    let served = Served::with_defaults().await;
    let mut peer = served.connect().await;
    let body = call("nosuch");
    let (first, second) = body.split_at(20);
    let chunks = format!("14\r\n{first}\r\n{:x};ext=1\r\n{second}\r\n0\r\nTrailer: x\r\n\r\n", second.len());
    for _ in 0..2 {
        peer.send(format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")).await;
        assert_eq!(peer.answer().await.body, fault(8001, "procedure nosuch not found"));
    }
}

#[tokio::test]
async fn a_body_with_two_lengths_is_refused() {
    let served = Served::with_defaults().await;
    for lengths in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        let mut peer = served.connect().await;
        peer.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{lengths}\r\n\r\n0\r\n\r\n")).await;
        let answer = peer.answer().await;
        assert_eq!(answer.status(), "400", "{lengths}");
        assert_eq!(answer.body, "a request has either Content-Length or Transfer-Encoding, not both\n");
        assert!(peer.is_closed().await);
    }
}

#[tokio::test]
async fn a_caller_that_asks_is_told_to_go_on() {
    let served = Served::with_defaults().await;
    let mut peer = served.connect().await;
    let body = call("nosuch");
    let length = body.len();
    peer.send(format!("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")).await;
    assert_eq!(peer.read_until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    peer.send(&body).await;
    assert_eq!(peer.answer().await.body, fault(8001, "procedure nosuch not found"));
}

#[tokio::test]
async fn a_caller_that_asks_to_send_too_much_is_told_at_once() {
    let served = Served::with_defaults().await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 67108865\r\n\r\n";
    let answer = served.answer_to(head).await;
    assert_eq!(answer.status(), "413");
    assert_eq!(answer.body, "The body is over the limit (limits.body): send fewer notifications in one call.\n");
}

#[tokio::test]
async fn a_caller_that_sends_too_much_can_read_why() {
    let limits = rpc::Settings { body_max: 1000, ..rpc::Settings::default() };
    let served = Served::start(listener::Settings::default(), limits).await;
    let mut peer = served.connect().await;
    peer.send(post("", vec![b'x'; 4_000_000])).await;
    let answer = peer.answer().await;
    assert_eq!((answer.status(), answer.header("connection")), ("413", Some("close")));
    assert!(peer.is_closed().await);
    let chunked =
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n".to_owned() + &"x".repeat(1001);
    assert_eq!(served.answer_to(chunked).await.status(), "413");
}

#[tokio::test]
async fn who_announces_much_and_sends_one_byte_keeps_no_large_call_waiting() {
    let limits =
        rpc::Settings { body_max: 1 << 20, bodies_max: 0, body_timeout: PATIENCE * 2, ..rpc::Settings::default() };
    let served = Served::start(listener::Settings::default(), limits).await;
    let mut greedy = Vec::new();
    for _ in 0..5 {
        let mut peer = served.connect().await;
        peer.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1048576\r\n\r\n").await;
        assert_eq!(peer.read_until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        peer.send("<").await;
        greedy.push(peer);
    }
    let large = post("", call("nosuch") + &" ".repeat(300_000));
    assert_eq!(served.answer_to(large).await.body, fault(8001, "procedure nosuch not found"));
}

#[tokio::test]
async fn gzip_is_understood_in_one_member_or_several() {
    let served = Served::with_defaults().await;
    let body = call("nosuch");
    let (first, second) = body.split_at(30);
    let two_members = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
    for compressed in [gzip(body.as_bytes()), two_members] {
        let answer = served.answer_to(post("Content-Encoding: gzip\r\n", compressed)).await;
        assert_eq!(answer.body, fault(8001, "procedure nosuch not found"));
    }
}

#[tokio::test]
async fn bad_compression_is_refused_by_name() {
    let served = Served::with_defaults().await;
    let damaged = served.answer_to(post("Content-Encoding: gzip\r\n", "not gzip")).await;
    assert_eq!(damaged.status(), "400");
    assert!(damaged.body.starts_with("The body is not valid gzip: "), "{damaged:?}");
    let unknown = served.answer_to(post("Content-Encoding: br\r\n", "x")).await;
    assert_eq!((unknown.status(), unknown.header("accept-encoding")), ("415", Some("gzip")));
    assert_eq!(unknown.body, "Content-Encoding br is not supported: send gzip, or none.\n");
    let bomb = gzip(&vec![b' '; 80 << 20]);
    assert_eq!(served.answer_to(post("Content-Encoding: gzip\r\n", bomb)).await.status(), "413");
}

#[tokio::test]
async fn a_large_call_is_answered_as_a_small_one() {
    let served = Served::with_defaults().await;
    let body = call("nosuch") + &format!("<!-- {} -->", "x".repeat(1 << 20));
    for request in [post("", &body), post("Content-Encoding: x-gzip\r\n", gzip(body.as_bytes()))] {
        assert_eq!(served.answer_to(request).await.body, fault(8001, "procedure nosuch not found"));
    }
}

#[tokio::test]
async fn what_is_not_a_post_is_refused_where_there_is_no_page() {
    let served = Served::with_defaults().await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let answer = served.answer_to(format!("{method} /RPC2 HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!((answer.status(), answer.header("allow")), ("405", Some("POST")), "{method}");
        assert!(answer.body.contains("Calls are XML-RPC in HTTP POST requests"), "{answer:?}");
    }
    assert_eq!(served.answer_to("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.body, "a page");
    let mut peer = served.connect().await;
    peer.send("HEAD /RPC2 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(peer.read_until("\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
    peer.send(post("", call("nosuch"))).await;
    assert_eq!(peer.answer().await.status(), "200");
}

#[tokio::test]
async fn web_pages_are_refused() {
    let served = Served::with_defaults().await;
    let text = "Requests from web pages (with an Origin header) are not served. Call from a program.\n";
    for origin in ["http://example.com", "null", ""] {
        let answer = served.answer_to(post(&format!("Origin: {origin}\r\n"), call("nosuch"))).await;
        assert_eq!((answer.status(), &*answer.body), ("403", text));
        let page = served.answer_to(format!("GET / HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\n\r\n")).await;
        assert_eq!((page.status(), &*page.body), ("403", text));
    }
}

#[tokio::test]
async fn slow_and_idle_callers_are_given_up() {
    let short = Duration::from_millis(50);
    let http = listener::Settings { header_timeout: short, keep_alive: PATIENCE * 2, ..listener::Settings::default() };
    let served = Served::start(http, rpc::Settings { body_timeout: short, ..rpc::Settings::default() }).await;
    let mut slow_head = served.connect().await;
    slow_head.send("POST / HTTP/1.1\r\nHo").await;
    assert!(slow_head.is_closed().await);

    let mut slow_body = served.connect().await;
    slow_body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n<?xml").await;
    let answer = slow_body.answer().await;
    assert_eq!((answer.status(), answer.header("connection")), ("408", Some("close")));
    assert_eq!(answer.body, "The body did not arrive in time (http.body_timeout).\n");
    slow_body.0.shutdown().await.unwrap();
    assert!(slow_body.is_closed().await);

    let http = listener::Settings { keep_alive: short, ..listener::Settings::default() };
    let served = Served::start(http, rpc::Settings::default()).await;
    let mut idle = served.connect().await;
    idle.send(post("", call("nosuch"))).await;
    assert_eq!(idle.answer().await.status(), "200");
    assert!(idle.is_closed().await);
}

#[tokio::test]
async fn a_stop_lets_the_call_in_flight_finish_and_takes_no_more() {
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let signals = (begun.clone(), finish.clone());
    let router = Router::new().fallback(move || async move {
        signals.0.notify_one();
        signals.1.notified().await;
        "done"
    });
    let served = Served::start_router(listener::Settings::default(), router).await;
    let mut idle = served.connect().await;
    let mut busy = served.connect().await;
    busy.send(post("", "")).await;
    timeout(PATIENCE, begun.notified()).await.unwrap();

    served.shutdown.stop();
    assert!(idle.is_closed().await);
    finish.notify_one();
    let answer = busy.answer().await;
    assert_eq!((&*answer.body, answer.header("connection")), ("done", Some("close")));
    assert!(busy.is_closed().await);
    assert!(served.shutdown.finish(PATIENCE).await);
    assert!(TcpStream::connect(&served.address).await.is_err());
}

#[tokio::test]
async fn what_follows_an_answer_runs_when_it_has_left_and_not_when_the_caller_is_gone() {
    let fates: Arc<std::sync::Mutex<Vec<oneshot::Sender<()>>>> = Arc::default();
    let queue = fates.clone();
    let router = Router::new().fallback(move |request: axum::extract::Request| async move {
        let fate = queue.lock().unwrap().pop().unwrap();
        let after = request.extensions().get::<AfterAnswer>().unwrap();
        after.run(move || fate.send(()).unwrap());
        "x".repeat(50 << 20)
    });
    let served = Served::start_router(listener::Settings::default(), router).await;

    let (sender, left) = oneshot::channel();
    fates.lock().unwrap().push(sender);
    assert_eq!(served.answer_to(post("", "")).await.body.len(), 50 << 20);
    assert_eq!(timeout(PATIENCE, left).await.unwrap(), Ok(()));

    let (sender, left) = oneshot::channel();
    fates.lock().unwrap().push(sender);
    let mut peer = served.connect().await;
    peer.send(post("", "")).await;
    peer.read_until("xxx").await;
    drop(peer);
    assert!(timeout(PATIENCE, left).await.unwrap().is_err());
}
