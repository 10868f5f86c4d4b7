//! `log`: how much the daemon writes about one app, without a restart.

use clap::Args;

use super::call::Daemon;
use super::exit::Failure;
use super::render::{cell, member};
use crate::xmlrpc::value::Value;

/// Show or change how much the daemon writes to its log about one app
///
/// Holds until the daemon ends or it is taken back with --reset. At `debug`: each attempt to connect and what came of it,
/// each batch that is handed to the gateway, each answer. Tokens are written as their first 8 digits, payloads never.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  apnsd log\n  apnsd log myapp debug\n  apnsd log myapp --reset")]
pub(super) struct Log {
    /// The name that it was provisioned under; without, all apps with a level of their own are listed
    #[arg(value_name = "APP")]
    app_id: Option<String>,
    /// off, error, warn, info, debug or trace
    #[arg(value_name = "LEVEL", value_parser = ["off", "error", "warn", "info", "debug", "trace"])]
    level: Option<String>,
    /// As much as about all others
    #[arg(long, conflicts_with = "level", requires = "app_id")]
    reset: bool,
    #[command(flatten)]
    daemon: Daemon,
}

/// Prints the levels, after a change where one is wanted.
pub(super) fn run(args: &Log) -> Result<(), Failure> {
    let level = if args.reset { Some("") } else { args.level.as_deref() };
    let params = args.app_id.as_deref().into_iter().chain(level).map(Value::string).collect();
    args.daemon.call("apnsd.log", params, |levels| told(levels, args.app_id.as_deref()))
}

fn told(levels: &Value<'_>, asked: Option<&str>) -> String {
    let all = cell(member(levels, "level"));
    let apps: &[_] = match member(levels, "apps") {
        Some(Value::Struct(apps)) => apps,
        Some(_) | None => &[],
    };
    match asked {
        Some(app) if apps.is_empty() => format!("{app}: {all}, as all\n"),
        Some(_) => lines(apps),
        None => format!("{all}\n{}", lines(apps)),
    }
}

fn lines(apps: &[(std::borrow::Cow<'_, str>, Value<'_>)]) -> String {
    apps.iter().map(|(app, level)| format!("{}: {}\n", cell(Some(&Value::string(&**app))), cell(Some(level)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_told_for_all_and_for_those_that_differ() {
        let levels = |apps: &[(&'static str, &'static str)]| {
            let apps = apps.iter().map(|(app, level)| ((*app).into(), Value::string(*level))).collect();
            Value::structure(vec![("level".into(), Value::string("info")), ("apps".into(), Value::Struct(apps))])
        };
        let some = levels(&[("a", "debug"), ("b", "error")]);
        assert_eq!(told(&some, None), "info\na: debug\nb: error\n");
        assert_eq!(told(&levels(&[]), None), "info\n");
        assert_eq!(told(&levels(&[("a", "debug")]), Some("a")), "a: debug\n");
        assert_eq!(told(&levels(&[]), Some("a")), "a: info, as all\n");
    }
}
