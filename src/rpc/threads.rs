//! Threads for large calls: how many there are, and whose turn it is.
//!
//! A call holds one only while it computes, and none while it waits for the store or for outcomes. When one comes free,
//! it goes to the user who has fewest, and among those to whoever came first.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::available_parallelism;

use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinError, spawn_blocking};

/// Fewest threads, on whatever machine.
const THREADS_MIN: usize = 4;

/// A user's name; `None`: callers without one, who count as one user together.
pub(super) type Whose = Option<Arc<str>>;

/// The threads. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(super) struct Threads(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// How many each user has; never 0.
    held: HashMap<Whose, usize>,
    /// Who waits, in the order in which they came. Some may have gone meanwhile.
    line: Vec<(Whose, oneshot::Sender<Turn>)>,
}

/// The right to use a thread.
#[derive(Debug)]
pub(super) struct Turn {
    /// `None` once it was given back.
    of: Option<(Threads, Whose)>,
}

/// Notes that a future is to be polled again.
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl Threads {
    /// Twice as many as there are cores.
    pub(super) fn new() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self::with(THREADS_MIN.max(2 * cores))
    }

    fn with(free: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free, held: HashMap::new(), line: Vec::new() })))
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self, whose: Whose) -> Turn {
        let (turn, comes) = oneshot::channel();
        self.lock().line.push((whose, turn));
        self.pass_on();
        match comes.await {
            Ok(turn) => turn,
            // Nobody drops a place in the line.
            Err(_) => std::future::pending().await,
        }
    }

    /// Runs a future to its end: each of its steps on a thread, and no thread between two of them. The error is a panic
    /// of the future, or the end of the runtime.
    pub(super) async fn run<F>(&self, mut turn: Turn, whose: Whose, future: F) -> Result<F::Output, JoinError>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let mut future = Box::pin(future);
        let woken = Arc::new(Woken(Notify::new()));
        loop {
            let waker = Waker::from(Arc::clone(&woken));
            let step = spawn_blocking(move || {
                let step = future.as_mut().poll(&mut Context::from_waker(&waker));
                drop(turn);
                (step, future)
            });
            match step.await? {
                (Poll::Ready(output), _) => return Ok(output),
                (Poll::Pending, rest) => future = rest,
            }
            woken.0.notified().await;
            turn = self.turn(whose.clone()).await;
        }
    }

    /// Gives what is free to those who wait.
    fn pass_on(&self) {
        let mut state = self.lock();
        while state.free > 0 {
            let held = |whose: &Whose| state.held.get(whose).copied().unwrap_or(0);
            let first = (0..state.line.len()).min_by_key(|&at| held(&state.line[at].0));
            let Some(first) = first else { return };
            let (whose, place) = state.line.remove(first);
            let turn = Turn { of: Some((self.clone(), whose.clone())) };
            match place.send(turn) {
                Ok(()) => {
                    state.free -= 1;
                    *state.held.entry(whose).or_default() += 1;
                }
                // Who waited is gone, and nothing was taken.
                Err(mut turn) => drop(turn.of.take()),
            }
        }
    }

    fn give_back(&self, whose: &Whose) {
        let mut state = self.lock();
        state.free += 1;
        if let Some(held) = state.held.get_mut(whose) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(whose);
            }
        }
        drop(state);
        self.pass_on();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((threads, whose)) = self.of.take() {
            threads.give_back(&whose);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::{Pin, pin};
    use std::thread;

    use futures_util::FutureExt as _;

    use super::*;

    fn user(name: &str) -> Whose {
        Some(name.into())
    }

    fn comes(turn: &mut Pin<&mut impl Future<Output = Turn>>) -> Option<Turn> {
        turn.as_mut().now_or_never()
    }

    #[tokio::test]
    async fn a_free_thread_goes_to_the_user_who_has_fewest() {
        let threads = Threads::with(2);
        let (first, second) = (threads.turn(user("web")).await, threads.turn(user("web")).await);
        let mut third = pin!(threads.turn(user("web")));
        let mut good = pin!(threads.turn(user("good")));
        let mut unknown = pin!(threads.turn(None));
        assert!(comes(&mut third).is_none() && comes(&mut good).is_none() && comes(&mut unknown).is_none());
        drop(first);
        assert!(comes(&mut third).is_none() && comes(&mut unknown).is_none());
        let good = comes(&mut good).unwrap();
        drop(second);
        assert!(comes(&mut third).is_some());
        assert!(comes(&mut unknown).is_some());
        drop(good);
        let state = threads.lock();
        assert_eq!((state.free, state.held.len()), (2, 0));
    }

    #[tokio::test]
    async fn who_does_not_wait_any_more_takes_nothing() {
        let threads = Threads::with(1);
        let held = threads.turn(None).await;
        assert!(threads.turn(None).now_or_never().is_none());
        let mut waits = Box::pin(threads.turn(None));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(held);
        drop(waits);
        drop(threads.turn(None).await);
        assert_eq!(threads.lock().free, 1);
    }

    #[tokio::test]
    async fn a_call_that_waits_holds_no_thread_and_computes_on_one() {
        let threads = Threads::with(1);
        let (go, goes) = oneshot::channel::<()>();
        let here = thread::current().id();
        let call = async move {
            let before = thread::current().id();
            goes.await.unwrap();
            [before, thread::current().id()]
        };
        let mut first = pin!(threads.run(threads.turn(None).await, None, call));
        let second = poll_fn(|context| {
            assert!(first.as_mut().poll(context).is_pending());
            Poll::Ready(())
        });
        second.await;
        let other = threads.run(threads.turn(None).await, None, async { 7 }).await.unwrap();
        assert_eq!(other, 7);
        go.send(()).unwrap();
        assert!(first.await.unwrap().iter().all(|thread| *thread != here));
        assert_eq!(threads.lock().free, 1);
    }

    #[tokio::test]
    async fn a_call_that_panics_gives_its_thread_back() {
        let threads = Threads::with(1);
        let panics = threads.run(threads.turn(None).await, None, async { panic!("words") });
        assert!(panics.await.unwrap_err().is_panic());
        drop(threads.turn(None).await);
    }
}
