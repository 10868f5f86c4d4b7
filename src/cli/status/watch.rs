//! `status --watch`: asks again and again, until Ctrl-C. A daemon that restarts meanwhile is waited for.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::super::call::{Daemon, failure, is_passing, runtime};
use super::super::exit::{Exit, Failure};
use super::super::queue::rough;
use super::super::render;
use super::rates::Sample;
use super::screen::Screen;
use super::text::{date, page};
use crate::client::ClientError;
use crate::clock::{Clock, Instant};
use crate::domain::time::Timestamp;
use crate::xmlrpc::value::Value;

/// A daemon that takes longer than this for its status is not well, and the screen must not stand still meanwhile.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Shows the status every `interval`, a new connection each time.
pub(super) fn run(
    daemon: &Daemon,
    params: impl Fn() -> Vec<Value<'static>>,
    interval: Duration,
) -> Result<(), Failure> {
    let client = daemon.client_within(ANSWER_WITHIN)?;
    runtime()?.block_on(async {
        let no_signal = |error| Failure::new(Exit::Failed, format!("cannot watch for Ctrl-C: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signal)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(no_signal)?;
        let clock = Clock::system();
        let as_json = daemon.wants_json();
        let mut screen = if as_json { Screen::of_blocks() } else { Screen::of_stdout() };
        let mut view = View { interval, last: None, lost: None };
        let watching = async {
            loop {
                let began = clock.now();
                let answer = client.call("apnsd.status", params()).await;
                let going_on = match (as_json, answer) {
                    (true, Ok(answer)) => screen.show(&render::json(&answer))?,
                    (_, answer) => {
                        screen.show(&view.text(answer, clock.now(), clock.timestamp(), screen.width())?)?
                    }
                };
                if !going_on {
                    return Ok(());
                }
                clock.sleep_until(Some(began + interval)).await;
            }
        };
        let outcome = tokio::select! {
            outcome = watching => outcome,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        };
        screen.leave()?;
        outcome
    })
}

/// What was seen before.
struct View {
    interval: Duration,
    last: Option<Sample>,
    /// Since when there is no answer.
    lost: Option<Instant>,
}

impl View {
    /// The text to show now; a failure where waiting would not help.
    fn text(
        &mut self,
        answer: Result<Value<'static>, ClientError>,
        at: Instant,
        wall: Timestamp,
        width: Option<usize>,
    ) -> Result<String, Failure> {
        let head = format!("{}, every {} s\n", date(wall), self.interval.as_secs());
        match answer {
            Ok(answer) => {
                self.lost = None;
                let now = Sample { answer, at };
                let text = page(&now.answer, self.last.as_ref().map(|earlier| (earlier, &now)), width);
                self.last = Some(now);
                Ok(format!("{head}{text}"))
            }
            Err(error) if is_passing(&error) => {
                // Another daemon may answer next, which counts anew.
                self.last = None;
                let lost = *self.lost.get_or_insert(at);
                Ok(format!("{head}cannot reach it since {}: {}\n", rough(at.since(lost)), error.of_reading()))
            }
            Err(error) => Err(failure(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(delivered: i64) -> Result<Value<'static>, ClientError> {
        let counted = ["accepted", "delivered", "rejected"].map(|name| (name.into(), Value::Int(delivered)));
        let name = [("app_id".into(), Value::string("shop"))];
        Ok(Value::Struct(name.into_iter().chain(counted).collect()))
    }

    fn refused() -> Result<Value<'static>, ClientError> {
        Err(ClientError::Connect { url: "http://h".into(), cause: "refused".into(), is_absent: true })
    }

    #[test]
    fn a_restart_is_told_with_its_time_and_waited_for() {
        let mut view = View { interval: Duration::from_secs(2), last: None, lost: None };
        let mut text = |answer, seconds| {
            let at = Instant::from_start(Duration::from_secs(seconds));
            let text = view.text(answer, at, Timestamp::from_secs(1_300_000_000), None).unwrap();
            text.strip_prefix("2011-03-13 07:06:40 UTC, every 2 s\n").unwrap().to_owned()
        };
        assert!(!text(app(100), 0).contains("/s"));
        assert!(text(app(110), 2).contains("\ndelivered/s  5\n"));
        assert_eq!(text(refused(), 4), "cannot reach it since 0 s: cannot connect to http://h: refused\n");
        assert_eq!(text(refused(), 16), "cannot reach it since 12 s: cannot connect to http://h: refused\n");
        // What is counted anew has no rate yet, even where it is more than before.
        assert!(!text(app(200), 18).contains("/s"));
        assert!(text(app(202), 20).contains("\ndelivered/s  1\n"));
        assert_eq!(text(refused(), 22), "cannot reach it since 0 s: cannot connect to http://h: refused\n");
    }

    #[test]
    fn a_look_that_is_lost_changed_nothing() {
        let mut view = View { interval: Duration::from_secs(2), last: None, lost: None };
        let broken = ClientError::Broken { url: "http://h".into(), cause: "reset".into() };
        let text = view.text(Err(broken), Instant::default(), Timestamp::from_secs(0), None).unwrap();
        let told = "cannot reach it since 0 s: the connection to http://h broke before the answer (reset)\n";
        assert!(text.ends_with(told), "{text}");
    }

    #[test]
    fn what_waiting_does_not_cure_ends_it() {
        let mut view = View { interval: Duration::from_secs(2), last: None, lost: None };
        let mut exit = |error| {
            let shown = view.text(Err(error), Instant::default(), Timestamp::from_secs(0), None);
            shown.map_err(|failure| failure.exit).err()
        };
        assert_eq!(exit(ClientError::Fault(404, "unknown".into())), Some(Exit::Fault));
        assert_eq!(exit(ClientError::Http(401, String::new())), Some(Exit::Unreachable));
        assert_eq!(exit(ClientError::Http(503, String::new())), None);
    }
}
