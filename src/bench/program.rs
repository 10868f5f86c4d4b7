//! A process under measurement: started, asked for its CPU time and memory, stopped. Dropped, it is killed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::BenchError;

/// Characters of a log that a failure shows.
const LOG_SHOWN: usize = 1000;

/// How often a killed process is looked at, at most: for about a second.
const LOOKS_MAX: u32 = 1_000_000;

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Time on a processor, in user and kernel mode, of all threads.
    pub(super) cpu: Duration,
    /// Bytes of memory that are resident now.
    pub(super) resident: u64,
    /// The most that ever were.
    pub(super) peak: u64,
}

/// A verb of `apnsd` in a process of its own.
pub(super) struct Program {
    verb: &'static str,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it. What it logs goes to a file; its standard output can be read.
    pub(super) fn start(
        program: &Path,
        verb: &'static str,
        arguments: &[&std::ffi::OsStr],
        log: PathBuf,
    ) -> Result<Self, BenchError> {
        let file = std::fs::File::create(&log).map_err(BenchError::io(format!("write {}", log.display())))?;
        // Variables that change the configuration would change what is measured.
        let inherited = std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("APNSD"));
        let child = Command::new(program)
            .arg(verb)
            .args(arguments)
            .env_clear()
            .envs(inherited)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .map_err(BenchError::io(format!("start {} {verb}", program.display())))?;
        Ok(Self { verb, child, log })
    }

    /// Its standard output, the first time.
    pub(super) fn stdout(&mut self) -> Option<tokio::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The failure of a process that does not come up.
    pub(super) fn not_up(&self) -> BenchError {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let from = log.char_indices().rev().nth(LOG_SHOWN).map_or(0, |(at, _)| at);
        BenchError::NotUp { verb: self.verb, log: log[from..].trim().to_owned() }
    }

    /// What it has used until now; `None` where the system does not tell.
    #[cfg(target_os = "linux")]
    pub(super) fn usage(&self) -> Option<Usage> {
        let pid = i32::try_from(self.child.id()?).ok()?;
        let status = procfs::process::Process::new(pid).ok()?.status().ok()?;
        // To the nanosecond, and with threads that have ended; /proc/PID/stat counts in steps of 10 ms.
        let cpu = processor_time(nix::unistd::Pid::from_raw(pid))?;
        let kibibytes = |value: Option<u64>| value.unwrap_or_default() * 1024;
        Some(Usage { cpu, resident: kibibytes(status.vmrss), peak: kibibytes(status.vmhwm) })
    }

    /// What it has used until now: nothing that could be asked here.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn usage(&self) -> Option<Usage> {
        None
    }

    /// Lets it end in order.
    pub(super) async fn stop(mut self) -> Result<(), BenchError> {
        let failed = || BenchError::io(format!("stop `apnsd {}`", self.verb));
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).map_err(|error| failed()(error.into()))?;
        }
        let ended = self.child.wait().await;
        ended.map(drop).map_err(failed())
    }
}

impl Drop for Program {
    /// Kills it and waits until it is gone, so that its files can be removed. That takes the kernel milliseconds.
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.start_kill();
        for _ in 0..LOOKS_MAX {
            match self.child.try_wait() {
                Ok(None) => std::thread::yield_now(),
                Ok(Some(_)) | Err(_) => break,
            }
        }
    }
}

/// Time that this process, which calls, has spent on a processor; `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub(super) fn own_processor_time() -> Option<Duration> {
    processor_time(nix::unistd::Pid::this())
}

/// Time that this process has spent on a processor: nothing that could be asked here.
#[cfg(not(target_os = "linux"))]
pub(super) fn own_processor_time() -> Option<Duration> {
    None
}

#[cfg(target_os = "linux")]
fn processor_time(pid: nix::unistd::Pid) -> Option<Duration> {
    let clock = nix::time::clock_getcpuclockid(pid).ok()?;
    Some(Duration::from(clock.now().ok()?))
}
