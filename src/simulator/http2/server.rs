//! The provider API's listener: who gets in, and with which faults. What is said then is `connection.rs`.
//!
//! Source: "Sending notification requests to APNs". TLS with ALPN `h2`; the client presents its push certificate, or
//! none and a provider token in each request.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tracing::debug;

use super::connection::Connection;
use super::conversation::Conversation;
use super::judge::{Authentication, Judge};
use super::provider_token::{ProviderTokens, TokenAuthentication};
use crate::simulator::admission::Admission;
use crate::simulator::journal::entry::{Event, Service};
use crate::simulator::listener::{Shared, accept_all};
use crate::simulator::reception::{OpenInScript, Reception, close_at_once};
use crate::simulator::script::{Change, Gateway, Scheduled, Script};
use crate::simulator::tls::{Tls, version};

/// The provider API, as its connections share it.
#[derive(Debug)]
pub(in crate::simulator) struct Server {
    shared: Arc<Shared>,
    tls: Tls,
    script: Script,
    seed: u64,
    provider_tokens: ProviderTokens,
    admission: Admission,
}

impl Server {
    /// Without connections yet.
    pub(in crate::simulator) fn new(
        shared: Arc<Shared>,
        tls: Tls,
        script: Script,
        seed: u64,
        provider_tokens: ProviderTokens,
    ) -> Self {
        Self { shared, tls, script, seed, provider_tokens, admission: Admission::default() }
    }
}

/// Serves until the stop.
pub(in crate::simulator) async fn serve(listener: TcpListener, address: SocketAddr, server: Arc<Server>) {
    let refused = server.script.refused(Gateway::Http2);
    let shared = Arc::clone(&server.shared);
    let serve = |tcp, peer| Box::pin(receive(Arc::clone(&server), tcp, peer));
    accept_all(listener, address, shared, refused, serve).await;
}

/// One connection, from TCP to its end.
async fn receive(server: Arc<Server>, tcp: TcpStream, peer: SocketAddr) {
    let number = server.shared.next_connection();
    let (scheduled, changes) = server.script.open(Gateway::Http2, number);
    let _open = OpenInScript::new(&server.script, Gateway::Http2, number);
    if let Err(reason) = converse(&server, tcp, peer, number, scheduled, changes).await {
        debug!(connection = number, %peer, reason, "connection refused");
        let refused = Event::Refused { service: Service::Http2, peer, reason };
        server.shared.journal.note(Service::Http2, number, refused);
    }
}

/// Ends with a reason when the connection comes to nothing.
async fn converse(
    server: &Server,
    tcp: TcpStream,
    address: SocketAddr,
    number: u64,
    mut scheduled: Vec<Scheduled>,
    changes: mpsc::Receiver<Change>,
) -> Result<(), String> {
    let shared = &server.shared;
    let reception = Reception::of(&scheduled);
    let tcp = reception.receive(tcp, &server.admission, shared.clock.now()).await?;
    // Answers are small and must not wait for one another.
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    let (stream, peer) = server.tls.accept(tcp, &reception.handshake).await?;
    let tls = version(&stream);
    debug!(connection = number, peer = %address, tls, subject = peer.subject, "connection opened");
    shared.journal.note(Service::Http2, number, peer.opened(Service::Http2, address, tls));
    let (_entered, open) = server.admission.enter(&peer.leaf);
    if reception.connections_max.is_some_and(|most| open > most) {
        scheduled.insert(0, close_at_once());
    }
    let authentication = match peer.leaf.is_empty() {
        true => Authentication::Token(TokenAuthentication::new(server.provider_tokens.clone(), shared.environment)),
        false => Authentication::Certificate(peer),
    };
    let judge = Judge { authentication, environment: shared.environment };
    let seed = server.seed.wrapping_add(number);
    let keeps_events = shared.journal.keeps_entries();
    let conversation = Conversation::new(judge, seed, scheduled, keeps_events, shared.clock.now());
    let (by, how) = Connection::new(shared, number, stream, conversation, changes).run().await;
    debug!(connection = number, ?by, how, "connection closed");
    shared.journal.note(Service::Http2, number, Event::Closed { by, how });
    Ok(())
}
