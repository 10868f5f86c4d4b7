//! The session against literal expectations, one fault at a time, and against random streams.

use proptest::prelude::*;

use super::*;
use crate::simulator::script::fault::ErrorFault;

const PAYLOAD: &[u8] = br#"{"aps":{}}"#;

fn at(ms: u64) -> Instant {
    Instant::from_start(Duration::from_millis(ms))
}

fn limits() -> Limits {
    Limits { legacy: 256, frame: 2048 }
}

fn session(faults: impl IntoIterator<Item = impl Into<Fault>>) -> Session {
    session_after(0, faults)
}

fn session_after(after: u64, faults: impl IntoIterator<Item = impl Into<Fault>>) -> Session {
    let faults = faults.into_iter().map(Into::into).collect();
    Session::new(limits(), 1, vec![Scheduled { after, faults }], 77, at(0))
}

fn correct() -> Session {
    Session::new(limits(), 1, Vec::new(), 0, at(0))
}

fn packet(identifier: u32, token: &[u8]) -> Packet<'_> {
    let (expiration, priority) = (Some(0), Some(10));
    Packet {
        command: 2,
        identifier: Some(identifier),
        token: Some(token),
        payload: Some(PAYLOAD),
        expiration,
        priority,
    }
}

fn token(first: &[u8]) -> Vec<u8> {
    let mut token = vec![0x11; 32];
    token[..first.len()].copy_from_slice(first);
    token
}

fn good(session: &mut Session, identifier: u32) -> Verdict {
    session.packet(&packet(identifier, &token(&[])), at(0))
}

fn bad(session: &mut Session, identifier: u32) -> Verdict {
    session.packet(&packet(identifier, &token(&[0xba, 0xd0])), at(0))
}

/// What is sent at this moment, if anything is, and how the connection ends.
fn end(session: &mut Session, now: Instant) -> Option<(Vec<u8>, Ending)> {
    match session.action(now) {
        Some(Action::End { answer, ending, .. }) => {
            Some((answer.map(|answer| answer.parts.concat()).unwrap_or_default(), ending))
        }
        Some(Action::HalfClose) | None => None,
    }
}

fn error(identifier: [u8; 4]) -> Vec<u8> {
    [&[8, 8], &identifier[..]].concat()
}

#[test]
fn each_rule_has_its_status_in_apples_order() {
    let long = vec![b'x'; 2049];
    let huge = [0x11; 101];
    let right = token(&[]);
    let table = [
        ("no token at all", None, None, 2),
        ("an empty token, an empty payload", Some(&[][..]), Some(&[][..]), 2),
        ("a token of 31 bytes, no payload", Some(&right[..31]), None, 5),
        ("a token of 101 bytes", Some(&huge[..]), Some(PAYLOAD), 5),
        ("no payload", Some(&right[..]), None, 4),
        ("an empty payload", Some(&right[..]), Some(&[][..]), 4),
        ("a payload over the limit", Some(&right[..]), Some(&long[..]), 7),
        ("a payload over the limit for an unknown token", Some(&[0xba; 32][..]), Some(&long[..]), 7),
    ];
    for (what, token, payload, status) in table {
        let mut session = correct();
        let verdict = session.packet(&Packet { token, payload, ..packet(5, &[]) }, at(0));
        assert_eq!(verdict, Verdict::Rejected(status), "{what}");
        assert_eq!(end(&mut session, at(0)), Some((vec![8, status, 0, 0, 0, 5], Ending::Clean)), "{what}");
    }
}

#[test]
fn limits_are_those_of_the_command() {
    let (at_limit, over) = (vec![b'x'; 256], vec![b'x'; 257]);
    let right = token(&[]);
    let of = |command, payload| {
        let packet = Packet { command, payload: Some(payload), ..packet(1, &right) };
        correct().packet(&packet, at(0))
    };
    for command in [0, 1] {
        assert_eq!(of(command, &at_limit), Verdict::Accepted);
        assert_eq!(of(command, &over), Verdict::Rejected(7));
    }
    assert_eq!(of(2, &over), Verdict::Accepted);
    assert_eq!(of(2, &vec![b'x'; 2048]), Verdict::Accepted);
}

#[test]
fn an_error_ends_the_connection_and_what_follows_is_discarded() {
    let mut session = correct();
    assert_eq!(good(&mut session, 1), Verdict::Accepted);
    assert_eq!(bad(&mut session, 2), Verdict::Rejected(8));
    assert_eq!(good(&mut session, 3), Verdict::Discarded);
    assert_eq!(end(&mut session, at(0)), Some((error([0, 0, 0, 2]), Ending::Clean)));
    assert_eq!(good(&mut session, 4), Verdict::Discarded);
    assert_eq!(session.action(at(9)), None);
}

#[test]
fn command_0_errors_close_without_a_packet() {
    let mut session = correct();
    let bad = token(&[0xba, 0xd0]);
    let simple = Packet { command: 0, identifier: None, expiration: None, priority: None, ..packet(0, &bad) };
    assert_eq!(session.packet(&simple, at(0)), Verdict::Rejected(8));
    assert_eq!(end(&mut session, at(0)), Some((vec![], Ending::Clean)));
}

#[test]
fn what_cannot_be_read_is_a_protocol_error() {
    let mut session = correct();
    assert_eq!(session.malformed(Some(9), at(0)), Verdict::Rejected(128));
    assert_eq!(end(&mut session, at(0)), Some((vec![8, 128, 0, 0, 0, 9], Ending::Clean)));
    assert_eq!(session.malformed(None, at(0)), Verdict::Discarded);
}

#[test]
fn a_shutdown_names_the_last_accepted_notification() {
    let mut after_two = session_after(2, [StreamFault::Shutdown]);
    assert_eq!(good(&mut after_two, 41), Verdict::Accepted);
    assert_eq!(end(&mut after_two, at(0)), None);
    assert_eq!(good(&mut after_two, 42), Verdict::Accepted);
    assert_eq!(good(&mut after_two, 43), Verdict::Discarded);
    assert_eq!(end(&mut after_two, at(0)), Some((vec![8, 10, 0, 0, 0, 42], Ending::Clean)));

    let mut nothing_accepted = session([StreamFault::Shutdown]);
    assert_eq!(end(&mut nothing_accepted, at(0)), Some((vec![8, 10, 0, 0, 0, 0], Ending::Clean)));
}

#[test]
fn tokens_choose_what_happens() {
    let of = |first: &[u8]| {
        let mut session = correct();
        let verdict = session.packet(&packet(6, &token(first)), at(0));
        (verdict, end(&mut session, at(0)))
    };
    assert_eq!(of(&[0xba, 0xda]), (Verdict::Accepted, Some((vec![8, 10, 0, 0, 0, 6], Ending::Clean))));
    assert_eq!(of(&[0xba, 0xdb]), (Verdict::Discarded, Some((vec![], Ending::Reset))));
    assert_eq!(of(&[0xba, 0xdc]), (Verdict::Discarded, Some((vec![], Ending::Clean))));
    assert_eq!(of(&[0xba, 0xdd]), (Verdict::Lost, None));
    assert_eq!(of(&[0xba, 0xdf, 0xff]), (Verdict::Rejected(255), Some((vec![8, 255, 0, 0, 0, 6], Ending::Clean))));
    assert_eq!(of(&[0xde, 0xad]), (Verdict::Accepted, None));
}

#[test]
fn the_error_packet_waits_as_it_was_told() {
    let mut fixed = session([ErrorFault::Delay(Delay::FixedMs(400))]);
    bad(&mut fixed, 1);
    assert_eq!(fixed.deadline(), Some(at(400)));
    assert_eq!(end(&mut fixed, at(399)), None);
    assert_eq!(good(&mut fixed, 2), Verdict::Discarded);
    assert_eq!(end(&mut fixed, at(400)), Some((error([0, 0, 0, 1]), Ending::Clean)));

    let mut random = session([ErrorFault::Delay(Delay::RandomMs { from: 10, to: 20 })]);
    bad(&mut random, 1);
    assert!((Some(at(10))..=Some(at(20))).contains(&random.deadline()));

    let mut further = session([ErrorFault::Delay(Delay::Further(2))]);
    bad(&mut further, 1);
    good(&mut further, 2);
    assert_eq!(end(&mut further, at(9000)), None);
    good(&mut further, 3);
    assert_eq!(end(&mut further, at(9000)), Some((error([0, 0, 0, 1]), Ending::Clean)));

    let mut never = session([ErrorFault::Delay(Delay::Never), ErrorFault::Then(Ending::Reset)]);
    bad(&mut never, 1);
    assert_eq!(end(&mut never, at(0)), Some((vec![], Ending::Reset)));
}

#[test]
fn a_client_that_closes_still_gets_its_error() {
    let mut further = session([ErrorFault::Delay(Delay::Further(1000))]);
    bad(&mut further, 1);
    further.client_closed(at(5));
    assert_eq!(end(&mut further, at(5)), Some((error([0, 0, 0, 1]), Ending::Clean)));

    let mut fixed = session([ErrorFault::Delay(Delay::FixedMs(50))]);
    bad(&mut fixed, 1);
    fixed.client_closed(at(5));
    assert_eq!(end(&mut fixed, at(49)), None);
    assert_eq!(end(&mut fixed, at(50)), Some((error([0, 0, 0, 1]), Ending::Clean)));

    let mut nothing_wrong = correct();
    nothing_wrong.client_closed(at(5));
    assert_eq!(end(&mut nothing_wrong, at(5)), Some((vec![], Ending::Clean)));
}

#[test]
fn the_error_packet_names_the_wrong_notification() {
    let table = [
        (WrongIdentifier::Zero, [0, 0, 0, 0]),
        (WrongIdentifier::Forgotten, [0, 0, 0, 3]),
        (WrongIdentifier::NeverSent, [0, 0x0f, 0x43, 0x44]),
        (WrongIdentifier::ByteSwapped, [4, 1, 0, 0]),
        (WrongIdentifier::EarlierConnection, [0, 0, 0, 77]),
    ];
    for (wrong, identifier) in table {
        let mut session = session([ErrorFault::Identifier(wrong)]);
        good(&mut session, 3);
        bad(&mut session, 0x0104);
        assert_eq!(end(&mut session, at(0)), Some((error(identifier), Ending::Clean)), "{wrong:?}");
    }
}

#[test]
fn the_zero_token_quirk_names_nobody() {
    let mut quirk = session([StreamFault::ZeroTokenQuirk]);
    quirk.packet(&packet(9, &[]), at(0));
    assert_eq!(end(&mut quirk, at(0)), Some((vec![8, 2, 0, 0, 0, 0], Ending::Clean)));
    let mut other_error = session([StreamFault::ZeroTokenQuirk]);
    bad(&mut other_error, 9);
    assert_eq!(end(&mut other_error, at(0)), Some((error([0, 0, 0, 9]), Ending::Clean)));
}

#[test]
fn faults_take_effect_after_so_many_notifications() {
    let close = StreamFault::Close { within_ms: 0, then: Ending::Fin };
    let mut session = session_after(2, [close]);
    good(&mut session, 1);
    assert_eq!(end(&mut session, at(0)), None);
    good(&mut session, 2);
    assert_eq!(end(&mut session, at(0)), Some((vec![], Ending::Fin)));

    let mut rejecting = session_after(1, [StreamFault::Reject(1)]);
    assert_eq!(good(&mut rejecting, 1), Verdict::Accepted);
    assert_eq!(good(&mut rejecting, 2), Verdict::Rejected(1));
}

#[test]
fn a_stopped_session_goes_on_when_the_script_is_cleared() {
    let mut session = session_after(1, [StreamFault::StopReading]);
    assert!(!session.stopped());
    good(&mut session, 1);
    assert!(session.stopped());
    session.change(Change::Clear, at(0));
    assert!(!session.stopped());
}

#[test]
fn a_half_close_is_done_once() {
    let mut session = session([StreamFault::HalfClose]);
    assert_eq!(session.action(at(0)), Some(Action::HalfClose));
    assert_eq!(session.action(at(0)), None);
    assert_eq!(good(&mut session, 1), Verdict::Accepted);
}

#[test]
fn idle_connections_are_closed_or_reset() {
    let mut closing = session([StreamFault::IdleClose(100)]);
    assert_eq!(closing.deadline(), Some(at(100)));
    closing.bytes(at(60));
    assert_eq!(end(&mut closing, at(100)), None);
    assert_eq!(end(&mut closing, at(160)), Some((vec![], Ending::Clean)));

    let mut resetting = session([StreamFault::IdleReset(100)]);
    resetting.bytes(at(99));
    assert_eq!(end(&mut resetting, at(99)), None);
    resetting.bytes(at(199));
    assert_eq!(end(&mut resetting, at(199)), Some((vec![], Ending::Reset)));
}

#[test]
fn all_or_nothing_is_lost_at_100_and_0_per_cent() {
    let mut losing = session([StreamFault::Lose(100)]);
    assert!((1..=50).all(|id| good(&mut losing, id) == Verdict::Lost));
    let mut keeping = session([StreamFault::Lose(0)]);
    assert!((1..=50).all(|id| good(&mut keeping, id) == Verdict::Accepted));
    let mut half = session([StreamFault::Lose(50)]);
    let lost = (1..=1000).filter(|id| good(&mut half, *id) == Verdict::Lost).count();
    assert!((300..700).contains(&lost), "{lost}");
}

#[test]
fn a_later_command_overrides_an_earlier_one_and_clear_drops_both() {
    let mut session = session([ErrorFault::Delay(Delay::FixedMs(1))]);
    let more = vec![ErrorFault::Delay(Delay::FixedMs(7)).into()];
    session.change(Change::Add(Scheduled { after: 0, faults: more }), at(0));
    bad(&mut session, 1);
    assert_eq!(session.deadline(), Some(at(7)));

    let mut cleared = session_after(1, [StreamFault::Close { within_ms: 0, then: Ending::Reset }]);
    cleared.change(Change::Clear, at(0));
    assert_eq!(good(&mut cleared, 1), Verdict::Accepted);
    assert_eq!(end(&mut cleared, at(0)), None);
}

proptest! {
    /// Invariant 1 of the protocol reference, section 6.6, seen from the gateway: what is before the error is accepted,
    /// what follows it is discarded, and the packet names the one between.
    #[test]
    fn exactly_one_notification_of_a_connection_is_rejected(bad_ones in proptest::collection::vec(any::<bool>(), 1..60)) {
        let mut session = correct();
        let mut verdicts = Vec::new();
        for (index, is_bad) in bad_ones.iter().enumerate() {
            let identifier = index as u32 + 1;
            verdicts.push(if *is_bad { bad(&mut session, identifier) } else { good(&mut session, identifier) });
        }
        let first_bad = bad_ones.iter().position(|is_bad| *is_bad);
        for (index, verdict) in verdicts.iter().enumerate() {
            let expected = match first_bad {
                Some(first) if index == first => Verdict::Rejected(8),
                Some(first) if index > first => Verdict::Discarded,
                _ => Verdict::Accepted,
            };
            prop_assert_eq!(*verdict, expected);
        }
        let expected = first_bad.map(|first| (error((first as u32 + 1).to_be_bytes()), Ending::Clean));
        prop_assert_eq!(end(&mut session, at(0)), expected);
    }
}
