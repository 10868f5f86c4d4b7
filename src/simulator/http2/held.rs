//! Answers that wait for their moment. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::session::Response;
use crate::clock::Instant;

/// How long a group that is to be reversed waits for more.
const GROUP_MAX: Duration = Duration::from_millis(100);

/// Answers, by the stream that they are for.
#[derive(Debug, Default)]
pub(super) struct Held {
    timed: BTreeMap<(Instant, u32), Response>,
    counted: Vec<(u32, u32, Response)>,
    group: Vec<(u32, Response)>,
    group_due: Option<Instant>,
}

impl Held {
    /// Until this moment.
    pub(super) fn until(&mut self, at: Instant, stream: u32, response: Response) {
        self.timed.insert((at, stream), response);
    }

    /// Until so many further requests have arrived, at least 1.
    pub(super) fn further(&mut self, requests: u32, stream: u32, response: Response) {
        // The request of this answer is counted next.
        self.counted.push((requests.saturating_add(1), stream, response));
    }

    /// Until there are so many in the group; the whole group in reverse order once there are.
    pub(super) fn reversed(&mut self, count: u32, stream: u32, response: Response, now: Instant) {
        self.group.push((stream, response));
        let full = u32::try_from(self.group.len()).is_ok_and(|length| length >= count);
        let due = if full { now } else { now + GROUP_MAX };
        self.group_due = Some(self.group_due.map_or(due, |earlier| earlier.min(due)));
    }

    /// A request arrived and was judged.
    pub(super) fn count_request(&mut self) {
        self.counted.iter_mut().for_each(|(left, ..)| *left = left.saturating_sub(1));
    }

    /// The answers whose moment has come, in the order in which they are given.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(u32, Response)> {
        let mut due: Vec<_> = self.counted.extract_if(.., |(left, ..)| *left == 0).map(|(_, s, r)| (s, r)).collect();
        let timed = self.timed.extract_if(..=(now, u32::MAX), |_, _| true);
        due.extend(timed.map(|((_, stream), response)| (stream, response)));
        if self.group_due.is_some_and(|at| at <= now) {
            self.group_due = None;
            due.extend(self.group.drain(..).rev());
        }
        due
    }

    /// When the next one's moment comes by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let timed = self.timed.first_key_value().map(|((at, _), _)| *at);
        timed.into_iter().chain(self.group_due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_start(Duration::from_millis(ms))
    }

    fn streams(held: &mut Held, ms: u64) -> Vec<u32> {
        held.due(at(ms)).into_iter().map(|(stream, _)| stream).collect()
    }

    #[test]
    fn answers_come_when_their_time_has_come() {
        let mut held = Held::default();
        held.until(at(20), 1, Response::new(200));
        held.until(at(10), 3, Response::new(200));
        assert_eq!((held.deadline(), streams(&mut held, 9)), (Some(at(10)), vec![]));
        assert_eq!((streams(&mut held, 20), held.deadline()), (vec![3, 1], None));
    }

    #[test]
    fn a_group_is_reversed_when_it_is_full_or_late() {
        let mut held = Held::default();
        (1..=3).for_each(|stream| held.reversed(3, stream, Response::new(200), at(0)));
        assert_eq!(streams(&mut held, 0), [3, 2, 1]);
        held.reversed(3, 5, Response::new(200), at(10));
        held.reversed(3, 7, Response::new(200), at(50));
        assert_eq!((streams(&mut held, 109), held.deadline()), (vec![], Some(at(110))));
        assert_eq!(streams(&mut held, 110), [7, 5]);
    }

    #[test]
    fn an_answer_waits_for_further_requests() {
        let mut held = Held::default();
        held.further(2, 1, Response::new(200));
        held.count_request();
        held.count_request();
        assert!(streams(&mut held, 0).is_empty());
        held.count_request();
        assert_eq!(streams(&mut held, 0), [1]);
    }
}
