//! What each frame of the client means (RFC 9113 sections 5 and 6).

use bytes::{Buf, Bytes, BytesMut};

use super::stream::{Answer, Stream, WINDOW_MAX, widened};
use super::{Block, Event, Progress, STREAMS_MAX, Session, request};
use crate::simulator::http2::frame::{self, ConnectionError, Frame, PREFACE, code, setting};
use crate::simulator::http2::hpack::Field;

/// Largest body of a request, in bytes.
const BODY_MAX: usize = 64 * 1024;
/// Largest header block that is put together, in bytes. A block beyond the list's limit is read all the same, because
/// it may change the table, but somewhere there is an end.
const BLOCK_MAX: usize = 64 * 1024;

/// Where a stream stands; see the drawing in `session.rs`.
enum Standing {
    Idle,
    Open,
    Ended,
    Reset,
    Closed,
}

impl Session {
    /// Reads everything that is complete.
    pub(super) fn read(&mut self) -> Result<(), ConnectionError> {
        if let Progress::Preface = self.progress {
            let arrived = self.input.len().min(PREFACE.len());
            if self.input[..arrived] != PREFACE[..arrived] {
                return Err(protocol_error("what came first is not the connection preface of HTTP/2"));
            }
            if arrived < PREFACE.len() {
                return Ok(());
            }
            self.input.advance(arrived);
            self.progress = Progress::FirstSettings;
        }
        while let Some(frame) = frame::decode(&mut self.input)? {
            self.check_order(&frame)?;
            self.frame(frame)?;
        }
        Ok(())
    }

    fn check_order(&mut self, frame: &Frame) -> Result<(), ConnectionError> {
        if let Progress::FirstSettings = self.progress {
            if !matches!(frame, Frame::Settings(_)) {
                return Err(protocol_error("the first frame is not SETTINGS"));
            }
            self.progress = Progress::Frames;
        }
        let continues = match frame {
            Frame::Continuation { stream, .. } => Some(*stream),
            _ => None,
        };
        if continues != self.block.as_ref().map(|block| block.stream) {
            return Err(protocol_error(
                "a CONTINUATION without its header block, or a header block cut by another frame",
            ));
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame) -> Result<(), ConnectionError> {
        match frame {
            Frame::Data { stream, data, length, ends_stream } => self.data(stream, &data, length, ends_stream),
            Frame::Headers { stream, fragment, ends_headers, ends_stream } => {
                if stream.is_multiple_of(2) {
                    return Err(protocol_error("a client's stream with an even identifier"));
                }
                let block = Block { stream, fragments: BytesMut::new(), ends_stream };
                self.fragment(block, &fragment, ends_headers)
            }
            Frame::Continuation { fragment, ends_headers, .. } => match self.block.take() {
                Some(block) => self.fragment(block, &fragment, ends_headers),
                None => Ok(()),
            },
            Frame::Reset { stream, code } => self.reset_by_client(stream, code),
            Frame::Settings(pairs) => self.settings(&pairs),
            Frame::SettingsAcknowledged => self.settings_acknowledged(),
            Frame::PushPromise => Err(protocol_error("a PUSH_PROMISE from a client")),
            Frame::Ping { payload } => {
                if self.options.acknowledges_pings {
                    frame::put_ping_acknowledged(payload, &mut self.out);
                }
                self.event(Event::Ping { payload })
            }
            Frame::PingAcknowledged { payload } => self.event(Event::PingAcknowledged { payload }),
            Frame::GoAway { last_stream, code, debug } => {
                self.event(Event::GoAway { last_stream, code, debug: debug.to_vec() })
            }
            Frame::WindowUpdate { stream, increment } => self.window_update(stream, increment),
            Frame::Priority | Frame::Unknown => Ok(()),
        }
    }

    fn event(&mut self, event: Event) -> Result<(), ConnectionError> {
        self.events.push_back(event);
        Ok(())
    }

    /// Resets a stream for what the client did on it.
    fn refuse(&mut self, stream: u32, code: u32, words: &'static str) -> Result<(), ConnectionError> {
        self.reset(stream, code);
        self.event(Event::Refused { stream, code, words })
    }

    fn standing(&self, stream: u32) -> Standing {
        match self.streams.get(&stream) {
            Some(open) if open.ended => Standing::Ended,
            Some(_) => Standing::Open,
            None if stream > self.last_stream || stream.is_multiple_of(2) => Standing::Idle,
            None if self.reset.contains(&stream) => Standing::Reset,
            None => Standing::Closed,
        }
    }

    fn fragment(&mut self, mut block: Block, fragment: &Bytes, ends_headers: bool) -> Result<(), ConnectionError> {
        block.fragments.extend_from_slice(fragment);
        if block.fragments.len() > BLOCK_MAX {
            return Err(ConnectionError::new(code::ENHANCE_YOUR_CALM, "a header block of more than 65536 bytes"));
        }
        if !ends_headers {
            self.block = Some(block);
            return Ok(());
        }
        let fields = self
            .decoder
            .decode(&block.fragments, self.options.max_header_list_size)
            .map_err(|error| ConnectionError::new(code::COMPRESSION_ERROR, error.words()))?;
        match self.standing(block.stream) {
            Standing::Idle => self.begin(block.stream, fields, block.ends_stream),
            Standing::Open if block.ends_stream => self.finish(block.stream),
            Standing::Open => {
                self.refuse(block.stream, code::PROTOCOL_ERROR, "a second header block that does not end the request")
            }
            Standing::Ended => self.refuse(block.stream, code::STREAM_CLOSED, "HEADERS after the end of the request"),
            Standing::Reset => Ok(()),
            Standing::Closed => Err(stream_closed("HEADERS on a stream that is closed")),
        }
    }

    fn begin(&mut self, id: u32, fields: Option<Vec<Field>>, ends_stream: bool) -> Result<(), ConnectionError> {
        self.last_stream = id;
        if self.open_streams() >= STREAMS_MAX {
            return Err(ConnectionError::new(code::ENHANCE_YOUR_CALM, "more than 10000 streams at once"));
        }
        let Some(headers) = fields else {
            return self.refuse(id, code::ENHANCE_YOUR_CALM, "a header list that is larger than the settings allow");
        };
        if let Some(fault) = request::fault_of_headers(&headers) {
            return self.refuse(id, code::PROTOCOL_ERROR, fault);
        }
        let stream = Stream {
            headers,
            body: Vec::new(),
            excess: self.open_streams() >= self.advertised.streams_max(),
            ended: false,
            receive_window: i64::from(self.advertised.in_force.initial_window),
            answer: Answer::new(self.sender.initial_window),
        };
        self.streams.insert(id, stream);
        self.events.push_back(Event::Begun { stream: id });
        if ends_stream { self.finish(id) } else { Ok(()) }
    }

    fn data(&mut self, id: u32, data: &[u8], length: u32, ends_stream: bool) -> Result<(), ConnectionError> {
        self.receive_window -= i64::from(length);
        if self.receive_window < 0 {
            return Err(ConnectionError::new(code::FLOW_CONTROL_ERROR, "DATA beyond the connection's window"));
        }
        self.owe(0, length);
        match self.standing(id) {
            Standing::Idle => return Err(protocol_error("DATA on a stream without HEADERS")),
            Standing::Ended => return self.refuse(id, code::STREAM_CLOSED, "DATA after the end of the request"),
            Standing::Reset => return Ok(()),
            Standing::Closed => return Err(stream_closed("DATA on a stream that is closed")),
            Standing::Open => (),
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        stream.receive_window -= i64::from(length);
        if stream.receive_window < 0 {
            return Err(ConnectionError::new(code::FLOW_CONTROL_ERROR, "DATA beyond its stream's window"));
        }
        if stream.body.len() + data.len() > BODY_MAX {
            return self.refuse(id, code::ENHANCE_YOUR_CALM, "a body of more than 65536 bytes");
        }
        stream.body.extend_from_slice(data);
        if ends_stream {
            return self.finish(id);
        }
        self.owe(id, length);
        Ok(())
    }

    fn owe(&mut self, stream: u32, length: u32) {
        if length > 0 {
            let owed = self.owed.entry(stream).or_default();
            *owed = owed.saturating_add(length);
        }
    }

    /// The client has sent all of a request.
    fn finish(&mut self, id: u32) -> Result<(), ConnectionError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if !request::is_content_length_right(&stream.headers, &stream.body) {
            return self.refuse(id, code::PROTOCOL_ERROR, "a body that is not as long as content-length says");
        }
        stream.ended = true;
        let (headers, body) = (std::mem::take(&mut stream.headers), std::mem::take(&mut stream.body));
        self.events.push_back(Event::Request { stream: id, headers, body, excess: stream.excess });
        if stream.answer.is_complete() {
            self.close(id);
        }
        self.owed.remove(&id);
        Ok(())
    }

    fn reset_by_client(&mut self, stream: u32, code: u32) -> Result<(), ConnectionError> {
        match self.standing(stream) {
            Standing::Idle => Err(protocol_error("RST_STREAM on a stream without HEADERS")),
            Standing::Open | Standing::Ended => {
                self.close(stream);
                self.event(Event::Reset { stream, code })
            }
            Standing::Reset | Standing::Closed => Ok(()),
        }
    }

    fn settings(&mut self, pairs: &[(u16, u32)]) -> Result<(), ConnectionError> {
        for &(identifier, value) in pairs {
            self.setting(identifier, value)?;
        }
        frame::put_settings_acknowledged(&mut self.out);
        self.send_bodies();
        Ok(())
    }

    fn setting(&mut self, identifier: u16, value: u32) -> Result<(), ConnectionError> {
        match identifier {
            setting::HEADER_TABLE_SIZE => {
                self.sender.must_empty_table |= value < self.sender.table_max;
                self.sender.table_max = value;
            }
            setting::ENABLE_PUSH if value > 1 => return Err(protocol_error("ENABLE_PUSH is neither 0 nor 1")),
            setting::INITIAL_WINDOW_SIZE => return self.initial_window(i64::from(value)),
            setting::MAX_FRAME_SIZE => {
                if !(16_384..=16_777_215).contains(&value) {
                    return Err(protocol_error("MAX_FRAME_SIZE is not between 16384 and 16777215"));
                }
                self.sender.payload_max = value as usize;
            }
            _ => (),
        }
        Ok(())
    }

    /// The client's initial window changes the windows of streams that are open too (RFC 9113 section 6.9.2).
    fn initial_window(&mut self, size: i64) -> Result<(), ConnectionError> {
        let wide = ConnectionError::new(code::FLOW_CONTROL_ERROR, "a window beyond 2147483647 bytes");
        if size > WINDOW_MAX {
            return Err(wide);
        }
        for stream in self.streams.values_mut() {
            stream.answer.window = widened(stream.answer.window, size - self.sender.initial_window).ok_or(wide)?;
        }
        self.sender.initial_window = size;
        Ok(())
    }

    fn settings_acknowledged(&mut self) -> Result<(), ConnectionError> {
        let Some(before) = self.advertised.acknowledge() else {
            return Err(protocol_error("SETTINGS acknowledged that were not sent"));
        };
        let now = self.advertised.in_force;
        self.decoder.limit(now.header_table);
        for stream in self.streams.values_mut() {
            stream.receive_window += i64::from(now.initial_window) - i64::from(before.initial_window);
        }
        self.event(Event::SettingsAcknowledged)
    }

    fn window_update(&mut self, id: u32, increment: u32) -> Result<(), ConnectionError> {
        if id == 0 {
            if increment == 0 {
                return Err(protocol_error("a WINDOW_UPDATE of 0 bytes"));
            }
            self.sender.open(increment)?;
            self.send_bodies();
            return Ok(());
        }
        if let Standing::Idle = self.standing(id) {
            return Err(protocol_error("WINDOW_UPDATE on a stream without HEADERS"));
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if increment == 0 {
            return self.refuse(id, code::PROTOCOL_ERROR, "a WINDOW_UPDATE of 0 bytes");
        }
        let Some(window) = widened(stream.answer.window, i64::from(increment)) else {
            return self.refuse(id, code::FLOW_CONTROL_ERROR, "a stream's window beyond 2147483647 bytes");
        };
        stream.answer.window = window;
        self.send_body(id);
        Ok(())
    }

    /// Sends what waits on every stream.
    fn send_bodies(&mut self) {
        let waiting: Vec<u32> = self.streams.keys().copied().collect();
        for stream in waiting {
            self.send_body(stream);
        }
    }
}

fn protocol_error(words: &'static str) -> ConnectionError {
    ConnectionError::new(code::PROTOCOL_ERROR, words)
}

fn stream_closed(words: &'static str) -> ConnectionError {
    ConnectionError::new(code::STREAM_CLOSED, words)
}
