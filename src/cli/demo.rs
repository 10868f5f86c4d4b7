//! `demo`: simulator, daemon and three provisioned apps in one process, and 15 notifications through all of it.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use comfy_table::{Table, presets};

use super::exit::{Exit, Failure};
use super::output::print;
use super::render::{cell, items, member};
use super::running::{self, StopSignals};
use crate::client::Client;
use crate::clock::Clock;
use crate::config::Config;
use crate::daemon::Daemon;
use crate::domain::outcome::Reason;
use crate::domain::token::{MaskedToken, token_hex};
use crate::listener::address::AddressError;
use crate::shutdown::Shutdown;
use crate::simulator::journal::entry::{Event, Verdict};
use crate::simulator::journal::request::RequestVerdict;
use crate::simulator::{Settings, Simulator};
use crate::xmlrpc::value::Value;

/// Watch 15 notifications go through daemon and gateways, among them three to bad tokens and three to dead devices
///
/// Simulator and daemon run in this process, on free ports of this machine; nothing is installed or left behind.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd demo\n  apnsd demo --stay")]
pub(super) struct Demo {
    /// Leave simulator and daemon running, to go on with them
    #[arg(long)]
    stay: bool,
}

/// An app of the demo. It has [`ROWS`] tokens, numbered in the order of the apps.
struct App {
    id: &'static str,
    environment: &'static str,
    credentials: &'static str,
}

const APPS: [App; 3] = [
    App { id: "old", environment: "sandbox-binary", credentials: "certificate" },
    App { id: "today", environment: "sandbox", credentials: "certificate" },
    App { id: "keyed", environment: "sandbox", credentials: "AuthKey.p8" },
];
/// The topic of the app with the provider key, which is good for every topic of its team. Apps of one environment and
/// topic share what feedback says.
const KEYED_TOPIC: &str = "com.example.keyed";
/// Tokens of each app.
const ROWS: usize = 5;
/// Of each app, the token that is bad: its first bytes make the gateways reject it.
const BAD: usize = 3;
/// Of each app, the token of a device that dropped the app. The binary gateway takes it and its feedback service lists
/// it; the HTTP/2 provider API rejects it at once.
const DEAD: usize = 5;
/// Much longer than it takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at what the daemon knows.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const STOP_DEADLINE: Duration = Duration::from_secs(5);

impl App {
    /// The numbers of its tokens.
    fn numbers(&self) -> impl Iterator<Item = usize> {
        let before = APPS.iter().take_while(|app| app.id != self.id).count() * ROWS;
        before + 1..=before + ROWS
    }

    /// What its gateway rejects.
    fn rejected(&self) -> impl Iterator<Item = usize> {
        let at_once = self.environment == "sandbox";
        self.numbers().filter(move |number| is(*number, BAD) || (at_once && is(*number, DEAD)))
    }
}

/// Whether a token is, in its app, the one with this number.
const fn is(number: usize, row: usize) -> bool {
    (number - 1) % ROWS + 1 == row
}

/// Runs the demo; fails unless the good ones arrived and exactly the bad and dead ones did not.
pub(super) fn run(args: Demo) -> Result<(), Failure> {
    let dir = Scratch::new()?;
    running::block_on(async {
        let mut signals = StopSignals::listen()?;
        let clock = Clock::system();
        let outside = Shutdown::new();
        let settings = Settings::on_free_ports(&dir.0);
        let simulator = Simulator::start(settings, clock.clone(), &outside).await.map_err(failed)?;
        let daemon = Daemon::start(&config(&simulator)?, clock.clone()).await.map_err(failed)?;
        let url = daemon.addresses().first().map(|address| format!("http://{address}")).unwrap_or_default();
        let stage = Stage { simulator: &simulator, client: Client::new(&url, PATIENCE).map_err(failed)?, url, clock };
        let shown = tokio::select! {
            shown = stage.show() => shown,
            () = signals.next() => Err(Failure::new(Exit::Failed, "interrupted")),
        };
        if args.stay && shown.is_ok() {
            print(&stage.invitation())?;
            signals.next().await;
        } else if shown.is_ok() {
            print(GO_ON)?;
        }
        signals.unless_repeated(daemon.stop()).await?;
        outside.finish(STOP_DEADLINE).await;
        shown
    })
}

const GO_ON: &str = "\nGo on:\n\
    - `apnsd demo --stay` leaves both running, for your own calls;\n\
    - `apnsd simulate --dir simulator` and `apnsd serve --config simulator/apnsd.toml` run them as two processes;\n\
    - README.md shows how to call the daemon from your application.\n";

/// A directory of this process, gone with it.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let dir = std::env::temp_dir().join(format!("apnsd-demo-{}-{:016x}", std::process::id(), fastrand::u64(..)));
        std::fs::create_dir(&dir).map_err(|error| failed(format!("cannot create {}: {error}", dir.display())))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            super::output::complain(&format!("{} stays behind: {error}", self.0.display()));
        }
    }
}

/// The simulator's configuration, on a free port, and impatient: nobody wants to watch five seconds of silence.
fn config(simulator: &Simulator) -> Result<Config, Failure> {
    let now = Clock::system().timestamp();
    let loaded = Config::load(Some(simulator.config_file()), std::iter::empty(), now);
    let (mut config, _) = loaded.map_err(failed)?;
    config.listen = vec!["127.0.0.1:0".parse().map_err(|error: AddressError| failed(error))?];
    config.delivery.gateway.settle_after = Duration::from_secs(1);
    config.shutdown.deadline = STOP_DEADLINE;
    Ok(config)
}

fn failed(cause: impl ToString) -> Failure {
    Failure::new(Exit::Failed, cause.to_string())
}

struct Stage<'a> {
    simulator: &'a Simulator,
    client: Client,
    url: String,
    clock: Clock,
}

impl Stage<'_> {
    async fn show(&self) -> Result<(), Failure> {
        print(&format!(
            "Simulated Apple gateways and the daemon, in one process\n\n  \
             HTTP/2  https://{} (environment sandbox)\n  \
             binary  binary://{} (environment sandbox-binary)\n  \
             daemon  {} (XML-RPC)\n\n",
            self.simulator.http2_address(),
            self.simulator.binary_address(),
            self.url
        ))?;
        for app in &APPS {
            self.provision(app).await?;
        }
        for app in &APPS {
            self.notify(app).await?;
        }
        print("\nWhat arrives at the gateways:\n\n")?;
        print("   app    no.  token       verdict                                     connection\n")?;
        let accepted = self.watch().await?;
        let rejected = self.show_rejections().await?;
        let dead = self.show_feedback().await?;
        judge(&accepted, &rejected, &dead)
    }

    async fn call(&self, method: &str, arguments: Vec<Value<'_>>) -> Result<Value<'static>, Failure> {
        self.client.call(method, arguments).await.map_err(|error| failed(format!("{method}: {error}")))
    }

    async fn provision(&self, app: &App) -> Result<(), Failure> {
        let certificates = self.simulator.certificates();
        let key = &certificates.provider_keys.good;
        let (credentials, options, shown) = match app.credentials {
            "certificate" => (&certificates.good.pem, Vec::new(), ""),
            _ => {
                let options = [("key_id", key.key_id), ("team_id", key.team_id), ("topic", KEYED_TOPIC)];
                let options = options.map(|(name, value)| (name.into(), Value::string(value)));
                (&key.file.pem, options.to_vec(), ", {key_id, team_id, topic}")
            }
        };
        let mut arguments = [app.id, credentials, app.environment].map(Value::string).to_vec();
        arguments.extend([Value::Int(15), Value::structure(options)]);
        self.call("provision", arguments).await?;
        let call = format!("provision({:?}, {}, {:?}, 15{shown})", app.id, app.credentials, app.environment);
        print(&format!("{call:<74}nil\n"))
    }

    async fn notify(&self, app: &App) -> Result<(), Failure> {
        let tokens = app.numbers().map(token).map(Value::string).collect();
        let notifications = app.numbers().map(notification).collect();
        let arguments = vec![Value::string(app.id), Value::Array(tokens), Value::Array(notifications)];
        self.call("notify", arguments).await?;
        let call = format!("notify({:?}, [{ROWS} tokens], [{ROWS} notifications])", app.id);
        print(&format!("{call:<74}nil: all {ROWS} are queued\n"))
    }

    /// Prints what the journal says, as it comes, until every token was accepted or rejected, or patience ends. Those
    /// that were accepted.
    async fn watch(&self) -> Result<BTreeSet<usize>, Failure> {
        let deadline = self.clock.now() + PATIENCE;
        let (mut accepted, mut decided) = (BTreeSet::new(), BTreeSet::new());
        let mut seen = 0;
        while decided.len() < APPS.len() * ROWS {
            let page = self.simulator.journal().page(seen, usize::MAX);
            for entry in &page.entries {
                seen = entry.seq;
                let Some(arrival) = Arrival::of(&entry.event) else { continue };
                print(&arrival.line(entry.connection))?;
                decided.extend(arrival.number.filter(|_| arrival.verdict.is_some()));
                accepted.extend(arrival.number.filter(|_| arrival.verdict == Some(true)));
            }
            if page.entries.is_empty() {
                if self.clock.now() > deadline {
                    return Err(failed("not all notifications arrived"));
                }
                self.clock.sleep(LOOK_AGAIN).await;
            }
        }
        Ok(accepted)
    }

    async fn show_rejections(&self) -> Result<BTreeSet<usize>, Failure> {
        let mut table = table(["", "app", "no.", "token", "reason"]);
        let mut numbers = BTreeSet::new();
        for app in &APPS {
            let arguments = || vec![Value::string(app.id), Value::string("0")];
            let mut page = self.call("apnsd.rejections", arguments()).await?;
            let deadline = self.clock.now() + PATIENCE;
            while rows(&page).len() < app.rejected().count() && self.clock.now() < deadline {
                self.clock.sleep(LOOK_AGAIN).await;
                page = self.call("apnsd.rejections", arguments()).await?;
            }
            for entry in rows(&page) {
                let token = cell(member(entry, "token"));
                let number = number(&token);
                table.add_row(["", app.id, &shown(number), &masked(&token), &cell(member(entry, "text"))]);
                numbers.extend(number);
            }
        }
        print(&format!("\napnsd.rejections(app), what the daemon says about them:\n\n{}\n", table.trim_fmt()))?;
        Ok(numbers)
    }

    async fn show_feedback(&self) -> Result<BTreeSet<usize>, Failure> {
        let mut table = table(["", "app", "no.", "token", "gone since"]);
        let mut numbers = BTreeSet::new();
        for app in &APPS {
            let deadline = self.clock.now() + PATIENCE;
            let mut found = false;
            // What was handed out is not handed out again; the binary gateway's list may come a moment later.
            while !found && self.clock.now() < deadline {
                let feedback = self.call("feedback", vec![Value::string(app.id)]).await?;
                for entry in items(&feedback) {
                    let [since, token] = items(entry) else { return Err(failed("feedback of an unknown shape")) };
                    let token = cell(Some(token));
                    let number = number(&token);
                    table.add_row(["", app.id, &shown(number), &masked(&token), &cell(Some(since))]);
                    numbers.extend(number);
                    found = true;
                }
                if !found {
                    self.clock.sleep(LOOK_AGAIN).await;
                }
            }
        }
        print(&format!("\nfeedback(app), devices that dropped the app:\n\n{}\n", table.trim_fmt()))?;
        Ok(numbers)
    }

    fn invitation(&self) -> String {
        format!(
            "\nBoth keep running until Ctrl-C. In another terminal:\n\
             - export APNSD_URL={}\n\
             - apnsd notify today --token {} --alert \"Hello\"; apnsd status today; apnsd rejections today\n\
             - http://{}/ tells how to make the gateways fail\n",
            self.url,
            token(1),
            self.simulator.control_address()
        )
    }
}

fn judge(accepted: &BTreeSet<usize>, rejected: &BTreeSet<usize>, dead: &BTreeSet<usize>) -> Result<(), Failure> {
    let bad: BTreeSet<usize> = APPS.iter().flat_map(App::rejected).collect();
    let all = || APPS.iter().flat_map(App::numbers);
    let good: BTreeSet<usize> = all().filter(|number| !bad.contains(number)).collect();
    let gone: BTreeSet<usize> = all().filter(|number| is(*number, DEAD)).collect();
    if (accepted, rejected, dead) != (&good, &bad, &gone) {
        return Err(failed(format!(
            "expected {good:?} delivered, {bad:?} rejected and {gone:?} gone, got {accepted:?}, {rejected:?} and {dead:?}"
        )));
    }
    print(&format!(
        "\nResult: all {} good ones arrived; {} were rejected, the bad ones and over HTTP/2 the dead; feedback knows all {} \
         dead.\n",
        accepted.difference(dead).count(),
        rejected.len(),
        dead.len()
    ))
}

/// What a gateway said about a notification that arrived.
struct Arrival<'a> {
    number: Option<usize>,
    token: &'a [u8],
    /// Accepted or rejected; `None` where it comes again.
    verdict: Option<bool>,
    words: String,
}

impl<'a> Arrival<'a> {
    fn of(event: &'a Event) -> Option<Self> {
        let (token, verdict, words) = match event {
            Event::Notification(notification) => {
                let (verdict, words) = match notification.verdict {
                    Verdict::Accepted => (Some(true), "accepted".to_owned()),
                    Verdict::Rejected(status) => {
                        let reason = Reason::from_binary_status(status);
                        (Some(false), reason.map_or_else(String::new, |reason| format!("rejected: {reason}")))
                    }
                    Verdict::Discarded => (None, "discarded, comes again".to_owned()),
                    Verdict::Lost => (None, "lost".to_owned()),
                };
                (&notification.token, verdict, words)
            }
            Event::Request(request) => {
                let (verdict, words) = match request.verdict {
                    RequestVerdict::Accepted => (Some(true), "accepted".to_owned()),
                    RequestVerdict::Rejected(reason) => (Some(false), format!("rejected: {reason}")),
                    RequestVerdict::NotProcessed => (None, "not processed, comes again".to_owned()),
                    RequestVerdict::Lost => (None, "lost".to_owned()),
                };
                (&request.token, verdict, words)
            }
            Event::Opened { .. }
            | Event::Refused { .. }
            | Event::GoAway { .. }
            | Event::Violation { .. }
            | Event::Answered { .. }
            | Event::Feedback { .. }
            | Event::Closed { .. } => return None,
        };
        let token = token.as_deref().unwrap_or_default();
        Some(Self { number: number(&token_hex(token)), token, verdict, words })
    }

    fn line(&self, connection: u64) -> String {
        if self.token.is_empty() {
            return format!("               sentinel    asks whether all before it arrived          {connection}\n");
        }
        let app = APPS.iter().find(|app| app.numbers().any(|number| Some(number) == self.number));
        let (app, number) = (app.map_or("", |app| app.id), shown(self.number));
        format!(
            "   {app:<6} {number:>3}  {:<10}  {:<42}  {connection}\n",
            MaskedToken(self.token).to_string(),
            self.words
        )
    }
}

fn token(number: usize) -> String {
    let prefix = match number {
        bad if is(bad, BAD) => "bad8",
        dead if is(dead, DEAD) => "dead",
        _ => "5eed",
    };
    format!("{number:02x}").chars().cycle().take(60).fold(prefix.to_owned(), |token, digit| token + &digit.to_string())
}

/// The number of a token in hex.
fn number(hex: &str) -> Option<usize> {
    (1..=APPS.len() * ROWS).find(|number| token(*number) == hex)
}

fn notification(number: usize) -> Value<'static> {
    let alert = Value::string(format!("Hello, number {number}"));
    Value::structure(vec![("aps".into(), Value::structure(vec![("alert".into(), alert)]))])
}

fn rows<'a>(page: &'a Value<'static>) -> &'a [Value<'static>] {
    member(page, "rejections").map(items).unwrap_or_default()
}

fn shown(number: Option<usize>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

/// A token from an answer, as it is shown everywhere.
fn masked(token: &str) -> String {
    format!("{}…", token.get(..8).unwrap_or(token))
}

fn table(head: [&str; 5]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head);
    table
}
