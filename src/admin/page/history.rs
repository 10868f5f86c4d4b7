//! What an app delivered in the last minutes, in slots of a few seconds. Pure.

use std::time::Duration;

use crate::clock::Instant;

/// Slots that are kept, the one that is being filled among them.
pub(super) const SLOTS: usize = 60;
/// Length of a slot, in seconds.
pub(super) const SLOT_SECS: u64 = 5;

/// Outcomes of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) delivered: u32,
    pub(super) rejected: u32,
}

/// The last [`SLOTS`] slots.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// By the slot's number modulo [`SLOTS`].
    slots: [Slot; SLOTS],
    /// Number of the newest slot since the clock's start.
    newest: u64,
}

impl History {
    /// One in which nothing happened before a moment.
    pub(super) fn new(now: Instant) -> Self {
        Self { slots: [Slot::default(); SLOTS], newest: slot_at(now) }
    }

    /// Adds outcomes to the slot of a moment.
    pub(super) fn add(&mut self, now: Instant, delivered: u64, rejected: u64) {
        self.move_to(now);
        let slot = &mut self.slots[index(self.newest)];
        slot.delivered = sum(slot.delivered, delivered);
        slot.rejected = sum(slot.rejected, rejected);
    }

    /// Adds another one, slot by slot, as both are at a moment.
    pub(super) fn merge(&mut self, other: &Self, now: Instant) {
        self.move_to(now);
        let theirs = other.slots(now);
        for (number, slot) in (self.newest + 1..).zip(theirs) {
            // The oldest slot is behind the newest one in the ring.
            let mine = &mut self.slots[index(number)];
            mine.delivered = sum(mine.delivered, slot.delivered.into());
            mine.rejected = sum(mine.rejected, slot.rejected.into());
        }
    }

    /// All slots up to a moment, oldest first.
    pub(super) fn slots(&self, now: Instant) -> [Slot; SLOTS] {
        let mut slots = [Slot::default(); SLOTS];
        let passed = slot_at(now).saturating_sub(self.newest);
        let passed = usize::try_from(passed).unwrap_or(SLOTS).min(SLOTS);
        for (slot, number) in slots.iter_mut().zip(self.newest + 1 + passed as u64..).take(SLOTS - passed) {
            *slot = self.slots[index(number)];
        }
        slots
    }

    /// Notifications delivered per second, over the last slot and the one that is being filled.
    pub(super) fn rate(&self, now: Instant) -> f64 {
        let slots = self.slots(now);
        let delivered = u64::from(slots[SLOTS - 1].delivered) + u64::from(slots[SLOTS - 2].delivered);
        let filled = now.since(Instant::from_start(Duration::from_secs(slot_at(now) * SLOT_SECS)));
        delivered as f64 / (SLOT_SECS as f64 + filled.as_secs_f64())
    }

    fn move_to(&mut self, now: Instant) {
        let slot = slot_at(now);
        let passed = slot.saturating_sub(self.newest).min(SLOTS as u64);
        (0..passed).for_each(|back| self.slots[index(slot - back)] = Slot::default());
        self.newest = self.newest.max(slot);
    }
}

fn slot_at(now: Instant) -> u64 {
    now.since(Instant::default()).as_secs() / SLOT_SECS
}

fn index(number: u64) -> usize {
    usize::try_from(number % SLOTS as u64).unwrap_or_default()
}

fn sum(slot: u32, more: u64) -> u32 {
    slot.saturating_add(u32::try_from(more).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::from_start(Duration::from_secs(secs))
    }

    fn delivered(history: &History, now: u64) -> Vec<u32> {
        history.slots(at(now)).iter().map(|slot| slot.delivered).collect()
    }

    #[test]
    fn outcomes_are_in_the_slot_in_which_they_came_and_move_back_with_time() {
        let mut history = History::new(at(1000));
        history.add(at(1000), 3, 1);
        history.add(at(1004), 4, 0);
        history.add(at(1012), 5, 0);
        assert_eq!(delivered(&history, 1012)[57..], [7, 0, 5]);
        assert_eq!(history.slots(at(1012))[57].rejected, 1);
        assert_eq!(delivered(&history, 1015)[56..], [7, 0, 5, 0]);
        assert_eq!(delivered(&history, 1000 + 59 * 5)[..3], [7, 0, 5]);
        assert_eq!(delivered(&history, 1000 + 60 * 5)[..2], [0, 5]);
        assert_eq!(delivered(&history, 9000), [0; 60]);
    }

    #[test]
    fn a_pause_of_any_length_is_empty_slots() {
        let mut history = History::new(at(0));
        history.add(at(0), 3, 0);
        history.add(at(299), 4, 0);
        assert_eq!((delivered(&history, 299)[0], delivered(&history, 299)[59]), (3, 4));
        history.add(at(100_000), 9, 0);
        assert_eq!(delivered(&history, 100_000)[58..], [0, 9]);
        assert_eq!(delivered(&history, 100_000).iter().sum::<u32>(), 9);
    }

    #[test]
    fn the_rate_is_that_of_five_to_ten_seconds() {
        let mut history = History::new(at(0));
        history.add(at(100), 50, 0);
        assert_eq!(history.rate(at(100)), 10.0);
        history.add(at(105), 40, 7);
        assert_eq!(history.rate(at(105)), 18.0);
        assert_eq!(history.rate(at(109)), 10.0);
        assert_eq!(history.rate(at(110)), 8.0);
        assert_eq!(history.rate(at(115)), 0.0);
    }

    #[test]
    fn merged_histories_add_up_slot_by_slot() {
        let (mut one, mut other) = (History::new(at(1000)), History::new(at(1000)));
        one.add(at(1000), 3, 1);
        other.add(at(1000), 4, 1);
        other.add(at(1005), 5, 0);
        one.merge(&other, at(1010));
        assert_eq!(delivered(&one, 1010)[57..], [7, 5, 0]);
        assert_eq!(one.slots(at(1010))[57].rejected, 2);
    }
}
