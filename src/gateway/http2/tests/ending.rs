//! How connections come, are replaced and end.

use super::*;

#[tokio::test]
async fn a_server_that_is_not_http2_is_unreachable() {
    let server = Server::of_another_protocol().await;
    let mut gateway = server.gateway();
    let mut events = Vec::new();
    let _peer = beside(&mut gateway, &mut events, server.accept_tls()).await;
    if events.is_empty() {
        events.push(next(&mut gateway).await);
    }
    let Some(Event::Closed(Closed { cause, .. })) = events.pop() else { panic!("no end") };
    let CloseCause::Unreachable(words) = cause else { panic!("{cause:?}") };
    assert!(words.ends_with("the server does not speak HTTP/2"), "{words}");
}

#[tokio::test]
async fn a_server_that_refuses_the_credentials_after_the_handshake_is_understood() {
    let server = Server::demanding_certificates().await;
    let mut gateway = server.gateway();
    let mut events = Vec::new();
    beside(&mut gateway, &mut events, server.refuse_tls()).await;
    if events.is_empty() {
        events.push(next(&mut gateway).await);
    }
    let Some(Event::Closed(Closed { cause, .. })) = events.pop() else { panic!("no end") };
    assert_eq!(cause, CloseCause::Refused("certificate required".to_owned()));
}

#[tokio::test]
async fn a_server_without_settings_or_pong_is_not_connected() {
    for says_settings in [false, true] {
        let server = Server::start().await;
        let mut gateway = server.gateway();
        gateway.set_connect_timeout(Duration::from_millis(500));
        let work = async {
            let mut peer = server.accept_silently().await;
            peer.answers_pings = !says_settings;
            if says_settings {
                peer.limit(100).await;
            }
            while peer.frame_or_end().await.is_some() {}
        };
        let cause = async {
            tokio::select! {
                (_, cause) = closed(&mut gateway) => cause,
                () = work => panic!("closed before its time"),
            }
        };
        let cause = tokio::time::timeout(AT_MOST, cause).await.unwrap();
        assert!(matches!(cause, CloseCause::Unreachable(_)), "{cause:?}");
    }
}

#[tokio::test]
async fn a_goaway_returns_what_was_not_looked_at_and_another_connection_goes_on() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = proven(&server, &mut gateway, 100).await;
    let streams = sent(&mut gateway, &mut peer, 4).await;
    quietly(&mut gateway, peer.go_away(streams[1], 0, r#"{"reason":"Shutdown"}"#)).await;
    assert_eq!(settled(&mut gateway, 2).await, [NOT_PROCESSED, NOT_PROCESSED]);
    assert_eq!((gateway.in_flight(), gateway.room()), (2, 0));
    let words = format!("https://{}: GOAWAY: Shutdown (503)", server.address());
    assert_eq!(next(&mut gateway).await, Event::Reconnecting { cause: words });
    assert!(!gateway.is_connected());
    let mut events = Vec::new();
    let mut other = beside(&mut gateway, &mut events, server.accept(100)).await;
    if events.is_empty() {
        events.push(next(&mut gateway).await);
    }
    assert_eq!(events, [Event::Connected { peer: server.address() }]);
    let more = sent(&mut gateway, &mut other, 1).await;
    quietly(&mut gateway, peer.answer(streams[0], 200, "")).await;
    assert_eq!(settled(&mut gateway, 1).await, [Outcome::Accepted]);
    quietly(&mut gateway, peer.answer(streams[1], 200, "")).await;
    assert_eq!(settled(&mut gateway, 1).await, [Outcome::Accepted]);
    // The old connection says goodbye and closes.
    quietly(&mut gateway, async { while peer.frame_or_end().await.is_some() {} }).await;
    quietly(&mut gateway, other.answer(more[0], 200, "")).await;
    assert_eq!(settled(&mut gateway, 1).await, [Outcome::Accepted]);
    assert_eq!(gateway.in_flight(), 0);
}

#[tokio::test]
async fn a_goaway_that_refuses_the_certificate_is_the_apps_fault() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = connected(&server, &mut gateway, 100).await;
    quietly(&mut gateway, peer.go_away(0, 0, r#"{"reason":"BadCertificateEnvironment"}"#)).await;
    let (_, cause) = closed(&mut gateway).await;
    assert_eq!(cause, CloseCause::Error(Reason::Apns(ApnsReason::BadCertificateEnvironment)));
}

#[tokio::test]
async fn a_goaway_instead_of_a_pong_says_why_too() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let work = async {
        let mut peer = server.accept_silently().await;
        peer.answers_pings = false;
        peer.limit(100).await;
        // Apple's servers say it twice.
        peer.go_away(0, 0, r#"{"reason":"BadCertificate"}"#).await;
        peer.go_away(0, 0, r#"{"reason":"BadCertificate"}"#).await;
        while peer.frame_or_end().await.is_some() {}
    };
    let mut events = Vec::new();
    beside(&mut gateway, &mut events, work).await;
    if events.is_empty() {
        events.push(next(&mut gateway).await);
    }
    let Some(Event::Closed(Closed { cause, .. })) = events.pop() else { panic!("no end") };
    assert_eq!(cause, CloseCause::Error(Reason::Apns(ApnsReason::BadCertificate)));
}

#[tokio::test]
async fn a_connection_that_delivered_nothing_before_its_goaway_leaves_it_to_the_back_off() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = connected(&server, &mut gateway, 100).await;
    quietly(&mut gateway, peer.go_away(0, 11, "calm down")).await;
    let (_, cause) = closed(&mut gateway).await;
    let CloseCause::Unreachable(words) = cause else { panic!("{cause:?}") };
    assert!(words.contains("GOAWAY") && words.contains("calm down"), "{words}");
}

/// Time stands still but for what the gateway waits for.
#[tokio::test]
async fn a_goaway_on_a_connection_that_had_nothing_to_do_is_routine() {
    for (age, code, is_routine) in [(11, 0, true), (5, 0, false), (11, 11, false)] {
        let server = Server::start().await;
        let mut gateway = server.gateway();
        let mut peer = connected(&server, &mut gateway, 100).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(age)).await;
        tokio::time::resume();
        quietly(&mut gateway, peer.go_away(0, code, "")).await;
        if !is_routine {
            let (_, cause) = closed(&mut gateway).await;
            assert!(matches!(cause, CloseCause::Unreachable(_)), "{cause:?} after {age} s");
            continue;
        }
        let mut events = Vec::new();
        let mut other = beside(&mut gateway, &mut events, server.accept(100)).await;
        while gateway.room() == 0 {
            events.push(next(&mut gateway).await);
        }
        assert!(events.iter().all(is_of_room), "{events:?}");
        sent(&mut gateway, &mut other, 1).await;
    }
}

#[tokio::test]
async fn while_a_connection_is_replaced_the_next_one_is_tried_again_at_once_when_somebody_asks() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = proven(&server, &mut gateway, 100).await;
    let streams = sent(&mut gateway, &mut peer, 1).await;
    quietly(&mut gateway, peer.go_away(streams[0], 0, "")).await;
    let mut events = Vec::new();
    beside(&mut gateway, &mut events, async { drop(server.accept_tcp().await) }).await;
    while events.len() < 2 {
        events.push(next(&mut gateway).await);
    }
    let [Event::Reconnecting { cause: first }, Event::Reconnecting { cause: second }] = &events[..] else {
        panic!("{events:?}");
    };
    assert!(first.contains("GOAWAY") && second.contains("TLS handshake"), "{events:?}");
    let due = |gateway: &mut Gateway| match gateway {
        Gateway::Http2(gateway) => gateway.next_dial().unwrap(),
        Gateway::Binary(_) => panic!("another protocol"),
    };
    if let Gateway::Http2(gateway) = &mut gateway {
        (0..5).for_each(|_| gateway.redial.failed(gateway.clock.now()));
    }
    let due_before = due(&mut gateway);
    gateway.hurry();
    assert!(due(&mut gateway) + Duration::from_secs(10) < due_before);
    let mut other = quietly(&mut gateway, server.accept(100)).await;
    while gateway.room() == 0 {
        next(&mut gateway).await;
    }
    let more = sent(&mut gateway, &mut other, 1).await;
    quietly(&mut gateway, peer.answer(streams[0], 200, "")).await;
    assert_eq!(settled(&mut gateway, 1).await, [Outcome::Accepted]);
    quietly(&mut gateway, other.answer(more[0], 200, "")).await;
    assert_eq!(settled(&mut gateway, 1).await, [Outcome::Accepted]);
}

#[tokio::test]
async fn a_cut_connection_leaves_sent_rows_unknown_and_the_others_untouched() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = proven(&server, &mut gateway, 2).await;
    assert_eq!(gateway.send(span(4)), None);
    quietly(&mut gateway, peer.requests(2)).await;
    assert!(gateway.has_unsent());
    drop(peer);
    let (outcomes, cause) = closed(&mut gateway).await;
    assert_eq!(outcomes, [UNKNOWN, UNKNOWN, NOT_PROCESSED, NOT_PROCESSED]);
    assert!(matches!(cause, CloseCause::Silent { settled: true }), "{cause:?}");
    assert_eq!((gateway.in_flight(), gateway.is_connected()), (0, false));
}

#[tokio::test]
async fn retiring_waits_for_answers_and_says_goodbye() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = proven(&server, &mut gateway, 2).await;
    assert_eq!(gateway.send(span(4)), None);
    let streams = quietly(&mut gateway, peer.requests(2)).await;
    assert_eq!(gateway.take_unsent().iter().map(Span::len).sum::<u32>(), 2);
    gateway.retire();
    assert_eq!(gateway.room(), 0);
    quietly(&mut gateway, peer.answer(streams[0], 200, "")).await;
    assert_eq!(settled(&mut gateway, 1).await, [Outcome::Accepted]);
    quietly(&mut gateway, peer.answer(streams[1], 200, "")).await;
    assert_eq!(settled(&mut gateway, 1).await, [Outcome::Accepted]);
    let (outcomes, cause) = closed(&mut gateway).await;
    assert_eq!((outcomes, cause), (Vec::new(), CloseCause::Retired { proven: true }));
    let mut kinds = Vec::new();
    while let Some(frame) = peer.frame_or_end().await {
        kinds.push(frame.kind);
    }
    assert_eq!(kinds.last(), Some(&server::GOAWAY));
}

#[tokio::test]
async fn a_token_called_expired_is_tried_once_more_then_renewed_and_then_the_clock_is_suspected() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = proven(&server, &mut gateway, 100).await;
    let streams = sent(&mut gateway, &mut peer, 2).await;
    let work = async {
        peer.refuse(streams[0], ApnsReason::ExpiredProviderToken).await;
        peer.refuse(streams[1], ApnsReason::ExpiredProviderToken).await;
    };
    let mut events = Vec::new();
    beside(&mut gateway, &mut events, work).await;
    let mut other = beside(&mut gateway, &mut events, server.accept(100)).await;
    while gateway.room() == 0 {
        events.push(next(&mut gateway).await);
    }
    let settled_rows = events.into_iter().flat_map(|event| match event {
        Event::Settled(settled) => by_row(settled).collect(),
        event if is_of_room(&event) => Vec::new(),
        event => panic!("{event:?}"),
    });
    let expired = refused(ApnsReason::ExpiredProviderToken);
    assert_eq!(settled_rows.collect::<Vec<_>>(), [(0, expired.clone()), (1, expired)]);
    let streams = sent(&mut gateway, &mut other, 1).await;
    quietly(&mut gateway, other.refuse(streams[0], ApnsReason::ExpiredProviderToken)).await;
    assert_eq!(settled(&mut gateway, 1).await, [refused(ApnsReason::ExpiredProviderToken)]);
    let (_, cause) = closed(&mut gateway).await;
    assert!(matches!(cause, CloseCause::Unreachable(_)), "{cause}");

    gateway.connect();
    let mut events = Vec::new();
    let mut third = beside(&mut gateway, &mut events, server.accept(100)).await;
    while gateway.room() == 0 {
        events.push(next(&mut gateway).await);
    }
    let streams = sent(&mut gateway, &mut third, 1).await;
    quietly(&mut gateway, third.refuse(streams[0], ApnsReason::ExpiredProviderToken)).await;
    assert_eq!(settled(&mut gateway, 1).await, [refused(ApnsReason::ExpiredProviderToken)]);
    let (_, cause) = closed(&mut gateway).await;
    assert_eq!(cause, CloseCause::Error(Reason::Apns(ApnsReason::ExpiredProviderToken)));
}

#[tokio::test]
async fn a_connection_that_answers_nothing_but_500_is_replaced() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = proven(&server, &mut gateway, 100).await;
    for row in 0..10 {
        assert!(gateway.room() > 0, "row {row}");
        let streams = sent(&mut gateway, &mut peer, 1).await;
        quietly(&mut gateway, peer.refuse(streams[0], ApnsReason::InternalServerError)).await;
        assert_eq!(settled(&mut gateway, 1).await, [transient(ApnsReason::InternalServerError)]);
    }
    assert_eq!(gateway.room(), 0);
    let mut other = quietly(&mut gateway, server.accept(100)).await;
    while gateway.room() == 0 {
        next(&mut gateway).await;
    }
    sent(&mut gateway, &mut other, 1).await;
}

#[tokio::test]
async fn a_second_connection_takes_what_the_first_has_no_room_for() {
    let server = Server::start().await;
    let mut gateway = server.gateway_with(Settings::default(), 2);
    let mut peer = proven(&server, &mut gateway, 1).await;
    assert_eq!(gateway.send(span(3)), None);
    let streams = quietly(&mut gateway, peer.requests(1)).await;
    let mut other = quietly(&mut gateway, server.accept(1)).await;
    let others = quietly(&mut gateway, other.requests(1)).await;
    drop(other);
    // The other one ends, its row comes back, the first one goes on.
    assert_eq!(settled(&mut gateway, 1).await, [UNKNOWN]);
    assert_eq!((others.len(), gateway.is_connected()), (1, true));
    quietly(&mut gateway, peer.answer(streams[0], 200, "")).await;
    assert_eq!(settled(&mut gateway, 1).await, [Outcome::Accepted]);
    quietly(&mut gateway, peer.requests(1)).await;
}

#[tokio::test]
async fn a_server_that_wants_another_connection_gets_one() {
    for reason in [ApnsReason::ServiceUnavailable, ApnsReason::IdleTimeout, ApnsReason::Shutdown] {
        let server = Server::start().await;
        let mut gateway = server.gateway();
        let mut peer = proven(&server, &mut gateway, 100).await;
        let streams = sent(&mut gateway, &mut peer, 1).await;
        quietly(&mut gateway, peer.refuse(streams[0], reason)).await;
        assert_eq!(settled(&mut gateway, 1).await, [transient(reason)]);
        assert_eq!(gateway.room(), 0);
        quietly(&mut gateway, server.accept(100)).await;
    }
}

#[tokio::test]
async fn a_connection_that_delivered_nothing_ends_for_what_the_gateway_answered() {
    for reason in [ApnsReason::ServiceUnavailable, ApnsReason::IdleTimeout, ApnsReason::Shutdown] {
        let server = Server::start().await;
        let mut gateway = server.gateway();
        let mut peer = connected(&server, &mut gateway, 100).await;
        let streams = sent(&mut gateway, &mut peer, 1).await;
        quietly(&mut gateway, peer.refuse(streams[0], reason)).await;
        assert_eq!(settled(&mut gateway, 1).await, [transient(reason)]);
        let (_, cause) = closed(&mut gateway).await;
        let words = format!(
            "https://{}: the gateway answered {reason}, and nothing was delivered on this connection",
            server.address()
        );
        assert_eq!(cause, CloseCause::Unreachable(words));
    }
}

#[tokio::test]
async fn a_key_that_is_unrelated_on_a_new_connection_too_is_the_apps_fault() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = proven(&server, &mut gateway, 100).await;
    let streams = sent(&mut gateway, &mut peer, 1).await;
    quietly(&mut gateway, peer.refuse(streams[0], ApnsReason::UnrelatedKeyIdInToken)).await;
    assert_eq!(settled(&mut gateway, 1).await, [refused(ApnsReason::UnrelatedKeyIdInToken)]);
    let mut other = quietly(&mut gateway, server.accept(100)).await;
    while gateway.room() == 0 {
        next(&mut gateway).await;
    }
    let streams = sent(&mut gateway, &mut other, 1).await;
    quietly(&mut gateway, other.refuse(streams[0], ApnsReason::UnrelatedKeyIdInToken)).await;
    assert_eq!(settled(&mut gateway, 1).await, [refused(ApnsReason::UnrelatedKeyIdInToken)]);
    let (_, cause) = closed(&mut gateway).await;
    assert_eq!(cause, CloseCause::Error(Reason::Apns(ApnsReason::UnrelatedKeyIdInToken)));
}

#[tokio::test]
async fn a_connection_that_allows_nothing_for_long_is_replaced() {
    let server = Server::start().await;
    let settings = Settings { request_deadline: Duration::from_millis(300), ..Settings::default() };
    let mut gateway = server.gateway_with(settings, 1);
    let mut peer = proven(&server, &mut gateway, 1).await;
    quietly(&mut gateway, async {
        peer.limit(0).await;
        while peer.frame().await.kind != server::SETTINGS {}
    })
    .await;
    assert_eq!(gateway.send(span(3)), None);
    // What has not left waits for the next one with whoever knows when it expires.
    assert_eq!(settled(&mut gateway, 3).await, [NOT_PROCESSED, NOT_PROCESSED, NOT_PROCESSED]);
    let mut other = quietly(&mut gateway, server.accept(10)).await;
    while gateway.room() == 0 {
        next(&mut gateway).await;
    }
    sent(&mut gateway, &mut other, 1).await;
}

/// Time stands still but for what the gateway waits for, and nothing is read or written meanwhile.
#[tokio::test]
async fn a_peer_that_answers_no_ping_is_dead() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let _peer = proven(&server, &mut gateway, 100).await;
    tokio::time::pause();
    let (outcomes, cause) = closed(&mut gateway).await;
    assert_eq!(outcomes, []);
    assert_eq!(cause, CloseCause::Dead("the gateway does not answer a PING".to_owned()));
}

#[tokio::test]
async fn a_planned_close_does_not_wait_for_ever() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = proven(&server, &mut gateway, 100).await;
    sent(&mut gateway, &mut peer, 2).await;
    gateway.retire();
    tokio::time::pause();
    let (outcomes, cause) = closed(&mut gateway).await;
    assert_eq!((outcomes, cause), (vec![UNKNOWN, UNKNOWN], CloseCause::Retired { proven: false }));
    gateway.retire();
    assert_eq!(closed(&mut gateway).await.1, CloseCause::Retired { proven: true });
}
