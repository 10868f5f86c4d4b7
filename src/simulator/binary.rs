//! The binary gateway: who gets in, and with which faults. What is said then is `connection.rs`.
//!
//! Source: Binary Provider API. TLS directly on connect; the client presents its push certificate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tracing::debug;

use super::admission::Admission;
use super::connection::{Connection, Input};
use super::journal::entry::{Event, Service};
use super::listener::{Shared, accept_all};
use super::script::fault::{ConnectFault, Ending, Fault, StreamFault};
use super::script::session::{Limits, Session};
use super::script::{Change, Scheduled, Script};
use super::socket;
use super::tls::{Handshake, version};

/// Longest first handshake message that is read before the stall.
const HELLO_MAX: usize = 4096;

/// The gateway, as its connections share it.
#[derive(Debug)]
pub(super) struct Gateway {
    shared: Arc<Shared>,
    script: Script,
    limits: Limits,
    seed: u64,
    admission: Admission,
    /// The last identifier of any earlier connection.
    last_identifier: AtomicU32,
}

impl Gateway {
    pub(super) fn new(shared: Arc<Shared>, script: Script, limits: Limits, seed: u64) -> Self {
        let (admission, last_identifier) = (Admission::default(), AtomicU32::new(0));
        Self { shared, script, limits, seed, admission, last_identifier }
    }
}

/// How a connection is received.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reception {
    handshake: Handshake,
    silence: Option<Silence>,
    connections_max: Option<u32>,
    block: Option<(usize, Duration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    Accepted,
    Hello,
}

impl Reception {
    fn of(scheduled: &[Scheduled]) -> Self {
        let mut reception = Self::default();
        for fault in scheduled.iter().flat_map(|scheduled| &scheduled.faults) {
            if let Fault::Connect(fault) = fault {
                reception.shape(fault);
            }
        }
        reception
    }

    fn shape(&mut self, fault: &ConnectFault) {
        match fault {
            ConnectFault::AcceptNothing => self.silence = Some(Silence::Accepted),
            ConnectFault::Stall => self.silence = Some(Silence::Hello),
            ConnectFault::ConnectionsMax(count) => self.connections_max = Some(*count),
            ConnectFault::Block { connections, within_ms } => {
                self.block = Some((*connections as usize, Duration::from_millis(*within_ms)));
            }
            ConnectFault::Alert(_)
            | ConnectFault::ServerCertificate(_)
            | ConnectFault::TlsVersion(_)
            | ConnectFault::SessionTickets(_)
            | ConnectFault::KeyUpdates(_)
            | ConnectFault::RecordSize(_) => self.handshake.shape(fault),
        }
    }
}

/// Serves until the stop.
pub(super) async fn serve(listener: TcpListener, address: SocketAddr, gateway: Arc<Gateway>) {
    let refused = gateway.script.refused();
    let shared = Arc::clone(&gateway.shared);
    let serve = |tcp, peer| Box::pin(receive(Arc::clone(&gateway), tcp, peer));
    accept_all(listener, address, shared, refused, serve).await;
}

/// One connection, from TCP to its end.
async fn receive(gateway: Arc<Gateway>, tcp: TcpStream, peer: SocketAddr) {
    let number = gateway.shared.next_connection();
    let (scheduled, changes) = gateway.script.open(number);
    let _open = OpenInScript { script: &gateway.script, number };
    if let Err(reason) = converse(&gateway, tcp, peer, number, scheduled, changes).await {
        debug!(connection = number, %peer, reason, "connection refused");
        gateway.shared.journal.note(
            Service::Gateway,
            number,
            Event::Refused { service: Service::Gateway, peer, reason },
        );
    }
}

/// Ends with a reason when the connection comes to nothing.
async fn converse(
    gateway: &Gateway,
    tcp: TcpStream,
    address: SocketAddr,
    number: u64,
    mut scheduled: Vec<Scheduled>,
    changes: mpsc::Receiver<Change>,
) -> Result<(), String> {
    let shared = &gateway.shared;
    let reception = Reception::of(&scheduled);
    let now = shared.clock.now();
    gateway.admission.arrived(now);
    if let Some((most, within)) = reception.block
        && gateway.admission.recent(within, now) > most
    {
        return Err("blocked: too many connections".to_owned());
    }
    if let Some(silence) = reception.silence {
        return Err(keep_silent(tcp, silence).await);
    }
    // Answers are small and must not wait for one another.
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    let (stream, peer) = shared.tls.accept(tcp, &reception.handshake).await?;
    let tls = version(&stream);
    debug!(connection = number, peer = %address, tls, subject = peer.subject, "connection opened");
    shared.journal.note(Service::Gateway, number, peer.opened(Service::Gateway, address, tls));
    let (_entered, open) = gateway.admission.enter(&peer.leaf);
    if !peer.suits(shared.environment) || reception.connections_max.is_some_and(|most| open > most) {
        scheduled.insert(0, close_at_once());
    }
    let earlier = gateway.last_identifier.load(Ordering::Relaxed);
    let seed = gateway.seed.wrapping_add(number);
    let session = Session::new(gateway.limits, seed, scheduled, earlier, shared.clock.now());
    let input = Input::default();
    let connection = Connection { shared, number, stream, session, changes, peer: &peer, input };
    let (by, how) = connection.run(&gateway.last_identifier).await;
    debug!(connection = number, ?by, how, "connection closed");
    shared.journal.note(Service::Gateway, number, Event::Closed { by, how });
    Ok(())
}

fn close_at_once() -> Scheduled {
    let close = StreamFault::Close { within_ms: 0, then: Ending::Clean };
    Scheduled { after: 0, faults: vec![close.into()] }
}

/// Holds a connection without a word until the client gives up.
async fn keep_silent(mut tcp: TcpStream, silence: Silence) -> String {
    let what = match silence {
        Silence::Accepted => "accepted, then nothing",
        Silence::Hello => match tcp.read(&mut [0; HELLO_MAX]).await {
            Ok(_) => "handshake stalled",
            Err(error) => return error.to_string(),
        },
    };
    socket::closed_by_client(&tcp).await;
    what.to_owned()
}

/// Takes the connection out of the script's list, also when its task is dropped.
struct OpenInScript<'a> {
    script: &'a Script,
    number: u64,
}

impl Drop for OpenInScript<'_> {
    fn drop(&mut self) {
        self.script.closed(self.number);
    }
}
