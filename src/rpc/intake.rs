//! Request bodies: how large they may be, how long they may take, how much memory they share, how they are compressed.

use std::io::Read;
use std::pin::{Pin, pin};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use flate2::bufread::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use super::Settings;

/// Bodies up to this many bytes never wait for room, and are decoded where they were read.
pub(super) const SMALL: usize = 256 * 1024;

/// Unit of the shared memory, in bytes.
const UNIT: usize = 1024;

/// Why a body was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Over the limit, as it was sent or after decompression.
    TooLarge,
    /// Not complete in time.
    TooSlow,
    /// No room came free in time.
    NoRoom,
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
    /// Room for bodies over [`SMALL`], in [`UNIT`]s.
    room: Arc<Semaphore>,
}

/// A body that was read.
#[derive(Debug)]
pub(super) struct Received {
    bytes: Bytes,
    /// `bytes` are compressed, and too many to be decompressed here.
    compressed: bool,
    /// Most bytes that they may be once they are decompressed.
    body_max: usize,
    /// The room that it takes.
    _room: Option<OwnedSemaphorePermit>,
}

impl Received {
    /// Whether it is to be decoded on a thread of its own.
    pub(super) fn is_large(&self) -> bool {
        self.compressed || self.bytes.len() > SMALL
    }

    /// The bytes as the caller meant them.
    pub(super) fn plain(&self) -> Result<Bytes, Refusal> {
        match self.compressed {
            false => Ok(self.bytes.clone()),
            true => gunzip(&self.bytes, self.body_max)?.ok_or(Refusal::TooLarge),
        }
    }
}

impl Intake {
    pub(super) fn new(settings: &Settings) -> Self {
        let units = settings.bodies_max.max(2 * settings.body_max).div_ceil(UNIT) + 2;
        Self { settings: settings.clone(), room: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))) }
    }

    /// Reads a body. Room is taken at most once and all at once, so that no two bodies can wait for each other.
    /// `own_max`: the caller's own limit, where it has one.
    pub(super) async fn receive(
        &self,
        headers: &HeaderMap,
        body: Body,
        own_max: Option<usize>,
    ) -> Result<Received, Refusal> {
        let body_max = own_max.unwrap_or(usize::MAX).min(self.settings.body_max);
        let compressed = is_compressed(headers)?;
        let expansion = if compressed { body_max } else { 0 };
        let declared = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let mut room = match declared {
            Some(bytes) if bytes > body_max => return Err(Refusal::TooLarge),
            Some(bytes) if bytes > SMALL => Some(self.room_for(bytes + expansion).await?),
            Some(_) | None => None,
        };
        let deadline = pin!(sleep(self.settings.body_timeout));
        let mut reading = Reading { body, bytes: Gathered::default(), deadline };
        if !reading.read_up_to(SMALL.min(body_max), declared).await? {
            if room.is_none() {
                room = Some(self.room_for(body_max + expansion).await?);
            }
            if !reading.read_up_to(body_max, declared).await? {
                return Err(Refusal::TooLarge);
            }
        }
        let bytes = reading.bytes.into_bytes();
        if !compressed || bytes.len() > SMALL {
            return Ok(Received { bytes, compressed, body_max, _room: room });
        }
        match gunzip(&bytes, SMALL.min(body_max))? {
            Some(bytes) => Ok(Received { bytes, compressed: false, body_max, _room: room }),
            None if body_max <= SMALL => Err(Refusal::TooLarge),
            None => {
                let room = self.room_for(expansion).await?;
                Ok(Received { bytes, compressed: true, body_max, _room: Some(room) })
            }
        }
    }

    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| Refusal::TooLarge)?;
        let room = self.room.clone().acquire_many_owned(units);
        match tokio::time::timeout(self.settings.body_timeout, room).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) | Err(_) => Err(Refusal::NoRoom),
        }
    }
}

/// A body that is being read.
struct Reading<'a> {
    body: Body,
    bytes: Gathered,
    deadline: Pin<&'a mut Sleep>,
}

impl Reading<'_> {
    /// Reads on. Whether the body ended with at most so many bytes.
    async fn read_up_to(&mut self, bytes_max: usize, declared: Option<usize>) -> Result<bool, Refusal> {
        while self.bytes.len() <= bytes_max {
            let frame = tokio::select! {
                biased;
                frame = self.body.frame() => frame,
                () = self.deadline.as_mut() => return Err(Refusal::TooSlow),
            };
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.bytes.push(chunk, declared);
                    }
                }
                Some(Err(_)) => return Err(Refusal::Broken),
                None => return Ok(true),
            }
        }
        Ok(false)
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
            self.all.reserve(declared.unwrap_or(self.first.len() + chunk.len()));
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
