//! Sockets that a service manager has bound and hands over, as in sd_listen_fds(3): they stay open while this process is
//! replaced, so that callers wait instead of being refused.
//!
//! The name of a socket (`FileDescriptorName=` in the socket unit) says what is spoken on it: `http`, or `tls` for HTTPS
//! with the certificate of `[tls]`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use listenfd::ListenFd;
use socket2::SockRef;
use thiserror::Error;

use super::address::ListenAddress;

/// The variable with the names, `:` between them.
const NAMES: &str = "LISTEN_FDNAMES";
/// The variable that says how many there are.
const COUNT: &str = "LISTEN_FDS";
/// The variable with the process that they are meant for; without it, or empty, whichever reads it.
const FOR: &str = "LISTEN_PID";
/// More sockets than anybody listens on.
const SOCKETS_MAX: u32 = 1024;

/// Sockets that were handed over; mostly none.
#[derive(Debug, Default)]
pub struct Inherited(Vec<InheritedSocket>);

/// A socket of another process' making, with its address.
#[derive(Debug)]
pub(super) enum InheritedSocket {
    Tcp(TcpListener, SocketAddr),
    Tls(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

/// Why a socket that was handed over is of no use, and what to do.
#[derive(Debug, Error)]
pub enum InheritError {
    /// A number of sockets that is none.
    #[error(
        "LISTEN_FDS is `{0}`: it needs the number of sockets, from 0 to 1024; leave it out where the service manager hands \
         over none"
    )]
    Count(String),
    /// A name that says nothing.
    #[error(
        "the service manager hands over a socket with the name `{0}`: set FileDescriptorName= of its socket unit to `http`, \
         or to `tls` for HTTPS"
    )]
    Name(String),
    /// Fewer or more names than sockets.
    #[error("the service manager hands over {sockets} sockets and {names} names: LISTEN_FDNAMES needs one for each")]
    Names {
        /// How many sockets.
        sockets: usize,
        /// How many names.
        names: usize,
    },
    /// TLS where it is of no use.
    #[error("the service manager hands over a Unix socket with the name `tls`: set FileDescriptorName=http")]
    UnixTls,
    /// Something that connections cannot be accepted from.
    #[error(
        "the service manager hands over something else than a listening TCP or Unix stream socket ({0}): use ListenStream= \
         and Accept=no in its socket unit"
    )]
    Kind(io::Error),
}

impl Inherited {
    /// Takes over what was handed to this process, and the variables that say so. To be called once, before there are
    /// threads.
    pub fn take() -> Result<Self, InheritError> {
        check_count()?;
        let names = std::env::var(NAMES).ok();
        let mut handed = ListenFd::from_env();
        let names: Vec<String> = match &names {
            // systemfd and the like give none.
            None => vec!["http".to_owned(); handed.len()],
            Some(names) => names.split(':').map(str::to_owned).collect(),
        };
        if handed.len() == 0 {
            return Ok(Self::default());
        }
        if names.len() != handed.len() {
            return Err(InheritError::Names { sockets: handed.len(), names: names.len() });
        }
        names.iter().enumerate().map(|(at, name)| take(&mut handed, at, name)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nothing was handed over.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What `listen` would call them.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.0.iter().map(InheritedSocket::address).collect()
    }

    pub(super) fn into_sockets(self) -> Vec<InheritedSocket> {
        self.0
    }
}

impl InheritedSocket {
    pub(super) fn address(&self) -> ListenAddress {
        let tcp =
            |local: &SocketAddr, tls| ListenAddress::Tcp { host: local.ip().to_string(), port: local.port(), tls };
        match self {
            Self::Tcp(_, local) => tcp(local, false),
            Self::Tls(_, local) => tcp(local, true),
            Self::Unix(_, path) => ListenAddress::Unix(path.clone()),
        }
    }
}

/// What is no number would be taken for no sockets at all, and a wrong one for very many.
fn check_count() -> Result<(), InheritError> {
    let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()).unwrap_or_default();
    let (count, process) = (variable(COUNT), variable(FOR));
    let is_for_this = process.is_empty() || process.parse() == Ok(std::process::id());
    match count.parse::<u32>() {
        Ok(0..=SOCKETS_MAX) => Ok(()),
        _ if count.is_empty() || !is_for_this => Ok(()),
        _ => Err(InheritError::Count(count.chars().take(40).collect())),
    }
}

fn take(handed: &mut ListenFd, at: usize, name: &str) -> Result<InheritedSocket, InheritError> {
    let tls = match name {
        "http" => false,
        "tls" => true,
        _ => return Err(InheritError::Name(name.to_owned())),
    };
    if let Ok(Some(listener)) = handed.take_unix_listener(at) {
        check(&SockRef::from(&listener), listener.set_nonblocking(true))?;
        return match tls {
            false => {
                let path = path(&listener);
                Ok(InheritedSocket::Unix(listener, path))
            }
            true => Err(InheritError::UnixTls),
        };
    }
    let listener = handed.take_tcp_listener(at).map_err(InheritError::Kind)?;
    let listener = listener.ok_or_else(|| InheritError::Kind(io::ErrorKind::NotFound.into()))?;
    check(&SockRef::from(&listener), listener.set_nonblocking(true))?;
    let local = listener.local_addr().map_err(InheritError::Kind)?;
    Ok(if tls { InheritedSocket::Tls(listener, local) } else { InheritedSocket::Tcp(listener, local) })
}

/// With `Accept=yes` it would be one connection.
fn check(socket: &SockRef<'_>, nonblocking: io::Result<()>) -> Result<(), InheritError> {
    nonblocking.map_err(InheritError::Kind)?;
    match socket.is_listener() {
        Ok(true) => Ok(()),
        Ok(false) => Err(InheritError::Kind(io::Error::other("it does not listen"))),
        Err(error) => Err(InheritError::Kind(error)),
    }
}

fn path(listener: &UnixListener) -> PathBuf {
    let path = listener.local_addr().ok().and_then(|address| Some(address.as_pathname()?.to_owned()));
    path.unwrap_or_else(|| PathBuf::from("(without a path)"))
}
