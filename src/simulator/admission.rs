//! Who has connected how often: the memory behind the limits of B20.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Instant;

/// Connection times that are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// Counts connections. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Admission(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    recent: VecDeque<Instant>,
    open: HashMap<Vec<u8>, u32>,
}

impl Admission {
    /// Counts a TCP connection.
    pub(super) fn arrived(&self, now: Instant) {
        self.with(|state| {
            if state.recent.len() == REMEMBERED_MAX {
                state.recent.pop_front();
            }
            state.recent.push_back(now);
        });
    }

    /// How many TCP connections arrived within this time, the last one included.
    pub(super) fn recent(&self, within: Duration, now: Instant) -> usize {
        self.with(|state| state.recent.iter().rev().take_while(|at| now.since(**at) <= within).count())
    }

    /// Counts an open connection with a certificate until the guard is dropped; how many there are with it.
    pub(super) fn enter(&self, leaf: &[u8]) -> (Entered, u32) {
        let open = self.with(|state| {
            let open = state.open.entry(leaf.to_vec()).or_default();
            *open += 1;
            *open
        });
        (Entered { admission: self.clone(), leaf: leaf.to_vec() }, open)
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An open connection, counted.
pub(super) struct Entered {
    admission: Admission,
    leaf: Vec<u8>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.admission.with(|state| {
            if let Some(open) = state.open.get_mut(&self.leaf) {
                *open -= 1;
                if *open == 0 {
                    state.open.remove(&self.leaf);
                }
            }
        });
    }
}
