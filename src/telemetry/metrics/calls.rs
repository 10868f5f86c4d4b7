//! Calls by method and by how they ended.

use super::tally::Tally;

/// How often each method was called, and with which faults.
#[derive(Debug)]
pub struct Calls {
    methods: Vec<(&'static str, Tally)>,
}

impl Calls {
    /// Calls of these methods, which end with one of `faults`. A method that is not among them is counted as the last
    /// one, and a fault likewise.
    pub fn new(methods: impl IntoIterator<Item = &'static str>, faults: &'static [&'static str]) -> Self {
        Self { methods: methods.into_iter().map(|method| (method, Tally::new(faults))).collect() }
    }

    /// Counts a call.
    pub fn add(&self, method: &str, fault: &str) {
        let known = self.methods.iter().find(|(known, _)| *known == method);
        if let Some((_, faults)) = known.or(self.methods.last()) {
            faults.add(fault);
        }
    }

    /// Each method with each fault, and how often that was.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let of_method = |(method, faults): &(&'static str, Tally)| {
            let method = *method;
            faults.counts().map(|(fault, count)| (method, fault, count)).collect::<Vec<_>>()
        };
        self.methods.iter().flat_map(of_method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_for_its_method_and_fault() {
        let calls = Calls::new(["notify", "unknown"], &["none", "404"]);
        for (method, fault) in [("notify", "none"), ("notify", "none"), ("notify", "404"), ("made.up", "404")] {
            calls.add(method, fault);
        }
        let expected = [("notify", "none", 2), ("notify", "404", 1), ("unknown", "none", 0), ("unknown", "404", 1)];
        assert_eq!(calls.counts().collect::<Vec<_>>(), expected);
    }
}
