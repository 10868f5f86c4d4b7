//! Where it was measured: what makes two reports comparable, or not.

use std::path::Path;

use serde::Serialize;

use super::Settings;

/// Load average above which figures say more about the neighbours than about the daemon.
const BUSY: f64 = 0.5;

/// Facts about the machine and the program.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Processors that may be used.
    pub cores: usize,
    /// Their name.
    pub processor: String,
    /// Bytes of memory.
    pub memory: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// The file system of the state directories.
    pub file_system: String,
    /// Processes that wanted to run, on average of the last minute, before the measurement began.
    pub load: f64,
    /// Version of the program.
    pub version: String,
    /// `release` or `debug`.
    pub profile: String,
}

impl Machine {
    /// What of it makes figures doubtful.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.profile == "debug" {
            warnings.push("this is a debug build: its figures say nothing; build with --release".to_owned());
        }
        if self.load > BUSY {
            let load = self.load;
            warnings.push(format!(
                "the machine was busy before (load {load:.2}): trust ratios and processor time, not rates"
            ));
        }
        if ["tmpfs", "ramfs", "overlay"].contains(&self.file_system.as_str()) {
            let system = &self.file_system;
            warnings
                .push(format!("state directories are on {system}: durability may cost nothing; name a disk by --dir"));
        }
        warnings
    }
}

/// Looks around. What the system does not tell is `unknown` or 0.
pub(super) fn facts(settings: &Settings) -> Machine {
    let unknown = || "unknown".to_owned();
    let system = System::look(&settings.dir);
    Machine {
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        processor: system.processor.unwrap_or_else(unknown),
        memory: system.memory.unwrap_or_default(),
        kernel: system.kernel.unwrap_or_else(unknown),
        file_system: system.file_system.unwrap_or_else(unknown),
        load: system.load.unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
    }
}

#[derive(Default)]
struct System {
    processor: Option<String>,
    memory: Option<u64>,
    kernel: Option<String>,
    file_system: Option<String>,
    load: Option<f64>,
}

impl System {
    #[cfg(target_os = "linux")]
    fn look(dir: &Path) -> Self {
        use procfs::Current as _;
        let processors = procfs::CpuInfo::current().ok();
        let processor = processors.and_then(|info| info.model_name(0).map(str::to_owned));
        Self {
            processor,
            memory: procfs::Meminfo::current().ok().map(|info| info.mem_total),
            kernel: procfs::sys::kernel::Version::current()
                .ok()
                .map(|version| format!("{}.{}.{}", version.major, version.minor, version.patch)),
            file_system: file_system(dir),
            load: procfs::LoadAverage::current().ok().map(|load| f64::from(load.one)),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn look(_dir: &Path) -> Self {
        Self::default()
    }
}

/// The type of the file system that a directory is on: of the longest mount point above it.
#[cfg(target_os = "linux")]
fn file_system(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let mounts = procfs::process::Process::myself().ok()?.mountinfo().ok()?;
    let above = mounts.into_iter().filter(|mount| dir.starts_with(&mount.mount_point));
    // A later mount hides an earlier one at the same place.
    let nearest = above.max_by_key(|mount| mount.mount_point.components().count())?;
    Some(nearest.fs_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_figures_doubtful_is_said() {
        let machine = Machine {
            cores: 2,
            processor: "x".into(),
            memory: 1,
            kernel: "6".into(),
            file_system: "ext4".into(),
            load: 0.1,
            version: "1".into(),
            profile: "release".into(),
        };
        assert_eq!(machine.warnings(), Vec::<String>::new());
        let doubtful = Machine { profile: "debug".into(), load: 3.0, file_system: "tmpfs".into(), ..machine };
        assert_eq!(doubtful.warnings().len(), 3);
    }
}
