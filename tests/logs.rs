//! What a daemon writes to its log: for one app more than for others, repeats as one line, and never a secret.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use apnsd::client::Client;
use apnsd::clock::Clock;
use apnsd::listener::user::Token;
use apnsd::shutdown::Shutdown;
use apnsd::simulator::{Settings, Simulator};
use apnsd::xmlrpc::value::Value;
use tempfile::TempDir;

/// No step takes this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A simulator in this process, and a daemon as a process of its own whose log is a file.
struct World {
    simulator: Simulator,
    client: Client,
    clock: Clock,
    url: String,
    log: PathBuf,
    token: Token,
    /// Of a user that may use one app, `quiet`.
    limited: Client,
    daemon: Child,
    _dir: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl World {
    async fn start(level: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let settings = Settings::on_free_ports(dir.path());
        let simulator = Simulator::start(settings, clock.clone(), &Shutdown::new()).await.unwrap();
        let token = Token::generate().unwrap();
        let config = dir.path().join("with-user.toml");
        let limited = Token::generate().unwrap();
        let user = |name: &str, token: &Token| format!("\n[[user]]\nname = \"{name}\"\ntoken = \"{}\"\n", token.hash());
        let users = user("operator", &token) + &user("limited", &limited) + "apps = [\"quiet\"]\n";
        std::fs::write(&config, std::fs::read_to_string(simulator.config_file()).unwrap() + &users).unwrap();
        let log = dir.path().join("log");
        let daemon = apnsd(&["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&config)
            .env("APNSD__STATE_DIR", dir.path().join("state"))
            .env("APNSD__LOG__LEVEL", level)
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let started = log_with(&log, &clock, "started").await;
        let address = started.split_once("listening address=").unwrap().1.split_whitespace().next().unwrap();
        let url = format!("http://operator:{}@{address}", token.reveal());
        let client = Client::new(&url, PATIENCE).unwrap();
        let limited = Client::new(&format!("http://limited:{}@{address}", limited.reveal()), PATIENCE).unwrap();
        Self { simulator, client, clock, url, log, token, limited, daemon, _dir: dir }
    }

    /// The log, once it has this.
    async fn log_with(&self, text: &str) -> String {
        log_with(&self.log, &self.clock, text).await
    }

    async fn call(&self, method: &str, arguments: &[&str]) -> Result<Value<'static>, String> {
        let arguments = arguments.iter().map(|text| Value::string((*text).to_owned())).collect();
        self.client.call(method, arguments).await.map_err(|error| error.to_string())
    }

    async fn provision(&self, app: &str) {
        let certificate = &self.simulator.certificates().good.pem;
        self.call("provision", &[app, certificate, "sandbox"]).await.unwrap();
    }

    async fn provision_key(&self, app: &str, options: &[(&'static str, &'static str)]) -> Result<(), String> {
        let key = &self.simulator.certificates().provider_keys.good;
        let own = [("key_id", key.key_id), ("team_id", key.team_id), ("topic", "com.example.app")];
        let options = own.iter().chain(options).map(|(name, text)| ((*name).into(), Value::string(*text))).collect();
        let arguments = [app, &key.file.pem, "sandbox"].map(|text| Value::string(text.to_owned()));
        let arguments = arguments.into_iter().chain([Value::Int(15), Value::Struct(options)]).collect();
        self.client.call("provision", arguments).await.map(drop).map_err(|error| error.to_string())
    }

    async fn notify(&self, app: &str, tokens: &[String], text: &str) {
        let aps = Value::structure(vec![("alert".into(), Value::string(text.to_owned()))]);
        let payload = Value::structure(vec![("aps".into(), aps)]);
        let tokens = tokens.iter().cloned().map(Value::string).collect();
        let arguments = vec![Value::string(app.to_owned()), Value::Array(tokens), payload];
        self.client.call("notify", arguments).await.unwrap();
    }

    fn cli(&self, args: &[&str]) -> String {
        let output: Output = apnsd(args).env("APNSD_URL", &self.url).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Ends the daemon in order; its whole log.
    async fn stop(mut self) -> String {
        let pid = self.daemon.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.daemon.wait().unwrap().success());
        self.log_with("stopped").await
    }
}

fn apnsd(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apnsd"));
    command.args(args).env_remove("APNSD_URL").env_remove("APNSD_CONFIG").env_remove("JOURNAL_STREAM");
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

async fn log_with(log: &PathBuf, clock: &Clock, text: &str) -> String {
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            let written = std::fs::read_to_string(log).unwrap();
            if written.contains(text) {
                return written;
            }
            clock.sleep(Duration::from_millis(20)).await;
        }
    });
    match found.await {
        Ok(written) => written,
        Err(_) => panic!("never written: {text}\n{}", std::fs::read_to_string(log).unwrap()),
    }
}

fn token(prefix: &str, number: usize) -> String {
    format!("{prefix:0<56}{number:08x}")
}

/// The lines of one app.
fn of_app<'a>(log: &'a str, app: &str) -> Vec<&'a str> {
    let field = format!(" app={app}");
    log.lines().filter(|line| line.contains(&format!("{field} ")) || line.ends_with(&field)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_level_writes_a_token_a_payload_or_a_secret() {
    const PAYLOAD: &str = "Zaphod's password is";
    const PASSPHRASE: &str = "passphrase-of-the-key";
    let world = World::start("trace").await;
    let (key, certificate) = {
        let certificates = world.simulator.certificates();
        (certificates.provider_keys.good.file.pem.clone(), certificates.good.pem.clone())
    };
    world.call("provision", &["binary", &certificate, "sandbox-binary"]).await.unwrap();
    world.provision_key("key", &[]).await.unwrap();
    world.provision_key("with-passphrase", &[("passphrase", PASSPHRASE)]).await.ok();
    world.provision("certificate").await;
    let tokens = [token("aaaaaaaa", 1), token("bad8aaaa", 2), token("dead", 3), token("bad40000", 4), token("cccc", 5)];
    for app in ["binary", "key", "certificate"] {
        world.notify(app, &tokens, PAYLOAD).await;
    }
    world.call("provision", &["certificate", "no certificate", "sandbox"]).await.ok();
    world.call("apnsd.trace", &["aaaaaaaa"]).await.unwrap();
    for app in ["binary", "key", "certificate"] {
        world.log_with(&format!("app={app} token=bad8aaaa")).await;
        world.call("apnsd.rejections", &[app]).await.unwrap();
        world.call("apnsd.deprovision", &[app]).await.unwrap();
    }
    let secret = world.token.reveal().to_owned();
    let log = world.stop().await;
    let bodies = |pem: &str| pem.lines().filter(|line| line.len() == 64).map(str::to_owned).collect::<Vec<_>>();
    let private = certificate.split_once("PRIVATE KEY").map(|(_, key)| bodies(key)).unwrap();
    let secrets = [PAYLOAD, PASSPHRASE, &secret, "PRIVATE KEY", "bearer eyJ", "eyJhbGciOi"].map(str::to_owned);
    let tails = tokens.iter().map(|token| token[..20].to_owned());
    for secret in secrets.into_iter().chain(tails).chain(private).chain(bodies(&key)) {
        let lower = secret.to_lowercase();
        let line = log.lines().find(|line| line.to_lowercase().contains(&lower));
        assert_eq!(line, None, "{secret}");
    }
    assert!(log.contains(" TRACE "), "it says everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_has_a_level_of_its_own_until_that_is_taken_back() {
    let world = World::start("info").await;
    for app in ["loud", "quiet"] {
        world.provision(app).await;
    }
    assert_eq!(world.cli(&["log"]), "info\n");
    assert_eq!(world.cli(&["log", "loud", "debug"]), "loud: debug\n");
    assert_eq!(world.cli(&["log"]), "info\nloud: debug\n");
    for app in ["quiet", "loud"] {
        world.notify(app, &[token("aaaaaaaa", 1)], "hello").await;
    }
    let handed = world.log_with("outcome=Accepted").await;
    assert!(of_app(&handed, "loud").iter().any(|line| line.contains("handed to the gateway")), "{handed}");
    assert!(of_app(&handed, "loud").iter().any(|line| line.contains("method=\"notify\"")), "{handed}");
    let unknown = world.call("apnsd.log", &["nobody", "debug"]).await.unwrap_err();
    assert!(unknown.contains("404"), "{unknown}");
    let loudest = world.call("apnsd.log", &["loud", "loudest"]).await.unwrap_err();
    assert!(loudest.contains("`loudest` is not a level"), "{loudest}");
    let shown = world.limited.call("apnsd.log", Vec::new()).await.unwrap();
    assert!(!format!("{shown:?}").contains("loud"), "{shown:?}");
    let foreign = world.limited.call("apnsd.log", ["loud", "off"].map(Value::string).to_vec()).await.unwrap_err();
    assert!(foreign.to_string().contains("user `limited` may not use the app `loud`"), "{foreign}");
    assert_eq!(world.cli(&["log", "loud", "--reset"]), "loud: info, as all\n");
    let before = of_app(&world.log_with("started").await, "loud").len();
    world.notify("loud", &[token("aaaaaaaa", 2)], "hello").await;
    let log = world.stop().await;
    assert_eq!(log.lines().filter(|line| line.contains("DEBUG") && line.contains("app=quiet")).count(), 0);
    let debug = of_app(&log, "loud").into_iter().skip(before).filter(|line| line.contains("DEBUG"));
    assert_eq!(debug.count(), 0, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_repeats_is_one_line_in_the_end() {
    let world = World::start("info").await;
    world.provision("app").await;
    world.log_with("connected").await;
    let bad: Vec<String> = (0..9).map(|number| token("bad8aaaa", number)).collect();
    world.notify("app", &bad, "hello").await;
    let is_all = |rejections: &Value<'_>| format!("{rejections:?}").matches("bad8aaaa").count() >= 9;
    while !is_all(&world.call("apnsd.rejections", &["app"]).await.unwrap()) {
        world.clock.sleep(Duration::from_millis(20)).await;
    }
    let log = world.stop().await;
    let rejected: Vec<&str> = log.lines().filter(|line| line.contains("rejected: ")).collect();
    assert_eq!(rejected.len(), 6, "{log}");
    assert!(rejected[5].contains("4 more like this in "), "{}", rejected[5]);
    assert!(rejected[5].contains("rejected: BadDeviceToken (400)") && rejected[5].contains("app=app"), "{log}");
}
