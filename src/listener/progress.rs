//! Where a connection stands, as its socket and its requests see it. Pure: no socket, no clock.
//!
//! ```text
//!           first bytes           head complete            answer written and flushed
//!   Idle ───────────────► Head ───────────────► Exchange ───────────────────────────────► Idle
//!     └────────────────────┴───────── the server closes its side ─────┴──► Closing
//! ```
//!
//! As long as some of its body is still to come, an exchange counts as receiving.
//!
//! An exchange that waits for its turn counts as waiting.
//!
//! While bytes of an answer wait for a peer that takes none, the connection counts as stuck, whatever its phase.
//!
//! Bytes of a next request that arrive together with an earlier one are with the HTTP layer and not seen here: until
//! more of them arrive, the connection counts as idle.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Longest head of a request, in bytes: 431 beyond.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between requests.
    #[default]
    Idle,
    /// Part of a request's head has arrived.
    Head,
    /// A request's head is complete and its body is not.
    Receiving,
    /// A request is being executed or answered.
    Exchange,
    /// A request is whole, waits for its turn, and nothing was done for it.
    Waiting,
    /// Bytes of an answer wait for the peer to take some.
    Stuck,
    /// Our side is closed; what the peer still sends is read and dropped.
    Closing,
}

/// What runs once an answer has left.
type Action = Box<dyn FnOnce() + Send>;

/// One connection's progress, and the actions that wait for it.
#[derive(Default)]
pub(super) struct Progress {
    phase: Phase,
    stuck: bool,
    /// Grows with every change, so that whoever holds the timer notices.
    step: u64,
    /// Bytes that have arrived, ever.
    received: u64,
    /// What was read since the connection was last idle, as far as a head can reach.
    head: Vec<u8>,
    /// Number of the request that is being answered.
    request: u64,
    /// The request's body was not read to its end.
    body_unread: bool,
    /// The request waits for its turn.
    waiting: bool,
    /// The answer has no end of its own.
    endless: bool,
    /// The last request whose whole answer is with the HTTP layer, but not yet with the kernel. A next request may
    /// have begun meanwhile.
    answered: Option<u64>,
    /// Actions of the request that is being answered.
    registered: Vec<Action>,
    /// Actions of answers that are complete: they run at the next flush.
    due: Vec<Action>,
    /// The server closed its side before the head was complete: the HTTP layer had refused it.
    head_refused: bool,
    /// The socket is gone: nothing runs any more.
    gone: bool,
}

impl Progress {
    /// What the connection is doing, and a number that grows when that changes or anything moves.
    pub(super) fn phase(&self) -> (Phase, u64) {
        let phase = match self.phase {
            _ if self.stuck => Phase::Stuck,
            Phase::Exchange if self.body_unread => Phase::Receiving,
            Phase::Exchange if self.waiting => Phase::Waiting,
            phase => phase,
        };
        (phase, self.step)
    }

    /// Bytes that have arrived since the connection began.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Bytes have arrived.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.received = self.received.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        match self.phase {
            Phase::Idle => self.enter(Phase::Head),
            Phase::Head => {}
            Phase::Receiving | Phase::Exchange | Phase::Waiting | Phase::Stuck | Phase::Closing => return,
        }
        let room = HEAD_BYTES_MAX.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// A request's head is complete. The request's number.
    pub(super) fn request_begins(&mut self, has_body: bool) -> u64 {
        self.enter(Phase::Exchange);
        self.head.clear();
        self.request += 1;
        self.body_unread = has_body;
        self.waiting = false;
        self.endless = false;
        self.request
    }

    /// Whether the head that just arrived names a `Content-Length`. The HTTP layer hides it where there is also a
    /// `Transfer-Encoding`. Of a head that arrived together with an earlier request only what came later is seen here,
    /// or nothing: [`Progress::head_lines`].
    pub(super) fn head_names_length(&self) -> bool {
        self.header_names().any(|name| name.eq_ignore_ascii_case(b"content-length"))
    }

    /// How many header lines were seen of the head that just arrived.
    pub(super) fn head_lines(&self) -> usize {
        self.header_names().count()
    }

    fn header_names(&self) -> impl Iterator<Item = &[u8]> {
        let start = self.head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(self.head.len());
        let lines = self.head[start..].split(|byte| *byte == b'\n');
        let lines = lines.skip(1).take_while(|line| !matches!(line, [] | [b'\r']));
        lines.filter_map(|line| line.split(|byte| *byte == b':').next())
    }

    /// The request's body was read to its end.
    pub(super) fn body_ends(&mut self) {
        if mem::take(&mut self.body_unread) {
            self.step += 1;
        }
    }

    /// Whether some of the request's body is still to be read.
    pub(super) fn is_body_unread(&self) -> bool {
        self.body_unread
    }

    /// A request begins to wait for its turn, or does not wait any more.
    pub(super) fn waits(&mut self, request: u64, waiting: bool) {
        if self.request == request && self.waiting != waiting {
            self.waiting = waiting;
            self.step += 1;
        }
    }

    /// The answer to the present request has no end of its own.
    pub(super) fn answer_is_endless(&mut self) {
        self.endless = true;
    }

    /// Whether a peer takes nothing of an answer that has no end of its own.
    pub(super) fn is_stuck_in_endless(&self) -> bool {
        self.stuck && self.endless
    }

    /// The HTTP layer has the whole answer.
    pub(super) fn answer_ends(&mut self) {
        self.answered = Some(self.request);
        let mut registered = mem::take(&mut self.registered);
        self.due.append(&mut registered);
    }

    /// Everything that the HTTP layer had is with the kernel. What is to run now.
    #[must_use]
    pub(super) fn flushed(&mut self) -> Vec<Action> {
        let Some(answered) = self.answered.take() else {
            return Vec::new();
        };
        if self.phase == Phase::Exchange && self.request == answered {
            self.enter(Phase::Idle);
        }
        mem::take(&mut self.due)
    }

    /// The peer takes nothing, or something again.
    pub(super) fn write(&mut self, blocked: bool) {
        if self.stuck != blocked {
            self.stuck = blocked;
            self.step += 1;
        }
    }

    /// The server closes its side. Whether the peer may still be sending, and would lose the answer to a reset if the
    /// socket were closed at once.
    pub(super) fn closing(&mut self) -> bool {
        self.head_refused = self.phase == Phase::Head;
        let sending = self.body_unread || self.head_refused;
        self.enter(Phase::Closing);
        sending
    }

    /// The status with which the HTTP layer refused a head by itself, where it did.
    pub(super) fn refused_head(&self) -> Option<u16> {
        self.head_refused.then_some(if self.head.len() < HEAD_BYTES_MAX { 400 } else { 431 })
    }

    /// The socket is gone.
    #[must_use = "actions are dropped outside of the lock"]
    pub(super) fn gone(&mut self) -> Vec<Action> {
        self.gone = true;
        self.due.append(&mut self.registered);
        mem::take(&mut self.due)
    }

    /// Keeps an action for a request; gives it back if that request's answer can no longer run it.
    pub(super) fn register(&mut self, request: u64, action: Action) -> Option<Action> {
        let open = !self.gone && self.phase == Phase::Exchange;
        if !open || self.request != request || self.answered == Some(request) {
            return Some(action);
        }
        self.registered.push(action);
        None
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.step += 1;
    }
}

/// A connection's progress, shared by its socket, its requests and its timer.
#[derive(Clone, Default)]
pub(super) struct SharedProgress(Arc<Mutex<Progress>>);

impl SharedProgress {
    /// Locks it for one step.
    pub(super) fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SharedProgress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SharedProgress({:?})", self.lock().phase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(progress: &Progress) -> Phase {
        progress.phase().0
    }

    #[test]
    fn a_connection_is_idle_again_only_when_the_whole_answer_is_flushed() {
        let mut progress = Progress::default();
        assert_eq!(phase(&progress), Phase::Idle);
        progress.read(b"POST / HT");
        assert_eq!(phase(&progress), Phase::Head);
        progress.request_begins(false);
        assert!(progress.flushed().is_empty());
        assert_eq!(phase(&progress), Phase::Exchange);
        progress.answer_ends();
        assert_eq!(phase(&progress), Phase::Exchange);
        assert!(progress.flushed().is_empty());
        assert_eq!(phase(&progress), Phase::Idle);
    }

    #[test]
    fn an_exchange_is_receiving_until_the_body_has_come() {
        let mut progress = Progress::default();
        progress.read(b"POST / HTTP/1.1\r\n\r\n");
        progress.request_begins(true);
        let (receiving, step) = progress.phase();
        assert_eq!((receiving, progress.received()), (Phase::Receiving, 19));
        progress.read(b"body");
        assert_eq!((phase(&progress), progress.received()), (Phase::Receiving, 23));
        progress.body_ends();
        assert_eq!(phase(&progress), Phase::Exchange);
        assert!(progress.phase().1 > step);
    }

    #[test]
    fn a_request_that_waits_for_its_turn_is_known_until_it_does_not() {
        let mut progress = Progress::default();
        let first = progress.request_begins(false);
        progress.waits(first, true);
        assert_eq!(phase(&progress), Phase::Waiting);
        progress.waits(first, false);
        assert_eq!(phase(&progress), Phase::Exchange);
        progress.waits(first, true);
        progress.answer_ends();
        assert!(progress.flushed().is_empty());
        progress.request_begins(false);
        progress.waits(first, true);
        assert_eq!(phase(&progress), Phase::Exchange);
    }

    #[test]
    fn actions_are_due_when_the_answer_is_complete_and_flushed() {
        let mut progress = Progress::default();
        let request = progress.request_begins(false);
        assert!(progress.register(request, Box::new(|| {})).is_none());
        assert!(progress.flushed().is_empty());
        progress.answer_ends();
        assert_eq!(progress.flushed().len(), 1);
        assert!(progress.flushed().is_empty());
    }

    #[test]
    fn actions_of_another_request_or_after_the_answer_are_refused() {
        let mut progress = Progress::default();
        let first = progress.request_begins(false);
        progress.answer_ends();
        assert!(progress.register(first, Box::new(|| {})).is_some());
        assert!(progress.flushed().is_empty());
        let second = progress.request_begins(false);
        assert!(progress.register(first, Box::new(|| {})).is_some());
        assert!(progress.register(second, Box::new(|| {})).is_none());
        assert_eq!(progress.gone().len(), 1);
        assert!(progress.register(second, Box::new(|| {})).is_some());
    }

    #[test]
    fn a_request_that_begins_before_the_last_answer_is_flushed_stays_begun() {
        let mut progress = Progress::default();
        let first = progress.request_begins(true);
        assert!(progress.register(first, Box::new(|| {})).is_none());
        progress.answer_ends();
        progress.request_begins(false);
        assert_eq!(progress.flushed().len(), 1);
        assert_eq!(phase(&progress), Phase::Exchange);
    }

    #[test]
    fn a_length_is_found_in_the_head_and_not_behind_it() {
        let names_length = |head: &[u8]| {
            let mut progress = Progress::default();
            progress.read(head);
            progress.head_names_length()
        };
        assert!(names_length(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-LENGTH: 3\r\n\r\n"));
        assert!(names_length(b"\r\nPOST / HTTP/1.1\nContent-Length:3\n\n"));
        assert!(!names_length(b"POST / HTTP/1.1\r\nX: Content-Length: 3\r\n\r\nContent-Length: 3\r\n"));
        assert!(!names_length(b""));
    }

    #[test]
    fn the_lines_of_a_head_are_counted() {
        let lines = |head: &[u8]| {
            let mut progress = Progress::default();
            progress.read(head);
            progress.head_lines()
        };
        assert_eq!(lines(b"\r\nPOST / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\nC: d\r\n"), 2);
        assert_eq!(lines(b"POST / HTTP/1.1\n\n"), 0);
        assert_eq!(lines(b""), 0);
    }

    #[test]
    fn a_peer_that_may_still_be_sending_is_known_at_the_end() {
        let mut progress = Progress::default();
        assert!(!progress.closing());
        progress.request_begins(true);
        assert!(progress.closing());
        progress.body_ends();
        assert!(!progress.closing());
        let mut progress = Progress::default();
        progress.read(b"junk");
        assert!(progress.closing());
        assert_eq!(progress.refused_head(), Some(400));
        let mut progress = Progress::default();
        progress.read(&[b'x'; HEAD_BYTES_MAX]);
        assert_eq!(progress.refused_head(), None);
        assert!(progress.closing());
        assert_eq!(progress.refused_head(), Some(431));
    }

    #[test]
    fn every_movement_of_a_stuck_answer_is_a_step() {
        let mut progress = Progress::default();
        progress.request_begins(false);
        progress.write(true);
        let (phase, first) = progress.phase();
        assert_eq!(phase, Phase::Stuck);
        progress.write(false);
        progress.write(true);
        assert!(progress.phase().1 > first);
    }
}
