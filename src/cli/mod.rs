//! The command line: one file a verb or group of verbs. Each returns, with a `Failure` where it failed; none exits.
//!
//! Standard output has results only, so that `--json` can be piped; everything else goes to standard error.

mod apps;
mod bench;
mod call;
mod check;
mod check_config;
mod convert;
mod credential;
mod demo;
pub mod exit;
mod export;
mod generate;
mod import;
mod log;
mod message;
mod notify;
mod output;
mod provision;
mod queue;
mod recipients;
mod render;
mod results;
mod running;
mod send;
mod serve;
mod simulate;
mod status;
mod token;
mod trace;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use self::exit::{Exit, Failure};

/// A push-notification daemon: XML-RPC in, Apple's gateways out.
#[derive(Debug, Parser)]
#[command(name = "apnsd", version, after_help = exit::help(), max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Simulate(simulate::Simulate),
    Demo(demo::Demo),
    CheckConfig(check_config::CheckConfig),
    Check(check::Check),
    Convert(convert::Convert),
    Provision(provision::Provision),
    Notify(notify::Notify),
    Send(send::Send),
    Feedback(results::Feedback),
    Rejections(results::Rejections),
    Apps(apps::Apps),
    Status(status::Status),
    Pause(apps::Pause),
    Resume(apps::Resume),
    Deprovision(apps::Deprovision),
    Queue(queue::Queue),
    Trace(trace::Trace),
    Log(log::Log),
    Export(export::Export),
    Import(import::Import),
    Token(token::Tokens),
    Bench(bench::Bench),
    Generate(generate::Generate),
}

/// The definition of the command line, for what is made from it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command of this process.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            output::complain(&failure.message);
            failure.exit.into()
        }
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Demo(args) => demo::run(args),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Provision(args) => provision::run(&args),
        Command::Notify(args) => notify::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Feedback(args) => results::feedback(&args),
        Command::Rejections(args) => results::rejections(&args),
        Command::Apps(args) => apps::apps(&args),
        Command::Status(args) => status::run(&args),
        Command::Pause(args) => apps::pause(&args),
        Command::Resume(args) => apps::resume(&args),
        Command::Deprovision(args) => apps::deprovision(&args),
        Command::Queue(args) => queue::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Log(args) => log::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::Generate(args) => generate::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example_that_parses() {
        let cli = Cli::command();
        let verbs = cli.get_subcommands().flat_map(|verb| std::iter::once(verb).chain(verb.get_subcommands()));
        for verb in verbs.filter(|verb| verb.get_name() != "help") {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  apnsd ")).collect();
            assert!(!examples.is_empty(), "{}", verb.get_name());
            for example in examples {
                let words = std::iter::once("apnsd".to_owned()).chain(words(example));
                assert!(Cli::try_parse_from(words).is_ok(), "{example}");
            }
        }
    }

    /// Splits a line as a shell does, with single quotes.
    fn words(line: &str) -> Vec<String> {
        let parts = line.split('\'').enumerate();
        parts
            .flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            })
            .collect()
    }
}
