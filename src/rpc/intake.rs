//! Request bodies: how large they may be, how long they may take, how much memory they share, how they are compressed.

use std::io::Read;
use std::mem;
use std::pin::{Pin, pin};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use flate2::bufread::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame};
use tokio::time::{Sleep, sleep, timeout};

use super::Settings;
use super::memory::{Held, Memory};
use super::threads::Whose;

/// Bodies up to this many bytes never wait for memory, and are decoded where they were read.
pub(super) const SMALL: usize = 256 * 1024;

/// What a body takes at once beyond what has arrived, in bytes.
const STEP: usize = SMALL;

/// A body that brings fewer bytes in a second, for long, is given up.
const BYTES_PER_SECOND_MIN: u64 = 16 * 1024;

/// First capacity for a body of several chunks, in bytes.
const CAPACITY: usize = 1024 * 1024;

/// Why a body was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Over the limit, as it was sent or after decompression.
    TooLarge,
    /// Not complete in time.
    TooSlow,
    /// No memory, or no thread, came free in time.
    Busy,
    /// A `Content-Encoding` that is not supported.
    Encoding(String),
    /// The compressed bytes are damaged; how.
    Damaged(String),
    /// The connection broke, or the chunks are malformed.
    Broken,
}

/// Takes bodies, within limits that they share.
#[derive(Debug)]
pub(super) struct Intake {
    settings: Settings,
    /// For bodies over [`SMALL`].
    memory: Memory,
}

/// A body that was read.
#[derive(Debug)]
pub(super) struct Received {
    bytes: Bytes,
    /// `bytes` are compressed, and too many to be decompressed here.
    compressed: bool,
    /// Most bytes that they may be once they are decompressed.
    body_max: usize,
    /// The memory that it takes.
    held: Option<Held>,
}

impl Received {
    /// Whether it is to be decoded on a thread of its own.
    pub(super) fn is_large(&self) -> bool {
        self.compressed || self.bytes.len() > SMALL
    }

    /// The body as the caller meant it. Gives back the memory that it does not need after all.
    pub(super) fn plain(mut self) -> Result<Self, Refusal> {
        if self.compressed {
            self.bytes = gunzip(&self.bytes, self.body_max)?.ok_or(Refusal::TooLarge)?;
            self.compressed = false;
            if let Some(held) = &self.held {
                held.shrink(self.bytes.len());
            }
        }
        Ok(self)
    }

    /// The bytes of a [`Received::plain`] body.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Intake {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { settings: settings.clone(), memory: Memory::new(settings.bodies_max, 2 * settings.body_max) }
    }

    /// Reads a body. `own_max`: the caller's own limit, where it has one.
    pub(super) async fn receive(
        &self,
        headers: &HeaderMap,
        body: Body,
        whose: Whose,
        own_max: Option<usize>,
    ) -> Result<Received, Refusal> {
        let body_max = own_max.unwrap_or(usize::MAX).min(self.settings.body_max);
        let compressed = is_compressed(headers)?;
        let expansion = if compressed { body_max } else { 0 };
        let declared = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let most = declared.unwrap_or(body_max);
        if most > body_max {
            return Err(Refusal::TooLarge);
        }
        let mut held = None;
        let time = self.settings.body_timeout;
        let mut reading = Reading { body, bytes: Gathered::default(), time, deadline: pin!(sleep(time)) };
        while let Some(chunk) = reading.next().await? {
            let length = reading.bytes.len() + chunk.len();
            if length > body_max {
                return Err(Refusal::TooLarge);
            }
            if length > SMALL {
                held = held.or_else(|| Some(self.hold(&whose, most + expansion)));
                reading.wait_for(&held, most.min(length + STEP)).await?;
            }
            reading.bytes.push(chunk, declared);
        }
        let bytes = mem::take(&mut reading.bytes).into_bytes();
        if !compressed || bytes.len() > SMALL {
            if compressed {
                reading.wait_for(&held, bytes.len() + body_max).await?;
            } else if let Some(held) = &held {
                held.shrink(bytes.len());
            }
            return Ok(Received { bytes, compressed, body_max, held });
        }
        match gunzip(&bytes, SMALL.min(body_max))? {
            Some(bytes) => Ok(Received { bytes, compressed: false, body_max, held }),
            None if body_max <= SMALL => Err(Refusal::TooLarge),
            None => {
                held = held.or_else(|| Some(self.hold(&whose, expansion)));
                reading.wait_for(&held, expansion).await?;
                Ok(Received { bytes, compressed: true, body_max, held })
            }
        }
    }

    fn hold(&self, whose: &Whose, most: usize) -> Held {
        self.memory.open(whose.clone(), most)
    }
}

/// A body that is being read.
struct Reading<'a> {
    body: Body,
    bytes: Gathered,
    /// Longest time between two parts, and for which it may wait for memory at a time.
    time: Duration,
    /// When the whole body has taken too long; what arrives moves it on.
    deadline: Pin<&'a mut Sleep>,
}

impl Reading<'_> {
    /// The next part; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let frame = tokio::select! {
                biased;
                frame = timeout(self.time, self.body.frame()) => frame.map_err(|_| Refusal::TooSlow)?,
                () = self.deadline.as_mut() => return Err(Refusal::TooSlow),
            };
            match frame.transpose().map_err(|_| Refusal::Broken)?.map(Frame::into_data) {
                Some(Ok(chunk)) => {
                    let bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                    self.extend(Duration::from_micros(bytes.saturating_mul(1_000_000) / BYTES_PER_SECOND_MIN));
                    return Ok(Some(chunk));
                }
                // Trailers say nothing here.
                Some(Err(_)) => {}
                None => return Ok(None),
            }
        }
    }

    /// Waits until the body has so much memory.
    async fn wait_for(&mut self, held: &Option<Held>, bytes: usize) -> Result<(), Refusal> {
        let Some(held) = held else { return Ok(()) };
        if held.try_grow(bytes) {
            return Ok(());
        }
        timeout(self.time, held.grow(bytes)).await.map_err(|_| Refusal::Busy)?;
        // What it waited for us is not its fault.
        self.extend(self.time);
        Ok(())
    }

    fn extend(&mut self, time: Duration) {
        let deadline = self.deadline.deadline();
        self.deadline.as_mut().reset(deadline + time);
    }
}

/// The chunks of a body; not copied if there is only one.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    all: Vec<u8>,
}

impl Gathered {
    fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    fn push(&mut self, chunk: Bytes, declared: Option<usize>) {
        if self.first.is_empty() {
            self.first = chunk;
            return;
        }
        if self.all.is_empty() {
            self.all.reserve(declared.unwrap_or(0).min(CAPACITY).max(self.first.len() + chunk.len()));
            self.all.extend_from_slice(&self.first);
        }
        self.all.extend_from_slice(&chunk);
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.into() }
    }
}

/// Whether the body is compressed with gzip; the only encoding besides none.
fn is_compressed(headers: &HeaderMap) -> Result<bool, Refusal> {
    let mut encodings = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        encodings.extend(value.split(',').map(|encoding| encoding.trim().to_owned()));
    }
    encodings.retain(|encoding| !matches!(encoding.as_str(), "" | "identity"));
    match encodings.as_slice() {
        [] => Ok(false),
        [one] if matches!(one.as_str(), "gzip" | "x-gzip") => Ok(true),
        _ => Err(Refusal::Encoding(encodings.join(", "))),
    }
}

/// Decompresses all members; `None` when there are more bytes than allowed. Stops at the first byte beyond.
fn gunzip(compressed: &[u8], bytes_max: usize) -> Result<Option<Bytes>, Refusal> {
    let mut plain = Vec::new();
    let allowed = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let mut decoder = MultiGzDecoder::new(compressed).take(allowed);
    decoder.read_to_end(&mut plain).map_err(|error| Refusal::Damaged(error.to_string()))?;
    Ok((plain.len() <= bytes_max).then(|| plain.into()))
}

#[cfg(test)]
mod tests;
