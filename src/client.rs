//! The XML-RPC client behind the command line: one HTTP connection a call, plain HTTP only.
//!
//! Knows nothing of what the methods mean.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

use crate::xmlrpc::decode::{Limits, decode_response};
use crate::xmlrpc::encode::encode_call;
use crate::xmlrpc::value::{Fault, Value};

/// Calls one daemon.
#[derive(Clone, Debug)]
pub struct Client {
    /// As it was given, for messages.
    url: String,
    host: String,
    port: u16,
    path: String,
    timeout: Duration,
}

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// Not a URL that can be called.
    #[error("`{0}` is not the URL of a daemon: write http://HOST:PORT, as in http://127.0.0.1:7077")]
    Url(String),
    /// No connection; nothing was sent.
    #[error("cannot connect to {url}: {cause}")]
    Connect {
        /// Where.
        url: String,
        /// The operating system's word.
        cause: String,
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

fn seconds(span: &Duration) -> String {
    format!("{} s", span.as_secs_f64())
}

/// Most bytes of an answer: a million entries of feedback.
const ANSWER_BYTES_MAX: usize = 256 << 20;

impl Client {
    /// A client for the daemon at `http://HOST[:PORT][/PATH]`; a call may take as long as `timeout`, from name look-up
    /// to the last byte of the answer.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, ClientError> {
        let refused = || ClientError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| refused())?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(refused)?;
        if uri.scheme_str() != Some("http") || authority.host().is_empty() {
            return Err(refused());
        }
        Ok(Self {
            url: url.to_owned(),
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(80),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            timeout,
        })
    }

    /// Calls a method and waits for its result.
    pub async fn call(&self, method: &str, params: Vec<Value<'_>>) -> Result<Value<'static>, ClientError> {
        let body = encode_call(method, &params);
        let exchange = tokio::time::timeout(self.timeout, self.exchange(body)).await;
        let (status, answer) =
            exchange.unwrap_or_else(|_| Err(ClientError::Timeout { url: self.url.clone(), timeout: self.timeout }))?;
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
        // An address of version 6 has brackets in a URL, and none where it is looked up.
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let connect = |error: std::io::Error| ClientError::Connect { url: self.url.clone(), cause: error.to_string() };
        let stream = TcpStream::connect((host, self.port)).await.map_err(connect)?;
        let broken = |cause: String| ClientError::Broken { url: self.url.clone(), cause };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.to_string()))?;
        let request = Request::post(&self.path)
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::USER_AGENT, concat!("apnsd/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, "text/xml")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(error.to_string()))?;
        let answer = async move {
            let response = sender.send_request(request).await.map_err(|error| broken(error.to_string()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await.map_err(|error| broken(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        // The connection moves the bytes and ends with the answer; what ends it early, the answer tells too.
        let (answer, _) = join(answer, connection).await;
        answer
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
        Value::Struct(members) => Value::Struct(
            members.into_iter().map(|(name, value)| (Cow::Owned(name.into_owned()), into_owned(value))).collect(),
        ),
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
        assert!(matches!(result, Err(ClientError::Connect { .. })), "{result:?}");
    }

    #[test]
    fn only_plain_http_urls_can_be_called() {
        for url in ["http://127.0.0.1:7077", "http://localhost/RPC2", "http://[::1]:7077/"] {
            assert!(Client::new(url, LONG).is_ok(), "{url}");
        }
        for url in ["", "127.0.0.1:7077", "https://localhost", "http://", "http://user:secret@localhost", "/RPC2"] {
            assert!(matches!(Client::new(url, LONG), Err(ClientError::Url(_))), "{url}");
        }
    }
}
