//! The disk: how often a second something small can be made durable, one after the other.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::bench::BenchError;
use crate::bench::load::per_second;
use crate::clock::Clock;

/// What is appended each time.
const BLOCK: [u8; 4096] = [0x5e; 4096];

/// Appends for so long; how many in a second.
pub(super) fn appends(path: &Path, span: Duration, clock: &Clock) -> Result<f64, BenchError> {
    let append = || {
        let mut file = OpenOptions::new().create_new(true).append(true).open(path)?;
        let (began, mut count) = (clock.now(), 0);
        while clock.now().since(began) < span {
            file.write_all(&BLOCK)?;
            file.sync_data()?;
            count += 1;
        }
        let took = clock.now().since(began);
        std::fs::remove_file(path)?;
        Ok::<_, io::Error>(per_second(count, took))
    };
    append().map_err(BenchError::io(format!("write and sync {}", path.display())))
}
