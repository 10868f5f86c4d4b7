//! Records as bytes, and what a sequence of them says. Pure.

use std::collections::HashMap;

use super::{Entry, Logged};
use crate::domain::apns::ApnsReason;
use crate::domain::app::AppId;
use crate::domain::batch::{BatchId, Span};
use crate::domain::outcome::Reason;
use crate::domain::time::Timestamp;

/// Size of every record.
pub(super) const RECORD_BYTES: usize = 32;
const VERSION: u8 = 1;
const TITLE: &[u8; 14] = b"apnsd outcomes";
/// Bytes of a name in one record.
const PART_BYTES: usize = 20;

const ACCEPTED: u8 = 1;
const PRESUMED: u8 = 2;
const REJECTED_BY_PROVIDER: u8 = 3;
const REJECTED_HERE: u8 = 4;
const RETRIED_BY_PROVIDER: u8 = 5;
const RETRIED_HERE: u8 = 6;
const UNKNOWN: u8 = 7;
const REJECTED_BY_APNS: u8 = 8;
const RETRIED_BY_APNS: u8 = 9;
/// With a status and without a known reason.
const REJECTED_WITH_STATUS: u8 = 10;
const RETRIED_WITH_STATUS: u8 = 11;
/// The greatest kind of an outcome.
const LAST_KIND: u8 = RETRIED_WITH_STATUS;
/// Statuses are written as the distance from this; HTTP has none beyond 599, and those above 555 count as 555.
const STATUS_BASE: u16 = 300;
const NAME: u8 = 0x10;
const HEADER: u8 = 0x20;

/// One record.
pub(super) type Record = [u8; RECORD_BYTES];

/// The header of a sequence.
pub(super) fn header() -> Record {
    let mut record = [0; RECORD_BYTES];
    record[0] = HEADER;
    record[1] = VERSION;
    record[4..18].copy_from_slice(TITLE);
    sealed(record)
}

/// Appends the records that give an app its number.
pub(super) fn put_name(records: &mut Vec<u8>, number: u32, app: &AppId) {
    let parts = app.as_str().as_bytes().chunks(PART_BYTES);
    let count = u16::try_from(parts.len()).unwrap_or(u16::MAX);
    for (part, text) in (0_u16..).zip(parts) {
        let mut record = [0; RECORD_BYTES];
        record[0] = NAME;
        record[1] = u8::try_from(text.len()).unwrap_or(u8::MAX);
        record[4..8].copy_from_slice(&number.to_le_bytes());
        record[8..10].copy_from_slice(&part.to_le_bytes());
        record[10..12].copy_from_slice(&count.to_le_bytes());
        record[12..12 + text.len()].copy_from_slice(text);
        records.extend_from_slice(&sealed(record));
    }
}

/// Appends a record for each row of a span, up to `rows_max`.
pub(super) fn put_span(
    records: &mut Vec<u8>,
    number: u32,
    span: &Span,
    rows_max: usize,
    outcome: Logged,
    at: Timestamp,
) {
    let mut record = [0; RECORD_BYTES];
    (record[0], record[1]) = code(outcome);
    record[8..16].copy_from_slice(&at.as_millis().to_le_bytes());
    record[16..24].copy_from_slice(&span.id.0.to_le_bytes());
    record[28..32].copy_from_slice(&number.to_le_bytes());
    records.reserve(span.rows.len().min(rows_max) * RECORD_BYTES);
    for row in span.rows.clone().take(rows_max) {
        let token = span.batch.notification(row).token;
        let known = token.len().min(4);
        record[4..8].fill(0);
        record[4..4 + known].copy_from_slice(&token[..known]);
        record[24..28].copy_from_slice(&row.to_le_bytes());
        records.extend_from_slice(&sealed(record));
    }
}

/// The number of an outcome's app; `None` for other records.
pub(super) fn app_number(record: &Record) -> Option<u32> {
    matches!(record[0], ACCEPTED..=LAST_KIND).then(|| u32::from_le_bytes(field(record, 28)))
}

/// Reads records in their order.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// Whether what comes is of a version that is known here.
    is_known: bool,
    names: HashMap<u32, AppId>,
    /// The number, the next part and the text so far of a name of several records.
    partial: Option<(u32, u16, Vec<u8>)>,
}

impl Decoder {
    /// What a record says, if it is an outcome whose token begins as wanted.
    pub(super) fn read(&mut self, record: &Record, is_wanted: impl FnOnce([u8; 4]) -> bool) -> Option<Entry> {
        match record[0] {
            // The check is left for those that are wanted, which are few.
            ACCEPTED..=LAST_KIND if self.is_known => {
                let token = field(record, 4);
                (is_wanted(token) && is_whole(record)).then(|| self.entry(record, token)).flatten()
            }
            NAME if self.is_known && is_whole(record) => {
                self.name(record);
                None
            }
            HEADER if is_whole(record) && record[4..18] == *TITLE => {
                *self = Self { is_known: record[1] == VERSION, ..Self::default() };
                None
            }
            _ => None,
        }
    }

    fn entry(&self, record: &Record, token: [u8; 4]) -> Option<Entry> {
        Some(Entry {
            timestamp: Timestamp::from_millis(i64::from_le_bytes(field(record, 8))),
            app: self.names.get(&u32::from_le_bytes(field(record, 28))).cloned(),
            token,
            batch: BatchId(u64::from_le_bytes(field(record, 16))),
            row: u32::from_le_bytes(field(record, 24)),
            outcome: outcome_of(record[0], record[1])?,
        })
    }

    fn name(&mut self, record: &Record) {
        let number = u32::from_le_bytes(field(record, 4));
        let part = u16::from_le_bytes(field(record, 8));
        let (_, expected, mut text) = match self.partial.take() {
            Some(partial) if part > 0 && partial.0 == number => partial,
            Some(_) | None => (number, 0, Vec::new()),
        };
        let bytes = record[12..].get(..usize::from(record[1]));
        let Some(bytes) = bytes.filter(|_| part == expected) else { return };
        text.extend_from_slice(bytes);
        if part + 1 < u16::from_le_bytes(field(record, 10)) {
            self.partial = Some((number, part + 1, text));
        } else if let Ok(text) = String::from_utf8(text)
            && let Ok(app) = AppId::parse(&text)
        {
            self.names.insert(number, app);
        }
    }
}

fn code(outcome: Logged) -> (u8, u8) {
    let of_reason = |reason, [by_provider, here, by_apns, with_status]: [u8; 4]| match reason_code(reason) {
        ReasonCode::Status(status) => (by_provider, status),
        ReasonCode::Own(own) => (here, own),
        ReasonCode::Apns(code) => (by_apns, code),
        ReasonCode::HttpStatus(code) => (with_status, code),
    };
    match outcome {
        Logged::Accepted => (ACCEPTED, 0),
        Logged::Presumed => (PRESUMED, 0),
        Logged::Rejected(reason) => {
            of_reason(reason, [REJECTED_BY_PROVIDER, REJECTED_HERE, REJECTED_BY_APNS, REJECTED_WITH_STATUS])
        }
        Logged::Retried(reason) => {
            of_reason(reason, [RETRIED_BY_PROVIDER, RETRIED_HERE, RETRIED_BY_APNS, RETRIED_WITH_STATUS])
        }
        Logged::Unknown => (UNKNOWN, 0),
    }
}

fn outcome_of(kind: u8, detail: u8) -> Option<Logged> {
    Some(match kind {
        ACCEPTED => Logged::Accepted,
        PRESUMED => Logged::Presumed,
        REJECTED_BY_PROVIDER => Logged::Rejected(Reason::from_binary_status(detail)?),
        REJECTED_HERE => Logged::Rejected(own_reason(detail)?),
        RETRIED_BY_PROVIDER => Logged::Retried(Reason::from_binary_status(detail)?),
        RETRIED_HERE => Logged::Retried(own_reason(detail)?),
        UNKNOWN => Logged::Unknown,
        REJECTED_BY_APNS => Logged::Rejected(apns_reason(detail)?),
        RETRIED_BY_APNS => Logged::Retried(apns_reason(detail)?),
        REJECTED_WITH_STATUS => Logged::Rejected(with_status(detail)),
        RETRIED_WITH_STATUS => Logged::Retried(with_status(detail)),
        _ => return None,
    })
}

/// How a reason is written: by the provider's status, or by a number of this format.
enum ReasonCode {
    Status(u8),
    Own(u8),
    /// The place in the table of documented reasons.
    Apns(u8),
    HttpStatus(u8),
}

fn reason_code(reason: Reason) -> ReasonCode {
    match reason {
        Reason::ProcessingError => ReasonCode::Status(1),
        Reason::MissingDeviceToken => ReasonCode::Status(2),
        Reason::MissingTopic => ReasonCode::Status(3),
        Reason::MissingPayload => ReasonCode::Status(4),
        Reason::InvalidTokenSize => ReasonCode::Status(5),
        Reason::InvalidTopicSize => ReasonCode::Status(6),
        Reason::InvalidPayloadSize => ReasonCode::Status(7),
        Reason::InvalidToken => ReasonCode::Status(8),
        Reason::ProtocolError => ReasonCode::Status(128),
        Reason::UnknownStatus(status) => ReasonCode::Status(status),
        Reason::Apns(reason) => match ApnsReason::DOCUMENTED.iter().position(|documented| *documented == reason) {
            Some(place) => ReasonCode::Apns(u8::try_from(place).unwrap_or(u8::MAX)),
            None => {
                let beyond = reason.status().saturating_sub(STATUS_BASE);
                ReasonCode::HttpStatus(u8::try_from(beyond).unwrap_or(u8::MAX))
            }
        },
        Reason::ConnectionClosed => ReasonCode::Own(1),
        Reason::AttemptsExhausted => ReasonCode::Own(2),
        Reason::Expired => ReasonCode::Own(3),
        Reason::EnvironmentChanged => ReasonCode::Own(4),
        Reason::Deprovisioned => ReasonCode::Own(5),
        Reason::Purged => ReasonCode::Own(6),
    }
}

fn apns_reason(place: u8) -> Option<Reason> {
    ApnsReason::DOCUMENTED.get(usize::from(place)).copied().map(Reason::Apns)
}

fn with_status(code: u8) -> Reason {
    Reason::Apns(ApnsReason::Unknown(STATUS_BASE + u16::from(code)))
}

fn own_reason(code: u8) -> Option<Reason> {
    Some(match code {
        1 => Reason::ConnectionClosed,
        2 => Reason::AttemptsExhausted,
        3 => Reason::Expired,
        4 => Reason::EnvironmentChanged,
        5 => Reason::Deprovisioned,
        6 => Reason::Purged,
        _ => return None,
    })
}

/// The record with its check.
fn sealed(mut record: Record) -> Record {
    let check = check(&record);
    record[2..4].copy_from_slice(&check.to_le_bytes());
    record
}

fn is_whole(record: &Record) -> bool {
    check(record) == u16::from_le_bytes(field(record, 2))
}

/// Over all of a record but the check itself.
fn check(record: &Record) -> u16 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = |start| u64::from_le_bytes(field(record, start));
    let first = word(0) & 0xffff_ffff_0000_ffff;
    let sum = [first, word(8), word(16), word(24)].iter().fold(0, |sum: u64, word| (sum ^ word).wrapping_mul(ODD));
    (sum >> 48) as u16
}

/// The bytes of a field, which lies within the record.
fn field<const N: usize>(record: &Record, start: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&record[start..start + N]);
    field
}
