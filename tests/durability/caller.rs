//! Callers of `notify` over HTTP/1.1 on a connection that is kept, as the old clients keep it.

use std::net::SocketAddr;

use apnsd::xmlrpc::decode::{Limits, decode_response};
use apnsd::xmlrpc::encode::encode_call;
use apnsd::xmlrpc::value::{Fault, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::ledger::Row;
use crate::site::PATIENCE;

/// How a call ended for its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// "OK": from here on it is the daemon's.
    Accepted,
    /// The daemon refused it.
    Refused(Fault),
    /// The connection could not be had, or broke: nobody knows.
    None,
}

/// What the notifications of a call say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One token, one notification with its number.
    Single,
    /// As many notifications as tokens, each with its number and so many bytes of ballast.
    Paired(usize),
    /// One notification for all.
    Broadcast,
}

/// One caller and its connection.
#[derive(Debug)]
pub(crate) struct Caller {
    address: SocketAddr,
    connection: Option<TcpStream>,
}

impl Caller {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// `notify` with these rows.
    pub(crate) async fn notify(&mut self, app: &str, rows: &[Row], form: Form) -> Answer {
        let tokens = || rows.iter().map(|row| Value::string(row.token()));
        let (tokens, notifications) = match form {
            Form::Single => (tokens().next().unwrap(), alert(rows[0].text(0))),
            Form::Paired(ballast) => {
                let alerts = rows.iter().map(|row| alert(row.text(ballast))).collect();
                (Value::Array(tokens().collect()), Value::Array(alerts))
            }
            Form::Broadcast => (Value::Array(tokens().collect()), alert("to all".to_owned())),
        };
        self.call("notify", &[Value::string(app), tokens, notifications]).await
    }

    async fn call(&mut self, method: &str, params: &[Value<'_>]) -> Answer {
        let body = encode_call(method, params);
        let exchange = tokio::time::timeout(PATIENCE, self.exchange(&body));
        let answer = exchange.await.unwrap_or_else(|_| panic!("no answer to {method} for {PATIENCE:?}"));
        let Ok(text) = answer else {
            self.connection = None;
            return Answer::None;
        };
        match decode_response(&text, &Limits::default()).expect("an answer is XML-RPC") {
            Ok(_) => Answer::Accepted,
            Err(fault) => Answer::Refused(fault),
        }
    }

    async fn exchange(&mut self, body: &str) -> std::io::Result<String> {
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.address).await?,
        };
        stream.set_nodelay(true)?;
        let head = format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n", self.address, body.len());
        stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
        let mut answer = Vec::new();
        loop {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some((body, close)) = whole_body(&answer) {
                self.connection = (!close).then_some(stream);
                return Ok(body);
            }
        }
    }
}

/// The body of an answer that is complete, and whether the connection ends with it.
fn whole_body(answer: &[u8]) -> Option<(String, bool)> {
    let text = str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    (body.len() == length.parse::<usize>().unwrap()).then(|| (body.to_owned(), head.contains("connection: close")))
}

fn alert(text: String) -> Value<'static> {
    let aps = Value::structure(vec![("alert".into(), Value::string(text))]);
    Value::structure(vec![("aps".into(), aps)])
}
