//! Requests, answers, and what becomes of rows.

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};

use super::*;

/// Answers a request, after its body has been read, with the `h2` server.
async fn serve(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> (http::request::Parts, Vec<u8>) {
    let (head, mut body) = request.into_parts();
    let mut payload = Vec::new();
    while let Some(data) = body.data().await {
        payload.extend_from_slice(&data.unwrap());
    }
    respond.send_response(Response::new(()), true).unwrap();
    (head, payload)
}

#[tokio::test]
async fn a_notification_goes_out_as_the_provider_api_wants_it_and_is_accepted() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    assert!(!gateway.is_connected());
    let mut events = Vec::new();
    let handshake = async { h2::server::handshake(server.accept_tls().await).await.unwrap() };
    let mut peer = beside(&mut gateway, &mut events, handshake).await;
    let work = async {
        let (request, respond) = peer.accept().await.unwrap().unwrap();
        tokio::select! {
            served = serve(request, respond) => served,
            _ = peer.accept() => panic!("one request only"),
        }
    };
    let (mut work, mut served) = (pin!(work), None);
    while !matches!(events.last(), Some(Event::Settled(_))) {
        if gateway.is_connected() && gateway.in_flight() == 0 {
            assert_eq!(gateway.send(span(1)), None);
        }
        tokio::select! {
            done = &mut work, if served.is_none() => served = Some(done),
            event = gateway.event() => events.push(event),
        }
        if served.is_some() {
            break;
        }
    }
    let (head, body) = served.unwrap();
    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", &*format!("/3/device/{}", "00".repeat(32))));
    let mut names: Vec<_> = head.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["apns-expiration", "apns-id", "apns-priority", "apns-push-type", "apns-topic", "authorization"]);
    assert_eq!(head.headers["apns-id"], "07070707-0707-4707-8707-070707070707");
    assert_eq!(head.headers["apns-topic"], "com.example.app");
    assert_eq!(body, br#"{"aps":{"alert":"hi"}}"#);
}

#[tokio::test]
async fn answers_in_any_order_settle_their_own_rows_and_neighbours_together() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = proven(&server, &mut gateway, 100).await;
    let streams = sent(&mut gateway, &mut peer, 4).await;
    assert_eq!(gateway.in_flight(), 4);
    quietly(&mut gateway, peer.answer(streams[3], 200, "")).await;
    assert_eq!(settled(&mut gateway, 1).await, [Outcome::Accepted]);
    let work = async {
        peer.refuse(streams[1], ApnsReason::BadDeviceToken).await;
        peer.answer(streams[0], 410, r#"{"reason":"Unregistered","timestamp":1700000000123}"#).await;
        peer.answer(streams[2], 429, r#"{"reason":"TooManyRequests"}"#).await;
    };
    let mut events = Vec::new();
    beside(&mut gateway, &mut events, work).await;
    let mut outcomes: Vec<_> = events
        .into_iter()
        .filter_map(|event| match event {
            Event::Settled(settled) => Some(settled),
            _ => None,
        })
        .flat_map(by_row)
        .collect();
    while outcomes.len() < 3 {
        if let Event::Settled(settled) = next(&mut gateway).await {
            outcomes.extend(by_row(settled));
        }
    }
    outcomes.sort_by_key(|(row, _)| *row);
    let since = Timestamp::from_millis(1_700_000_000_123);
    let dead = Outcome::Unregistered { reason: Reason::Apns(ApnsReason::Unregistered), since };
    let expected = [(0, dead), (1, rejected(ApnsReason::BadDeviceToken)), (2, transient(ApnsReason::TooManyRequests))];
    assert_eq!(outcomes, expected);
    assert_eq!(gateway.in_flight(), 0);
}

#[tokio::test]
async fn a_body_in_pieces_is_read_whole_and_a_lost_one_is_unknown() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = proven(&server, &mut gateway, 100).await;
    let streams = sent(&mut gateway, &mut peer, 2).await;
    let head = [0x08, 3, b'4', b'0', b'0'];
    let work = async {
        peer.write(server::HEADERS, 4, streams[0], &head).await;
        peer.write(server::DATA, 0, streams[0], br#"{"reason":"Bad"#).await;
        peer.write(server::DATA, 0, streams[0], b"").await;
        peer.write(server::DATA, 1, streams[0], br#"Topic"}"#).await;
        peer.write(server::HEADERS, 4, streams[1], &head).await;
        peer.write(server::DATA, 0, streams[1], br#"{"reason":"#).await;
        peer.reset(streams[1], CANCEL).await;
    };
    let mut events = Vec::new();
    beside(&mut gateway, &mut events, work).await;
    // The app's own topic is refused: nothing else would go through.
    while !matches!(events.last(), Some(Event::Closed(_))) {
        let more = next(&mut gateway).await;
        events.push(more);
    }
    let Some(Event::Closed(closed)) = events.pop() else { panic!() };
    assert_eq!(closed.cause, CloseCause::Error(Reason::Apns(ApnsReason::BadTopic)));
    let settled = events.into_iter().flat_map(|event| match event {
        Event::Settled(settled) => settled,
        _ => Vec::new(),
    });
    let mut outcomes: Vec<_> = by_row(settled.chain(closed.settled).collect()).collect();
    outcomes.sort_by_key(|(row, _)| *row);
    assert_eq!(outcomes, [(0, refused(ApnsReason::BadTopic)), (1, UNKNOWN)]);
}

#[tokio::test]
async fn a_request_that_is_never_answered_is_cancelled_and_unknown() {
    let server = Server::start().await;
    let settings = Settings { request_deadline: Duration::from_millis(200), ..Settings::default() };
    let mut gateway = server.gateway_with(settings, 1);
    let mut peer = proven(&server, &mut gateway, 100).await;
    let streams = sent(&mut gateway, &mut peer, 2).await;
    assert_eq!(settled(&mut gateway, 2).await, [UNKNOWN, UNKNOWN]);
    let reset = async {
        loop {
            let frame = peer.frame().await;
            if frame.kind == server::RST_STREAM {
                return (frame.stream, frame.payload);
            }
        }
    };
    let (stream, code) = quietly(&mut gateway, reset).await;
    assert!(streams.contains(&stream));
    assert_eq!(code, [0, 0, 0, 8]);
}

#[tokio::test]
async fn a_request_that_is_never_answered_is_given_up_however_many_others_are() {
    let server = Server::start().await;
    let settings = Settings { request_deadline: Duration::from_millis(200), ..Settings::default() };
    let mut gateway = server.gateway_with(settings, 1);
    let mut peer = proven(&server, &mut gateway, 100).await;
    let forgotten = sent(&mut gateway, &mut peer, 1).await;
    let serve = async {
        loop {
            let frame = peer.frame().await;
            if frame.is_end() {
                peer.answer(frame.stream, 200, "").await;
            } else if frame.kind == server::RST_STREAM {
                return frame.stream;
            }
        }
    };
    let busy = async {
        loop {
            if gateway.room() > 0 {
                gateway.send(span(gateway.room()));
            }
            gateway.event().await;
        }
    };
    let reset = async {
        tokio::select! {
            reset = serve => reset,
            () = busy => unreachable!(),
        }
    };
    assert_eq!(tokio::time::timeout(AT_MOST, reset).await.unwrap(), forgotten[0]);
}

#[tokio::test]
async fn what_cannot_be_a_header_is_rejected_without_being_sent() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = proven(&server, &mut gateway, 100).await;
    let mut tokens = Tokens::default();
    tokens.push(&[1; 32]);
    let options = PushOptions { collapse_id: Some("a\nb".into()), ..PushOptions::default() };
    let message = Message { payload: b"{}".as_slice().into(), options };
    let batch = Batch::broadcast(Timestamp::default(), tokens, message).into();
    assert_eq!(gateway.send(Span { batch, ..span(1) }), None);
    assert_eq!(settled(&mut gateway, 1).await, [rejected(ApnsReason::BadCollapseId)]);
    let streams = sent(&mut gateway, &mut peer, 1).await;
    assert_eq!(streams, [3]);
}

#[tokio::test]
async fn credentials_that_the_provider_refuses_close_everything_and_blame_no_row() {
    for reason in [ApnsReason::InvalidProviderToken, ApnsReason::Forbidden, ApnsReason::TopicDisallowed] {
        let server = Server::start().await;
        let mut gateway = server.gateway();
        let mut peer = proven(&server, &mut gateway, 2).await;
        assert_eq!(gateway.send(span(5)), None);
        let streams = quietly(&mut gateway, peer.requests(2)).await;
        quietly(&mut gateway, peer.refuse(streams[0], reason)).await;
        assert_eq!(settled(&mut gateway, 1).await, [refused(reason)]);
        assert_eq!(gateway.room(), 0);
        quietly(&mut gateway, peer.refuse(streams[1], reason)).await;
        let mut events = Vec::new();
        while !matches!(events.last(), Some(Event::Closed(_))) {
            events.push(next(&mut gateway).await);
        }
        let Some(Event::Closed(closed)) = events.pop() else { panic!() };
        assert_eq!(closed.cause, CloseCause::Error(Reason::Apns(reason)));
        let outcomes: Vec<_> = by_row(closed.settled).collect();
        assert!(outcomes.iter().all(|(_, outcome)| *outcome == NOT_PROCESSED), "{outcomes:?}");
        assert!(!gateway.is_connected());
    }
}
