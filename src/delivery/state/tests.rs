//! The worker's rules as stories: what happens, then what it does next.

use super::*;
use crate::domain::apns::ApnsReason;
use crate::domain::app::AppState;

const SECOND: Duration = Duration::from_secs(1);
/// Jitter that changes nothing.
const MIDDLE: f64 = 0.5;

const REFUSED: &str = "the gateway refused the certificate: certificate expired: renew it in Apple's developer account \
                       (tried again every 5 minutes, and at once on `apnsd resume shop`)";

fn at(millis: u64) -> Instant {
    Instant::from_start(Duration::from_millis(millis))
}

fn new() -> State {
    State::new(AppId::parse("shop").unwrap(), at(0))
}

fn connected() -> State {
    let mut state = new();
    state.connecting(at(0));
    state.connected(at(0));
    state
}

fn closed(state: &mut State, cause: CloseCause, sent: bool, now: Instant) {
    state.closed(&cause, sent, now, MIDDLE);
}

#[test]
fn a_new_worker_connects_at_once_and_then_sends_what_is_due() {
    let mut state = new();
    assert_eq!(state.step(at(0), false), Step::Connect);
    state.connecting(at(0));
    assert_eq!(state.step(at(1), true), Step::Wait(None));
    state.connected(at(2));
    assert_eq!(state.step(at(2), true), Step::Send);
    assert_eq!(state.step(at(2), false), Step::Wait(None));
    assert_eq!(state.shown(), AppState::Connected);
}

#[test]
fn failed_attempts_wait_1_2_4_seconds_and_at_most_two_minutes() {
    let mut state = new();
    let mut waits = Vec::new();
    for _ in 0..9 {
        state.connecting(at(0));
        closed(&mut state, CloseCause::Unreachable("refused".into()), false, at(0));
        let Step::Wait(Some(until)) = state.step(at(0), true) else { panic!("does not wait") };
        waits.push(until.since(at(0)).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
    assert_eq!((state.shown(), state.cause(), state.refuses()), (AppState::Waiting, "refused", false));
}

#[test]
fn back_off_varies_by_a_fifth() {
    for (random, millis) in [(0.0, 800), (1.0, 1200)] {
        let mut state = new();
        state.connecting(at(0));
        state.closed(&CloseCause::Unreachable(String::new()), false, at(0), random);
        assert_eq!(state.step(at(0), true), Step::Wait(Some(at(millis))));
    }
}

#[test]
fn an_error_packet_proves_the_path_and_reconnects_at_once_at_most_25_times_a_second() {
    let mut state = connected();
    closed(&mut state, CloseCause::Error(Reason::InvalidToken), true, at(10));
    assert_eq!(state.step(at(10), true), Step::Wait(Some(at(40))));
    assert_eq!(state.step(at(40), true), Step::Connect);
    state.connecting(at(40));
    state.connected(at(41));
    closed(&mut state, CloseCause::Error(Reason::InvalidToken), true, at(100));
    assert_eq!(state.step(at(100), true), Step::Connect);
}

#[test]
fn a_refused_certificate_pauses_and_is_tried_again_after_five_minutes() {
    let mut state = new();
    state.connecting(at(0));
    closed(&mut state, CloseCause::Refused("certificate expired".into()), false, at(0));
    assert!(state.refuses());
    assert_eq!(state.cause(), REFUSED);
    assert_eq!(state.step(at(0), true), Step::Wait(Some(at(300_000))));
    assert_eq!(state.step(at(300_000), false), Step::Connect);
    state.connecting(at(300_000));
    assert!(state.refuses(), "still paused until a connection stands");
    state.connected(at(300_001));
    assert!(!state.refuses());
    assert_eq!(state.cause(), "");
}

#[test]
fn a_pause_outlasts_a_gateway_that_is_out_of_reach() {
    let mut state = new();
    closed(&mut state, CloseCause::Refused("certificate expired".into()), false, at(0));
    state.connecting(at(300_000));
    closed(&mut state, CloseCause::Unreachable("down".into()), false, at(300_000));
    assert!(state.refuses());
    assert_eq!(state.step(at(300_000), true), Step::Wait(Some(at(600_000))));
    assert_eq!(state.cause(), REFUSED);
}

#[test]
fn a_status_that_blames_the_app_pauses_it() {
    let mut state = connected();
    closed(&mut state, CloseCause::Error(Reason::MissingTopic), true, at(5));
    assert!(state.refuses());
    assert_eq!(state.step(at(5), true), Step::Wait(Some(at(300_005))));
}

#[test]
fn three_closes_right_after_the_handshake_pause() {
    let mut state = new();
    for _ in 0..2 {
        state.connecting(at(0));
        closed(&mut state, CloseCause::Silent { settled: false }, false, at(0));
        assert!(!state.refuses());
    }
    state.connecting(at(0));
    closed(&mut state, CloseCause::Silent { settled: false }, false, at(0));
    assert!(state.refuses());
    assert!(state.cause().contains("3 connections in a row"), "{}", state.cause());
}

#[test]
fn credentials_that_were_good_are_not_blamed_for_closes_right_after_the_handshake() {
    let mut state = connected();
    state.delivered();
    for _ in 0..5 {
        closed(&mut state, CloseCause::Silent { settled: false }, false, at(0));
        assert!(!state.refuses());
        state.connecting(at(0));
    }
}

#[test]
fn after_a_close_without_a_word_rows_wait_until_the_next_connection_has_stood_half_a_second() {
    let mut state = connected();
    closed(&mut state, CloseCause::Silent { settled: false }, true, at(100));
    assert_eq!(state.step(at(100), true), Step::Connect);
    state.connecting(at(100));
    state.connected(at(100));
    assert_eq!(state.step(at(100), true), Step::Wait(Some(at(600))));
    assert_eq!(state.step(at(600), true), Step::Send);
    state.delivered();
    closed(&mut state, CloseCause::Silent { settled: true }, true, at(700));
    state.connecting(at(700));
    state.connected(at(700));
    assert_eq!(state.step(at(700), true), Step::Send, "a delivery ends the probation");
}

#[test]
fn a_hundred_rejections_in_a_row_pause_and_close_the_connection() {
    let mut state = connected();
    state.rejected(Reason::InvalidToken, 99, at(1));
    state.delivered();
    state.rejected(Reason::InvalidToken, 99, at(2));
    assert!(!state.refuses(), "a delivery between starts the count anew");
    state.rejected(Reason::InvalidToken, 1, at(3));
    assert!(state.refuses());
    assert_eq!(state.step(at(3), true), Step::Retire);
    state.retiring();
    closed(&mut state, CloseCause::Retired { proven: true }, true, at(4));
    assert_eq!(state.step(at(4), true), Step::Wait(Some(at(300_004))));
    state.resume(at(5));
    assert_eq!(state.step(at(40), true), Step::Connect);
}

#[test]
fn three_rows_in_a_row_on_which_the_gateway_just_closes_pause() {
    let mut state = connected();
    state.rejected(Reason::ConnectionClosed, 2, at(1));
    assert!(!state.refuses());
    state.rejected(Reason::ConnectionClosed, 1, at(1));
    assert!(state.refuses());
}

#[test]
fn an_idle_connection_is_retired_and_reopened_by_the_next_row() {
    let mut state = connected();
    state.retiring();
    closed(&mut state, CloseCause::Retired { proven: true }, false, at(1000));
    assert_eq!(state.step(at(1000), false), Step::Wait(None));
    assert_eq!(state.shown(), AppState::Idle);
    assert_eq!(state.step(at(1000), true), Step::Connect);
}

#[test]
fn an_operators_pause_lasts_until_resume_and_does_not_refuse_callers() {
    let mut state = connected();
    state.pause();
    assert_eq!(state.step(at(1), true), Step::Retire);
    state.retiring();
    closed(&mut state, CloseCause::Retired { proven: true }, true, at(2));
    assert_eq!(state.step(at(2) + 3600 * SECOND, true), Step::Wait(None));
    assert!(!state.refuses());
    assert_eq!(state.shown(), AppState::Paused);
    state.resume(at(5));
    assert_eq!((state.shown(), state.cause()), (AppState::Connecting, ""));
    assert_eq!(state.step(at(1000), true), Step::Connect);
}

#[test]
fn a_connection_that_was_closed_without_a_failure_is_being_made_again() {
    let mut state = connected();
    closed(&mut state, CloseCause::Shutdown, false, at(10));
    assert_eq!((state.shown(), state.cause(), state.next_attempt()), (AppState::Connecting, "", None));
    assert_eq!(state.step(at(10), false), Step::Wait(Some(at(1010))));
    state.connecting(at(1010));
    state.connected(at(1010));
    closed(&mut state, CloseCause::Shutdown, false, at(1020));
    assert_eq!((state.shown(), state.cause()), (AppState::Waiting, "the gateway is shutting down"));
    assert_eq!(state.next_attempt(), Some(at(3020)));

    let mut state = connected();
    state.delivered();
    closed(&mut state, CloseCause::Silent { settled: true }, true, at(10));
    assert_eq!((state.shown(), state.cause()), (AppState::Connecting, ""));
}

#[test]
fn an_operators_pause_says_what_to_type() {
    let mut state = new();
    state.pause();
    assert_eq!(state.cause(), "paused by an operator: `apnsd resume shop` sends again");
}

#[test]
fn a_gateway_that_makes_its_next_connection_by_itself_is_not_connected_meanwhile() {
    let mut state = connected();
    state.reconnecting("GOAWAY".into());
    assert_eq!((state.shown(), state.cause(), state.refuses()), (AppState::Connecting, "GOAWAY", false));
    assert_eq!(state.step(at(1), true), Step::Wait(None));
    state.delivered();
    assert_eq!(state.cause(), "GOAWAY", "the last answer of the connection that is gone");
    state.connected(at(2));
    assert_eq!((state.shown(), state.cause()), (AppState::Connected, ""));
    assert_eq!(state.step(at(2), true), Step::Send);

    state.reconnecting("GOAWAY".into());
    closed(&mut state, CloseCause::Unreachable("no route".into()), false, at(3));
    assert_eq!((state.shown(), state.cause()), (AppState::Waiting, "no route"));
}

#[test]
fn what_pauses_while_the_gateway_reconnects_closes_it() {
    let mut state = connected();
    state.reconnecting("GOAWAY".into());
    state.pause();
    assert_eq!(state.step(at(1), true), Step::Retire);
    state.retiring();
    state.connected(at(1));
    state.reconnecting("late news".into());
    assert!(state.is_retiring());
    assert!(state.cause().starts_with("paused by an operator"), "{}", state.cause());
    closed(&mut state, CloseCause::Retired { proven: true }, false, at(2));
    assert_eq!(state.step(at(400_000), true), Step::Wait(None));
}

#[test]
fn a_path_that_dies_after_answers_reconnects_at_once_and_before_backs_off() {
    let mut state = connected();
    state.delivered();
    closed(&mut state, CloseCause::Dead("no acknowledgement".into()), true, at(1000));
    assert_eq!(state.step(at(1000), true), Step::Connect);
    state.connecting(at(1000));
    state.connected(at(1000));
    closed(&mut state, CloseCause::Dead("no acknowledgement".into()), true, at(2000));
    assert_eq!(state.step(at(2000), true), Step::Wait(Some(at(3000))), "what it was sent is not lost on each of many");
}

#[test]
fn a_gateway_that_shuts_down_is_called_again_at_once_only_if_it_answered_anything() {
    let mut state = connected();
    state.rejected(Reason::InvalidToken, 1, at(1));
    closed(&mut state, CloseCause::Shutdown, true, at(100));
    assert_eq!(state.step(at(100), true), Step::Connect);
    for (now, until) in [(200, 1200), (1200, 3200)] {
        state.connecting(at(now));
        state.connected(at(now));
        closed(&mut state, CloseCause::Shutdown, true, at(now));
        assert_eq!(state.step(at(now), true), Step::Wait(Some(at(until))));
    }
}

#[test]
fn credentials_of_the_other_environment_are_called_by_what_they_are() {
    let table = [
        (ApnsReason::BadCertificateEnvironment, "The certificate is for the other environment"),
        (ApnsReason::BadEnvironmentKeyIdInToken, "The key is for the other environment"),
    ];
    for (reason, words) in table {
        let mut state = connected();
        closed(&mut state, CloseCause::Error(Reason::Apns(reason)), true, at(5));
        assert!(state.cause().contains(words), "{}", state.cause());
    }
}

#[test]
fn a_refused_topic_pauses_with_its_cure() {
    let mut state = connected();
    closed(&mut state, CloseCause::Error(Reason::Apns(ApnsReason::MissingTopic)), true, at(5));
    assert!(state.refuses());
    assert!(
        state
            .cause()
            .starts_with("the gateway refuses this app: MissingTopic (400). Is the app's `topic` its bundle id")
    );
}
