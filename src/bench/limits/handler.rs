//! HTTP: a handler on axum that reads its request and answers as the daemon does, and does nothing else; called by the
//! same callers as the daemon. It has a runtime of its own, as large as the daemon's.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::serve::ListenerExt as _;
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::bench::http::Target;
use crate::bench::load::Load;
use crate::bench::{BenchError, bodies};
use crate::clock::Clock;
use crate::shutdown::Shutdown;

/// As long as the daemon's answer to `notify`.
const ANSWER: &str = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><nil/></value></param>\n\
    </params>\n</methodResponse>\n";

/// Calls for so long; how many in a second.
pub(super) async fn posts(
    connections: usize,
    reconnect: bool,
    span: Duration,
    clock: &Clock,
    shutdown: &Shutdown,
) -> Result<f64, BenchError> {
    let stop = shutdown.child();
    let (started, address) = oneshot::channel();
    let server = {
        let stop = stop.clone();
        std::thread::spawn(move || serve(started, stop))
    };
    let failed = BenchError::io("start an HTTP server");
    let Ok(address) = address.await else {
        stop.stop();
        return Err(failed(io::Error::other("it ended at once")));
    };
    let target = Target::local(address);
    let request = target.post(&bodies::single("limit"));
    let load = Load { target: &target, request: &request, connections, reconnect, span, calls_max: None };
    let done = load.run(clock).await;
    stop.stop();
    let ended = tokio::task::spawn_blocking(move || server.join()).await;
    match ended {
        Ok(Ok(Ok(()))) => Ok(done?.rate()),
        Ok(Ok(Err(error))) => Err(failed(error)),
        Ok(Err(_)) | Err(_) => Err(failed(io::Error::other("it panicked"))),
    }
}

fn serve(started: oneshot::Sender<SocketAddr>, stop: Shutdown) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        // Where it cannot be set, small answers are slower, and the figure says so.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let router = Router::new().fallback(|_body: Bytes| async { ([(CONTENT_TYPE, "text/xml")], ANSWER) });
        if started.send(address).is_err() {
            return Ok(());
        }
        tokio::select! {
            served = axum::serve(listener, router).into_future() => served,
            () = stop.requested() => Ok(()),
        }
    });
    runtime.shutdown_background();
    served
}
