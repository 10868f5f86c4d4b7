//! Frames out, outcomes back.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::{Buf as _, BytesMut};

use super::*;
use crate::gateway::binary::frame::{Decoded, decode};
use crate::shutdown::Shutdown;

fn settings(settle_after: u64) -> Settings {
    Settings { settle_after: Duration::from_millis(settle_after), ..Settings::default() }
}

#[tokio::test]
async fn frames_arrive_byte_by_byte_and_are_presumed_after_a_silence() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = Server::with(Options { version, ..Options::default() }).await;
        let mut gateway = server.gateway(settings(300));
        let mut peer = connected(&server, &mut gateway).await;
        assert_eq!(gateway.send(span(2)), None);
        assert_eq!(gateway.in_flight(), 2);
        let (mut received, mut events) = (vec![0; 2 * FRAME_BYTES], Vec::new());
        beside(&mut gateway, &mut events, peer.read_exact(&mut received)).await.unwrap();
        assert_eq!(received, [frame(1), frame(2)].concat());
        while events.is_empty() {
            events.push(next(&mut gateway).await);
        }
        assert_eq!(events, [Event::Settled(vec![Settled { span: span(2), outcome: Outcome::Presumed }])]);
        assert_eq!(gateway.in_flight(), 0);
    }
}

#[tokio::test]
async fn a_split_packet_followed_by_garbage_names_its_row() {
    let server = Server::start().await;
    let mut gateway = server.patient_gateway();
    let mut peer = connected(&server, &mut gateway).await;
    send(&mut gateway, &mut peer, 13).await;
    answer(&mut gateway, &mut peer, &[8]).await;
    answer(&mut gateway, &mut peer, &[8, 0]).await;
    peer.write_all(&[0, 0, 7, 0xff, 0xff, 8, 8]).await.unwrap();
    peer.flush().await.unwrap();
    let closed = closed(&mut gateway).await;
    assert_eq!(closed.cause, CloseCause::Error(Reason::InvalidToken));
    let rejected = (1, Outcome::Rejected(Reason::InvalidToken));
    assert_eq!(outcomes(&closed.settled), [(6, Outcome::Accepted), rejected, not_processed(6)]);
}

#[tokio::test]
async fn a_packet_is_read_although_the_connection_is_reset_behind_it() {
    let server = Server::start().await;
    let mut gateway = server.patient_gateway();
    let mut peer = connected(&server, &mut gateway).await;
    send(&mut gateway, &mut peer, 3).await;
    peer.write_all(&[8, 8, 0, 0, 0, 2]).await.unwrap();
    peer.flush().await.unwrap();
    reset(peer);
    assert_eq!(gateway.send(span(1000)), None);
    let closed = closed(&mut gateway).await;
    let rejected = (1, Outcome::Rejected(Reason::InvalidToken));
    assert_eq!(outcomes(&closed.settled), [(1, Outcome::Accepted), rejected, not_processed(1001)]);
}

#[tokio::test]
async fn a_late_packet_revises_what_was_presumed() {
    let server = Server::start().await;
    let mut gateway = server.gateway(settings(2000));
    let mut peer = connected(&server, &mut gateway).await;
    send(&mut gateway, &mut peer, 3).await;
    assert!(matches!(next(&mut gateway).await, Event::Settled(_)));
    peer.write_all(&[8, 8, 0, 0, 0, 2]).await.unwrap();
    peer.flush().await.unwrap();
    let closed = closed(&mut gateway).await;
    assert_eq!(outcomes(&closed.revised), [(1, Outcome::Rejected(Reason::InvalidToken)), not_processed(1)]);
    let cause = CloseCause::Error(Reason::InvalidToken);
    assert_eq!(Closed { revised: vec![], ..closed }, Closed { settled: vec![], revised: vec![], cause });
}

#[tokio::test]
async fn the_next_connection_counts_from_1_again_and_is_used_at_once() {
    let server = Server::start().await;
    let mut gateway = server.patient_gateway();
    let mut peer = connected(&server, &mut gateway).await;
    send(&mut gateway, &mut peer, 2).await;
    peer.write_all(&[8, 8, 0, 0, 0, 1]).await.unwrap();
    peer.flush().await.unwrap();
    closed(&mut gateway).await;

    gateway.connect();
    let mut peer = connected(&server, &mut gateway).await;
    assert_eq!(gateway.send(span(1)), None);
    let (mut received, mut events) = (vec![0; FRAME_BYTES], Vec::new());
    beside(&mut gateway, &mut events, peer.read_exact(&mut received)).await.unwrap();
    assert_eq!(received, frame(1));
}

#[tokio::test]
async fn a_close_without_a_word_is_silent_with_and_without_the_goodbye_of_tls() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for ending in ["goodbye", "fin", "reset", "half a packet", "garbage"] {
            let server = Server::with(Options { version, ..Options::default() }).await;
            let mut gateway = server.patient_gateway();
            let mut peer = connected(&server, &mut gateway).await;
            send(&mut gateway, &mut peer, 3).await;
            match ending {
                "goodbye" => peer.shutdown().await.unwrap(),
                "fin" => drop(peer.into_inner()),
                "reset" => reset(peer),
                "half a packet" => {
                    peer.write_all(&[8, 8, 0, 0, 0]).await.unwrap();
                    peer.shutdown().await.unwrap();
                }
                _ => {
                    peer.write_all(b"HTTP/1.1 400 Bad Request").await.unwrap();
                    peer.flush().await.unwrap();
                }
            }
            let closed = closed(&mut gateway).await;
            assert_eq!(closed.cause, CloseCause::Silent { settled: false }, "{ending}");
            assert_eq!(outcomes(&closed.settled), [unknown(3)]);
        }
    }
}

#[tokio::test]
async fn after_a_silent_close_a_single_row_is_sent_until_it_settles() {
    let server = Server::start().await;
    let mut gateway = server.gateway(settings(1000));
    let mut peer = connected(&server, &mut gateway).await;
    send(&mut gateway, &mut peer, 3).await;
    drop(peer);
    closed(&mut gateway).await;

    gateway.connect();
    let _peer = connected(&server, &mut gateway).await;
    assert_eq!(gateway.room(), 1);
    assert_eq!(gateway.send(span(3)).unwrap().rows, 1..3);
    assert_eq!(gateway.room(), 0);
    assert!(matches!(next(&mut gateway).await, Event::Settled(_)));
    assert_eq!(next(&mut gateway).await, Event::Room);
    assert_eq!(gateway.room(), 2);
}

#[tokio::test]
async fn a_key_update_in_the_middle_changes_nothing() {
    let server = Server::start().await;
    let mut gateway = server.patient_gateway();
    let mut peer = connected(&server, &mut gateway).await;
    for _ in 0..3 {
        peer.get_mut().1.refresh_traffic_keys().unwrap();
        peer.flush().await.unwrap();
        send(&mut gateway, &mut peer, 1).await;
    }
    answer(&mut gateway, &mut peer, &[8, 10, 0, 0, 0, 3]).await;
    let closed = closed(&mut gateway).await;
    assert_eq!((outcomes(&closed.settled), closed.cause), (vec![(3, Outcome::Accepted)], CloseCause::Shutdown));
}

/// What a retirement writes after three rows: a frame with an empty token and payload, identifier 4.
const SENTINEL: [u8; 29] = [2, 0, 0, 0, 24, 3, 0, 4, 0, 0, 0, 4, 1, 0, 0, 2, 0, 0, 4, 0, 4, 0, 0, 0, 0, 5, 0, 1, 10];

#[tokio::test]
async fn retiring_proves_with_a_sentinel_what_was_sent() {
    let server = Server::start().await;
    let mut gateway = server.patient_gateway();
    let mut peer = connected(&server, &mut gateway).await;
    send(&mut gateway, &mut peer, 3).await;
    gateway.retire();
    assert_eq!((gateway.room(), gateway.send(span(1)).map(|rest| rest.len())), (0, Some(1)));
    let (mut received, mut events) = ([0; 29], Vec::new());
    beside(&mut gateway, &mut events, peer.read_exact(&mut received)).await.unwrap();
    assert_eq!(received, SENTINEL);
    peer.write_all(&[8, 2, 0, 0, 0, 4]).await.unwrap();
    peer.flush().await.unwrap();
    let closed = closed(&mut gateway).await;
    assert_eq!(outcomes(&closed.settled), [(3, Outcome::Accepted)]);
    assert_eq!(closed.cause, CloseCause::Retired { proven: true });
}

#[tokio::test]
async fn an_idle_connection_is_retired_with_a_sentinel() {
    let server = Server::start().await;
    let settings = Settings { idle_after: Duration::from_millis(200), ..settings(1000) };
    let mut gateway = server.gateway(settings);
    let mut peer = connected(&server, &mut gateway).await;
    send(&mut gateway, &mut peer, 3).await;
    assert!(matches!(next(&mut gateway).await, Event::Settled(_)));
    let (mut received, mut events) = ([0; 29], Vec::new());
    beside(&mut gateway, &mut events, peer.read_exact(&mut received)).await.unwrap();
    assert_eq!(received, SENTINEL);
    answer(&mut gateway, &mut peer, &[8, 2, 0, 0, 0, 0]).await;
    assert_eq!(
        closed(&mut gateway).await,
        Closed { settled: vec![], revised: vec![], cause: CloseCause::Retired { proven: true } }
    );
}

#[tokio::test]
async fn an_idle_connection_that_was_never_used_is_closed_with_the_goodbye_of_tls() {
    let server = Server::start().await;
    let mut gateway = server.gateway(Settings { idle_after: Duration::from_millis(500), ..Settings::default() });
    let mut peer = connected(&server, &mut gateway).await;
    assert_eq!(closed(&mut gateway).await.cause, CloseCause::Retired { proven: true });
    assert_eq!(peer.read(&mut [0; 1]).await.unwrap(), 0, "an end without it would be an error");
}

#[tokio::test]
async fn many_rows_arrive_whole_and_in_order_and_settle() {
    let rows = 20_000;
    let server = Server::start().await;
    let mut gateway = server.gateway(settings(2000));
    let mut peer = connected(&server, &mut gateway).await;
    assert_eq!(gateway.send(span(rows)), None);
    let (mut received, mut events) = (vec![0; rows as usize * FRAME_BYTES], Vec::new());
    beside(&mut gateway, &mut events, peer.read_exact(&mut received)).await.unwrap();
    for (identifier, bytes) in (1..).zip(received.chunks(FRAME_BYTES)) {
        assert_eq!(bytes, frame(identifier));
    }
    let settled = |event: &Event| match event {
        Event::Settled(settled) => settled.iter().map(|settled| settled.span.len()).sum::<u32>(),
        event => panic!("{event:?}"),
    };
    while events.iter().map(settled).sum::<u32>() < rows {
        events.push(next(&mut gateway).await);
    }
    assert_eq!(gateway.in_flight(), 0);
}

#[tokio::test]
async fn rows_that_the_socket_did_not_take_were_not_processed() {
    let rows = 300_000;
    let server = Server::start().await;
    let mut gateway = server.patient_gateway();
    let mut peer = connected(&server, &mut gateway).await;
    assert_eq!(gateway.send(span(rows)), None);
    let mut events = Vec::new();
    let first_bytes = async { peer.read_exact(&mut [0; 1]).await.unwrap() };
    beside(&mut gateway, &mut events, first_bytes).await;
    drop(peer);
    let closed = closed(&mut gateway).await;
    assert_eq!(closed.cause, CloseCause::Silent { settled: false });
    let [(sent, Outcome::Retry(Retry::Unknown { alone: false })), (kept, Outcome::Retry(Retry::NotProcessed))] =
        outcomes(&closed.settled)[..]
    else {
        panic!("{:?}", outcomes(&closed.settled))
    };
    assert_eq!(sent + kept, rows);
}

/// Only Linux has a time-out for it (`TCP_USER_TIMEOUT`); elsewhere the stall of 30 s counts.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_gateway_that_stops_reading_is_given_up_before_anything_is_presumed() {
    let server = Server::start().await;
    let mut gateway = server.gateway(settings(1000));
    let _peer = connected(&server, &mut gateway).await;
    assert_eq!(gateway.send(span(300_000)), None);
    let closed = closed(&mut gateway).await;
    assert!(matches!(&closed.cause, CloseCause::Dead(words) if words.contains("timed out")), "{:?}", closed.cause);
    assert!(matches!(outcomes(&closed.settled)[0], (_, Outcome::Retry(Retry::Unknown { alone: false }))));
}

const BAD: u8 = 0xbb;

/// Rows with their number at the end of the token, and now and then a bad token.
fn stream(rows: u32, is_bad: fn(u32) -> bool) -> Span {
    let mut tokens = Tokens::default();
    for row in 0..rows {
        let mut token = [if is_bad(row) { BAD } else { 0 }; 32];
        token[28..].copy_from_slice(&row.to_be_bytes());
        tokens.push(&token);
    }
    let message = Message { payload: PAYLOAD.as_slice().into(), options: PushOptions::default() };
    let batch = Batch::broadcast(Timestamp::default(), tokens, message).into();
    Span { id: BatchId(1), batch, rows: 0..rows, tries: Tries::default() }
}

/// A gateway as Apple describes it: silent until a bad token, then one packet, and nothing behind it is read, so that
/// the close resets the connection.
async fn serve_until_bad(server: &Server, accepted: &Mutex<BTreeSet<u32>>) {
    let mut peer = server.accept().await;
    let mut received = BytesMut::new();
    while peer.read_buf(&mut received).await.is_ok_and(|read| read > 0) {
        while let Decoded::Packet(packet, length) = decode(&received) {
            let token = packet.token.unwrap();
            if token[0] == BAD {
                let [a, b, c, d] = packet.identifier.unwrap().to_be_bytes();
                peer.write_all(&[8, 8, a, b, c, d]).await.unwrap();
                return peer.flush().await.unwrap();
            }
            let row = u32::from_be_bytes(token[28..].try_into().unwrap());
            accepted.lock().unwrap().insert(row);
            received.advance(length);
        }
    }
}

#[tokio::test]
async fn bad_tokens_in_a_stream_cost_nobody_else_a_notification() {
    let (rows, is_bad): (u32, fn(u32) -> bool) = (2000, |row| row % 101 == 7);
    let (server, accepted) = (Arc::new(Server::start().await), Arc::new(Mutex::new(BTreeSet::new())));
    let mut gateway = server.gateway(settings(2000));
    let tasks = Shutdown::new();
    let received = accepted.clone();
    tasks.spawn(async move {
        loop {
            serve_until_bad(&server, &received).await;
        }
    });

    let mut queue = VecDeque::from([stream(rows, is_bad)]);
    let (mut delivered, mut rejected) = (0, Vec::new());
    while delivered + (rejected.len() as u32) < rows {
        let settled = match next(&mut gateway).await {
            Event::Connected { .. } | Event::Reconnecting { .. } | Event::Room => Vec::new(),
            Event::Settled(settled) => settled,
            Event::Closed(closed) => {
                assert_eq!(closed.cause, CloseCause::Error(Reason::InvalidToken));
                assert_eq!(closed.revised, []);
                gateway.connect();
                closed.settled
            }
        };
        for Settled { span, outcome } in settled.into_iter().rev() {
            match outcome {
                Outcome::Retry(Retry::NotProcessed) => queue.push_front(span),
                Outcome::Rejected(Reason::InvalidToken) => rejected.push(span.rows.start),
                Outcome::Accepted | Outcome::Presumed => delivered += span.len(),
                outcome => panic!("{outcome:?}"),
            }
        }
        while let Some(span) = queue.pop_front() {
            if let Some(rest) = gateway.send(span) {
                queue.push_front(rest);
                break;
            }
        }
    }
    let (bad, good): (Vec<u32>, Vec<u32>) = (0..rows).partition(|row| is_bad(*row));
    assert_eq!(rejected, bad, "each once, in order");
    assert_eq!(accepted.lock().unwrap().iter().copied().collect::<Vec<u32>>(), good);
}

#[tokio::test]
async fn a_spawned_task_can_drive_a_gateway() {
    let server = Server::start().await;
    let mut gateway = server.patient_gateway();
    let tasks = Shutdown::new();
    tasks.spawn(async move {
        gateway.retire();
        assert!(matches!(gateway.event().await, Event::Closed(_)));
    });
    assert!(tasks.finish(AT_MOST).await);
}
