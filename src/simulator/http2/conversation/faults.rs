//! Faults as they come into force on a connection.

use std::time::Duration;

use super::Conversation;
use crate::clock::Instant;
use crate::simulator::http2::behavior::Behavior;
use crate::simulator::http2::session::Options;
use crate::simulator::script::fault::{Fault, StreamFault};
use crate::simulator::script::http2::{Http2Fault, Window};

impl Conversation {
    /// Back to correct behaviour.
    pub(super) fn clear(&mut self) {
        self.scheduled.clear();
        self.behavior = Behavior::default();
        self.limit.clear();
        let limit = Some(self.limit.announced());
        let options = Options { max_concurrent_streams: limit, ..Options::default() };
        (self.settings_due, self.window_due) = (None, None);
        if *self.session.options() != options {
            *self.session.options() = options;
            self.send_settings();
        }
        self.announce_limit();
    }

    /// Earliest first; those of the same moment in the order in which they came.
    pub(super) fn sort(&mut self) {
        self.scheduled.make_contiguous().sort_by_key(|scheduled| scheduled.after);
    }

    /// Puts into force what is due.
    pub(super) fn enforce(&mut self, now: Instant) {
        while self.scheduled.front().is_some_and(|scheduled| scheduled.after <= self.received) {
            for fault in self.scheduled.pop_front().map(|scheduled| scheduled.faults).unwrap_or_default() {
                match fault {
                    Fault::Stream(StreamFault::Close { within_ms, then }) => {
                        let within = self.rng.u64(0..=within_ms);
                        self.end(now + Duration::from_millis(within), then);
                    }
                    Fault::Stream(fault) => self.behavior.shape_stream(&fault),
                    Fault::Http2(fault) => {
                        self.behavior.shape(&fault, now);
                        self.strike(fault, now);
                    }
                    Fault::Connect(_) | Fault::Error(_) => (),
                }
            }
        }
        self.announce_limit();
    }

    /// Does what a fault does at once.
    fn strike(&mut self, fault: Http2Fault, now: Instant) {
        let later = |ms: Option<u64>| ms.map(|ms| now + Duration::from_millis(ms));
        match fault {
            Http2Fault::Streams(limits) => self.limit.take_turns(limits, now),
            Http2Fault::RejectionLimit { to, restore, in_flight } => {
                self.limit.lower_on_rejection(to, restore, in_flight);
            }
            Http2Fault::GoAway(go_away) if !go_away.before_data => self.go_away(&go_away),
            Http2Fault::Ping => self.session.ping(*b"apnsdsim"),
            Http2Fault::PingsUnanswered => self.session.options().acknowledges_pings = false,
            Http2Fault::WithholdWindow(Window::Connection) => self.session.options().updates_connection_window = false,
            Http2Fault::WithholdWindow(Window::Stream) => self.session.options().updates_stream_windows = false,
            Http2Fault::SettingsLate(ms) => self.settings_due = later(ms),
            Http2Fault::InitialWindow { bytes, ms } => {
                self.window_due = later(ms);
                let differs =
                    |options: &mut Options| std::mem::replace(&mut options.initial_window_size, bytes) != bytes;
                if differs(self.session.options()) {
                    self.send_settings();
                }
            }
            Http2Fault::HeaderTableSize(bytes) => {
                let differs = |options: &mut Options| std::mem::replace(&mut options.header_table_size, bytes) != bytes;
                if differs(self.session.options()) {
                    self.send_settings();
                }
            }
            Http2Fault::GoAway(_)
            | Http2Fault::Refuse { .. }
            | Http2Fault::ExcessIsFatal
            | Http2Fault::Answer { .. }
            | Http2Fault::Status { .. }
            | Http2Fault::Wedge(_)
            | Http2Fault::ErrorBudget { .. }
            | Http2Fault::LoseAnswer { .. } => (),
        }
    }
}

/// What a fault of the connection's beginning does to its first SETTINGS.
pub(super) fn shape_first_settings(options: &mut Options, fault: &Fault) {
    match fault {
        Fault::Http2(Http2Fault::SettingsLate(_)) => options.sends_settings = false,
        Fault::Http2(Http2Fault::InitialWindow { bytes, .. }) => options.initial_window_size = *bytes,
        Fault::Http2(Http2Fault::HeaderTableSize(bytes)) => options.header_table_size = *bytes,
        Fault::Http2(_) | Fault::Connect(_) | Fault::Stream(_) | Fault::Error(_) => (),
    }
}
