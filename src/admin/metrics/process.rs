//! The daemon as its system sees it, under the names that all of Prometheus' libraries use.

use std::fmt;

#[cfg(target_os = "linux")]
use procfs::process::{LimitValue, Process};
#[cfg(target_os = "linux")]
use procfs::{ProcError, ProcResult, WithCurrentSystemInfo as _};
#[cfg(target_os = "linux")]
use tracing::debug;

use super::catalogue::{CPU, MAX_FILES, OPEN_FILES, RESIDENT, STARTED, VIRTUAL};
use super::exposition::Families;

/// Bytes of memory that this process holds at present; `None` where the system does not tell.
#[cfg(target_os = "linux")]
pub(in crate::admin) fn resident_memory() -> Option<u64> {
    Some(Process::myself().ok()?.stat().ok()?.rss_bytes().get())
}

/// Bytes of memory that this process holds at present: nothing that could be asked here.
#[cfg(not(target_os = "linux"))]
pub(in crate::admin) fn resident_memory() -> Option<u64> {
    None
}

/// What the system says of this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessSample {
    cpu_seconds: f64,
    resident: u64,
    r#virtual: u64,
    open_files: usize,
    /// `None` where there is no limit.
    max_files: Option<u64>,
    /// Seconds since 1970.
    started: f64,
}

impl ProcessSample {
    /// What it says now; `None` where it does not.
    #[cfg(target_os = "linux")]
    pub(super) fn take() -> Option<Self> {
        let sample = Self::of_this_process();
        sample.inspect_err(|error| debug!(%error, "the system does not tell about this process")).ok()
    }

    /// What it says now: nothing that could be asked here.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn take() -> Option<Self> {
        None
    }

    #[cfg(target_os = "linux")]
    fn of_this_process() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let ticks = procfs::ticks_per_second() as f64;
        let booted = procfs::boot_time_secs()? as f64;
        let max_files = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Value(files) => Some(files),
            LimitValue::Unlimited => None,
        };
        Ok::<_, ProcError>(Self {
            cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
            resident: stat.rss_bytes().get(),
            r#virtual: stat.vsize,
            open_files: process.fd_count()?,
            max_files,
            started: booted + stat.starttime as f64 / ticks,
        })
    }

    /// Writes it out.
    pub(super) fn encode(&self, families: &mut Families<'_>) -> fmt::Result {
        families.metric(&CPU, |samples| samples.seconds(self.cpu_seconds))?;
        families.metric(&RESIDENT, |samples| samples.gauge(&[], self.resident as f64))?;
        families.metric(&VIRTUAL, |samples| samples.gauge(&[], self.r#virtual as f64))?;
        families.metric(&OPEN_FILES, |samples| samples.gauge(&[], self.open_files as f64))?;
        if let Some(max_files) = self.max_files {
            families.metric(&MAX_FILES, |samples| samples.gauge(&[], max_files as f64))?;
        }
        families.metric(&STARTED, |samples| samples.gauge(&[], self.started))
    }
}
