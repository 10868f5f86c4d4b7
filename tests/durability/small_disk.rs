//! A small file system in memory, in a mount namespace of its own, so that it takes no privileges where the kernel lets
//! users have namespaces, and so that nothing stays mounted whatever becomes of the test.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::statvfs;

/// A namespace of a user's own, and where only root may have one.
const NAMESPACES: [&[&str]; 2] = [&["--user", "--map-root-user", "--mount"], &["--mount"]];

/// The file system. It ends with this.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    /// A process that does nothing but hold the namespace.
    keeper: Child,
    enter: Vec<String>,
    /// Where it is for those in the namespace.
    pub(crate) path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many MiB in a directory that is empty; `None` where that is not allowed.
    pub(crate) fn mount(path: &Path, mib: u32) -> Option<Self> {
        fs::create_dir(path).unwrap();
        NAMESPACES.iter().find_map(|flags| Self::mount_in(flags, path, mib))
    }

    fn mount_in(flags: &[&str], path: &Path, mib: u32) -> Option<Self> {
        let script =
            format!("mount -t tmpfs -o size={mib}m apnsd-test '{}' && echo mounted && exec cat", path.display());
        let mut command = Command::new("unshare");
        command.args(flags).args(["sh", "-c", &script]);
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(keeper.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let user = flags.iter().copied().filter(|flag| *flag == "--user").chain(["--mount"]);
        let mut enter: Vec<String> = ["nsenter", "--preserve-credentials", "--target"].map(str::to_owned).into();
        enter.push(keeper.id().to_string());
        enter.extend(user.map(str::to_owned));
        let disk = Self { keeper, enter, path: path.to_owned() };
        (line == "mounted\n").then_some(disk)
    }

    /// What stands before a command line that is to see it.
    pub(crate) fn wrapper(&self) -> Vec<String> {
        self.enter.clone()
    }

    /// Free bytes.
    pub(crate) fn free(&self) -> u64 {
        let stat = statvfs(self.outside()).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Takes space until only so many bytes are free.
    pub(crate) fn leave(&self, free: u64) {
        let mut ballast = self.ballast(true);
        let block = [0; 1 << 16];
        while let over @ 1.. = self.free().saturating_sub(free) {
            let length = usize::try_from(over).unwrap().min(block.len());
            match ballast.write_all(&block[..length]) {
                Ok(()) => (),
                // Somebody was faster.
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Gives back all that was taken.
    pub(crate) fn release(&self) {
        drop(self.ballast(false));
    }

    fn ballast(&self, append: bool) -> File {
        let path = self.outside().join("ballast");
        let options = fs::OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(path);
        options.unwrap()
    }

    fn outside(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.keeper.id());
        Path::new(&root).join(self.path.strip_prefix("/").unwrap())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
