//! What the gateway does wrong, and on which connections: the commands of the control port, and who they apply to.
//!
//! Without a command, and with tokens that `tokens.rs` does not list, the gateway does everything right. A command
//! names faults and connections; a connection takes the faults of all commands that apply to it, in the order in which
//! they came, a later one overriding an earlier one of the same kind.

pub(super) mod answer;
mod behavior;
pub mod fault;
pub mod http2;
pub(super) mod session;
pub(super) mod tokens;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use self::fault::Fault;

/// Commands that an open connection may have waiting; one that is being closed takes no more.
const WAITING_MAX: usize = 64;

/// One command: what goes wrong, and where.
///
/// As JSON: `{"faults": [{"error": {"delay": {"fixed_ms": 400}}}], "connections": "every", "after": 3}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// What goes wrong on these connections.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Which connections; the next one if it is not said.
    #[serde(default)]
    pub connections: Connections,
    /// How many notifications such a connection receives before the faults take effect.
    #[serde(default)]
    pub after: u64,
    /// Closes the listener at once and for so long, in milliseconds: connections are refused by TCP.
    #[serde(default)]
    pub refuse_ms: Option<u64>,
    /// Which of the two gateways; if it is not said, each that the faults are for.
    #[serde(default)]
    pub gateway: Option<Gateway>,
}

/// One of the two gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gateway {
    /// The binary gateway.
    Binary,
    /// The HTTP/2 provider API.
    Http2,
}

/// The connections that a command applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connections {
    /// So many that are opened from now on; where the command is for both gateways, so many of each.
    Next(u32),
    /// Those that are open now.
    Open,
    /// Those that are open now, and all that come.
    Every,
}

impl Default for Connections {
    fn default() -> Self {
        Self::Next(1)
    }
}

/// Why a command makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// Nothing to do.
    #[error("a command needs `faults` or `refuse_ms`")]
    Empty,
    /// A fault of the connection's beginning, later.
    #[error("`connect` faults come before the first notification: leave `after` away")]
    ConnectAfter,
    /// A fault of the connection's beginning, on open ones.
    #[error("`connect` faults do not apply to open connections: use `next` or `every`")]
    ConnectOpen,
    /// A fault of one gateway, for the other one.
    #[error("`error` faults are the binary gateway's, `http2` faults the provider API's: one command for each")]
    WrongGateway,
    /// A reason that does not exist.
    #[error("the provider API knows no such reason; for one that nobody knows, use `answer` with `reason`")]
    UnknownReason,
    /// Faults on open feedback connections, which are too short for it.
    #[error("feedback faults do not apply to open connections: use `next` or `every`")]
    FeedbackOpen,
    /// A number out of its range.
    #[error("{0}")]
    Range(&'static str),
}

impl Command {
    /// These faults on the next connection.
    pub fn next(faults: impl IntoIterator<Item = impl Into<Fault>>) -> Self {
        Self { faults: faults.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// These faults on open connections and all that come.
    pub fn every(faults: impl IntoIterator<Item = impl Into<Fault>>) -> Self {
        Self { connections: Connections::Every, ..Self::next(faults) }
    }

    /// These faults on open connections.
    pub fn open(faults: impl IntoIterator<Item = impl Into<Fault>>) -> Self {
        Self { connections: Connections::Open, ..Self::next(faults) }
    }

    /// Refused connections for so long.
    pub fn refuse(ms: u64) -> Self {
        Self { refuse_ms: Some(ms), ..Self::default() }
    }

    /// The same on the next so many connections.
    #[must_use]
    pub fn on_next(self, connections: u32) -> Self {
        Self { connections: Connections::Next(connections), ..self }
    }

    /// The same once a connection has received so many notifications.
    #[must_use]
    pub fn after(self, notifications: u64) -> Self {
        Self { after: notifications, ..self }
    }

    /// The same on one of the gateways only.
    #[must_use]
    pub fn at(self, gateway: Gateway) -> Self {
        Self { gateway: Some(gateway), ..self }
    }

    /// Whether it is for this gateway.
    fn suits(&self, gateway: Gateway) -> bool {
        let only = |fault: &Fault| fault.only_at().is_none_or(|only| only == gateway);
        self.gateway.is_none_or(|wanted| wanted == gateway) && self.faults.iter().all(only)
    }

    fn check(&self) -> Result<(), CommandError> {
        let connect = self.faults.iter().any(|fault| matches!(fault, Fault::Connect(_)));
        if let Some(problem) = self.faults.iter().find_map(Fault::problem) {
            return Err(problem);
        }
        match () {
            () if self.faults.is_empty() && self.refuse_ms.is_none() => Err(CommandError::Empty),
            () if !self.suits(Gateway::Binary) && !self.suits(Gateway::Http2) => Err(CommandError::WrongGateway),
            () if connect && self.after > 0 => Err(CommandError::ConnectAfter),
            () if connect && self.connections == Connections::Open => Err(CommandError::ConnectOpen),
            () => Ok(()),
        }
    }
}

/// Faults that take effect together, once a connection has received so many notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scheduled {
    pub(super) after: u64,
    pub(super) faults: Vec<Fault>,
}

/// News for an open connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// More faults.
    Add(Scheduled),
    /// Back to correct behaviour.
    Clear,
}

/// The commands in force. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Script(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    binary: Commands,
    http2: Commands,
}

/// The commands in force at one gateway.
#[derive(Debug, Default)]
struct Commands {
    state: Mutex<State>,
    refused: watch::Sender<Option<Duration>>,
}

#[derive(Debug, Default)]
struct State {
    standing: Standing<Scheduled>,
    open: BTreeMap<u64, mpsc::Sender<Change>>,
}

/// What waits for connections, in the order in which it came; without a count it applies to all of them.
#[derive(Debug)]
pub(super) struct Standing<T>(Vec<(Option<u32>, T)>);

impl<T> Default for Standing<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Standing<T> {
    /// Adds something for the connections to come.
    pub(super) fn add(&mut self, connections: Connections, something: T) {
        match connections {
            Connections::Next(count) => self.0.push((Some(count), something)),
            Connections::Every => self.0.push((None, something)),
            Connections::Open => (),
        }
    }

    /// What applies to a connection that opens now.
    pub(super) fn take(&mut self) -> Vec<T> {
        self.0.retain(|(left, _)| *left != Some(0));
        let take = |(left, something): &mut (Option<u32>, T)| {
            *left = left.map(|left| left - 1);
            something.clone()
        };
        self.0.iter_mut().map(take).collect()
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Script {
    /// Puts a command into force. How many open connections took it.
    pub fn command(&self, command: Command) -> Result<usize, CommandError> {
        command.check()?;
        let suitable = [Gateway::Binary, Gateway::Http2].into_iter().filter(|gateway| command.suits(*gateway));
        Ok(suitable.map(|gateway| self.at(gateway).take_over(&command)).sum())
    }

    /// Back to correct behaviour: all commands are dropped, also by open connections (a close that has begun goes on),
    /// and a closed listener opens again.
    pub fn clear(&self) {
        self.0.binary.clear();
        self.0.http2.clear();
    }

    /// The faults of a connection that opens now, and its news from then on.
    pub(super) fn open(&self, gateway: Gateway, connection: u64) -> (Vec<Scheduled>, mpsc::Receiver<Change>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let mut state = self.at(gateway).lock();
        state.open.insert(connection, sender);
        (state.standing.take(), receiver)
    }

    /// The connection is closed.
    pub(super) fn closed(&self, gateway: Gateway, connection: u64) {
        self.at(gateway).lock().open.remove(&connection);
    }

    /// For how long the listener is to be closed, each time that it is said.
    pub(super) fn refused(&self, gateway: Gateway) -> watch::Receiver<Option<Duration>> {
        self.at(gateway).refused.subscribe()
    }

    fn at(&self, gateway: Gateway) -> &Commands {
        match gateway {
            Gateway::Binary => &self.0.binary,
            Gateway::Http2 => &self.0.http2,
        }
    }
}

impl Commands {
    /// How many open connections took it.
    fn take_over(&self, command: &Command) -> usize {
        if let Some(ms) = command.refuse_ms {
            self.refused.send_replace(Some(Duration::from_millis(ms)));
        }
        if command.faults.is_empty() {
            return 0;
        }
        let scheduled = Scheduled { after: command.after, faults: command.faults.clone() };
        let mut state = self.lock();
        let told = match command.connections {
            Connections::Next(_) => 0,
            Connections::Open | Connections::Every => state.tell(&Change::Add(scheduled.clone())),
        };
        state.standing.add(command.connections, scheduled);
        told
    }

    fn clear(&self) {
        self.refused.send_replace(None);
        let mut state = self.lock();
        state.standing.clear();
        state.tell(&Change::Clear);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many open connections took it. Those whose mailbox is full or gone are being closed.
    fn tell(&self, change: &Change) -> usize {
        self.open.values().filter(|mailbox| mailbox.try_send(change.clone()).is_ok()).count()
    }
}

#[cfg(test)]
mod tests;
