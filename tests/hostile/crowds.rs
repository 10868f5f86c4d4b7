//! Many at once: who guess passwords, and who are slow. What they take is measured, and printed with `--nocapture`.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apnsd::clock::Clock;
use apnsd::listener::user::Token;
use apnsd::shutdown::Shutdown;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::site::{PATIENCE, Site, call, framed, post};

const GUESSERS: usize = 50;
const GUESSES: usize = 10_000;
const SLOW: usize = 1_000;
/// Calls that a good caller makes meanwhile.
const CALLS: usize = 100;

/// Makes good calls, each on a connection of its own or all on one; the longest time that one took.
async fn good_calls(site: &Site, headers: &str, keeps: bool) -> Duration {
    let clock = Clock::system();
    let request = post(headers, call("system.listMethods"));
    let mut longest = Duration::ZERO;
    let mut kept = None;
    for number in 0..CALLS {
        let began = clock.now();
        let exchange = async {
            let mut stream = match kept.take() {
                Some(stream) => stream,
                None => TcpStream::connect(site.address()).await.unwrap(),
            };
            stream.write_all(&request).await.unwrap();
            let answer = read_answer(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("<string>notify</string>"), "{answer}");
            stream
        };
        let stream = timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("call {number} was not answered"));
        kept = keeps.then_some(stream);
        longest = longest.max(clock.now().since(began));
    }
    longest
}

/// One answer; empty where the connection ended instead.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
            if length.is_some_and(|length| body.len() >= length) {
                return text.into_owned();
            }
        }
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return String::new(),
            Ok(read) => answer.extend_from_slice(&part[..read]),
        }
    }
}

/// Guesses as long as some are left; how many were answered 401, and 429. Who was told that a guess was wrong has waited
/// for it: most are made by those who are turned away.
async fn guess(address: String, authorization: String, left: &AtomicUsize) -> [usize; 2] {
    let request = post(&authorization, call("apnsd.apps"));
    let mut answered = [0, 0];
    let mut kept: Option<TcpStream> = None;
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => TcpStream::connect(&address).await.unwrap(),
        };
        // Where the daemon has just closed it, the guess is lost.
        let _ = stream.write_all(&request).await;
        let answer = read_answer(&mut stream).await;
        match answer.split(' ').nth(1) {
            Some("401") => answered[0] += 1,
            Some("429") => answered[1] += 1,
            Some(other) => panic!("a guess was answered {other}"),
            None => continue,
        }
        kept = (!answer.contains("onnection: close")).then_some(stream);
    }
    answered
}

/// Bytes of this process that are in memory: the daemon's and the test's.
fn resident() -> usize {
    let pages: usize = fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_wrong_passwords_keep_no_good_caller_from_the_same_address_waiting() {
    let token = Token::generate().unwrap();
    let site = Site::start(&format!("[[user]]\nname = \"web\"\ntoken = \"{}\"\n", token.hash())).await;
    let bearer = format!("Authorization: Bearer {}\r\n", token.reveal());
    let alone = good_calls(&site, &bearer, false).await;
    let before = resident();
    let wrong = |at: usize| match at % 3 {
        0 => "Authorization: Bearer apnsd_guessed\r\n".to_owned(),
        1 => format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode("web:apnsd_guessed")),
        _ => format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("root:apnsd_{at}"))),
    };
    let left = AtomicUsize::new(GUESSES);
    let guessers = futures_util::future::join_all((0..GUESSERS).map(|at| guess(site.address(), wrong(at), &left)));
    let good = async { good_calls(&site, &bearer, false).await.max(good_calls(&site, &bearer, true).await) };
    let (answered, meanwhile) = timeout(PATIENCE * 3, futures_util::future::join(guessers, good)).await.unwrap();
    let [unknown, turned_away] = answered.into_iter().fold([0, 0], |[a, b], [c, d]| [a + c, b + d]);
    assert!(unknown > 0 && turned_away > GUESSES / 2, "{unknown} {turned_away}");
    let grown = resident().saturating_sub(before) >> 20;
    eprintln!(
        "the slowest good call took {alone:?} alone and {meanwhile:?} meanwhile; {unknown} were told, {turned_away} turned away; {grown} MiB more"
    );
    assert!(grown < 256, "{grown} MiB more");
    let metrics = framed(&bearer, "");
    let metrics = String::from_utf8(metrics).unwrap().replace("POST / ", "GET /metrics ");
    let mut stream = TcpStream::connect(site.address()).await.unwrap();
    stream
        .write_all(metrics.replace("Host: localhost", "Host: localhost\r\nConnection: close").as_bytes())
        .await
        .unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    let value = |series: &str| -> usize {
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {page}")).parse().unwrap()
    };
    assert!(value("apnsd_logins_failed_total{cause=\"wrong\"}") >= unknown + turned_away, "{page}");
    assert!(value("apnsd_requests_refused_total{status=\"401\"}") >= unknown);
    assert!(value("apnsd_requests_refused_total{status=\"429\"}") >= turned_away);
}

/// Files for both ends of everything here.
fn raise_file_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
}

/// Is slow in one of four ways, and comes again when it is closed.
async fn dawdle(plain: String, tls: String, at: usize, begun: Arc<AtomicUsize>) {
    let begin: (&str, &[u8]) = match at % 4 {
        0 => (&plain, b"POST / HTTP/1.1\r\nX: "),
        1 => (&plain, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n<"),
        2 => (&tls, b"\x16\x03\x01\x02\x00\x01"),
        _ => (&plain, b""),
    };
    let mut is_first = true;
    loop {
        let Ok(mut stream) = TcpStream::connect(begin.0).await else { continue };
        if stream.write_all(begin.1).await.is_err() {
            continue;
        }
        if std::mem::take(&mut is_first) {
            begun.fetch_add(1, Ordering::Relaxed);
        }
        let (mut reader, mut writer) = stream.split();
        let drip = async {
            let clock = Clock::system();
            while at % 4 < 2 && writer.write_all(b"x").await.is_ok() {
                clock.sleep(Duration::from_millis(300)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut part = [0; 100];
        tokio::select! {
            () = drip => (),
            _ = reader.read(&mut part) => (),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_slow_connections_give_way_to_good_callers() {
    raise_file_limit();
    // Nobody is given up for being late: who gets in here was let in.
    let patient = "http.header_timeout = \"10m\"\nhttp.body_timeout = \"10m\"\nhttp.keep_alive = \"10m\"\n";
    let site = Site::start(patient).await;
    let alone = good_calls(&site, "", false).await;
    let crowd = Shutdown::new();
    let begun = Arc::new(AtomicUsize::new(0));
    for at in 0..SLOW {
        let dawdle = dawdle(site.address(), site.tls_address(), at, Arc::clone(&begun));
        let stop = crowd.clone();
        crowd.spawn(async move {
            tokio::select! {
                () = stop.requested() => (),
                () = dawdle => (),
            }
        });
    }
    let clock = Clock::system();
    let all_have_begun = async {
        while begun.load(Ordering::Relaxed) < SLOW {
            clock.sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, all_have_begun).await.unwrap();
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let began = clock.now();
        site.serves("a thousand slow connections").await;
        longest = longest.max(clock.now().since(began));
    }
    eprintln!("the slowest good call took {alone:?} alone and {longest:?} among {SLOW} slow connections");
    assert!(crowd.finish(PATIENCE).await);
    site.serves("a thousand slow connections that are gone").await;
}

/// A large call of many that each wait for a gateway which says nothing.
fn sends() -> Vec<u8> {
    let param = |value: &str| format!("<value>{value}</value>");
    let timeout = "<struct><member><name>timeout</name><value><int>60</int></value></member></struct>";
    let params = ["app", &"ab".repeat(32), "{\"aps\":{}}", timeout].map(param).concat();
    let send = format!(
        "<value><struct><member><name>methodName</name><value>apnsd.send</value></member><member><name>params</name>\
         <value><array><data>{params}</data></array></value></member></struct></value>"
    );
    let calls = format!("<param><value><array><data>{}</data></array></value></param>", send.repeat(1_000));
    post("", format!("<methodCall><methodName>system.multicall</methodName><params>{calls}</params></methodCall>"))
}

#[tokio::test(flavor = "multi_thread")]
async fn large_calls_that_wait_for_a_silent_gateway_hold_up_nobody() {
    raise_file_limit();
    let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let environment = format!("[environments.silent]\ngateway = \"https://{}\"\n", gateway.local_addr().unwrap());
    let site = Site::start(&environment).await;
    let key = KeyPair::generate().unwrap();
    let pem = CertificateParams::new(["x".to_owned()]).unwrap().self_signed(&key).unwrap().pem() + &key.serialize_pem();
    let params: String =
        ["app", &pem, "silent", "<int>15</int>"].map(|value| format!("<param><value>{value}</value></param>")).concat();
    let provision = format!("<methodCall><methodName>provision</methodName><params>{params}</params></methodCall>");
    let told = site.told(&site.address(), &post("", provision), false).await;
    assert!(told.starts_with("200"), "{told}");
    let request = Arc::new(sends());
    assert!(request.len() > 256 * 1024, "{}", request.len());
    let large = post("", call("nosuch") + &" ".repeat(300_000));
    let crowd = Shutdown::new();
    let sent = Arc::new(AtomicUsize::new(0));
    for calls in [70, 530] {
        for _ in 0..calls {
            let (address, request, stop, sent) =
                (site.address(), Arc::clone(&request), crowd.clone(), Arc::clone(&sent));
            let hog = async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let is_sent = stream.write_all(&request).await;
                sent.fetch_add(1, Ordering::Relaxed);
                if is_sent.is_ok() {
                    read_answer(&mut stream).await;
                }
            };
            crowd.spawn(async move {
                tokio::select! {
                    () = stop.requested() => (),
                    () = hog => (),
                }
            });
        }
        // Some of the rest are accepted only when others have gone.
        while sent.load(Ordering::Relaxed) < 70 {
            Clock::system().sleep(Duration::from_millis(20)).await;
        }
        for _ in 0..10 {
            site.serves("large calls that wait").await;
        }
        let told = site.told(&site.address(), &large, false).await;
        assert_eq!(told, "fault 8001: procedure nosuch not found", "among {calls} more");
    }
    assert!(crowd.finish(PATIENCE).await);
    site.serves("large calls that were given up").await;
}
