//! `demo`: simulator, daemon and a provisioned app in one process, and 13 notifications through all of it.

use std::collections::HashMap;
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
use crate::listener::address::ListenAddress;
use crate::shutdown::Shutdown;
use crate::simulator::journal::entry::{Event, Notification, Verdict};
use crate::simulator::{Settings, Simulator};
use crate::xmlrpc::value::Value;

/// Watch 13 notifications go through daemon and gateway, one bad token among them
///
/// Simulator and daemon run in this process, on free ports of this machine; nothing is installed or left behind.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd demo\n  apnsd demo --stay")]
pub(super) struct Demo {
    /// Leave simulator and daemon running, to go on with them
    #[arg(long)]
    stay: bool,
}

const APP: &str = "demo";
const COUNT: usize = 13;
/// Its first bytes make the simulator reject it with status 8.
const BAD: usize = 7;
/// Its first bytes make the simulator's feedback service list it.
const DEAD: usize = 11;
/// Much longer than it takes.
const PATIENCE: Duration = Duration::from_secs(30);
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Runs the demo; fails unless the twelve good ones arrived and exactly the bad one was rejected.
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
    config.listen = vec![ListenAddress::parse("127.0.0.1:0").map_err(failed)?];
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
            "A simulated Apple gateway and the daemon, in one process\n\n  \
             gateway  binary://{} (TLS)\n  daemon   {} (XML-RPC)\n\n",
            self.simulator.binary_address(),
            self.url
        ))?;
        let certificate = Value::string(self.simulator.certificates().good.pem.clone());
        let arguments = vec![Value::string(APP), certificate, Value::string("sandbox-binary"), Value::Int(15)];
        self.call("provision", arguments).await?;
        print("provision(\"demo\", certificate, \"sandbox-binary\", 15)  nil\n")?;
        let tokens: Vec<String> = (1..=COUNT).map(token).collect();
        let listed = tokens.iter().cloned().map(Value::string).collect();
        let notifications = (1..=COUNT).map(notification).collect();
        self.call("notify", vec![Value::string(APP), Value::Array(listed), Value::Array(notifications)]).await?;
        print("notify(\"demo\", [13 tokens], [13 notifications])       nil: all 13 are accepted\n\n")?;
        print(
            "What arrives at the gateway:\n\n   no.  token       verdict                                     connection\n",
        )?;
        let numbers: HashMap<&str, usize> = tokens.iter().zip(1..).map(|(token, n)| (token.as_str(), n)).collect();
        self.watch(&numbers).await?;
        let rejected = self.show_rejections(&numbers).await?;
        self.show_feedback(&numbers).await?;
        self.judge(&tokens, &rejected)
    }

    async fn call(&self, method: &str, arguments: Vec<Value<'_>>) -> Result<Value<'static>, Failure> {
        self.client.call(method, arguments).await.map_err(|error| failed(format!("{method}: {error}")))
    }

    /// Prints what the journal says, as it comes, until all have arrived or patience ends.
    async fn watch(&self, numbers: &HashMap<&str, usize>) -> Result<(), Failure> {
        let deadline = self.clock.now() + PATIENCE;
        let (mut seen, mut packets) = (0, 0);
        loop {
            let page = self.simulator.journal().page(seen, usize::MAX);
            for entry in &page.entries {
                seen = entry.seq;
                if let Event::Notification(notification) = &entry.event {
                    print(&line(notification, entry.connection, numbers))?;
                }
            }
            let summary = self.simulator.journal().summary();
            if summary.accepted + summary.rejected >= COUNT as u64 && packets == summary.packets {
                return Ok(());
            }
            packets = summary.packets;
            let done = |summary: &crate::simulator::journal::entry::Summary| {
                summary.packets > packets || summary.accepted + summary.rejected >= COUNT as u64
            };
            tokio::select! {
                _ = self.simulator.journal().wait_until(done) => (),
                () = self.clock.sleep_until(Some(deadline)) => return Err(failed("not all notifications arrived")),
            }
        }
    }

    async fn show_rejections(&self, numbers: &HashMap<&str, usize>) -> Result<Vec<String>, Failure> {
        let page = self.call("apnsd.rejections", vec![Value::string(APP), Value::string("0")]).await?;
        let mut table = table(["", "no.", "token", "reason"]);
        let mut rejected = Vec::new();
        for entry in member(&page, "rejections").map(items).unwrap_or_default() {
            let token = cell(member(entry, "token"));
            table.add_row(["", &number(numbers, &token), &masked(&token), &cell(member(entry, "text"))]);
            rejected.push(token);
        }
        print(&format!("\napnsd.rejections(\"demo\"), what the daemon says about it:\n\n{}\n", table.trim_fmt()))?;
        Ok(rejected)
    }

    async fn show_feedback(&self, numbers: &HashMap<&str, usize>) -> Result<(), Failure> {
        let feedback = self.call("feedback", vec![Value::string(APP)]).await?;
        let mut table = table(["", "no.", "token", "gone since"]);
        for entry in items(&feedback) {
            let [since, token] = items(entry) else { return Err(failed("feedback of an unknown shape")) };
            let token = cell(Some(token));
            table.add_row(["", &number(numbers, &token), &masked(&token), &cell(Some(since))]);
        }
        print(&format!("\nfeedback(\"demo\"), devices that dropped the app:\n\n{}\n", table.trim_fmt()))
    }

    fn judge(&self, tokens: &[String], rejected: &[String]) -> Result<(), Failure> {
        let journal = self.simulator.journal().notifications();
        let accepted: Vec<String> = journal
            .iter()
            .filter(|(_, notification)| notification.verdict == Verdict::Accepted)
            .filter_map(|(_, notification)| notification.token.as_deref().map(token_hex))
            .collect();
        let good = tokens.iter().enumerate().filter(|(at, _)| at + 1 != BAD);
        let all_good_arrived = good.clone().all(|(_, token)| accepted.contains(token));
        if !all_good_arrived || rejected != [token(BAD)] {
            let text = format!("expected 12 delivered and 1 rejected, got {} and {}", accepted.len(), rejected.len());
            return Err(failed(text));
        }
        print("\nResult: the 12 good ones arrived, and exactly the bad one was rejected.\n")
    }

    fn invitation(&self) -> String {
        format!(
            "\nBoth keep running until Ctrl-C. In another terminal:\n\
             - export APNSD_URL={}\n\
             - apnsd notify demo --token {} --alert \"Hello\"; apnsd status demo; apnsd rejections demo\n\
             - http://{}/ tells how to make the gateway fail\n",
            self.url,
            token(1),
            self.simulator.control_address()
        )
    }
}

fn token(number: usize) -> String {
    let prefix = match number {
        BAD => "bad8",
        DEAD => "dead",
        _ => "5eed",
    };
    format!("{number:02x}").chars().cycle().take(60).fold(prefix.to_owned(), |token, digit| token + &digit.to_string())
}

fn notification(number: usize) -> Value<'static> {
    let alert = Value::string(format!("Hello, number {number}"));
    Value::Struct(vec![("aps".into(), Value::Struct(vec![("alert".into(), alert)]))])
}

fn line(notification: &Notification, connection: u64, numbers: &HashMap<&str, usize>) -> String {
    let token = notification.token.as_deref().unwrap_or_default();
    if token.is_empty() {
        return format!("        sentinel    asks whether all before it arrived          {connection}\n");
    }
    let verdict = match notification.verdict {
        Verdict::Accepted => "accepted".to_owned(),
        Verdict::Rejected(status) => {
            Reason::from_binary_status(status).map_or_else(String::new, |reason| format!("rejected: {reason}"))
        }
        Verdict::Discarded => "discarded, comes again".to_owned(),
        Verdict::Lost => "lost".to_owned(),
    };
    let number = number(numbers, &token_hex(token));
    format!("  {number:>4}  {:<10}  {verdict:<42}  {connection}\n", MaskedToken(token).to_string())
}

fn number(numbers: &HashMap<&str, usize>, token: &str) -> String {
    numbers.get(token).map(ToString::to_string).unwrap_or_default()
}

/// A token from an answer, as it is shown everywhere.
fn masked(token: &str) -> String {
    format!("{}…", token.get(..8).unwrap_or(token))
}

fn table(head: [&str; 4]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head);
    table
}
