//! Which rows of a batch are settled: one bit a row.

use std::ops::Range;

/// A bitmap of settled rows, lowest bit first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    bits: Vec<u8>,
    rows: u32,
    left: u32,
}

impl Progress {
    /// Nothing settled yet.
    pub(super) fn new(rows: u32) -> Self {
        Self { bits: vec![0; rows.div_ceil(8) as usize], rows, left: rows }
    }

    /// As stored; `None` when the bitmap is not one of so many rows.
    pub(super) fn from_bits(bits: Vec<u8>, rows: u32) -> Option<Self> {
        let settled: u32 = bits.iter().map(|byte| byte.count_ones()).sum();
        let spare_bits_are_zero = rows.is_multiple_of(8) || bits.last().is_some_and(|last| last >> (rows % 8) == 0);
        let fits = bits.len() == rows.div_ceil(8) as usize && spare_bits_are_zero;
        fits.then(|| Self { bits, rows, left: rows.saturating_sub(settled) })
    }

    /// As stored, or nothing settled where nothing is.
    pub(super) fn of(bits: Option<Vec<u8>>, rows: u32) -> Option<Self> {
        bits.map_or_else(|| Some(Self::new(rows)), |bits| Self::from_bits(bits, rows))
    }

    /// What is to be stored.
    pub(super) fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// Rows that are settled.
    pub(super) fn settled(&self) -> u32 {
        self.rows - self.left
    }

    /// Rows that are not settled.
    pub(super) fn left(&self) -> u32 {
        self.left
    }

    /// Settles rows; those that do not exist, or were settled before, change nothing.
    pub(super) fn settle(&mut self, rows: Range<u32>) {
        for row in rows.start..rows.end.min(self.rows) {
            let (byte, bit) = (&mut self.bits[row as usize / 8], 1 << (row % 8));
            self.left -= u32::from(*byte & bit == 0);
            *byte |= bit;
        }
    }

    /// The ranges of rows that are not settled, in order.
    pub(super) fn unsettled(&self) -> Vec<Range<u32>> {
        if self.left == self.rows {
            return std::iter::once(0..self.rows).collect();
        }
        let mut ranges: Vec<Range<u32>> = Vec::new();
        for row in (0..self.rows).filter(|row| self.bits[*row as usize / 8] & (1 << (row % 8)) == 0) {
            match ranges.last_mut() {
                Some(last) if last.end == row => last.end = row + 1,
                _ => ranges.push(row..row + 1),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_settled_once_whatever_is_said_of_them() {
        let mut progress = Progress::new(10);
        progress.settle(3..5);
        progress.settle(4..6);
        progress.settle(9..70);
        assert_eq!(progress.left(), 6);
        assert_eq!(progress.unsettled(), [0..3, 6..9]);
        assert_eq!(progress.bits(), [0b0011_1000, 0b10]);
        assert_eq!(Progress::from_bits(vec![0b0011_1000, 0b10], 10), Some(progress));
    }

    #[test]
    fn a_bitmap_of_another_length_is_refused() {
        assert_eq!(Progress::from_bits(vec![0; 2], 8), None);
        assert_eq!(Progress::from_bits(vec![0x80], 7), None);
    }
}
