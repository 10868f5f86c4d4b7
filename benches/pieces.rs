//! The pieces that a notification passes, one by one: decode, JSON, record, commit, window, frame, request. Each works on
//! a call for 1,000 tokens, so that its time is nanoseconds a token in microseconds a piece.
//!
//! `cargo bench` measures time. `benches/instructions.sh` counts instructions, which a busy machine does not change: for
//! it, `PIECE=name` runs a piece `TIMES` times and nothing else.

#![expect(clippy::unwrap_used, reason = "a piece that fails is not measured")]
#![expect(clippy::print_stdout, reason = "names for the script")]

use std::hint::black_box;
use std::sync::Arc;

use apnsd::bench::bodies::{self, Shape};
use apnsd::clock::Clock;
use apnsd::domain::app::AppId;
use apnsd::domain::batch::{Batch, BatchId, Message, PushOptions, Span, Tries};
use apnsd::domain::time::Timestamp;
use apnsd::domain::token::Tokens;
use apnsd::gateway::binary::frame::encode_frame;
use apnsd::gateway::binary::pass_window;
use apnsd::gateway::http2::build_requests;
use apnsd::rpc::encode_json;

use apnsd::store::{Settings, Store, encode_record};
use apnsd::xmlrpc::decode::{Limits, decode_call};
use apnsd::xmlrpc::value::Value;
use bytes::BytesMut;
use criterion::{Criterion, Throughput};

/// The product's allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ROWS: usize = 1000;
/// Calls that are committed together.
const COMMITS: usize = 64;

/// A piece: its name, how many notifications it is for, and the work.
type Piece = (&'static str, usize, Box<dyn FnMut()>);

fn main() {
    let mut pieces = pieces();
    match std::env::var("PIECE") {
        Ok(name) if name.is_empty() => pieces.iter().for_each(|(name, ..)| println!("{name}")),
        Ok(name) => {
            let times: u32 = std::env::var("TIMES").unwrap_or_default().parse().unwrap_or(1);
            let (_, _, work) = pieces.iter_mut().find(|(known, ..)| *known == name).unwrap();
            (0..times).for_each(|_| work());
        }
        Err(_) => {
            let mut criterion = Criterion::default().configure_from_args();
            for (name, count, mut work) in pieces {
                let mut group = criterion.benchmark_group("pieces");
                group.throughput(Throughput::Elements(count as u64));
                group.bench_function(name, |bencher| bencher.iter(&mut work));
                group.finish();
            }
            criterion.final_summary();
        }
    }
}

fn pieces() -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (name, shape) in
        [("decode.equal", Shape::Equal), ("decode.broadcast", Shape::Broadcast), ("decode.distinct", Shape::Distinct)]
    {
        pieces.push((name, ROWS, decode(bodies::many("bench", ROWS, shape))));
    }
    pieces.push(("decode.single", 1, decode(bodies::single("bench"))));
    pieces.push(("json.distinct", ROWS, json()));
    let (broadcast, distinct) = (Arc::new(batch(false)), Arc::new(batch(true)));
    for (name, batch) in [("record.broadcast", &broadcast), ("record.distinct", &distinct)] {
        let batch = batch.clone();
        pieces.push((name, ROWS, Box::new(move || drop(black_box(encode_record(&batch))))));
    }
    let mut out = BytesMut::with_capacity(1 << 20);
    let frames = distinct.clone();
    let encode = move || {
        out.clear();
        (0..frames.rows()).for_each(|row| encode_frame(row, &frames.notification(row), &mut out));
        black_box(&out);
    };
    pieces.push(("frames", ROWS, Box::new(encode)));
    for (name, batch) in [("window.broadcast", &broadcast), ("window.distinct", &distinct)] {
        pieces.push((name, ROWS, window(batch.clone())));
    }
    for (name, batch) in [("requests.broadcast", broadcast), ("requests.distinct", distinct)] {
        let work = move || {
            black_box(build_requests(&batch, "127.0.0.1:2197".parse().unwrap(), "com.example.app"));
        };
        pieces.push((name, ROWS, Box::new(work)));
    }
    pieces.push(("commit", COMMITS, commit()));
    pieces
}

fn decode(call: String) -> Box<dyn FnMut()> {
    let limits = Limits::default();
    Box::new(move || drop(black_box(decode_call(&call, &limits).unwrap())))
}

fn json() -> Box<dyn FnMut()> {
    let call = bodies::many("bench", ROWS, Shape::Distinct);
    Box::new(move || {
        // Values borrow from the call; decoding is measured beside this, and is to be taken off.
        let decoded = decode_call(&call, &Limits::default()).unwrap();
        let Some(Value::Array(notifications)) = decoded.params.get(2) else { unreachable!("a call of pairs") };
        notifications.iter().for_each(|notification| drop(black_box(encode_json(notification).unwrap())));
    })
}

fn window(batch: Arc<Batch>) -> Box<dyn FnMut()> {
    let mut out = BytesMut::with_capacity(1 << 20);
    Box::new(move || {
        let span = Span { id: BatchId(1), batch: batch.clone(), rows: 0..ROWS as u32, tries: Tries::default() };
        assert_eq!(pass_window(span, &mut out), (ROWS * bodies::FRAME, ROWS));
    })
}

/// Calls for one token each that arrive at once, durable.
fn commit() -> Box<dyn FnMut()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir_in(".").unwrap();
    let settings = Settings { dir: dir.path().join("state"), ..Settings::default() };
    let store = runtime.block_on(async { Store::open(&settings, Clock::system()).unwrap() });
    let (app, single) = (AppId::parse("bench").unwrap(), Arc::new(rows(1, false)));
    Box::new(move || {
        let _dir = &dir;
        let commits = (0..COMMITS).map(|_| store.commit(&app, &single, None));
        runtime.block_on(futures_util::future::try_join_all(commits)).unwrap();
    })
}

fn batch(is_distinct: bool) -> Batch {
    rows(ROWS, is_distinct)
}

fn rows(count: usize, is_distinct: bool) -> Batch {
    let mut tokens = Tokens::with_capacity(count);
    (0..count).for_each(|number| tokens.push(&bodies::token_bytes(number)));
    let message = |number: usize| Message {
        payload: bodies::payload(number).into_bytes().into(),
        options: PushOptions { expiration: Some(u32::MAX), ..PushOptions::default() },
    };
    let at = Timestamp::from_secs(1_900_000_000);
    match is_distinct {
        false => Batch::broadcast(at, tokens, message(0)),
        true => Batch::paired(at, tokens, (0..count).map(message).collect(), (0..count as u32).collect()).unwrap(),
    }
}
