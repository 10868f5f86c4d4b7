//! Frames of the binary gateway through one TLS connection, written as they lie in memory, to somebody who drops them
//! and to the simulator, who reads them.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{client_config, provider, server_name};
use crate::bench::BenchError;
use crate::bench::bodies::{FRAME, payload, token_bytes};
use crate::bench::load::per_second;
use crate::clock::Clock;
use crate::domain::batch::{Message, Notification, PushOptions};
use crate::gateway::binary::frame::encode_frame;

/// Bytes of a write, at most: whole frames.
const WRITE: usize = 48 * 1024;

/// Frames a second to a peer that reads and drops them.
pub(super) fn to_a_sink(span: Duration, clock: &Clock) -> Result<f64, BenchError> {
    let measure = || {
        let (server, client) = self_signed()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let sink = std::thread::spawn(move || drop_all(&listener, server));
        let rate = write(address, client, span, clock)?;
        sink.join().map_err(|_| io::Error::other("the reader panicked"))??;
        Ok(rate)
    };
    measure().map_err(BenchError::io("measure frames over TLS"))
}

/// Frames a second to a binary gateway.
pub(super) fn to_a_gateway(
    address: SocketAddr,
    certificates: &Path,
    span: Duration,
    clock: &Clock,
) -> Result<f64, BenchError> {
    let client = client_config(certificates, &[])?;
    write(address, Arc::new(client), span, clock).map_err(BenchError::io("write frames to the simulator"))
}

/// Writes for so long, and waits until the peer has closed, which it does when it has read everything.
fn write(address: SocketAddr, config: Arc<ClientConfig>, span: Duration, clock: &Clock) -> io::Result<f64> {
    let chunk = chunk();
    let tcp = TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    let session = ClientConnection::new(config, server_name(address)).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, tcp);
    stream.write_all(&chunk)?;
    let (began, mut writes) = (clock.now(), 0_u64);
    while clock.now().since(began) < span {
        stream.write_all(&chunk)?;
        writes += 1;
    }
    stream.conn.send_close_notify();
    stream.flush()?;
    let end = stream.read(&mut [0])?;
    let took = clock.now().since(began);
    match end {
        0 => Ok(per_second(writes * (chunk.len() / FRAME) as u64, took)),
        _ => Err(io::Error::other("the peer said something")),
    }
}

fn chunk() -> BytesMut {
    let mut chunk = BytesMut::with_capacity(WRITE);
    let options = PushOptions { expiration: Some(u32::MAX), priority: Some(10), ..PushOptions::default() };
    let message = Message { payload: payload(0).into_bytes().into(), options };
    for number in 0..WRITE / FRAME {
        let token = token_bytes(number);
        encode_frame(number as u32 + 1, &Notification { token: &token, message: &message }, &mut chunk);
    }
    chunk
}

fn drop_all(listener: &TcpListener, config: Arc<ServerConfig>) -> io::Result<()> {
    let (tcp, _) = listener.accept()?;
    let mut stream = StreamOwned::new(ServerConnection::new(config).map_err(io::Error::other)?, tcp);
    let mut buffer = vec![0; 64 * 1024];
    while stream.read(&mut buffer)? > 0 {}
    stream.conn.send_close_notify();
    stream.flush()
}

fn self_signed() -> io::Result<(Arc<ServerConfig>, Arc<ClientConfig>)> {
    let made = rcgen::generate_simple_self_signed(vec![Ipv4Addr::LOCALHOST.to_string()]).map_err(io::Error::other)?;
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate.clone()], key));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).map_err(io::Error::other)?;
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth());
    Ok((Arc::new(server.map_err(io::Error::other)?), Arc::new(client.map_err(io::Error::other)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_whole_frames_of_the_length_that_was_said() {
        assert_eq!(chunk().len(), WRITE / FRAME * FRAME);
    }

    #[test]
    fn a_sink_takes_frames() {
        assert!(to_a_sink(Duration::from_millis(1), &Clock::system()).unwrap() > 0.0);
    }
}
