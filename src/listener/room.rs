//! Room for newcomers: which connection gives way when as many are open as there may be.
//!
//! A connection says when it could go and why; whoever needs room asks, and the first in line is told. First come those
//! between two requests, then those that have been slow for a while: with a TLS handshake, a head, a body, or with taking
//! an answer, and those whose request waits for its turn. Of equals, whoever has been so for longest. A request that was
//! begun is never given up.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// How long a connection may take for a step before it counts as slow; and how often that is looked at.
pub(super) const SLOW_AFTER: Duration = Duration::from_secs(1);
/// A body that brings fewer bytes in [`SLOW_AFTER`] is slow.
pub(super) const SLOW_BYTES: u64 = 16 * 1024;
/// When somebody was told to go and nobody went, another one is told.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Why a connection could go. The first of them go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lull {
    /// It is between two requests.
    Idle,
    /// It waits for a peer that is slow, or for its turn.
    Slow,
}

/// The connections that could go. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Room(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    line: Mutex<Line>,
    /// Somebody has come into the line.
    longer: Notify,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    willing: BTreeMap<(Lull, u64), Arc<Notify>>,
}

impl Room {
    /// A place for a connection that has just begun.
    pub(super) fn place(&self) -> Place {
        Place { room: self.clone(), told: Arc::default(), standing: None }
    }

    /// Tells the first in line to go. Whether there was one.
    pub(super) fn ask(&self) -> bool {
        match self.line().willing.pop_first() {
            Some((_, told)) => {
                told.notify_one();
                true
            }
            None => false,
        }
    }

    /// Has connections go, one after the other, until what is waited for has come.
    pub(super) async fn ask_until<T>(&self, turn: impl Future<Output = T>) -> T {
        let mut turn = pin!(turn);
        loop {
            let mut longer = pin!(self.0.longer.notified());
            longer.as_mut().enable();
            let told = self.ask();
            tokio::select! {
                biased;
                turn = &mut turn => return turn,
                () = longer, if !told => (),
                () = tokio::time::sleep(ASK_AGAIN), if told => (),
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place.
#[derive(Debug)]
pub(super) struct Place {
    room: Room,
    told: Arc<Notify>,
    standing: Option<(Lull, u64)>,
}

impl Place {
    /// Whether it could go, and why. Keeps its place in the line where that is as before.
    pub(super) fn could_go(&mut self, lull: Option<Lull>) {
        if self.standing.map(|(lull, _)| lull) == lull {
            return;
        }
        let mut line = self.room.line();
        if let Some(standing) = self.standing.take() {
            line.willing.remove(&standing);
        }
        if let Some(lull) = lull {
            let standing = (lull, line.next);
            line.next += 1;
            line.willing.insert(standing, Arc::clone(&self.told));
            self.standing = Some(standing);
            drop(line);
            self.room.0.longer.notify_waiters();
        }
    }

    /// Resolves when it is told to go, be it that this was before it could not any more.
    pub(super) async fn told(&self) {
        self.told.notified().await;
    }

    /// Whether it stands in line, or did when it was told to go.
    pub(super) fn stands(&self) -> bool {
        self.standing.is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.could_go(None);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_told(place: &Place) -> bool {
        place.told().now_or_never().is_some()
    }

    #[test]
    fn the_idle_go_before_the_slow_and_those_who_are_so_for_longest_first() {
        let room = Room::default();
        let mut places = [room.place(), room.place(), room.place(), room.place()];
        for (place, lull) in places.iter_mut().zip([Lull::Slow, Lull::Idle, Lull::Slow, Lull::Idle]) {
            place.could_go(Some(lull));
        }
        places[1].could_go(Some(Lull::Idle));
        for first in [1, 3, 0, 2] {
            assert!(room.ask());
            let told: Vec<usize> = (0..4).filter(|&at| is_told(&places[at])).collect();
            assert_eq!(told, [first]);
        }
        assert!(!room.ask());
    }

    #[test]
    fn who_cannot_go_any_more_or_is_gone_is_not_told() {
        let room = Room::default();
        let (mut busy, mut gone) = (room.place(), room.place());
        busy.could_go(Some(Lull::Idle));
        busy.could_go(None);
        gone.could_go(Some(Lull::Slow));
        drop(gone);
        assert!(!room.ask());
        assert!(!is_told(&busy));
    }

    #[tokio::test(start_paused = true)]
    async fn who_needs_room_asks_until_there_is_some() {
        let room = Room::default();
        let (mut deaf, mut late) = (room.place(), room.place());
        deaf.could_go(Some(Lull::Idle));
        let comes = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            late.could_go(Some(Lull::Slow));
            late.told().await;
        };
        let (turn, free) = tokio::sync::oneshot::channel();
        let all = futures_util::future::join(room.ask_until(free), async {
            comes.await;
            turn.send("free").unwrap();
        });
        let (got, ()) = tokio::time::timeout(Duration::from_secs(3600), all).await.unwrap();
        assert_eq!(got, Ok("free"));
    }
}
