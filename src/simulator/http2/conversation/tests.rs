//! Conversations with literal bytes: what no proper client does, and what needs an injected clock.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::apns::ApnsReason;
use crate::simulator::journal::request::RequestVerdict;
use crate::simulator::peer::{GatewayEnvironment, Peer};
use crate::simulator::script::fault::{Delay, Fault, StreamFault};
use crate::simulator::script::http2::{AnswerFault, Http2Fault, Refusal, StreamLimits, Wedge};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
const ACKNOWLEDGED: &[u8] = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// A frame that was sent: its type, its stream and its payload.
type Frame = (u8, u32, Vec<u8>);

fn at(ms: u64) -> Now {
    Now { at: Instant::from_start(Duration::from_millis(ms)), wall: Timestamp::from_secs(1_700_000_000) }
}

/// A conversation with a client that has said hello and acknowledged all settings.
fn conversation(faults: impl IntoIterator<Item = Fault>, after: u64) -> Conversation {
    let peer = Peer { uid: "a.b".to_owned(), leaf: vec![1], development: true, production: true, ..Peer::default() };
    let environment = GatewayEnvironment::Both;
    let judge = Judge { authentication: Authentication::Certificate(peer), environment };
    let scheduled = vec![Scheduled { after, faults: faults.into_iter().collect() }];
    let mut conversation = Conversation::new(judge, 7, scheduled, true, at(0).at);
    conversation.receive(PREFACE, at(0));
    for _ in sent(&mut conversation).iter().filter(|(kind, _, payload)| *kind == SETTINGS && !payload.is_empty()) {
        conversation.receive(ACKNOWLEDGED, at(0));
    }
    conversation
}

/// A good request: HEADERS and DATA.
fn request(stream: u8) -> Vec<u8> {
    request_to("abab", stream)
}

/// The same for a token that begins with these digits.
fn request_to(prefix: &str, stream: u8) -> Vec<u8> {
    let path = format!("/3/device/{prefix}{}", "ab".repeat(30));
    let mut block = vec![0x83, 0x87, 0x04, 74];
    block.extend(path.as_bytes());
    let mut frames = vec![0, 0, 78, HEADERS, 0x04, 0, 0, 0, stream];
    frames.extend(block);
    frames.extend([0, 0, 2, DATA, 0x01, 0, 0, 0, stream]);
    frames.extend(b"{}");
    frames
}

fn requests(streams: &[u8]) -> Vec<u8> {
    streams.iter().flat_map(|stream| request(*stream)).collect()
}

/// What was sent since the last time, but for windows.
fn sent(conversation: &mut Conversation) -> Vec<Frame> {
    let bytes = conversation.out().split();
    let mut rest = &bytes[..];
    let mut frames = Vec::new();
    while let [a, b, c, kind, _, d, e, f, g, behind @ ..] = rest {
        let (payload, behind) = behind.split_at(u32::from_be_bytes([0, *a, *b, *c]) as usize);
        frames.push((*kind, u32::from_be_bytes([*d, *e, *f, *g]), payload.to_vec()));
        rest = behind;
    }
    frames.retain(|(kind, ..)| *kind != WINDOW_UPDATE);
    frames
}

/// Types and streams of what was sent.
fn kinds(conversation: &mut Conversation) -> Vec<(u8, u32)> {
    sent(conversation).into_iter().map(|(kind, stream, _)| (kind, stream)).collect()
}

fn verdicts(conversation: &mut Conversation) -> Vec<(u32, RequestVerdict, bool)> {
    let of = |event: &entry::Event| match event {
        entry::Event::Request(request) => Some((request.stream, request.verdict, request.excess)),
        _ => None,
    };
    conversation.notes().events.iter().filter_map(of).collect()
}

fn go_away(last: LastStream, then: AfterGoAway) -> Fault {
    Http2Fault::GoAway(GoAway { last, then, ..GoAway::default() }).into()
}

const CLEAN: Option<End> = Some(End { ending: Ending::Clean, pause: Duration::ZERO });

fn one_stream() -> Fault {
    Http2Fault::Streams(StreamLimits { limits: vec![1], every: None, every_ms: None }).into()
}

#[test]
fn a_stream_beyond_the_acknowledged_number_is_refused_and_counted() {
    let mut conversation = conversation([one_stream()], 0);
    conversation.receive(&requests(&[1, 3]), at(1));
    assert_eq!(kinds(&mut conversation), [(HEADERS, 1), (RESET, 3)]);
    let expected = [(1, RequestVerdict::Accepted, false), (3, RequestVerdict::NotProcessed, true)];
    assert_eq!(verdicts(&mut conversation), expected);
    assert_eq!(conversation.notes().counts.http2.excess, 1);
    assert_eq!(conversation.ended(at(1).at), None);
}

#[test]
fn a_stream_beyond_the_acknowledged_number_may_end_the_connection() {
    let mut conversation = conversation([one_stream(), Http2Fault::ExcessIsFatal.into()], 0);
    conversation.receive(&requests(&[1, 3, 5]), at(1));
    let frames = sent(&mut conversation);
    let debug = b"\x00\x00\x00\x01\x00\x00\x00\x01Maximum active streams violated".to_vec();
    assert_eq!((frames.len(), &frames[1]), (2, &(GO_AWAY, 0, debug)));
    assert_eq!(conversation.ended(at(1).at), CLEAN);
    assert_eq!(conversation.notes().counts.http2.not_processed, 2);
}

#[test]
fn streams_above_the_last_one_of_a_go_away_are_refused_or_ignored() {
    let mut open = conversation([go_away(LastStream::Below, AfterGoAway::LeaveOpen)], 1);
    open.receive(&requests(&[1, 3, 5]), at(1));
    assert_eq!(kinds(&mut open), [(HEADERS, 1), (GO_AWAY, 0), (RESET, 3), (RESET, 5)]);
    assert_eq!(open.ended(at(1).at), None);

    let mut silent = conversation([go_away(LastStream::Zero, AfterGoAway::Ignore)], 1);
    silent.receive(&requests(&[1, 3, 5]), at(1));
    let frames = sent(&mut silent);
    assert_eq!(frames[1], (GO_AWAY, 0, b"\x00\x00\x00\x00\x00\x00\x00\x00{\"reason\":\"Shutdown\"}".to_vec()));
    assert_eq!((frames.len(), silent.ended(at(1).at)), (2, None));
    assert_eq!(silent.notes().counts.http2.not_processed, 2);
}

#[test]
fn what_is_up_to_the_last_stream_is_answered_before_the_close() {
    let late = Http2Fault::Answer { how: AnswerFault::Delay(Delay::FixedMs(50)), one_in: 1 };
    let mut conversation = conversation([late.into()], 0);
    conversation.receive(&requests(&[1]), at(1));
    conversation.change(
        Change::Add(Scheduled { after: 0, faults: vec![go_away(LastStream::Equal, AfterGoAway::Close)] }),
        at(1).at,
    );
    conversation.receive(&requests(&[3]), at(2));
    assert_eq!((kinds(&mut conversation), conversation.ended(at(2).at)), (vec![(GO_AWAY, 0)], None));
    assert_eq!(conversation.deadline(), Some(at(51).at));
    conversation.tick(at(51).at);
    assert_eq!(kinds(&mut conversation), [(HEADERS, 1)]);
    assert_eq!(conversation.ended(at(51).at), CLEAN);
}

#[test]
fn what_arrives_behind_the_end_is_not_processed() {
    let close = StreamFault::Close { within_ms: 0, then: Ending::Clean };
    let mut conversation = conversation([close.into()], 1);
    conversation.receive(&requests(&[1, 3]), at(1));
    let expected = [(1, RequestVerdict::Accepted, false), (3, RequestVerdict::NotProcessed, false)];
    assert_eq!(verdicts(&mut conversation), expected);
    assert_eq!(conversation.ended(at(1).at), CLEAN);
}

#[test]
fn a_client_that_breaks_the_rules_is_noted_and_told() {
    let mut conversation = conversation([], 0);
    conversation.receive(&request(2), at(1));
    assert_eq!(kinds(&mut conversation), [(GO_AWAY, 0)]);
    assert!(matches!(conversation.notes().events[..], [entry::Event::Violation { .. }]));
    assert_eq!(conversation.notes().counts.http2.violations, 1);
    assert_eq!(conversation.ended(at(1).at), CLEAN);
}

#[test]
fn silence_ends_a_connection_or_makes_the_next_byte_fatal() {
    let mut closed = conversation([StreamFault::IdleClose(100).into()], 0);
    closed.receive(&request(1), at(40));
    closed.tick(at(139).at);
    assert_eq!((closed.deadline(), closed.ended(at(139).at)), (Some(at(140).at), None));
    closed.tick(at(140).at);
    assert_eq!(closed.ended(at(140).at), CLEAN);

    let mut reset = conversation([StreamFault::IdleReset(100).into()], 0);
    reset.tick(at(500).at);
    assert_eq!(reset.ended(at(500).at), None);
    reset.receive(&request(1), at(500));
    assert_eq!(reset.ended(at(500).at), Some(End { ending: Ending::Reset, pause: Duration::ZERO }));
    assert_eq!(reset.notes().counts.http2.not_processed, 1);
}

#[test]
fn good_requests_get_another_reason_for_so_long() {
    let unavailable = "ServiceUnavailable".to_owned();
    let burst = Http2Fault::Status { reason: unavailable, retry_after: None, answers: None, ms: Some(100) };
    let mut conversation = conversation([burst.into()], 0);
    conversation.receive(&request(1), at(99));
    conversation.receive(&request(3), at(100));
    let rejected = RequestVerdict::Rejected(ApnsReason::ServiceUnavailable);
    assert_eq!(verdicts(&mut conversation), [(1, rejected, false), (3, RequestVerdict::Accepted, false)]);
}

#[test]
fn a_ping_is_sent_and_forgotten_settings_come_back_with_the_end_of_a_command() {
    let shut = Http2Fault::InitialWindow { bytes: 0, ms: None };
    let mut conversation = conversation([Http2Fault::Ping.into(), shut.into()], 1);
    conversation.receive(&request(1), at(1));
    assert_eq!(kinds(&mut conversation), [(HEADERS, 1), (PING, 0), (SETTINGS, 0)]);
    conversation.change(Change::Clear, at(2).at);
    let frames = sent(&mut conversation);
    let window = [0, 4, 0, 0, 0xff, 0xff];
    assert!(frames.len() == 1 && frames[0].2.chunks(6).any(|setting| setting == window), "{frames:?}");
}

/// What may happen to a conversation.
#[derive(Clone, Debug)]
enum Step {
    Request(&'static str),
    Fault(Fault),
    Clear,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let answer = |how| Http2Fault::Answer { how, one_in: 2 };
    let faults = vec![
        one_stream(),
        Http2Fault::Streams(StreamLimits { limits: vec![1, 0, 9], every: Some(3), every_ms: Some(40) }).into(),
        Http2Fault::RejectionLimit { to: 1, restore: true, in_flight: Refusal::RefuseTwice }.into(),
        Http2Fault::Refuse { one_in: 3, how: Refusal::Refuse }.into(),
        answer(AnswerFault::Delay(Delay::RandomMs { from: 0, to: 90 })).into(),
        answer(AnswerFault::Reversed(3)).into(),
        answer(AnswerFault::Reset(2)).into(),
        answer(AnswerFault::HeadersOnly).into(),
        Http2Fault::Status { reason: "Shutdown".into(), retry_after: None, answers: Some(2), ms: None }.into(),
        Http2Fault::Wedge(Wedge::ExpiredTokenSticks).into(),
        Http2Fault::InitialWindow { bytes: 10, ms: Some(30) }.into(),
        go_away(LastStream::Equal, AfterGoAway::LeaveOpen),
        go_away(LastStream::Below, AfterGoAway::Ignore),
        go_away(LastStream::Equal, AfterGoAway::Close),
        Http2Fault::ErrorBudget { bad_tokens: 2, then: Ending::Clean }.into(),
        Http2Fault::LoseAnswer { then: Ending::Clean }.into(),
    ];
    let step = prop_oneof![
        6 => proptest::sample::select(vec!["abab", "bad0", "dead", "ee16", "bade", "badd", "bada"]).prop_map(Step::Request),
        2 => proptest::sample::select(faults).prop_map(Step::Fault),
        1 => Just(Step::Clear),
        2 => (0_u64..100).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// Whatever goes wrong: each request is noted once, and answered once where the journal says so, unless the
    /// connection has ended before.
    #[test]
    fn every_request_is_noted_once_and_answered_as_noted(steps in steps()) {
        let mut conversation = conversation([], 0);
        let (mut ms, mut stream, mut requests) = (0, 1, 0);
        let mut answers: BTreeMap<u32, usize> = BTreeMap::new();
        for step in steps.into_iter().chain([Step::Clear, Step::Wait(10_000)]) {
            match step {
                Step::Request(prefix) => {
                    conversation.receive(&request_to(prefix, stream), at(ms));
                    (stream, requests) = (stream + 2, requests + 1);
                }
                Step::Fault(fault) => {
                    conversation.change(Change::Add(Scheduled { after: 0, faults: vec![fault] }), at(ms).at);
                }
                Step::Clear => conversation.change(Change::Clear, at(ms).at),
                Step::Wait(more) => {
                    ms += more;
                    conversation.tick(at(ms).at);
                }
            }
            for (kind, stream, payload) in sent(&mut conversation) {
                match kind {
                    HEADERS => *answers.entry(stream).or_default() += 1,
                    SETTINGS if !payload.is_empty() => conversation.receive(ACKNOWLEDGED, at(ms)),
                    _ => (),
                }
            }
        }
        let ended = conversation.ended(at(ms).at).is_some();
        let notes = conversation.notes();
        let counts = notes.counts.http2;
        prop_assert_eq!(counts.requests, requests);
        prop_assert_eq!(counts.accepted + counts.rejected + counts.lost + counts.not_processed, requests);
        let entries: Vec<_> = notes.events.iter().filter_map(|event| match event {
            entry::Event::Request(request) => Some((request.stream, request.status.is_some())),
            _ => None,
        }).collect();
        prop_assert_eq!(entries.len() as u64, requests);
        for (stream, answered) in entries {
            let given = answers.get(&stream).copied().unwrap_or(0);
            prop_assert!(given == usize::from(answered) || (ended && given == 0), "stream {stream}: {given}");
        }
    }
}
