//! The daemon as a process.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use apnsd::clock::{Clock, Instant};

use crate::site::until;

/// A daemon that was started. Killed with the test.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    clock: Clock,
    log: PathBuf,
    /// Where in the log file its own lines begin.
    log_begin: usize,
}

/// How a daemon ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None`: by a signal.
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
}

/// A daemon's death.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    pub(crate) at: Instant,
}

/// Resident memory in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) peak: u64,
}

impl Daemon {
    /// Starts it; its log is appended to the file.
    pub(crate) fn spawn(mut command: Command, log: PathBuf, clock: Clock) -> Self {
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let log_begin = usize::try_from(file.metadata().unwrap().len()).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { child, clock, log, log_begin }
    }

    /// `kill -9`; gone when this returns.
    pub(crate) fn kill(mut self) -> Kill {
        let at = self.clock.now();
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), None, "it had ended before it was killed:\n{}", self.log());
        Kill { at }
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn terminate(self) -> Ended {
        self.signal("-TERM");
        self.ended().await
    }

    /// SIGHUP: it looks at its configuration and at credential files.
    pub(crate) fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ended {
        let clock = self.clock.clone();
        until(&clock, "the end of the daemon", async || self.exit()).await
    }

    /// How it ended, if it has.
    pub(crate) fn exit(&mut self) -> Option<Ended> {
        let status = self.child.try_wait().unwrap()?;
        Some(Ended { code: status.code(), log: self.log() })
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap();
        String::from_utf8_lossy(&bytes[self.log_begin..]).into_owned()
    }

    /// Its resident memory, as the kernel counts it.
    pub(crate) fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field of memory");
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        Memory { now: field("VmRSS:"), peak: field("VmHWM:") }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long things took, for the figures.
pub(crate) fn range(spans: &[Duration]) -> String {
    let ms = |span: Option<&Duration>| span.map_or(0, Duration::as_millis);
    format!("{} to {} ms", ms(spans.iter().min()), ms(spans.iter().max()))
}
