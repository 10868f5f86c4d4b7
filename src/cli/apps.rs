//! `apps`, `status`, `pause`, `resume`, `deprovision`: inspect and steer.

use clap::Args;

use super::call::Daemon;
use super::exit::Failure;
use super::render::{Columns, items, sheet, table};
use crate::xmlrpc::value::Value;

/// List all apps and whether they can send
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  apnsd apps")]
pub(super) struct Apps {
    #[command(flatten)]
    daemon: Daemon,
}

/// Show everything about one app
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  apnsd status myapp --json")]
pub(super) struct Status {
    #[command(flatten)]
    app: App,
}

/// Stop sending for an app; its notifications are still accepted and wait
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  apnsd pause myapp")]
pub(super) struct Pause {
    #[command(flatten)]
    app: App,
}

/// Send again, whatever it was that paused the app
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  apnsd resume myapp")]
pub(super) struct Resume {
    #[command(flatten)]
    app: App,
}

/// Remove an app; its waiting notifications become rejections
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  apnsd deprovision myapp")]
pub(super) struct Deprovision {
    #[command(flatten)]
    app: App,
}

/// One app of a daemon.
#[derive(Debug, Args)]
struct App {
    /// The name that it was provisioned under
    #[arg(value_name = "APP")]
    app_id: String,
    #[command(flatten)]
    daemon: Daemon,
}

impl App {
    fn call(&self, method: &str, show: impl FnOnce(&Value<'_>) -> String) -> Result<(), Failure> {
        self.daemon.call(method, vec![Value::string(self.app_id.as_str())], show)
    }
}

/// Prints the table of apps.
pub(super) fn apps(args: &Apps) -> Result<(), Failure> {
    const COLUMNS: Columns = Columns {
        first: &["app_id", "environment", "protocol", "state", "waiting", "in_flight", "cause"],
        renamed: &[],
        hidden: &[
            "gateway",
            "since",
            "oldest",
            "deferred",
            "next_due",
            "accepted",
            "delivered",
            "rejected",
            "retries",
            "subject",
            "expires",
            "secrets",
        ],
    };
    args.daemon.call("apnsd.apps", Vec::new(), |value| match items(value) {
        [] => "no apps yet: add one with `apnsd provision`\n".to_owned(),
        apps => table(apps, &COLUMNS),
    })
}

/// Prints what is known about an app.
pub(super) fn status(args: &Status) -> Result<(), Failure> {
    // A restart keeps what waits, not these.
    const COUNTED: [&str; 4] = ["accepted", "delivered", "rejected", "retries"];
    args.app.call("apnsd.status", |app| {
        sheet(app, |name| if COUNTED.contains(&name) { " (since the daemon started)" } else { "" })
    })
}

/// Pauses an app.
pub(super) fn pause(args: &Pause) -> Result<(), Failure> {
    args.app.call("apnsd.pause", |_| format!("{} is paused\n", args.app.app_id))
}

/// Resumes an app.
pub(super) fn resume(args: &Resume) -> Result<(), Failure> {
    let name = &args.app.app_id;
    let said = format!("{name} is resumed; `apnsd status {name}` shows whether the gateway takes it\n");
    args.app.call("apnsd.resume", |_| said)
}

/// Removes an app.
pub(super) fn deprovision(args: &Deprovision) -> Result<(), Failure> {
    args.app.call("apnsd.deprovision", |_| format!("{} is removed\n", args.app.app_id))
}
