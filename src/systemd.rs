//! What the daemon tells the service manager, after sd_notify(3): ready, reloading, stopping, a line of status, alive.
//!
//! Where nobody asked (`NOTIFY_SOCKET` is not set), all of it does nothing. Sockets that the service manager hands over
//! are with [`crate::listener::inherited`].

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// Longest line of status; systemd shows one line.
const STATUS_BYTES_MAX: usize = 200;

/// The service manager that started this process, if there is one.
#[derive(Debug)]
pub struct ServiceManager {
    is_there: bool,
    watchdog: Option<Duration>,
    /// What it was told last.
    status: String,
    /// The last message did not reach it, which the log has said.
    is_deaf: bool,
}

impl ServiceManager {
    /// Whoever set the variables of this process.
    pub fn of_this_process() -> Self {
        Self {
            is_there: std::env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty()),
            watchdog: sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero()),
            status: String::new(),
            is_deaf: false,
        }
    }

    /// Whether anybody listens.
    pub fn is_there(&self) -> bool {
        self.is_there
    }

    /// The service is taken for hung where [`ServiceManager::alive`] stays out for so long (`WatchdogSec=`); `None`
    /// where nobody watches.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.is_there)
    }

    /// The start is complete, or a reload.
    pub async fn ready(&mut self, status: &str) {
        let status = self.remember(status);
        self.tell(move || notify(&[NotifyState::Ready, NotifyState::Status(&status)])).await;
    }

    /// A reload begins; [`ServiceManager::ready`] ends it.
    pub async fn reloading(&mut self) {
        self.tell(|| notify(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])).await;
    }

    /// The stop begins. It may take as long as told, whatever the unit says.
    pub async fn stopping(&mut self, deadline: Duration) {
        let micros = u32::try_from(deadline.as_micros()).unwrap_or(u32::MAX);
        let status = self.remember("stopping: no more calls are taken, what was begun is finished");
        self.tell(move || {
            notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros), NotifyState::Status(&status)])
        })
        .await;
    }

    /// The line that `systemctl status` shows; told only where it has changed.
    pub async fn status(&mut self, status: &str) {
        if one_line(status) != self.status {
            let status = self.remember(status);
            self.tell(move || notify(&[NotifyState::Status(&status)])).await;
        }
    }

    /// The service is not hung.
    pub async fn alive(&mut self) {
        self.tell(|| notify(&[NotifyState::Watchdog])).await;
    }

    fn remember(&mut self, status: &str) -> String {
        self.status = one_line(status);
        self.status.clone()
    }

    /// Sends away from the runtime's threads: a service manager that does not read would block them.
    async fn tell(&mut self, message: impl FnOnce() -> io::Result<()> + Send + 'static) {
        if !self.is_there {
            return;
        }
        let told = tokio::task::spawn_blocking(message).await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        if let Err(error) = &told
            && !self.is_deaf
        {
            warn!(%error, "the service manager cannot be told how this service is: look at NOTIFY_SOCKET and NotifyAccess=");
        }
        self.is_deaf = told.is_err();
    }
}

fn notify(message: &[NotifyState<'_>]) -> io::Result<()> {
    sd_notify::notify(message)
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
