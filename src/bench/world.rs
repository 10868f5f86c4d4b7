//! The processes under measurement: a simulator for the whole run, and a daemon for each scenario, with a state
//! directory of its own that is removed afterwards.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;

use super::http::{Connection, Target};
use super::program::{Program, Usage};
use super::{BenchError, Remote, Settings};
use crate::client::Client;
use crate::clock::Clock;
use crate::shutdown::Shutdown;
use crate::xmlrpc::value::Value;

/// The app under measurement.
pub(super) const APP: &str = "bench";
/// The environment of the binary gateway; the names are the simulator's.
pub(super) const BINARY: &str = "sandbox-binary";
/// The environment of the HTTP/2 provider API.
pub(super) const HTTP2: &str = "sandbox";
/// An environment for a binary gateway in this process.
pub(super) const NEAR: &str = "near";
/// How long a process may take to come up, and a call that prepares something.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long notifications may take to arrive without one more of them arriving.
const STANDSTILL: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Where the simulator's services are.
pub(super) struct Gateway {
    pub(super) binary: SocketAddr,
    pub(super) http2: SocketAddr,
    control: SocketAddr,
}

/// What is there during the whole run.
pub(super) struct World {
    program: PathBuf,
    clock: Clock,
    pub(super) gateway: Gateway,
    /// Where [`NEAR`] is, if it is anywhere.
    pub(super) near: Option<SocketAddr>,
    simulator: Program,
    remote: Option<Remote>,
    daemons: u32,
    /// Dropped last: nobody writes into it any more.
    pub(super) dir: TempDir,
}

impl World {
    /// Starts the simulator.
    pub(super) async fn start(settings: &Settings, clock: Clock, shutdown: &Shutdown) -> Result<Self, BenchError> {
        let place = settings.dir.display();
        let dir = tempfile::Builder::new().prefix("apnsd-bench-").tempdir_in(&settings.dir);
        let dir = dir.map_err(BenchError::io(format!("make a directory in {place}")))?;
        let arguments = ["--count-only", "--dir"].map(OsStr::new);
        let free = ["--binary", "--feedback", "--http2", "--control"].map(|flag| [flag, "127.0.0.1:0"].map(OsStr::new));
        let path = dir.path().join("simulator");
        let all: Vec<&OsStr> =
            arguments.into_iter().chain([path.as_os_str()]).chain(free.into_iter().flatten()).collect();
        let mut simulator = Program::start(&settings.program, "simulate", &all, dir.path().join("simulator.log"))?;
        let told = tokio::time::timeout(PATIENCE, addresses(&mut simulator)).await;
        let Some((gateway, rest)) = told.ok().flatten() else { return Err(simulator.not_up()) };
        shutdown.spawn(drain(rest));
        let (program, remote) = (settings.program.clone(), settings.remote.clone());
        Ok(Self { program, clock, dir, gateway, near: None, simulator, remote, daemons: 0 })
    }

    /// The simulator's directory: certificates.
    pub(super) fn certificates(&self) -> PathBuf {
        self.dir.path().join("simulator")
    }

    /// A daemon for a scenario; the one that `--url` names, if there is one.
    pub(super) async fn daemon(&mut self) -> Result<Daemon, BenchError> {
        if let Some(Remote { url, app }) = &self.remote {
            let (target, client) = (Target::of_url(url).await?, Client::new(url, PATIENCE)?);
            let (app, clock) = (app.clone(), self.clock.clone());
            return Ok(Daemon { target, client, app, clock, own: None });
        }
        self.daemons += 1;
        let dir = self.dir.path().join(format!("daemon-{}", self.daemons));
        std::fs::create_dir(&dir).map_err(BenchError::io(format!("make {}", dir.display())))?;
        let address = free_address().await?;
        let config = dir.join("apnsd.toml");
        let text = config_text(address, &dir.join("state"), &self.certificates(), &self.gateway, self.near);
        std::fs::write(&config, text).map_err(BenchError::io(format!("write {}", config.display())))?;
        let mut own = Own { program: self.program.clone(), dir, process: None };
        own.start()?;
        let target = Target::local(address);
        let client = Client::new(&format!("http://{address}/"), PATIENCE)?;
        let mut daemon = Daemon { target, client, app: APP.to_owned(), clock: self.clock.clone(), own: Some(own) };
        daemon.ready().await?;
        Ok(daemon)
    }

    /// The counts of the simulator.
    pub(super) async fn counter(&self) -> Result<Counter, BenchError> {
        let target = Target::local(self.gateway.control);
        let connection = Connection::open(target.address).await?;
        let mut counter =
            Counter { connection, request: target.get("/summary"), clock: self.clock.clone(), zero: 0, open: 0 };
        counter.zero = counter.total().await?;
        Ok(counter)
    }

    /// What the simulator has used.
    pub(super) fn gateway_usage(&self) -> Option<Usage> {
        self.simulator.usage()
    }

    /// Whether notifications of the daemon under measurement arrive at the simulator of this run.
    pub(super) fn is_own(&self) -> bool {
        self.remote.is_none()
    }

    /// Ends the simulator and removes the files.
    pub(super) async fn stop(self) -> Result<(), BenchError> {
        self.simulator.stop().await?;
        let place = self.dir.path().display().to_string();
        self.dir.close().map_err(BenchError::io(format!("remove {place}")))
    }
}

/// The addresses that a simulator prints, and what it prints afterwards.
async fn addresses(simulator: &mut Program) -> Option<(Gateway, BufReader<tokio::process::ChildStdout>)> {
    let mut lines = BufReader::new(simulator.stdout()?);
    let (mut binary, mut http2, mut control) = (None, None, None);
    while binary.is_none() || http2.is_none() || control.is_none() {
        let mut line = String::new();
        if lines.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let address = |scheme: &str| {
            let (_, rest) = line.split_once(scheme)?;
            rest.split(['/', ' ', '\n']).next()?.parse::<SocketAddr>().ok()
        };
        match line.split("  ").next() {
            Some("HTTP/2 provider") => http2 = address("https://"),
            Some("binary gateway") => binary = address("binary://"),
            Some("control port") => control = address("http://"),
            Some(_) | None => (),
        }
    }
    Some((Gateway { binary: binary?, http2: http2?, control: control? }, lines))
}

/// Reads to the end, so that the writer is never held up.
async fn drain(mut lines: BufReader<tokio::process::ChildStdout>) {
    let mut line = String::new();
    while lines.read_line(&mut line).await.is_ok_and(|length| length > 0) {
        line.clear();
    }
}

async fn free_address() -> Result<SocketAddr, BenchError> {
    let take = async { TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr() };
    take.await.map_err(BenchError::io("take a free port"))
}

/// The configuration of a daemon under measurement: defaults, but for where everything is.
fn config_text(
    listen: SocketAddr,
    state: &Path,
    certificates: &Path,
    gateway: &Gateway,
    near: Option<SocketAddr>,
) -> String {
    let quoted = |path: &Path| toml::Value::String(path.to_string_lossy().into_owned());
    let ca = quoted(&certificates.join("ca.pem"));
    let (state, certificates) = (quoted(state), quoted(certificates));
    let Gateway { binary, http2, .. } = gateway;
    let near = near.unwrap_or(*binary);
    format!(
        "listen = [\"{listen}\"]\nstate_dir = {state}\n\n[provision]\ncertificate_dirs = [{certificates}]\n\n\
         [environments.{HTTP2}]\ngateway = \"https://{http2}\"\nca = {ca}\n\n\
         [environments.{BINARY}]\ngateway = \"binary://{binary}\"\nca = {ca}\n\n\
         [environments.{NEAR}]\ngateway = \"binary://{near}\"\nca = {ca}\n"
    )
}

/// The daemon under measurement.
pub(super) struct Daemon {
    pub(super) target: Target,
    client: Client,
    /// The app to call for.
    pub(super) app: String,
    clock: Clock,
    own: Option<Own>,
}

/// A daemon that this run started.
struct Own {
    program: PathBuf,
    dir: PathBuf,
    process: Option<Program>,
}

impl Own {
    fn start(&mut self) -> Result<(), BenchError> {
        let config = self.dir.join("apnsd.toml");
        let arguments = [OsStr::new("--config"), config.as_os_str()];
        self.process = Some(Program::start(&self.program, "serve", &arguments, self.dir.join("log"))?);
        Ok(())
    }
}

impl Daemon {
    /// Waits until it answers that it is ready; how long that took.
    async fn ready(&mut self) -> Result<Duration, BenchError> {
        let began = self.clock.now();
        let request = self.target.get("/healthz");
        loop {
            if let Ok(mut connection) = Connection::open(self.target.address).await
                && let Ok(answer) = connection.exchange(&request).await
                && answer.status == 200
            {
                return Ok(self.clock.now().since(began));
            }
            if let Some(process) = self.own.as_mut().and_then(|own| own.process.as_mut())
                && (process.has_ended() || self.clock.now().since(began) > PATIENCE)
            {
                return Err(process.not_up());
            }
            self.clock.sleep(LOOK_AGAIN).await;
        }
    }

    /// Makes a call that prepares something.
    pub(super) async fn call(&self, method: &str, params: Vec<Value<'_>>) -> Result<Value<'static>, BenchError> {
        Ok(self.client.call(method, params).await?)
    }

    /// Provisions an app with the simulator's certificate; not for the daemon of somebody else.
    pub(super) async fn provision(
        &self,
        world: &World,
        app: &str,
        environment: &str,
        connections: u8,
    ) -> Result<(), BenchError> {
        if self.own.is_none() {
            return Ok(());
        }
        let certificate = world.certificates().join("good.pem").to_string_lossy().into_owned();
        let options = vec![("connections".into(), Value::Int(connections.into()))];
        let params = [app, &certificate, environment].map(|text| Value::string(text.to_owned())).into_iter();
        let params = params.chain([Value::Int(15), Value::structure(options)]).collect();
        self.call("provision", params).await.map(drop)
    }

    /// Stops sending, while calls are accepted.
    pub(super) async fn pause(&self) -> Result<(), BenchError> {
        self.call("apnsd.pause", vec![Value::string(self.app.clone())]).await.map(drop)
    }

    /// Sends again.
    pub(super) async fn resume(&self) -> Result<(), BenchError> {
        self.call("apnsd.resume", vec![Value::string(self.app.clone())]).await.map(drop)
    }

    /// What it has used; `None` for the daemon of somebody else, or where the system does not tell.
    pub(super) fn usage(&self) -> Option<Usage> {
        self.own.as_ref()?.process.as_ref()?.usage()
    }

    /// Stops it and starts it again on what it left behind. When it was started again, and how long it then took until
    /// it answered.
    pub(super) async fn restart(&mut self) -> Result<(crate::clock::Instant, Duration), BenchError> {
        let Some(own) = &mut self.own else { return Err(BenchError::Url) };
        if let Some(process) = own.process.take() {
            process.stop().await?;
        }
        let at = self.clock.now();
        own.start()?;
        Ok((at, self.ready().await?))
    }

    /// Ends it, and removes what it kept.
    pub(super) async fn stop(self) -> Result<(), BenchError> {
        let Some(own) = self.own else { return Ok(()) };
        if let Some(process) = own.process {
            process.stop().await?;
        }
        std::fs::remove_dir_all(&own.dir).map_err(BenchError::io(format!("remove {}", own.dir.display())))
    }
}

/// How many notifications the simulator has, counted from when this was made.
pub(super) struct Counter {
    connection: Connection,
    request: Vec<u8>,
    clock: Clock,
    zero: u64,
    /// Connections to the binary gateway that are open.
    open: u64,
}

impl Counter {
    async fn total(&mut self) -> Result<u64, BenchError> {
        let answer = self.connection.exchange(&self.request).await?;
        let summary: Json = serde_json::from_slice(answer.body).unwrap_or_default();
        let count = |pointer: &str| summary.pointer(pointer).and_then(Json::as_u64);
        self.open = count("/open").unwrap_or_default();
        match (count("/accepted"), count("/http2/accepted")) {
            (Some(binary), Some(http2)) => Ok(binary + http2),
            _ => Err(BenchError::Refused("the simulator's summary has no counts".to_owned())),
        }
    }

    /// Waits until so many arrived; when that was, to about a millisecond.
    pub(super) async fn wait(&mut self, wanted: u64) -> Result<crate::clock::Instant, BenchError> {
        let (mut seen, mut moved) = (0, self.clock.now());
        loop {
            let has = self.total().await?.saturating_sub(self.zero);
            let now = self.clock.now();
            if has >= wanted {
                return Ok(now);
            }
            if has > seen {
                (seen, moved) = (has, now);
            }
            if now.since(moved) > STANDSTILL {
                return Err(BenchError::Missing { has, wanted, seconds: STANDSTILL.as_secs() });
            }
            self.clock.sleep(LOOK_AGAIN).await;
        }
    }

    /// Connections to the binary gateway that are open now.
    pub(super) async fn open_connections(&mut self) -> Result<u64, BenchError> {
        self.total().await?;
        Ok(self.open)
    }
}
