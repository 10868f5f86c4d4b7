//! Bodies as they arrive, with paused time.

use std::convert::Infallible;
use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream::{self, StreamExt};

use super::*;

const BODY_MAX: usize = 1024 * 1024;

fn intake(bodies_max: usize) -> Intake {
    Intake::new(&Settings { body_max: BODY_MAX, bodies_max, ..Settings::default() })
}

fn encoded(encoding: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
    headers
}

/// A body without a declared length, in chunks of 1,000 bytes.
fn chunked(bytes: Vec<u8>) -> Body {
    let chunks: Vec<_> = bytes.chunks(1000).map(|chunk| Ok::<_, Infallible>(chunk.to_vec())).collect();
    Body::from_stream(stream::iter(chunks))
}

/// A body that never ends.
fn stalled(bytes: Vec<u8>) -> Body {
    let first = stream::iter([Ok::<_, Infallible>(bytes)]);
    Body::from_stream(first.chain(stream::pending()))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn receive(headers: HeaderMap, body: impl Into<Body>) -> Result<Vec<u8>, Refusal> {
    let received = intake(0).receive(&headers, body.into(), None, None).await?;
    Ok(received.plain()?.bytes.to_vec())
}

#[tokio::test]
async fn bodies_arrive_as_they_were_sent() {
    for length in [0, 1, 1000, SMALL, SMALL + 1, BODY_MAX] {
        let bytes: Vec<u8> = (0..length).map(|index| index as u8).collect();
        assert_eq!(receive(HeaderMap::new(), bytes.clone()).await.as_ref(), Ok(&bytes));
        assert_eq!(receive(HeaderMap::new(), chunked(bytes.clone())).await.as_ref(), Ok(&bytes));
        assert_eq!(receive(encoded("gzip"), gzip(&bytes)).await.as_ref(), Ok(&bytes));
        assert_eq!(receive(encoded("X-GZIP"), chunked(gzip(&bytes))).await.as_ref(), Ok(&bytes));
    }
}

#[tokio::test]
async fn a_compressed_body_may_have_several_members() {
    let body = [gzip(b"one"), gzip(b""), gzip(b"two")].concat();
    assert_eq!(receive(encoded("identity, gzip"), body).await.as_deref(), Ok(&b"onetwo"[..]));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_comes() {
    let over = vec![b'x'; BODY_MAX + 1];
    assert_eq!(receive(HeaderMap::new(), over.clone()).await, Err(Refusal::TooLarge));
    assert_eq!(receive(HeaderMap::new(), chunked(over.clone())).await, Err(Refusal::TooLarge));
    assert_eq!(receive(encoded("gzip"), gzip(&over)).await, Err(Refusal::TooLarge));
    let bomb = gzip(&vec![0; 200 * BODY_MAX]);
    assert!(bomb.len() < SMALL, "{}", bomb.len());
    assert_eq!(receive(encoded("gzip"), bomb).await, Err(Refusal::TooLarge));
}

#[tokio::test]
async fn decompression_stops_at_the_limit_and_never_sees_what_is_behind() {
    let damaged_behind = [gzip(&vec![0; BODY_MAX + 1]), b"junk".to_vec()].concat();
    assert_eq!(receive(encoded("gzip"), damaged_behind).await, Err(Refusal::TooLarge));
}

#[tokio::test]
async fn a_small_limit_holds_too() {
    let small = Intake::new(&Settings { body_max: 10, ..Settings::default() });
    let refused = |headers, body: Body| {
        let small = &small;
        async move { small.receive(&headers, body, None, None).await.map(|received| received.bytes).unwrap_err() }
    };
    assert_eq!(refused(HeaderMap::new(), vec![b'x'; 11].into()).await, Refusal::TooLarge);
    assert_eq!(refused(HeaderMap::new(), chunked(vec![b'x'; 11])).await, Refusal::TooLarge);
    assert_eq!(refused(encoded("gzip"), chunked(gzip(&[b'x'; 11]))).await, Refusal::TooLarge);
    assert!(small.receive(&HeaderMap::new(), chunked(vec![b'x'; 10]), None, None).await.is_ok());
}

#[tokio::test]
async fn damaged_and_unknown_encodings_are_told() {
    let mut damaged = gzip(&[b'x'; 1000]);
    damaged.truncate(damaged.len() - 4);
    assert!(matches!(receive(encoded("gzip"), damaged).await, Err(Refusal::Damaged(_))));
    assert!(matches!(receive(encoded("gzip"), "plain").await, Err(Refusal::Damaged(_))));
    assert_eq!(receive(encoded("br"), "x").await, Err(Refusal::Encoding("br".to_owned())));
    assert_eq!(receive(encoded("gzip, gzip"), "x").await, Err(Refusal::Encoding("gzip, gzip".to_owned())));
    assert_eq!(receive(encoded("identity"), "x").await.as_deref(), Ok(&b"x"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_in_time_is_given_up() {
    assert_eq!(receive(HeaderMap::new(), stalled(b"<?xml".to_vec())).await, Err(Refusal::TooSlow));
    assert_eq!(receive(HeaderMap::new(), stalled(vec![b'x'; SMALL + 1])).await, Err(Refusal::TooSlow));
}

#[tokio::test(start_paused = true)]
async fn large_bodies_share_their_room_and_small_ones_never_wait() {
    let intake = intake(2 * BODY_MAX);
    let large = || Body::from(vec![b'x'; BODY_MAX]);
    let first = intake.receive(&HeaderMap::new(), large(), None, None).await.unwrap();
    let second = intake.receive(&HeaderMap::new(), large(), None, None).await.unwrap();
    assert!(intake.receive(&HeaderMap::new(), Body::from(vec![b'x'; SMALL]), None, None).await.is_ok());
    assert!(intake.receive(&HeaderMap::new(), chunked(vec![b'x'; SMALL]), None, None).await.is_ok());
    assert!(intake.receive(&encoded("gzip"), Body::from(gzip(&[b'x'; SMALL])), None, None).await.is_ok());

    assert_eq!(intake.receive(&HeaderMap::new(), large(), None, None).await.unwrap_err(), Refusal::Busy);
    let compressed = Body::from(gzip(&[b'x'; SMALL + 1]));
    assert_eq!(intake.receive(&encoded("gzip"), compressed, None, None).await.unwrap_err(), Refusal::Busy);

    let headers = HeaderMap::new();
    let (third, ()) = tokio::join!(intake.receive(&headers, large(), None, None), async {
        sleep(Duration::from_secs(30)).await;
        drop((first, second));
    });
    assert!(third.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_body_of_known_length_takes_no_more_room_than_that() {
    let intake = intake(2 * BODY_MAX);
    let mut kept = Vec::new();
    for _ in 0..7 {
        kept.push(intake.receive(&HeaderMap::new(), Body::from(vec![b'x'; SMALL + 1]), None, None).await.unwrap());
    }
    let unknown = intake.receive(&HeaderMap::new(), chunked(vec![b'x'; SMALL + 1]), None, None).await;
    assert_eq!(unknown.unwrap_err(), Refusal::Busy);
}

#[tokio::test(start_paused = true)]
async fn compressed_bodies_at_once_do_not_wait_for_each_other() {
    let intake = intake(0);
    let noise: Vec<u8> = (0..BODY_MAX as u32 / 8).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let body = gzip(&noise);
    assert!(body.len() > SMALL, "{}", body.len());
    let headers = encoded("gzip");
    let receive = || async {
        let received = intake.receive(&headers, chunked(body.clone()), None, None).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        received.plain().unwrap().bytes.len()
    };
    let lengths = tokio::join!(receive(), receive(), receive(), receive());
    assert_eq!(<[usize; 4]>::from(lengths), [BODY_MAX / 2; 4]);
}

/// A body of so many bytes that comes in parts of 64 KiB, with so much time between two of them.
fn dripping(length: usize, pause: Duration) -> Body {
    let parts = stream::iter(0..length.div_ceil(65_536)).then(move |_| async move {
        sleep(pause).await;
        Ok::<_, Infallible>(vec![b'x'; 65_536])
    });
    Body::from_stream(parts)
}

#[tokio::test(start_paused = true)]
async fn a_body_has_time_between_two_parts_and_as_a_whole_according_to_what_it_brings() {
    let large = Intake::new(&Settings::default());
    let receive = async |length, pause| {
        let received = large.receive(&HeaderMap::new(), dripping(length, pause), None, None).await;
        received.map(|received| received.bytes.len())
    };
    // 64 MiB in 1,024 parts at 5 Mbit/s.
    assert_eq!(receive(64 << 20, Duration::from_millis(105)).await, Ok(64 << 20));
    assert_eq!(receive(1 << 20, Duration::from_secs(3)).await, Ok(1 << 20));
    assert_eq!(receive(64 << 20, Duration::from_secs(5)).await, Err(Refusal::TooSlow), "13 KiB a second");
    assert_eq!(receive(128 << 10, Duration::from_secs(61)).await, Err(Refusal::TooSlow), "a part a minute");
}
