//! What the verbs that read credentials share: the file, and its passphrase, which never stands on the command line,
//! where everybody on the machine can read it.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use super::exit::{Exit, Failure};
use crate::credentials::error::CredentialsError;
use crate::credentials::{self, CredentialOptions, Credentials, PASSPHRASE_BYTES_MAX, source};

/// Where a passphrase comes from.
#[derive(Debug, Args)]
pub(super) struct Passphrase {
    /// File with the passphrase in one line; - reads standard input. Without it the variable APNSD_PASSPHRASE is taken,
    /// else the terminal asks where one is needed
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<String>,
}

/// A file that was looked into.
pub(super) struct Opened {
    pub(super) credentials: Result<Credentials, CredentialsError>,
    /// Where one was needed and given.
    pub(super) passphrase: Option<String>,
}

impl Passphrase {
    /// The content of a file with credentials; `-` is standard input, unless the passphrase is to come from there.
    pub(super) fn read_beside(&self, file: &str) -> Result<Vec<u8>, Failure> {
        let read = match (file, self.passphrase_file.as_deref()) {
            ("-", Some("-")) => {
                let message = "both the credentials and --passphrase-file are to be read from standard input: name a \
                    file for one of them";
                return Err(Failure::new(Exit::Usage, message));
            }
            ("-", _) => contents(file, source::FILE_BYTES_MAX + 1),
            (path, _) => source::read_file(Path::new(path)).map_err(|error| error.to_string()),
        };
        read.map_err(|problem| Failure::new(Exit::Failed, problem))
    }

    /// The passphrase that was given beforehand, in a file or a variable.
    pub(super) fn given(&self) -> Result<Option<String>, Failure> {
        let failed = |problem: String| Failure::new(Exit::Failed, problem);
        match &self.passphrase_file {
            Some(file) => {
                let bytes = contents(file, PASSPHRASE_BYTES_MAX as u64 + 2).map_err(failed)?;
                let text = source::passphrase(bytes);
                text.map(Some).map_err(|problem| failed(format!("{file}: {problem}")))
            }
            None => match std::env::var("APNSD_PASSPHRASE") {
                Ok(passphrase) => Ok(Some(passphrase)),
                Err(std::env::VarError::NotPresent) => Ok(None),
                Err(std::env::VarError::NotUnicode(_)) => Err(failed("APNSD_PASSPHRASE is not UTF-8 text".to_owned())),
            },
        }
    }

    /// Reads credentials, with a passphrase only where they need one.
    pub(super) fn open(&self, file: &str, bytes: &[u8], options: &CredentialOptions<'_>) -> Result<Opened, Failure> {
        let credentials = credentials::parse(bytes, options);
        if !matches!(credentials, Err(CredentialsError::PassphraseMissing)) {
            return Ok(Opened { credentials, passphrase: None });
        }
        let passphrase = match self.given()? {
            None => ask(file)?,
            given => given,
        };
        match &passphrase {
            None => Ok(Opened { credentials, passphrase }),
            Some(text) => {
                let credentials = credentials::parse(bytes, &CredentialOptions { passphrase: Some(text), ..*options });
                Ok(Opened { credentials, passphrase })
            }
        }
    }
}

/// What begins a file or standard input, which may be a pipe.
fn contents(file: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = match file {
        "-" => io::stdin().lock().take(bytes_max).read_to_end(&mut bytes),
        path => File::open(path).and_then(|file| file.take(bytes_max).read_to_end(&mut bytes)),
    };
    let name = if file == "-" { "standard input" } else { file };
    read.map(|_| bytes).map_err(|error| format!("{name}: {error}"))
}

/// Asks on the terminal; `None` where there is none. Ctrl-C ends the process, as everywhere else.
fn ask(file: &str) -> Result<Option<String>, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let failed = |problem: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, format!("the terminal gives no passphrase: {problem}"))
    };
    match answer(file).map_err(|error| failed(&error))? {
        Some(line) => source::passphrase(line).map(Some).map_err(|problem| failed(&problem)),
        None => {
            // What the terminal would have done, had it not been silent; whoever started this hears of it too.
            kill_current_process_group(Signal::INT).map_err(|error| failed(&error))?;
            Err(Failure::new(Exit::Failed, "interrupted"))
        }
    }
}

/// A line that is typed and not shown; `None` where Ctrl-C ended it. The terminal is then as it was before.
fn answer(file: &str) -> io::Result<Option<Vec<u8>>> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let silent = Silent::new(terminal.try_clone()?)?;
    write!(terminal, "Passphrase of {}: ", super::output::printable(file))?;
    let line = typed(&terminal, silent.interrupt())?;
    drop(silent);
    writeln!(terminal)?;
    Ok(line)
}

/// A line without its end; `None` where the key to interrupt ended it.
fn typed(terminal: impl Read, interrupt: Option<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    // More than the longest passphrase is of no use, and is refused as such.
    for byte in BufReader::new(terminal.take(PASSPHRASE_BYTES_MAX as u64 + 1)).bytes() {
        match byte? {
            b'\n' => break,
            byte if Some(byte) == interrupt => return Ok(None),
            byte => line.push(byte),
        }
    }
    Ok(Some(line))
}

/// A terminal that does not show what is typed, and takes no key for a signal, until this is dropped: a signal would end
/// the process and leave the terminal silent. The key to interrupt ends the line instead.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn new(terminal: File) -> io::Result<Self> {
        let silent = Self { before: tcgetattr(&terminal)?, terminal };
        let mut modes = silent.before.clone();
        modes.local_modes -= LocalModes::ECHO | LocalModes::ISIG;
        modes.special_codes[SpecialCodeIndex::VEOL] = modes.special_codes[SpecialCodeIndex::VINTR];
        tcsetattr(&silent.terminal, OptionalActions::Flush, &modes)?;
        Ok(silent)
    }

    /// Usually Ctrl-C; `None` where there is no such key.
    fn interrupt(&self) -> Option<u8> {
        Some(self.before.special_codes[SpecialCodeIndex::VINTR]).filter(|code| *code != DISABLED)
    }
}

/// In the place of a key: there is none (`_POSIX_VDISABLE`).
const DISABLED: u8 = if cfg!(target_os = "linux") { 0 } else { 0xff };

impl Drop for Silent {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(&self.terminal, OptionalActions::Now, &self.before) {
            super::output::complain(&format!("the terminal stays silent ({error}): `stty sane` helps"));
        }
    }
}

/// What a file name stands for.
pub(super) fn shown(file: &str) -> PathBuf {
    if file == "-" { "standard input".into() } else { file.into() }
}
