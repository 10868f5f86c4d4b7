//! The error packet as it goes over the wire, with the faults that it can have. Pure.

use std::time::Duration;

use super::fault::{ErrorFault, WrongIdentifier};
use crate::gateway::binary::frame::ErrorPacket;

const GARBAGE: u8 = 0xa5;

/// What is wrong with error packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::simulator) struct AnswerFaults {
    pub(in crate::simulator) identifier: Option<WrongIdentifier>,
    split: Vec<u8>,
    pause: Duration,
    cut: Option<u8>,
    trailing: u8,
    twice: bool,
    command: Option<u8>,
    status: Option<u8>,
}

impl AnswerFaults {
    /// Takes over one more.
    pub(in crate::simulator) fn shape(&mut self, fault: &ErrorFault) {
        match fault {
            ErrorFault::Delay(_) | ErrorFault::Then(_) => (),
            ErrorFault::Split { sizes, pause_ms } => {
                self.split.clone_from(sizes);
                self.pause = Duration::from_millis(*pause_ms);
            }
            ErrorFault::Cut(bytes) => self.cut = Some(*bytes),
            ErrorFault::Trailing(bytes) => self.trailing = *bytes,
            ErrorFault::Twice => self.twice = true,
            ErrorFault::Command(command) => self.command = Some(*command),
            ErrorFault::Status(status) => self.status = Some(*status),
            ErrorFault::Identifier(wrong) => self.identifier = Some(*wrong),
        }
    }
}

/// An error packet, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulator) struct Answer {
    /// Written and flushed one by one, none of them empty.
    pub(in crate::simulator) parts: Vec<Vec<u8>>,
    /// Between two parts.
    pub(in crate::simulator) pause: Duration,
}

impl Answer {
    /// The packet for a status and identifier, with these faults.
    pub(in crate::simulator) fn new(status: u8, identifier: u32, faults: &AnswerFaults) -> Self {
        let mut packet = ErrorPacket { status: faults.status.unwrap_or(status), identifier }.encode();
        packet[0] = faults.command.unwrap_or(packet[0]);
        let mut bytes = packet.to_vec();
        if faults.twice {
            bytes.extend(packet);
        }
        bytes.extend(std::iter::repeat_n(GARBAGE, usize::from(faults.trailing)));
        bytes.truncate(faults.cut.map_or(usize::MAX, usize::from));
        Self { parts: split(&bytes, &faults.split), pause: faults.pause }
    }
}

fn split(mut bytes: &[u8], sizes: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    for size in sizes {
        let (part, rest) = bytes.split_at(usize::from(*size).min(bytes.len()));
        parts.push(part.to_vec());
        bytes = rest;
    }
    parts.push(bytes.to_vec());
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(faults: &[ErrorFault]) -> Vec<Vec<u8>> {
        let mut all = AnswerFaults::default();
        faults.iter().for_each(|fault| all.shape(fault));
        Answer::new(8, 0x0102_0304, &all).parts
    }

    fn split_at(sizes: &[u8]) -> ErrorFault {
        ErrorFault::Split { sizes: sizes.to_vec(), pause_ms: 5 }
    }

    #[test]
    fn a_packet_without_faults_is_six_bytes_in_one_part() {
        assert_eq!(parts(&[]), [[8, 8, 1, 2, 3, 4]]);
    }

    #[test]
    fn a_packet_is_split_where_it_was_said() {
        assert_eq!(parts(&[split_at(&[1])]), [vec![8], vec![8, 1, 2, 3, 4]]);
        assert_eq!(parts(&[split_at(&[3, 3])]), [vec![8, 8, 1], vec![2, 3, 4]]);
        assert_eq!(parts(&[split_at(&[0, 9])]), [vec![8, 8, 1, 2, 3, 4]]);
    }

    #[test]
    fn a_packet_is_disfigured_in_every_way() {
        assert_eq!(parts(&[ErrorFault::Trailing(2)]), [[8, 8, 1, 2, 3, 4, 0xa5, 0xa5]]);
        assert_eq!(parts(&[ErrorFault::Twice]), [[8, 8, 1, 2, 3, 4, 8, 8, 1, 2, 3, 4]]);
        assert_eq!(parts(&[ErrorFault::Command(7)]), [[7, 8, 1, 2, 3, 4]]);
        assert_eq!(parts(&[ErrorFault::Status(254)]), [[8, 254, 1, 2, 3, 4]]);
        assert_eq!(parts(&[ErrorFault::Cut(4)]), [[8, 8, 1, 2]]);
        assert_eq!(parts(&[ErrorFault::Cut(0)]), Vec::<Vec<u8>>::new());
    }
}
