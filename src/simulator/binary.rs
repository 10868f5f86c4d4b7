//! The binary gateway: who gets in, and with which faults. What is said then is `connection.rs`.
//!
//! Source: Binary Provider API. TLS directly on connect; the client presents its push certificate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tracing::debug;

use super::admission::Admission;
use super::connection::{Connection, Input};
use super::journal::entry::{Event, Service};
use super::listener::{Shared, accept_all};
use super::reception::{OpenInScript, Reception, close_at_once};
use super::script::session::{Limits, Session};
use super::script::{self, Change, Scheduled, Script};
use super::tls::version;

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

/// Serves until the stop.
pub(super) async fn serve(listener: TcpListener, address: SocketAddr, gateway: Arc<Gateway>) {
    let refused = gateway.script.refused(script::Gateway::Binary);
    let shared = Arc::clone(&gateway.shared);
    let serve = |tcp, peer| Box::pin(receive(Arc::clone(&gateway), tcp, peer));
    accept_all(listener, address, shared, refused, serve).await;
}

/// One connection, from TCP to its end.
async fn receive(gateway: Arc<Gateway>, tcp: TcpStream, peer: SocketAddr) {
    let number = gateway.shared.next_connection();
    let (scheduled, changes) = gateway.script.open(script::Gateway::Binary, number);
    let _open = OpenInScript::new(&gateway.script, script::Gateway::Binary, number);
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
    let tcp = reception.receive(tcp, &gateway.admission, now).await?;
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
