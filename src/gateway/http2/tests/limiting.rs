//! How many streams are open at the same time.

use std::collections::HashSet;

use super::*;

#[tokio::test]
async fn one_request_goes_out_before_the_provider_token_is_proven() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = connected(&server, &mut gateway, 1000).await;
    assert_eq!(gateway.send(span(10)), None);
    let first = quietly(&mut gateway, peer.requests(1)).await;
    assert!(tokio::time::timeout(Duration::from_millis(50), quietly(&mut gateway, peer.requests(1))).await.is_err());
    quietly(&mut gateway, peer.answer(first[0], 200, "")).await;
    assert_eq!(settled(&mut gateway, 1).await, [Outcome::Accepted]);
    quietly(&mut gateway, peer.requests(9)).await;
}

#[tokio::test]
async fn streams_follow_a_limit_that_falls_to_nothing_and_returns() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = proven(&server, &mut gateway, 2).await;
    assert_eq!(gateway.send(span(20)), None);
    let mut open = quietly(&mut gateway, peer.requests(2)).await;
    let mut events = Vec::new();
    for limit in [0, 5, 1, 3] {
        let work = async {
            peer.limit(limit).await;
            // What was opened before the gateway knew does not count.
            while peer.frame().await.kind != server::SETTINGS {}
            for stream in &open {
                peer.answer(*stream, 200, "").await;
            }
            peer.requests(limit as usize).await
        };
        open = beside(&mut gateway, &mut events, work).await;
        assert_eq!(open.len(), limit as usize);
    }
}

/// Plays a server whose limit jumps, and checks that it is kept.
struct Jumping {
    limit: u32,
    /// A limit that the gateway has not acknowledged yet: what it opens before does not count.
    next: Option<u32>,
    open: HashSet<u32>,
    served: u32,
}

impl Jumping {
    /// Reads, and answers all open streams whenever nothing more may be opened.
    async fn serve(&mut self, peer: &mut Peer, limits: &[u32]) {
        loop {
            let frame = peer.frame().await;
            match (frame.kind, frame.flags) {
                (server::SETTINGS, 1) => self.limit = self.next.take().unwrap_or(self.limit),
                (server::HEADERS, _) => {
                    assert!(self.next.is_some() || (self.open.len() as u32) < self.limit, "above {}", self.limit);
                    self.open.insert(frame.stream);
                }
                _ => (),
            }
            if !frame.is_end() {
                continue;
            }
            self.served += 1;
            peer.answer(frame.stream, 200, "").await;
            self.open.remove(&frame.stream);
            if self.served.is_multiple_of(997) && self.next.is_none() {
                let limit = limits[(self.served / 997) as usize % limits.len()];
                self.next = Some(limit);
                peer.limit(limit).await;
            }
        }
    }
}

#[tokio::test]
async fn many_rows_go_through_one_connection_whose_limit_jumps_between_1_and_1000() {
    const ROWS: u32 = 200_000;
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = connected(&server, &mut gateway, 1).await;
    let mut server = Jumping { limit: 1, next: None, open: HashSet::new(), served: 0 };
    let work = async {
        let mut rest = Some(span(ROWS));
        let mut accepted = 0;
        while accepted < ROWS {
            while let Some(mut span) = rest.take() {
                let room = gateway.room();
                if room == 0 {
                    rest = Some(span);
                    break;
                }
                let front = span.take_front(room);
                assert_eq!(gateway.send(front), None);
                rest = (!span.is_empty()).then_some(span);
            }
            match gateway.event().await {
                Event::Settled(settled) => {
                    for (_, outcome) in by_row(settled) {
                        assert_eq!(outcome, Outcome::Accepted);
                        accepted += 1;
                    }
                }
                Event::Room => (),
                event @ (Event::Connected { .. } | Event::Reconnecting { .. } | Event::Closed(_)) => {
                    panic!("{event:?}")
                }
            }
        }
    };
    let both = async {
        tokio::select! {
            () = work => (),
            () = server.serve(&mut peer, &[1000, 1, 100, 1]) => unreachable!(),
        }
    };
    tokio::time::timeout(AT_MOST, both).await.unwrap();
    assert_eq!((server.served, gateway.in_flight()), (ROWS, 0));
}

#[tokio::test]
async fn refused_streams_go_back_untried_and_fewer_are_opened() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = proven(&server, &mut gateway, 100).await;
    let streams = sent(&mut gateway, &mut peer, 10).await;
    let work = async {
        for stream in &streams[5..] {
            peer.reset(*stream, REFUSED_STREAM).await;
            // Apple's servers say it twice.
            peer.reset(*stream, 5).await;
        }
    };
    let mut events = Vec::new();
    beside(&mut gateway, &mut events, work).await;
    let mut refused: u32 = 0;
    for event in events {
        if let Event::Settled(settled) = event {
            assert!(settled.iter().all(|settled| settled.outcome == NOT_PROCESSED));
            refused += settled.iter().map(|settled| settled.span.len()).sum::<u32>();
        }
    }
    if refused < 5 {
        let rest = settled(&mut gateway, 5 - refused as usize).await;
        assert!(rest.iter().all(|outcome| *outcome == NOT_PROCESSED));
    }
    assert_eq!(gateway.in_flight(), 5);
    assert!(gateway.room() < 80, "room for {}", gateway.room());
}
