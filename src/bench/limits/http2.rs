//! The provider API by the h2 crate's client and nothing around it: as many requests at once as the simulator allows.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt as _, TryFutureExt as _};
use h2::client::SendRequest;
use http::{Method, Request, StatusCode, Version};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{client_config, server_name};
use crate::bench::BenchError;
use crate::bench::bodies::{payload, token_bytes};
use crate::bench::load::per_second;
use crate::clock::Clock;
use crate::shutdown::Shutdown;
use crate::simulator::certificates::BUNDLE_ID;

/// Requests at once on a connection: the limit that Apple and the simulator set.
const STREAMS: usize = 1000;

/// Requests for so long over so many connections; answers a second.
pub(super) async fn requests(
    address: SocketAddr,
    certificates: &Path,
    connections: usize,
    span: Duration,
    clock: &Clock,
    shutdown: &Shutdown,
) -> Result<f64, BenchError> {
    let config = Arc::new(client_config(certificates, &[b"h2"])?);
    let opened = (0..connections).map(|_| open(address, config.clone(), shutdown));
    let opened = try_join_all(opened).await?;
    let began = clock.now();
    let counts = opened.into_iter().map(|sender| converse(sender, address, span, clock));
    let count: u64 = try_join_all(counts).await?.into_iter().sum();
    Ok(per_second(count, clock.now().since(began)))
}

async fn open(
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
    shutdown: &Shutdown,
) -> Result<SendRequest<Bytes>, BenchError> {
    let connect = async {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(config).connect(server_name(address), tcp).await
    };
    let stream = connect.await.map_err(BenchError::io("connect to the simulator"))?;
    let (sender, connection) = h2::client::handshake(stream).await.map_err(failed)?;
    // It ends with the last request; what ends it earlier, the requests tell.
    shutdown.spawn(connection.unwrap_or_else(drop));
    sender.ready().await.map_err(failed)
}

async fn converse(
    mut sender: SendRequest<Bytes>,
    address: SocketAddr,
    span: Duration,
    clock: &Clock,
) -> Result<u64, BenchError> {
    let began = clock.now();
    let body = Bytes::from(payload(0));
    let mut answers = FuturesUnordered::new();
    let (mut sent, mut answered) = (0, 0);
    loop {
        while answers.len() < STREAMS && clock.now().since(began) < span {
            let (answer, mut stream) = sender.send_request(request(address, sent)?, false).map_err(failed)?;
            stream.send_data(body.clone(), true).map_err(failed)?;
            answers.push(answer);
            sent += 1;
        }
        let Some(answer) = answers.next().await else { return Ok(answered) };
        match answer.map_err(failed)?.status() {
            StatusCode::OK => answered += 1,
            _ => return Err(BenchError::Refused("the simulator rejected a request".to_owned())),
        }
    }
}

/// What the daemon sends, but for the id, which the simulator makes then.
fn request(address: SocketAddr, number: usize) -> Result<Request<()>, BenchError> {
    let token: String = token_bytes(number).iter().map(|byte| format!("{byte:02x}")).collect();
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("https://{address}/3/device/{token}"))
        .header("apns-push-type", "alert")
        .header("apns-topic", BUNDLE_ID)
        .header("apns-priority", "10")
        .header("apns-expiration", "4294967295")
        .body(());
    request.map_err(|error| BenchError::io("make a request")(std::io::Error::other(error)))
}

fn failed(error: h2::Error) -> BenchError {
    BenchError::io("send requests to the simulator")(std::io::Error::other(error))
}
