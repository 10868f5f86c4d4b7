//! What the daemon tells the service manager, after sd_notify(3): ready, reloading, stopping, a line of status, alive.
//!
//! Where nobody asked (`NOTIFY_SOCKET` is not set), all of it does nothing. Sockets that the service manager hands over
//! are with [`crate::listener::inherited`].

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use sd_notify::NotifyState;
use socket2::{Domain, SockAddr, Socket, Type};
use tracing::warn;

/// Longest line of status; systemd shows one line.
const STATUS_BYTES_MAX: usize = 200;

/// The service manager that started this process, if there is one. Telling it never waits: what it does not take is told
/// again later, where it still matters then.
#[derive(Debug)]
pub struct ServiceManager {
    ear: Option<Ear>,
    watchdog: Option<Duration>,
    /// What it was told last; empty where that did not reach it.
    status: String,
    /// Messages that it acts upon and has not taken: of the start or the last reload, so that there are two at most.
    untold: Vec<String>,
    /// The last message did not reach it, which the log has said.
    is_deaf: bool,
}

/// Where the service manager listens, or why that is of no use.
#[derive(Debug)]
struct Ear(io::Result<(Socket, SockAddr)>);

impl ServiceManager {
    /// Whoever set the variables of this process.
    pub fn of_this_process() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        Self {
            ear: socket.map(|name| Ear::at(&name)),
            watchdog: sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero()),
            status: String::new(),
            untold: Vec::new(),
            is_deaf: false,
        }
    }

    /// Whether anybody listens.
    pub fn is_there(&self) -> bool {
        self.ear.is_some()
    }

    /// The service is taken for hung where [`ServiceManager::alive`] stays out for so long (`WatchdogSec=`); `None`
    /// where nobody watches.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.is_there())
    }

    /// The start is complete, or a reload.
    pub fn ready(&mut self, status: &str) {
        let status = one_line(status);
        self.untold.push(message(&[NotifyState::Ready, NotifyState::Status(&status)]));
        self.status = if self.tell_untold() { status } else { String::new() };
    }

    /// A reload begins; [`ServiceManager::ready`] ends it.
    pub fn reloading(&mut self) {
        // Where the end of the start was not taken yet, that of the reload says it too.
        self.untold.clear();
        match NotifyState::monotonic_usec_now() {
            Ok(now) => {
                self.untold.push(message(&[NotifyState::Reloading, now]));
                self.tell_untold();
            }
            Err(error) => self.note(Err(error)),
        }
    }

    /// The stop begins. It may take as long as told, whatever the unit says.
    pub fn stopping(&mut self, deadline: Duration) {
        let micros = u32::try_from(deadline.as_micros()).unwrap_or(u32::MAX);
        let status = "stopping: no more calls are taken, what was begun is finished";
        self.untold = vec![message(&[
            NotifyState::Stopping,
            NotifyState::ExtendTimeoutUsec(micros),
            NotifyState::Status(status),
        ])];
        self.tell_untold();
    }

    /// The line that `systemctl status` shows; told only where it has changed.
    pub fn status(&mut self, status: &str) {
        let status = one_line(status);
        if self.tell_untold() && status != self.status {
            let told = self.send(&message(&[NotifyState::Status(&status)]));
            self.status = if told { status } else { String::new() };
        }
    }

    /// The service is not hung.
    pub fn alive(&mut self) {
        if self.tell_untold() {
            self.send(&message(&[NotifyState::Watchdog]));
        }
    }

    /// Whether nothing is left to be told.
    fn tell_untold(&mut self) -> bool {
        while let Some(first) = self.untold.first().cloned() {
            if !self.send(&first) {
                return false;
            }
            self.untold.remove(0);
        }
        true
    }

    fn send(&mut self, message: &str) -> bool {
        let told = self.ear.as_ref().map_or(Ok(()), |ear| ear.tell(message));
        let is_told = told.is_ok();
        self.note(told);
        is_told
    }

    fn note(&mut self, told: io::Result<()>) {
        if let Err(error) = &told
            && !self.is_deaf
        {
            warn!(%error, "the service manager cannot be told how this service is: look at NOTIFY_SOCKET and NotifyAccess=");
        }
        self.is_deaf = told.is_err();
    }
}

impl Ear {
    /// A socket as `NOTIFY_SOCKET` names it: by its path, or without a file, `@` and its name.
    fn at(name: &OsStr) -> Self {
        let open = || {
            let address = match name.as_bytes() {
                [b'@', name @ ..] => SockAddr::unix(Path::new(OsStr::from_bytes(&[b"\0", name].concat())))?,
                _ => SockAddr::unix(Path::new(name))?,
            };
            let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
            // A service manager that does not read would stop whoever waits for it.
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        };
        Self(open())
    }

    fn tell(&self, message: &str) -> io::Result<()> {
        match &self.0 {
            Ok((socket, address)) => socket.send_to(message.as_bytes(), address).map(drop),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }
}

fn message(fields: &[NotifyState<'_>]) -> String {
    fields.iter().map(|field| format!("{field}\n")).collect()
}

/// Messages are lines: another one in a cause would be taken for a field.
fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    let end = line.char_indices().map(|(at, _)| at).chain([line.len()]).take_while(|at| *at <= STATUS_BYTES_MAX).last();
    line[..end.unwrap_or_default()].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_of_bounded_length() {
        assert_eq!(one_line("2 apps\nREADY=1"), "2 apps READY=1");
        assert_eq!(one_line(&"é".repeat(300)), "é".repeat(100));
        assert_eq!(one_line(&"x".repeat(200)).len(), 200);
        assert_eq!(one_line(""), "");
    }
}
