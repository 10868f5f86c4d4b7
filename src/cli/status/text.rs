//! The answer of `apnsd.status` as text for people. Pure.

use jiff::civil::DateTime;
use textwrap::WordSplitter;

use super::super::apps::{date_and_days, soon, with_end};
use super::super::queue::{moment, rough};
use super::super::render::{Columns, cell, items, member, sheet, table};
use super::rates::{Sample, number};
use crate::domain::time::Timestamp;
use crate::xmlrpc::value::Value;

/// In front of what is said about the row above.
const INDENT: &str = "    ";

/// Where an app is listed, what is told of it in the table; the rest is in its own sheet.
const COLUMNS: Columns = Columns {
    first: &["app_id", "environment", "state", "waiting", "in_flight", "delivered", "rejected"],
    renamed: &[("accepted/s", "IN/S"), ("delivered/s", "OUT/S")],
    hidden: &["rejected/s"],
};

/// The page for all apps, or the sheet for one, as wide as `width` where that is known. With an earlier sample, rates
/// since then.
pub(super) fn page(answer: &Value<'static>, samples: Option<(&Sample, &Sample)>, width: Option<usize>) -> String {
    let rates = |app: &Value<'_>| samples.map_or(Vec::new(), |(earlier, now)| now.rates_since(earlier, app));
    match member(answer, "apps") {
        None => one(answer, &rates(answer)),
        Some(apps) => head(answer, items(apps), width) + &rows(items(apps), answer, rates, width),
    }
}

/// Whether there is nothing to be done: notifications are accepted, and every app can send.
pub(super) fn is_well(answer: &Value<'_>) -> bool {
    let apps = member(answer, "apps").map_or(std::slice::from_ref(answer), items);
    member(answer, "ready") != Some(&Value::Boolean(false)) && apps.iter().all(can_send)
}

fn can_send(app: &Value<'_>) -> bool {
    member(app, "can_send") != Some(&Value::Boolean(false))
}

/// Everything about one app.
fn one(app: &Value<'static>, rates: &[(&'static str, Value<'static>)]) -> String {
    // A restart keeps what waits, not these.
    const COUNTED: [&str; 4] = ["accepted", "delivered", "rejected", "retries"];
    let app = with_end(&with(app, rates), now(app), date_and_days);
    sheet(&app, |name| if COUNTED.contains(&name) { " (since the daemon started)" } else { "" })
}

/// The daemon itself: whether it accepts, what that means, and what all apps make together.
fn head(answer: &Value<'_>, apps: &[Value<'_>], width: Option<usize>) -> String {
    let text = |name| cell(member(answer, name));
    let ready = match text("cause") {
        cause if cause.is_empty() => format!("ready: accepts calls on {}", text("addresses")),
        cause => format!("NOT READY, accepts nothing: {cause}"),
    };
    let started = member(answer, "started").and_then(moment).unwrap_or_else(|| now(answer));
    let up = rough(now(answer).since(started));
    let daemon = format!("apnsd {}, up for {up}; accepted means: {}", text("version"), text("accepted_means"));
    let sum = |name| apps.iter().filter_map(|app| number(member(app, name)?)).fold(0.0, |sum, count| sum + count);
    let of_apps = match (apps.len(), apps.iter().filter(|app| !can_send(app)).count()) {
        (0, _) => "no apps yet: add one with `apnsd provision`".to_owned(),
        (count, stuck) => format!(
            "{}; {} waiting, {} in flight; delivered and rejected are counted since the start",
            match (count, stuck) {
                (1, 0) => "1 app, which can send".to_owned(),
                (1, _) => "1 app, which cannot send".to_owned(),
                (count, 0) => format!("{count} apps, all of which can send"),
                (count, stuck) if stuck == count => format!("{count} apps, none of which can send"),
                (count, stuck) => format!("{count} apps, of which {stuck} cannot send"),
            },
            sum("waiting"),
            sum("in_flight"),
        ),
    };
    [ready, daemon, of_apps].iter().map(|line| wrapped(line, "", "  ", width)).collect()
}

/// The table; below a row, at full width, what keeps the app from sending.
fn rows(
    apps: &[Value<'static>],
    answer: &Value<'_>,
    rates: impl Fn(&Value<'_>) -> Vec<(&'static str, Value<'static>)>,
    width: Option<usize>,
) -> String {
    if apps.is_empty() {
        return String::new();
    }
    let mut apps: Vec<&Value<'_>> = apps.iter().collect();
    apps.sort_by_key(|app| can_send(app));
    let row = |app: &&Value<'static>| {
        let end = member(&with_end(app, now(answer), soon), "expires").cloned();
        let cells = COLUMNS.first.iter().filter_map(|name| Some(((*name).into(), member(app, name)?.clone())));
        with(&with(&Value::Struct(cells.collect()), &rates(app)), &[("expires", end.unwrap_or(Value::Nil))])
    };
    let table = table(&apps.iter().map(row).collect::<Vec<_>>(), &COLUMNS);
    let mut lines = table.lines();
    let mut text = format!("\n{}\n", lines.next().unwrap_or_default());
    for (line, app) in lines.zip(apps) {
        text += &format!("{line}\n");
        for name in ["cause", "renewal"] {
            let remark = cell(member(app, name));
            if !remark.is_empty() {
                text += &wrapped(&remark, INDENT, INDENT, width);
            }
        }
    }
    text
}

/// Lines that end before the edge.
fn wrapped(text: &str, first: &str, next: &str, width: Option<usize>) -> String {
    match width {
        None => format!("{first}{text}\n"),
        Some(width) => {
            // What is to be typed stays in one piece.
            let options = textwrap::Options::new(width).word_splitter(WordSplitter::NoHyphenation);
            textwrap::fill(text, options.initial_indent(first).subsequent_indent(next)) + "\n"
        }
    }
}

fn with(app: &Value<'static>, more: &[(&'static str, Value<'static>)]) -> Value<'static> {
    let Value::Struct(members) = app else { return app.clone() };
    let more = more.iter().map(|(name, value)| ((*name).into(), value.clone()));
    Value::Struct(members.iter().cloned().chain(more).collect())
}

/// The daemon's clock, where it tells; else the moment is this machine's.
fn now(answer: &Value<'_>) -> Timestamp {
    member(answer, "now").and_then(moment).unwrap_or_else(|| crate::clock::Clock::system().timestamp())
}

/// A moment as a date for the head of a page that is shown again and again.
pub(super) fn date(now: Timestamp) -> String {
    let time: DateTime = super::super::render::civil(now);
    cell(Some(&Value::DateTime(time)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Instant;

    fn time(seconds: i64) -> Value<'static> {
        Value::DateTime(super::super::super::render::civil(Timestamp::from_secs(seconds)))
    }

    fn structure(members: Vec<(&'static str, Value<'static>)>) -> Value<'static> {
        Value::Struct(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    fn app(name: &'static str, state: &'static str, cause: &'static str, delivered: i64) -> Value<'static> {
        structure(vec![
            ("app_id", Value::string(name)),
            ("environment", Value::string("sandbox")),
            ("state", Value::string(state)),
            ("can_send", Value::Boolean(cause.is_empty())),
            ("cause", Value::string(cause)),
            ("waiting", Value::Int(7)),
            ("in_flight", Value::Int(1)),
            ("accepted", Value::Int(delivered + 8)),
            ("delivered", Value::Int(delivered)),
            ("rejected", Value::Int(0)),
            ("expires", time(1_300_000_000 + 86_400 * 10)),
        ])
    }

    fn daemon(apps: Vec<Value<'static>>) -> Vec<(&'static str, Value<'static>)> {
        vec![
            ("ready", Value::Boolean(true)),
            ("version", Value::string("0.1.0")),
            ("started", time(1_300_000_000 - 7_300)),
            ("now", time(1_300_000_000)),
            ("accepted_means", Value::string("on disk and synced")),
            ("addresses", Value::Array(vec![Value::string("127.0.0.1:7077"), Value::string("unix:/run/a")])),
            ("apps", Value::Array(apps)),
        ]
    }

    const CAUSE: &str = "the gateway refuses the certificate (certificate expired): provision a new one";

    #[test]
    fn one_look_tells_how_the_daemon_is_and_what_keeps_apps_from_sending() {
        let answer = structure(daemon(vec![app("shop", "connected", "", 1000), app("news", "paused", CAUSE, 0)]));
        assert!(!is_well(&answer));
        assert_eq!(
            page(&answer, None, Some(62)),
            "\
ready: accepts calls on 127.0.0.1:7077, unix:/run/a
apnsd 0.1.0, up for 2 h; accepted means: on disk and synced
2 apps, of which 1 cannot send; 14 waiting, 2 in flight;
  delivered and rejected are counted since the start

APP ID  ENVIRONMENT  STATE      WAITING  IN FLIGHT  DELIVERED  REJECTED  EXPIRES
news    sandbox      paused           7          1          0         0  in 10 days
    the gateway refuses the certificate (certificate expired):
    provision a new one
shop    sandbox      connected        7          1       1000         0  in 10 days
"
        );
        let unwrapped = page(&answer, None, None);
        assert!(unwrapped.contains(&format!("\n    {CAUSE}\n")), "{unwrapped}");
    }

    #[test]
    fn a_daemon_that_accepts_nothing_says_so_first() {
        let mut facts = daemon(vec![app("shop", "idle", "", 0)]);
        facts[0].1 = Value::Boolean(false);
        facts.push(("cause", Value::string("the disk is full")));
        let answer = structure(facts);
        assert!(!is_well(&answer));
        let text = page(&answer, None, None);
        assert!(text.starts_with("NOT READY, accepts nothing: the disk is full\n"), "{text}");
        assert!(text.contains("\n1 app, which can send; 7 waiting, 1 in flight; "), "{text}");
    }

    #[test]
    fn without_apps_the_next_step_is_said() {
        let answer = structure(daemon(Vec::new()));
        assert!(is_well(&answer));
        assert!(page(&answer, None, None).ends_with("\nno apps yet: add one with `apnsd provision`\n"));
    }

    #[test]
    fn between_two_samples_there_are_rates() {
        let at = |seconds| Instant::from_start(Duration::from_secs(seconds));
        let sample = |delivered, seconds| Sample {
            answer: structure(daemon(vec![app("shop", "connected", "", delivered)])),
            at: at(seconds),
        };
        let (earlier, now) = (sample(1000, 0), sample(1025, 2));
        let text = page(&now.answer, Some((&earlier, &now)), None);
        let cells = |at: usize| -> Vec<String> {
            let line = text.lines().nth(at).unwrap_or_default();
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
        };
        assert_eq!(cells(4)[5..], ["DELIVERED", "REJECTED", "IN/S", "OUT/S", "EXPIRES"]);
        assert_eq!(cells(5)[5..], ["1025", "0", "12.5", "12.5", "in 10 days"]);

        let one = |delivered, seconds| Sample { answer: app("shop", "connected", "", delivered), at: at(seconds) };
        let (earlier, now) = (one(1000, 0), one(1025, 2));
        let text = page(&now.answer, Some((&earlier, &now)), None);
        assert!(text.contains("\ndelivered/s  12.5\n"), "{text}");
        assert!(text.contains("\ndelivered    1025 (since the daemon started)\n"), "{text}");
    }
}
