//! One connection to see whether a gateway takes credentials. Nothing is pushed on it.
//!
//! A handshake alone does not tell: with TLS 1.3 a server judges the client's certificate after it. Apple's HTTP/2
//! gateway has done so once it answers a PING; a binary gateway says nothing to those that it takes, and closes on
//! others within moments.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::tls::{Connector, Failure, Stream};
use super::{CloseCause, Route, RouteError};
use crate::clock::Clock;
use crate::domain::apns::ApnsReason;
use crate::domain::app::Protocol;
use crate::domain::outcome::Reason;

/// How long a binary gateway must stay silent; it closes within 200 ms on a certificate that it dislikes.
const SILENCE: Duration = Duration::from_secs(1);

/// Why a gateway does not take credentials, or cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProbeError {
    /// There is no way to it.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The connection ended, or never began.
    #[error("{0}")]
    Closed(CloseCause),
}

/// Connects as a route does, waits until the gateway has judged the credentials, and closes. Who answered; behind a
/// proxy, the proxy's address. Takes at most the route's time-out twice.
///
/// Whether a provider token is good is judged with a notification only: a key proves no more than the way to the gateway.
pub async fn probe(route: &Route, clock: &Clock) -> Result<SocketAddr, ProbeError> {
    let gateway = &route.environment.gateway;
    let alpn: &[&[u8]] = match gateway.protocol {
        Protocol::Binary => &[],
        Protocol::Http2 => &[b"h2"],
        Protocol::Fcm => {
            let (environment, protocol) = (route.environment.name.clone(), gateway.protocol);
            return Err(RouteError::Protocol { environment, protocol }.into());
        }
    };
    let connector = Connector::new(route, gateway, alpn, route.connect_timeout)?;
    let (mut stream, peer) = connector.connect(clock).await.map_err(ProbeError::Closed)?;
    let judged = match gateway.protocol {
        Protocol::Http2 if stream.get_ref().1.alpn_protocol() != Some(b"h2") => Err(CloseCause::Unreachable(format!(
            "{gateway}: it does not speak HTTP/2: correct the environment's address"
        ))),
        Protocol::Http2 => tokio::select! {
            judged = ping(&mut stream) => judged,
            () = clock.sleep(route.connect_timeout) => {
                Err(CloseCause::Dead(format!("{gateway}: no answer within {} s", route.connect_timeout.as_secs_f32())))
            }
        },
        Protocol::Binary | Protocol::Fcm => tokio::select! {
            read = stream.read_u8() => Err(read.map_or_else(|error| cause(&error), |_| silent())),
            () = clock.sleep(SILENCE) => Ok(()),
        },
    };
    close(stream).await;
    judged.map(|()| peer).map_err(ProbeError::Closed)
}

/// Says goodbye; the peer may have gone already.
async fn close(mut stream: Stream) {
    if let Err(error) = stream.shutdown().await {
        tracing::debug!(%error, "closing");
    }
}

fn cause(error: &io::Error) -> CloseCause {
    match Failure::of(error) {
        Failure::Closed => silent(),
        Failure::Refused(alert) => CloseCause::Refused(alert),
        Failure::Lost(words) => CloseCause::Dead(words),
    }
}

const fn silent() -> CloseCause {
    CloseCause::Silent { settled: false }
}

/// The preface of a client (RFC 9113, 3.4), with empty SETTINGS, and a PING.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x08\x06\0\0\0\0\0apnsd :)";
const SETTINGS_ACK: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
/// No frame is longer unless we ask for it (RFC 9113, 4.2).
const FRAME_MAX: usize = 16 * 1024;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;

/// Waits for the answer to a PING.
async fn ping(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), CloseCause> {
    let broken = |error: io::Error| cause(&error);
    stream.write_all(HELLO).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.map_err(broken)?;
        let [l0, l1, l2, kind, flags, ..] = head;
        let length = usize::try_from(u32::from_be_bytes([0, l0, l1, l2])).unwrap_or(usize::MAX);
        if length > FRAME_MAX {
            return Err(CloseCause::Dead("what it sends is not HTTP/2".to_owned()));
        }
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.map_err(broken)?;
        match kind {
            PING if flags & ACK != 0 => return Ok(()),
            SETTINGS if flags & ACK == 0 => {
                stream.write_all(SETTINGS_ACK).await.map_err(broken)?;
                stream.flush().await.map_err(broken)?;
            }
            GOAWAY => return Err(goodbye(&payload)),
            _ => (),
        }
    }
}

/// What a GOAWAY means: Apple's names the reason in its debug data.
fn goodbye(payload: &[u8]) -> CloseCause {
    let named = payload.get(8..).and_then(|debug| {
        let debug: serde_json::Value = serde_json::from_slice(debug).ok()?;
        ApnsReason::from_name(debug.get("reason")?.as_str()?)
    });
    match named {
        Some(ApnsReason::Shutdown) | None => CloseCause::Shutdown,
        Some(reason) => CloseCause::Error(Reason::Apns(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a server that says this.
    async fn against(said: &[u8]) -> (Result<(), CloseCause>, Vec<u8>) {
        let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(said).await.unwrap();
        theirs.shutdown().await.unwrap();
        let judged = ping(&mut ours).await;
        drop(ours);
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        (judged, heard)
    }

    #[tokio::test]
    async fn an_answer_to_the_ping_says_that_the_credentials_are_taken() {
        // SETTINGS with MAX_CONCURRENT_STREAMS 1, WINDOW_UPDATE, SETTINGS acknowledged, PING acknowledged.
        let said = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x01\0\0\x04\x08\0\0\0\0\0\0\0\xff\xff\0\0\0\x04\x01\0\0\0\0\
            \0\0\x08\x06\x01\0\0\0\0apnsd :)";
        let (judged, heard) = against(said).await;
        assert_eq!(judged, Ok(()));
        let expected =
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x08\x06\0\0\0\0\0apnsd :)\0\0\0\x04\x01\0\0\0\0";
        assert_eq!(heard, expected);
    }

    #[tokio::test]
    async fn a_server_that_is_not_ours_answers() {
        let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
        let serve = async {
            let mut server = h2::server::handshake(theirs).await.unwrap();
            while server.accept().await.is_some_and(|request| request.is_ok()) {}
        };
        tokio::select! {
            judged = ping(&mut ours) => assert_eq!(judged, Ok(())),
            () = serve => panic!("it ended the connection"),
        }
    }

    #[tokio::test]
    async fn a_goaway_is_told_by_its_reason() {
        let goaway = |debug: &str| {
            let length = u8::try_from(8 + debug.len()).unwrap();
            [b"\0\0", &[length][..], b"\x07\0\0\0\0\0\0\0\0\0\0\0\0\0", debug.as_bytes()].concat()
        };
        let bad = Reason::Apns(ApnsReason::BadCertificateEnvironment);
        for (said, expected) in [
            (goaway(r#"{"reason":"BadCertificateEnvironment"}"#), CloseCause::Error(bad)),
            (goaway(r#"{"reason":"Shutdown"}"#), CloseCause::Shutdown),
            (goaway(""), CloseCause::Shutdown),
            (b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x01".to_vec(), CloseCause::Silent { settled: false }),
            (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), CloseCause::Dead("what it sends is not HTTP/2".to_owned())),
        ] {
            assert_eq!(against(&said).await.0, Err(expected));
        }
    }
}
