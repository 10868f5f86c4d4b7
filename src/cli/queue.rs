//! `queue`: what waits for each app and why; `queue purge` empties it.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::call::Daemon;
use super::exit::{Exit, Failure};
use super::render::{Columns, cell, items, member, table};
use crate::clock::Clock;
use crate::domain::time::Timestamp;
use crate::xmlrpc::value::Value;

/// Show what waits for each app, since when, and why notifications had to be sent again
///
/// WAITING includes DEFERRED, those that are not tried again before NEXT DUE. RETRIES counts the causes since the
/// daemon started.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  apnsd queue\n  apnsd queue myapp --json\n  apnsd queue purge myapp"
)]
pub(super) struct Queue {
    #[command(subcommand)]
    action: Option<Action>,
    /// Only this app
    #[arg(value_name = "APP")]
    app_id: Option<String>,
    #[command(flatten)]
    daemon: Daemon,
}

#[derive(Debug, Subcommand)]
enum Action {
    Purge(Purge),
}

/// Empty the queue of an app; what waited becomes rejections
///
/// What the gateway was already given is on its way and stays there.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd queue purge myapp\n  apnsd queue purge myapp --yes")]
struct Purge {
    /// The name that it was provisioned under
    #[arg(value_name = "APP")]
    app_id: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// What there is to know of a queue, of all that there is to know of an app.
const MEMBERS: [&str; 9] =
    ["app_id", "state", "cause", "waiting", "in_flight", "oldest", "deferred", "next_due", "retries"];

/// Prints the queues, or empties one.
pub(super) fn run(args: &Queue) -> Result<(), Failure> {
    if let Some(Action::Purge(args)) = &args.action {
        return purge(args);
    }
    let apps = match &args.app_id {
        None => args.daemon.ask("apnsd.apps", Vec::new())?,
        Some(app) => Value::Array(vec![args.daemon.ask("apnsd.status", vec![Value::string(app.as_str())])?]),
    };
    let queues = Value::Array(items(&apps).iter().map(|app| pick(app, |_, value| value.clone())).collect());
    let now = Clock::system().timestamp();
    args.daemon.print(&queues, |queues| as_table(items(queues), now))
}

fn as_table(queues: &[Value<'_>], now: Timestamp) -> String {
    const COLUMNS: Columns = Columns {
        first: &["app_id", "waiting", "in_flight", "oldest", "deferred", "next_due", "retries", "state", "cause"],
        renamed: &[],
        hidden: &[],
    };
    if queues.is_empty() {
        return "no apps yet: add one with `apnsd provision`\n".to_owned();
    }
    let rows = queues.iter().map(|queue| pick(queue, |name, value| from_now(name, value, now)));
    table(&rows.collect::<Vec<_>>(), &COLUMNS)
}

/// A member with its time as a span from now.
fn from_now<'a>(name: &str, value: &Value<'a>, now: Timestamp) -> Value<'a> {
    match (name, moment(value)) {
        ("oldest", Some(oldest)) => Value::string(rough(now.since(oldest))),
        ("next_due", Some(due)) if due <= now => Value::string("now"),
        ("next_due", Some(due)) => Value::string(format!("in {}", rough(due.since(now)))),
        _ => value.clone(),
    }
}

/// The members of an app that concern its queue, as `show` puts them.
fn pick<'a>(app: &Value<'a>, show: impl Fn(&str, &Value<'a>) -> Value<'a>) -> Value<'a> {
    let shown = |name: &'static str| Some((name.into(), show(name, member(app, name)?)));
    Value::Struct(MEMBERS.into_iter().filter_map(shown).collect())
}

/// A date in UTC as a moment.
pub(super) fn moment(value: &Value<'_>) -> Option<Timestamp> {
    let Value::DateTime(time) = value else { return None };
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_millis(time.timestamp().as_millisecond()))
}

/// A span in its greatest whole unit: `3 min`.
pub(super) fn rough(span: Duration) -> String {
    match span.as_secs() {
        secs @ ..60 => format!("{secs} s"),
        secs @ ..3_600 => format!("{} min", secs / 60),
        secs @ ..172_800 => format!("{} h", secs / 3_600),
        secs => format!("{} d", secs / 86_400),
    }
}

fn purge(args: &Purge) -> Result<(), Failure> {
    let app = || vec![Value::string(args.app_id.as_str())];
    if !args.yes {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            let message = "what is purged is not sent any more, and there is no terminal to ask: pass --yes";
            return Err(Failure::new(Exit::Usage, message));
        }
        let status = args.daemon.ask("apnsd.status", app())?;
        let waiting = notifications(&cell(member(&status, "waiting")));
        if !is_yes(&answer(&format!("Reject {waiting} of {}? [y/N] ", args.app_id))?) {
            return Err(Failure::new(Exit::Failed, "nothing was purged"));
        }
    }
    let name = &args.app_id;
    args.daemon.call("apnsd.purge", app(), |purged| match cell(Some(purged)).as_str() {
        "0" => format!("nothing waited for {name}\n"),
        purged => format!("rejected {} of {name}; `apnsd rejections {name}` lists them\n", notifications(purged)),
    })
}

fn notifications(count: &str) -> String {
    format!("{count} waiting notification{}", if count == "1" { "" } else { "s" })
}

/// Asks on standard error, so that standard output has results only.
fn answer(question: &str) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Failed, format!("cannot ask: {error}"));
    let mut stderr = io::stderr();
    stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush()).map_err(failed)?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(failed)?;
    Ok(answer)
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_300_000_000);

    fn queue(more: Vec<(&'static str, Value<'static>)>) -> Value<'static> {
        let members = [("app_id", Value::string("one")), ("waiting", Value::Int(7)), ("in_flight", Value::Int(0))];
        Value::Struct(members.into_iter().chain(more).map(|(name, value)| (name.into(), value)).collect())
    }

    #[test]
    fn times_are_told_as_spans_from_now_and_causes_with_their_counts() {
        let time = jiff::civil::date(2011, 3, 13).at(7, 6, 40, 0);
        let retries = vec![("ProcessingError".into(), Value::Int(12)), ("ConnectionClosed".into(), Value::Int(3))];
        let rows = [queue(vec![
            ("oldest", Value::DateTime(time)),
            ("deferred", Value::Int(2)),
            ("next_due", Value::DateTime(time)),
            ("retries", Value::structure(retries)),
            ("state", Value::string("connected")),
            ("gateway", Value::string("not of the queue")),
        ])];
        let expected = "\
APP ID  WAITING  IN FLIGHT  OLDEST  DEFERRED  NEXT DUE  RETRIES                                 STATE
one           7          0  3 min          2  now       ProcessingError 12, ConnectionClosed 3  connected
";
        assert_eq!(as_table(&rows, NOW.plus(Duration::from_secs(239))), expected);
        let due = as_table(&rows, NOW.minus(Duration::from_secs(40)));
        assert!(due.contains("  0 s            2  in 40 s   "), "{due}");
    }

    #[test]
    fn an_idle_queue_is_a_short_row() {
        assert_eq!(as_table(&[queue(vec![])], NOW), "APP ID  WAITING  IN FLIGHT\none           7          0\n");
    }

    #[test]
    fn anything_but_a_yes_is_a_no() {
        assert!(["y\n", "Y", " yes\r\n"].iter().all(|answer| is_yes(answer)));
        assert!(["", "\n", "n", "yep", "no"].iter().all(|answer| !is_yes(answer)));
    }

    #[test]
    fn spans_are_told_in_their_greatest_whole_unit() {
        for (secs, told) in
            [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_599, "59 min"), (172_799, "47 h"), (172_800, "2 d")]
        {
            assert_eq!(rough(Duration::from_secs(secs)), told);
        }
    }
}
