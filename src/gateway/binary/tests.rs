//! Gateway and feedback over real TLS connections, against a server whose every byte the test decides on.

use std::pin::pin;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use self::server::{Options, Server};
use crate::clock::Clock;
use crate::domain::app::Address;
use crate::domain::batch::{Batch, BatchId, Message, PushOptions, Span, Tries};
use crate::domain::outcome::{Outcome, Reason, Retry, Settled};
use crate::domain::time::Timestamp;
use crate::domain::token::Tokens;
use crate::gateway::{CloseCause, Closed, Event, Gateway, RouteError, Settings};

mod connecting;
mod feedback;
mod sending;
mod server;

/// Long enough for the slowest machine; no test waits for it.
const AT_MOST: Duration = Duration::from_secs(60);

fn span(rows: u32) -> Span {
    let mut tokens = Tokens::default();
    (0..rows).for_each(|_| tokens.push(&TOKEN));
    let options = PushOptions { expiration: Some(0x5e0b_e100), ..PushOptions::default() };
    let message = Message { payload: PAYLOAD.as_slice().into(), options };
    let batch = Batch::broadcast(Timestamp::default(), tokens, message).into();
    Span { id: BatchId(1), batch, rows: 0..rows, tries: Tries::default() }
}

const TOKEN: [u8; 32] = [0xab; 32];
const PAYLOAD: &[u8; 22] = br#"{"aps":{"alert":"hi"}}"#;

/// The frame of each row of [`span`], as the Binary Provider API lays it out.
fn frame(identifier: u32) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0x4e, 0x03, 0, 4];
    frame.extend(identifier.to_be_bytes());
    frame.extend([0x01, 0, 0x20]);
    frame.extend(TOKEN);
    frame.extend([0x02, 0, 0x16]);
    frame.extend(PAYLOAD);
    frame.extend([0x04, 0, 4, 0x5e, 0x0b, 0xe1, 0x00, 0x05, 0, 1, 10]);
    frame
}

const FRAME_BYTES: usize = 83;

/// Does some work at the other end while the gateway runs, and keeps what the gateway has to say meanwhile. Calls to
/// `event` are dropped over and over, as a worker's select loop does.
async fn beside<T>(gateway: &mut Gateway, events: &mut Vec<Event>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let both = async {
        loop {
            tokio::select! {
                done = &mut work => return done,
                event = gateway.event() => events.push(event),
            }
        }
    };
    tokio::time::timeout(AT_MOST, both).await.unwrap()
}

async fn next(gateway: &mut Gateway) -> Event {
    tokio::time::timeout(AT_MOST, gateway.event()).await.unwrap()
}

/// Connects a gateway to the server and waits until it may be used.
async fn connected(server: &Server, gateway: &mut Gateway) -> TlsStream<TcpStream> {
    let mut events = Vec::new();
    let peer = beside(gateway, &mut events, server.accept()).await;
    while events.is_empty() {
        events.push(next(gateway).await);
    }
    assert_eq!(events, [Event::Connected { peer: server.listener.local_addr().unwrap() }]);
    peer
}

/// Has rows sent and reads them at the other end.
async fn send(gateway: &mut Gateway, peer: &mut TlsStream<TcpStream>, rows: u32) {
    assert_eq!(gateway.send(span(rows)), None);
    let mut received = vec![0; rows as usize * FRAME_BYTES];
    let mut events = Vec::new();
    beside(gateway, &mut events, peer.read_exact(&mut received)).await.unwrap();
    assert_eq!(events, []);
}

/// Writes bytes at the other end, in a record of their own.
async fn answer(gateway: &mut Gateway, peer: &mut TlsStream<TcpStream>, bytes: &[u8]) {
    let mut events = Vec::new();
    let write = async {
        peer.write_all(bytes).await.unwrap();
        peer.flush().await.unwrap();
    };
    beside(gateway, &mut events, write).await;
    assert_eq!(events, []);
}

async fn closed(gateway: &mut Gateway) -> Closed {
    match next(gateway).await {
        Event::Closed(closed) => closed,
        event => panic!("{event:?}"),
    }
}

/// Resets the connection, as a kernel does when a program ends with unread bytes.
fn reset(peer: TlsStream<TcpStream>) {
    let (tcp, _) = peer.into_inner();
    SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Outcomes in order, with the number of rows in a row that each of them befell.
fn outcomes(settled: &[Settled]) -> Vec<(u32, Outcome)> {
    let groups = settled.chunk_by(|a, b| a.outcome == b.outcome);
    let rows = |group: &[Settled]| group.iter().map(|settled| settled.span.len()).sum();
    groups.map(|group| (rows(group), group[0].outcome.clone())).collect()
}

fn not_processed(rows: u32) -> (u32, Outcome) {
    (rows, Outcome::Retry(Retry::NotProcessed))
}

fn unknown(rows: u32) -> (u32, Outcome) {
    (rows, Outcome::Retry(Retry::Unknown { alone: rows == 1 }))
}
