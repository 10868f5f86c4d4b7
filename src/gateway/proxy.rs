//! Tunnels through an HTTP proxy (RFC 9110, 9.3.6): `CONNECT`, and whatever follows the answer's head is the gateway's.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::domain::app::Address;
use crate::domain::proxy::Proxy;

/// Longest head of an answer, in bytes.
const HEAD_MAX: usize = 8 * 1024;

/// Why a proxy opened no tunnel.
#[derive(Debug, Error)]
pub(super) enum ProxyError {
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("it closed the connection without an answer")]
    Closed,
    #[error("the head of its answer has more than {HEAD_MAX} bytes")]
    TooLong,
    #[error("its answer is not HTTP: is it an HTTP proxy?")]
    NotHttp,
    #[error(
        "it wants to know who asks (407): write user and password into its address, as in \
         `http://user:password@proxy.example:3128`"
    )]
    WantsUser,
    #[error("it does not know this user or password (407): correct them in its address")]
    WrongUser,
    #[error("it answered `{0}`: allow CONNECT to this host and port there")]
    Refused(String),
}

/// Has a proxy connect to an address. Reads no byte beyond the head of the answer.
pub(super) async fn open_tunnel(tcp: &mut TcpStream, proxy: &Proxy, to: &Address) -> Result<(), ProxyError> {
    tcp.write_all(request(proxy, to).as_bytes()).await?;
    let head = read_head(tcp).await?;
    let line = String::from_utf8_lossy(&head);
    let line = line.lines().next().unwrap_or_default();
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse::<u16>().ok());
    match status {
        Some(200..300) => Ok(()),
        Some(407) if proxy.user.is_none() => Err(ProxyError::WantsUser),
        Some(407) => Err(ProxyError::WrongUser),
        Some(_) => Err(ProxyError::Refused(line.chars().filter(|c| !c.is_control()).take(100).collect())),
        None => Err(ProxyError::NotHttp),
    }
}

fn request(proxy: &Proxy, to: &Address) -> String {
    let host = if to.host.contains(':') { format!("[{}]", to.host) } else { to.host.clone() };
    let authority = format!("{host}:{}", to.port);
    let user = proxy.user.as_deref().map(|user| STANDARD.encode(decoded(user)));
    let user = user.map(|user| format!("Proxy-Authorization: Basic {user}\r\n")).unwrap_or_default();
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{user}\r\n")
}

/// Without the escapes that an address needs where a password has special characters (RFC 3986, 2.1).
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let escaped = digit(0).zip(digit(1)).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
        match (first, escaped) {
            (b'%', Some(byte)) => (bytes.push(byte), rest = &after[2..]),
            _ => (bytes.push(*first), rest = after),
        };
    }
    bytes
}

/// Looks at what is there before it takes it, so that what follows the head stays in the connection.
async fn read_head(tcp: &mut TcpStream) -> Result<Vec<u8>, ProxyError> {
    const END: &[u8] = b"\r\n\r\n";
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let there = tcp.peek(&mut buffer).await?;
        if there == 0 {
            return Err(ProxyError::Closed);
        }
        let before = head.len();
        head.extend_from_slice(&buffer[..there]);
        let end = memmem::find(&head, END).map(|at| at + END.len());
        head.truncate(end.unwrap_or(head.len()));
        tcp.read_exact(&mut buffer[..head.len() - before]).await?;
        match end {
            Some(_) => return Ok(head),
            None if head.len() > HEAD_MAX => return Err(ProxyError::TooLong),
            None => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What a proxy that gives these pieces one by one is asked, and what comes of it. Each piece is read before the
    /// next is sent only as far as the kernel wants it so.
    async fn ask(proxy: &str, pieces: &[&[u8]]) -> (String, Result<(), String>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        let (proxy, to) = (Proxy::parse(proxy).unwrap(), Address::parse("https://[::1]:2197").unwrap());
        let answer = async {
            let asked = read_head(&mut peer).await.unwrap();
            for piece in pieces {
                peer.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            peer.shutdown().await.unwrap();
            String::from_utf8(asked).unwrap()
        };
        let (opened, asked) = tokio::join!(open_tunnel(&mut tcp, &proxy, &to), answer);
        let mut rest = Vec::new();
        if opened.is_ok() {
            tcp.read_to_end(&mut rest).await.unwrap();
        }
        (asked, opened.map_err(|error| error.to_string()), rest)
    }

    #[tokio::test]
    async fn the_gateway_is_asked_for_and_nothing_of_what_it_says_is_lost() {
        let answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n\x16\x03\x03hello";
        for cut in 0..answer.len() {
            let (first, second) = answer.split_at(cut);
            let pieces: Vec<&[u8]> = [first, second].into_iter().filter(|piece| !piece.is_empty()).collect();
            let (asked, opened, rest) = ask("http://127.0.0.1:3128", &pieces).await;
            assert_eq!(asked, "CONNECT [::1]:2197 HTTP/1.1\r\nHost: [::1]:2197\r\n\r\n");
            assert_eq!((opened, &rest[..]), (Ok(()), &b"\x16\x03\x03hello"[..]), "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_user_is_told_in_its_header() {
        let answer: &[&[u8]] = &[b"HTTP/1.0 200 OK\r\n\r\n"];
        // printf 'me:s@c:r%t' | base64
        for user in ["me:s@c:r%t", "me:s%40c:r%t"] {
            let (asked, opened, _) = ask(&format!("http://{user}@127.0.0.1:3128"), answer).await;
            assert!(asked.ends_with("\r\nProxy-Authorization: Basic bWU6c0BjOnIldA==\r\n\r\n"), "{asked}");
            assert_eq!(opened, Ok(()));
        }
    }

    #[tokio::test]
    async fn a_proxy_that_opens_no_tunnel_says_why() {
        let long = [&b"HTTP/1.1 200 OK\r\nX: "[..], &[b'x'; HEAD_MAX]].concat();
        let wants = "it wants to know who asks (407): write user and password into its address, as in \
            `http://user:password@proxy.example:3128`";
        for (answer, expected) in [
            (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], wants),
            (
                b"HTTP/1.1 403 Forb\x1bidden\r\n\r\n",
                "it answered `HTTP/1.1 403 Forbidden`: allow CONNECT to this host and port there",
            ),
            (b"", "it closed the connection without an answer"),
            (b"HTTP/1.1 200 OK\r\n", "it closed the connection without an answer"),
            (b"\x15\x03\x03\r\n\r\n", "its answer is not HTTP: is it an HTTP proxy?"),
            (&long, "the head of its answer has more than 8192 bytes"),
        ] {
            let (_, opened, _) = ask("http://127.0.0.1:3128", &[answer]).await;
            assert_eq!(opened, Err(expected.to_owned()));
        }
        let (_, opened, _) = ask("http://me:x@127.0.0.1:3128", &[b"HTTP/1.1 407 No\r\n\r\n"]).await;
        assert_eq!(opened, Err("it does not know this user or password (407): correct them in its address".to_owned()));
    }
}
