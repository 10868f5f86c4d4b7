//! A daemon to be ill-treated, and what it answers, in a line.

use std::fs;
use std::path::Path;
use std::time::Duration;

use apnsd::clock::Clock;
use apnsd::config::Config;
use apnsd::daemon::Daemon;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nothing takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    daemon: Daemon,
}

impl Site {
    /// Listens in plain and with TLS; bodies may have 1 MiB; credentials may lie in `certs`.
    pub(crate) async fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        fs::write(dir.path().join("server.pem"), certificate.pem() + &key.serialize_pem()).unwrap();
        fs::create_dir(dir.path().join("certs")).unwrap();
        let common = format!(
            "listen = [\"127.0.0.1:0\", \"tls:127.0.0.1:0\"]\nstate_dir = \"state\"\nstore.kind = \"memory\"\n\
             limits.body = \"1MiB\"\nprovision.certificate_dirs = [\"{0}/certs\"]\ntls.certificate = \"server.pem\"\n\
             tls.key = \"server.pem\"\n",
            dir.path().display()
        );
        let daemon = Daemon::start(&load(dir.path(), &(common + config)), Clock::system()).await.unwrap();
        Self { dir, daemon }
    }

    pub(crate) fn address(&self) -> String {
        self.daemon.addresses()[0].to_string()
    }

    pub(crate) fn tls_address(&self) -> String {
        self.daemon.addresses()[1].to_string().trim_start_matches("tls:").to_owned()
    }

    /// Sends bytes on a connection of their own; what comes back, in a line. `then_leave`: closes its side behind them.
    pub(crate) async fn told(&self, address: &str, bytes: &[u8], then_leave: bool) -> String {
        let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
        let send = async {
            // Who refuses may close before all was sent.
            let _ = writer.write_all(bytes).await;
            if then_leave {
                let _ = writer.shutdown().await;
            }
        };
        let read = async {
            let mut answer = Vec::new();
            while !is_whole(&answer) {
                let mut part = [0; 4096];
                match reader.read(&mut part).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => answer.extend_from_slice(&part[..read]),
                }
            }
            answer
        };
        let both = futures_util::future::join(send, read);
        let (_, answer) = timeout(PATIENCE, both).await.unwrap_or_else(|_| panic!("no answer to {}", shown(bytes)));
        in_a_line(&answer)
    }

    /// Each of these is told what it says, and after each a good caller is answered.
    pub(crate) async fn tells(&self, cases: &[(&str, Vec<u8>, &str)]) {
        for (name, bytes, expected) in cases {
            let told = self.told(&self.address(), bytes, false).await;
            assert!(told.starts_with(expected), "{name}: expected `{expected}`, told `{told}`");
            self.serves(name).await;
        }
    }

    /// A good caller is answered.
    #[track_caller]
    pub(crate) fn serves(&self, after: &str) -> impl Future<Output = ()> {
        let (after, address) = (after.to_owned(), self.address());
        async move {
            let told = self.told(&address, &post("", call("nosuch")), false).await;
            assert_eq!(told, "fault 8001: procedure nosuch not found", "after {after}");
        }
    }
}

fn load(dir: &Path, config: &str) -> Config {
    let file = dir.join("apnsd.toml");
    fs::write(&file, config).unwrap();
    let (config, warnings) = Config::load(Some(&file), std::iter::empty(), Clock::system().timestamp()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    config
}

pub(crate) fn call(method: &str) -> String {
    format!("<methodCall><methodName>{method}</methodName></methodCall>")
}

/// A POST with these header lines, and its length.
pub(crate) fn post(headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let length = format!("{headers}Content-Length: {}\r\n", body.as_ref().len());
    framed(&length, body)
}

/// A POST with these header lines and nothing else.
pub(crate) fn framed(headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    [format!("POST / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes(), body.as_ref()].concat()
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned()
}

/// The last answer, without interim ones.
fn last(answer: &[u8]) -> &[u8] {
    answer.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(answer)
}

fn head_and_body(answer: &[u8]) -> Option<(String, &[u8])> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(&answer[..end]).into_owned(), &answer[end + 4..]))
}

/// Whether an answer with a body of a known length is there.
fn is_whole(answer: &[u8]) -> bool {
    let Some((head, body)) = head_and_body(last(answer)) else { return false };
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| length > 0 && body.len() >= length)
}

/// `fault CODE: TEXT`, `STATUS: TEXT`, or what it is otherwise.
fn in_a_line(answer: &[u8]) -> String {
    let Some((head, body)) = head_and_body(last(answer)) else {
        return if answer.starts_with(b"HTTP/") { "cut off".to_owned() } else { "closed".to_owned() };
    };
    let body = String::from_utf8_lossy(body);
    let status = head.split(' ').nth(1).unwrap_or_default();
    let between = |begin: &str, end: &str| Some(body.split_once(begin)?.1.split_once(end)?.0.to_owned());
    match (between("<int>", "</int>"), between("<string>", "</string>")) {
        (Some(code), Some(text)) if body.contains("<fault>") => format!("fault {code}: {text}"),
        _ if body.is_empty() => status.to_owned(),
        _ => format!("{status}: {}", body.lines().next().unwrap_or_default()),
    }
}
