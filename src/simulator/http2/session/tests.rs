//! Conversations with a session, in literal bytes.

mod client;
mod errors;
mod properties;
mod windows;

use super::*;
use crate::simulator::http2::frame::tests::hex;

/// Preface, empty SETTINGS, and the acknowledgement of ours.
const HELLO: &str = "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a 000000 04 00 00000000 000000 04 01 00000000";
/// `:method: POST`, `:scheme: https`, `:path: /3/device/ab`.
const FIELDS: &str = "83 87 04 0c 2f332f6465766963652f6162";

/// A session whose client has said hello; its answers to that are taken.
fn greeted(options: Options) -> Session {
    let mut session = Session::new(options);
    receive(&mut session, HELLO);
    assert_eq!(events(&mut session), [Event::SettingsAcknowledged]);
    session.out().clear();
    session
}

fn receive(session: &mut Session, digits: &str) {
    session.receive(&hex(digits)).unwrap();
}

fn events(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.next_event()).collect()
}

fn expect_out(session: &mut Session, digits: &str) {
    assert_eq!(session.out().split().to_vec(), hex(digits), "{digits}");
}

/// HEADERS of a request, whose body is to follow unless `ends`.
fn headers(stream: u32, ends: bool) -> String {
    format!("000010 01 {} {stream:08x} {FIELDS}", if ends { "05" } else { "04" })
}

/// Opens a stream with a request that has no body.
fn request(session: &mut Session, stream: u32) {
    receive(session, &headers(stream, true));
}

/// For each request that is complete, in order: whether it was opened beyond the limit.
fn excess(session: &mut Session) -> Vec<bool> {
    let excess = |event| if let Event::Request { excess, .. } = event { Some(excess) } else { None };
    events(session).into_iter().filter_map(excess).collect()
}

fn fields() -> Vec<Field> {
    let field = |name: &str, value: &str| (name.into(), value.into());
    vec![field(":method", "POST"), field(":scheme", "https"), field(":path", "/3/device/ab")]
}

#[test]
fn a_whole_conversation() {
    let mut session = Session::new(Options::default());
    let settings = "00001e 04 00 00000000 0001 00001000  0003 000003e8  0004 0000ffff  0005 00004000  0006 00001f40";
    expect_out(&mut session, settings);
    receive(&mut session, HELLO);
    expect_out(&mut session, "000000 04 01 00000000");
    assert_eq!(events(&mut session), [Event::SettingsAcknowledged]);

    receive(&mut session, &headers(1, false));
    assert_eq!(events(&mut session), [Event::Begun { stream: 1 }]);
    receive(&mut session, "000002 00 01 00000001 7b7d");
    assert_eq!(
        events(&mut session),
        [Event::Request { stream: 1, headers: fields(), body: b"{}".to_vec(), excess: false }]
    );
    expect_out(&mut session, "000004 08 00 00000000 00000002");
    assert_eq!((session.open_streams(), session.last_stream()), (1, 1));

    session.respond(1, Response { headers: vec![("apns-id".into(), "x".into())], ..Response::new(200) });
    expect_out(&mut session, "000010 01 05 00000001 08 03 323030  00 07 61706e732d6964 01 78");
    assert_eq!((session.open_streams(), session.last_stream()), (0, 1));

    request(&mut session, 3);
    session.respond(3, Response { body: b"{}".to_vec(), ..Response::new(410) });
    expect_out(&mut session, "000005 01 04 00000003 08 03 343130  000002 00 01 00000003 7b7d");
    receive(&mut session, "000008 06 00 00000000 0102030405060708");
    expect_out(&mut session, "000008 06 01 00000000 0102030405060708");
    receive(&mut session, "00000a 07 00 00000000 00000000 00000000 6f6b");
    let ping = Event::Ping { payload: [1, 2, 3, 4, 5, 6, 7, 8] };
    let go_away = Event::GoAway { last_stream: 0, code: 0, debug: b"ok".to_vec() };
    let last_request = Event::Request { stream: 3, headers: fields(), body: Vec::new(), excess: false };
    assert_eq!(events(&mut session), [Event::Begun { stream: 3 }, last_request, ping, go_away]);
}

#[test]
fn headers_continue_and_trailers_end_a_request() {
    let mut session = greeted(Options::default());
    receive(&mut session, "000002 01 00 00000001 8387  000000 09 00 00000001");
    assert_eq!(events(&mut session), []);
    receive(&mut session, "00000e 09 04 00000001 04 0c 2f332f6465766963652f6162");
    receive(&mut session, "000001 00 00 00000001 61  000005 01 05 00000001 00 01 61 01 62");
    let request = Event::Request { stream: 1, headers: fields(), body: b"a".to_vec(), excess: false };
    assert_eq!(events(&mut session), [Event::Begun { stream: 1 }, request]);
}

#[test]
fn padding_priority_and_unknown_frames_mean_nothing() {
    let mut session = greeted(Options::default());
    receive(&mut session, "000005 02 00 00000005 00000001 10  000003 ee ff 00000009 616263");
    let headers = format!("000017 01 2c 00000001 01 00000000 10 {FIELDS} 00");
    receive(&mut session, &headers);
    receive(&mut session, "000004 00 09 00000001 02 61 0000");
    let request = Event::Request { stream: 1, headers: fields(), body: b"a".to_vec(), excess: false };
    assert_eq!(events(&mut session), [Event::Begun { stream: 1 }, request]);
    expect_out(&mut session, "000004 08 00 00000000 00000004");
}

#[test]
fn an_answer_comes_in_as_many_frames_as_asked_and_may_have_no_end() {
    let mut session = greeted(Options::default());
    request(&mut session, 1);
    let response = Response { body: b"abcde".to_vec(), header_frames: 2, data_frames: 3, ..Response::new(200) };
    session.respond(1, response);
    expect_out(
        &mut session,
        "000003 01 00 00000001 08 03 32  000002 09 04 00000001 3030
         000002 00 00 00000001 6162  000002 00 00 00000001 6364  000001 00 01 00000001 65",
    );
    request(&mut session, 3);
    session.respond(3, Response { body: b"a".to_vec(), ends_stream: false, ..Response::new(200) });
    expect_out(&mut session, "000005 01 04 00000003 08 03 323030  000001 00 00 00000003 61");
    request(&mut session, 5);
    session.respond(5, Response { ends_stream: false, ..Response::new(200) });
    expect_out(&mut session, "000005 01 04 00000005 08 03 323030");
    assert_eq!(session.open_streams(), 2);
}

#[test]
fn an_answer_before_the_end_of_the_request_leaves_the_stream_open_until_then() {
    let mut session = greeted(Options::default());
    receive(&mut session, &headers(1, false));
    session.respond(1, Response::new(413));
    assert_eq!(session.open_streams(), 1);
    receive(&mut session, "000001 00 01 00000001 61");
    assert_eq!(session.open_streams(), 0);
    assert!(matches!(&events(&mut session)[..], [Event::Begun { .. }, Event::Request { .. }]));
}

#[test]
fn only_the_first_answer_counts_and_only_on_an_open_stream() {
    let mut session = greeted(Options::default());
    session.respond(1, Response::new(200));
    request(&mut session, 1);
    session.respond(1, Response { ends_stream: false, ..Response::new(200) });
    session.out().clear();
    session.respond(1, Response::new(200));
    receive(&mut session, "000004 03 00 00000001 00000008");
    session.respond(1, Response::new(200));
    expect_out(&mut session, "");
    assert_eq!(events(&mut session).last(), Some(&Event::Reset { stream: 1, code: 8 }));
}

#[test]
fn a_stream_can_be_reset_twice_and_what_still_comes_is_ignored() {
    let mut session = greeted(Options::default());
    receive(&mut session, &headers(1, false));
    session.reset(1, 7);
    session.reset(1, 5);
    expect_out(&mut session, "000004 03 00 00000001 00000007  000004 03 00 00000001 00000005");
    assert_eq!(session.open_streams(), 0);
    receive(&mut session, "000002 00 01 00000001 7b7d  000004 08 00 00000001 00000001");
    receive(&mut session, "000004 03 00 00000001 00000008");
    assert_eq!(events(&mut session), [Event::Begun { stream: 1 }]);
    expect_out(&mut session, "000004 08 00 00000000 00000002");
}

#[test]
fn a_goaway_says_what_it_is_told_and_events_go_on() {
    let mut session = greeted(Options::default());
    session.go_away(0x7fff_ffff, 0, br#"{"reason":"Shutdown"}"#);
    let debug = "7b22726561736f6e223a2253687574646f776e227d";
    expect_out(&mut session, &format!("00001d 07 00 00000000 7fffffff 00000000 {debug}"));
    request(&mut session, 1);
    assert_eq!(events(&mut session).len(), 2);
}

#[test]
fn pings_go_both_ways_and_can_stay_without_answer() {
    let mut session = greeted(Options { acknowledges_pings: false, ..Options::default() });
    receive(&mut session, "000008 06 00 00000000 6161616161616161");
    expect_out(&mut session, "");
    session.ping([1; 8]);
    expect_out(&mut session, "000008 06 00 00000000 0101010101010101");
    receive(&mut session, "000008 06 01 00000000 0101010101010101");
    assert_eq!(
        events(&mut session),
        [Event::Ping { payload: *b"aaaaaaaa" }, Event::PingAcknowledged { payload: [1; 8] }]
    );
}

#[test]
fn settings_can_come_late() {
    let options = Options { sends_settings: false, max_concurrent_streams: None, ..Options::default() };
    let mut session = Session::new(options);
    expect_out(&mut session, "");
    receive(&mut session, HELLO.strip_suffix(" 000000 04 01 00000000").unwrap());
    expect_out(&mut session, "000000 04 01 00000000");
    session.limit_streams(1);
    expect_out(&mut session, "");
    session.send_settings();
    let settings = "00001e 04 00 00000000 0001 00001000  0003 00000001  0004 0000ffff  0005 00004000  0006 00001f40";
    expect_out(&mut session, settings);
    session.limit_streams(2);
    session.limit_streams(2);
    expect_out(&mut session, "000006 04 00 00000000 0003 00000002");
}

#[test]
fn a_limit_is_in_force_once_it_is_acknowledged() {
    let mut session = greeted(Options { max_concurrent_streams: Some(2), ..Options::default() });
    session.limit_streams(1);
    request(&mut session, 1);
    request(&mut session, 3);
    assert_eq!(excess(&mut session), [false, false], "the client may not know of the lower limit yet");
    receive(&mut session, "000000 04 01 00000000");
    session.respond(1, Response::new(200));
    request(&mut session, 5);
    assert_eq!(excess(&mut session), [true]);
    session.respond(3, Response::new(200));
    session.respond(5, Response::new(200));
    request(&mut session, 7);
    assert_eq!(excess(&mut session), [false], "closed streams do not count");
    session.limit_streams(2);
    request(&mut session, 9);
    assert_eq!(excess(&mut session), [false], "the client may already go by the higher limit");
    request(&mut session, 11);
    assert_eq!(excess(&mut session), [true]);
}

#[test]
fn a_limit_of_0_allows_nothing_and_no_limit_everything() {
    let mut session = greeted(Options { max_concurrent_streams: Some(0), ..Options::default() });
    request(&mut session, 1);
    assert_eq!(excess(&mut session), [true]);
    let mut session = greeted(Options { max_concurrent_streams: None, ..Options::default() });
    (0..2000).for_each(|n| request(&mut session, 2 * n + 1));
    assert_eq!(excess(&mut session), [false; 2000]);
    assert_eq!(session.open_streams(), 2000);
}

#[test]
fn a_smaller_table_of_the_client_is_answered_by_an_update() {
    let mut session = greeted(Options::default());
    receive(&mut session, "000006 04 00 00000000 0001 00000000");
    request(&mut session, 1);
    request(&mut session, 3);
    session.out().clear();
    session.respond(1, Response::new(200));
    session.respond(3, Response::new(200));
    expect_out(&mut session, "000006 01 05 00000001 20 08 03 323030  000005 01 05 00000003 08 03 323030");
}
