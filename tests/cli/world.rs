//! A simulator and a daemon on it as processes, for what a script of answers cannot show.

use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use apnsd::client::Client;
use apnsd::xmlrpc::value::Value;
use tempfile::TempDir;

use crate::shell::{apnsd, stderr, stdout};

/// Both run until this is dropped.
pub(crate) struct World {
    url: String,
    dir: TempDir,
    _simulator: Running,
    _daemon: Running,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const ANY: &str = "127.0.0.1:0";

impl World {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("simulator");
        let mut simulate =
            apnsd(&["simulate", "--binary", ANY, "--feedback", ANY, "--http2", ANY, "--control", ANY, "--dir"]);
        let mut simulator = Running(simulate.arg(&path).stdout(Stdio::piped()).spawn().unwrap());
        let config = word_after(simulator.0.stdout.as_mut().unwrap(), "configuration");
        let mut serve = apnsd(&["serve", "--config", &config, "--listen", ANY]);
        serve.env("APNSD__STATE_DIR", dir.path().join("state"));
        let mut daemon = Running(serve.stderr(Stdio::piped()).spawn().unwrap());
        let address = word_after(daemon.0.stderr.as_mut().unwrap(), "listening address=");
        Self { url: format!("http://{address}"), dir, _simulator: simulator, _daemon: daemon }
    }

    /// A certificate that the simulated gateway takes.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.path().join("simulator").join("good.pem")
    }

    /// Provisions an app for the sandbox as clients of pyapns do, without options; they hear nothing of a bad certificate.
    pub(crate) fn old_client(&self, app: &str, certificate: &str) {
        let client = Client::new(&self.url, Duration::from_secs(60)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let arguments = [app, certificate, "sandbox"].map(Value::string).to_vec();
        assert_eq!(runtime.block_on(client.call("provision", arguments)).unwrap(), Value::Nil);
    }

    /// Runs a verb against this daemon.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        apnsd(args).env("APNSD_URL", &self.url).output().unwrap()
    }

    /// Runs a verb that succeeds; what it printed.
    pub(crate) fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{args:?}");
        stdout(&output).to_owned()
    }
}

/// Reads lines until one has the word, and gives what follows it up to white space.
fn word_after(stream: &mut impl Read, word: &str) -> String {
    for line in BufReader::new(stream).lines() {
        if let Some((_, rest)) = line.unwrap().split_once(word) {
            return rest.split_whitespace().next().unwrap_or_default().to_owned();
        }
    }
    panic!("it never said {word}");
}
