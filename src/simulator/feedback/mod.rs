//! The feedback service: the list of each app, sent to whoever connects with the app's certificate, then cleared.
//!
//! Source: Binary Provider API, "The Feedback Service": a time (u32), a token length (u16) and a token a tuple; the
//! server sends at once and closes. When the list is cleared no document says, so that it can be chosen.

pub mod command;
pub mod tuples;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use self::command::{Clear, FeedbackCommand, FeedbackFault};
use self::tuples::{FeedbackTuple, Outgoing, Pattern};
use super::journal::entry::{Event, Service, Side};
use super::listener::{Shared, accept_all};
use super::script::{CommandError, Connections, Standing};
use super::socket;
use super::tls::{Handshake, version};

/// The lists of all apps. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct FeedbackList(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    refused: watch::Sender<Option<Duration>>,
}

#[derive(Debug, Default)]
struct State {
    /// By bundle id; each tuple with a number that never comes again.
    lists: BTreeMap<String, Vec<(u64, FeedbackTuple)>>,
    last_number: u64,
    clear: Clear,
    faults: Standing<Vec<FeedbackFault>>,
}

/// What one connection is to send.
#[derive(Debug)]
struct Reading {
    tuples: Vec<(u64, FeedbackTuple)>,
    clear: Clear,
    pattern: Pattern,
}

impl FeedbackList {
    /// Puts a command into force. How many tuples wait for the app that it names.
    pub(super) fn command(&self, command: FeedbackCommand) -> Result<usize, CommandError> {
        if command.connections == Connections::Open {
            return Err(CommandError::FeedbackOpen);
        }
        if let Some(ms) = command.refuse_ms {
            self.0.refused.send_replace(Some(Duration::from_millis(ms)));
        }
        let mut state = self.lock();
        if command.replace {
            state.lists.remove(&command.app);
        }
        state.extend(&command.app, command.entries);
        state.clear = command.clear.unwrap_or(state.clear);
        if !command.faults.is_empty() {
            state.faults.add(command.connections, command.faults);
        }
        Ok(state.lists.get(&command.app).map_or(0, Vec::len))
    }

    /// Back to correct behaviour; the lists stay.
    pub(super) fn clear_faults(&self) {
        self.0.refused.send_replace(None);
        let mut state = self.lock();
        state.faults.clear();
        state.clear = Clear::default();
    }

    /// More tuples for an app.
    pub(super) fn extend(&self, app: &str, tuples: impl IntoIterator<Item = FeedbackTuple>) {
        self.lock().extend(app, tuples);
    }

    /// A connection with an app's certificate begins.
    fn read(&self, app: &str) -> Reading {
        let mut state = self.lock();
        let clear = state.clear;
        let faults = state.faults.take().concat();
        let tuples = match clear {
            Clear::OnConnect => state.lists.remove(app),
            Clear::OnComplete | Clear::OnCleanClose => state.lists.get(app).cloned(),
        };
        Reading { tuples: tuples.unwrap_or_default(), clear, pattern: Pattern::of(&faults) }
    }

    /// What a connection has sent need not be sent again.
    fn remove(&self, app: &str, sent: &[(u64, FeedbackTuple)]) {
        if let (Some(list), Some((last, _))) = (self.lock().lists.get_mut(app), sent.last()) {
            list.retain(|(number, _)| number > last);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn extend(&mut self, app: &str, tuples: impl IntoIterator<Item = FeedbackTuple>) {
        let list = self.lists.entry(app.to_owned()).or_default();
        for tuple in tuples {
            self.last_number += 1;
            list.push((self.last_number, tuple));
        }
    }
}

/// Serves until the stop.
pub(super) async fn serve(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let refused = shared.feedback.0.refused.subscribe();
    let receive = |tcp, peer| Box::pin(receive(Arc::clone(&shared), tcp, peer));
    accept_all(listener, address, Arc::clone(&shared), refused, receive).await;
}

async fn receive(shared: Arc<Shared>, tcp: TcpStream, address: SocketAddr) {
    let number = shared.next_connection();
    let (mut stream, peer) = match shared.tls.accept(tcp, &Handshake::default()).await {
        Ok(accepted) => accepted,
        Err(reason) => {
            debug!(connection = number, peer = %address, reason, "feedback connection refused");
            let refused = Event::Refused { service: Service::Feedback, peer: address, reason };
            return shared.journal.note(Service::Feedback, number, refused);
        }
    };
    let tls = version(&stream);
    debug!(connection = number, peer = %address, tls, subject = peer.subject, "feedback connection opened");
    shared.journal.note(Service::Feedback, number, peer.opened(Service::Feedback, address, tls));
    let end = match peer.suits(shared.environment) {
        true => send(&shared, number, &mut stream, &peer.uid).await,
        false => close(&shared, &mut stream).await,
    };
    let (by, how) = match end {
        Ok(how) => (Side::Server, how),
        Err(_) => (Side::Client, "reset"),
    };
    debug!(connection = number, ?by, how, "feedback connection closed");
    shared.journal.note(Service::Feedback, number, Event::Closed { by, how });
}

/// Sends an app's list as the faults in force have it, closes, and clears the list when it is to be cleared.
async fn send(
    shared: &Shared,
    number: u64,
    stream: &mut TlsStream<TcpStream>,
    app: &str,
) -> std::io::Result<&'static str> {
    let Reading { tuples, clear, pattern } = shared.feedback.read(app);
    let Outgoing { pieces, whole } = pattern.outgoing(tuples.iter().map(|(_, tuple)| tuple));
    for piece in pieces {
        stream.write_all(&piece.bytes).await?;
        stream.flush().await?;
        shared.clock.sleep(piece.pause).await;
    }
    shared.journal.note(Service::Feedback, number, Event::Feedback { tuples: whole });
    let complete = whole == tuples.len();
    if complete && clear == Clear::OnComplete {
        shared.feedback.remove(app, &tuples);
    }
    if pattern.never_close {
        socket::closed_by_client(stream.get_ref().0).await;
        return Ok("never, until the client closed");
    }
    if pattern.reset {
        socket::reset_on_close(stream.get_ref().0)?;
        return Ok("reset");
    }
    let how = close(shared, stream).await?;
    if complete && clear == Clear::OnCleanClose && how == CLEAN {
        shared.feedback.remove(app, &tuples);
    }
    Ok(how)
}

const CLEAN: &str = "close_notify and FIN, by both sides";

/// Closes and waits for the client to do the same.
async fn close(shared: &Shared, stream: &mut TlsStream<TcpStream>) -> std::io::Result<&'static str> {
    stream.shutdown().await?;
    match socket::drain(stream, socket::DRAIN_MAX, &shared.clock).await {
        true => Ok(CLEAN),
        false => Ok("close_notify and FIN"),
    }
}
