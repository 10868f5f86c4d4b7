//! One HTTP/2 connection as its server sees it (RFC 9113): bytes in, events and bytes out. Pure: no socket, no clock.
//!
//! A client is held to the protocol strictly, because what it gets wrong is what the simulator is there to show. The
//! server's side does whatever it is told, also what no proper server does.
//!
//! ```text
//!          HEADERS                   END_STREAM
//!   idle ───────────► open ─────────────────────────────► answering
//!   (Idle)           (Open)    the client has no more     (Ended)
//!                      │                                     │  END_STREAM sent
//!                      ├── reset by the client ──► closed ◄──┤  (also where it was sent before)
//!                      │                          (Closed)   │
//!                      └── reset by us ───► reset ◄──────────┘
//!                                          (Reset: what the client still sends is ignored)
//! ```

mod receiving;
mod request;
mod settings;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::BytesMut;

use self::settings::Advertised;
use self::stream::{Sender, Stream};
use super::frame::{self, ConnectionError};
use super::hpack::{self, Decoder, Field};

/// The window that a connection begins with, in bytes (RFC 9113 section 6.9.2).
const CONNECTION_WINDOW: i64 = 65_535;
/// How many streams a client may have open that keeps to no limit.
const STREAMS_MAX: u32 = 10_000;
/// How many streams that were reset are remembered; what arrives on older ones breaks the connection.
const RESETS_REMEMBERED: usize = 4096;

/// What a session says of itself, and what it leaves undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// How many streams the client may have open; `None` leaves the setting out, and that is no limit.
    pub(super) max_concurrent_streams: Option<u32>,
    /// The window of a new stream, in bytes.
    pub(super) initial_window_size: u32,
    /// Largest dynamic table of the client's header compression, in bytes.
    pub(super) header_table_size: u32,
    /// Largest header list of a request, in bytes, with 32 for each field. Enforced at once.
    pub(super) max_header_list_size: u32,
    /// SETTINGS are sent; without them a client goes by the defaults of RFC 9113.
    pub(super) sends_settings: bool,
    /// PINGs are answered.
    pub(super) acknowledges_pings: bool,
    /// The connection's window is opened again as bodies are read.
    pub(super) updates_connection_window: bool,
    /// A stream's window is opened again as its body is read.
    pub(super) updates_stream_windows: bool,
}

impl Default for Options {
    /// What `api.push.apple.com` was seen to send (jchambers/pushy#476, #878).
    fn default() -> Self {
        Self {
            max_concurrent_streams: Some(1000),
            initial_window_size: 65_535,
            header_table_size: 4096,
            max_header_list_size: 8000,
            sends_settings: true,
            acknowledges_pings: true,
            updates_connection_window: true,
            updates_stream_windows: true,
        }
    }
}

/// What the client did. Without `Debug`: requests carry credentials.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) enum Event {
    /// A request's headers arrived.
    Begun { stream: u32 },
    /// A request is complete.
    Request {
        stream: u32,
        headers: Vec<Field>,
        body: Vec<u8>,
        /// It was opened beyond the limit that the client had acknowledged, and beyond any newer one.
        excess: bool,
    },
    /// The session reset a stream because of what the client did.
    Refused { stream: u32, code: u32, words: &'static str },
    /// The client reset a stream.
    Reset { stream: u32, code: u32 },
    /// The client ends the connection.
    GoAway { last_stream: u32, code: u32, debug: Vec<u8> },
    /// The client sent a PING; it was answered if [`Options::acknowledges_pings`].
    Ping { payload: [u8; 8] },
    /// The client answered a PING.
    PingAcknowledged { payload: [u8; 8] },
    /// The client applied our oldest SETTINGS that it had not applied yet.
    SettingsAcknowledged,
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    /// `:status`.
    pub(super) status: u16,
    /// The other header fields; names in lower case.
    pub(super) headers: Vec<(String, String)>,
    /// May be empty: then there is no DATA.
    pub(super) body: Vec<u8>,
    /// In how many HEADERS and CONTINUATION frames the headers come; some are empty if there are not as many bytes.
    pub(super) header_frames: usize,
    /// In how many DATA frames the body comes; at most one for each byte, and more if windows or frame sizes demand it.
    pub(super) data_frames: usize,
    /// The last frame ends the stream; otherwise it stays open.
    pub(super) ends_stream: bool,
}

impl Response {
    /// An answer that is in order: without headers and body, in as few frames as possible.
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), header_frames: 1, data_frames: 1, ends_stream: true }
    }
}

/// A connection. After [`Session::receive`], take the events and write what is in [`Session::out`].
pub(super) struct Session {
    options: Options,
    input: BytesMut,
    out: BytesMut,
    events: VecDeque<Event>,
    progress: Progress,
    decoder: Decoder,
    /// A header block that is not complete.
    block: Option<Block>,
    advertised: Advertised,
    /// Streams that are open or half-closed.
    streams: BTreeMap<u32, Stream>,
    /// The highest stream that was opened.
    last_stream: u32,
    /// Streams that this side reset.
    reset: BTreeSet<u32>,
    /// What the client may still send, in bytes.
    receive_window: i64,
    /// What was read and not yet given back to the windows, in bytes; stream 0 is the connection.
    owed: BTreeMap<u32, u32>,
    sender: Sender,
}

/// How far the client has come.
enum Progress {
    Preface,
    FirstSettings,
    Frames,
    Failed(ConnectionError),
}

/// A header block whose CONTINUATIONs are awaited.
struct Block {
    stream: u32,
    fragments: BytesMut,
    ends_stream: bool,
}

impl Session {
    /// A connection whose client has sent nothing yet. Its SETTINGS are in [`Session::out`].
    pub(super) fn new(options: Options) -> Self {
        let mut session = Self {
            input: BytesMut::new(),
            out: BytesMut::new(),
            events: VecDeque::new(),
            progress: Progress::Preface,
            decoder: Decoder::new(),
            block: None,
            advertised: Advertised::default(),
            streams: BTreeMap::new(),
            last_stream: 0,
            reset: BTreeSet::new(),
            receive_window: CONNECTION_WINDOW,
            owed: BTreeMap::new(),
            sender: Sender::new(),
            options,
        };
        if session.options.sends_settings {
            session.send_settings();
        }
        session
    }

    /// What is left undone, to be changed at any time. What is part of SETTINGS takes [`Session::send_settings`] too.
    pub(super) fn options(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Sends all settings, for the first time or again.
    pub(super) fn send_settings(&mut self) {
        self.options.sends_settings = true;
        self.advertised.send(&self.options, &mut self.out);
    }

    /// Changes MAX_CONCURRENT_STREAMS alone, if it is not that already; it is in force once acknowledged. While no
    /// SETTINGS are sent, the first ones will carry it.
    pub(super) fn limit_streams(&mut self, max: u32) {
        self.options.max_concurrent_streams = Some(max);
        if self.options.sends_settings && self.advertised.newest().streams != max {
            self.advertised.send_streams(max, &mut self.out);
        }
    }

    /// Bytes arrived, cut anywhere. After an error, which a GOAWAY in [`Session::out`] tells the client, nothing more is
    /// read; the events of what came before it are there.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        if let Progress::Failed(error) = self.progress {
            return Err(error);
        }
        self.input.extend_from_slice(bytes);
        self.read().inspect_err(|error| {
            self.progress = Progress::Failed(*error);
            self.input = BytesMut::new();
            frame::put_go_away(self.last_stream, error.code, error.words.as_bytes(), &mut self.out);
        })
    }

    /// What the client did next.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What is to be written; the caller takes it. Windows that are to be opened again are opened here.
    pub(super) fn out(&mut self) -> &mut BytesMut {
        let (connection, streams) = (self.options.updates_connection_window, self.options.updates_stream_windows);
        for (stream, bytes) in self.owed.extract_if(.., |stream, _| if *stream == 0 { connection } else { streams }) {
            frame::put_window_update(stream, bytes, &mut self.out);
            if stream == 0 {
                self.receive_window += i64::from(bytes);
            } else if let Some(stream) = self.streams.get_mut(&stream) {
                stream.receive_window += i64::from(bytes);
            }
        }
        &mut self.out
    }

    /// Answers a request as far as the client's windows allow; the rest follows when they open. Nothing happens if the
    /// stream is closed, or was answered before.
    pub(super) fn respond(&mut self, stream: u32, response: Response) {
        let Some(answered) = self.streams.get_mut(&stream).filter(|stream| !stream.answer.is_begun()) else { return };
        let mut block = BytesMut::new();
        if std::mem::take(&mut self.sender.must_empty_table) {
            hpack::put_empty_table(&mut block);
        }
        hpack::put_status(response.status, &mut block);
        for (name, value) in &response.headers {
            hpack::put_field(name, value, &mut block);
        }
        let ends_stream = response.ends_stream && response.body.is_empty();
        let payload_max = self.sender.payload_max;
        frame::put_headers(stream, &block, ends_stream, response.header_frames, payload_max, &mut self.out);
        answered.answer.begin(response.body, response.data_frames, response.ends_stream);
        self.send_body(stream);
    }

    /// Resets a stream, open or not. What the client still sends on it is ignored.
    pub(super) fn reset(&mut self, stream: u32, code: u32) {
        frame::put_reset(stream, code, &mut self.out);
        self.close(stream);
        self.reset.insert(stream);
        if self.reset.len() > RESETS_REMEMBERED {
            self.reset.pop_first();
        }
    }

    /// Says that streams above `last_stream` were not and will not be processed. It is only said: their events still
    /// come, so that what a client does afterwards can be seen.
    pub(super) fn go_away(&mut self, last_stream: u32, code: u32, debug: &[u8]) {
        frame::put_go_away(last_stream, code, debug, &mut self.out);
    }

    /// Sends a PING.
    pub(super) fn ping(&mut self, payload: [u8; 8]) {
        frame::put_ping(payload, &mut self.out);
    }

    /// How many streams the client has open, by the count of RFC 9113 section 5.1.2.
    pub(super) fn open_streams(&self) -> u32 {
        u32::try_from(self.streams.len()).unwrap_or(u32::MAX)
    }

    /// The highest stream that the client has opened; 0 before the first.
    pub(super) fn last_stream(&self) -> u32 {
        self.last_stream
    }

    /// Sends what the windows allow of a stream's answer, and forgets the stream once both sides have ended it.
    fn send_body(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        self.sender.send(id, &mut stream.answer, &mut self.out);
        if stream.ended && stream.answer.is_complete() {
            self.close(id);
        }
    }

    fn close(&mut self, stream: u32) {
        self.streams.remove(&stream);
        self.owed.remove(&stream);
    }
}
