//! The last minutes as an inline SVG: a bar for each slot, delivered below and rejected on top. Pure.

use std::fmt::Write as _;

use super::history::{History, SLOT_SECS, SLOTS, Slot};
use super::words::rate;
use crate::clock::Instant;

/// Height of the drawing; its width is the number of slots.
const HEIGHT: f64 = 30.0;
/// Least height of a bar that stands for anything.
const BAR_MIN: f64 = 1.0;

/// Paths to draw, and the same in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chart {
    /// `d` of the bars of what was delivered.
    pub(super) delivered: String,
    /// `d` of the bars of what was rejected, on top of the former.
    pub(super) rejected: String,
    /// The rate at present: `12/s`.
    pub(super) rate: String,
    /// The highest rate: `120/s`.
    pub(super) peak: String,
    /// The chart in words.
    pub(super) words: String,
}

impl Chart {
    pub(super) fn new(history: &History, now: Instant) -> Self {
        let slots = history.slots(now);
        let highest = slots.iter().map(total).max().unwrap_or_default();
        let (mut delivered, mut rejected) = (String::new(), String::new());
        for (x, slot) in slots.iter().enumerate() {
            let below = height(slot.delivered.into(), highest);
            bar(&mut delivered, x, 0.0, below);
            bar(&mut rejected, x, below, height(slot.rejected.into(), highest));
        }
        // At present is a little more than a slot, and may be more than any whole one.
        let present = history.rate(now);
        let (now, peak) = (rate(present), rate(present.max(highest as f64 / SLOT_SECS as f64)));
        let sum = |part: fn(&Slot) -> u32| slots.iter().map(|slot| u64::from(part(slot))).sum::<u64>();
        let words = format!(
            "Last {} minutes: {} delivered, {} rejected; at most {peak}",
            SLOTS as u64 * SLOT_SECS / 60,
            sum(|slot| slot.delivered),
            sum(|slot| slot.rejected),
        );
        Self { delivered, rejected, rate: now, peak, words }
    }

    /// Whether there is nothing to draw.
    pub(super) fn is_empty(&self) -> bool {
        self.delivered.is_empty() && self.rejected.is_empty()
    }
}

fn total(slot: &Slot) -> u64 {
    u64::from(slot.delivered) + u64::from(slot.rejected)
}

fn height(count: u64, highest: u64) -> f64 {
    match count {
        0 => 0.0,
        count => (count as f64 / highest as f64 * HEIGHT).max(BAR_MIN),
    }
}

/// Appends a bar in column `x` that begins at a height.
fn bar(path: &mut String, x: usize, from: f64, height: f64) {
    if height > 0.0 {
        // Writing to a string cannot fail.
        let _ = write!(path, "M{x} {:.1}h.8v-{height:.1}h-.8z", HEIGHT - from);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::from_start(Duration::from_secs(secs))
    }

    #[test]
    fn the_highest_bar_fills_the_height_and_a_single_one_is_seen() {
        let mut history = History::new(at(0));
        history.add(at(600), 1, 0);
        history.add(at(605), 0, 0);
        history.add(at(610), 500, 500);
        let chart = Chart::new(&history, at(610));
        assert_eq!(chart.delivered, "M57 30.0h.8v-1.0h-.8zM59 30.0h.8v-15.0h-.8z");
        assert_eq!(chart.rejected, "M59 15.0h.8v-15.0h-.8z");
        assert_eq!(chart.words, "Last 5 minutes: 501 delivered, 500 rejected; at most 200/s");
        assert_eq!((chart.rate.as_str(), chart.peak.as_str()), ("100/s", "200/s"));
    }

    #[test]
    fn the_rate_at_present_is_never_above_the_peak() {
        let mut history = History::new(at(0));
        history.add(at(600), 100, 0);
        history.add(at(605), 100, 0);
        let chart = Chart::new(&history, at(605));
        assert_eq!((chart.rate.as_str(), chart.peak.as_str()), ("40/s", "40/s"));
    }

    #[test]
    fn nothing_is_an_empty_chart() {
        let chart = Chart::new(&History::new(at(0)), at(0));
        assert_eq!((chart.delivered.as_str(), chart.rejected.as_str(), chart.peak.as_str()), ("", "", "0/s"));
    }
}
