//! What the process says of itself while it runs.

use std::fs;

/// Bytes of memory that this process holds at present; `None` where the system does not tell.
pub(super) fn resident_memory() -> Option<u64> {
    resident_in(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Reads `VmRSS:     12345 kB` (proc_pid_status(5)).
fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_line_that_names_it() {
        assert_eq!(resident_in("Name:\tapnsd\nVmRSS:\t   12345 kB\nThreads:\t9\n"), Some(12_641_280));
        assert_eq!(resident_in("Name:\tapnsd\n"), None);
        assert_eq!(resident_in("VmRSS:\t many kB\n"), None);
    }
}
