//! The `apnsd` command; all of it is in [`apnsd::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    apnsd::cli::run()
}
