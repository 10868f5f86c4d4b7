//! The `apnsd` command; all of it is in [`apnsd::cli`].

use std::process::ExitCode;

/// The queue makes and drops millions of small allocations: the system's allocator would keep what they took.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    apnsd::cli::run()
}
