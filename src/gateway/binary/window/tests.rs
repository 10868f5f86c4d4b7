//! Every rule of the window as a table of events and outcomes.

use std::sync::Arc;

use super::*;
use crate::domain::batch::{Batch, BatchId, Message, PushOptions, Tries};
use crate::domain::outcome::{Reason, Retry};
use crate::domain::time::Timestamp;
use crate::domain::token::Tokens;
use crate::gateway::CloseCause;
use crate::gateway::binary::frame::ErrorPacket;

mod closes;
mod model;

/// A frame of the rows below: 32 bytes of token, 2 of payload.
const FRAME_BYTES: usize = 63;

fn at(millis: u64) -> Instant {
    Instant::from_start(Duration::from_millis(millis))
}

fn span(rows: u32) -> Span {
    span_of("{}", rows)
}

fn span_of(payload: &str, rows: u32) -> Span {
    let mut tokens = Tokens::default();
    (0..rows).for_each(|row| tokens.push(&[row as u8; 32]));
    let message = Message { payload: payload.as_bytes().into(), options: PushOptions::default() };
    let batch = Arc::new(Batch::broadcast(Timestamp::default(), tokens, message));
    Span { id: BatchId(1), batch, rows: 0..rows, tries: Tries::default() }
}

fn tried(unknown: u8, alone: u8) -> Tries {
    Tries { unknown, alone, transient: 0 }
}

/// An open window with the default rules and nothing in it.
fn opened() -> Window {
    let mut window = Window::new(&Settings::default());
    window.opened(at(0));
    window
}

/// An open window with this span flushed at the start.
fn sent(span: Span) -> Window {
    let mut window = opened();
    send(&mut window, span, 0);
    window
}

/// Pushes a span, which has to fit, and flushes it.
fn send(window: &mut Window, span: Span, millis: u64) {
    assert_eq!(window.push(span), None);
    flush(window, millis);
}

fn flush(window: &mut Window, millis: u64) {
    let mut out = BytesMut::new();
    loop {
        window.encode(&mut out, at(millis));
        window.flushed(at(millis));
        if out.is_empty() {
            return;
        }
        out.clear();
    }
}

fn packet(bytes: [u8; 6]) -> End {
    End::Packet(ErrorPacket::decode(bytes).unwrap())
}

fn show(settled: &[Settled]) -> Vec<String> {
    let show = |Settled { span, outcome }: &Settled| {
        let outcome = match outcome {
            Outcome::Accepted => "accepted".to_owned(),
            Outcome::Presumed => "presumed".to_owned(),
            Outcome::Rejected(reason) | Outcome::Unregistered { reason, .. } => format!("rejected: {}", reason.name()),
            Outcome::Retry(Retry::NotProcessed) => "not processed".to_owned(),
            Outcome::Retry(Retry::Refused(reason)) => format!("refused: {}", reason.name()),
            Outcome::Retry(Retry::Unknown { alone: true }) => "unknown, alone".to_owned(),
            Outcome::Retry(Retry::Unknown { alone: false } | Retry::Unanswered) => "unknown".to_owned(),
            Outcome::Retry(Retry::Transient { reason, after }) => format!("transient: {} {after:?}", reason.name()),
            Outcome::Expired => "expired".to_owned(),
        };
        format!("{}..{} {outcome}", span.rows.start, span.rows.end)
    };
    settled.iter().map(show).collect()
}

#[test]
fn an_error_packet_settles_every_row_by_its_place() {
    type Case = ([u8; 6], &'static [&'static str], CloseCause);
    let cases: [Case; 14] = [
        (
            [8, 8, 0, 0, 0, 4],
            &["0..3 accepted", "3..4 rejected: InvalidToken"],
            CloseCause::Error(Reason::InvalidToken),
        ),
        (
            [8, 2, 0, 0, 0, 4],
            &["0..3 accepted", "3..4 rejected: MissingDeviceToken"],
            CloseCause::Error(Reason::MissingDeviceToken),
        ),
        (
            [8, 4, 0, 0, 0, 4],
            &["0..3 accepted", "3..4 rejected: MissingPayload"],
            CloseCause::Error(Reason::MissingPayload),
        ),
        (
            [8, 5, 0, 0, 0, 4],
            &["0..3 accepted", "3..4 rejected: InvalidTokenSize"],
            CloseCause::Error(Reason::InvalidTokenSize),
        ),
        (
            [8, 7, 0, 0, 0, 4],
            &["0..3 accepted", "3..4 rejected: InvalidPayloadSize"],
            CloseCause::Error(Reason::InvalidPayloadSize),
        ),
        (
            [8, 1, 0, 0, 0, 4],
            &["0..3 accepted", "3..4 transient: ProcessingError None"],
            CloseCause::Error(Reason::ProcessingError),
        ),
        (
            [8, 255, 0, 0, 0, 4],
            &["0..3 accepted", "3..4 transient: UnknownStatus None"],
            CloseCause::Error(Reason::UnknownStatus(255)),
        ),
        (
            [8, 42, 0, 0, 0, 4],
            &["0..3 accepted", "3..4 transient: UnknownStatus None"],
            CloseCause::Error(Reason::UnknownStatus(42)),
        ),
        ([8, 3, 0, 0, 0, 4], &["0..3 accepted", "3..4 refused: MissingTopic"], CloseCause::Error(Reason::MissingTopic)),
        (
            [8, 6, 0, 0, 0, 4],
            &["0..3 accepted", "3..4 refused: InvalidTopicSize"],
            CloseCause::Error(Reason::InvalidTopicSize),
        ),
        ([8, 128, 0, 0, 0, 4], &["0..3 accepted", "3..4 unknown"], CloseCause::Error(Reason::ProtocolError)),
        ([8, 10, 0, 0, 0, 4], &["0..3 accepted", "3..4 accepted"], CloseCause::Shutdown),
        ([8, 8, 0, 0, 0, 1], &["0..1 rejected: InvalidToken"], CloseCause::Error(Reason::InvalidToken)),
        (
            [8, 8, 0, 0, 0, 10],
            &["0..9 accepted", "9..10 rejected: InvalidToken"],
            CloseCause::Error(Reason::InvalidToken),
        ),
    ];
    for (bytes, expected, cause) in cases {
        let mut window = sent(span(10));
        let ending = window.end(packet(bytes));
        let named = usize::from(bytes[5]);
        let mut expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        expected.extend((named < 10).then(|| format!("{named}..10 not processed")));
        assert_eq!((show(&ending.closed.settled), ending.closed.cause), (expected, cause), "{bytes:?}");
        assert_eq!((ending.closed.revised, window.rows()), (Vec::new(), 0));
    }
}

#[test]
fn rows_that_were_not_written_yet_are_not_processed_whatever_happens() {
    let ends = [packet([8, 8, 0, 0, 0, 1]), packet([8, 8, 0, 0, 0, 0]), End::Silent, End::Lost("gone".into())];
    for end in ends.into_iter().chain([End::Unanswered, End::Refused("bad certificate".into())]) {
        let mut window = sent(span(2));
        assert_eq!(window.push(span(5)), None);
        let ending = window.end(end);
        assert_eq!(show(&ending.closed.settled).last().unwrap(), "0..5 not processed");
    }
}

#[test]
fn a_packet_that_names_no_row_leaves_all_of_them_unknown_and_isolates() {
    let invalid_token = CloseCause::Error(Reason::InvalidToken);
    let cases = [
        ([8, 8, 0, 0, 0, 0], invalid_token.clone()),
        ([8, 8, 0, 0, 0, 11], invalid_token.clone()),
        ([8, 8, 4, 0, 0, 0], invalid_token),
        ([8, 10, 0, 0, 0, 11], CloseCause::Shutdown),
        ([8, 3, 0, 0, 0, 0], CloseCause::Error(Reason::MissingTopic)),
        ([8, 0, 0, 0, 0, 4], CloseCause::Silent { settled: false }),
    ];
    for (bytes, cause) in cases {
        let mut window = sent(span(10));
        let ending = window.end(packet(bytes));
        assert_eq!((show(&ending.closed.settled), ending.closed.cause), (vec!["0..10 unknown".to_owned()], cause));
        assert_eq!(window.room(), 1, "{bytes:?}");
    }
}

#[test]
fn identifier_0_names_the_only_row_that_was_ever_sent() {
    let mut window = sent(span(1));
    let ending = window.end(packet([8, 8, 0, 0, 0, 0]));
    assert_eq!(show(&ending.closed.settled), ["0..1 rejected: InvalidToken"]);
}

#[test]
fn a_shutdown_that_names_nothing_processed_nothing() {
    let mut window = sent(span(10));
    let ending = window.end(packet([8, 10, 0, 0, 0, 0]));
    assert_eq!(show(&ending.closed.settled), ["0..10 not processed"]);
    assert_eq!(ending.closed.cause, CloseCause::Shutdown);
    assert_eq!(window.growth.bytes(), 33_554_432, "a shutdown is not an error");
}

#[test]
fn a_row_that_cannot_be_parsed_even_alone_is_rejected() {
    let mut window = sent(span(1));
    let ending = window.end(packet([8, 128, 0, 0, 0, 1]));
    assert_eq!(show(&ending.closed.settled), ["0..1 rejected: ProtocolError"]);

    let mut window = sent(span(2));
    let ending = window.end(packet([8, 128, 0, 0, 0, 1]));
    assert_eq!(show(&ending.closed.settled), ["0..1 unknown", "1..2 not processed"]);
    assert_eq!(window.room(), 1, "the next connection finds out");
}

#[test]
fn rows_are_presumed_once_flushed_and_silent_for_long_enough() {
    let mut window = sent(span(3));
    send(&mut window, span(2), 1000);
    assert_eq!(window.deadline(), Some(at(5000)));
    assert_eq!(window.poll(at(4999)), []);
    assert_eq!(show(&window.poll(at(5000))), ["0..3 presumed"]);
    assert_eq!(show(&window.poll(at(6000))), ["0..2 presumed"]);
    assert_eq!((window.rows(), window.room()), (0, 33_554_432 / 160));
}

#[test]
fn rows_flushed_at_nearly_the_same_time_settle_together_at_the_latest_time() {
    let mut window = opened();
    (0..10).for_each(|n| send(&mut window, span(1), n * 10));
    assert_eq!(window.poll(at(5089)), []);
    assert_eq!(window.poll(at(5090)).len(), 10);
}

#[test]
fn a_blocked_writer_presumes_nothing_and_the_time_does_not_count() {
    let mut window = sent(span(3));
    let mut out = BytesMut::new();
    assert_eq!(window.push(span(1)), None);
    window.encode(&mut out, at(1000));
    assert_eq!((window.poll(at(60_000)), window.deadline()), (vec![], None));
    window.flushed(at(61_000));
    assert_eq!((window.poll(at(61_000)), window.deadline()), (vec![], Some(at(65_000))));
    assert_eq!(show(&window.poll(at(65_000))), ["0..3 presumed"]);
    assert_eq!(show(&window.poll(at(66_000))), ["0..1 presumed"]);
}

#[test]
fn a_late_packet_revises_the_presumed_row_that_it_names_and_those_after_it() {
    let mut window = sent(span(10));
    assert_eq!(show(&window.poll(at(5000))), ["0..10 presumed"]);
    send(&mut window, span(2), 5001);
    let ending = window.end(packet([8, 8, 0, 0, 0, 4]));
    assert_eq!(show(&ending.closed.revised), ["3..4 rejected: InvalidToken", "4..10 not processed"]);
    assert_eq!(show(&ending.closed.settled), ["0..2 not processed"]);
}

#[test]
fn a_late_shutdown_confirms_the_row_that_it_names() {
    let mut window = sent(span(10));
    window.poll(at(5000));
    let ending = window.end(packet([8, 10, 0, 0, 0, 4]));
    assert_eq!(show(&ending.closed.revised), ["4..10 not processed"]);
}

#[test]
fn a_packet_about_a_forgotten_row_still_settles_what_came_after_it() {
    let mut window = sent(span(10));
    window.poll(at(5000));
    send(&mut window, span(2), 9000);
    assert_eq!(window.deadline(), Some(at(10_000)));
    assert_eq!(window.poll(at(10_000)), []);
    let ending = window.end(packet([8, 8, 0, 0, 0, 4]));
    assert_eq!(
        (show(&ending.closed.revised), show(&ending.closed.settled)),
        (vec![], vec!["0..2 not processed".into()])
    );
    assert!(ending.is_late);
}

#[test]
fn a_packet_about_a_row_on_the_wire_confirms_what_was_presumed() {
    let mut window = sent(span(10));
    window.poll(at(5000));
    send(&mut window, span(2), 5001);
    let ending = window.end(packet([8, 8, 0, 0, 0, 11]));
    assert_eq!((show(&ending.closed.revised)), Vec::<String>::new());
    assert_eq!(show(&ending.closed.settled), ["0..1 rejected: InvalidToken", "1..2 not processed"]);
}

#[test]
fn a_window_is_bounded_in_bytes_and_takes_at_least_one_row() {
    let mut window = opened();
    window.end(packet([8, 8, 0, 0, 0, 9]));
    window.end(End::Unused);
    let rest = window.push(span_of(&"x".repeat(2000), 2000)).unwrap();
    assert_eq!(rest.rows, 31..2000, "64 KiB of frames of 2061 bytes");
    assert_eq!((window.rows(), window.room()), (31, 0));
    assert_eq!(window.push(span(2000)).unwrap().rows, 26..2000, "the rest of 64 KiB in frames of 63 bytes");

    window.end(End::Unused);
    let huge = span_of(&"x".repeat(65_500), 2);
    assert_eq!(window.push(huge.clone()).unwrap().rows, 1..2);
    window.end(End::Unused);
    send(&mut window, span(1), 0);
    assert_eq!(window.push(huge.clone()).unwrap().rows, 0..2);
    assert_eq!(window.room(), 0, "what was refused would be refused again");
    window.poll(at(5000));
    assert_eq!(window.push(huge).unwrap().rows, 1..2);
}

#[test]
fn a_window_that_shrank_grows_back_on_the_next_connection() {
    let mut window = sent(span(1));
    window.end(packet([8, 8, 0, 0, 0, 1]));
    window.opened(at(100));
    assert_eq!((window.room(), window.deadline()), (65_536 / 160, Some(at(600))));
    window.poll(at(600));
    assert_eq!(window.room(), 131_072 / 160);
}

#[test]
fn encoding_stops_after_a_chunk_and_goes_on_where_it_stopped() {
    let mut window = opened();
    assert_eq!(window.push(span(2000)), None);
    let mut out = BytesMut::new();
    window.encode(&mut out, at(0));
    let rows = 49_152_usize.div_ceil(FRAME_BYTES);
    assert_eq!(out.len(), rows * FRAME_BYTES);
    assert_eq!(out[..15], [2, 0, 0, 0, 58, 3, 0, 4, 0, 0, 0, 1, 1, 0, 32]);
    out.clear();
    window.encode(&mut out, at(0));
    assert_eq!(u32::from_be_bytes(out[8..12].try_into().unwrap()), rows as u32 + 1);
    let ending = window.end(packet([8, 8, 0, 0, 0, 1]));
    assert_eq!(
        show(&ending.closed.settled),
        ["0..1 rejected: InvalidToken", "1..1562 not processed", "1562..2000 not processed"]
    );
}

#[test]
fn a_sentinel_is_one_literal_frame_and_its_answer_proves_what_came_before() {
    for answer in [[8, 2, 0, 0, 0, 4], [8, 2, 0, 0, 0, 0], [8, 5, 0, 0, 0, 4]] {
        let mut window = sent(span(3));
        assert_eq!(window.push(span(2)), None);
        window.retire(at(5000));
        assert_eq!((window.room(), window.push(span(1)).map(|rest| rest.len())), (0, Some(1)));
        let mut out = BytesMut::new();
        window.encode(&mut out, at(0));
        let expected = [2, 0, 0, 0, 24, 3, 0, 4, 0, 0, 0, 4, 1, 0, 0, 2, 0, 0, 4, 0, 4, 0, 0, 0, 0, 5, 0, 1, 10];
        assert_eq!(out[..], expected);
        window.encode(&mut out, at(0));
        assert_eq!(out.len(), 29, "once");
        let ending = window.end(packet(answer));
        assert_eq!(show(&ending.closed.settled), ["0..3 accepted", "0..2 not processed"]);
        assert_eq!(ending.closed.cause, CloseCause::Retired { proven: true });
        assert_eq!(window.growth.bytes(), 33_554_432, "a sentinel's answer is no error");
    }
}

#[test]
fn a_row_may_be_named_while_a_sentinel_is_out() {
    let mut window = sent(span(3));
    window.retire(at(5000));
    flush(&mut window, 0);
    let ending = window.end(packet([8, 8, 0, 0, 0, 2]));
    assert_eq!(show(&ending.closed.settled), ["0..1 accepted", "1..2 rejected: InvalidToken", "2..3 not processed"]);
    assert_eq!(ending.closed.cause, CloseCause::Error(Reason::InvalidToken));
}

#[test]
fn nothing_is_presumed_while_a_sentinel_is_out_and_without_an_answer_all_is_unknown() {
    let mut window = sent(span(1));
    window.retire(at(9000));
    flush(&mut window, 4000);
    assert_eq!(window.deadline(), Some(at(9000)));
    assert_eq!(window.poll(at(8999)), []);
    assert!(!window.is_sentinel_overdue(at(8999)));
    assert!(window.is_sentinel_overdue(at(9000)));
    let ending = window.end(End::Unanswered);
    assert_eq!(show(&ending.closed.settled), ["0..1 unknown"]);
    assert_eq!(ending.closed.cause, CloseCause::Retired { proven: false });
    assert_eq!(window.isolation.rows(), u32::MAX);
}

#[test]
fn a_close_without_a_word_while_a_sentinel_is_out_suspects_no_row() {
    let mut window = sent(span(1));
    window.retire(at(5000));
    flush(&mut window, 0);
    let ending = window.end(End::Silent);
    assert_eq!(show(&ending.closed.settled), ["0..1 unknown"]);
    assert_eq!(ending.closed.cause, CloseCause::Retired { proven: false });
    assert_eq!(window.isolation.rows(), u32::MAX);

    let mut window = sent(span(1));
    window.retire(at(5000));
    let ending = window.end(End::Silent);
    assert_eq!(show(&ending.closed.settled), ["0..1 unknown, alone"], "it was not sent yet");
    assert_eq!(ending.closed.cause, CloseCause::Silent { settled: false });
}

#[test]
fn the_earlier_deadline_of_two_retirements_counts() {
    let mut window = sent(span(1));
    window.retire(at(30_000));
    window.retire(at(5000));
    flush(&mut window, 0);
    window.retire(at(4000));
    window.retire(at(8000));
    assert_eq!(window.deadline(), Some(at(4000)));
}

#[test]
fn a_full_window_with_more_waiting_wants_to_be_proven_by_a_sentinel() {
    let mut window = opened();
    let rest = window.push(span(600_000)).unwrap();
    assert_eq!(rest.rows.start as usize, 33_554_432 / FRAME_BYTES);
    assert!(!window.wants_retirement(), "not all of it is encoded");
    flush(&mut window, 0);
    assert!(window.wants_retirement());
    window.retire(at(30_000));
    assert!(!window.wants_retirement(), "once");
}

#[test]
fn a_full_window_is_not_proven_by_a_sentinel_after_errors_or_where_none_is_answered() {
    let mut after_error = sent(span(1));
    after_error.end(packet([8, 8, 0, 0, 0, 1]));
    let mut after_silence = sent(span(1));
    after_silence.end(End::Silent);
    let mut without_answer = sent(span(1));
    without_answer.end(End::Unanswered);
    let mut nothing_more = opened();
    nothing_more.push(span(532_610));
    for window in [&mut after_error, &mut after_silence, &mut without_answer] {
        assert!(window.push(span(600_000)).is_some());
    }
    for window in [after_error, after_silence, without_answer, nothing_more].iter_mut() {
        flush(window, 0);
        assert!(!window.wants_retirement());
    }
}

#[test]
fn a_connection_is_replaced_before_its_identifiers_run_out() {
    let mut window = opened();
    window.line.next = 0x7fff_ffff;
    assert!(!window.wants_retirement());
    send(&mut window, span(1), 0);
    assert!(window.wants_retirement());
}

#[test]
fn refused_credentials_processed_nothing() {
    let mut window = sent(span(3));
    let ending = window.end(End::Refused("certificate expired".into()));
    assert_eq!(show(&ending.closed.settled), ["0..3 not processed"]);
    assert_eq!(window.isolation.rows(), u32::MAX);
}

#[test]
fn a_dead_path_leaves_rows_unknown_and_blames_none() {
    let mut window = sent(span(1));
    let ending = window.end(End::Lost("connection timed out".into()));
    assert_eq!(show(&ending.closed.settled), ["0..1 unknown"]);
    assert_eq!(ending.closed.cause, CloseCause::Dead("connection timed out".into()));
    assert_eq!(window.isolation.rows(), u32::MAX);
}
