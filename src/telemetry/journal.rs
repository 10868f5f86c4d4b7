//! The journal of systemd: whether it is what reads standard error, and how events become its entries.
//!
//! An entry has the text of an event with all its fields as its message, so that `journalctl -u apnsd` tells as much as
//! the text on a terminal, and each field once more under a name of its own, for `journalctl APNSD_APP=myapp`. (The
//! layer of `tracing-journald` leaves the fields out of the message.) The protocol is systemd's "Native Journal
//! Protocol": one datagram an entry.

use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FormatFields as _;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::{Context, Layer};

use super::fields::TextFields;

/// Where the journal of this machine listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// What names of fields begin with: `app` becomes `APNSD_APP`.
const PREFIX: &str = "APNSD_";

/// Whether standard error ends in the journal (systemd.exec(5), `$JOURNAL_STREAM`).
pub(super) fn reads_stderr() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stream(&stream, io::stderr()))
}

/// Whether a file is the one that `device:inode` names. A service may have redirected it since the variable was set.
fn is_stream(stream: &str, file: impl AsFd) -> bool {
    let Some((device, inode)) = stream.split_once(':') else { return false };
    let (Ok(device), Ok(inode)) = (device.parse::<u64>(), inode.parse::<u64>()) else { return false };
    rustix::fs::fstat(file).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (device, inode))
}

/// Writes events as entries.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// The journal of this machine.
    ///
    /// # Errors
    ///
    /// Nobody listens there, or this process may not write to it.
    pub(super) fn open() -> io::Result<Self> {
        Self::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> io::Result<Self> {
        let journal = Self { socket: UnixDatagram::unbound()?, path: path.to_owned() };
        // An entry without fields is none: the journal drops it.
        journal.socket.send_to(&[], path)?;
        Ok(journal)
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let message = message(event);
        // Not connected, since the journal may be restarted. What it does not take, as an entry that is too large,
        // goes where its text would be.
        if self.socket.send_to(&entry(event, &message), &self.path).is_err() {
            // There is no third place.
            let _ = writeln!(io::stderr(), "{message}");
        }
    }
}

/// Text and fields of an event in one line.
fn message(event: &Event<'_>) -> String {
    let mut message = String::new();
    // A value that cannot be written is where the line ends.
    let _ = TextFields.format_fields(Writer::new(&mut message), event);
    message
}

/// What is sent for an event.
fn entry(event: &Event<'_>, message: &str) -> Vec<u8> {
    let metadata = event.metadata();
    let mut entry = Entry(Vec::with_capacity(512));
    // syslog(3): err, warning, info, debug.
    entry.put(
        "PRIORITY",
        match *metadata.level() {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            Level::DEBUG | Level::TRACE => "7",
        },
    );
    entry.put("SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
    entry.put("MESSAGE", message);
    entry.put("APNSD_TARGET", metadata.target());
    if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
        entry.put("CODE_FILE", file);
        entry.put("CODE_LINE", &line.to_string());
    }
    event.record(&mut entry);
    entry.0
}

/// Fields of an entry: a name, a line break, the length of the value as 64 bits, little-endian, the value, a line break.
struct Entry(Vec<u8>);

impl Entry {
    fn put(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'\n');
        self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }

    fn put_field(&mut self, field: &Field, value: &str) {
        // The message has it.
        if field.name() != "message" {
            // Names may have A to Z, 0 to 9 and `_`.
            let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
            self.put(&PREFIX.chars().chain(field.name().chars().map(letter)).collect::<String>(), value);
        }
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_field(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_field(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing::{Dispatch, debug, info};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn the_journal_is_recognized_by_device_and_inode() {
        let file = tempfile::tempfile().unwrap();
        let other = tempfile::tempfile().unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        let stream = format!("{}:{}", stat.st_dev, stat.st_ino);
        assert!(is_stream(&stream, &file));
        assert!(!is_stream(&stream, &other));
        for stream in ["", ":", "1", "8:x", &format!("{}:{}", stat.st_dev, stat.st_ino + 1)] {
            assert!(!is_stream(stream, &file), "{stream}");
        }
    }

    /// The fields of an entry, but for the place in the source.
    fn fields(mut entry: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while !entry.is_empty() {
            let name_end = entry.iter().position(|byte| *byte == b'\n').unwrap();
            let (name, rest) = (&entry[..name_end], &entry[name_end + 1..]);
            let len = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
            assert_eq!(rest[8 + len], b'\n');
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            fields.push((text(name), text(&rest[8..8 + len])));
            entry = &rest[8 + len + 1..];
        }
        fields.retain(|(name, _)| !name.starts_with("CODE_"));
        fields
    }

    #[test]
    fn an_event_is_an_entry_with_all_in_its_message_and_each_field() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        assert_eq!(Journal::at(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        let socket = UnixDatagram::bind(&path).unwrap();
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(Journal::at(&path).unwrap()));
        let mut buffer = [0; 4096];
        assert_eq!(socket.recv(&mut buffer).unwrap(), 0);
        let mut received = |say: fn()| {
            tracing::dispatcher::with_default(&dispatch, say);
            let read = socket.recv(&mut buffer).unwrap();
            buffer[..read].to_vec()
        };
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let entry = received(|| info!(app = %"shop", peer.ip = "::1", rows = 3, "rejected:\n{}", 8));
        assert!(entry.starts_with(b"PRIORITY\n\x01\0\0\0\0\0\0\x006\nSYSLOG_IDENTIFIER\n\x05\0\0\0\0\0\0\0apnsd\n"));
        assert_eq!(
            fields(&entry),
            pairs(&[
                ("PRIORITY", "6"),
                ("SYSLOG_IDENTIFIER", "apnsd"),
                ("MESSAGE", "rejected:\n8 app=shop peer.ip=\"::1\" rows=3"),
                ("APNSD_TARGET", "apnsd::telemetry::journal::tests"),
                ("APNSD_APP", "shop"),
                ("APNSD_PEER_IP", "::1"),
                ("APNSD_ROWS", "3"),
            ])
        );
        let debug = fields(&received(|| debug!("more")));
        assert_eq!(debug[..3], pairs(&[("PRIORITY", "7"), ("SYSLOG_IDENTIFIER", "apnsd"), ("MESSAGE", "more")]));
    }
}
