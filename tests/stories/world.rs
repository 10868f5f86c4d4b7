//! A simulator, a daemon on it and a client of the daemon, all on free ports of this machine.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use apnsd::client::{Client, ClientError};
use apnsd::clock::Clock;
use apnsd::config::Config;
use apnsd::daemon::{Daemon, Stopped};
use apnsd::domain::app::Environment;
use apnsd::shutdown::Shutdown;
use apnsd::simulator::journal::entry::{Notification, Verdict};
use apnsd::simulator::{Settings, Simulator};
use apnsd::xmlrpc::value::Value;
use tempfile::TempDir;

/// No step of any story takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The app that every story uses.
pub(crate) const APP: &str = "app";

/// Everything that a story needs. Its tasks end with the runtime of the test.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) daemon: Daemon,
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    /// What the daemon was started with.
    pub(crate) config: Config,
    /// For which apps are provisioned.
    environment: &'static str,
    _dir: TempDir,
}

impl World {
    /// A world with a provisioned app.
    pub(crate) async fn with_app(configure: impl FnOnce(&mut Config)) -> Self {
        let world = Self::start(configure).await;
        world.provision(&world.simulator.certificates().good.pem).await.unwrap();
        world
    }

    /// A world without apps, over the binary gateway.
    pub(crate) async fn start(configure: impl FnOnce(&mut Config)) -> Self {
        let world = Self::over_http2(|config| {
            over_the_binary_gateway(config);
            configure(config);
        });
        Self { environment: "sandbox-binary", ..world.await }
    }

    /// A world without apps, over the HTTP/2 provider API.
    pub(crate) async fn over_http2(configure: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, outside) = (Clock::system(), Shutdown::new());
        let settings = Settings::on_free_ports(dir.path());
        let simulator = Simulator::start(settings, clock.clone(), &outside).await.unwrap();
        let loaded = Config::load(Some(simulator.config_file()), std::iter::empty(), clock.timestamp());
        let (mut config, _) = loaded.unwrap();
        config.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.shutdown.deadline = Duration::from_secs(5);
        configure(&mut config);
        let daemon = Daemon::start(&config, clock.clone()).await.unwrap();
        let client = Client::new(&format!("http://{}", daemon.addresses()[0]), PATIENCE).unwrap();
        Self { simulator, daemon, client, clock, config, environment: "sandbox", _dir: dir }
    }

    /// Stops the daemon in order; how it stopped, and the simulator that it leaves behind.
    pub(crate) async fn stop(self) -> (Simulator, Stopped) {
        let Self { simulator, daemon, .. } = self;
        let stopped = daemon.stop().await;
        (simulator, stopped)
    }

    /// Stops the daemon in order and starts another one on the same state.
    pub(crate) async fn restarted(self) -> Self {
        let Self { simulator, daemon, clock, config, environment, _dir, .. } = self;
        daemon.stop().await;
        let daemon = Daemon::start(&config, clock.clone()).await.unwrap();
        let client = Client::new(&format!("http://{}", daemon.addresses()[0]), PATIENCE).unwrap();
        Self { simulator, daemon, client, clock, config, environment, _dir }
    }

    pub(crate) async fn provision(&self, certificate: &str) -> Result<(), ClientError> {
        self.provision_as(APP, certificate).await
    }

    pub(crate) async fn provision_as(&self, app: &str, certificate: &str) -> Result<(), ClientError> {
        let arguments = [app, certificate, self.environment].map(|text| Value::string(text.to_owned()));
        self.client.call("provision", arguments.to_vec()).await.map(drop)
    }

    /// Provisions the app with the simulator's `.p8` key.
    pub(crate) async fn provision_key(&self, app: &str) -> Result<(), ClientError> {
        let key = &self.simulator.certificates().provider_keys.good;
        let options = [("key_id", key.key_id), ("team_id", key.team_id), ("topic", "com.example.app")];
        let options = options.map(|(name, text)| (name.into(), Value::string(text.to_owned())));
        let arguments = vec![
            Value::string(app.to_owned()),
            Value::string(key.file.pem.clone()),
            Value::string("sandbox"),
            Value::Nil,
            Value::structure(options.to_vec()),
        ];
        self.client.call("provision", arguments).await.map(drop)
    }

    /// Tells the simulator what goes wrong, as its control port would.
    pub(crate) fn faults(&self, command: &str) {
        let command = serde_json::from_str(command).unwrap_or_else(|error| panic!("{command}: {error}"));
        self.simulator.script().command(command).unwrap();
    }

    /// Replaces the app's certificate by a new one, by force.
    pub(crate) async fn replace(&self, bundle_id: &str) -> Result<(), ClientError> {
        let pem = Value::string(self.simulator.certificates().issue(bundle_id).unwrap());
        let options = Value::structure(vec![("force".into(), Value::Boolean(true))]);
        let arguments = vec![Value::string(APP), pem, Value::string(self.environment), Value::Int(15), options];
        self.client.call("provision", arguments).await.map(drop)
    }

    /// One call with these tokens, each with a notification of its own.
    pub(crate) async fn notify(&self, tokens: &[String]) -> Result<(), ClientError> {
        let notifications = (0..tokens.len()).map(|n| alert(&format!("number {n}"))).collect();
        let tokens = tokens.iter().cloned().map(Value::string).collect();
        let arguments = vec![Value::string(APP), Value::Array(tokens), Value::Array(notifications)];
        self.client.call("notify", arguments).await.map(drop)
    }

    /// The app's rejections as (token, reason), once there are `count` of them.
    pub(crate) async fn rejections(&self, count: usize) -> Vec<(String, String)> {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let rejections = self.rejections_now().await;
                if rejections.len() >= count {
                    return rejections;
                }
                self.clock.sleep(Duration::from_millis(20)).await;
            }
        });
        found.await.unwrap_or_else(|_| panic!("fewer than {count} rejections"))
    }

    /// All rejections of the app so far, page by page.
    pub(crate) async fn rejections_now(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let arguments = vec![Value::string(APP), Value::string(cursor.clone())];
            let page = self.client.call("apnsd.rejections", arguments).await.unwrap();
            let Value::Array(rejections) = member(&page, "rejections") else { panic!("{page:?}") };
            if rejections.is_empty() {
                return all;
            }
            all.extend(rejections.iter().map(|entry| (text(entry, "token"), text(entry, "reason"))));
            cursor = text(&page, "cursor");
        }
    }

    /// What the gateway accepted, in order.
    pub(crate) fn accepted(&self) -> Vec<String> {
        self.received(|verdict| verdict == Verdict::Accepted)
    }

    /// Tokens of what the gateway received with such a verdict, in order.
    pub(crate) fn received(&self, wanted: impl Fn(Verdict) -> bool) -> Vec<String> {
        let notifications = self.simulator.journal().notifications();
        let wanted = |(_, notification): (u64, Notification)| {
            wanted(notification.verdict).then(|| hex(notification.token.as_deref().unwrap_or_default()))
        };
        notifications.into_iter().filter_map(wanted).collect()
    }

    /// Waits until the gateway accepted each of these at least once.
    pub(crate) async fn wait_until_arrived(&self, tokens: &[String]) {
        let mut accepted = 0;
        let arrived = tokio::time::timeout(PATIENCE, async {
            loop {
                let journal = self.simulator.journal();
                accepted = journal.wait_until(|summary| summary.accepted > accepted).await.accepted;
                let so_far: BTreeSet<String> = self.accepted().into_iter().collect();
                if tokens.iter().all(|token| so_far.contains(token)) {
                    return;
                }
            }
        });
        assert!(arrived.await.is_ok(), "not all arrived: {:?}", self.simulator.journal().summary());
    }

    /// Waits until the gateway accepted so many.
    pub(crate) async fn wait_until_accepted(&self, count: u64) {
        let waited = self.simulator.journal().wait_until(|summary| summary.accepted >= count);
        let waited = tokio::time::timeout(PATIENCE, waited).await;
        assert!(waited.is_ok(), "not {count} accepted: {:?}", self.simulator.journal().summary());
    }

    /// Waits until the app is in a state; its status then.
    pub(crate) async fn wait_until_state(&self, wanted: &str) -> Value<'static> {
        self.wait_until_status(|status| text(status, "state") == wanted).await
    }

    /// Waits until something counts as delivered or rejected.
    pub(crate) async fn wait_until_an_outcome(&self) {
        let is_none = |status: &Value<'static>, name: &str| member(status, name) == &Value::Int(0);
        self.wait_until_status(|status| !is_none(status, "delivered") || !is_none(status, "rejected")).await;
    }

    /// Waits until the app's status is as wanted; that status.
    pub(crate) async fn wait_until_status(&self, wanted: impl Fn(&Value<'static>) -> bool) -> Value<'static> {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let status = self.client.call("apnsd.status", vec![Value::string(APP)]).await.unwrap();
                if wanted(&status) {
                    return status;
                }
                self.clock.sleep(Duration::from_millis(20)).await;
            }
        });
        found.await.expect("the status never came")
    }
}

/// The plain names lead to the binary gateway here, as one line of a configuration makes them.
fn over_the_binary_gateway(config: &mut Config) {
    for name in ["sandbox", "production"] {
        let binary = Arc::clone(&config.environments[&*format!("{name}-binary")]);
        config.environments.insert(name.into(), Arc::new(Environment { name: name.into(), ..(*binary).clone() }));
    }
}

/// A token that the simulator knows by its number and its first bytes.
pub(crate) fn token(prefix: &str, number: usize) -> String {
    format!("{prefix:0<56}{number:08x}")
}

/// 13 tokens, the seventh of them bad in the way that its prefix says.
pub(crate) fn thirteen(bad: &str) -> Vec<String> {
    (1..=13).map(|number| token(if number == 7 { bad } else { "aa" }, number)).collect()
}

pub(crate) fn alert(text: &str) -> Value<'static> {
    let aps = Value::structure(vec![("alert".into(), Value::string(text.to_owned()))]);
    Value::structure(vec![("aps".into(), aps)])
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

/// Why the app cannot send, as its status says it; empty where nothing stands in the way.
pub(crate) fn cause(status: &Value<'static>) -> String {
    let Value::Struct(members) = status else { panic!("no struct: {status:?}") };
    if members.iter().any(|(name, _)| name == "cause") { text(status, "cause") } else { String::new() }
}

fn hex(bytes: &[u8]) -> String {
    apnsd::domain::token::token_hex(bytes)
}
