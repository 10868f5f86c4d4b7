//! The open streams of a connection: which of them have something to say, and what it is.
//!
//! A stream's slot is woken only by polling its connection, which is done on the task that polls the slots afterwards:
//! so waking notes the slot and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::{HeaderMap, StatusCode};

use crate::clock::Instant;
use crate::domain::batch::Span;

/// Bytes of an answer's body that are read; Apple's have less than 100.
const BODY_MAX: usize = 4096;

/// What is known of a request while its answer is awaited.
#[derive(Debug)]
pub(super) struct Sent {
    /// The row, alone in its span.
    pub(super) row: Span,
    /// The number of the provider token that it went out with.
    pub(super) token: u64,
    /// Whether it carries the app's own topic as it is.
    pub(super) is_plain_topic: bool,
    /// Until when an answer is awaited.
    pub(super) deadline: Instant,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum End {
    /// Answered.
    Answer { status: StatusCode, headers: HeaderMap, body: Vec<u8> },
    /// The peer refused the stream: it did nothing with it (RFC 9113, 8.7).
    Refused,
    /// The peer closes the connection and did nothing with this stream (RFC 9113, 6.8).
    NotProcessed,
    /// Reset or lost: nobody knows.
    Unknown,
}

/// Streams in slots.
#[derive(Default)]
pub(super) struct Streams {
    slots: Vec<Slot>,
    vacant: Vec<u32>,
    woken: Arc<Woken>,
    open: u32,
    /// No deadline lies before it.
    next_deadline: Option<Instant>,
}

struct Slot {
    stream: Option<Stream>,
    mark: Arc<Mark>,
    waker: Waker,
}

struct Stream {
    sent: Sent,
    stage: Stage,
}

enum Stage {
    Head(ResponseFuture),
    Body { status: StatusCode, headers: HeaderMap, body: RecvStream, read: Vec<u8> },
}

/// The slots to look at.
#[derive(Default)]
struct Woken(Mutex<Vec<u32>>);

struct Mark {
    slot: u32,
    is_woken: AtomicBool,
    woken: Arc<Woken>,
}

impl Streams {
    /// How many are open.
    pub(super) fn open(&self) -> u32 {
        self.open
    }

    /// When the next request may be overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next_deadline.filter(|_| self.open > 0)
    }

    /// Awaits an answer.
    pub(super) fn insert(&mut self, sent: Sent, response: ResponseFuture) {
        let deadline = sent.deadline;
        self.next_deadline = Some(self.deadline().map_or(deadline, |next| next.min(deadline)));
        let stream = Stream { sent, stage: Stage::Head(response) };
        let slot = match self.vacant.pop() {
            Some(slot) => slot,
            None => self.add_slot(),
        };
        let entry = &mut self.slots[slot as usize];
        entry.stream = Some(stream);
        // Polled once, it is woken by what arrives.
        entry.mark.note();
        self.open += 1;
    }

    /// Takes out the requests that are over, in no order.
    pub(super) fn poll(&mut self, finished: &mut Vec<(Sent, End)>) {
        loop {
            let woken = std::mem::take(&mut *self.woken.lock());
            if woken.is_empty() {
                return;
            }
            for slot in woken {
                self.poll_slot(slot, finished);
            }
        }
    }

    /// Takes out the requests that are overdue; their streams are reset with CANCEL.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Vec<Sent> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        let overdue = self.take_if(|sent| sent.deadline <= now);
        let open = self.slots.iter().filter_map(|slot| slot.stream.as_ref());
        self.next_deadline = open.map(|stream| stream.sent.deadline).min();
        overdue
    }

    /// Takes out all requests; their streams are reset with CANCEL.
    pub(super) fn take_all(&mut self) -> Vec<Sent> {
        self.take_if(|_| true)
    }

    /// Looks at all streams, as the end of a connection wants it.
    pub(super) fn wake_all(&self) {
        self.slots.iter().for_each(|slot| slot.mark.note());
    }

    fn take_if(&mut self, which: impl Fn(&Sent) -> bool) -> Vec<Sent> {
        let mut taken = Vec::new();
        for slot in &mut self.slots {
            if let Some(stream) = slot.stream.take_if(|stream| which(&stream.sent)) {
                self.vacant.push(slot.mark.slot);
                self.open -= 1;
                taken.push(stream.sent);
            }
        }
        taken
    }

    fn add_slot(&mut self) -> u32 {
        let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let mark = Arc::new(Mark { slot, is_woken: AtomicBool::new(false), woken: self.woken.clone() });
        self.slots.push(Slot { stream: None, waker: mark.clone().into(), mark });
        slot
    }

    fn poll_slot(&mut self, slot: u32, finished: &mut Vec<(Sent, End)>) {
        let entry = &mut self.slots[slot as usize];
        entry.mark.is_woken.store(false, Ordering::Relaxed);
        // A wake of the stream that was here before.
        let Some(stream) = &mut entry.stream else { return };
        let Poll::Ready(end) = stream.stage.poll(&mut Context::from_waker(&entry.waker)) else { return };
        if let Some(Stream { sent, .. }) = entry.stream.take() {
            finished.push((sent, end));
            self.vacant.push(slot);
            self.open -= 1;
        }
    }
}

impl Stage {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if let Self::Head(response) = self {
            let response = match ready!(std::pin::Pin::new(response).poll(cx)) {
                Ok(response) => response,
                Err(error) => return Poll::Ready(of_error(&error)),
            };
            let (parts, body) = response.into_parts();
            *self = Self::Body { status: parts.status, headers: parts.headers, body, read: Vec::new() };
        }
        let Self::Body { status, headers, body, read } = self else { return Poll::Pending };
        // A success says all in its status; what else comes is not waited for.
        while *status != StatusCode::OK && read.len() < BODY_MAX {
            match ready!(body.poll_data(cx)) {
                None => break,
                Some(Err(_)) => return Poll::Ready(End::Unknown),
                Some(Ok(data)) => {
                    let room = BODY_MAX - read.len();
                    read.extend_from_slice(&data[..data.len().min(room)]);
                    if body.flow_control().release_capacity(data.len()).is_err() {
                        break;
                    }
                }
            }
        }
        let (headers, body) = (std::mem::take(headers), std::mem::take(read));
        Poll::Ready(End::Answer { status: *status, headers, body })
    }
}

fn of_error(error: &h2::Error) -> End {
    if !error.is_remote() {
        End::Unknown
    } else if error.is_go_away() {
        // Only streams above the last one that the peer looks at end with its GOAWAY.
        End::NotProcessed
    } else if error.reason() == Some(Reason::REFUSED_STREAM) {
        End::Refused
    } else {
        End::Unknown
    }
}

impl Woken {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mark {
    fn note(&self) {
        if !self.is_woken.swap(true, Ordering::Relaxed) {
            self.woken.lock().push(self.slot);
        }
    }
}

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.note();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.note();
    }
}
