//! Memory for the bodies of large calls. It is taken as they arrive, so that whoever announces much and sends little
//! holds little.
//!
//! A body gets more only if all that were begun could then still be read to their end, one after the other, with what
//! each announced (the banker's algorithm): no two of them ever wait for each other. Of what there is, one user may have
//! half. Callers without a name have no such share: they are those of a daemon without users, or of a Unix socket.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::threads::Whose;

/// The memory. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Some came free.
    freed: Notify,
}

#[derive(Clone, Debug)]
struct State {
    free: usize,
    /// Most for one user.
    share: usize,
    /// What each user has.
    used: HashMap<Whose, usize>,
    next: u64,
    bodies: BTreeMap<u64, Account>,
}

#[derive(Clone, Debug)]
struct Account {
    whose: Whose,
    held: usize,
    /// What it may come to.
    most: usize,
}

/// What one body has.
#[derive(Debug)]
pub(super) struct Held {
    memory: Memory,
    id: u64,
}

impl Memory {
    /// So many bytes in all. `body_max`: the most that one body ever takes, which one user may always have.
    pub(super) fn new(bytes: usize, body_max: usize) -> Self {
        let (free, share) = (bytes.max(body_max), (bytes / 2).max(body_max));
        let state = State { free, share, used: HashMap::new(), next: 0, bodies: BTreeMap::new() };
        Self(Arc::new(Inner { state: Mutex::new(state), freed: Notify::new() }))
    }

    /// An account for a body that may come to so many bytes; it holds none yet.
    pub(super) fn open(&self, whose: Whose, most: usize) -> Held {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.bodies.insert(id, Account { whose, held: 0, most });
        Held { memory: self.clone(), id }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Has so many bytes, at once. Whether it could.
    pub(super) fn try_grow(&self, bytes: usize) -> bool {
        self.memory.lock().grow(self.id, bytes)
    }

    /// Waits until it has so many bytes.
    pub(super) async fn grow(&self, bytes: usize) {
        loop {
            let mut freed = pin!(self.memory.0.freed.notified());
            freed.as_mut().enable();
            if self.try_grow(bytes) {
                return;
            }
            freed.await;
        }
    }

    /// Has so many bytes, which are fewer than before, and will not need more.
    pub(super) fn shrink(&self, bytes: usize) {
        self.memory.lock().settle(self.id, bytes);
        self.memory.0.freed.notify_waiters();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.memory.lock();
        state.settle(self.id, 0);
        state.bodies.remove(&self.id);
        drop(state);
        self.memory.0.freed.notify_waiters();
    }
}

impl State {
    fn grow(&mut self, id: u64, bytes: usize) -> bool {
        let Some(account) = self.bodies.get(&id).cloned() else { return false };
        let more = bytes.saturating_sub(account.held);
        if more == 0 {
            return true;
        }
        let most = account.most.max(bytes);
        if !self.allows(&account.whose, more) {
            return false;
        }
        // Who could be read to the end now leaves the others where they were.
        let ends = self.allows(&account.whose, most - account.held);
        let grown = Account { held: account.held + more, most, ..account };
        if !ends && !self.with(id, grown.clone()).all_can_end() {
            return false;
        }
        self.put(id, grown);
        true
    }

    fn settle(&mut self, id: u64, bytes: usize) {
        if let Some(account) = self.bodies.get(&id).cloned() {
            self.put(id, Account { held: bytes.min(account.held), most: bytes.min(account.held), ..account });
        }
    }

    /// Whether a user may have so much more.
    fn allows(&self, whose: &Whose, more: usize) -> bool {
        let used = self.used.get(whose).copied().unwrap_or(0);
        more <= self.free && (whose.is_none() || more <= self.share.saturating_sub(used))
    }

    fn with(&self, id: u64, account: Account) -> Self {
        let mut state = self.clone();
        state.put(id, account);
        state
    }

    fn put(&mut self, id: u64, account: Account) {
        let before = self.bodies.get(&id).map_or(0, |account| account.held);
        self.free = self.free + before - account.held;
        let used = self.used.entry(account.whose.clone()).or_default();
        *used = *used + account.held - before;
        if *used == 0 {
            self.used.remove(&account.whose);
        }
        self.bodies.insert(id, account);
    }

    /// Whether all bodies can be read to their end, in some order.
    fn all_can_end(mut self) -> bool {
        let mut left: Vec<Account> = std::mem::take(&mut self.bodies).into_values().collect();
        left.sort_by_key(|account| account.most - account.held);
        loop {
            let before = left.len();
            left.retain(|account| {
                let ends = self.allows(&account.whose, account.most - account.held);
                if ends {
                    self.free += account.held;
                    if let Some(used) = self.used.get_mut(&account.whose) {
                        *used -= account.held;
                    }
                }
                !ends
            });
            if left.is_empty() || left.len() == before {
                return left.is_empty();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn user(name: &str) -> Whose {
        Some(name.into())
    }

    #[test]
    fn who_announces_much_and_sends_little_holds_little() {
        let memory = Memory::new(100, 60);
        let greedy: Vec<Held> = (0..40).map(|_| memory.open(None, 60)).collect();
        assert!(greedy.iter().all(|held| held.try_grow(1)));
        let good = memory.open(None, 60);
        assert!(good.try_grow(60));
        assert_eq!(memory.lock().free, 0);
        drop((good, greedy));
        let state = memory.lock();
        assert_eq!((state.free, state.used.len(), state.bodies.len()), (100, 0, 0));
    }

    #[test]
    fn two_that_are_half_read_never_wait_for_each_other() {
        let memory = Memory::new(100, 80);
        let (first, second) = (memory.open(None, 80), memory.open(None, 80));
        assert!(first.try_grow(30) && second.try_grow(20));
        assert!(!second.try_grow(30), "neither could be read to its end");
        assert!(first.try_grow(80));
        assert!(!second.try_grow(21));
        let small = memory.open(None, 10);
        assert!(!small.try_grow(1), "there is none left");
        drop(first);
        assert!(second.try_grow(80) && small.try_grow(10));
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_another_has_shrunk() {
        let memory = Memory::new(100, 100);
        let (first, second) = (memory.open(None, 100), memory.open(None, 50));
        assert!(first.try_grow(100));
        let mut waits = Box::pin(second.grow(50));
        assert!(waits.as_mut().now_or_never().is_none());
        first.shrink(60);
        assert!(waits.as_mut().now_or_never().is_none());
        first.shrink(50);
        assert!(waits.now_or_never().is_some());
    }

    #[test]
    fn one_user_has_half_at_most_and_can_still_end() {
        let memory = Memory::new(200, 60);
        let [first, second] = [memory.open(user("web"), 60), memory.open(user("web"), 60)];
        assert!(first.try_grow(50));
        assert!(second.try_grow(40));
        assert!(!second.try_grow(50), "the first could not be read to its end within the share");
        assert!(first.try_grow(60));
        let others = [memory.open(user("good"), 60), memory.open(None, 40)];
        assert!(others[0].try_grow(60) && others[1].try_grow(40));
        drop(first);
        assert!(second.try_grow(60));
    }
}
