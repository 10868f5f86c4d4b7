//! The gateway over real TLS connections, against servers whose every answer the test decides on.

use std::pin::pin;
use std::time::Duration;

use self::server::{Peer, Server};
use crate::domain::apns::{ApnsReason, IdSeed};
use crate::domain::batch::{Batch, BatchId, Message, PushOptions, Span, Tries};
use crate::domain::outcome::{Outcome, Reason, Retry, Settled};
use crate::domain::time::Timestamp;
use crate::domain::token::Tokens;
use crate::gateway::{CloseCause, Closed, Event, Gateway, Settings};

mod answering;
mod chaos;
mod ending;
mod limiting;
mod server;

/// Long enough for the slowest machine; no test waits for it.
const AT_MOST: Duration = Duration::from_secs(120);

/// So many rows; the token of each begins with its number.
fn span(rows: u32) -> Span {
    let mut tokens = Tokens::default();
    for row in 0..rows {
        let mut token = [0; 32];
        token[..4].copy_from_slice(&row.to_be_bytes());
        tokens.push(&token);
    }
    let options = PushOptions { expiration: Some(1_900_000_000), ..PushOptions::default() };
    let message = Message { payload: br#"{"aps":{"alert":"hi"}}"#.as_slice().into(), options };
    let batch = Batch::broadcast(Timestamp::default(), tokens, message).with_ids(IdSeed([7; 16]), 0).into();
    Span { id: BatchId(1), batch, rows: 0..rows, tries: Tries::default() }
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

/// Does some work at the other end, during which the gateway has nothing to say of rows.
async fn quietly<T>(gateway: &mut Gateway, work: impl Future<Output = T>) -> T {
    let mut events = Vec::new();
    let done = beside(gateway, &mut events, work).await;
    assert!(events.iter().all(is_of_room), "{events:?}");
    done
}

/// Whether it says no more than whether there is room on a connection.
fn is_of_room(event: &Event) -> bool {
    matches!(event, Event::Room | Event::Reconnecting { .. } | Event::Connected { .. })
}

async fn next(gateway: &mut Gateway) -> Event {
    tokio::time::timeout(AT_MOST, gateway.event()).await.unwrap()
}

/// Connects a gateway to the server and waits until it may be used.
async fn connected(server: &Server, gateway: &mut Gateway, limit: u32) -> Peer {
    let mut events = Vec::new();
    let peer = beside(gateway, &mut events, server.accept(limit)).await;
    if events.is_empty() {
        events.push(next(gateway).await);
    }
    assert_eq!(events, [Event::Connected { peer: server.address() }]);
    peer
}

/// Connects a gateway and has one row delivered.
async fn proven(server: &Server, gateway: &mut Gateway, limit: u32) -> Peer {
    let mut peer = connected(server, gateway, limit).await;
    let streams = sent(gateway, &mut peer, 1).await;
    quietly(gateway, peer.answer(streams[0], 200, "")).await;
    assert_eq!(settled(gateway, 1).await, [Outcome::Accepted]);
    peer
}

/// Has rows sent and returns their streams, in order.
async fn sent(gateway: &mut Gateway, peer: &mut Peer, rows: u32) -> Vec<u32> {
    assert_eq!(gateway.send(span(rows)), None);
    quietly(gateway, peer.requests(rows as usize)).await
}

/// Waits for outcomes of this many rows, and returns them in the order of rows.
async fn settled(gateway: &mut Gateway, rows: usize) -> Vec<Outcome> {
    let mut outcomes: Vec<(u32, Outcome)> = Vec::new();
    while outcomes.len() < rows {
        match next(gateway).await {
            Event::Settled(settled) => outcomes.extend(by_row(settled)),
            event if is_of_room(&event) => (),
            event => panic!("{event:?} after {outcomes:?}"),
        }
    }
    outcomes.sort_by_key(|(row, _)| *row);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn by_row(settled: Vec<Settled>) -> impl Iterator<Item = (u32, Outcome)> {
    settled.into_iter().flat_map(|Settled { span, outcome }| span.rows.map(move |row| (row, outcome.clone())))
}

/// Waits for the end of the connection: the outcomes of its rows, and why it ended.
async fn closed(gateway: &mut Gateway) -> (Vec<Outcome>, CloseCause) {
    loop {
        match next(gateway).await {
            Event::Closed(Closed { settled, cause, .. }) => {
                return (by_row(settled).map(|(_, outcome)| outcome).collect(), cause);
            }
            Event::Reconnecting { .. } | Event::Room => (),
            event @ (Event::Connected { .. } | Event::Settled(_)) => panic!("{event:?}"),
        }
    }
}

fn rejected(reason: ApnsReason) -> Outcome {
    Outcome::Rejected(Reason::Apns(reason))
}

fn transient(reason: ApnsReason) -> Outcome {
    Outcome::Retry(Retry::Transient { reason: Reason::Apns(reason), after: None })
}

fn refused(reason: ApnsReason) -> Outcome {
    Outcome::Retry(Retry::Refused(Reason::Apns(reason)))
}

const NOT_PROCESSED: Outcome = Outcome::Retry(Retry::NotProcessed);
const UNKNOWN: Outcome = Outcome::Retry(Retry::Unanswered);
const CANCEL: u32 = 8;
const REFUSED_STREAM: u32 = 7;
