//! Standard output and standard error. A reader who has seen enough (`apnsd … | head`) is no failure.

use std::io::{self, ErrorKind, Write as _};

use super::exit::{Exit, Failure};

/// Writes a result.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    write(text).map(|_| ())
}

/// Writes a part of a result; whether anybody still reads.
pub(super) fn write(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("cannot write the result: {error}")))
        }
        written => Ok(written.is_ok()),
    }
}

/// Says on standard error what went wrong. Where nobody can read that either, the exit code has to do.
pub(super) fn complain(message: &str) {
    if !message.is_empty() {
        let lines: Vec<String> = message.lines().map(printable).collect();
        let _ = writeln!(io::stderr(), "apnsd: {}", lines.join("\n"));
    }
}

/// What a daemon said, without the control characters that could change the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
