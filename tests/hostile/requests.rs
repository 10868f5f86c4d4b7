//! Requests that are none, or two at once, or never end.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::site::{PATIENCE, Site, call, framed, post};

const NO_SUCH: &str = "fault 8001: procedure nosuch not found";

/// A body that is a call.
fn body() -> String {
    call("nosuch")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_length_and_it_is_right() {
    let site = Site::start("").await;
    let length = |value: &str| framed(&format!("Content-Length: {value}\r\n"), body());
    let twice =
        |second: usize| framed(&format!("Content-Length: {0}\r\nContent-Length: {second}\r\n", body().len()), body());
    let both = framed("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n");
    let early = "fault 8002: Can't deserialize input: unclosed token: line 1, column 0";
    site.tells(&[
        ("a length that is too small", length("10"), early),
        ("two lengths", twice(10), "400"),
        ("one length twice", twice(body().len()), NO_SUCH),
        ("a list of lengths", length("10, 10"), "400"),
        ("a negative length", length("-1"), "400"),
        ("a length with a sign", length("+5"), "400"),
        ("a length in hex", length("0x10"), "400"),
        ("a length in two words", length("1 0"), "400"),
        ("no number", length(""), "400"),
        ("a length beyond 2^64", length("99999999999999999999999"), "400"),
        ("the length 2^64 - 1", length("18446744073709551615"), "431"),
        ("a length of more than may come", length("1048577"), "413: The body is over the limit (limits.body)"),
        ("a length and chunks", both, "400: a request has either Content-Length or Transfer-Encoding, not both"),
        ("a space before the colon", framed("Content-Length : 5\r\n", "12345"), "400"),
        ("a header that goes on in the next line", framed("X: a\r\n b\r\n", ""), "400"),
    ])
    .await;
    let half = site.told(&site.address(), &framed("Content-Length: 1000\r\n", body()), true).await;
    assert_eq!(half, "400: The body ended early, or its chunks are malformed.");
    site.serves("a caller that left amid its body").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_well_formed_and_the_only_coding() {
    let site = Site::start("").await;
    let coded = |coding: &str| framed(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n");
    let chunked = |chunks: &str| framed("Transfer-Encoding: chunked\r\n", chunks);
    let malformed = "400: The body ended early, or its chunks are malformed.";
    let alone = "400: Transfer-Encoding has to be `chunked` alone, or left out";
    site.tells(&[
        ("gzip alone", coded("gzip"), "400"),
        ("chunks within gzip", coded("chunked, gzip"), "400"),
        ("gzip within chunks", coded("gzip, chunked"), alone),
        ("chunks within chunks", coded("chunked, chunked"), alone),
        ("something like chunks", coded("xchunked"), "400"),
        ("no coding", coded("identity"), "400"),
        ("chunks in HTTP/1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(), "400"),
        ("a size that is no number", chunked("zz\r\n"), malformed),
        ("a negative size", chunked("-1\r\n"), malformed),
        ("a size beyond 2^64", chunked("FFFFFFFFFFFFFFFFF\r\n"), malformed),
        ("no size", chunked("\r\n"), malformed),
        ("a chunk that is longer than its size", chunked("5\r\nabcdeXX"), malformed),
        ("a long extension", chunked(&format!("5;{}\r\n", "x".repeat(20_000))), malformed),
        ("5,000 trailers", chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(5_000))), malformed),
        ("more than may come", chunked(&format!("100001\r\n{}\r\n0\r\n\r\n", "x".repeat(0x0010_0001))), "413: "),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_bounded_and_well_formed() {
    let site = Site::start("").await;
    let good = format!("Content-Length: {}\r\n", body().len());
    site.tells(&[
        ("98 headers", framed(&("X: y\r\n".repeat(98) + &good), body()), NO_SUCH),
        ("200 headers", framed(&"X: y\r\n".repeat(200), ""), "431"),
        ("a long header", framed(&format!("X: {}\r\n", "y".repeat(20_000)), ""), "431"),
        ("a header without an end", format!("POST / HTTP/1.1\r\nX: {}", "y".repeat(2_000_000)).into_bytes(), "431"),
        ("a long target", format!("POST /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000)).into_bytes(), "431"),
        ("a NUL in a value", framed("X: a\0b\r\n", ""), "400"),
        ("a NUL in a name", framed("X\0: a\r\n", ""), "400"),
        ("a NUL in the target", b"POST /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), "400"),
        ("half a line end", framed("X: a\rb\r\n", ""), "400"),
        ("two hosts", framed(&format!("Host: evil.example\r\n{good}"), body()), "400: a request names one Host"),
        ("a promise that nobody knows", framed(&format!("Expect: 200-ok\r\n{good}"), body()), NO_SUCH),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_1_is_refused() {
    let site = Site::start("").await;
    let absolute = format!(
        "POST http://evil.example/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}",
        body().len(),
        body()
    );
    let hello = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[7; 500]].concat();
    let text = "405: This is apnsd, a push-notification daemon. Calls are XML-RPC in HTTP POST requests, on any path.";
    site.tells(&[
        ("a target for proxies is a path here", absolute.into_bytes(), NO_SUCH),
        ("CONNECT", b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), text),
        (
            "TRACE shows nobody his headers",
            b"TRACE / HTTP/1.1\r\nConnection: close\r\nCookie: x\r\n\r\n".to_vec(),
            "405",
        ),
        ("HTTP/0.9", b"GET /\r\n".to_vec(), "400"),
        ("HTTP/2 with prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), "closed"),
        ("HTTP/2 by name", b"POST / HTTP/2.0\r\nHost: localhost\r\n\r\n".to_vec(), "400"),
        ("TLS on a plain port", hello, "400"),
        ("noise", (0..3_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect(), "400"),
    ])
    .await;
    let plain = site.told(&site.tls_address(), &post("", body()), false).await;
    assert_eq!(plain, "closed");
    site.serves("plain HTTP on a port with TLS").await;
    for part in ["", "POST / HT", "\r\n\r\n\r\n"] {
        assert_eq!(site.told(&site.address(), part.as_bytes(), true).await, "closed");
        site.serves("a caller that said nothing and left").await;
    }
    assert_eq!(site.told(&site.address(), &post("", body()), true).await, NO_SUCH, "half closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_is_of_one_kind_and_its_bombs_do_not_go_off() {
    let site = Site::start("").await;
    let zipped = |bytes: Vec<u8>| post("Content-Encoding: gzip\r\n", bytes);
    let member = gzip(&vec![b' '; 64 << 20]);
    // As many as a body can hold: nearly a GiB.
    let bomb = member.repeat((1 << 20) / member.len());
    let mut cut = gzip(body().as_bytes());
    cut.truncate(cut.len() - 5);
    let over = "413: The body is over the limit (limits.body): send fewer notifications in one call.";
    let twice = post("Content-Encoding: gzip, gzip\r\n", gzip(&gzip(body().as_bytes())));
    site.tells(&[
        ("a bomb", zipped(member), over),
        ("a bomb of several members", zipped(bomb), over),
        ("40,000 members", zipped(gzip(b" ").repeat(40_000)), "fault 8002: Can't deserialize input: no element found"),
        ("gzip that was cut off", zipped(cut), "400: The body is not valid gzip: unexpected end of file."),
        ("gzip in gzip", twice, "415: Content-Encoding gzip, gzip is not supported: send gzip, or none."),
        ("a body that is too large", post("", vec![b'x'; 1_100_000]), over),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_too_slow_is_told_or_closed() {
    let site = Site::start("http.header_timeout = \"500ms\"\nhttp.body_timeout = \"500ms\"\n").await;
    let late = "408: The body did not arrive in time (http.body_timeout).";
    site.tells(&[
        ("a head that does not end", b"POST / HTTP/1.1\r\nHo".to_vec(), "closed"),
        ("a body that does not end", framed("Content-Length: 1000\r\n", body()), late),
        ("a chunk of 2^64 - 1 bytes", framed("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFF\r\n"), late),
        ("nothing after 100 Continue", framed("Expect: 100-continue\r\nContent-Length: 9\r\n", ""), late),
    ])
    .await;
    let hello = site.told(&site.tls_address(), b"\x16\x03\x01\x02\x00\x01", false).await;
    assert_eq!(hello, "closed", "half a TLS hello");
    site.serves("half a TLS hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_requests_on_one_connection_is_answered_in_order_or_waits() {
    let site = Site::start("").await;
    let requests: Vec<u8> = (0..1_000).flat_map(|_| post("", body())).collect();
    let (mut reader, mut writer) = TcpStream::connect(site.address()).await.unwrap().into_split();
    let send = async {
        writer.write_all(&requests).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut answers = String::new();
    let both = futures_util::future::join(send, reader.read_to_string(&mut answers));
    timeout(PATIENCE, both).await.unwrap().1.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 1_000);

    // Who takes none of the answers is not read from any more: the rest of this cannot be sent.
    let mut deaf = TcpStream::connect(site.address()).await.unwrap();
    let endless = async {
        loop {
            deaf.write_all(&requests).await.unwrap();
        }
    };
    let good = async {
        for _ in 0..20 {
            site.serves("a caller that sends without end and takes no answer").await;
        }
    };
    tokio::select! {
        () = endless => (),
        () = good => (),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_behind_a_request_that_others_may_read_otherwise() {
    let site = Site::start("").await;
    let chunks = format!("{:x}\r\n{}\r\n0\r\n\r\n", body().len(), body());
    let chunked = framed("Transfer-Encoding: chunked\r\n", &chunks);
    let both = framed("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", &chunks);
    let served = async |parts: &[&[u8]]| {
        let mut stream = TcpStream::connect(site.address()).await.unwrap();
        for part in parts {
            stream.write_all(part).await.unwrap();
        }
        stream.shutdown().await.unwrap();
        let mut answers = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answers)).await.unwrap().unwrap();
        String::from_utf8(answers).unwrap().matches("HTTP/1.1 200 OK").count()
    };
    let good = post("", body());
    assert_eq!(served(&[&[&good[..], &good, &good].concat()]).await, 3);
    assert_eq!(
        served(&[&[&good[..], &both, &good].concat()]).await,
        2,
        "the HTTP layer hides the length of the second"
    );
    assert_eq!(served(&[&[&good[..], &chunked, &good].concat()]).await, 2, "as if it had one");
    assert_eq!(served(&[&[&chunked[..], &good].concat()]).await, 2, "the head of the first was seen");
    site.serves("requests behind each other").await;
}
