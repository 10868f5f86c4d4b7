//! A session and the client that the daemon uses.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future, stream};
use h2::client::{self, SendRequest};
use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::yield_now;

use super::*;

/// A server that keeps requests for a while, and moves its limit.
struct Server {
    session: Session,
    /// After every so many answers the next of `limits` comes.
    answers_between_limits: usize,
    limits: Vec<u32>,
    body: Vec<u8>,
    waiting: Vec<u32>,
    requests: Vec<(Vec<Field>, Vec<u8>)>,
    answers: usize,
    resets: usize,
    peak: u32,
}

impl Server {
    fn new(options: Options) -> Self {
        Self {
            session: Session::new(options),
            answers_between_limits: usize::MAX,
            limits: Vec::new(),
            body: Vec::new(),
            waiting: Vec::new(),
            requests: Vec::new(),
            answers: 0,
            resets: 0,
            peak: 0,
        }
    }

    /// Serves until the client closes. While requests wait it reads what has come, and answers the newest.
    async fn run(mut self, mut io: DuplexStream) -> Self {
        let mut buffer = [0; 4096];
        loop {
            io.write_all(&self.session.out().split()).await.unwrap();
            let read = tokio::select! {
                biased;
                read = io.read(&mut buffer) => read.unwrap(),
                () = yield_now(), if !self.waiting.is_empty() => {
                    self.answer();
                    continue;
                }
            };
            if read == 0 {
                return self;
            }
            self.session.receive(&buffer[..read]).unwrap();
            self.take_events();
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.session.next_event() {
            self.peak = self.peak.max(self.session.open_streams());
            match event {
                Event::Request { stream, headers, body, excess } => {
                    assert!(!excess, "stream {stream} is beyond the limit");
                    self.waiting.push(stream);
                    self.requests.push((headers, body));
                }
                Event::Reset { stream, .. } => {
                    self.waiting.retain(|waiting| *waiting != stream);
                    self.resets += 1;
                }
                Event::Refused { words, .. } => panic!("{words}"),
                _ => (),
            }
        }
    }

    fn answer(&mut self) {
        let Some(stream) = self.waiting.pop() else { return };
        self.session.respond(stream, Response { body: self.body.clone(), ..Response::new(200) });
        self.answers += 1;
        if self.answers.is_multiple_of(self.answers_between_limits) && !self.limits.is_empty() {
            self.session.limit_streams(self.limits[0]);
            self.limits.rotate_left(1);
        }
    }
}

/// Runs a client against a server until it drops its last sender.
async fn serve<F: Future>(server: Server, client: impl FnOnce(SendRequest<Bytes>) -> F) -> (Server, F::Output) {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let talk = async {
        let (sender, connection) = client::Builder::new().initial_max_send_streams(1).handshake(near).await.unwrap();
        let (output, closed) = future::join(client(sender), connection).await;
        closed.unwrap();
        output
    };
    tokio::time::timeout(Duration::from_secs(60), future::join(server.run(far), talk)).await.unwrap()
}

fn post(path: &str) -> http::Request<()> {
    http::Request::post(format!("https://localhost{path}")).header("apns-topic", "com.example.app").body(()).unwrap()
}

/// Sends a request; its answer's status and body.
async fn send(sender: SendRequest<Bytes>, request: http::Request<()>, body: Bytes) -> (u16, Vec<u8>) {
    let mut sender = sender.ready().await.unwrap();
    let (response, mut stream) = sender.send_request(request, false).unwrap();
    stream.send_data(body, true).unwrap();
    let (head, mut body) = response.await.unwrap().into_parts();
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        read.extend_from_slice(&data);
    }
    (head.status.as_u16(), read)
}

#[tokio::test]
async fn a_real_client_keeps_to_a_limit_that_moves_and_gets_every_answer() {
    let limits = vec![1, 1000, 7, 500, 1, 2, 100];
    let server = Server { answers_between_limits: 37, limits, ..Server::new(Options::default()) };
    let (server, statuses) = serve(server, |sender| async move {
        let requests = stream::iter(0..2000).map(|n| {
            let body = Bytes::from(format!(r#"{{"aps":{{"badge":{n}}}}}"#));
            send(sender.clone(), post(&format!("/3/device/{n:064x}")), body).map(|(status, _)| status)
        });
        requests.buffer_unordered(1500).collect::<Vec<u16>>().await
    })
    .await;
    assert_eq!(statuses, vec![200; 2000]);
    assert_eq!((server.answers, server.requests.len(), server.session.open_streams()), (2000, 2000, 0));
    assert!(server.peak > 100, "{} streams at once", server.peak);
}

#[tokio::test]
async fn requests_that_are_given_up_leave_no_stream_behind() {
    let server = Server { answers_between_limits: 20, limits: vec![1, 50], ..Server::new(Options::default()) };
    let (server, ()) = serve(server, |sender| async move {
        let requests = stream::iter(0..1000).map(|n| {
            let sender = sender.clone();
            async move {
                let mut sender = sender.ready().await.unwrap();
                let (response, mut body) = sender.send_request(post("/3/device/00"), false).unwrap();
                body.send_data(Bytes::from_static(b"{}"), n % 2 == 0).unwrap();
                if n % 4 < 2 {
                    yield_now().await;
                    drop((response, body));
                } else {
                    body.send_data(Bytes::new(), true).ok();
                    assert_eq!(response.await.unwrap().status(), 200);
                }
            }
        });
        requests.buffer_unordered(100).collect::<()>().await;
    })
    .await;
    assert!(server.answers >= 500 && server.resets > 0, "{} answers, {} resets", server.answers, server.resets);
    assert_eq!(server.session.open_streams(), 0);
}

#[tokio::test]
async fn bodies_larger_than_windows_arrive_whole_both_ways() {
    let options = Options { initial_window_size: 100, ..Options::default() };
    let server = Server { body: vec![b'y'; 200_000], ..Server::new(options) };
    let (server, answers) = serve(server, |sender| async move {
        let body = Bytes::from(vec![b'x'; 5000]);
        let requests = (0..20).map(|_| send(sender.clone(), post("/3/device/00"), body.clone()));
        future::join_all(requests).await
    })
    .await;
    assert!(answers.iter().all(|(status, body)| (*status, body.len()) == (200, 200_000)));
    assert!(server.requests.iter().all(|(_, body)| *body == vec![b'x'; 5000]));
}

#[tokio::test]
async fn every_octet_in_the_huffman_code_of_a_real_encoder_is_read() {
    let octets: Vec<u8> = (0x21..=0xff).filter(|octet| *octet != 0x7f).collect();
    let sent = octets.clone();
    let (server, ()) = serve(Server::new(Options::default()), |sender| async move {
        for _ in 0..3 {
            let mut request = post("/3/device/00");
            request.headers_mut().insert("x-octets", HeaderValue::from_bytes(&sent).unwrap());
            assert_eq!(send(sender.clone(), request, Bytes::new()).await.0, 200);
        }
    })
    .await;
    assert_eq!(server.requests.len(), 3);
    for (headers, _) in server.requests {
        let read = headers.iter().find(|(name, _)| name == b"x-octets").unwrap();
        assert_eq!(read.1, octets);
    }
}

#[tokio::test]
async fn a_real_client_follows_a_header_table_of_0() {
    let options = Options { header_table_size: 0, ..Options::default() };
    let (server, ()) = serve(Server::new(options), |sender| async move {
        for _ in 0..20 {
            assert_eq!(send(sender.clone(), post("/3/device/00"), Bytes::new()).await.0, 200);
        }
    })
    .await;
    assert_eq!(server.answers, 20);
}
