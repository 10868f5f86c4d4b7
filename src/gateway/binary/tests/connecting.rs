//! From the address to a usable connection, and all the ways in which that fails.

use super::*;

async fn failure(gateway: &mut Gateway) -> CloseCause {
    let closed = closed(gateway).await;
    assert_eq!(closed.settled, []);
    closed.cause
}

/// Accepts, and lets the handshake fail.
async fn failure_at(server: &Server, gateway: &mut Gateway) -> CloseCause {
    let mut events = Vec::new();
    let handshake = async {
        let (mut tcp, _) = server.listener.accept().await.unwrap();
        let mut session = server.session();
        while pump(&mut tcp, &mut session).await.is_ok_and(|read| read > 0) {}
        tcp
    };
    let _tcp = beside(gateway, &mut events, handshake).await;
    match events.pop() {
        Some(Event::Closed(closed)) => closed.cause,
        Some(event) => panic!("{event:?}"),
        None => failure(gateway).await,
    }
}

/// Takes one read of bytes into a session and writes what it answers, alerts included.
async fn pump(tcp: &mut TcpStream, session: &mut rustls::ServerConnection) -> Result<usize, rustls::Error> {
    let mut bytes = vec![0; 16 * 1024];
    let read = tcp.read(&mut bytes).await.unwrap_or(0);
    let mut unread = &bytes[..read];
    let mut result = Ok(());
    while !unread.is_empty() && result.is_ok() {
        session.read_tls(&mut unread).unwrap();
        result = session.process_new_packets().map(drop);
    }
    let mut out = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut out).unwrap();
    }
    tcp.write_all(&out).await.unwrap();
    result.map(|()| read)
}

#[tokio::test]
async fn an_expired_client_certificate_is_refused_by_name_in_both_versions_of_tls() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = Server::with(Options { version, client_expired: true, ..Options::default() }).await;
        let mut gateway = server.patient_gateway();
        let cause = failure_at(&server, &mut gateway).await;
        assert_eq!(cause, CloseCause::Refused("certificate expired".into()), "{version:?}");
        assert!(!gateway.is_connected());
    }
}

#[tokio::test]
async fn a_client_certificate_of_an_unknown_authority_is_refused_by_name() {
    let server = Server::with(Options { client_of_other_authority: true, ..Options::default() }).await;
    let mut gateway = server.patient_gateway();
    let cause = failure_at(&server, &mut gateway).await;
    assert_eq!(cause, CloseCause::Refused("unknown certificate authority".into()));
}

#[tokio::test]
async fn a_certificate_refused_after_the_first_write_processed_nothing() {
    let server = Server::with(Options { client_expired: true, ..Options::default() }).await;
    let mut gateway = server.patient_gateway();
    let mut events = Vec::new();
    let hello = async {
        let (mut tcp, _) = server.listener.accept().await.unwrap();
        let mut session = server.session();
        pump(&mut tcp, &mut session).await.unwrap();
        (tcp, session)
    };
    let (mut tcp, mut session) = beside(&mut gateway, &mut events, hello).await;
    assert!(matches!(next(&mut gateway).await, Event::Connected { .. }), "the server has not judged yet");
    assert_eq!(gateway.send(span(2)), None);
    let judge = async { while pump(&mut tcp, &mut session).await.is_ok() {} };
    beside(&mut gateway, &mut events, judge).await;
    if events.is_empty() {
        events.push(next(&mut gateway).await);
    }
    let [Event::Closed(closed)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(closed.cause, CloseCause::Refused("certificate expired".into()));
    assert_eq!(outcomes(&closed.settled), [not_processed(2)]);
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_not_trusted_and_the_cause_says_what_to_do() {
    let server = Server::with(Options { server_of_other_authority: true, ..Options::default() }).await;
    let mut gateway = server.patient_gateway();
    let cause = failure_at(&server, &mut gateway).await;
    let CloseCause::Untrusted(words) = cause else { panic!("{cause:?}") };
    assert!(words.starts_with(&server.address()), "{words}");
    assert!(words.contains("set `ca` of [environments.test]"), "{words}");
}

#[tokio::test]
async fn a_server_with_another_name_is_not_trusted() {
    let server = Server::with(Options { server_name: "gateway.example.com", ..Options::default() }).await;
    let mut gateway = server.patient_gateway();
    let cause = failure_at(&server, &mut gateway).await;
    let CloseCause::Untrusted(words) = cause else { panic!("{cause:?}") };
    assert!(words.contains("gateway.example.com"), "{words}");
}

#[tokio::test]
async fn where_nothing_listens_the_gateway_is_unreachable() {
    let server = Server::start().await;
    let route = server.route();
    let address = server.address();
    drop(server.listener);
    let mut route = route;
    route.environment = crate::domain::app::Environment { ca: None, ..(*route.environment).clone() }.into();
    let mut gateway = Gateway::new(route, &Settings::default().into(), Clock::system()).unwrap();
    gateway.connect();
    let cause = failure(&mut gateway).await;
    let CloseCause::Unreachable(words) = cause else { panic!("{cause:?}") };
    assert!(words.starts_with(&address) && words.contains("Connection refused"), "{words}");
}

#[tokio::test]
async fn a_name_without_an_address_is_unreachable() {
    let server = Server::start().await;
    let mut route = server.route();
    let mut environment = (*route.environment).clone();
    environment.gateway = Address::parse("binary://nowhere.invalid:2195").unwrap();
    route.environment = environment.into();
    let mut gateway = Gateway::new(route, &Settings::default().into(), Clock::system()).unwrap();
    gateway.connect();
    let cause = failure(&mut gateway).await;
    let CloseCause::Unreachable(words) = cause else { panic!("{cause:?}") };
    assert!(words.starts_with("binary://nowhere.invalid:2195: name look-up: "), "{words}");
}

#[tokio::test]
async fn a_handshake_that_nobody_answers_ends_with_the_connect_timeout() {
    let server = Server::start().await;
    let mut route = server.route();
    route.connect_timeout = Duration::from_millis(200);
    let mut gateway = Gateway::new(route, &Settings::default().into(), Clock::system()).unwrap();
    gateway.connect();
    let cause = failure(&mut gateway).await;
    let expected = format!("{}: TLS handshake: not done within 0.2 s", server.address());
    assert_eq!(cause, CloseCause::Unreachable(expected));
}

#[tokio::test]
async fn a_close_in_the_middle_of_the_handshake_is_unreachable() {
    let server = Server::start().await;
    let mut gateway = server.patient_gateway();
    let mut events = Vec::new();
    let accept = async { drop(server.listener.accept().await.unwrap()) };
    beside(&mut gateway, &mut events, accept).await;
    let cause = failure(&mut gateway).await;
    assert!(matches!(cause, CloseCause::Unreachable(_)), "{cause:?}");
}

#[tokio::test]
async fn a_close_right_after_the_handshake_is_silent_and_the_connection_was_never_announced() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = Server::with(Options { version, ..Options::default() }).await;
        let mut gateway = server.patient_gateway();
        let mut events = Vec::new();
        drop(beside(&mut gateway, &mut events, server.accept()).await);
        assert_eq!(events, []);
        assert_eq!(failure(&mut gateway).await, CloseCause::Silent { settled: false });
    }
}

#[tokio::test]
async fn a_first_connection_is_watched_for_a_while_before_it_is_announced() {
    let server = Server::start().await;
    let (clock, mut gateway) = (Clock::system(), server.patient_gateway());
    let before = clock.now();
    let _peer = connected(&server, &mut gateway).await;
    assert!(clock.now().since(before) >= Duration::from_millis(100));
}

#[tokio::test]
async fn retiring_without_a_connection_ends_at_once() {
    let server = Server::start().await;
    let mut gateway = server.patient_gateway();
    gateway.retire();
    assert_eq!(failure(&mut gateway).await, CloseCause::Retired { proven: true });
    gateway.retire();
    assert_eq!(failure(&mut gateway).await, CloseCause::Retired { proven: true });
}

#[tokio::test]
async fn routes_that_cannot_work_are_refused_with_what_to_do() {
    let server = Server::start().await;
    let error = |change: &dyn Fn(&mut crate::domain::app::Environment)| {
        let mut route = server.route();
        let mut environment = (*route.environment).clone();
        change(&mut environment);
        route.environment = environment.into();
        let error = Gateway::new(route, &Settings::default().into(), Clock::system()).err();
        error.as_ref().map(RouteError::to_string).unwrap()
    };
    assert_eq!(
        error(&|environment| environment.gateway = Address::parse("fcm://fcm.googleapis.com").unwrap()),
        "environment `test` speaks fcm, which this version does not: use a `https://` or `binary://` address"
    );
    assert_eq!(
        error(&|environment| environment.gateway.host = "no host".to_owned()),
        "`no host` is neither a host name nor an IP address: correct it in the environment's address"
    );
    let empty = server.write_file("empty.pem", "");
    let words = error(&|environment| environment.ca = Some(empty.clone()));
    assert!(words.contains("empty.pem: it holds no PEM certificate: name a readable PEM file"), "{words}");
    let words = error(&|environment| environment.ca = Some("/nowhere/ca.pem".into()));
    assert!(words.contains("/nowhere/ca.pem") && words.contains("No such file"), "{words}");
}
