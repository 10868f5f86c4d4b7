//! `apps`, `pause`, `resume`, `deprovision`: list and steer.

use clap::Args;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::call::Daemon;
use super::exit::Failure;
use super::render::{Columns, cell, items, member, table};
use crate::clock::Clock;
use crate::domain::app::RENEW_DAYS;
use crate::domain::time::Timestamp;
use crate::xmlrpc::value::Value;

/// List all apps, one line each, for scripts; `apnsd status` tells people more
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  apnsd apps")]
pub(super) struct Apps {
    #[command(flatten)]
    daemon: Daemon,
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
        first: &["app_id", "environment", "protocol", "state", "waiting", "in_flight", "expires", "cause"],
        renamed: &[],
        hidden: &[
            "gateway",
            "can_send",
            "since",
            "oldest",
            "deferred",
            "next_due",
            "accepted",
            "delivered",
            "rejected",
            "retries",
            "subject",
            "secrets",
        ],
    };
    args.daemon.call("apnsd.apps", Vec::new(), |value| match items(value) {
        [] => "no apps yet: add one with `apnsd provision`\n".to_owned(),
        apps => table(
            &apps.iter().map(|app| with_end(app, Clock::system().timestamp(), soon)).collect::<Vec<_>>(),
            &COLUMNS,
        ),
    })
}

/// An app whose `expires` is put in words.
pub(super) fn with_end<'a>(
    app: &Value<'a>,
    now: Timestamp,
    words: impl Fn(DateTime, i64) -> Option<String>,
) -> Value<'a> {
    let Value::Struct(members) = app else { return app.clone() };
    let Some(Value::DateTime(end)) = member(app, "expires") else { return app.clone() };
    let Ok(moment) = end.to_zoned(TimeZone::UTC) else { return app.clone() };
    let moment = Timestamp::from_millis(moment.timestamp().as_millisecond());
    let told = words(*end, moment.days_since(now)).map_or(Value::Nil, Value::string);
    Value::Struct(members.with("expires", told))
}

/// Only where it is time to renew.
pub(super) fn soon(_: DateTime, days: i64) -> Option<String> {
    (days <= RENEW_DAYS).then(|| in_days(days))
}

/// The date, and how far it is.
pub(super) fn date_and_days(end: DateTime, days: i64) -> Option<String> {
    Some(format!("{} ({})", cell(Some(&Value::DateTime(end))), in_days(days)))
}

fn in_days(days: i64) -> String {
    match days {
        ..=0 => "has ended".to_owned(),
        1 => "within a day".to_owned(),
        days => format!("in {days} days"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_where_it_is_near() {
        let end = jiff::civil::date(2027, 1, 15).at(8, 0, 0, 0);
        let app =
            Value::structure(vec![("expires".into(), Value::DateTime(end)), ("state".into(), Value::string("idle"))]);
        for (days, in_a_table, in_a_sheet) in [
            (31, None, "in 31 days"),
            (30, Some("in 30 days"), "in 30 days"),
            (1, Some("within a day"), "within a day"),
            (0, Some("has ended"), "has ended"),
            (-1, Some("has ended"), "has ended"),
        ] {
            let now = Timestamp::from_secs(1_800_000_000 - days * 24 * 60 * 60);
            let told = |words: fn(DateTime, i64) -> Option<String>| match with_end(&app, now, words) {
                Value::Struct(members) => members[0].1.clone(),
                other => panic!("{other:?}"),
            };
            assert_eq!(told(soon), in_a_table.map_or(Value::Nil, Value::string));
            assert_eq!(told(date_and_days), Value::string(format!("2027-01-15 08:00:00 UTC ({in_a_sheet})")));
        }
    }
}
