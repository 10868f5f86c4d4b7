//! A histogram that takes a whole range of rows at once.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often values fell between bounds, and their sum. Many may observe at the same time.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is beyond the last.
    buckets: Box<[AtomicU64]>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

/// A histogram at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Upper bounds, the last of them infinite, each with how many values lie below it and above the one before.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all values.
    pub sum: f64,
}

impl Observed {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

impl Histogram {
    /// A histogram with these upper bounds, which are finite and grow.
    pub fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0_f64.to_bits()) }
    }

    /// Enters a value as often as it occurred.
    pub fn observe(&self, value: f64, times: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(times, Ordering::Relaxed);
        }
        let add = |sum: u64| Some((f64::from_bits(sum) + value * times as f64).to_bits());
        // It always has a next value, so that this cannot fail.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// What was observed until now.
    pub fn observed(&self) -> Observed {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        Observed { buckets: bounds.zip(counts).collect(), sum: f64::from_bits(self.sum.load(Ordering::Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_below_its_bound_as_often_as_it_occurred() {
        let histogram = Histogram::new(&[0.5, 1.0]);
        histogram.observe(0.5, 1000);
        histogram.observe(0.75, 2);
        histogram.observe(4.0, 1);
        let observed = histogram.observed();
        assert_eq!(observed.buckets, [(0.5, 1000), (1.0, 2), (f64::INFINITY, 1)]);
        assert_eq!((observed.sum, observed.count()), (505.5, 1003));
    }
}
