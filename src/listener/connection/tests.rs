//! Connections over an in-memory pipe, with paused time: time passes only when nothing else can happen.

use axum::Extension;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::post;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;
use crate::listener::after_answer::AfterAnswer;
use crate::listener::endless::Endless;

/// Longer than anything here takes; paused time skips it when nothing else can happen.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";

struct Served {
    peer: DuplexStream,
    shutdown: Shutdown,
    shared: Arc<Shared>,
}

/// Serves one connection whose pipe holds so many bytes in each direction.
fn serve_pipe(router: Router, pipe: usize) -> Served {
    let (peer, stream) = tokio::io::duplex(pipe);
    let shutdown = Shutdown::new();
    let settings = Settings::default();
    let (room, callers) = (Room::default(), Arc::default());
    let shared = Arc::new(Shared { router, settings, shutdown: shutdown.clone(), room, callers });
    let served = Served { peer, shutdown, shared };
    served.serve(stream);
    served
}

fn echo() -> Router {
    Router::new().fallback(post(|body: Bytes| async move { body }))
}

impl Served {
    /// Serves another connection.
    fn serve(&self, stream: DuplexStream) {
        let (shared, place) = (self.shared.clone(), self.shared.room.place());
        self.shutdown.spawn(async move {
            shared.callers.begins();
            shared.callers.ends(serve(stream, Peer::Unix, shared.clone(), place).await);
        });
    }

    fn ended(&self) -> Vec<(&'static str, u64)> {
        self.shared.callers.ended().filter(|(_, count)| *count > 0).collect()
    }

    /// Reads until the text ends with this.
    async fn read_until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let byte = timeout(PATIENCE, self.peer.read_u8()).await.expect("an answer");
            text.push(byte.unwrap_or_else(|error| panic!("{error} after {}", String::from_utf8_lossy(&text))));
        }
        String::from_utf8(text).unwrap()
    }

    async fn is_closed_within(&mut self, seconds: u64) -> bool {
        let mut rest = Vec::new();
        timeout(Duration::from_secs(seconds), self.peer.read_to_end(&mut rest)).await.is_ok()
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_the_keep_alive_time() {
    let mut served = serve_pipe(echo(), 4096);
    for _ in 0..2 {
        served.peer.write_all(POST).await.unwrap();
        assert!(served.read_until("hi").await.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(!served.is_closed_within(74).await);
    }
    assert!(served.is_closed_within(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_is_closed_after_the_keep_alive_time() {
    let mut served = serve_pipe(echo(), 4096);
    assert!(!served.is_closed_within(74).await);
    assert!(served.is_closed_within(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_has_its_time_from_its_first_byte_however_it_drips() {
    let mut served = serve_pipe(echo(), 4096);
    assert!(!served.is_closed_within(60).await);
    for byte in b"POST / HT" {
        served.peer.write_all(&[*byte]).await.unwrap();
        assert!(!served.is_closed_within(1).await);
    }
    assert!(served.is_closed_within(2).await);
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_take_its_time() {
    let slow = Router::new().fallback(|| async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        "done"
    });
    let mut served = serve_pipe(slow, 4096);
    served.peer.write_all(POST).await.unwrap();
    served.read_until("done").await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_of_its_answer_is_given_up() {
    let long = Router::new().fallback(|| async { "x".repeat(100_000) });
    let mut served = serve_pipe(long, 1000);
    served.peer.write_all(POST).await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(59)).await;
        let mut part = [0; 1000];
        timeout(PATIENCE, served.peer.read_exact(&mut part)).await.unwrap().unwrap();
    }
    tokio::time::sleep(Duration::from_secs(61)).await;
    let mut rest = Vec::new();
    timeout(PATIENCE, served.peer.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.len() <= 1000, "{}", rest.len());
}

#[tokio::test(start_paused = true)]
async fn a_refused_peer_can_finish_sending_and_read_why() {
    let refuse = Router::new().fallback(|| async { (StatusCode::PAYLOAD_TOO_LARGE, "too large") });
    let mut served = serve_pipe(refuse, 1000);
    served.peer.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n").await.unwrap();
    served.peer.write_all(&[b'x'; 900_000]).await.unwrap();
    assert!(served.read_until("too large").await.starts_with("HTTP/1.1 413 "));
    assert!(served.is_closed_within(1).await);
}

#[tokio::test(start_paused = true)]
async fn a_refused_peer_that_never_finishes_sending_is_closed_after_five_seconds() {
    let refuse = Router::new().fallback(|| async { "no" });
    let mut served = serve_pipe(refuse, 1000);
    served.peer.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n").await.unwrap();
    served.read_until("no").await;
    assert!(timeout(Duration::from_secs(4), served.shutdown.finish(Duration::from_secs(60))).await.is_err());
    assert!(served.shutdown.finish(Duration::from_secs(2)).await);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_executed_and_answered_although_the_peer_closed_its_side() {
    let (begun, begins) = oneshot::channel();
    let (finish, finished) = oneshot::channel::<()>();
    let once = Arc::new(std::sync::Mutex::new(Some((begun, finished))));
    let slow = Router::new().fallback(move || async move {
        let (begun, finished) = once.lock().unwrap().take().unwrap();
        begun.send(()).unwrap();
        finished.await.unwrap();
        "done"
    });
    let mut served = serve_pipe(slow, 4096);
    served.peer.write_all(POST).await.unwrap();
    served.peer.shutdown().await.unwrap();
    timeout(PATIENCE, begins).await.unwrap().unwrap();
    finish.send(()).unwrap();
    served.read_until("done").await;
    assert!(served.is_closed_within(1).await);
}

#[tokio::test(start_paused = true)]
async fn a_stop_closes_idle_connections_and_lets_requests_in_flight_finish() {
    let mut idle = serve_pipe(echo(), 4096);
    idle.peer.write_all(POST).await.unwrap();
    idle.read_until("hi").await;
    assert!(idle.shutdown.finish(Duration::from_millis(999)).await);

    let mut busy = serve_pipe(echo(), 4096);
    busy.peer.write_all(&POST[..POST.len() - 1]).await.unwrap();
    tokio::task::yield_now().await;
    busy.shutdown.stop();
    tokio::task::yield_now().await;
    busy.peer.write_all(b"i").await.unwrap();
    let answer = busy.read_until("hi").await;
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
    assert!(busy.is_closed_within(1).await);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_peer_that_takes_nothing_of_an_endless_answer() {
    let page = |endless: bool| async move {
        let mut answer = "x".repeat(100_000).into_response();
        if endless {
            answer.extensions_mut().insert(Endless);
        }
        answer
    };
    for endless in [true, false] {
        let mut served = serve_pipe(Router::new().fallback(move || page(endless)), 1000);
        served.peer.write_all(POST).await.unwrap();
        served.read_until("\r\n\r\n").await;
        assert_eq!(served.shutdown.finish(Duration::from_secs(59)).await, endless, "other answers have their time");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_connected_just_before_a_stop_has_a_moment_for_one_request() {
    let mut newcomer = serve_pipe(echo(), 4096);
    tokio::task::yield_now().await;
    newcomer.shutdown.stop();
    tokio::time::sleep(Duration::from_millis(900)).await;
    newcomer.peer.write_all(POST).await.unwrap();
    let answer = newcomer.read_until("hi").await;
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
    assert!(newcomer.is_closed_within(1).await);

    let silent = serve_pipe(echo(), 4096);
    assert!(silent.shutdown.finish(Duration::from_secs(2)).await);
}

#[tokio::test(start_paused = true)]
async fn when_room_is_needed_the_connection_that_was_idle_for_longest_goes() {
    let mut first = serve_pipe(echo(), 4096);
    let (mut second, stream) = tokio::io::duplex(4096);
    tokio::task::yield_now().await;
    first.serve(stream);
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(!first.shared.room.ask(), "whoever has just come has a second for the first request");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(first.shared.room.ask());
    assert!(first.is_closed_within(1).await);
    second.write_all(POST).await.unwrap();
    assert_eq!(timeout(PATIENCE, second.read_u8()).await.unwrap().unwrap(), b'H');
}

#[tokio::test(start_paused = true)]
async fn when_room_is_needed_a_slow_head_or_body_goes_after_a_second_and_a_request_that_is_whole_never() {
    let begun: [&[u8]; 2] = [b"POST / HT", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n<"];
    for begin in begun {
        let mut slow = serve_pipe(echo(), 4096);
        slow.peer.write_all(begin).await.unwrap();
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert!(!slow.shared.room.ask(), "it may only have begun");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(slow.shared.room.ask());
        assert!(slow.is_closed_within(1).await);
        assert!(slow.shutdown.finish(PATIENCE).await);
        assert_eq!(slow.ended(), [("crowded", 1)]);
    }
    let never = Router::new().fallback(|_: Bytes| std::future::pending::<()>());
    let mut busy = serve_pipe(never, 4096);
    busy.peer.write_all(POST).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!busy.shared.room.ask());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_fast_enough_does_not_give_way_until_it_slows_down() {
    let mut large = serve_pipe(echo(), 64 * 1024);
    large.peer.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n").await.unwrap();
    for _ in 0..20 {
        large.peer.write_all(&[b'x'; 9_000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!large.shared.room.ask());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(large.shared.room.ask());
    assert!(large.is_closed_within(1).await);
}

#[tokio::test(start_paused = true)]
async fn every_end_of_a_connection_is_counted_and_what_is_not_http_as_refused() {
    let mut idle = serve_pipe(echo(), 4096);
    assert!(idle.is_closed_within(80).await);
    assert!(idle.shutdown.finish(PATIENCE).await);
    assert_eq!(idle.ended(), [("closed", 1)]);
    let mut slow = serve_pipe(echo(), 4096);
    slow.peer.write_all(b"POST / HT").await.unwrap();
    assert!(slow.is_closed_within(80).await);
    assert!(slow.shutdown.finish(PATIENCE).await);
    assert_eq!(slow.ended(), [("slow", 1)]);
    for (bytes, status) in [(b"\x16\x03\x01\x02\x00".to_vec(), "400"), (vec![b'x'; 20_000], "431")] {
        let mut junk = serve_pipe(echo(), 32_000);
        junk.peer.write_all(&bytes).await.unwrap();
        assert!(junk.is_closed_within(80).await);
        assert!(junk.shutdown.finish(PATIENCE).await);
        assert_eq!(junk.ended(), [("broken", 1)]);
        let refused: Vec<_> = junk.shared.callers.refused().filter(|(_, count)| *count > 0).collect();
        assert_eq!(refused, [(status, 1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn other_codings_than_chunked_and_several_hosts_are_refused() {
    let codings = "Transfer-Encoding has to be `chunked` alone, or left out\n";
    let hosts = "a request names one Host\n";
    let cases = [
        ("Transfer-Encoding: gzip, chunked", codings),
        ("Transfer-Encoding: chunked, chunked", codings),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", codings),
        ("Host: a\r\nHost: a\r\nContent-Length: 0", hosts),
    ];
    for (headers, text) in cases {
        let mut served = serve_pipe(echo(), 4096);
        served.peer.write_all(format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n0\r\n\r\n").as_bytes()).await.unwrap();
        let answer = served.read_until(text).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        assert!(served.is_closed_within(10).await);
    }
    let mut served = serve_pipe(echo(), 4096);
    let good = b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    served.peer.write_all(good).await.unwrap();
    assert!(served.read_until("hi").await.starts_with("HTTP/1.1 200 "));
}

/// Answers 3,000 bytes and registers an action, whose fate the receiver tells: run, or dropped.
fn with_action() -> (Router, oneshot::Receiver<&'static str>) {
    let (ran, fate) = oneshot::channel();
    let ran = Arc::new(std::sync::Mutex::new(Some(ran)));
    let router = Router::new().fallback(|Extension(after): Extension<AfterAnswer>| async move {
        let ran = ran.lock().unwrap().take().unwrap();
        after.run(move || ran.send("ran").unwrap());
        "x".repeat(3000)
    });
    (router, fate)
}

#[tokio::test(start_paused = true)]
async fn what_is_to_follow_an_answer_runs_once_all_of_it_has_left() {
    let (router, mut fate) = with_action();
    let mut served = serve_pipe(router, 1000);
    served.peer.write_all(POST).await.unwrap();
    let mut part = [0; 1500];
    timeout(PATIENCE, served.peer.read_exact(&mut part)).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fate.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    served.read_until("xxx").await;
    timeout(PATIENCE, served.peer.read_exact(&mut part)).await.unwrap().unwrap();
    assert_eq!(timeout(PATIENCE, fate).await.unwrap(), Ok("ran"));
}

#[tokio::test(start_paused = true)]
async fn what_is_to_follow_an_answer_is_dropped_when_the_connection_breaks_first() {
    let (router, fate) = with_action();
    let mut served = serve_pipe(router, 1000);
    served.peer.write_all(POST).await.unwrap();
    served.read_until("\r\n\r\n").await;
    drop(served.peer);
    assert!(timeout(PATIENCE, fate).await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_has_left_too_once_its_head_has() {
    let (ran, fate) = oneshot::channel();
    let ran = Arc::new(std::sync::Mutex::new(Some(ran)));
    let router = Router::new().fallback(|Extension(after): Extension<AfterAnswer>| async move {
        let ran = ran.lock().unwrap().take().unwrap();
        after.run(move || ran.send("ran").unwrap());
    });
    let mut served = serve_pipe(router, 1000);
    served.peer.write_all(POST).await.unwrap();
    assert_eq!(timeout(PATIENCE, fate).await.unwrap(), Ok("ran"));
    served.read_until("\r\n\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_request_with_two_lengths_is_refused_and_nothing_behind_it_is_read() {
    let mut served = serve_pipe(echo(), 4096);
    let request = b"POST / HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    served.peer.write_all(request).await.unwrap();
    served.peer.write_all(POST).await.unwrap();
    let answer = served.read_until("not both\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
    assert!(served.is_closed_within(10).await);
}
