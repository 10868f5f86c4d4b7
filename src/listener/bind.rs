//! Binding addresses, and serving what was bound.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use socket2::{Domain, Protocol, Type};
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use super::Settings;
use super::accept::{AcceptLoops, Acceptor, Socket};
use super::address::{ListenAddress, LocalAddress};
use super::connection::Shared;
use super::inherited::{Inherited, InheritedSocket};
use super::room::Room;
use super::tls::{Tls, TlsError};
use super::unix::{self, Unmade};
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::callers::Callers;

/// Connections that the kernel keeps while none is accepted (it caps this at `net.core.somaxconn`).
const BACKLOG: i32 = 1024;

/// Sockets that are bound and not yet served. Callers can connect already; they wait.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<(LocalAddress, Socket)>,
    callers: Arc<Callers>,
}

/// Why an address cannot be listened on, and what to do.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another program has it.
    #[error("{0} is in use: another program, or another apnsd, listens there; stop it, or change `listen`")]
    InUse(String),
    /// Port below 1024, or a directory that is not ours.
    #[error(
        "no permission to listen on {0}: ports below 1024 need CAP_NET_BIND_SERVICE, a Unix socket needs a directory that this user may write to"
    )]
    Permission(String),
    /// No interface has the address.
    #[error("{0} is not an address of this machine: change `listen`")]
    NotHere(String),
    /// The name does not resolve.
    #[error("the host of {address} cannot be resolved ({source}): correct it in `listen`, or write its IP address")]
    Unresolved {
        /// As in `listen`.
        address: String,
        /// The resolver's words.
        source: io::Error,
    },
    /// Something else has the path of a Unix socket.
    #[error("{0} exists and is not a socket: remove it, or change `listen`")]
    NotASocket(String),
    /// The group of a Unix socket is not one of this process.
    #[error(
        "no permission to give {address} to the group `{group}`: make the daemon's user a member of it (`usermod --append --groups {group} apnsd`, or SupplementaryGroups= in its unit), or change unix.group"
    )]
    Group {
        /// As in `listen`.
        address: String,
        /// As in `unix.group`.
        group: String,
    },
    /// An address with TLS, and no TLS to speak.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// As in `listen`.
        address: String,
        /// The system's words.
        source: io::Error,
    },
}

impl BindError {
    fn new(address: &impl ToString, source: io::Error) -> Self {
        let address = address.to_string();
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::PermissionDenied => Self::Permission(address),
            io::ErrorKind::AddrNotAvailable => Self::NotHere(address),
            _ => Self::Other { address, source },
        }
    }
}

impl Listeners {
    fn new(sockets: Vec<(LocalAddress, Socket)>) -> Self {
        Self { sockets, callers: Arc::default() }
    }

    /// Binds all addresses or none. An IPv6 address takes IPv6 only, so that `0.0.0.0` and `[::]` can stand side by
    /// side. A socket file that is left from a dead process is replaced.
    pub async fn bind(
        addresses: &[ListenAddress],
        tls: Option<&Tls>,
        unix: &unix::Settings,
    ) -> Result<Self, BindError> {
        let mut bound = Vec::with_capacity(addresses.len());
        for address in addresses {
            match address {
                ListenAddress::Tcp { host, port, tls: with_tls } => {
                    let tls = match (with_tls, tls) {
                        (true, Some(tls)) => Some(tls),
                        (true, None) => return Err(TlsError::Missing(address.to_string()).into()),
                        (false, _) => None,
                    };
                    bound.append(&mut bind_tcp_all(&resolve(address, host, *port).await?, tls)?);
                }
                ListenAddress::Unix(path) => {
                    let (file, listener) = bind_unix(address, path, unix).await?;
                    bound.push((LocalAddress::Unix(path.clone()), Socket::Unix { _file: Some(file), listener }));
                }
            }
        }
        Ok(Self::new(bound))
    }

    /// Takes over sockets that are bound already. The file of a Unix socket stays with whoever bound it.
    pub fn adopt(inherited: Inherited, tls: Option<&Tls>) -> Result<Self, BindError> {
        let adopted = inherited.into_sockets().into_iter().map(|socket| adopt(socket, tls));
        adopted.collect::<Result<_, _>>().map(Self::new)
    }

    /// Where they listen, with the ports that were really taken; in the order of the addresses.
    pub fn local_addresses(&self) -> Vec<LocalAddress> {
        self.sockets.iter().map(|(address, _)| address.clone()).collect()
    }

    /// What is counted of connections and requests once they are served.
    pub fn callers(&self) -> Arc<Callers> {
        Arc::clone(&self.callers)
    }

    /// Serves the router on all of them until the stop: then nothing more is accepted, requests in flight are answered
    /// and idle connections closed. [`Shutdown::finish`] waits for that. Returns at once.
    pub fn serve(self, router: Router, settings: Settings, shutdown: &Shutdown) -> AcceptLoops {
        let connections = Arc::new(Semaphore::new(settings.connections_max.clamp(1, Semaphore::MAX_PERMITS)));
        let (room, callers) = (Room::default(), self.callers);
        let shared = Arc::new(Shared { router, settings, shutdown: shutdown.clone(), room, callers });
        let mut loops = AcceptLoops::default();
        for (address, socket) in self.sockets {
            info!(%address, "listening");
            let asked = loops.add(address);
            shutdown.spawn(Acceptor::new(socket, shared.clone(), connections.clone(), asked).run());
        }
        loops
    }
}

fn adopt(socket: InheritedSocket, tls: Option<&Tls>) -> Result<(LocalAddress, Socket), BindError> {
    let address = socket.address();
    let failed = |source| BindError::new(&address, source);
    Ok(match (socket, tls) {
        (InheritedSocket::Tcp(listener, local), _) => {
            (LocalAddress::Tcp(local), Socket::Tcp(TcpListener::from_std(listener).map_err(failed)?))
        }
        (InheritedSocket::Tls(listener, local), Some(tls)) => {
            let listener = TcpListener::from_std(listener).map_err(failed)?;
            (LocalAddress::Tls(local), Socket::Tls(listener, tls.clone()))
        }
        (InheritedSocket::Tls(..), None) => return Err(TlsError::Missing(address.to_string()).into()),
        (InheritedSocket::Unix(listener, path), _) => {
            let listener = UnixListener::from_std(listener).map_err(failed)?;
            (LocalAddress::Unix(path), Socket::Unix { _file: None, listener })
        }
    })
}

async fn resolve(address: &ListenAddress, host: &str, port: u16) -> Result<Vec<SocketAddr>, BindError> {
    let unresolved = |source| BindError::Unresolved { address: address.to_string(), source };
    let mut resolved: Vec<_> = tokio::net::lookup_host((host, port)).await.map_err(unresolved)?.collect();
    resolved.dedup();
    Ok(resolved)
}

/// Binds all addresses of a name. `localhost` may have one of a family that the machine does not have; that one is left
/// out, unless there is no other.
fn bind_tcp_all(addresses: &[SocketAddr], tls: Option<&Tls>) -> Result<Vec<(LocalAddress, Socket)>, BindError> {
    let mut bound = Vec::new();
    let mut absent = None;
    for address in addresses {
        let listening = bind_tcp(*address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        match listening.map_err(|source| BindError::new(address, source)) {
            Ok((local, listener)) => bound.push(match tls {
                Some(tls) => (LocalAddress::Tls(local), Socket::Tls(listener, tls.clone())),
                None => (LocalAddress::Tcp(local), Socket::Tcp(listener)),
            }),
            Err(error @ BindError::NotHere(_)) => absent = Some(error),
            Err(error) => return Err(error),
        }
    }
    match absent {
        Some(error) if bound.is_empty() => Err(error),
        Some(error) => {
            warn!("{error}");
            Ok(bound)
        }
        None => Ok(bound),
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

async fn bind_unix(
    address: &ListenAddress,
    path: &Path,
    settings: &unix::Settings,
) -> Result<(SocketFile, UnixListener), BindError> {
    let failed = |source| BindError::new(address, source);
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(address.to_string())),
        Ok(_) => match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed)?,
            Err(error) => return Err(failed(error)),
            Ok(_) => return Err(BindError::InUse(address.to_string())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let socket = unix::make(path).map_err(failed)?;
    let file = SocketFile(path.to_owned());
    unix::guard(path, settings).map_err(|unmade| match unmade {
        Unmade::Group(group) => BindError::Group { address: address.to_string(), group },
        Unmade::Io(error) => failed(error),
    })?;
    let listening = socket.listen(BACKLOG).and_then(|()| socket.set_nonblocking(true));
    let listener = listening.and_then(|()| UnixListener::from_std(socket.into())).map_err(failed)?;
    Ok((file, listener))
}

/// The file of a Unix socket; removed when dropped.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            debug!(path = %self.0.display(), %error, "the socket file is left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn bind(addresses: &[&str]) -> Result<Listeners, BindError> {
        let addresses: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Listeners::bind(&addresses, None, &unix::Settings::default()).await
    }

    fn unix_address(dir: &tempfile::TempDir) -> (PathBuf, String) {
        let path = dir.path().join("apnsd.sock");
        let address = format!("unix:{}", path.display());
        (path, address)
    }

    #[tokio::test]
    async fn several_addresses_are_bound_and_named_with_their_ports() {
        let listeners = bind(&["127.0.0.1:0", "127.0.0.1:0"]).await.unwrap();
        let [LocalAddress::Tcp(first), LocalAddress::Tcp(second)] = listeners.local_addresses()[..] else {
            panic!("{listeners:?}");
        };
        assert!(first.port() != 0 && second.port() != 0 && first != second);
    }

    #[tokio::test]
    async fn both_families_can_have_the_same_port() {
        let first = bind(&["0.0.0.0:0"]).await.unwrap();
        let [LocalAddress::Tcp(address)] = first.local_addresses()[..] else { panic!("{first:?}") };
        match bind(&[&format!("[::]:{}", address.port())]).await {
            Ok(second) => assert_eq!(second.local_addresses().len(), 1),
            Err(error) => assert!(matches!(error, BindError::Other { .. }), "{error}: no IPv6 on this machine?"),
        }
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let first = bind(&["127.0.0.1:0"]).await.unwrap();
        let address = first.local_addresses()[0].to_string();
        let error = bind(&["127.0.0.1:0", &address]).await.unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "{address} is in use: another program, or another apnsd, listens there; stop it, or change `listen`"
            )
        );
    }

    #[tokio::test]
    async fn a_foreign_address_is_named() {
        let error = bind(&["192.0.2.1:7077"]).await.unwrap_err().to_string();
        assert_eq!(error, "192.0.2.1:7077 is not an address of this machine: change `listen`");
    }

    #[tokio::test]
    async fn an_absent_address_of_a_name_is_left_out_unless_it_is_the_only_one() {
        let (here, absent) = ("127.0.0.1:0".parse().unwrap(), "192.0.2.1:0".parse().unwrap());
        assert_eq!(bind_tcp_all(&[absent, here], None).unwrap().len(), 1);
        assert!(matches!(bind_tcp_all(&[absent], None), Err(BindError::NotHere(_))));
    }

    #[tokio::test]
    async fn a_unix_socket_is_for_owner_and_group_and_goes_with_its_listener() {
        let dir = tempfile::tempdir().unwrap();
        let (path, address) = unix_address(&dir);
        let listeners = bind(&[&address]).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let router = Router::new().fallback(|| async { "hello" });
        let shutdown = Shutdown::new();
        listeners.serve(router, Settings::default(), &shutdown);

        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");

        assert!(shutdown.finish(Duration::from_secs(60)).await);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_unix_socket_has_the_mode_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (path, address) = unix_address(&dir);
        let settings = unix::Settings { mode: 0o600, group: None };
        let _listeners = Listeners::bind(&[address.parse().unwrap()], None, &settings).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_socket_file_is_replaced_only_if_nobody_listens_on_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, address) = unix_address(&dir);
        let dead = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(bind(&[&address]).await, Err(BindError::InUse(_))));
        drop(dead);
        assert!(path.exists());
        assert!(bind(&[&address]).await.is_ok());
    }

    #[tokio::test]
    async fn a_file_that_is_not_a_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, address) = unix_address(&dir);
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&[&address]).await, Err(BindError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
