//! Faults of the HTTP/2 provider API: each of H10 to H16 at least once.

use apnsd::domain::apns::ApnsReason;
use apnsd::simulator::Settings;
use apnsd::simulator::journal::entry::{Event, Side};
use apnsd::simulator::journal::request::RequestVerdict;
use apnsd::simulator::script::fault::{Alert, ConnectFault, Delay, Ending, StreamFault};
use apnsd::simulator::script::http2::{
    AfterGoAway, AnswerFault, GoAway, Http2Fault, LastStream, Refusal, StreamLimits, Wedge, Window, WrongTimestamp,
};
use apnsd::simulator::script::{Command, Gateway};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use h2::{Ping, Reason};

use super::lab::{Lab, soon};
use super::provider_lab::{Answer, PAYLOAD, Provider, answer, good, request};

/// A connection with the good certificate and these faults.
async fn faulty(faults: impl IntoIterator<Item = Http2Fault>) -> (Lab, Provider) {
    commanded(Command::next(faults)).await
}

async fn commanded(command: Command) -> (Lab, Provider) {
    let lab = Lab::with_command(command).await;
    let provider = lab.provider(Some(lab.good())).await;
    (lab, provider)
}

fn wrong(how: AnswerFault) -> Http2Fault {
    Http2Fault::Answer { how, one_in: 1 }
}

fn told(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

/// The answer to a request with a bad token, whose answers are wrong in this way.
async fn rejection(how: AnswerFault) -> Answer {
    let (_lab, provider) = faulty([wrong(how)]).await;
    provider.ask(good("bad0"), PAYLOAD).await.unwrap()
}

#[tokio::test]
async fn with_provider_tokens_one_stream_is_allowed_until_the_first_success() {
    let lab = Lab::start().await;
    let provider = lab.provider(None).await;
    assert_eq!(provider.push("").await, told(403, "MissingProviderToken"));
    provider.limit(1).await;
    let headers = [("apns-topic", "a.b"), ("authorization", &lab.authorization())];
    provider.ask(request("", &headers), PAYLOAD).await.unwrap();
    provider.limit(1000).await;
}

#[tokio::test]
async fn a_rejection_lowers_the_number_of_streams_and_a_success_restores_it() {
    let fault = Http2Fault::RejectionLimit { to: 1, restore: true, in_flight: Refusal::Refuse };
    let (_lab, provider) = faulty([fault]).await;
    provider.limit(1000).await;
    provider.push("bad0").await;
    provider.limit(1).await;
    provider.push("").await;
    provider.limit(1000).await;
}

#[tokio::test]
async fn what_was_on_its_way_above_a_lowered_number_is_refused() {
    let fault = Http2Fault::RejectionLimit { to: 1, restore: false, in_flight: Refusal::RefuseTwice };
    let (lab, provider) = faulty([fault]).await;
    provider.limit(1000).await;
    let mut answers = Vec::new();
    for prefix in ["", "bad0", "", ""] {
        answers.push(provider.send(good(prefix), PAYLOAD).await.unwrap());
    }
    for sent in answers {
        if let Err(error) = answer(sent).await {
            assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
        }
    }
    let counts = lab.counts(|counts| counts.requests == 4).await;
    assert_eq!((counts.rejected, counts.accepted + counts.not_processed, counts.excess), (1, 3, 0));
    provider.limit(1).await;
    provider.push("").await;
    provider.limit(1).await;
}

#[tokio::test]
async fn numbers_of_streams_take_turns_by_requests_and_by_time() {
    let by_requests = StreamLimits { limits: vec![1, 7], every: Some(2), every_ms: None };
    let (_lab, provider) = faulty([Http2Fault::Streams(by_requests)]).await;
    provider.limit(1).await;
    provider.push("").await;
    provider.push("").await;
    provider.limit(7).await;
    let by_time = StreamLimits { limits: vec![0, 5], every: None, every_ms: Some(300) };
    let (_lab, provider) = faulty([Http2Fault::Streams(by_time)]).await;
    provider.limit(0).await;
    provider.limit(5).await;
    provider.limit(0).await;
}

#[tokio::test]
async fn one_request_in_two_is_refused_unprocessed() {
    let (lab, provider) = faulty([Http2Fault::Refuse { one_in: 2, how: Refusal::Refuse }]).await;
    assert_eq!(provider.push("").await.0, 200);
    let error = provider.ask(good(""), PAYLOAD).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
    assert_eq!(provider.push("").await.0, 200);
    let verdicts: Vec<_> = lab.requests().iter().map(|entry| (entry.verdict, entry.status)).collect();
    let accepted = (RequestVerdict::Accepted, Some(200));
    assert_eq!(verdicts, [accepted, (RequestVerdict::NotProcessed, None), accepted]);
}

#[tokio::test]
async fn a_server_goes_away_and_closes() {
    let (lab, mut provider) = commanded(Command::next([Http2Fault::GoAway(GoAway::default())]).after(2)).await;
    provider.push("").await;
    provider.push("").await;
    assert_eq!(provider.ended().await, Ok(()));
    let going = Event::GoAway { last_stream: 3, code: 0, debug: r#"{"reason":"Shutdown"}"#.to_owned() };
    lab.counts(|counts| counts.connections == 1 && counts.open == 0).await;
    let events = lab.events();
    assert_eq!(events[3], going);
    assert!(matches!(events[4], Event::Closed { .. }), "{events:?}");
}

#[tokio::test]
async fn a_server_goes_away_with_a_code_and_any_debug_data_twice() {
    let calm = GoAway { code: 11, debug: Some("not json".to_owned()), twice: true, ..GoAway::default() };
    let (lab, mut provider) = commanded(Command::next([Http2Fault::GoAway(calm)]).after(1)).await;
    provider.push("").await;
    assert_eq!(provider.ended().await, Err(Reason::ENHANCE_YOUR_CALM));
    assert_eq!(lab.counts(|counts| counts.go_aways == 2).await.accepted, 1);
}

#[tokio::test]
async fn a_server_goes_away_between_headers_and_body_and_processes_nothing() {
    let before = GoAway { before_data: true, last: LastStream::Zero, ..GoAway::default() };
    let (lab, provider) = faulty([Http2Fault::GoAway(before)]).await;
    assert!(provider.ask(good(""), PAYLOAD).await.unwrap_err().is_go_away());
    let counts = lab.counts(|counts| counts.go_aways == 1).await;
    assert_eq!(counts.accepted, 0);
}

#[tokio::test]
async fn a_server_that_names_no_last_stream_answers_what_is_there() {
    let max = GoAway { before_data: true, last: LastStream::Max, then: AfterGoAway::Close, ..GoAway::default() };
    let (_lab, mut provider) = faulty([Http2Fault::GoAway(max)]).await;
    assert_eq!(provider.push("").await.0, 200);
    assert_eq!(provider.ended().await, Ok(()));
}

#[tokio::test]
async fn answers_come_late_and_in_any_order() {
    let (_lab, provider) = faulty([wrong(AnswerFault::Delay(Delay::FixedMs(20)))]).await;
    assert_eq!(provider.push("").await.0, 200);
    let random = AnswerFault::Delay(Delay::RandomMs { from: 0, to: 20 });
    let (_lab, provider) = faulty([wrong(random)]).await;
    assert_eq!(provider.push("").await.0, 200);

    let (_lab, provider) = faulty([wrong(AnswerFault::Reversed(3))]).await;
    let mut answers = FuturesUnordered::new();
    for prefix in ["ee00", "ee01", "ee02"] {
        answers.push(answer(provider.send(good(prefix), PAYLOAD).await.unwrap()));
    }
    let mut order = Vec::new();
    while let Some(answer) = soon(answers.next()).await {
        order.push(answer.unwrap().told().1);
    }
    assert_eq!(order, ["BadExpirationDate", "BadDeviceToken", "BadCollapseId"]);
}

#[tokio::test]
async fn an_answer_waits_for_a_further_request_or_never_comes() {
    let (lab, provider) = faulty([Http2Fault::Answer { how: AnswerFault::Delay(Delay::Further(1)), one_in: 2 }]).await;
    provider.push("").await;
    let mut late = provider.send(good("bad0"), PAYLOAD).await.unwrap();
    lab.counts(|counts| counts.requests == 2).await;
    assert!((&mut late).now_or_never().is_none());
    provider.push("").await;
    assert_eq!(answer(late).await.unwrap().status, 400);

    let (lab, provider) = faulty([Http2Fault::Answer { how: AnswerFault::Delay(Delay::Never), one_in: 2 }]).await;
    provider.push("").await;
    let mut never = provider.send(good(""), PAYLOAD).await.unwrap();
    provider.push("").await;
    assert!((&mut never).now_or_never().is_none());
    drop(never);
    lab.counts(|counts| counts.canceled == 1).await;
    let counts = lab.counts(|counts| counts.requests == 3).await;
    assert_eq!((counts.accepted, counts.unanswered), (3, 1));
}

#[tokio::test]
async fn a_stream_is_reset_with_any_code_instead_of_an_answer() {
    let (lab, provider) = faulty([wrong(AnswerFault::Reset(8))]).await;
    assert_eq!(provider.ask(good(""), PAYLOAD).await.unwrap_err().reason(), Some(Reason::CANCEL));
    assert_eq!(lab.requests()[0].verdict, RequestVerdict::Accepted);
    assert_eq!(lab.requests()[0].status, None);
}

#[tokio::test]
async fn an_error_is_disfigured_in_every_way() {
    let whole = told(400, "BadDeviceToken");
    assert_eq!(rejection(AnswerFault::Split(5)).await.told(), whole);
    assert_eq!(rejection(AnswerFault::HeaderFrames(5)).await.told(), whole);
    assert_eq!(rejection(AnswerFault::HeadersOnly).await.body, "");
    assert_eq!(rejection(AnswerFault::Body("{\"reas".to_owned())).await.body, "{\"reas");
    assert_eq!(rejection(AnswerFault::Reason("New".to_owned())).await.told(), told(400, "New"));
    assert_eq!(rejection(AnswerFault::ContentType("text/html".to_owned())).await.header("content-type"), "text/html");
    assert_eq!(rejection(AnswerFault::NoApnsId).await.header("apns-id"), "");
    let (_lab, provider) = faulty([wrong(AnswerFault::Timestamp(WrongTimestamp::Absent))]).await;
    assert_eq!(provider.ask(good("dead"), PAYLOAD).await.unwrap().body, r#"{"reason":"Unregistered"}"#);
}

#[tokio::test]
async fn a_body_stays_without_its_end() {
    let (_lab, provider) = faulty([Http2Fault::Answer { how: AnswerFault::NoEndStream, one_in: 2 }]).await;
    provider.push("").await;
    let sent = provider.send(good("bad0"), PAYLOAD).await.unwrap();
    let mut body = soon(sent).await.unwrap().into_body();
    assert_eq!(soon(body.data()).await.unwrap().unwrap(), r#"{"reason":"BadDeviceToken"}"#);
    provider.push("").await;
    assert!(body.data().now_or_never().is_none() && !body.is_end_stream());
}

#[tokio::test]
async fn good_requests_get_another_reason_for_so_many_answers() {
    let retry_after = Some("7".to_owned());
    let burst = Http2Fault::Status { reason: "TooManyRequests".to_owned(), retry_after, answers: Some(2), ms: None };
    let (lab, provider) = faulty([burst]).await;
    assert_eq!(provider.push("bad0").await, told(400, "BadDeviceToken"));
    for _ in 0..2 {
        let answer = provider.ask(good(""), PAYLOAD).await.unwrap();
        assert_eq!((answer.told(), answer.header("retry-after")), (told(429, "TooManyRequests"), "7"));
    }
    assert_eq!(provider.push("").await.0, 200);
    assert_eq!(lab.counts(|counts| counts.requests == 4).await.reasons.of(ApnsReason::TooManyRequests), 2);
}

#[tokio::test]
async fn a_wedged_connection_answers_everything_with_the_same_error() {
    let (_lab, provider) = faulty([Http2Fault::Wedge(Wedge::Now)]).await;
    assert_eq!(provider.push("").await, told(500, "InternalServerError"));
    for (wedge, after) in [
        (Wedge::AfterExpiredToken, told(500, "InternalServerError")),
        (Wedge::ExpiredTokenSticks, told(403, "ExpiredProviderToken")),
    ] {
        let (lab, provider) = faulty([Http2Fault::Wedge(wedge)]).await;
        assert_eq!(provider.push("").await.0, 200);
        assert_eq!(provider.push("ee16").await, told(403, "ExpiredProviderToken"));
        assert_eq!(provider.push("").await, after);
        assert_eq!(lab.provider(Some(lab.good())).await.push("").await.0, 200, "another connection is not wedged");
    }
}

#[tokio::test]
async fn too_many_bad_tokens_end_the_connection() {
    let (lab, mut provider) = faulty([Http2Fault::ErrorBudget { bad_tokens: 2, then: Ending::Reset }]).await;
    for (prefix, status) in [("bad0", 400), ("dead", 410), ("", 200), ("bad0", 400)] {
        let Ok(answer) = provider.ask(good(prefix), PAYLOAD).await else { continue };
        assert_eq!(answer.status, status);
    }
    provider.ended().await.unwrap_err();
    assert_eq!(lab.counts(|counts| counts.open == 0).await.rejected, 3);
}

#[tokio::test]
async fn pings_are_answered_or_not() {
    let lab = Lab::start().await;
    let mut provider = lab.provider(Some(lab.good())).await;
    soon(provider.pings.ping(Ping::opaque())).await.unwrap();
    let (_lab, mut provider) = faulty([Http2Fault::Ping, Http2Fault::PingsUnanswered]).await;
    provider.pings.send_ping(Ping::opaque()).unwrap();
    provider.push("").await;
    let pong = std::future::poll_fn(|context| provider.pings.poll_pong(context));
    assert!(pong.now_or_never().is_none());
}

#[tokio::test]
async fn settings_come_late_or_never() {
    let (_lab, provider) = faulty([Http2Fault::SettingsLate(Some(200))]).await;
    assert_eq!(provider.push("").await.0, 200);
    provider.limit(1000).await;
    let (_lab, provider) = faulty([Http2Fault::SettingsLate(None)]).await;
    assert_eq!(provider.push("").await.0, 200);
    assert_eq!(provider.requests.current_max_send_streams(), 10, "what the client began with");
}

#[tokio::test]
async fn bodies_wait_for_windows_that_are_shut() {
    let (lab, provider) = faulty([Http2Fault::InitialWindow { bytes: 0, ms: None }]).await;
    provider.limit(1000).await;
    let mut waiting = provider.send(good(""), PAYLOAD).await.unwrap();
    assert_eq!(provider.ask(good(""), b"").await.unwrap().told(), told(400, "PayloadEmpty"));
    assert!((&mut waiting).now_or_never().is_none());
    lab.simulator.script().clear();
    assert_eq!(answer(waiting).await.unwrap().status, 200);

    let (_lab, provider) = faulty([Http2Fault::InitialWindow { bytes: 0, ms: Some(300) }]).await;
    provider.limit(1000).await;
    assert_eq!(provider.push("").await.0, 200);
}

#[tokio::test]
async fn windows_that_are_not_opened_again_run_out() {
    let body = [b' '; 4096];
    let (lab, provider) = faulty([Http2Fault::WithholdWindow(Window::Connection)]).await;
    for _ in 0..15 {
        assert_eq!(provider.ask(good(""), &body).await.unwrap().status, 200);
    }
    let mut waiting = provider.send(good(""), &body).await.unwrap();
    assert_eq!(provider.ask(good(""), b"").await.unwrap().status, 400);
    assert!((&mut waiting).now_or_never().is_none());
    assert_eq!(lab.counts(|counts| counts.requests == 16).await.accepted, 15);

    let small = Http2Fault::InitialWindow { bytes: 4000, ms: None };
    let (_lab, provider) = faulty([small, Http2Fault::WithholdWindow(Window::Stream)]).await;
    provider.limit(1000).await;
    let mut waiting = provider.send(good(""), &body).await.unwrap();
    assert_eq!(provider.ask(good(""), &body[..4000]).await.unwrap().status, 200);
    assert!((&mut waiting).now_or_never().is_none());
}

#[tokio::test]
async fn headers_may_be_left_uncompressed() {
    let (_lab, provider) = faulty([Http2Fault::HeaderTableSize(0)]).await;
    provider.limit(1000).await;
    assert_eq!((provider.push("").await.0, provider.push("").await.0), (200, 200));
}

#[tokio::test]
async fn a_header_list_of_more_than_8000_bytes_is_not_read() {
    let lab = Lab::start().await;
    let provider = lab.provider(Some(lab.good())).await;
    let long = "x".repeat(9000);
    provider.ask(request("", &[("x-long", &long)]), PAYLOAD).await.unwrap_err();
    assert_eq!(lab.counts(|counts| counts.violations == 1).await.requests, 0);
}

#[tokio::test]
async fn a_request_is_accepted_and_its_answer_is_lost_with_the_connection() {
    for then in [Ending::Clean, Ending::Fin, Ending::Reset, Ending::DrainMs(1), Ending::ResetWithinMs(1)] {
        let (lab, provider) = commanded(Command::next([Http2Fault::LoseAnswer { then }]).after(1)).await;
        assert_eq!(provider.push("").await.0, 200);
        provider.ask(good(""), PAYLOAD).await.unwrap_err();
        let counts = lab.counts(|counts| counts.requests == 2).await;
        assert_eq!((counts.accepted, counts.unanswered), (2, 1));
    }
}

#[tokio::test]
async fn tokens_end_connections_and_streams() {
    let lab = Lab::start().await;
    let mut provider = lab.provider(Some(lab.good())).await;
    assert_eq!(provider.ask(good("bade"), PAYLOAD).await.unwrap_err().reason(), Some(Reason::PROTOCOL_ERROR));
    assert_eq!(provider.push("badff").await, told(400, "UnheardOfReason"));
    assert_eq!(provider.push("badd").await.0, 200);
    assert_eq!(provider.push("bada").await.0, 200);
    assert_eq!(provider.ended().await, Ok(()));
    for prefix in ["badb", "badc"] {
        let provider = lab.provider(Some(lab.good())).await;
        provider.ask(good(prefix), PAYLOAD).await.unwrap_err();
    }
    let counts = lab.counts(|counts| counts.requests == 6).await;
    assert_eq!((counts.accepted, counts.rejected, counts.lost, counts.not_processed), (1, 1, 1, 3));
}

#[tokio::test]
async fn faults_of_the_transport_apply_too() {
    let lab = Lab::start().await;
    lab.command(Command::next([ConnectFault::Alert(Alert::Revoked)]));
    // With TLS 1.3 the alert comes after the client's handshake.
    let tls = lab.provider_tls(Some(lab.good()), &[b"h2"]).await;
    lab.wait(|summary| summary.refused == 1).await;
    drop(tls);
    lab.command(Command::next([ConnectFault::ConnectionsMax(0)]));
    let provider = lab.provider(Some(lab.good())).await;
    provider.ask(good(""), PAYLOAD).await.unwrap_err();
    for fault in [
        StreamFault::Close { within_ms: 0, then: Ending::Reset },
        StreamFault::IdleClose(1),
        StreamFault::Close { within_ms: 5, then: Ending::Fin },
    ] {
        lab.command(Command::next([fault]).at(Gateway::Http2).after(1));
        let mut provider = lab.provider(Some(lab.good())).await;
        // The last answer and the end may overtake each other.
        drop(provider.ask(good(""), PAYLOAD).await);
        let _either_way = provider.ended().await;
    }
    lab.counts(|counts| counts.connections == 4 && counts.open == 0).await;
    let events = lab.events().into_iter();
    let mut ends: Vec<_> = events
        .filter_map(|event| match event {
            Event::Closed { by: Side::Server, how } => Some(how),
            _ => None,
        })
        .collect();
    ends.sort_unstable();
    assert_eq!(ends, ["FIN without close_notify", "close_notify and FIN", "close_notify and FIN", "reset"]);
}

#[tokio::test]
async fn nothing_is_read_any_more_or_slowly() {
    let lab = Lab::start().await;
    lab.command(Command::next([StreamFault::StopReading]).at(Gateway::Http2).after(1));
    let provider = lab.provider(Some(lab.good())).await;
    assert_eq!(provider.push("").await.0, 200);
    let mut waiting = provider.send(good(""), PAYLOAD).await.unwrap();
    let slow = {
        lab.command(Command::next([StreamFault::Throttle(100_000)]).at(Gateway::Http2));
        lab.provider(Some(lab.good())).await
    };
    assert_eq!(slow.push("").await.0, 200);
    assert!((&mut waiting).now_or_never().is_none());
    assert_eq!(lab.counts(|counts| counts.requests == 2).await.accepted, 2);
}

#[tokio::test]
async fn counting_only_counts_and_many_requests_are_answered() {
    let lab = Lab::with(|settings| Settings { count_only: true, ..settings }).await;
    let provider = lab.provider(Some(lab.good())).await;
    let mut answers = FuturesUnordered::new();
    for number in 0..2000 {
        let prefix = if number % 10 == 0 { "bad0" } else { "" };
        answers.push(answer(provider.send(good(prefix), PAYLOAD).await.unwrap()));
    }
    while let Some(answer) = soon(answers.next()).await {
        answer.unwrap();
    }
    let counts = lab.counts(|counts| counts.requests == 2000).await;
    assert_eq!((counts.accepted, counts.rejected, counts.excess, counts.violations), (1800, 200, 0, 0));
    assert!(lab.events().is_empty());
}
