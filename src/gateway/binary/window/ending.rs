//! What the end of a connection means for each row that was on it, and for some that were presumed before.

use super::{Line, Sentinel, Window};
use crate::domain::batch::Span;
use crate::domain::outcome::{Outcome, Reason, Retry, Settled};
use crate::gateway::binary::frame::ErrorPacket;
use crate::gateway::{CloseCause, Closed};

/// A row that stood alone at so many closes without a word is to blame for them.
const CLOSES_ALONE_MAX: u8 = 3;

/// Binary Provider API: the named notification was the last one sent; the gateway is shutting down.
const STATUS_SHUTDOWN: u8 = 10;
/// Binary Provider API: missing device token, which is what is wrong with a sentinel.
const STATUS_MISSING_TOKEN: u8 = 2;

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The gateway sent an error packet.
    Packet(ErrorPacket),
    /// The peer closed or reset it without a (readable) word.
    Silent,
    /// The path died. In words.
    Lost(String),
    /// The credentials were refused by a TLS alert. Its name.
    Refused(String),
    /// A sentinel was not answered in time.
    Unanswered,
    /// There was nothing to prove: no row was ever sent.
    Unused,
}

/// What a connection's end means for its rows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Outcomes of all rows without one, and the cause.
    pub(crate) closed: Closed,
    /// Whether a packet named a row that was presumed before.
    pub(crate) is_late: bool,
}

impl Ending {
    fn new(settled: Vec<Settled>, cause: CloseCause) -> Self {
        Self { closed: Closed { settled, revised: Vec::new(), cause }, is_late: false }
    }
}

impl Window {
    /// The connection is over: an outcome for every row.
    pub(crate) fn end(&mut self, end: End) -> Ending {
        let line = std::mem::replace(&mut self.line, Line::new());
        match end {
            End::Packet(packet) => self.end_by_packet(line, packet),
            End::Silent => self.end_silently(line),
            End::Lost(words) => self.end_unknown(line, false, CloseCause::Dead(words)),
            End::Refused(alert) => end_unprocessed(line, CloseCause::Refused(alert)),
            End::Unanswered => {
                self.sentinel_failed = true;
                self.end_unknown(line, false, CloseCause::Retired { proven: false })
            }
            End::Unused => end_unprocessed(line, CloseCause::Retired { proven: true }),
        }
    }

    /// A close without a word. With a sentinel on the wire it is the likelier cause, and no row is suspected.
    fn end_silently(&mut self, line: Line) -> Ending {
        if matches!(line.sentinel, Sentinel::Out(..)) {
            self.sentinel_failed = true;
            return self.end_unknown(line, false, CloseCause::Retired { proven: false });
        }
        let cause = CloseCause::Silent { settled: line.has_settled };
        self.end_unknown(line, true, cause)
    }

    fn end_by_packet(&mut self, line: Line, packet: ErrorPacket) -> Ending {
        let ErrorPacket { status, identifier } = packet;
        if status == STATUS_SHUTDOWN && identifier == 0 {
            return end_unprocessed(line, CloseCause::Shutdown);
        }
        if line.is_answered_by(packet) {
            return self.end_accepted(line);
        }
        if status != STATUS_SHUTDOWN {
            self.growth.shrink();
        }
        let cause = match Reason::from_binary_status(status) {
            Some(reason) => CloseCause::Error(reason),
            None if status == STATUS_SHUTDOWN => CloseCause::Shutdown,
            None => CloseCause::Silent { settled: line.has_settled },
        };
        match line.locate(packet) {
            Some(identifier) => self.end_at(line, identifier, status, cause),
            None => self.end_unknown(line, true, cause),
        }
    }

    /// The gateway named a row: what came before was accepted, what came after was discarded.
    fn end_at(&mut self, mut line: Line, identifier: u32, status: u8, cause: CloseCause) -> Ending {
        let mut settled: Vec<Settled> =
            line.sent.take_before(identifier).into_iter().map(|(_, span)| with(span, Outcome::Accepted)).collect();
        self.isolation.settled(settled.iter().map(|settled| settled.span.len()).sum());
        let named = line.sent.take_before(identifier + 1);
        let is_late = named.is_empty();
        let is_alone = settled.is_empty() && line.sent.is_empty();
        for (_, row) in named {
            let outcome = self.verdict(status, &row, is_alone);
            settled.push(with(row, outcome));
        }
        // A presumed row is named only where every row on the wire came after it.
        drop(line.presumed.take_before(identifier));
        let mut revised = Vec::new();
        for (_, row) in line.presumed.take_before(identifier + 1) {
            let outcome = self.verdict(status, &row, false);
            revised.extend((outcome != Outcome::Accepted).then(|| with(row, outcome)));
        }
        revised.extend(line.presumed.into_spans().map(not_processed));
        settled.extend(line.sent.into_spans().chain(line.waiting).map(not_processed));
        Ending { closed: Closed { settled, revised, cause }, is_late }
    }

    /// What an error packet means for the row that it names.
    fn verdict(&mut self, status: u8, row: &Span, is_alone: bool) -> Outcome {
        let Some(reason) = Reason::from_binary_status(status) else { return Outcome::Accepted };
        match reason {
            Reason::MissingDeviceToken
            | Reason::MissingPayload
            | Reason::InvalidTokenSize
            | Reason::InvalidPayloadSize
            | Reason::InvalidToken => Outcome::Rejected(reason),
            // The certificate is at fault: all other rows would fail the same way.
            Reason::MissingTopic | Reason::InvalidTopicSize => Outcome::Retry(Retry::Refused(reason)),
            // Either this row or what came before it on the wire: it has to stand alone to be blamed.
            Reason::ProtocolError if is_alone || row.tries.unknown >= self.max_attempts => Outcome::Rejected(reason),
            Reason::ProtocolError => {
                self.isolation.start();
                Outcome::Retry(Retry::Unknown { alone: false })
            }
            Reason::ProcessingError
            | Reason::UnknownStatus(_)
            | Reason::ConnectionClosed
            | Reason::AttemptsExhausted
            | Reason::Expired
            | Reason::EnvironmentChanged
            | Reason::Deprovisioned
            | Reason::Apns(_)
            | Reason::Purged => Outcome::Retry(Retry::Transient { reason, after: None }),
        }
    }

    /// The sentinel's answer: everything before it was processed.
    fn end_accepted(&mut self, line: Line) -> Ending {
        self.isolation.settled(line.sent.rows());
        let accepted = line.sent.into_spans().map(|span| with(span, Outcome::Accepted));
        let settled = accepted.chain(line.waiting.into_iter().map(not_processed)).collect();
        Ending::new(settled, CloseCause::Retired { proven: true })
    }

    /// What was sent may have been processed or not. Where one of the rows may be the reason, they are isolated.
    fn end_unknown(&mut self, line: Line, is_suspect: bool, cause: CloseCause) -> Ending {
        let rows = line.sent.rows();
        if is_suspect && rows > 0 {
            self.isolation.start();
        }
        let alone = is_suspect && rows == 1;
        let mut settled: Vec<Settled> = line.sent.into_spans().map(|span| self.unknown(span, alone)).collect();
        settled.extend(line.waiting.into_iter().map(not_processed));
        Ending::new(settled, cause)
    }

    fn unknown(&self, span: Span, alone: bool) -> Settled {
        let outcome = if alone && span.tries.alone + 1 >= CLOSES_ALONE_MAX {
            Outcome::Rejected(Reason::ConnectionClosed)
        } else if span.tries.unknown >= self.max_attempts {
            Outcome::Rejected(Reason::AttemptsExhausted)
        } else {
            Outcome::Retry(Retry::Unknown { alone })
        };
        with(span, outcome)
    }
}

impl Line {
    /// Whether a packet is about the sentinel: it names it, or it is (status 2, id 0), which is how gateways with a
    /// known bug answer a zero-length token.
    fn is_answered_by(&self, packet: ErrorPacket) -> bool {
        match self.sentinel {
            Sentinel::None | Sentinel::Due(_) => false,
            Sentinel::Out(identifier, _) => {
                packet.identifier == identifier || (packet.identifier == 0 && packet.status == STATUS_MISSING_TOKEN)
            }
        }
    }

    /// The identifier of the row that a packet is about, sent or presumed. Identifier 0 can only mean the one row
    /// where there was no other.
    fn locate(&self, packet: ErrorPacket) -> Option<u32> {
        let identifier = match packet.identifier {
            0 if self.next == 2 => 1,
            identifier => identifier,
        };
        let is_defined = packet.status != 0;
        (is_defined && (1..self.next).contains(&identifier)).then_some(identifier)
    }
}

/// Nothing of it was processed.
fn end_unprocessed(line: Line, cause: CloseCause) -> Ending {
    let settled = line.sent.into_spans().chain(line.waiting).map(not_processed).collect();
    Ending::new(settled, cause)
}

fn with(span: Span, outcome: Outcome) -> Settled {
    Settled { span, outcome }
}

fn not_processed(span: Span) -> Settled {
    with(span, Outcome::Retry(Retry::NotProcessed))
}
