//! The XML-RPC client behind the command line: one connection a call, over HTTP, HTTPS or a Unix socket.
//!
//! Knows nothing of what the methods mean.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, ClientConfig};
use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use self::url::{DaemonUrl, Way};
use crate::trust::system_roots;
use crate::xmlrpc::decode::{Limits, decode_response};
use crate::xmlrpc::encode::encode_call;
use crate::xmlrpc::value::{Fault, Value};

mod url;

/// Calls one daemon.
#[derive(Clone)]
pub struct Client {
    url: DaemonUrl,
    timeout: Duration,
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// Not a URL that can be called. (It is not repeated: it may hold a token.)
    #[error("this is not the URL of a daemon: write http://HOST:PORT, https://USER:TOKEN@HOST:PORT or unix:/PATH")]
    Url,
    /// No connection; nothing was sent.
    #[error("cannot connect to {url}: {cause}")]
    Connect {
        /// Where.
        url: String,
        /// The operating system's word, and what to do where that is known.
        cause: String,
        /// Whether nobody listens there at all.
        is_absent: bool,
    },
    /// No answer in time.
    #[error("no answer from {url} within {}; the call may have been carried out", seconds(.timeout))]
    Timeout {
        /// Where.
        url: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The connection ended before the answer did.
    #[error("the connection to {url} broke before the answer ({cause}); the call may have been carried out")]
    Broken {
        /// Where.
        url: String,
        /// What happened.
        cause: String,
    },
    /// An answer of HTTP, not of XML-RPC.
    #[error("HTTP status {0}{colon}{1}", colon = if .1.is_empty() { "" } else { ": " })]
    Http(u16, String),
    /// An answer that is not XML-RPC.
    #[error("the answer is not XML-RPC ({0})")]
    Decode(String),
    /// The daemon's own word.
    #[error("{1} (fault {0})")]
    Fault(i32, String),
}

impl ClientError {
    /// What happened, for a call that changes nothing: without the doubt whether it was carried out.
    pub fn of_reading(&self) -> String {
        let text = self.to_string();
        text.strip_suffix(DOUBT).map_or_else(|| text.clone(), str::to_owned)
    }
}

/// Behind what happened to a call whose answer was lost.
const DOUBT: &str = "; the call may have been carried out";

fn seconds(span: &Duration) -> String {
    format!("{} s", span.as_secs_f64())
}

/// Most bytes of an answer: a million entries of feedback.
const ANSWER_BYTES_MAX: usize = 256 << 20;

impl Client {
    /// A client for the daemon at `http://[USER:TOKEN@]HOST[:PORT][/PATH]`, the same with `https`, or `unix:/PATH`; a
    /// call may take as long as `timeout`, from name look-up to the last byte of the answer.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, ClientError> {
        DaemonUrl::parse(url).map(|url| Self { url, timeout }).ok_or(ClientError::Url)
    }

    /// Calls a method and waits for its result.
    pub async fn call(&self, method: &str, params: Vec<Value<'_>>) -> Result<Value<'static>, ClientError> {
        let body = encode_call(method, &params);
        let exchange = tokio::time::timeout(self.timeout, self.exchange(body)).await;
        let (status, answer) = exchange
            .unwrap_or_else(|_| Err(ClientError::Timeout { url: self.url.shown.clone(), timeout: self.timeout }))?;
        let answer = String::from_utf8_lossy(&answer);
        if status != StatusCode::OK {
            return Err(ClientError::Http(status.as_u16(), first_line(&answer)));
        }
        match decode_response(&answer, &Limits::default()) {
            Ok(Ok(value)) => Ok(into_owned(value)),
            Ok(Err(Fault { code, text })) => Err(ClientError::Fault(code, text)),
            Err(error) => Err(ClientError::Decode(error.to_string())),
        }
    }

    async fn exchange(&self, body: String) -> Result<(StatusCode, Bytes), ClientError> {
        let failed = |error: io::Error| {
            let is_absent = matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
            ClientError::Connect { url: self.url.shown.clone(), cause: error.to_string(), is_absent }
        };
        match &self.url.way {
            Way::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
                    io::ErrorKind::PermissionDenied => self.unconnected(format!("{error}: {}", admission(path))),
                    _ => failed(error),
                })?;
                self.ask(stream, body).await
            }
            Way::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
                match tls {
                    false => self.ask(stream, body).await,
                    true => {
                        let shaken = shake_hands(host, stream).await;
                        let stream = shaken.map_err(|error| self.unconnected(tls_problem(&error, host)))?;
                        self.ask(stream, body).await
                    }
                }
            }
        }
    }

    /// No connection, although somebody listens.
    fn unconnected(&self, cause: String) -> ClientError {
        ClientError::Connect { url: self.url.shown.clone(), cause, is_absent: false }
    }

    async fn ask<S>(&self, stream: S, body: String) -> Result<(StatusCode, Bytes), ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |cause: String| ClientError::Broken { url: self.url.shown.clone(), cause };
        let (mut sender, mut connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.to_string()))?;
        let mut request = Request::post(&self.url.path)
            .header(header::HOST, &self.url.authority)
            .header(header::USER_AGENT, concat!("apnsd/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, "text/xml");
        if let Some(authorization) = &self.url.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| broken(error.to_string()))?;
        let answer = async move {
            let response = sender.send_request(request).await.map_err(|error| broken(error.to_string()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await.map_err(|error| broken(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        // The connection moves the bytes and ends with the answer; what ends it early, the answer tells too.
        let connection = async move {
            let _ = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
            connection.into_parts().read_buf
        };
        match join(answer, connection).await {
            (Err(_), unread) if unread.starts_with(&TLS_ALERT) => Err(self.unconnected(
                "TLS is spoken there, and the call was not carried out: write https:// in place of http://".to_owned(),
            )),
            (answer, _) => answer,
        }
    }
}

/// TLS with a daemon, whose certificate the system must trust.
async fn shake_hands(host: &str, stream: TcpStream) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(system_roots().map_err(io::Error::other)?)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// How the answer of a server begins that speaks TLS and was not spoken to in TLS (RFC 8446, 5.1).
const TLS_ALERT: [u8; 2] = [21, 3];

/// Why TLS does not stand, with what to do.
fn tls_problem(error: &io::Error, host: &str) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(problem)) => untrusted(problem, host),
        Some(rustls::Error::InvalidMessage(_)) => {
            "no TLS is spoken there, and the call was not carried out: write http:// in place of https://".to_owned()
        }
        Some(error) => format!("TLS failed: {error}"),
        None => format!("the connection ended while TLS was agreed on ({error}): is it http:// there?"),
    }
}

/// Why the daemon's certificate is not trusted, with what to do.
fn untrusted(problem: &CertificateError, host: &str) -> String {
    let problem = match problem {
        CertificateError::UnknownIssuer => {
            "is signed by an authority that is not trusted here: name a PEM file with that authority's certificate in \
             SSL_CERT_FILE"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "is not for the name `{host}`: write a name that it is for into the URL, or have it made for this one"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired: renew it, or correct this machine's clock".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: correct this machine's clock".to_owned()
        }
        // What webpki calls it; rustls has no name of its own for it.
        problem if problem.to_string().contains("CaUsedAsEndEntity") => {
            "is one of an authority (CA:TRUE), with which no server may show itself: make one with CA:FALSE, or have \
             your authority sign one"
                .to_owned()
        }
        problem => format!("cannot be trusted: {problem}"),
    };
    format!("the daemon's certificate {problem}")
}

/// Who may use a socket that this user may not.
fn admission(socket: &Path) -> String {
    let owner = std::fs::metadata(socket).ok().and_then(|found| uzers::get_group_by_gid(found.gid()));
    match owner {
        Some(group) => {
            let group = group.name().to_string_lossy().into_owned();
            format!("it is for the group `{group}`: `sudo usermod -aG {group} USER` lets a user in at the next login")
        }
        None => format!("`namei -l {}` shows which group is let in, and where", socket.display()),
    }
}

/// What an HTTP error says, short enough for a line.
fn first_line(text: &str) -> String {
    text.trim().lines().next().unwrap_or_default().chars().take(200).collect()
}

fn into_owned(value: Value<'_>) -> Value<'static> {
    match value {
        Value::Int(number) => Value::Int(number),
        Value::Boolean(truth) => Value::Boolean(truth),
        Value::Double(number) => Value::Double(number),
        Value::String(text) => Value::String(Cow::Owned(text.into_owned())),
        Value::DateTime(time) => Value::DateTime(time),
        Value::Base64(bytes) => Value::Base64(bytes),
        Value::Nil => Value::Nil,
        Value::Array(items) => Value::Array(items.into_iter().map(into_owned).collect()),
        Value::Struct(members) => {
            let owned =
                |(name, value): &(Cow<'_, str>, Value<'_>)| (Cow::Owned(name.to_string()), into_owned(value.clone()));
            Value::Struct(members.iter().map(owned).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const ANSWER: &str = "<?xml version='1.0'?>\n<methodResponse><params><param><value><array><data><value><int>7</int>\
        </value><value><string>ä</string></value></data></array></value></param></params></methodResponse>";

    /// Calls a server that takes one request and answers with these bytes; both sides' findings.
    async fn exchange(answer: String, timeout: Duration) -> (Result<Value<'static>, ClientError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("http://{}/RPC2", listener.local_addr().unwrap()), timeout).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let mut length = 0;
            while !request[..length].ends_with(b"</methodCall>\n") {
                length += stream.read(&mut request[length..]).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            // An empty answer stands for none at all: the stream stays open until the caller gives up.
            if answer.is_empty() {
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            }
            String::from_utf8(request[..length].to_vec()).unwrap()
        };
        join(client.call("apnsd.status", vec![Value::string("myapp")]), serve).await
    }

    fn http(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_call_is_one_post_and_its_answer_a_value() {
        let (result, request) = exchange(http("200 OK", ANSWER), LONG).await;
        assert_eq!(result, Ok(Value::Array(vec![Value::Int(7), Value::string("ä")])));
        assert!(request.starts_with("POST /RPC2 HTTP/1.1\r\nhost: 127.0.0.1:"), "{request}");
        assert!(request.contains("\r\ncontent-type: text/xml\r\n"), "{request}");
        assert!(request.contains("<methodName>apnsd.status</methodName>"), "{request}");
        assert!(request.contains("<value><string>myapp</string></value>"), "{request}");
    }

    #[tokio::test]
    async fn a_fault_keeps_its_code_and_text() {
        let fault = "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>404</int></value>\
            </member><member><name>faultString</name><value><string>unknown</string></value></member></struct></value>\
            </fault></methodResponse>";
        let (result, _) = exchange(http("200 OK", fault), LONG).await;
        assert_eq!(result, Err(ClientError::Fault(404, "unknown".to_owned())));
    }

    #[tokio::test]
    async fn answers_that_are_not_xml_rpc_are_told_apart() {
        let (result, _) = exchange(http("413 Payload Too Large", "too much\nof it"), LONG).await;
        assert_eq!(result, Err(ClientError::Http(413, "too much".to_owned())));
        let (result, _) = exchange(http("200 OK", "hello"), LONG).await;
        assert!(matches!(result, Err(ClientError::Decode(_))), "{result:?}");
        let (result, _) = exchange("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ncut".to_owned(), LONG).await;
        assert!(matches!(result, Err(ClientError::Broken { .. })), "{result:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_waited_for_as_long_as_was_said() {
        let (result, _) = exchange(String::new(), Duration::from_millis(1_500)).await;
        let error = result.unwrap_err().to_string();
        assert!(error.ends_with(" within 1.5 s; the call may have been carried out"), "{error}");
    }

    #[tokio::test]
    async fn nobody_listening_is_no_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let result = Client::new(&url, LONG).unwrap().call("x", Vec::new()).await;
        assert!(matches!(result, Err(ClientError::Connect { is_absent: true, .. })), "{result:?}");
        let result = Client::new("unix:/nonexistent/apnsd.sock", LONG).unwrap().call("x", Vec::new()).await;
        assert!(matches!(result, Err(ClientError::Connect { is_absent: true, .. })), "{result:?}");
    }

    #[tokio::test]
    async fn http_and_https_taken_for_each_other_are_told_apart_from_a_lost_answer() {
        let (result, _) = exchange("\u{15}\u{3}\u{3}\0\u{2}\u{2}\u{46}".to_owned(), LONG).await;
        let told = result.unwrap_err().to_string();
        let said = ": TLS is spoken there, and the call was not carried out: write https:// in place of http://";
        assert!(told.starts_with("cannot connect to http://127.0.0.1:") && told.ends_with(said), "{told}");

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&format!("https://{}", listener.local_addr().unwrap()), LONG).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        };
        let (result, ()) = join(client.call("apnsd.apps", Vec::new()), serve).await;
        let told = result.unwrap_err().to_string();
        let said = ": no TLS is spoken there, and the call was not carried out: write http:// in place of https://";
        assert!(told.ends_with(said), "{told}");
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_told_with_the_cure() {
        let told = |problem| untrusted(&problem, "push.example");
        assert_eq!(
            told(CertificateError::UnknownIssuer),
            "the daemon's certificate is signed by an authority that is not trusted here: name a PEM file with that \
             authority's certificate in SSL_CERT_FILE"
        );
        assert_eq!(
            told(CertificateError::NotValidForName),
            "the daemon's certificate is not for the name `push.example`: write a name that it is for into the URL, or \
             have it made for this one"
        );
    }

    #[test]
    fn a_call_that_changes_nothing_leaves_no_doubt() {
        let broken = ClientError::Broken { url: "http://h".into(), cause: "reset".into() };
        assert!(broken.to_string().ends_with("(reset); the call may have been carried out"));
        assert_eq!(broken.of_reading(), "the connection to http://h broke before the answer (reset)");
    }

    #[tokio::test]
    async fn user_and_token_go_along_and_stay_out_of_messages() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = Client::new(&format!("http://web:apnsd_secret@{address}/"), LONG).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        };
        let (result, request) = join(client.call("apnsd.apps", Vec::new()), serve).await;
        assert!(request.contains("\r\nauthorization: Basic d2ViOmFwbnNkX3NlY3JldA==\r\n"), "{request}");
        let told = result.unwrap_err().to_string();
        assert!(told.starts_with(&format!("the connection to http://{address}/ broke")), "{told}");
    }
}
