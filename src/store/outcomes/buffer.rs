//! Records on their way into a log, and the numbers of the apps that they refer to.

use std::collections::HashMap;

use super::Logged;
use super::record::{RECORD_BYTES, put_span};
use crate::domain::app::AppId;
use crate::domain::batch::Span;
use crate::domain::time::Timestamp;

/// Records that were not taken away yet, up to a bound.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) records: Vec<u8>,
    pub(super) names: Names,
    /// Rows that found no room.
    pub(super) dropped: u64,
    bytes_max: usize,
}

/// Apps by number, and numbers by app.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<AppId, u32>,
    names: Vec<AppId>,
}

impl Buffer {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { records: Vec::new(), names: Names::default(), dropped: 0, bytes_max }
    }

    /// Appends what became of a span's rows, as far as there is room.
    pub(super) fn log(&mut self, app: &AppId, span: &Span, outcome: Logged, at: Timestamp) {
        let room = self.bytes_max.saturating_sub(self.records.len()) / RECORD_BYTES;
        let number = self.names.number(app);
        put_span(&mut self.records, number, span, room, outcome, at);
        self.dropped += u64::from(span.len()).saturating_sub(room as u64);
    }
}

impl Names {
    fn number(&mut self, app: &AppId) -> u32 {
        if let Some(number) = self.numbers.get(app) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(app.clone());
        self.numbers.insert(app.clone(), number);
        number
    }

    /// All apps from a number on.
    pub(super) fn since(&self, number: usize) -> &[AppId] {
        self.names.get(number..).unwrap_or_default()
    }
}
