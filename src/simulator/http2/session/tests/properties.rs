//! What holds for every client.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Something that a client may do, as bytes; the stream is chosen when it is sent.
#[derive(Clone, Debug)]
enum Act {
    Request { fields: Vec<(String, String)>, indexed: bool, cuts: usize, padding: u8, body: Vec<Vec<u8>>, reset: bool },
    Ping([u8; 8]),
    GoAway(Vec<u8>),
    Window(u32),
    Unknown(u8, Vec<u8>),
}

fn act() -> impl Strategy<Value = Act> {
    let fields = vec(("[a-z][a-z-]{0,12}", "[!-~]{0,40}"), 0..5);
    let bodies = vec(vec(any::<u8>(), 0..50), 1..4);
    let request = (fields, any::<bool>(), 0..4_usize, 0..9_u8, bodies, any::<bool>());
    prop_oneof![
        4 => request.prop_map(|(fields, indexed, cuts, padding, body, reset)| {
            let fields = fields.into_iter().map(|(name, value)| (format!("x-{name}"), value)).collect();
            Act::Request { fields, indexed, cuts, padding, body, reset }
        }),
        1 => any::<[u8; 8]>().prop_map(Act::Ping),
        1 => vec(any::<u8>(), 0..30).prop_map(Act::GoAway),
        1 => (1..100_u32).prop_map(Act::Window),
        1 => (10..=255_u8, vec(any::<u8>(), 0..30)).prop_map(|(kind, payload)| Act::Unknown(kind, payload)),
    ]
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// The bytes of a request on a stream.
fn request_bytes(act: &Act, stream: u32) -> Vec<u8> {
    let Act::Request { fields, indexed, cuts, padding, body, reset } = act else { return Vec::new() };
    let mut block = hex(FIELDS);
    for (name, value) in fields {
        block.push(if *indexed { 0x40 } else { 0 });
        block.extend([string(name), string(value)].concat());
    }
    let pieces: Vec<&[u8]> = block.chunks(block.len() / (cuts + 1)).collect();
    let mut bytes = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let ends = if index + 1 == pieces.len() { 4 } else { 0 };
        bytes.extend(frame(if index == 0 { 1 } else { 9 }, ends, stream, piece));
    }
    for (index, piece) in body.iter().enumerate() {
        let ends = if index + 1 == body.len() && !reset { 1 } else { 0 };
        let padded = [&[*padding], &piece[..], &vec![0; usize::from(*padding)]].concat();
        bytes.extend(frame(0, ends | 8, stream, &padded));
    }
    if *reset {
        bytes.extend(frame(3, 0, stream, &[0, 0, 0, 8]));
    }
    bytes
}

/// Everything that a client sends.
fn client_bytes(acts: &[Act]) -> Vec<u8> {
    let mut bytes = hex(HELLO);
    for (stream, act) in (1..).step_by(2).zip(acts) {
        bytes.extend(match act {
            Act::Request { .. } => request_bytes(act, stream),
            Act::Ping(payload) => frame(6, 0, 0, payload),
            Act::GoAway(debug) => frame(7, 0, 0, &[&[0; 8], &debug[..]].concat()),
            Act::Window(increment) => frame(8, 0, 0, &increment.to_be_bytes()),
            Act::Unknown(kind, payload) => frame(*kind, 0xff, stream, payload),
        });
    }
    bytes
}

/// The events that a client expects of its own acts.
fn expected(acts: &[Act]) -> Vec<Event> {
    let mut expected = vec![Event::SettingsAcknowledged];
    for (stream, act) in (1..).step_by(2).zip(acts) {
        match act {
            Act::Request { fields: added, body, reset, .. } => {
                let added = added.iter().map(|(name, value)| (name.clone().into(), value.clone().into()));
                let (headers, body) = (fields().into_iter().chain(added).collect(), body.concat());
                expected.push(Event::Begun { stream });
                expected.push(if *reset {
                    Event::Reset { stream, code: 8 }
                } else {
                    Event::Request { stream, headers, body, excess: false }
                });
            }
            Act::Ping(payload) => expected.push(Event::Ping { payload: *payload }),
            Act::GoAway(debug) => expected.push(Event::GoAway { last_stream: 0, code: 0, debug: debug.clone() }),
            Act::Window(_) | Act::Unknown(..) => (),
        }
    }
    expected
}

/// Something that may happen to a session that is misused from both sides.
#[derive(Clone, Debug)]
enum Mishap {
    Frame { kind: u8, flags: u8, stream: u32, payload: Vec<u8> },
    Headers { flags: u8, stream: u32 },
    Bytes(Vec<u8>),
    Respond { stream: u32, body: usize, frames: usize, ends_stream: bool },
    Reset(u32),
    Limit(u32),
    Settings(u32),
}

fn mishap() -> impl Strategy<Value = Mishap> {
    let stream = || 0..8_u32;
    let flags = || prop::sample::select(vec![0, 1, 4, 5, 8, 9, 0x25, 0xff]);
    prop_oneof![
        6 => (0..11_u8, flags(), stream(), vec(prop::sample::select(vec![0, 0, 0, 1, 4, 0x7f, 0xff]), 0..14))
            .prop_map(|(kind, flags, stream, payload)| Mishap::Frame { kind, flags, stream, payload }),
        6 => (flags(), stream()).prop_map(|(flags, stream)| Mishap::Headers { flags, stream }),
        1 => vec(any::<u8>(), 0..20).prop_map(Mishap::Bytes),
        3 => (stream(), 0..70_000_usize, 0..5_usize, any::<bool>())
            .prop_map(|(stream, body, frames, ends_stream)| Mishap::Respond { stream, body, frames, ends_stream }),
        1 => (1..8_u32).prop_map(Mishap::Reset),
        1 => any::<u32>().prop_map(Mishap::Limit),
        1 => any::<u32>().prop_map(Mishap::Settings),
    ]
}

fn befall(session: &mut Session, mishap: Mishap) -> Result<(), ConnectionError> {
    match mishap {
        Mishap::Frame { kind, flags, stream, payload } => session.receive(&frame(kind, flags, stream, &payload))?,
        Mishap::Headers { flags, stream } => session.receive(&frame(1, flags & 5, stream, &hex(FIELDS)))?,
        Mishap::Bytes(bytes) => session.receive(&bytes)?,
        Mishap::Respond { stream, body, frames, ends_stream } => {
            let response = Response { body: vec![b'x'; body], data_frames: frames, ends_stream, ..Response::new(400) };
            session.respond(stream, Response { header_frames: frames, ..response });
        }
        Mishap::Reset(stream) => session.reset(stream, 7),
        Mishap::Limit(max) => session.limit_streams(max),
        Mishap::Settings(window) => {
            session.options().initial_window_size = window;
            session.send_settings();
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn bytes_cut_anywhere_give_the_same_events(acts in vec(act(), 0..12), cuts in vec(any::<prop::sample::Index>(), 0..40)) {
        let bytes = client_bytes(&acts);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut session = Session::new(Options::default());
        let mut seen = Vec::new();
        for cut in cuts.windows(2) {
            prop_assert_eq!(session.receive(&bytes[cut[0]..cut[1]]), Ok(()));
            seen.extend(events(&mut session));
        }
        prop_assert_eq!(seen, expected(&acts));
    }

    #[test]
    fn no_bytes_make_a_session_panic(bytes in vec(any::<u8>(), 0..300)) {
        let mut session = greeted(Options::default());
        let _ = session.receive(&bytes);
        session.out();
    }

    #[test]
    fn no_order_of_frames_and_calls_makes_a_session_panic(mishaps in vec(mishap(), 0..60)) {
        let mut session = greeted(Options::default());
        for mishap in mishaps {
            if befall(&mut session, mishap).is_err() {
                break;
            }
            let mut out = session.out().split();
            while let Some(_frame) = frame::decode(&mut out).unwrap() {}
            prop_assert!(out.is_empty(), "only whole frames are written");
        }
    }
}
