//! Everything that outlives a daemon: its state directory, its ports, its apps, the gateway.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use apnsd::client::{Client, ClientError};
use apnsd::clock::Clock;
use apnsd::shutdown::Shutdown;
use apnsd::simulator::certificates::Certificates;
use apnsd::simulator::{Settings, Simulator};
use apnsd::xmlrpc::value::Value;
use tempfile::TempDir;

use crate::process::{Daemon, Ended};

/// No single step takes this long, on a busy machine either.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(5);
/// Entries of a million notifications and more.
const JOURNAL_MEMORY: usize = 2 << 30;

/// How an app reaches its gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The binary gateway.
    Binary,
    /// The HTTP/2 provider API, with a certificate.
    Certificate,
    /// The HTTP/2 provider API, with a key that signs provider tokens.
    Key,
}

/// Apps over HTTP/2, every other with a key.
pub(crate) const HTTP2: &[Way] = &[Way::Certificate, Way::Key];

impl Way {
    /// Name of the environment that leads there.
    fn environment(self) -> &'static str {
        match self {
            Self::Binary => "sandbox-binary",
            Self::Certificate | Self::Key => "sandbox",
        }
    }

    /// Why a bad token is rejected there.
    pub(crate) fn bad_token(self) -> &'static str {
        match self {
            Self::Binary => "InvalidToken",
            Self::Certificate | Self::Key => "BadDeviceToken",
        }
    }
}

/// A machine with a daemon on it. Its daemons come and go.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) clock: Clock,
    pub(crate) certificates: Certificates,
    /// Where the daemon keeps its state, as the daemon sees it.
    pub(crate) state_dir: PathBuf,
    /// What stands before the daemon's own command line.
    pub(crate) wrapper: Vec<String>,
    /// Of the apps, in turn.
    ways: &'static [Way],
    address: SocketAddr,
    gateway: SocketAddr,
    feedback: SocketAddr,
    provider_api: SocketAddr,
    keys: Vec<(String, String)>,
    gateways: Shutdown,
    dir: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let (clock, dir) = (Clock::system(), tempfile::tempdir().unwrap());
        let certificates = Certificates::open(&dir.path().join("simulator"), &clock).unwrap();
        let site = Self {
            clock,
            certificates,
            state_dir: dir.path().join("state"),
            wrapper: Vec::new(),
            ways: &[Way::Binary],
            address: free_address(),
            gateway: free_address(),
            feedback: free_address(),
            provider_api: free_address(),
            keys: Vec::new(),
            gateways: Shutdown::new(),
            dir,
        };
        site.with("delivery.settle_after", "500ms").with("shutdown.deadline", "20s").with("store.min_free", "1MiB")
    }

    /// With apps that go other ways than over the binary gateway, in turn.
    pub(crate) fn over(mut self, ways: &'static [Way]) -> Self {
        self.ways = ways;
        self
    }

    /// With a key of the configuration.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.set(key, value);
        self
    }

    /// Sets a key of the configuration for daemons to come.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        let variable = format!("APNSD__{}", key.to_uppercase().replace('.', "__"));
        self.keys.retain(|(other, _)| *other != variable);
        self.keys.push((variable, value.to_owned()));
    }

    /// Where the daemon listens, each one.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A directory of its own, for whatever a test needs.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The name of an app.
    pub(crate) fn app(number: usize) -> String {
        format!("app-{number}")
    }

    /// The way of an app.
    pub(crate) fn way(&self, number: usize) -> Way {
        self.ways[number % self.ways.len()]
    }

    /// Opens the gateway, which is closed until then.
    pub(crate) async fn open_gateway(&self) -> Simulator {
        let settings = Settings {
            binary: self.gateway,
            feedback: self.feedback,
            http2: self.provider_api,
            control: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            journal_memory: JOURNAL_MEMORY,
            ..Settings::new(&self.certificates.dir)
        };
        Simulator::start(settings, self.clock.clone(), &self.gateways).await.unwrap()
    }

    /// Starts a daemon that takes calls when this returns, and how long that took.
    pub(crate) async fn start(&self) -> (Daemon, Duration) {
        let began = self.clock.now();
        match self.start_or_refused(self.address).await {
            Ok(daemon) => (daemon, self.clock.now().since(began)),
            Err(Ended { code, log }) => panic!("it ended with {code:?} instead of starting:\n{log}"),
        }
    }

    /// Starts a daemon that is to refuse; how it ended.
    pub(crate) async fn start_refused(&self, address: SocketAddr) -> Ended {
        match self.start_or_refused(address).await {
            Ok(daemon) => panic!("it takes calls:\n{}", daemon.log()),
            Err(ended) => ended,
        }
    }

    /// Starts a daemon that may do either.
    pub(crate) async fn start_or_refused(&self, address: SocketAddr) -> Result<Daemon, Ended> {
        let mut daemon = Some(self.spawn(address));
        let client = Client::new(&format!("http://{address}"), PATIENCE).unwrap();
        until(&self.clock, "a daemon that answers or ends", async || {
            if let Some(ended) = daemon.as_mut()?.exit() {
                return Some(Err(ended));
            }
            client.call("system.listMethods", Vec::new()).await.ok()?;
            daemon.take().map(Ok)
        })
        .await
    }

    fn spawn(&self, address: SocketAddr) -> Daemon {
        let config = self.dir.path().join("apnsd.toml");
        std::fs::write(&config, self.config()).unwrap();
        let mut line = self.wrapper.clone();
        line.extend([env!("CARGO_BIN_EXE_apnsd"), "serve", "--listen"].map(str::to_owned));
        line.extend([address.to_string(), "--config".to_owned(), config.display().to_string()]);
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).env("NO_COLOR", "1").envs(self.keys.iter().cloned());
        Daemon::spawn(command, self.dir.path().join("daemon.log"), self.clock.clone())
    }

    fn config(&self) -> String {
        let Self { state_dir, gateway, feedback, provider_api, .. } = self;
        let ca = &self.certificates.ca.path;
        format!(
            "state_dir = {state_dir:?}\n\n[provision]\ncertificate_dirs = [{:?}]\n\n\
             [environments.sandbox]\ngateway = \"https://{provider_api}\"\nca = {ca:?}\n\n\
             [environments.sandbox-binary]\ngateway = \"binary://{gateway}\"\nfeedback = \"binary://{feedback}\"\n\
             ca = {ca:?}\n",
            self.dir()
        )
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.address), PATIENCE).unwrap()
    }

    /// Provisions apps 0 to `count`: each with a certificate of its own, or all with one key.
    pub(crate) async fn provision(&self, count: usize) {
        for number in 0..count {
            let bundle_id = format!("com.example.{number}");
            match self.way(number) {
                Way::Binary | Way::Certificate => {
                    let pem = self.certificates.issue(&bundle_id).unwrap();
                    self.provision_with(number, &pem, &[]).await.unwrap();
                }
                Way::Key => {
                    let key = &self.certificates.provider_keys.good;
                    let options = [("key_id", key.key_id), ("team_id", key.team_id), ("topic", &bundle_id)];
                    self.provision_with(number, &key.file.pem, &options).await.unwrap();
                }
            }
        }
    }

    /// Provisions an app with these credentials, or with those in a file, whatever it had.
    pub(crate) async fn provision_with(
        &self,
        number: usize,
        credentials: &str,
        options: &[(&'static str, &str)],
    ) -> Result<(), ClientError> {
        let string = |text: &str| Value::string(text.to_owned());
        let options = options.iter().map(|(name, text)| ((*name).into(), string(text)));
        let options = options.chain([("force".into(), Value::Boolean(true))]).collect();
        let [app, environment] = [&Self::app(number), self.way(number).environment()].map(string);
        let arguments = vec![app, string(credentials), environment, Value::Int(15), Value::Struct(options)];
        self.client().call("provision", arguments).await.map(drop)
    }

    /// Waits until apps 0 to `count` have neither waiting nor unsettled notifications.
    pub(crate) async fn drained(&self, count: usize) {
        for number in 0..count {
            self.app_drained(number).await;
        }
    }

    /// The same for one app. It may take as long as it likes, as long as something moves.
    pub(crate) async fn app_drained(&self, number: usize) {
        let mut left = Vec::new();
        while left != [Value::Int(0), Value::Int(0)] {
            left = until(&self.clock, "an empty queue, or a shorter one", async || {
                let status = self.client().call("apnsd.status", vec![Value::string(Self::app(number))]).await.ok()?;
                let now = ["waiting", "in_flight"].map(|name| member(&status, name).clone());
                (left != now || now == [Value::Int(0), Value::Int(0)]).then(|| now.to_vec())
            })
            .await;
        }
    }

    /// All rejections of an app: token in hex, and reason.
    pub(crate) async fn rejections(&self, number: usize) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let arguments = vec![Value::string(Self::app(number)), Value::string(cursor.clone())];
            let page = self.client().call("apnsd.rejections", arguments).await.unwrap();
            let Value::Array(entries) = member(&page, "rejections") else { panic!("{page:?}") };
            if entries.is_empty() {
                return all;
            }
            all.extend(entries.iter().map(|entry| (text(entry, "token"), text(entry, "reason"))));
            cursor = text(&page, "cursor");
        }
    }
}

impl Drop for Site {
    /// A test that failed shows what the daemons said last.
    fn drop(&mut self) {
        self.gateways.stop();
        if std::thread::panicking() {
            let log = std::fs::read(self.dir.path().join("daemon.log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the end of the daemons' log:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T>(clock: &Clock, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let answer = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            clock.sleep(LOOK).await;
        }
    });
    answer.await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

/// A seed by chance, unless one is given.
pub(crate) fn seed() -> u64 {
    variable("APNSD_TEST_SEED").map_or_else(|| fastrand::u64(..1_000_000), |seed| seed.parse().unwrap())
}

/// What a variable says about the run.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

pub(crate) fn member<'a>(value: &'a Value<'static>, name: &str) -> &'a Value<'static> {
    let Value::Struct(members) = value else { panic!("no struct: {value:?}") };
    members.iter().find(|(member, _)| member == name).map(|(_, value)| value).expect(name)
}

pub(crate) fn text(value: &Value<'static>, name: &str) -> String {
    match member(value, name) {
        Value::String(text) => text.to_string(),
        other => panic!("{name} is no string: {other:?}"),
    }
}

/// A port that nobody has, below those that the system gives to outgoing connections: a client that connects to it
/// while nobody listens must not meet itself, and nobody may take it while a daemon is restarted.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const PORTS: u16 = 20_000;
    let first = u16::try_from(u64::from(std::process::id()) * 131 % u64::from(PORTS)).unwrap();
    loop {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 10_000 + offset));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
