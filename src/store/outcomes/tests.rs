//! Records against literals, damage, rotation, and what happens when there is no room.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::files::{self, Files};
use super::record::{Decoder, RECORD_BYTES, header, put_name, put_span};
use super::*;
use crate::clock::Clock;
use crate::domain::batch::{Batch, Message, PushOptions, Span, Tries};
use crate::domain::token::Tokens;

const HEADER: &[u8; 32] = b"\x20\x01|\xc9apnsd outcomes\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const NAME: &[u8; 32] = b"\x10\x073\x15\x02\0\0\0\0\0\x01\0com.app\0\0\0\0\0\0\0\0\0\0\0\0\0";
const OUTCOME: &[u8; 32] =
    b"\x03\x08\xc9\x03\xab\xcd\xef\x01\x02\x01\0\0\0\0\0\0\x04\x03\0\0\0\0\0\0\x05\0\0\0\x02\0\0\0";
const LONG_NAME: &[u8; 64] = b"\x10\x14\x86M\x01\0\0\0\0\0\x02\0aaaaaaaaaaaaaaaaaaaa\
    \x10\x03G \x01\0\0\0\x01\0\x02\0bbb\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

pub(super) fn app(name: &str) -> AppId {
    AppId::parse(name).unwrap()
}

/// Rows whose tokens begin with their number, most significant byte first.
pub(super) fn span(id: u64, rows: std::ops::Range<u32>) -> Span {
    let mut tokens = Tokens::default();
    (0..rows.end).for_each(|row| tokens.push(&[row.to_be_bytes().as_slice(), &[7; 28]].concat()));
    let message = Message { payload: b"{}".as_slice().into(), options: PushOptions::default() };
    let batch = Arc::new(Batch::broadcast(Timestamp::default(), tokens, message));
    Span { id: BatchId(id), batch, rows, tries: Tries::default() }
}

pub(super) fn entry(name: &str, batch: u64, row: u32, outcome: Logged) -> Entry {
    let timestamp = Timestamp::from_secs(9);
    Entry { timestamp, app: Some(app(name)), token: row.to_be_bytes(), batch: BatchId(batch), row, outcome }
}

fn outcomes(number: u32, span: &Span, outcome: Logged) -> Vec<u8> {
    let mut records = Vec::new();
    put_span(&mut records, number, span, usize::MAX, outcome, Timestamp::from_secs(9));
    records
}

fn decoded(records: &[u8]) -> Vec<Entry> {
    let mut decoder = Decoder::default();
    records.as_chunks().0.iter().filter_map(|record| decoder.read(record, |_| true)).collect()
}

fn found(files: &Files) -> Vec<Entry> {
    files::find(files.to_read().unwrap(), |_| true, |_| true, usize::MAX).unwrap()
}

#[test]
fn records_are_written_as_specified() {
    assert_eq!(header(), *HEADER);
    let mut names = Vec::new();
    put_name(&mut names, 2, &app("com.app"));
    assert_eq!(names, NAME);
    names.clear();
    put_name(&mut names, 1, &app("aaaaaaaaaaaaaaaaaaaabbb"));
    assert_eq!(names, LONG_NAME);
    let mut tokens = Tokens::default();
    (0..6).for_each(|_| tokens.push(&[0xab, 0xcd, 0xef, 1, 2, 3]));
    let span = span(0x0304, 0..6);
    let batch = Batch::broadcast(Timestamp::default(), tokens, span.batch.messages()[0].clone());
    let span = Span { batch: Arc::new(batch), rows: 5..6, ..span };
    let mut records = Vec::new();
    let (outcome, at) = (Logged::Rejected(Reason::InvalidToken), Timestamp::from_millis(0x0102));
    put_span(&mut records, 2, &span, usize::MAX, outcome, at);
    assert_eq!(records, OUTCOME);
}

#[test]
fn names_count_from_a_header_to_the_next() {
    let rejected = |app| Entry {
        timestamp: Timestamp::from_millis(0x0102),
        app,
        token: [0xab, 0xcd, 0xef, 1],
        batch: BatchId(0x0304),
        row: 5,
        outcome: Logged::Rejected(Reason::InvalidToken),
    };
    let named = [HEADER.as_slice(), NAME, OUTCOME, HEADER, OUTCOME].concat();
    assert_eq!(decoded(&named), [rejected(Some(app("com.app"))), rejected(None)]);
    assert_eq!(decoded(&[NAME.as_slice(), OUTCOME].concat()), [], "without a header");
}

#[test]
fn a_record_with_any_byte_changed_is_skipped() {
    let whole = [HEADER.as_slice(), NAME, OUTCOME].concat();
    for position in 64..96 {
        for change in 1..=u8::MAX {
            let mut changed = whole.clone();
            changed[position] ^= change;
            assert_eq!(decoded(&changed), [], "byte {position} changed by {change:#x}");
        }
    }
}

#[test]
fn a_name_with_a_part_lost_is_not_made_up() {
    let outcome = outcomes(1, &span(1, 0..1), Logged::Accepted);
    let whole = [HEADER.as_slice(), LONG_NAME, &outcome].concat();
    assert_eq!(decoded(&whole)[0].app, Some(app("aaaaaaaaaaaaaaaaaaaabbb")));
    for lost in [32..64, 64..96] {
        let mut damaged = whole.clone();
        damaged[lost].fill(0);
        assert_eq!(decoded(&damaged)[0].app, None);
    }
}

#[test]
fn files_are_rotated_at_half_of_the_bound_and_each_names_its_apps() {
    let dir = TempDir::new().unwrap();
    let mut files = Files::new(dir.path(), 2 * 12 * RECORD_BYTES as u64);
    files.add_names(&[app("one"), app("two")]);
    for n in 0..6 {
        let (number, outcome) = (u32::from(n % 2 == 1), Logged::Presumed);
        files.append(&outcomes(number, &span(n, 0..3), outcome)).unwrap();
        for name in ["apnsd.outcomes", "apnsd.outcomes.1"] {
            let length = fs::metadata(dir.path().join(name)).map_or(0, |file| file.len());
            assert!(length <= 12 * RECORD_BYTES as u64, "{length}");
        }
    }
    let expected = (0..6)
        .flat_map(|n| (0..3).map(move |row| entry(if n % 2 == 1 { "two" } else { "one" }, n, row, Logged::Presumed)));
    assert_eq!(found(&files), expected.collect::<Vec<_>>());
    files.append(&outcomes(0, &span(6, 0..3), Logged::Accepted)).unwrap();
    assert_eq!(found(&files)[0].batch, BatchId(3), "the oldest went");
    let newest = files::find(files.to_read().unwrap(), |token| token == [0, 0, 0, 2], |_| true, 2).unwrap();
    assert_eq!(newest, [entry("two", 5, 2, Logged::Presumed), entry("one", 6, 2, Logged::Accepted)]);
}

#[test]
fn an_end_that_is_cut_off_or_garbage_is_skipped_and_written_on() {
    for (cut, garbage) in [(0, 0), (1, 0), (31, 0), (32, 0), (40, 0), (0, 7), (0, 100), (5, 4096)] {
        let dir = TempDir::new().unwrap();
        let mut files = Files::new(dir.path(), 1 << 20);
        files.add_names(&[app("one")]);
        files.append(&outcomes(0, &span(1, 0..5), Logged::Accepted)).unwrap();
        let path = dir.path().join("apnsd.outcomes");
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - cut);
        bytes.resize(bytes.len() + garbage, 0xa5);
        fs::write(&path, bytes).unwrap();
        let mut files = Files::new(dir.path(), 1 << 20);
        files.add_names(&[app("two")]);
        assert_eq!(found(&files).len(), 5 - cut.div_ceil(RECORD_BYTES));
        files.append(&outcomes(0, &span(2, 0..2), Logged::Unknown)).unwrap();
        let found = found(&files);
        assert_eq!(found.len(), 7 - cut.div_ceil(RECORD_BYTES));
        assert_eq!(found[found.len() - 1], entry("two", 2, 1, Logged::Unknown));
        assert_eq!(found[0], entry("one", 1, 0, Logged::Accepted));
    }
}

#[test]
fn a_file_that_cannot_be_written_costs_its_records_and_no_others() {
    let dir = TempDir::new().unwrap();
    let mut files = Files::new(&dir.path().join("later"), 1 << 20);
    files.add_names(&[app("one")]);
    let records = outcomes(0, &span(1, 0..3000), Logged::Accepted);
    assert_eq!(files.append(&records).unwrap_err().0, records.len());
    fs::create_dir(dir.path().join("later")).unwrap();
    files.append(&outcomes(0, &span(2, 0..1), Logged::Accepted)).unwrap();
    assert_eq!(found(&files), [entry("one", 2, 0, Logged::Accepted)]);
}

#[tokio::test]
async fn a_log_is_found_again_after_it_was_closed() {
    let dir = TempDir::new().unwrap();
    let log = Log::open(dir.path(), 1 << 20, Clock::system()).unwrap();
    log.log(&app("one"), &span(1, 0..5000), Logged::Presumed, Timestamp::from_secs(9));
    let last = |token| token == 4999_u32.to_be_bytes();
    assert_eq!(log.find(last, |_| true, 9).await.unwrap(), [entry("one", 1, 4999, Logged::Presumed)]);
    log.log(&app("two"), &span(2, 4999..5000), Logged::Unknown, Timestamp::from_secs(9));
    log.close();
    log.close();
    log.log(&app("two"), &span(3, 4999..5000), Logged::Unknown, Timestamp::from_secs(9));
    assert!(log.find(last, |_| true, 9).await.is_err());
    let mode = fs::metadata(dir.path().join("apnsd.outcomes")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let log = Log::open(dir.path(), 1 << 20, Clock::system()).unwrap();
    let expected = [entry("one", 1, 4999, Logged::Presumed), entry("two", 2, 4999, Logged::Unknown)];
    assert_eq!(log.find(last, |_| true, 9).await.unwrap(), expected);
    assert_eq!(log.find(last, |_| true, 1).await.unwrap(), expected[1..]);
    assert_eq!(log.find(last, |_| true, 0).await.unwrap(), []);
}

#[test]
fn a_ring_keeps_the_newest_records() {
    let mut ring = Ring::new(3000 * RECORD_BYTES);
    ring.log(&app("one"), &span(1, 0..2000), Logged::Accepted, Timestamp::from_secs(9));
    ring.log(&app("two"), &span(2, 0..2000), Logged::Unknown, Timestamp::from_secs(9));
    let all = ring.find(|_| true, |_| true, usize::MAX);
    assert_eq!((all.len(), &all[0]), (3000, &entry("one", 1, 1000, Logged::Accepted)));
    assert_eq!(ring.find(|_| true, |_| true, 1), [entry("two", 2, 1999, Logged::Unknown)]);
    ring.log(&app("one"), &span(3, 0..9000), Logged::Accepted, Timestamp::from_secs(9));
    assert_eq!(ring.find(|_| true, |_| true, usize::MAX)[0], entry("one", 3, 6000, Logged::Accepted));
    let mut none = Ring::new(0);
    none.log(&app("one"), &span(1, 0..1), Logged::Accepted, Timestamp::from_secs(9));
    assert_eq!(none.find(|_| true, |_| true, 9), []);
}

pub(in crate::store) fn logged() -> impl Strategy<Value = Logged> {
    let own = prop::sample::select(vec![
        Reason::ConnectionClosed,
        Reason::AttemptsExhausted,
        Reason::Expired,
        Reason::EnvironmentChanged,
        Reason::Deprovisioned,
        Reason::Purged,
    ]);
    let reasons = || prop_oneof![any::<u8>().prop_filter_map("no reason", Reason::from_binary_status), own.clone()];
    prop_oneof![
        Just(Logged::Accepted),
        Just(Logged::Presumed),
        Just(Logged::Unknown),
        reasons().prop_map(Logged::Rejected),
        reasons().prop_map(Logged::Retried),
    ]
}

proptest! {
    #[test]
    fn what_is_logged_is_read(
        name in "\\PC{1,255}", number: u32, id: u64, start in 0..50_u32, rows in 1..20_u32, outcome in logged(), at: i64,
    ) {
        let (app, span, at) = (app(&name), span(id, start..start + rows), Timestamp::from_millis(at));
        let mut records = header().to_vec();
        put_name(&mut records, number, &app);
        put_span(&mut records, number, &span, usize::MAX, outcome, at);
        let expected: Vec<Entry> = (start..start + rows).map(|row| Entry {
            timestamp: at, app: Some(app.clone()), token: row.to_be_bytes(), batch: BatchId(id), row, outcome,
        }).collect();
        prop_assert_eq!(decoded(&records), expected);
    }

    #[test]
    fn no_records_make_the_decoder_panic(mut records in prop::collection::vec(any::<[u8; 32]>(), 0..20)) {
        records.iter_mut().for_each(|record| record[0] &= 0x37);
        let mut decoder = Decoder::default();
        decoder.read(HEADER, |_| true);
        records.iter().for_each(|record| drop(decoder.read(record, |_| true)));
    }
}
