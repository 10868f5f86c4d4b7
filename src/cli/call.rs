//! What the verbs that talk to a daemon have in common: where it is, one call, its failures.

use std::borrow::Cow;
use std::time::Duration;

use clap::Args;
use tokio::runtime::Runtime;

use super::exit::{Exit, Failure};
use super::{output, render};
use crate::client::{Client, ClientError};
use crate::config::parse_duration;
use crate::xmlrpc::value::Value;

/// The daemon to call, and the form of its answer.
#[derive(Debug, Args)]
pub(super) struct Daemon {
    /// Where the daemon listens: http://HOST:PORT, https://USER:TOKEN@HOST:PORT or unix:/PATH [env: APNSD_URL] [default:
    /// http://127.0.0.1:7077]
    // The variable is read here: clap would show what it sets as given, in the usage of every mistake.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// How long to wait for its answer
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = parse_duration)]
    timeout: Duration,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl Daemon {
    /// Calls a method, and prints its result: as JSON, or as `show` puts it.
    pub(super) fn call(
        &self,
        method: &str,
        params: Vec<Value<'_>>,
        show: impl FnOnce(&Value<'_>) -> String,
    ) -> Result<(), Failure> {
        self.print(&self.ask(method, params)?, show)
    }

    /// Calls a method; its result.
    pub(super) fn ask(&self, method: &str, params: Vec<Value<'_>>) -> Result<Value<'static>, Failure> {
        self.ask_later(method, params, Duration::ZERO)
    }

    /// The same of a method that takes so much time by itself.
    pub(super) fn ask_later(
        &self,
        method: &str,
        params: Vec<Value<'_>>,
        takes: Duration,
    ) -> Result<Value<'static>, Failure> {
        let client = Client::new(&self.url(), self.timeout.saturating_add(takes)).map_err(failure)?;
        runtime()?.block_on(client.call(method, params)).map_err(failure)
    }

    fn url(&self) -> Cow<'_, str> {
        match (&self.url, std::env::var_os("APNSD_URL")) {
            (Some(url), _) => url.into(),
            (None, Some(url)) => url.to_string_lossy().into_owned().into(),
            (None, None) => "http://127.0.0.1:7077".into(),
        }
    }

    /// A client for it.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.url(), self.timeout).map_err(failure)
    }

    /// A client that waits no longer than this for an answer.
    pub(super) fn client_within(&self, timeout: Duration) -> Result<Client, Failure> {
        Client::new(&self.url(), self.timeout.min(timeout)).map_err(failure)
    }

    /// Whether the answer is wanted as JSON.
    pub(super) fn wants_json(&self) -> bool {
        self.json
    }

    /// Prints a result: as JSON, or as `show` puts it.
    pub(super) fn print(&self, result: &Value<'_>, show: impl FnOnce(&Value<'_>) -> String) -> Result<(), Failure> {
        output::print(&if self.json { render::json(result) } else { show(result) })
    }
}

/// What to do about fault 404.
const UNKNOWN_APP: &str = "`apnsd apps` lists what is provisioned";

/// What runs calls.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}")))
}

/// Whether it may pass by itself: the daemon is not there, or has no time.
pub(super) fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::Connect { .. } | ClientError::Timeout { .. } | ClientError::Broken { .. } => true,
        ClientError::Http(status, _) => [408, 429, 503].contains(status),
        ClientError::Url | ClientError::Decode(_) | ClientError::Fault(..) => false,
    }
}

/// How a verb ends whose call failed.
pub(super) fn failure(error: ClientError) -> Failure {
    let message = error.to_string();
    match error {
        ClientError::Url => Failure::new(Exit::Usage, message),
        ClientError::Connect { is_absent: true, .. } => Failure::new(
            Exit::Unreachable,
            format!("{message}; start the daemon with `apnsd serve`, or name the right one with --url"),
        ),
        ClientError::Connect { .. } | ClientError::Timeout { .. } | ClientError::Broken { .. } => {
            Failure::new(Exit::Unreachable, message)
        }
        // A daemon says these itself: who calls, in what form, and that it has no room.
        ClientError::Http(401 | 403 | 408 | 413 | 415 | 421 | 429 | 503, _) => Failure::new(Exit::Unreachable, message),
        ClientError::Http(..) | ClientError::Decode(_) => {
            Failure::new(Exit::Unreachable, format!("{message}; is this the URL of an apnsd? check --url"))
        }
        ClientError::Fault(404, _) => Failure::new(Exit::Fault, format!("{message}\n{UNKNOWN_APP}")),
        ClientError::Fault(..) => Failure::new(Exit::Fault, message),
    }
}
