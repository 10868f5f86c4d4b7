//! A list in calls of 10,000 tokens, each with a name of its own, so that it can be repeated when its answer was lost.
//!
//! The names are those of `clients/README.md`: the first call has the plain `request_id`, the others have `-1`, `-2` and
//! so on behind it. Parts are cut by count alone, so that the same list is always cut the same way.

use std::borrow::Cow;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::super::call::{Daemon, failure, is_passing, runtime};
use super::super::exit::{Exit, Failure};
use super::super::recipients::{Reading, Recipient, STDIN, no_token};
use crate::client::{Client, ClientError};
use crate::clock::Clock;
use crate::xmlrpc::value::Value;

/// Tokens in one call.
pub(super) const PART: usize = 10_000;
/// Before a call is repeated whose answer was lost: long enough in sum for a daemon to restart, and far below the 15
/// minutes for which it remembers the name of a call.
const WAITS: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(6)];

/// What goes to all of them.
pub(super) struct List<'a> {
    pub(super) app: &'a str,
    pub(super) message: Value<'static>,
    /// Without its `request_id`, or with: that of the list takes its place.
    pub(super) options: Vec<(Cow<'a, str>, Value<'a>)>,
    pub(super) request_id: String,
    /// Where the tokens come from, for messages.
    pub(super) file: Option<&'a str>,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) accepted: u64,
    /// The line of the file from which on nothing is known to be accepted, where it ended early.
    pub(super) next_line: Option<u64>,
    /// Why it ended early, and what to do.
    pub(super) stopped: Option<Failure>,
}

impl Sent {
    /// For `--json`.
    pub(super) fn to_value(&self, request_id: &str) -> Value<'static> {
        let line = self.next_line.map(|line| ("next_line".into(), number(line)));
        let members =
            [("accepted".into(), number(self.accepted)), ("request_id".into(), Value::string(request_id.to_owned()))];
        Value::Struct(members.into_iter().chain(line).collect())
    }
}

fn number(number: u64) -> Value<'static> {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A name that no other call has.
pub(super) fn new_request_id() -> String {
    format!("apnsd-{:032x}", fastrand::u128(..))
}

/// The name of a call of a list, counted from 0.
fn name_of_part(request_id: &str, at: usize) -> String {
    if at == 0 { request_id.to_owned() } else { format!("{request_id}-{at}") }
}

/// Why a part was not accepted.
enum Refused {
    /// The daemon did not take it, or what was read cannot be sent.
    Known(Failure),
    /// Nobody knows whether it did: the answer was lost, or not waited for.
    Unknown(Failure),
}

impl List<'_> {
    /// Sends to all of them, one part after the other; a failure only where it did not begin.
    pub(super) fn send(&self, reading: Reading, daemon: &Daemon, bar: &ProgressBar) -> Result<Sent, Failure> {
        let client = daemon.client()?;
        let runtime = runtime()?;
        let sent = runtime.block_on(async {
            let no_signal = |error| Failure::new(Exit::Failed, format!("cannot watch for Ctrl-C: {error}"));
            let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signal)?;
            Ok(self.send_parts(reading, &client, bar, &mut interrupt).await)
        });
        // A pipe from which nothing comes would keep it.
        runtime.shutdown_background();
        bar.finish_and_clear();
        sent
    }

    async fn send_parts(
        &self,
        mut reading: Reading,
        client: &Client,
        bar: &ProgressBar,
        interrupt: &mut Signal,
    ) -> Sent {
        let mut accepted = 0;
        for at in 0.. {
            let part = tokio::select! {
                part = next_part(reading) => part,
                _ = interrupt.recv() => Err((interrupted(), None)),
            };
            let (part, rest) = match part {
                Ok((part, _)) if part.is_empty() && at == 0 => {
                    return self.stopped(0, None, Refused::Known(no_token()));
                }
                Ok((part, _)) if part.is_empty() => break,
                Ok(read) => read,
                Err((failure, line)) => return self.stopped(accepted, line, Refused::Known(failure)),
            };
            reading = rest;
            let line = part.first().and_then(|first| first.line);
            let outcome = tokio::select! {
                outcome = self.accept(client, &part, at) => outcome,
                _ = interrupt.recv() => Err(Refused::Unknown(interrupted())),
            };
            if let Err(refused) = outcome {
                return self.stopped(accepted, line, refused);
            }
            accepted += part.len() as u64;
            bar.set_position(accepted);
        }
        Sent { accepted, next_line: None, stopped: None }
    }

    /// Has a part accepted; repeats the call while its answer is lost.
    async fn accept(&self, client: &Client, part: &[Recipient], at: usize) -> Result<(), Refused> {
        let name = name_of_part(&self.request_id, at);
        let mut waits = WAITS.into_iter();
        let mut may_be_accepted = false;
        loop {
            let Err(error) = client.call("notify", self.params(part, &name)).await else { return Ok(()) };
            let no_answer = matches!(error, ClientError::Timeout { .. } | ClientError::Broken { .. });
            may_be_accepted |= no_answer;
            // What was never there is not waited for, nor is a daemon that has no answer within the time-out.
            let is_first = at == 0 && !may_be_accepted;
            let repeat = is_passing(&error) && !is_first && !matches!(error, ClientError::Timeout { .. });
            match waits.next().filter(|_| repeat) {
                Some(wait) => Clock::system().sleep(wait).await,
                // A call that was accepted before is answered as such, never with a fault.
                None if may_be_accepted && !matches!(error, ClientError::Fault(..)) => {
                    return Err(Refused::Unknown(failure(error)));
                }
                None => return Err(Refused::Known(failure(error))),
            }
        }
    }

    fn params<'a>(&'a self, part: &'a [Recipient], name: &str) -> Vec<Value<'a>> {
        let mut options = self.options.clone();
        options.retain(|(option, _)| option != "request_id");
        options.push(("request_id".into(), Value::string(name.to_owned())));
        let tokens = part.iter().map(|recipient| Value::string(recipient.token.as_str())).collect();
        vec![Value::string(self.app), Value::Array(tokens), self.message.clone(), Value::structure(options)]
    }

    /// The truth about a list that was not accepted as a whole.
    fn stopped(&self, accepted: u64, line: Option<u64>, refused: Refused) -> Sent {
        let (failure, is_known) = match refused {
            Refused::Known(failure) => (failure, true),
            Refused::Unknown(failure) => (failure, false),
        };
        let mut message = failure.message;
        let of_part = HumanCount(PART as u64);
        if accepted > 0 {
            message += &format!("\naccepted for {}: {}", self.app, HumanCount(accepted));
            message += &line.map_or_else(String::new, |line| format!(", all before line {line}"));
        }
        if !is_known {
            let from = line.map_or_else(String::new, |line| format!(" from line {line} on"));
            message += &format!("\nnot known: the next call, of at most {of_part}{from}");
        }
        if accepted > 0 {
            message += "\nnot accepted: the rest";
        }
        if accepted > 0 || !is_known {
            let id = &self.request_id;
            message += &format!(
                "\nto send the rest, and nothing twice: the same command with --request-id {id}, within 15 minutes"
            );
        }
        if let (1.., Some(line), true) = (accepted, line, is_known) {
            let file = self.file.filter(|file| *file != STDIN).map_or(String::new(), |file| format!(" {file}"));
            message += &format!("\nlater than that: tail -n +{line}{file} | apnsd notify … --tokens -");
        }
        Sent { accepted, next_line: line, stopped: Some(Failure::new(failure.exit, message)) }
    }
}

fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted")
}

/// The next recipients, and what follows them; where a line is wrong, the first line of the part that it is in. Reading
/// may take as long as a pipe lets it.
async fn next_part(mut reading: Reading) -> Result<(Vec<Recipient>, Reading), (Failure, Option<u64>)> {
    let read = tokio::task::spawn_blocking(move || {
        let mut part = Vec::new();
        for read in reading.by_ref().take(PART) {
            match read {
                Ok(recipient) => part.push(recipient),
                Err(failure) => return Err((failure, part.first().and_then(|first: &Recipient| first.line))),
            }
        }
        Ok((part, reading))
    });
    match read.await {
        Ok(read) => read,
        Err(error) => Err((Failure::new(Exit::Failed, format!("cannot read tokens: {error}")), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(file: &str) -> List<'_> {
        List { app: "shop", message: Value::Nil, options: Vec::new(), request_id: "r1".into(), file: Some(file) }
    }

    fn told(file: &str, accepted: u64, line: Option<u64>, refused: Refused) -> String {
        list(file).stopped(accepted, line, refused).stopped.unwrap().message
    }

    fn why() -> Failure {
        Failure::new(Exit::Fault, "the queue is full")
    }

    #[test]
    fn the_first_call_has_the_plain_name_and_the_others_are_counted() {
        assert_eq!([0, 1, 12].map(|at| name_of_part("r1", at)), ["r1", "r1-1", "r1-12"]);
        assert_ne!(new_request_id(), new_request_id());
    }

    #[test]
    fn what_was_not_accepted_at_all_needs_no_more_words() {
        assert_eq!(told("t", 0, Some(1), Refused::Known(why())), "the queue is full");
    }

    #[test]
    fn what_was_accepted_in_part_is_told_with_the_way_to_go_on() {
        assert_eq!(
            told("tokens.txt", 20_000, Some(20_003), Refused::Known(why())),
            "\
the queue is full
accepted for shop: 20,000, all before line 20003
not accepted: the rest
to send the rest, and nothing twice: the same command with --request-id r1, within 15 minutes
later than that: tail -n +20003 tokens.txt | apnsd notify … --tokens -"
        );
    }

    #[test]
    fn what_nobody_knows_is_not_told_as_refused() {
        assert_eq!(
            told("-", 20_000, Some(20_003), Refused::Unknown(interrupted())),
            "\
interrupted
accepted for shop: 20,000, all before line 20003
not known: the next call, of at most 10,000 from line 20003 on
not accepted: the rest
to send the rest, and nothing twice: the same command with --request-id r1, within 15 minutes"
        );
        let first = told("t", 0, Some(1), Refused::Unknown(interrupted()));
        assert!(first.ends_with("the same command with --request-id r1, within 15 minutes"), "{first}");
    }
}
