//! The settings that a session has sent, and which of them the client has acknowledged.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::Options;
use crate::simulator::http2::frame::{self, PAYLOAD_MAX, setting};
use crate::simulator::http2::hpack::TABLE_SIZE_DEFAULT;

/// The settings that a client is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// How many streams it may have open.
    pub(super) streams: u32,
    /// The window of a new stream, in bytes.
    pub(super) initial_window: u32,
    /// Largest dynamic table of its header compression, in bytes.
    pub(super) header_table: u32,
}

impl Default for Terms {
    /// Before any SETTINGS (RFC 9113 section 6.5.2).
    fn default() -> Self {
        Self { streams: u32::MAX, initial_window: 65_535, header_table: TABLE_SIZE_DEFAULT }
    }
}

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct Advertised {
    /// What the client has acknowledged.
    pub(super) in_force: Terms,
    /// What it has not; the oldest first.
    pending: VecDeque<Terms>,
}

impl Advertised {
    /// Appends SETTINGS with everything that `options` has.
    pub(super) fn send(&mut self, options: &Options, out: &mut BytesMut) {
        let streams = options.max_concurrent_streams.map(|max| (setting::MAX_CONCURRENT_STREAMS, max));
        let mut pairs = vec![(setting::HEADER_TABLE_SIZE, options.header_table_size)];
        pairs.extend(streams);
        pairs.extend([
            (setting::INITIAL_WINDOW_SIZE, options.initial_window_size),
            (setting::MAX_FRAME_SIZE, PAYLOAD_MAX as u32),
            (setting::MAX_HEADER_LIST_SIZE, options.max_header_list_size),
        ]);
        frame::put_settings(&pairs, out);
        self.pending.push_back(Terms {
            streams: options.max_concurrent_streams.unwrap_or(self.newest().streams),
            initial_window: options.initial_window_size,
            header_table: options.header_table_size,
        });
    }

    /// Appends SETTINGS with nothing but the limit of streams.
    pub(super) fn send_streams(&mut self, max: u32, out: &mut BytesMut) {
        frame::put_settings(&[(setting::MAX_CONCURRENT_STREAMS, max)], out);
        self.pending.push_back(Terms { streams: max, ..self.newest() });
    }

    /// The client acknowledged the oldest. What was in force before it; `None` if there was nothing to acknowledge.
    pub(super) fn acknowledge(&mut self) -> Option<Terms> {
        let terms = self.pending.pop_front()?;
        Some(std::mem::replace(&mut self.in_force, terms))
    }

    /// The highest limit of streams that the client may go by: one that it has not acknowledged may be applied already.
    pub(super) fn streams_max(&self) -> u32 {
        self.pending.iter().map(|terms| terms.streams).fold(self.in_force.streams, u32::max)
    }

    /// What was sent last.
    pub(super) fn newest(&self) -> Terms {
        self.pending.back().copied().unwrap_or(self.in_force)
    }
}
