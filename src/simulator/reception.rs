//! How a gateway connection begins, by the script: received, kept waiting or turned away. The same for both gateways.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::admission::Admission;
use super::script::fault::{ConnectFault, Ending, Fault, StreamFault};
use super::script::{Gateway, Scheduled, Script};
use super::socket;
use super::tls::Handshake;
use crate::clock::Instant;

/// Longest first handshake message that is read before the stall.
const HELLO_MAX: usize = 4096;

/// How a connection is received.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reception {
    pub(super) handshake: Handshake,
    silence: Option<Silence>,
    pub(super) connections_max: Option<u32>,
    block: Option<(usize, Duration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    Accepted,
    Hello,
}

impl Reception {
    /// What the faults of a connection make of its beginning.
    pub(super) fn of(scheduled: &[Scheduled]) -> Self {
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

    /// Counts the connection and lets it in, or ends with the reason why it comes to nothing.
    pub(super) async fn receive(
        &self,
        tcp: TcpStream,
        admission: &Admission,
        now: Instant,
    ) -> Result<TcpStream, String> {
        admission.arrived(now);
        if let Some((most, within)) = self.block
            && admission.recent(within, now) > most
        {
            return Err("blocked: too many connections".to_owned());
        }
        match self.silence {
            Some(silence) => Err(keep_silent(tcp, silence).await),
            None => Ok(tcp),
        }
    }
}

/// What closes a connection before anything is heard.
pub(super) fn close_at_once() -> Scheduled {
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
pub(super) struct OpenInScript<'a> {
    script: &'a Script,
    gateway: Gateway,
    number: u64,
}

impl<'a> OpenInScript<'a> {
    /// For an open connection.
    pub(super) fn new(script: &'a Script, gateway: Gateway, number: u64) -> Self {
        Self { script, gateway, number }
    }
}

impl Drop for OpenInScript<'_> {
    fn drop(&mut self) {
        self.script.closed(self.gateway, self.number);
    }
}
