//! Which connections a command applies to, and commands as JSON.

use super::fault::{Alert, ConnectFault, Delay, Ending, ErrorFault, StreamFault, WrongIdentifier};
use super::http2::{AnswerFault, GoAway, Http2Fault, StreamLimits};
use super::*;

fn parse(json: &str) -> Result<Command, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn close() -> Fault {
    StreamFault::Shutdown.into()
}

fn opens_with_faults(script: &Script, connection: u64) -> usize {
    script.open(Gateway::Binary, connection).0.len()
}

#[test]
fn a_command_applies_to_the_next_connection_only() {
    let script = Script::default();
    assert_eq!(script.command(Command::next([close()])), Ok(0));
    assert_eq!([1, 2, 3].map(|number| opens_with_faults(&script, number)), [1, 0, 0]);
}

#[test]
fn a_command_applies_to_so_many_connections() {
    let script = Script::default();
    script.command(Command::next([close()]).on_next(2)).unwrap();
    script.command(Command::next([close()]).on_next(0)).unwrap();
    assert_eq!([1, 2, 3].map(|number| opens_with_faults(&script, number)), [1, 1, 0]);
}

#[test]
fn a_command_applies_to_every_connection_until_it_is_cleared() {
    let script = Script::default();
    let (none, mut changes) = script.open(Gateway::Binary, 1);
    assert!(none.is_empty());
    assert_eq!(script.command(Command::every([close()]).after(4)), Ok(1));
    let scheduled = Scheduled { after: 4, faults: vec![close()] };
    assert_eq!(changes.try_recv(), Ok(Change::Add(scheduled.clone())));
    assert_eq!(script.open(Gateway::Binary, 2).0, [scheduled]);
    script.clear();
    assert_eq!(changes.try_recv(), Ok(Change::Clear));
    assert_eq!(opens_with_faults(&script, 3), 0);
}

#[test]
fn a_command_applies_to_open_connections_only() {
    let script = Script::default();
    let (_, mut first) = script.open(Gateway::Binary, 1);
    let (_, _second) = script.open(Gateway::Binary, 2);
    script.closed(Gateway::Binary, 2);
    assert_eq!(script.command(Command::open([close()])), Ok(1));
    assert!(first.try_recv().is_ok());
    assert_eq!(opens_with_faults(&script, 3), 0);
}

#[test]
fn a_command_applies_to_the_gateways_that_it_is_for() {
    let script = Script::default();
    let faults = |gateway| script.open(gateway, 1).0.len();
    script.command(Command::next([ConnectFault::Stall])).unwrap();
    assert_eq!((faults(Gateway::Binary), faults(Gateway::Http2)), (1, 1));
    script.command(Command::next([ConnectFault::Stall]).at(Gateway::Http2)).unwrap();
    assert_eq!((faults(Gateway::Binary), faults(Gateway::Http2)), (0, 1));
    script.command(Command::next([ErrorFault::Twice])).unwrap();
    script.command(Command::next([StreamFault::Shutdown])).unwrap();
    assert_eq!((faults(Gateway::Binary), faults(Gateway::Http2)), (2, 0));
    script.command(Command::next([Http2Fault::GoAway(GoAway::default())])).unwrap();
    assert_eq!((faults(Gateway::Binary), faults(Gateway::Http2)), (0, 1));
    let (binary, http2) = (script.refused(Gateway::Binary), script.refused(Gateway::Http2));
    script.command(Command::refuse(5).at(Gateway::Http2)).unwrap();
    assert_eq!((*binary.borrow(), *http2.borrow()), (None, Some(Duration::from_millis(5))));
}

#[test]
fn a_refusal_is_told_and_taken_back() {
    let script = Script::default();
    let mut refused = script.refused(Gateway::Binary);
    script.command(Command::refuse(1500)).unwrap();
    assert!(refused.has_changed().unwrap());
    assert_eq!(*refused.borrow_and_update(), Some(Duration::from_millis(1500)));
    script.clear();
    assert_eq!(*refused.borrow_and_update(), None);
}

#[test]
fn commands_read_from_json() {
    let json = r#"{"faults": [{"error": {"delay": {"fixed_ms": 400}}}, {"error": {"split": {"sizes": [1, 5]}}},
        {"error": {"then": {"drain_ms": 9}}}, {"stream": {"close": {"within_ms": 200}}}, {"stream": "half_close"},
        {"connect": {"alert": "unknown_ca"}}, {"error": {"identifier": "never_sent"}}],
        "connections": {"next": 3}, "after": 0}"#;
    let faults: Vec<Fault> = vec![
        ErrorFault::Delay(Delay::FixedMs(400)).into(),
        ErrorFault::Split { sizes: vec![1, 5], pause_ms: 20 }.into(),
        ErrorFault::Then(Ending::DrainMs(9)).into(),
        StreamFault::Close { within_ms: 200, then: Ending::Clean }.into(),
        StreamFault::HalfClose.into(),
        ConnectFault::Alert(Alert::UnknownCa).into(),
        ErrorFault::Identifier(WrongIdentifier::NeverSent).into(),
    ];
    assert_eq!(parse(json), Ok(Command::next(faults).on_next(3)));
    assert_eq!(parse(r#"{"refuse_ms": 5}"#), Ok(Command::refuse(5)));
}

#[test]
fn what_a_command_does_not_know_is_named() {
    let table = [
        (r#"{"fault": []}"#, "unknown field `fault`, expected one of `faults`"),
        (r#"{"faults": [{"strem": "shutdown"}]}"#, "unknown variant `strem`, expected one of `connect`, `stream`"),
        (r#"{"faults": [{"stream": "explode"}]}"#, "unknown variant `explode`, expected one of `close`"),
        (r#"{"faults": [{"stream": {"close": {"ms": 5}}}]}"#, "unknown field `ms`, expected `within_ms` or `then`"),
        (r#"{"faults": [], "connections": "all"}"#, "unknown variant `all`, expected one of `next`, `open`, `every`"),
    ];
    for (json, problem) in table {
        let error = parse(json).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    let script = Script::default();
    let stall = || Command::next([ConnectFault::Stall]);
    assert_eq!(script.command(Command::default()), Err(CommandError::Empty));
    assert_eq!(script.command(stall().after(1)), Err(CommandError::ConnectAfter));
    assert_eq!(script.command(Command::open([ConnectFault::Stall])), Err(CommandError::ConnectOpen));
    let both: [Fault; 2] = [ErrorFault::Twice.into(), Http2Fault::Ping.into()];
    assert_eq!(script.command(Command::next(both)), Err(CommandError::WrongGateway));
    let misplaced = Command::next([Http2Fault::Ping]).at(Gateway::Binary);
    assert_eq!(script.command(misplaced), Err(CommandError::WrongGateway));
    let status = Http2Fault::Status { reason: "Tired".to_owned(), retry_after: None, answers: None, ms: None };
    assert_eq!(script.command(Command::next([status])), Err(CommandError::UnknownReason));
    let out_of_range: [Fault; 9] = [
        Http2Fault::Answer { how: AnswerFault::NoApnsId, one_in: 0 }.into(),
        Http2Fault::Answer { how: AnswerFault::Split(0), one_in: 1 }.into(),
        Http2Fault::Streams(StreamLimits { limits: vec![], every: None, every_ms: None }).into(),
        Http2Fault::InitialWindow { bytes: 1 << 31, ms: None }.into(),
        StreamFault::Lose(101).into(),
        StreamFault::Throttle(0).into(),
        ConnectFault::RecordSize(31).into(),
        ConnectFault::KeyUpdates(1001).into(),
        ErrorFault::Delay(Delay::RandomMs { from: 2, to: 1 }).into(),
    ];
    for fault in out_of_range {
        assert!(matches!(script.command(Command::next([fault])), Err(CommandError::Range(_))));
    }
}

#[test]
fn every_fault_of_the_help_is_known_and_every_known_fault_is_in_the_help() {
    let help = include_str!("../../../docs/simulator.md");
    let mut shown = 0;
    for line in help.lines().filter(|line| line.starts_with("| `{\"") && !line.contains("BYTES")) {
        let Some(code) = line.strip_prefix("| `").and_then(|rest| rest.split_once('`')).map(|(code, _)| code) else {
            continue;
        };
        let numbers = [" N", " T", " P", " R", " S", " B"].iter().fold(code.to_owned(), |code, letter| {
            code.replace(&format!("{letter}}}"), " 40}").replace(&format!("{letter},"), " 40,")
        });
        let words = [
            ("E", "\"clean\""),
            ("A", "\"expired\""),
            ("C", "\"expired\""),
            ("V", "\"1.2\""),
            ("I", "\"zero\""),
            ("D", "\"never\""),
            ("F", "\"refuse_twice\""),
            ("X", "\"text\""),
            ("L", "\"below\""),
            ("G", "\"ignore\""),
            ("W", "\"no_apns_id\""),
        ];
        let json = words.iter().fold(numbers, |json, (letter, word)| {
            json.replace(&format!(": {letter}}}"), &format!(": {word}}}"))
                .replace(&format!(": {letter},"), &format!(": {word},"))
        });
        if ["connect", "stream", "error", "http2"].iter().any(|family| json.starts_with(&format!("{{\"{family}\""))) {
            serde_json::from_str::<Fault>(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
            shown += 1;
        }
    }
    assert_eq!(shown, 29 + 16, "the table has a row for each fault");
}
