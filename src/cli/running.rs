//! What verbs that run until they are told to stop have in common: a runtime, signals.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::{Exit, Failure};
use crate::clock::Clock;

/// Signals closer together mean one stop.
const SAME_STOP: Duration = Duration::from_secs(1);

/// SIGTERM and SIGINT, which mean the same: stop in order; a second one ends the process at once.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on these signals do not end the process by themselves. Needs a runtime.
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| failed("listen to signals", &error));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Resolves at the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => (),
            _ = self.interrupt.recv() => (),
        }
    }

    /// Lets work end in order, unless another signal comes. One right after the first is the same stop: some wrappers
    /// signal a process and its whole group.
    pub(super) async fn unless_repeated<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut work = std::pin::pin!(work);
        let clock = Clock::system();
        let mut same_stop = std::pin::pin!(clock.sleep(SAME_STOP));
        let mut is_same_stop = true;
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = &mut same_stop, if is_same_stop => is_same_stop = false,
                () = self.next() => if !is_same_stop {
                    return Err(Failure::new(Exit::Failed, "stopped at once, by a second signal"));
                },
            }
        }
    }
}

/// SIGHUP: read the configuration again.
pub(super) struct ReloadSignal(Signal);

impl ReloadSignal {
    /// From now on the signal does not end the process. Needs a runtime.
    pub(super) fn listen() -> Result<Self, Failure> {
        signal(SignalKind::hangup()).map(Self).map_err(|error| failed("listen to signals", &error))
    }

    /// Resolves at the next one.
    pub(super) async fn next(&mut self) {
        self.0.recv().await;
    }
}

/// Runs to the end on all processors.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    block_on_runtime(&mut Builder::new_multi_thread(), work)
}

/// Runs to the end on this thread.
pub(super) fn block_on_one_thread<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    block_on_runtime(&mut Builder::new_current_thread(), work)
}

fn block_on_runtime<T>(builder: &mut Builder, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = builder.enable_all().build().map_err(|error| failed("start", &error))?;
    let done = runtime.block_on(work);
    // Whatever still runs was told to stop and has had its time.
    runtime.shutdown_background();
    done
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot {what}: {error}"))
}
