//! The journal of systemd: whether it is what reads standard error, and how events become its entries.

use std::io;
use std::os::fd::AsFd;

use tracing_journald::{Priority, PriorityMappings};

/// What each field of an event is called behind: `app` becomes `APNSD_APP`.
const PREFIX: &str = "APNSD";
/// `SYSLOG_IDENTIFIER`, whatever the program's file is called.
const IDENTIFIER: &str = "apnsd";

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

/// Writes events as entries with fields; an error where there is no journal.
pub(super) fn layer() -> io::Result<tracing_journald::Layer> {
    let priorities = PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    };
    let layer = tracing_journald::layer()?;
    Ok(layer
        .with_field_prefix(Some(PREFIX.to_owned()))
        .with_syslog_identifier(IDENTIFIER.to_owned())
        .with_priority_mappings(priorities))
}

#[cfg(test)]
mod tests {
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
}
