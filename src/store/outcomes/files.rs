//! The two files of a log: appending, rotation, searching.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::Entry;
use super::record::{Decoder, RECORD_BYTES, app_number, header, put_name};
use crate::domain::app::AppId;

/// What is appended at once, before it is seen whether the file is full.
const PIECE_BYTES: usize = 64 << 10;

/// With fewer free bytes nothing is logged: what is left, and the reserve of the store in it, is for what was accepted.
const FREE_MIN: u64 = 32 << 20;

/// The files, for the one who writes them.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    present: PathBuf,
    previous: PathBuf,
    /// Size at which a file is full.
    bytes_max: u64,
    open: Option<Open>,
    /// Apps by number.
    names: Vec<AppId>,
}

/// The file that grows.
#[derive(Debug)]
struct Open {
    file: File,
    length: u64,
    has_header: bool,
    /// Numbers whose name was written here.
    named: HashSet<u32>,
}

impl Files {
    /// In a directory, with so many bytes in total. The disk is not touched before something is appended.
    pub(super) fn new(dir: &Path, bytes_max: u64) -> Self {
        Self {
            dir: dir.to_owned(),
            present: dir.join("apnsd.outcomes"),
            previous: dir.join("apnsd.outcomes.1"),
            bytes_max: bytes_max / 2,
            open: None,
            names: Vec::new(),
        }
    }

    /// Names the apps with the next numbers.
    pub(super) fn add_names(&mut self, names: &[AppId]) {
        self.names.extend_from_slice(names);
    }

    /// How many apps have a number here.
    pub(super) fn named(&self) -> usize {
        self.names.len()
    }

    /// Appends outcomes. With an error, how many bytes of them were not kept, and why.
    pub(super) fn append(&mut self, outcomes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut left = outcomes.len();
        for piece in outcomes.chunks(PIECE_BYTES) {
            self.append_piece(piece).map_err(|error| (left, error))?;
            left -= piece.len();
        }
        Ok(())
    }

    fn append_piece(&mut self, outcomes: &[u8]) -> io::Result<()> {
        let stat = statvfs(&self.dir)?;
        if stat.f_bavail.saturating_mul(stat.f_frsize) < FREE_MIN {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::at(&self.present)?,
        };
        if open.length > 0 && open.length + outcomes.len() as u64 > self.bytes_max {
            fs::rename(&self.present, &self.previous)?;
            open = Open::at(&self.present)?;
        }
        let written = open.append(outcomes, &self.names);
        self.open = Some(open);
        written
    }

    /// Both files, the older one first, as they are now.
    pub(super) fn to_read(&self) -> io::Result<Vec<File>> {
        let mut files = Vec::new();
        for path in [&self.previous, &self.present] {
            match File::open(path) {
                Ok(file) => files.push(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => (),
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }
}

impl Open {
    /// A file that may be there already. Its end may be cut off: the next record is written over that.
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let length = file.metadata()?.len();
        let length = length - length % RECORD_BYTES as u64;
        Ok(Self { file, length, has_header: false, named: HashSet::new() })
    }

    /// What fails is written over by what comes next, so that records stay where they belong.
    fn append(&mut self, outcomes: &[u8], names: &[AppId]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(outcomes.len() + 1024);
        if !self.has_header {
            bytes.extend_from_slice(&header());
        }
        let mut named = Vec::new();
        for record in outcomes.as_chunks().0 {
            if let Some(number) = app_number(record)
                && !self.named.contains(&number)
                && !named.contains(&number)
                && let Some(app) = names.get(number as usize)
            {
                put_name(&mut bytes, number, app);
                named.push(number);
            }
        }
        bytes.extend_from_slice(outcomes);
        self.file.write_all_at(&bytes, self.length)?;
        self.length += bytes.len() as u64;
        self.has_header = true;
        self.named.extend(named);
        Ok(())
    }
}

/// The records in files whose token begins as wanted and that are visible, oldest first, at most the `limit` newest. What cannot be read is
/// passed over.
pub(in crate::store) fn find(
    files: Vec<File>,
    is_wanted: impl Fn([u8; 4]) -> bool,
    is_visible: impl Fn(&Entry) -> bool,
    limit: usize,
) -> io::Result<Vec<Entry>> {
    let mut found = VecDeque::new();
    for file in files {
        let mut decoder = Decoder::default();
        let mut reader = BufReader::with_capacity(PIECE_BYTES, file);
        let mut record = [0; RECORD_BYTES];
        loop {
            match reader.read_exact(&mut record) {
                Ok(()) => found.extend(decoder.read(&record, &is_wanted).filter(&is_visible)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
            if found.len() > limit {
                found.pop_front();
            }
        }
    }
    Ok(found.into())
}
