//! Stored bytes against literals, and properties of the codec.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn message(payload: &str) -> Message {
    Message { payload: payload.as_bytes().into(), options: PushOptions::default() }
}

fn tokens(all: &[&[u8]]) -> Tokens {
    let mut tokens = Tokens::default();
    all.iter().for_each(|token| tokens.push(token));
    tokens
}

/// A broadcast of `{}` to two tokens of 32 bytes, accepted at 0x0102 ms, rows 256 and 257 of those with their seed.
const BROADCAST_1: &[u8] = b"\x01\x02\x01\0\0\0\0\0\0ssssssssssssssss\x80\x02\x01\x02{}\0\x02\0\x20\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\
    \x41\x47\x4d\xf8";

/// Two messages, the second with all options, on tokens of 1 and 2 bytes; accepted 1 ms before 1970.
const PAIRED_1: &[u8] = b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x02{}\0\x07{\"a\":1}\x1f\
    \x04\x03\x02\x01\x0a\x01c\x05alert\x03com\x02\x01\0\x01A\x02BC\x01\0\
    \x50\x7e\xb5\xa9";

/// What a record says, without its checksum.
fn content(record: &[u8]) -> &[u8] {
    &record[..record.len() - CHECKSUM_BYTES]
}

/// A record that says so, with the checksum that belongs to it.
fn sealed(content: &[u8]) -> Vec<u8> {
    [content, &crc32fast::hash(content).to_le_bytes()].concat()
}

#[test]
fn records_of_version_1_are_written_and_read_as_ever() {
    let broadcast =
        Batch::broadcast(Timestamp::from_millis(0x0102), tokens(&[&[b'a'; 32], &[b'b'; 32]]), message("{}"))
            .with_ids(IdSeed([b's'; 16]), 256);
    assert_eq!(encode(&broadcast), BROADCAST_1);
    assert_eq!(decode(BROADCAST_1), Ok(broadcast));

    let options = PushOptions {
        expiration: Some(0x0102_0304),
        priority: Some(10),
        collapse_id: Some("c".into()),
        push_type: Some("alert".into()),
        topic: Some("com".into()),
    };
    let messages = vec![message("{}"), Message { options, ..message("{\"a\":1}") }];
    let paired = Batch::paired(Timestamp::from_millis(-1), tokens(&[b"A", b"BC"]), messages, vec![1, 0]).unwrap();
    assert_eq!(encode(&paired), PAIRED_1);
    assert_eq!(decode(PAIRED_1), Ok(paired));
}

#[test]
fn a_later_version_is_named() {
    assert_eq!(decode(b"\x02\0\0\x7c\x0d\xc5\xfc"), Err(RecordError::Newer { found: 2 }));
    assert_eq!(decode(&sealed(&[0, 0, 0])), Err(RecordError::Damaged("version 0")));
}

#[test]
fn a_version_that_changed_on_the_disk_is_damage_and_not_a_later_version() {
    let mut record = BROADCAST_1.to_vec();
    record[0] = 2;
    assert_eq!(decode(&record), Err(RecordError::Damaged("its checksum is another")));
    assert_eq!(decode(&sealed(content(&record))), Err(RecordError::Newer { found: 2 }));
}

#[test]
fn a_record_with_one_byte_changed_anywhere_is_damaged() {
    for record in [BROADCAST_1, PAIRED_1] {
        for at in 0..record.len() {
            let mut changed = record.to_vec();
            changed[at] ^= 0xff;
            assert_eq!(decode(&changed), Err(RecordError::Damaged("its checksum is another")), "at {at}");
        }
    }
}

#[test]
fn a_record_cut_anywhere_or_longer_than_it_says_is_an_error() {
    for record in [BROADCAST_1, PAIRED_1] {
        for end in 0..record.len() {
            assert!(decode(&record[..end]).is_err(), "cut after {end} bytes");
        }
        let content = content(record);
        for end in 0..content.len() {
            assert!(decode(&sealed(&content[..end])).is_err(), "cut after {end} bytes, and sealed");
        }
        let longer = sealed(&[content, b"\0"].concat());
        assert_eq!(decode(&longer), Err(RecordError::Damaged("bytes behind its end")));
    }
}

#[test]
fn counts_that_the_bytes_cannot_hold_allocate_nothing() {
    let with = |rest: &[u8]| decode(&sealed(&[&BROADCAST_1[..27], rest].concat()));
    assert_eq!(with(b"\xff\xff\xff\xff\x0f"), Err(RecordError::CutOff), "messages");
    assert_eq!(with(b"\x01\x02{}\0\xff\xff\xff\xff\x0f\0\x20"), Err(RecordError::CutOff), "rows");
    assert_eq!(with(b"\xff\xff\xff\xff\xff\xff"), Err(RecordError::Damaged("a number without an end")));
}

#[test]
fn an_unknown_option_and_an_index_out_of_range_are_errors() {
    let mut record = content(BROADCAST_1).to_vec();
    record[31] = 0x20;
    assert_eq!(decode(&sealed(&record)), Err(RecordError::Damaged("an option that version 1 has not")));
    let mut record = content(PAIRED_1).to_vec();
    *record.last_mut().unwrap() = 2;
    assert_eq!(decode(&sealed(&record)), Err(RecordError::Damaged("a row without a message")));
}

#[test]
fn a_token_of_32_bytes_costs_32_bytes_in_a_broadcast() {
    let mut tokens = Tokens::default();
    (0..100_000_u32).for_each(|n| tokens.push(&[n.to_le_bytes(); 8].concat()));
    let batch = Batch::broadcast(Timestamp::default(), tokens, message("{}"));
    assert!(encode(&batch).len() < 100_000 * 32 + 64);
}

#[test]
fn tries_are_three_bytes_of_a_number() {
    let tries = Tries { unknown: 1, alone: 2, transient: 3 };
    assert_eq!(tries_number(tries), 0x03_0201);
    assert_eq!(tries_of(0x03_0201), Ok(tries));
    assert_eq!(tries_of(0x0100_0000), Err(RecordError::Damaged("tries")));
    assert_eq!(tries_of(-1), Err(RecordError::Damaged("tries")));
}

#[test]
fn every_reason_is_found_by_its_name_and_status() {
    let own = ["ConnectionClosed", "AttemptsExhausted", "Expired", "EnvironmentChanged", "Deprovisioned", "Purged"];
    for name in own {
        assert_eq!(reason_of(name, None).map(Reason::name), Ok(name));
    }
    for status in (0..=u8::MAX).filter(|status| !matches!(status, 0 | 10)) {
        let reason = Reason::from_binary_status(status).unwrap();
        assert_eq!(reason_of(reason.name(), reason.status()), Ok(reason));
    }
    let apns = ApnsReason::DOCUMENTED.into_iter().chain([ApnsReason::Unknown(418)]).map(Reason::Apns);
    for reason in apns {
        assert_eq!(reason_of(reason.name(), reason.status()), Ok(reason));
    }
    assert!(reason_of("Unregistered", Some(400)).is_err());
    assert_eq!(reason_of("InvalidToken", Some(8)), Ok(Reason::InvalidToken));
    assert_eq!(reason_of("UnknownStatus", Some(8)), Ok(Reason::UnknownStatus(8)));
    // A new reason does not compile here until it stands in one of the lists above.
    match Reason::Expired {
        Reason::ProcessingError | Reason::MissingDeviceToken | Reason::MissingTopic | Reason::MissingPayload => (),
        Reason::InvalidTokenSize | Reason::InvalidTopicSize | Reason::InvalidPayloadSize => (),
        Reason::InvalidToken | Reason::ProtocolError | Reason::UnknownStatus(_) => (),
        Reason::ConnectionClosed | Reason::AttemptsExhausted | Reason::Expired => (),
        Reason::EnvironmentChanged | Reason::Deprovisioned | Reason::Purged => (),
        Reason::Apns(_) => (),
    }
    assert!(reason_of("InvalidToken", Some(7)).is_err());
    assert!(reason_of("Unheard", None).is_err());
}

#[test]
fn an_excerpt_has_the_rows_and_only_their_messages() {
    let messages = vec![message("0"), message("1"), message("2")];
    let all = tokens(&[b"a", b"b", b"c", b"d"]);
    let batch = Batch::paired(Timestamp::from_secs(9), all, messages, vec![0, 2, 1, 2]).unwrap();
    let batch = batch.with_ids(IdSeed([7; 16]), 40);
    let part = excerpt(&batch, 1..4);
    assert_eq!(part.accepted_at(), Timestamp::from_secs(9));
    let rows: Vec<_> =
        (0..3).map(|row| (part.notification(row).token, &*part.notification(row).message.payload)).collect();
    assert_eq!(rows, [(&b"b"[..], &b"2"[..]), (b"c", b"1"), (b"d", b"2")]);
    assert_eq!(part.messages().len(), 2);
    let ids = |batch: &Batch| (0..batch.rows()).map(|row| batch.id(row)).collect::<Vec<_>>();
    assert_eq!(ids(&part), ids(&batch)[1..4]);
    assert_eq!(ids(&excerpt(&part, 1..3)), ids(&batch)[2..4]);
    let seed = batch.ids().0;
    assert_eq!(
        excerpt(&batch, 1..2).with_ids(seed, 0),
        Batch::broadcast(Timestamp::from_secs(9), tokens(&[b"b"]), message("2")).with_ids(seed, 0)
    );
}

fn messages() -> impl Strategy<Value = Message> {
    let text = || option::of("[a-zü.]{0,9}".prop_map(|text: String| Arc::<str>::from(text)));
    let options = (option::of(any::<u32>()), option::of(any::<u8>()), text(), text(), text());
    (vec(any::<u8>(), 0..200), options).prop_map(|(payload, (expiration, priority, collapse_id, push_type, topic))| {
        let options = PushOptions { expiration, priority, collapse_id, push_type, topic };
        Message { payload: payload.into(), options }
    })
}

/// Batches whose tokens have one length or many, with up to three hundred messages.
pub(in crate::store) fn batches() -> impl Strategy<Value = Batch> {
    let tokens = prop_oneof![vec(vec(any::<u8>(), 32), 1..20), vec(vec(any::<u8>(), 0..300), 1..20)];
    let ids = (any::<[u8; 16]>(), any::<u32>());
    (any::<i64>(), ids, tokens, vec(messages(), 1..4), 0..300_usize, vec(any::<prop::sample::Index>(), 20)).prop_map(
        |(millis, (seed, first_row), rows, mut messages, more, indices)| {
            let accepted_at = Timestamp::from_millis(millis);
            let mut tokens = Tokens::default();
            rows.iter().for_each(|token| tokens.push(token));
            if messages.len() == 1 && more < 150 {
                return Batch::broadcast(accepted_at, tokens, messages.remove(0)).with_ids(IdSeed(seed), first_row);
            }
            messages.extend((0..more + 1).map(|n| message(&n.to_string())));
            let indices = indices.iter().take(rows.len());
            let message_of = indices.map(|index| u32::try_from(index.index(messages.len())).unwrap()).collect();
            Batch::paired(accepted_at, tokens, messages, message_of).unwrap().with_ids(IdSeed(seed), first_row)
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(batch in batches()) {
        prop_assert_eq!(decode(&encode(&batch)), Ok(batch));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(record in vec(any::<u8>(), 0..300)) {
        drop(decode(&record));
        drop(decode(&sealed(&[&[1][..], &record].concat())));
    }

    #[test]
    fn damage_is_seen_and_where_it_is_not_makes_no_panic(
        batch in batches(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut record = encode(&batch);
        let at = at.index(record.len());
        let changes = record[at] != byte;
        record[at] = byte;
        prop_assert_eq!(decode(&record).is_err(), changes);
        drop(decode(&sealed(content(&record))));
    }
}
