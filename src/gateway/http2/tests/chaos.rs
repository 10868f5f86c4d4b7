//! Whatever the peer does, each row that is sent gets one outcome.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::shutdown::Shutdown;

/// A server of which anything is to be expected.
struct Wild {
    random: fastrand::Rng,
}

impl Wild {
    /// Serves a connection until it ends, by whomever.
    async fn serve(mut self, mut peer: Peer) {
        while let Some(frame) = peer.frame_or_end().await {
            if frame.is_end() && !self.react(&mut peer, frame.stream).await {
                return;
            }
        }
    }

    /// Reacts to a request; whether the connection goes on.
    async fn react(&mut self, peer: &mut Peer, stream: u32) -> bool {
        let reason = match self.random.u32(0..1000) {
            0..30 => ApnsReason::BadDeviceToken,
            30..45 => ApnsReason::InternalServerError,
            45..50 => ApnsReason::TooManyRequests,
            50..54 => ApnsReason::ServiceUnavailable,
            54..58 => ApnsReason::ExpiredProviderToken,
            58..60 => ApnsReason::InvalidProviderToken,
            60..90 => {
                let code = self.random.choice([1, 2, 5, REFUSED_STREAM, CANCEL, 11]).unwrap();
                peer.reset(stream, code).await;
                return true;
            }
            // Never answered.
            90..95 => return true,
            95..98 => {
                peer.go_away(self.random.u32(0..=stream / 2) * 2, 0, r#"{"reason":"Shutdown"}"#).await;
                return self.random.bool();
            }
            98..100 => return false,
            100..110 => {
                peer.limit(self.random.choice([0, 1, 5, 1000]).unwrap()).await;
                ApnsReason::PayloadTooLarge
            }
            _ => {
                peer.answer(stream, 200, "").await;
                return true;
            }
        };
        peer.refuse(stream, reason).await;
        true
    }
}

/// Plays the delivery worker, and keeps account of every row.
struct Sender {
    waiting: Vec<Span>,
    outstanding: BTreeSet<u32>,
    done: BTreeSet<u32>,
}

impl Sender {
    fn send(&mut self, gateway: &mut Gateway) {
        while gateway.room() > 0
            && let Some(mut span) = self.waiting.pop()
        {
            let front = span.take_front(gateway.room());
            assert!(front.rows.clone().all(|row| self.outstanding.insert(row)), "sent twice at the same time");
            assert_eq!(gateway.send(front), None);
            if !span.is_empty() {
                self.waiting.push(span);
            }
        }
    }

    fn enter(&mut self, settled: Vec<Settled>) {
        for Settled { span, outcome } in settled {
            assert!(span.rows.clone().all(|row| self.outstanding.remove(&row)), "settled twice");
            match outcome {
                Outcome::Retry(_) => self.waiting.push(span),
                Outcome::Accepted | Outcome::Rejected(_) => {
                    assert!(span.rows.clone().all(|row| self.done.insert(row)));
                }
                Outcome::Presumed | Outcome::Expired | Outcome::Unregistered { .. } => panic!("{outcome:?}"),
            }
        }
    }
}

#[tokio::test]
async fn whatever_the_peer_does_each_row_that_is_sent_gets_one_outcome() {
    const ROWS: u32 = 1000;
    let server = Arc::new(Server::start().await);
    let settings = Settings {
        request_deadline: Duration::from_millis(300),
        goaway_drain: Duration::from_millis(300),
        ..Settings::default()
    };
    let mut gateway = server.gateway_with(settings, 3);
    let tasks = Shutdown::new();
    let (spawner, accepting) = (tasks.clone(), server.clone());
    tasks.spawn(async move {
        let mut random = fastrand::Rng::with_seed(7);
        loop {
            let random = random.fork();
            tokio::select! {
                () = spawner.requested() => return,
                tcp = accepting.accept_tcp() => {
                    let (stop, accepting) = (spawner.clone(), accepting.clone());
                    let serve = async move {
                        if let Some(peer) = accepting.welcome(tcp, 100).await {
                            Wild { random }.serve(peer).await;
                        }
                    };
                    spawner.spawn(async move {
                        tokio::select! {
                            () = stop.requested() => (),
                            () = serve => (),
                        }
                    });
                }
            }
        }
    });
    let mut sender = Sender { waiting: vec![span(ROWS)], outstanding: BTreeSet::new(), done: BTreeSet::new() };
    let work = async {
        while sender.done.len() < ROWS as usize {
            match gateway.event().await {
                Event::Connected { .. } | Event::Reconnecting { .. } | Event::Room => (),
                Event::Settled(settled) => sender.enter(settled),
                Event::Closed(closed) => {
                    sender.enter(closed.settled);
                    assert_eq!((sender.outstanding.len(), gateway.in_flight()), (0, 0));
                    gateway.connect();
                }
            }
            // What has an outcome is in flight no more, be its event still to be read.
            assert!(sender.outstanding.len() as u64 >= gateway.in_flight());
            sender.send(&mut gateway);
        }
    };
    tokio::time::timeout(AT_MOST, work).await.unwrap();
    assert_eq!(gateway.in_flight(), 0);
    assert!(tasks.finish(AT_MOST).await);
}
