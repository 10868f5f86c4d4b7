//! The disk: how often a second something small can be made durable, one after the other. As in the store's log, the file
//! has its length before: what is synced is the content alone.

use std::fs::OpenOptions;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::bench::BenchError;
use crate::bench::load::per_second;
use crate::clock::Clock;

/// What is written each time.
const BLOCK: [u8; 4096] = [0x5e; 4096];
/// Blocks of the file, which are written again and again.
const BLOCKS: u64 = 1000;

/// Writes for so long; how many in a second.
pub(super) fn writes(path: &Path, span: Duration, clock: &Clock) -> Result<f64, BenchError> {
    let write = || {
        let mut file = OpenOptions::new().create_new(true).write(true).open(path)?;
        (0..BLOCKS).try_for_each(|_| file.write_all(&BLOCK))?;
        file.sync_all()?;
        let (began, mut count) = (clock.now(), 0);
        while clock.now().since(began) < span {
            if count % BLOCKS == 0 {
                file.seek(SeekFrom::Start(0))?;
            }
            file.write_all(&BLOCK)?;
            file.sync_data()?;
            count += 1;
        }
        let took = clock.now().since(began);
        std::fs::remove_file(path)?;
        Ok::<_, io::Error>(per_second(count, took))
    };
    write().map_err(BenchError::io(format!("write and sync {}", path.display())))
}
