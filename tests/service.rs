//! The daemon as a service, with a service manager that the test plays: what it hears, and sockets that it hands over.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use apnsd::cli::exit::Exit;
use tempfile::TempDir;

/// Nothing takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service manager with one unit.
struct Manager {
    dir: TempDir,
    socket: UnixDatagram,
    /// Variables that the unit's process gets besides, or instead.
    variables: Vec<(&'static str, String)>,
    /// What `LISTEN_FDS` says, where that is not how many sockets there are.
    count: Option<&'static str>,
}

/// The unit's process. Killed with the test.
struct Service(Child);

impl Manager {
    /// One whose unit has this in its configuration.
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let manager = Self { dir, socket, variables: Vec::new(), count: None };
        manager.configure(config);
        manager
    }

    /// As many messages as fit, which nobody reads.
    fn fill(&self) {
        let other = UnixDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        while other.send_to(b"STATUS=another", self.path("notify")).is_ok() {}
    }

    /// The configuration file becomes one that a reader has to wait for.
    fn configure_by_fifo(&self) {
        let file = self.path("apnsd.toml");
        // One may be there already.
        let _ = fs::remove_file(&file);
        assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
    }

    /// Waits until the log has this line.
    #[expect(clippy::disallowed_methods, reason = "a test that would wait for ever has failed")]
    fn log_until(&self, wanted: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !self.log().contains(wanted) {
            assert!(std::time::Instant::now() < deadline, "no `{wanted}`: {}", self.log());
            std::thread::yield_now();
        }
    }

    fn configure(&self, config: &str) {
        fs::write(self.path("apnsd.toml"), format!("state_dir = \"state\"\n{config}")).unwrap();
    }

    /// The same by a file that is open.
    fn configure_into(&self, file: &mut fs::File) {
        file.write_all(format!("state_dir = \"state\"\n{ANYWHERE}").as_bytes()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts the unit's process with these sockets, at most two of them, from number 3 on.
    fn start(&self, sockets: Vec<OwnedFd>) -> Service {
        let count = self.count.map_or(sockets.len().to_string(), str::to_owned);
        let mut sockets = sockets.into_iter();
        let mut shell = Command::new("sh");
        // A variable must name the process itself, and a program's files have their numbers from a shell.
        let activated =
            format!("export LISTEN_PID=$$ LISTEN_FDS={count}; exec \"$0\" \"$@\" 3<&0 4<&1 0</dev/null 1>&2");
        let plain = "exec \"$0\" \"$@\"".to_owned();
        shell.arg("-c").arg(if count == "0" { plain } else { activated });
        shell.arg(env!("CARGO_BIN_EXE_apnsd")).arg("serve").arg("--config").arg(self.path("apnsd.toml"));
        shell.stdin(sockets.next().map_or(Stdio::null(), Stdio::from));
        shell.stdout(sockets.next().map_or(Stdio::null(), Stdio::from));
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        shell.stderr(log).env("NOTIFY_SOCKET", self.path("notify"));
        shell.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Service(shell.spawn().unwrap())
    }

    /// The next message but for status and watchdog alone.
    fn hear(&self) -> String {
        loop {
            let message = self.hear_any();
            if !message.starts_with("STATUS=") && message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }

    fn hear_any(&self) -> String {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).unwrap_or_else(|error| panic!("{error}: {}", self.log()));
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// Waits for messages until one is this.
    fn hear_until(&self, wanted: &str) {
        while self.hear_any() != wanted {}
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }
}

impl Service {
    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    fn exit_code(mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }

    fn terminate(self) {
        self.signal("-TERM");
        assert_eq!(self.exit_code(), Some(0));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const ANYWHERE: &str = "listen = [\"127.0.0.1:0\"]\n";
const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn any_port() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// One request on a new connection; what was answered.
fn get(address: SocketAddr) -> std::io::Result<String> {
    ask(TcpStream::connect(address)?)
}

/// The same, by a caller who thinks for a moment once there is a connection, and listens meanwhile.
fn think_and_get(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    match stream.read(&mut [0]) {
        Err(silence) if silence.kind() == std::io::ErrorKind::WouldBlock => ask(stream),
        told => Err(std::io::Error::other(format!("before a request: {told:?}"))),
    }
}

fn ask(mut stream: TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(GET)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn monotonic_micros() -> i128 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    (seconds * 1e6) as i128
}

#[test]
fn the_manager_hears_of_start_reload_and_stop() {
    let manager = Manager::new(ANYWHERE);
    let service = manager.start(Vec::new());
    assert_eq!(manager.hear(), "READY=1\nSTATUS=0 apps; 0 notifications wait\n");

    let before = monotonic_micros() - 20_000;
    service.signal("-HUP");
    let reloading = manager.hear();
    let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim_end();
    let micros: i128 = micros.parse().unwrap();
    assert!(before <= micros && micros <= monotonic_micros() + 20_000, "{before} {micros}");
    assert_eq!(manager.hear(), "READY=1\nSTATUS=0 apps; 0 notifications wait\n");

    service.signal("-TERM");
    assert_eq!(
        manager.hear(),
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=45000000\n\
         STATUS=stopping: no more calls are taken, what was begun is finished\n"
    );
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn a_start_says_what_it_does_before_it_is_ready() {
    let manager = Manager::new(ANYWHERE);
    let service = manager.start(Vec::new());
    assert_eq!(manager.hear_any(), "STATUS=starting: opening the store, judging credentials\n");
    assert_eq!(manager.hear_any(), "READY=1\nSTATUS=0 apps; 0 notifications wait\n");
    service.terminate();
}

#[test]
fn ready_means_that_calls_are_answered() {
    let manager = Manager::new("");
    let socket = manager.path("apnsd.sock");
    manager.configure(&format!("listen = [\"unix:{}\"]\n", socket.display()));
    let service = manager.start(Vec::new());
    assert!(manager.hear().starts_with("READY=1\n"));
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(GET).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    service.terminate();
}

#[test]
fn a_reload_that_was_refused_ends_too_and_is_told_until_one_is_taken() {
    let manager = Manager::new(ANYWHERE);
    let service = manager.start(Vec::new());
    assert!(manager.hear().starts_with("READY=1\n"));
    manager.configure("listen = [\"127.0.0.1:0\"]\nlimits.depth = 0\n");
    service.signal("-HUP");
    assert!(manager.hear().starts_with("RELOADING=1\n"));
    assert_eq!(
        manager.hear(),
        "READY=1\nSTATUS=0 apps; 0 notifications wait; not reloaded, the configuration has problems\n"
    );
    manager.configure(ANYWHERE);
    service.signal("-HUP");
    assert!(manager.hear().starts_with("RELOADING=1\n"));
    assert_eq!(manager.hear(), "READY=1\nSTATUS=0 apps; 0 notifications wait\n");
    service.terminate();
}

#[test]
fn a_configuration_with_problems_is_never_ready_and_has_its_own_exit_code() {
    let manager = Manager::new("limits.depth = 0\n");
    assert_eq!(manager.start(Vec::new()).exit_code(), Some(78));
    manager.socket.set_nonblocking(true).unwrap();
    assert!(manager.socket.recv(&mut [0; 1]).is_err(), "nothing is told");
}

#[test]
fn the_watchdog_is_fed_again_and_again_where_there_is_one() {
    let mut manager = Manager::new(ANYWHERE);
    manager.variables.push(("WATCHDOG_USEC", "2000000".to_owned()));
    let service = manager.start(Vec::new());
    for _ in 0..3 {
        manager.hear_until("WATCHDOG=1\n");
    }
    service.terminate();
}

#[test]
fn a_manager_that_does_not_read_keeps_nothing_from_starting_or_stopping() {
    let mut manager = Manager::new("");
    let socket = manager.path("apnsd.sock");
    manager.configure(&format!("listen = [\"unix:{}\"]\n", socket.display()));
    manager.variables.push(("WATCHDOG_USEC", "2000000".to_owned()));
    manager.fill();
    let service = manager.start(Vec::new());
    manager.log_until("listening address=unix:");
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(GET).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    service.terminate();
    let log = manager.log();
    assert_eq!(log.matches("the service manager cannot be told how this service is").count(), 1, "{log}");
}

#[test]
fn a_manager_that_reads_no_more_keeps_no_stop_back() {
    let manager = Manager::new(ANYWHERE);
    let service = manager.start(Vec::new());
    assert!(manager.hear().starts_with("READY=1\n"));
    manager.fill();
    service.signal("-HUP");
    manager.log_until("the service manager cannot be told how this service is");
    service.terminate();
}

#[test]
fn what_a_manager_waits_for_is_told_again_once_it_reads() {
    let manager = Manager::new(ANYWHERE);
    manager.fill();
    let service = manager.start(Vec::new());
    manager.log_until("the service manager cannot be told how this service is");
    manager.log_until("listening address=");
    assert_eq!(manager.hear(), "READY=1\nSTATUS=0 apps; 0 notifications wait\n");
    manager.fill();
    service.signal("-HUP");
    manager.log_until("reloading, by SIGHUP");
    assert!(manager.hear().starts_with("RELOADING=1\n"));
    assert_eq!(manager.hear(), "READY=1\nSTATUS=0 apps; 0 notifications wait\n");
    service.terminate();
}

#[test]
fn the_manager_may_have_a_socket_without_a_file() {
    let mut manager = Manager::new(ANYWHERE);
    let name = manager.path("notify").display().to_string();
    manager.socket =
        UnixDatagram::bind_addr(&std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    manager.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    manager.variables.push(("NOTIFY_SOCKET", format!("@{name}")));
    let service = manager.start(Vec::new());
    assert_eq!(manager.hear(), "READY=1\nSTATUS=0 apps; 0 notifications wait\n");
    service.terminate();
}

#[test]
fn a_configuration_that_cannot_be_read_to_its_end_keeps_neither_watchdog_nor_stop_back() {
    let mut manager = Manager::new(ANYWHERE);
    manager.variables.push(("WATCHDOG_USEC", "2000000".to_owned()));
    let service = manager.start(Vec::new());
    assert!(manager.hear().starts_with("READY=1\n"));
    manager.configure_by_fifo();
    service.signal("-HUP");
    // Opens only for somebody who reads.
    let _hung = fs::OpenOptions::new().write(true).open(manager.path("apnsd.toml")).unwrap();
    for _ in 0..3 {
        manager.hear_until("WATCHDOG=1\n");
    }
    service.terminate();
}

#[test]
fn signals_that_come_while_the_start_reads_the_configuration_mean_what_they_do_later() {
    let manager = Manager::new(ANYWHERE);
    manager.configure_by_fifo();
    let fifo = || fs::OpenOptions::new().write(true).open(manager.path("apnsd.toml")).unwrap();
    let service = manager.start(Vec::new());
    let mut writer = fifo();
    service.signal("-HUP");
    manager.configure_into(&mut writer);
    drop(writer);
    assert_eq!(manager.hear(), "READY=1\nSTATUS=0 apps; 0 notifications wait\n");
    assert!(manager.hear().starts_with("RELOADING=1\n"));
    service.terminate();

    let service = manager.start(Vec::new());
    let _hung = fifo();
    service.terminate();
}

#[test]
fn a_watchdog_that_is_meant_for_another_process_is_not_fed() {
    let mut manager = Manager::new(ANYWHERE);
    manager.variables.extend([("WATCHDOG_USEC", "1000".to_owned()), ("WATCHDOG_PID", "1".to_owned())]);
    let service = manager.start(Vec::new());
    assert!(manager.hear().starts_with("READY=1\n"));
    service.signal("-TERM");
    // With a time this short it would have been fed in between.
    assert!(manager.hear_any().starts_with("STOPPING=1\n"));
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn sockets_that_are_handed_over_take_the_place_of_listen() {
    let mut manager = Manager::new("listen = [\"127.0.0.1:1\"]\n");
    manager.variables.push(("LISTEN_FDNAMES", "http:http".to_owned()));
    let tcp = any_port();
    let path = manager.path("apnsd.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let address = tcp.local_addr().unwrap();
    let service = manager.start(vec![tcp.into(), unix.into()]);
    assert!(manager.hear().starts_with("READY=1\n"));
    assert!(get(address).unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(GET).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    service.terminate();
    assert!(path.exists(), "the file of a socket stays with whoever made it");
    let log = manager.log();
    assert!(log.contains(&format!("listening address={address}")), "{log}");
    assert!(!log.contains("127.0.0.1:1 "), "{log}");
}

#[test]
fn the_name_of_a_socket_says_whether_tls_is_spoken() {
    let mut manager = Manager::new("");
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(manager.path("server.pem"), key.cert.pem() + &key.signing_key.serialize_pem()).unwrap();
    manager.configure("[tls]\ncertificate = \"server.pem\"\n");
    manager.variables.push(("LISTEN_FDNAMES", "tls:http".to_owned()));
    let (tls, http) = (any_port(), any_port());
    let (tls_address, http_address) = (tls.local_addr().unwrap(), http.local_addr().unwrap());
    let service = manager.start(vec![tls.into(), http.into()]);
    assert!(manager.hear().starts_with("READY=1\n"));
    assert!(get(http_address).unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
    let mut apps = Command::new(env!("CARGO_BIN_EXE_apnsd"));
    apps.args(["apps", "--url", &format!("https://localhost:{}", tls_address.port())]);
    let output = apps.env("SSL_CERT_FILE", manager.path("server.pem")).output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
    service.terminate();
}

#[test]
fn sockets_that_make_no_sense_are_refused_with_the_cure() {
    let refused = |names: &str, socket: OwnedFd| {
        let mut manager = Manager::new("");
        manager.variables.push(("LISTEN_FDNAMES", names.to_owned()));
        assert_eq!(manager.start(vec![socket]).exit_code(), Some(78));
        manager.log()
    };
    let log = refused("apnsd.socket", any_port().into());
    assert!(log.contains("a socket with the name `apnsd.socket`: set FileDescriptorName="), "{log}");
    let log = refused("http:http", any_port().into());
    assert!(log.contains("1 sockets and 2 names"), "{log}");
    let (connected, _peer) = UnixStream::pair().unwrap();
    let log = refused("http", connected.into());
    assert!(log.contains("use ListenStream= and Accept=no in its socket unit"), "{log}");
    let log = refused("tls", any_port().into());
    assert!(log.contains("needs the section [tls]"), "{log}");
    let log = refused("http", TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().into());
    assert!(log.contains("can be reached by others, and everybody may call"), "{log}");
}

#[test]
fn a_count_of_sockets_that_makes_no_sense_is_refused_with_the_cure() {
    for count in ["abc", "-1", "1x", "4000000000", "1000000000000000000000000000000"] {
        let mut manager = Manager::new("");
        manager.count = Some(count);
        assert_eq!(manager.start(vec![any_port().into()]).exit_code(), Some(78));
        let log = manager.log();
        assert!(
            log.contains(&format!("LISTEN_FDS is `{count}`: it needs the number of sockets, from 0 to 1024")),
            "{log}"
        );
    }
}

#[test]
fn the_unit_does_not_start_again_what_cannot_succeed() {
    let unit = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/apnsd.service")).unwrap();
    let codes = [Exit::Usage, Exit::Data, Exit::Config].map(|exit| exit.code().to_string()).join(" ");
    assert!(unit.contains(&format!("\nRestartPreventExitStatus={codes}\n")), "{codes}");
}

#[test]
fn restarts_through_a_socket_refuse_no_caller() {
    let manager = Manager::new("");
    let socket = any_port();
    let address = socket.local_addr().unwrap();
    let start = || {
        let service = manager.start(vec![socket.try_clone().unwrap().into()]);
        while !manager.hear().starts_with("READY=1\n") {}
        service
    };
    let mut service = start();
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU32::new(0));
    let callers: Vec<_> = [get, get, think_and_get, think_and_get]
        .into_iter()
        .map(|call| {
            let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let answer = call(address).unwrap();
                    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..5 {
        service.terminate();
        service = start();
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.join().unwrap();
    }
    assert!(answered.load(Ordering::Relaxed) >= 10);
    service.terminate();
}
