//! How many streams a connection may have open, and whether it still lives. Pure.

use std::time::Duration;

use crate::clock::Instant;

/// Most streams of a connection, whatever the peer allows: what one may hold in memory.
const STREAMS_MAX: u32 = 2000;
/// First wait after a refused stream where nothing succeeds; doubles with each further one.
const REFUSED_WAIT_FIRST: Duration = Duration::from_millis(10);
/// Longest such wait.
const REFUSED_WAIT_MAX: Duration = Duration::from_secs(5);

/// The limit of open streams that we keep by ourselves, below that of the peer.
#[derive(Debug)]
pub(super) struct Limit {
    /// Halved when a stream is refused, one more with each success.
    own: u32,
    /// Whether the first answer is to be waited for, because it may say that the provider token is not good.
    is_cautious: bool,
    refused_in_row: u32,
    not_before: Instant,
}

impl Limit {
    /// A limit that is 1 until something was answered, where the connection is `cautious`.
    pub(super) fn new(is_cautious: bool) -> Self {
        Self { own: STREAMS_MAX, is_cautious, refused_in_row: 0, not_before: Instant::default() }
    }

    /// How many streams may be opened now, given what the peer allows and how many are open.
    pub(super) fn free(&self, peer_max: usize, open: u32, now: Instant) -> u32 {
        if now < self.not_before {
            return 0;
        }
        self.max(peer_max).saturating_sub(open)
    }

    /// How many streams may be open when nothing was refused just now.
    pub(super) fn max(&self, peer_max: usize) -> u32 {
        let own = if self.is_cautious { 1 } else { self.own };
        u32::try_from(peer_max).unwrap_or(u32::MAX).min(own)
    }

    /// Until when nothing is to be opened.
    pub(super) fn not_before(&self, now: Instant) -> Option<Instant> {
        (now < self.not_before).then_some(self.not_before)
    }

    /// An answer showed that the provider token is good.
    pub(super) fn proven(&mut self) {
        self.is_cautious = false;
    }

    /// A notification was delivered.
    pub(super) fn delivered(&mut self) {
        self.refused_in_row = 0;
        self.own = (self.own + 1).min(STREAMS_MAX);
    }

    /// The peer refused a stream; `open` are left. Those that were opened together count as one.
    pub(super) fn refused(&mut self, open: u32, now: Instant) {
        if now < self.not_before {
            return;
        }
        self.own = (open / 2).clamp(1, self.own);
        let wait = REFUSED_WAIT_FIRST.saturating_mul(1 << self.refused_in_row.min(16)).min(REFUSED_WAIT_MAX);
        self.refused_in_row += 1;
        self.not_before = now + wait;
    }
}

/// How long a connection may be silent while requests wait for an answer, before it is asked whether it lives.
const BUSY_SILENCE: Duration = Duration::from_secs(15);
/// How long while nothing is asked of it.
const IDLE_SILENCE: Duration = Duration::from_secs(60);
/// How long a PING may stay without an answer.
const PONG_PATIENCE: Duration = Duration::from_secs(15);

/// Whether the peer lives, by what was read: what is written may go nowhere.
#[derive(Debug)]
pub(super) struct Pulse {
    last_read: Instant,
    asked_at: Option<Instant>,
}

/// What to do about a silent peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vital {
    /// Nothing.
    Alive,
    /// Send a PING.
    Ask,
    /// Give it up.
    Dead,
}

impl Pulse {
    /// A peer that was just heard of.
    pub(super) fn new(now: Instant) -> Self {
        Self { last_read: now, asked_at: None }
    }

    /// Bytes have been read.
    pub(super) fn read(&mut self, now: Instant) {
        self.last_read = now;
    }

    /// The PING was answered.
    pub(super) fn answered(&mut self) {
        self.asked_at = None;
    }

    /// A PING was sent.
    pub(super) fn asked(&mut self, now: Instant) {
        self.asked_at = Some(now);
    }

    /// When to look at it next.
    pub(super) fn deadline(&self, is_busy: bool) -> Instant {
        match self.asked_at {
            Some(asked_at) => asked_at + PONG_PATIENCE,
            None => self.last_read + if is_busy { BUSY_SILENCE } else { IDLE_SILENCE },
        }
    }

    /// What to do now.
    pub(super) fn vital(&self, is_busy: bool, now: Instant) -> Vital {
        match self.asked_at {
            _ if now < self.deadline(is_busy) => Vital::Alive,
            Some(_) => Vital::Dead,
            None => Vital::Ask,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn as_many_streams_are_opened_as_the_peer_allows_now() {
        let limit = Limit::new(false);
        assert_eq!(limit.free(1000, 0, at(0)), 1000);
        assert_eq!(limit.free(1000, 999, at(0)), 1);
        assert_eq!(limit.free(1, 500, at(0)), 0);
        assert_eq!(limit.free(0, 0, at(0)), 0);
        assert_eq!(limit.free(usize::MAX, 0, at(0)), 2000);
    }

    #[test]
    fn one_stream_is_opened_until_the_provider_token_is_proven() {
        let mut limit = Limit::new(true);
        assert_eq!((limit.free(1000, 0, at(0)), limit.free(1000, 1, at(0)), limit.free(0, 0, at(0))), (1, 0, 0));
        limit.proven();
        assert_eq!(limit.free(1000, 1, at(0)), 999);
    }

    #[test]
    fn refused_streams_halve_the_limit_and_successes_restore_it() {
        let mut limit = Limit::new(false);
        limit.refused(100, at(0));
        limit.refused(99, at(0));
        assert_eq!(limit.free(1000, 0, at(9)), 0);
        assert_eq!(limit.not_before(at(9)), Some(at(10)));
        assert_eq!(limit.free(1000, 0, at(10)), 50);
        (0..10).for_each(|_| limit.delivered());
        assert_eq!(limit.free(1000, 0, at(10)), 60);
    }

    #[test]
    fn where_everything_is_refused_the_waits_grow_to_five_seconds() {
        let mut limit = Limit::new(false);
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..12 {
            limit.refused(0, now);
            let until = limit.not_before(now).unwrap();
            waits.push(until.since(now).as_millis());
            now = until;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000, 5000]);
        assert_eq!(limit.free(1000, 0, now), 1);
    }

    #[test]
    fn a_silent_peer_is_asked_once_and_given_up_when_it_stays_silent() {
        let mut pulse = Pulse::new(at(0));
        assert_eq!(pulse.vital(true, at(14_999)), Vital::Alive);
        assert_eq!(pulse.vital(true, at(15_000)), Vital::Ask);
        assert_eq!(pulse.vital(false, at(59_999)), Vital::Alive);
        assert_eq!(pulse.vital(false, at(60_000)), Vital::Ask);
        pulse.asked(at(60_000));
        assert_eq!(pulse.deadline(false), at(75_000));
        assert_eq!(pulse.vital(false, at(75_000)), Vital::Dead);
        pulse.read(at(61_000));
        pulse.answered();
        assert_eq!(pulse.deadline(false), at(121_000));
        pulse.read(at(100_000));
        assert_eq!(pulse.deadline(false), at(160_000));
    }

    proptest! {
        #[test]
        fn never_more_than_the_peer_allows_and_sooner_or_later_something(
            events in proptest::collection::vec((0..3_u8, 0..2000_u32, 0..10_000_u64), 0..50),
            peer_max in 0..3000_usize,
            open in 0..3000_u32,
        ) {
            let mut limit = Limit::new(true);
            let mut now = at(0);
            for (event, open, millis) in events {
                now = now + Duration::from_millis(millis);
                match event {
                    0 => limit.proven(),
                    1 => limit.delivered(),
                    _ => limit.refused(open, now),
                }
            }
            prop_assert!(u64::from(limit.free(peer_max, open, now)) + u64::from(open) <= (peer_max as u64).max(open.into()));
            prop_assert!(peer_max == 0 || limit.free(peer_max, 0, now + REFUSED_WAIT_MAX) > 0);
        }
    }
}
