//! The gateway over real TLS connections, against an `h2` server whose every answer the test decides on.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};

use self::server::{Peer, Server};
use crate::domain::apns::{ApnsReason, IdSeed};
use crate::domain::batch::{Batch, BatchId, Message, PushOptions, Span, Tries};
use crate::domain::outcome::{Outcome, Reason, Retry, Settled};
use crate::domain::time::Timestamp;
use crate::domain::token::Tokens;
use crate::gateway::{CloseCause, Closed, Event, Gateway, Settings};

mod answering;
mod server;

/// Long enough for the slowest machine; no test waits for it.
const AT_MOST: Duration = Duration::from_secs(60);

/// So many rows; the token of each begins with its number.
fn span(id: u64, rows: u32) -> Span {
    let mut tokens = Tokens::default();
    for row in 0..rows {
        let mut token = [0; 32];
        token[..4].copy_from_slice(&row.to_be_bytes());
        tokens.push(&token);
    }
    let options = PushOptions { expiration: Some(1_900_000_000), ..PushOptions::default() };
    let message = Message { payload: br#"{"aps":{"alert":"hi"}}"#.as_slice().into(), options };
    let batch = Batch::broadcast(Timestamp::default(), tokens, message).with_ids(IdSeed([7; 16]), 0).into();
    Span { id: BatchId(id), batch, rows: 0..rows, tries: Tries::default() }
}

/// A request with what answers it.
type Exchange = (Request<RecvStream>, SendResponse<Bytes>);

/// The row that a request is for.
fn row_of(request: &Request<RecvStream>) -> u32 {
    let digits = request.uri().path().strip_prefix("/3/device/").unwrap();
    u32::from_str_radix(&digits[..8], 16).unwrap()
}

/// Answers a request whose body has been read.
async fn answer((request, mut respond): Exchange, status: u16, body: &str) -> (http::request::Parts, Vec<u8>) {
    let (parts, mut stream) = request.into_parts();
    let mut payload = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.unwrap();
        stream.flow_control().release_capacity(data.len()).unwrap();
        payload.extend_from_slice(&data);
    }
    let response = Response::builder().status(status).body(()).unwrap();
    let mut stream = respond.send_response(response, body.is_empty()).unwrap();
    if !body.is_empty() {
        stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true).unwrap();
    }
    (parts, payload)
}

fn reason(reason: ApnsReason) -> String {
    format!(r#"{{"reason":"{}"}}"#, reason.name())
}

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

/// The next event, while the server moves on too.
async fn next(gateway: &mut Gateway, peer: &mut Peer) -> Event {
    let mut peer = pin!(peer.run());
    let both = async {
        tokio::select! {
            event = gateway.event() => event,
            () = &mut peer => unreachable!(),
        }
    };
    tokio::time::timeout(AT_MOST, both).await.unwrap()
}

/// Connects a gateway to the server and waits until it may be used.
async fn connected(server: &Server, gateway: &mut Gateway, limit: u32) -> Peer {
    let mut events = Vec::new();
    let mut peer = beside(gateway, &mut events, server.accept(limit)).await;
    if events.is_empty() {
        events.push(next(gateway, &mut peer).await);
    }
    assert_eq!(events, [Event::Connected { peer: server.address() }]);
    peer
}

/// Waits for outcomes of this many rows, and returns them in the order of rows.
async fn settled(gateway: &mut Gateway, peer: &mut Peer, rows: u32) -> Vec<Outcome> {
    let mut outcomes: Vec<(u32, Outcome)> = Vec::new();
    while outcomes.len() < rows as usize {
        match next(gateway, peer).await {
            Event::Settled(settled) => outcomes.extend(by_row(settled)),
            Event::Room => (),
            event @ (Event::Connected { .. } | Event::Closed(_)) => panic!("{event:?} after {outcomes:?}"),
        }
    }
    outcomes.sort_by_key(|(row, _)| *row);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn by_row(settled: Vec<Settled>) -> impl Iterator<Item = (u32, Outcome)> {
    settled.into_iter().flat_map(|Settled { span, outcome }| span.rows.map(move |row| (row, outcome.clone())))
}

async fn closed(gateway: &mut Gateway, peer: &mut Peer) -> Closed {
    loop {
        match next(gateway, peer).await {
            Event::Closed(closed) => return closed,
            Event::Room => (),
            event @ (Event::Connected { .. } | Event::Settled(_)) => panic!("{event:?}"),
        }
    }
}

const NOT_PROCESSED: Outcome = Outcome::Retry(Retry::NotProcessed);
const UNKNOWN: Outcome = Outcome::Retry(Retry::Unknown { alone: false });
