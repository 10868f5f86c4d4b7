//! One worker per app: leases rows, hands them to the app's gateway, turns outcomes into settlements.
//!
//! The only place that turns an outcome into a queue change. An app never waits for another: each worker is a task of
//! its own with its own queue, gateway and back-off.

mod bad_tokens;
mod books;
pub mod counters;
mod express;
pub mod feedback_poller;
mod reading;
mod setbacks;
mod state;
pub mod watch;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use self::books::Books;
use self::counters::Counters;
use self::express::Express;
use self::watch::{Watch, Watches};
use self::worker::Worker;
use crate::clock::Clock;
use crate::domain::app::AppState;
use crate::domain::batch::{Batch, BatchId};
use crate::domain::outcome::Reason;
use crate::domain::time::Timestamp;
use crate::gateway::{Gateway, Route, RouteError};
use crate::queue::AppQueue;
use crate::queue::retry::{Policy, Unknown};
use crate::shutdown::Shutdown;
use crate::store::{FeedbackSource, Store};

/// Commands that may wait for one worker.
const COMMANDS_MAX: usize = 16;

/// What the delivery of all apps shares. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// For gateways.
    pub gateway: crate::gateway::Shared,
    /// What becomes of what was sent and never answered.
    pub unknown: Unknown,
    /// Where rejections are kept.
    pub store: Store,
    /// Reads the time.
    pub clock: Clock,
    /// Owns the workers.
    pub shutdown: Shutdown,
}

/// A worker from outside: commands in, status out. Dropping it does not stop the worker.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    commands: mpsc::Sender<Command>,
    status: tokio::sync::watch::Receiver<WorkerStatus>,
    watches: Watches,
}

/// What a worker is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Any but [`AppState::Refused`].
    pub state: AppState,
    /// What stands in the way, in words; empty when nothing does.
    pub cause: String,
    /// Since when.
    pub since: Timestamp,
    /// Whether `notify` is to be refused because of the cause.
    pub refuses: bool,
    /// Whether it is paused and nothing is on its way any more.
    pub rests: bool,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The gateway refused the new credentials by name; the old ones stay.
    #[error("the gateway refused the new credentials ({0}); the app keeps its old ones")]
    Refused(String),
    /// The worker has ended.
    #[error("the app is being removed, or the daemon stops")]
    Stopped,
}

#[derive(Debug)]
enum Command {
    Replace(Box<Replacement>),
    Pause(oneshot::Sender<()>),
    Resume(oneshot::Sender<()>),
    Remove(oneshot::Sender<()>),
    Park(oneshot::Sender<()>),
    Purge(oneshot::Sender<u64>),
    ConnectTimeout(Duration, oneshot::Sender<()>),
    Answer(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Replacement {
    gateway: Gateway,
    route: Route,
    done: oneshot::Sender<Result<Option<BatchId>, CommandError>>,
}

impl Delivery {
    /// Starts an app's worker. Errors when the route cannot be prepared; nothing is started then.
    pub fn start(&self, route: Route, queue: AppQueue, counters: Arc<Counters>) -> Result<WorkerHandle, RouteError> {
        let gateway = Gateway::new(route.clone(), &self.gateway, self.clock.clone())?;
        let express = Express::new(route, self.gateway.clone(), self.clock.clone());
        let (commands, mailbox) = mpsc::channel(COMMANDS_MAX);
        let books = self.books(queue, counters);
        let watches = books.watches.clone();
        let (worker, status) = Worker::new(gateway, express, books, mailbox, self.shutdown.clone());
        self.shutdown.spawn(worker.run());
        Ok(WorkerHandle { commands, status, watches })
    }

    /// Rejects everything that waits for an app without a worker; how many notifications that were.
    pub async fn reject_all(&self, queue: AppQueue, counters: Arc<Counters>, reason: Reason) -> u64 {
        self.books(queue, counters).reject_all(reason).await.0
    }

    /// Rejects what waits for an app without a worker up to a batch; how many notifications that were.
    pub async fn reject_until(&self, queue: AppQueue, counters: Arc<Counters>, last: BatchId, reason: Reason) -> u64 {
        self.books(queue, counters).reject_until(last, reason).await
    }

    fn books(&self, queue: AppQueue, counters: Arc<Counters>) -> Books {
        Books {
            app: queue.app().clone(),
            queue,
            store: self.store.clone(),
            counters,
            watches: Watches::default(),
            clock: self.clock.clone(),
            policy: Policy { attempts_max: self.gateway.settings.max_attempts, unknown: self.unknown },
            shutdown: self.shutdown.clone(),
            expiry_look: self.clock.now(),
        }
    }

    /// Gives an app other credentials or another environment. The new connection is tried first: a refusal by name is
    /// an error and leaves everything as it was; otherwise the old connection is drained and the new one takes over. What
    /// waited for another environment is rejected then; the last batch that was accepted for it.
    pub async fn replace(
        &self,
        worker: &WorkerHandle,
        route: Route,
    ) -> Result<Result<Option<BatchId>, CommandError>, RouteError> {
        let gateway = Gateway::new(route.clone(), &self.gateway, self.clock.clone())?;
        let (done, answer) = oneshot::channel();
        let command = Command::Replace(Box::new(Replacement { gateway, route, done }));
        if worker.commands.send(command).await.is_err() {
            return Ok(Err(CommandError::Stopped));
        }
        Ok(answer.await.unwrap_or(Err(CommandError::Stopped)))
    }
}

/// Whose feedback an app reads, and where the dead tokens go that its gateway reports.
pub fn feedback_source(route: &Route) -> FeedbackSource {
    let topic = match route.topic() {
        Some(topic) => topic.into(),
        None => route.credentials.subject().into(),
    };
    FeedbackSource { environment: Arc::clone(&route.environment.name), topic }
}

impl WorkerHandle {
    /// What the worker is doing.
    pub fn status(&self) -> WorkerStatus {
        self.status.borrow().clone()
    }

    /// Resolves once the worker rests, or has ended: nothing is sent before somebody or something resumes.
    pub async fn rests(&self) {
        // That nothing can be heard of the worker any more is its end.
        drop(self.status.clone().wait_for(|status| status.rests).await);
    }

    /// Watches what becomes of a batch that is about to be accepted, whose ids have a seed of their own; `None` when
    /// too many are watched already.
    pub fn watch(&self, batch: &Batch) -> Option<Watch> {
        self.watches.watch(batch)
    }

    /// Closes the connection as planned and sends no more until [`WorkerHandle::resume`].
    pub async fn pause(&self) -> Result<(), CommandError> {
        self.command(Command::Pause).await
    }

    /// Tries again at once, whatever stood in the way.
    pub async fn resume(&self) -> Result<(), CommandError> {
        self.command(Command::Resume).await
    }

    /// Closes the connection as planned, rejects what still waits, and ends the worker.
    pub async fn remove(&self) -> Result<(), CommandError> {
        self.command(Command::Remove).await
    }

    /// Closes the connection as planned, keeps what waits, and ends the worker.
    pub async fn park(&self) -> Result<(), CommandError> {
        self.command(Command::Park).await
    }

    /// Rejects everything that waits; how many notifications that were. What is on its way stays there.
    pub async fn purge(&self) -> Result<u64, CommandError> {
        self.command(Command::Purge).await
    }

    /// Bounds later connection attempts.
    pub async fn set_connect_timeout(&self, timeout: Duration) -> Result<(), CommandError> {
        self.command(|done| Command::ConnectTimeout(timeout, done)).await
    }

    /// Resolves once the worker takes up what happens, or has ended. Does not resolve while it hangs.
    pub async fn answers(&self) {
        // One that has ended hangs nowhere.
        let _ = self.command(Command::Answer).await;
    }

    async fn command<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, CommandError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_| CommandError::Stopped)?;
        answer.await.map_err(|_| CommandError::Stopped)
    }
}

/// Why waiting rows of an app can never be sent.
const REMOVED: Reason = Reason::Deprovisioned;
