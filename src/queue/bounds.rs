//! The memory that waiting batches may take, shared by all apps so that none can take it all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of memory for the batches of all apps.
#[derive(Debug)]
pub(super) struct Memory {
    bytes_max: usize,
    used: AtomicUsize,
}

/// The part of one app.
#[derive(Debug)]
pub(super) struct Share {
    memory: Arc<Memory>,
    used: AtomicUsize,
}

/// Bytes that a batch takes while rows of it wait; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    share: Arc<Share>,
    bytes: usize,
    held: bool,
}

impl Memory {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, used: AtomicUsize::new(0) }
    }

    /// An app's part, empty.
    pub(super) fn share(self: &Arc<Self>) -> Arc<Share> {
        Arc::new(Share { memory: Arc::clone(self), used: AtomicUsize::new(0) })
    }
}

impl Share {
    /// Reserves bytes; `None` when that many are not free for this app. An app may hold as much as it leaves to all
    /// others together: alone it gets half, and whoever comes later still finds room. The first batch of an app needs
    /// only what is free, and the first of all fits whatever its size.
    pub(super) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Reserved> {
        let own = self.used.load(Ordering::Relaxed);
        let fits = |used: usize| {
            let free = self.memory.bytes_max.saturating_sub(used);
            let fits = used == 0 || (bytes <= free && (own == 0 || own + bytes <= free));
            fits.then_some(used + bytes)
        };
        self.memory.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Some(Reserved { share: Arc::clone(self), bytes, held: true })
    }

    /// Takes bytes whether they are free or not: for what is in memory already.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Reserved {
        let mut reserved = Reserved { share: Arc::clone(self), bytes, held: false };
        reserved.take();
        reserved
    }

    /// Bytes that could be reserved in small parts.
    pub(super) fn room(&self) -> usize {
        let free = self.memory.bytes_max.saturating_sub(self.memory.used.load(Ordering::Relaxed));
        free.saturating_sub(self.used.load(Ordering::Relaxed)) / 2
    }
}

impl Reserved {
    /// Takes the bytes again, free or not.
    pub(super) fn take(&mut self) {
        if !std::mem::replace(&mut self.held, true) {
            self.share.used.fetch_add(self.bytes, Ordering::Relaxed);
            self.share.memory.used.fetch_add(self.bytes, Ordering::Relaxed);
        }
    }

    /// Gives the bytes back: no row of the batch waits any more.
    pub(super) fn release(&mut self) {
        if std::mem::replace(&mut self.held, false) {
            self.share.used.fetch_sub(self.bytes, Ordering::Relaxed);
            self.share.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_released_or_dropped_can_be_reserved_again() {
        let share = Arc::new(Memory::new(100)).share();
        let mut first = share.reserve(40).unwrap();
        assert!(share.reserve(31).is_none(), "40 + 31 are more than the 60 that are left");
        first.release();
        assert_eq!(share.room(), 50);
        first.take();
        assert_eq!(share.room(), 10);
        drop(first);
        assert!(share.reserve(500).is_some(), "the first batch of all fits whatever its size");
    }

    #[test]
    fn an_app_that_takes_all_it_can_leaves_room_for_others() {
        let memory = Arc::new(Memory::new(100));
        let (greedy, modest) = (memory.share(), memory.share());
        let held: Vec<Reserved> = std::iter::from_fn(|| greedy.reserve(5)).collect();
        assert_eq!(held.len(), 10);
        assert!(modest.reserve(40).is_some());
    }
}
