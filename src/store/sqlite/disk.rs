//! Whether the disk has room for more, and a reserve for when it has not.
//!
//! Intake is open while as many bytes are free as `min_free` says and the reserve is in place. The reserve is a file
//! that takes its space and does nothing. When a write fails for lack of space it is removed, so that what was accepted
//! can be settled, which needs little: pages of settled batches are used again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tracing::{error, info};

use super::directory::DATABASE;
use crate::clock::Instant;
use crate::store::StoreError;

/// Room for the write-ahead log to go round while everything that waits is settled.
const RESERVE_BYTES: u64 = 16 << 20;
/// The file system is asked at most this often.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The disk of the state directory.
#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    min_free: u64,
    checked: Option<Instant>,
    has_room: bool,
    has_reserve: bool,
}

impl Disk {
    pub(super) fn new(dir: PathBuf, min_free: u64) -> Self {
        Self { dir, min_free, checked: None, has_room: true, has_reserve: false }
    }

    /// Whether more can be taken in.
    pub(super) fn room(&mut self, now: Instant) -> Result<(), StoreError> {
        if self.checked.is_none_or(|checked| now.since(checked) >= CHECK_INTERVAL) {
            self.checked = Some(now);
            self.check();
        }
        if self.has_room { Ok(()) } else { Err(self.full()) }
    }

    /// Whether there was room at the last look.
    pub(super) fn has_room(&self) -> bool {
        self.has_room
    }

    /// A write failed for lack of space: gives the reserve up. Intake is closed until it can be made again.
    pub(super) fn release_reserve(&mut self, now: Instant) {
        if let Err(problem) = fs::remove_file(self.reserve())
            && problem.kind() != io::ErrorKind::NotFound
        {
            error!("{}: the reserve could not be released: {problem}", self.reserve().display());
        }
        self.has_reserve = false;
        self.checked = Some(now);
        self.note_room(false);
    }

    /// Whether so little is free that an I/O error is likely to mean just that.
    pub(super) fn is_exhausted(&self) -> bool {
        self.free().is_ok_and(|free| free < RESERVE_BYTES)
    }

    /// Why nothing would be accepted now, by a look at the disk alone.
    pub(super) fn lack(&self) -> Option<StoreError> {
        let enough = self.free().is_ok_and(|free| free >= self.min_free);
        (!enough).then(|| self.full())
    }

    /// Why nothing is accepted.
    pub(super) fn full(&self) -> StoreError {
        match self.free() {
            Ok(free) => StoreError::Full { dir: self.dir.clone(), free, min_free: self.min_free },
            Err(error) => StoreError::Gone { path: self.dir.join(DATABASE), error: error.to_string() },
        }
    }

    fn check(&mut self) {
        let enough = self.free().is_ok_and(|free| free >= self.min_free);
        if enough && !self.has_reserve {
            self.has_reserve = self.make_reserve().is_ok();
        }
        self.note_room(enough && self.has_reserve);
    }

    fn note_room(&mut self, has_room: bool) {
        match (self.has_room, has_room) {
            (true, false) => error!("nothing more is accepted: {}", self.full()),
            (false, true) => info!("the disk has room again: notifications are accepted"),
            (true, true) | (false, false) => (),
        }
        self.has_room = has_room;
    }

    /// Free bytes of the disk that the database is on; an error where it is not there any more.
    fn free(&self) -> io::Result<u64> {
        let stat = statvfs(self.dir.join(DATABASE))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn make_reserve(&self) -> io::Result<()> {
        let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.reserve());
        let made = options.and_then(|mut file| match fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let zeros = vec![0; 1 << 20];
                (0..RESERVE_BYTES >> 20).try_for_each(|_| file.write_all(&zeros))
            }
            Err(problem) => Err(problem.into()),
        });
        if made.is_err() {
            drop(fs::remove_file(self.reserve()));
        }
        made
    }

    fn reserve(&self) -> PathBuf {
        self.dir.join("apnsd.reserve")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    fn state() -> tempfile::TempDir {
        let dir = tempfile::TempDir::new().unwrap();
        fs::write(dir.path().join(DATABASE), "").unwrap();
        dir
    }

    #[test]
    fn a_released_reserve_closes_intake_until_it_can_be_made_again() {
        let dir = state();
        let reserve = dir.path().join("apnsd.reserve");
        let mut disk = Disk::new(dir.path().to_owned(), 0);
        assert_eq!(disk.room(at(0)), Ok(()));
        assert_eq!(fs::metadata(&reserve).unwrap().len(), RESERVE_BYTES);
        disk.release_reserve(at(10));
        assert!(!reserve.exists());
        assert!(matches!(disk.room(at(1009)), Err(StoreError::Full { .. })));
        assert_eq!(disk.room(at(1010)), Ok(()));
        assert!(reserve.exists());
    }

    #[test]
    fn a_directory_that_is_gone_is_not_a_full_disk() {
        let dir = state();
        let mut disk = Disk::new(dir.path().to_owned(), 0);
        fs::remove_dir_all(dir.path()).unwrap();
        let told = |disk: &mut Disk, millis| disk.room(at(millis)).unwrap_err().to_string();
        let begin = format!("{}/apnsd.db cannot be reached (No such file", dir.path().display());
        assert!(told(&mut disk, 0).starts_with(&begin));
        fs::create_dir(dir.path()).unwrap();
        assert!(told(&mut disk, 1_000).starts_with(&begin), "one that was made anew is not the same");
    }

    #[test]
    fn less_than_min_free_has_no_room_and_makes_no_reserve() {
        let dir = state();
        let mut disk = Disk::new(dir.path().to_owned(), u64::MAX);
        assert!(matches!(disk.room(at(0)), Err(StoreError::Full { min_free: u64::MAX, .. })));
        assert!(!dir.path().join("apnsd.reserve").exists());
    }
}
