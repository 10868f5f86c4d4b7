//! The log of a store in memory: the newest records, and no more.

use std::collections::VecDeque;

use super::buffer::Buffer;
use super::record::{Decoder, RECORD_BYTES, Record, header, put_name};
use super::{Entry, Logged};
use crate::domain::app::AppId;
use crate::domain::batch::Span;
use crate::domain::time::Timestamp;

/// Rows that are encoded at a time.
const GROUP_ROWS: u32 = 1024;

/// The newest records.
#[derive(Debug)]
pub(in crate::store) struct Ring {
    records: VecDeque<Record>,
    records_max: usize,
    buffer: Buffer,
}

impl Ring {
    /// A ring of so many bytes; with 0 it keeps nothing.
    pub(in crate::store) fn new(bytes_max: usize) -> Self {
        let buffer = Buffer::new(GROUP_ROWS as usize * RECORD_BYTES);
        Self { records: VecDeque::new(), records_max: bytes_max / RECORD_BYTES, buffer }
    }

    pub(in crate::store) fn log(&mut self, app: &AppId, span: &Span, outcome: Logged, at: Timestamp) {
        let mut rest = span.clone();
        while !rest.is_empty() && self.records_max > 0 {
            self.buffer.log(app, &rest.take_front(GROUP_ROWS), outcome, at);
            let (records, _) = self.buffer.records.as_chunks::<RECORD_BYTES>();
            let excess = (self.records.len() + records.len()).saturating_sub(self.records_max);
            self.records.drain(..excess.min(self.records.len()));
            self.records.extend(&records[records.len().saturating_sub(self.records_max)..]);
            self.buffer.records.clear();
        }
    }

    /// The records whose token begins as wanted and that are visible, oldest first, at most the `limit` newest.
    pub(in crate::store) fn find(
        &self,
        is_wanted: impl Fn([u8; 4]) -> bool,
        is_visible: impl Fn(&Entry) -> bool,
        limit: usize,
    ) -> Vec<Entry> {
        let mut decoder = Decoder::default();
        let mut names = header().to_vec();
        (0..).zip(self.buffer.names.since(0)).for_each(|(number, app)| put_name(&mut names, number, app));
        names.as_chunks().0.iter().for_each(|record| drop(decoder.read(record, |_| false)));
        let found = self
            .records
            .iter()
            .rev()
            .filter_map(|record| decoder.read(record, &is_wanted))
            .filter(is_visible)
            .take(limit);
        let mut found: Vec<Entry> = found.collect();
        found.reverse();
        found
    }
}
