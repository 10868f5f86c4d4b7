//! HTTP/1.1 as cheap as a caller can have it: requests are bytes that were rendered before, answers are searched for no
//! more than their status, their length and a fault.

use std::io;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::BenchError;
use crate::xmlrpc::decode::{Limits, decode_response};
use crate::xmlrpc::value::Fault;

/// Most bytes of an answer that is looked at.
const ANSWER_MAX: usize = 64 * 1024 * 1024;
const READ: usize = 16 * 1024;
/// Characters of an answer that a failure shows.
const SHOWN: usize = 500;

/// A server, and what stands in the head of every request to it.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    head: String,
}

impl Target {
    /// A server on this machine.
    pub(super) fn local(address: SocketAddr) -> Self {
        Self { address, head: format!(" / HTTP/1.1\r\nHost: {address}\r\n") }
    }

    /// The server of a URL.
    pub(super) async fn of_url(url: &str) -> Result<Self, BenchError> {
        let uri: Uri = url.parse().map_err(|_| BenchError::Url)?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or(BenchError::Url)?;
        let (host, port) = (authority.host(), authority.port_u16().unwrap_or(80));
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((bare, port)).await.map_err(BenchError::io(format!("look up {host}")))?;
        let address = found.into_iter().next().ok_or(BenchError::Url)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut head = format!(" {path} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        if let Some((user, _)) = authority.as_str().rsplit_once('@') {
            head += &format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(user));
        }
        Ok(Self { address, head })
    }

    /// A POST with this body, whole.
    pub(super) fn post(&self, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("POST{}Content-Type: text/xml\r\nContent-Length: {length}\r\n\r\n{body}", self.head).into_bytes()
    }

    /// A GET of a path.
    pub(super) fn get(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address).into_bytes()
    }
}

/// One connection.
pub(super) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What an answer was.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
}

impl Answer<'_> {
    /// Fails unless it is the answer to a call that was carried out.
    pub(super) fn success(&self) -> Result<(), BenchError> {
        match self.status == 200 && memchr::memmem::find(self.body, b"<fault>").is_none() {
            true => Ok(()),
            false => {
                let text = String::from_utf8_lossy(self.body);
                Err(BenchError::Refused(match decode_response(&text, &Limits::default()) {
                    Ok(Err(Fault { code, text })) => format!("fault {code}: {text}"),
                    Ok(Ok(_)) | Err(_) => {
                        format!("status {}: {}", self.status, text.chars().take(SHOWN).collect::<String>())
                    }
                }))
            }
        }
    }
}

impl Connection {
    /// Connects.
    pub(super) async fn open(address: SocketAddr) -> Result<Self, BenchError> {
        let connect = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = connect.await.map_err(BenchError::io(format!("connect to {address}")))?;
        Ok(Self { stream, received: Vec::with_capacity(READ) })
    }

    /// Sends a request and waits for its whole answer.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>, BenchError> {
        self.stream.write_all(request).await.map_err(BenchError::io("send a request"))?;
        self.received.clear();
        let (status, body_at, end) = loop {
            if let Some((status, body_at, length)) = head(&self.received)? {
                break (status, body_at, body_at + length);
            }
            self.read().await?;
        };
        while self.received.len() < end {
            self.read().await?;
        }
        Ok(Answer { status, body: &self.received[body_at..end] })
    }

    async fn read(&mut self) -> Result<(), BenchError> {
        let read = self.stream.read_buf(&mut self.received).await;
        match read.map_err(BenchError::io("read an answer"))? {
            0 => Err(broken("the connection ended before the answer did")),
            _ if self.received.len() > ANSWER_MAX => Err(broken("the answer is too long")),
            _ => Ok(()),
        }
    }
}

/// Status, where the body begins, and its length; `None` while the head is not there.
fn head(bytes: &[u8]) -> Result<Option<(u16, usize, usize)>, BenchError> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| broken("the answer's head is not text"))?;
    let status = text.get(9..12).and_then(|status| status.parse().ok());
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok()).flatten()
    });
    match (status, length) {
        (Some(status), Some(length)) => Ok(Some((status, end + 4, length))),
        _ => Err(broken("the answer has no status, or no Content-Length")),
    }
}

fn broken(what: &str) -> BenchError {
    BenchError::Io { what: "read an answer".to_owned(), source: io::Error::other(what.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_where_the_body_is() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: x\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(head(answer).unwrap(), Some((200, 55, 5)));
        assert_eq!(head(&answer[..50]).unwrap(), None);
        assert!(head(b"HTTP/1.1 204 No Content\r\n\r\n").is_err());
    }

    #[test]
    fn a_fault_is_no_success() {
        let answer = |status, body: &'static str| Answer { status, body: body.as_bytes() }.success();
        assert!(answer(200, "<methodResponse><params/></methodResponse>").is_ok());
        let fault = "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>500</int></value>\
            </member><member><name>faultString</name><value>full</value></member></struct></value></fault></methodResponse>";
        assert_eq!(
            answer(200, fault).unwrap_err().to_string(),
            "a call of the measurement was refused: fault 500: full"
        );
        assert_eq!(
            answer(503, "later").unwrap_err().to_string(),
            "a call of the measurement was refused: status 503: later"
        );
    }

    #[tokio::test]
    async fn a_url_gives_address_path_and_authorization() {
        let target = Target::of_url("http://web:secret@127.0.0.1:7078/RPC2").await.unwrap();
        assert_eq!(target.address, "127.0.0.1:7078".parse().unwrap());
        assert_eq!(
            String::from_utf8(target.post("<x/>")).unwrap(),
            "POST /RPC2 HTTP/1.1\r\nHost: 127.0.0.1:7078\r\nAuthorization: Basic d2ViOnNlY3JldA==\r\n\
             Content-Type: text/xml\r\nContent-Length: 4\r\n\r\n<x/>"
        );
        assert!(Target::of_url("https://127.0.0.1/").await.is_err());
    }
}
