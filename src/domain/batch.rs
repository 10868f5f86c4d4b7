//! The unit of work: one `notify` call as a batch, and ranges of its rows as spans.

use std::ops::Range;
use std::sync::Arc;

use super::apns::{IdSeed, NotificationId};
use super::time::Timestamp;
use super::token::Tokens;

/// What a caller may say about a notification besides its payload. What an app's protocol has no field for is ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PushOptions {
    /// Unix seconds after which the provider need not try any more. 0: one attempt, never stored by the provider.
    pub expiration: Option<u32>,
    /// 10 (at once), 5 (power-saving) or 1.
    pub priority: Option<u8>,
    /// At most 64 bytes; HTTP/2 and FCM only.
    pub collapse_id: Option<Arc<str>>,
    /// `alert`, `background`, …; HTTP/2 only.
    pub push_type: Option<Arc<str>>,
    /// Overrides the topic of the app's credentials; HTTP/2 only.
    pub topic: Option<Arc<str>>,
}

/// A payload with its options: what rows of a batch share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// Compact JSON, UTF-8, within the limit of the app's protocol.
    pub payload: Arc<[u8]>,
    /// How it is to be delivered.
    pub options: PushOptions,
}

/// What an allocator keeps beside an allocation, about.
const ALLOCATION: usize = 16;
/// What a batch takes besides its rows and messages: itself, its allocations, and what the queue remembers of it. Most
/// of what a batch of one row takes.
const BATCH_BESIDES: usize = size_of::<Batch>() + 4 * ALLOCATION + 160;

/// One accepted `notify` call: distinct messages, and rows of a token and a message each. Immutable once built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    accepted_at: Timestamp,
    messages: Vec<Message>,
    tokens: Tokens,
    /// The message of each row; empty when all rows have message 0.
    message_of: Vec<u32>,
    /// What the ids of its rows are made from, and the number of its first row there.
    ids: (IdSeed, u32),
    /// See [`Batch::memory`].
    memory: usize,
}

/// One row of a batch, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// The device token, raw bytes.
    pub token: &'a [u8],
    /// What it is to receive.
    pub message: &'a Message,
}

impl Batch {
    /// A batch whose rows all carry the same message.
    pub fn broadcast(accepted_at: Timestamp, tokens: Tokens, message: Message) -> Self {
        Self::new(accepted_at, tokens, vec![message], Vec::new())
    }

    /// A batch whose row `n` carries `messages[message_of[n]]`. `message_of` is as long as `tokens`, and every index
    /// in it exists; `None` otherwise.
    pub fn paired(
        accepted_at: Timestamp,
        tokens: Tokens,
        messages: Vec<Message>,
        message_of: Vec<u32>,
    ) -> Option<Self> {
        let indices_exist = message_of.iter().all(|index| (*index as usize) < messages.len());
        let is_whole = message_of.len() == tokens.len() && indices_exist;
        is_whole.then(|| Self::new(accepted_at, tokens, messages, message_of))
    }

    fn new(accepted_at: Timestamp, tokens: Tokens, messages: Vec<Message>, message_of: Vec<u32>) -> Self {
        let of_message = |message: &Message| message.payload.len() + size_of::<Message>() + ALLOCATION;
        let of_messages: usize = messages.iter().map(of_message).sum();
        let memory = BATCH_BESIDES + of_messages + tokens.memory() + message_of.len() * size_of::<u32>();
        Self { accepted_at, messages, tokens, message_of, ids: (IdSeed::default(), 0), memory }
    }

    /// The same batch with ids made from this seed; its first row is the `first_row`th of those that share the seed.
    #[must_use]
    pub fn with_ids(self, seed: IdSeed, first_row: u32) -> Self {
        Self { ids: (seed, first_row), ..self }
    }

    /// What the ids of its rows are made from, and the number of its first row there.
    pub fn ids(&self) -> (IdSeed, u32) {
        self.ids
    }

    /// The id of a row, which must exist.
    pub fn id(&self, row: u32) -> NotificationId {
        let (seed, first_row) = self.ids;
        NotificationId::of_row(seed, first_row.wrapping_add(row))
    }

    /// When the call was accepted.
    pub fn accepted_at(&self) -> Timestamp {
        self.accepted_at
    }

    /// Number of rows.
    pub fn rows(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX)
    }

    /// The distinct messages.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Index of the message that a row carries. The row must exist.
    pub fn message_index(&self, row: u32) -> usize {
        self.message_of.get(row as usize).map_or(0, |index| *index as usize)
    }

    /// A row, which must exist.
    pub fn notification(&self, row: u32) -> Notification<'_> {
        Notification { token: self.tokens.get(row as usize), message: &self.messages[self.message_index(row)] }
    }

    /// Bytes of memory that the batch takes, for bounds.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// A row's share of it.
    pub fn memory_per_row(&self) -> usize {
        self.memory / self.tokens.len().max(1)
    }
}

/// Name of a batch in the store and the queue; grows with every commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// How often rows were tried and what came of it. All rows of a span share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tries {
    /// Sends that were never answered: whether they were delivered is not known.
    pub unknown: u8,
    /// Those of `unknown` where the row was alone on the wire when the connection was closed without a word.
    pub alone: u8,
    /// Sends that the provider answered with a transient error.
    pub transient: u8,
}

/// A range of rows of one batch, with what is known of earlier attempts: what travels between queue, delivery and
/// gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which batch.
    pub id: BatchId,
    /// Its content.
    pub batch: Arc<Batch>,
    /// Which rows of it, never empty.
    pub rows: Range<u32>,
    /// What happened to them so far.
    pub tries: Tries,
}

impl Span {
    /// Number of rows.
    pub fn len(&self) -> u32 {
        self.rows.end - self.rows.start
    }

    /// Whether it has no row (it should not exist then).
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Cuts off the first `count` rows, leaving the rest; `count` is at most `len`.
    #[must_use]
    pub fn take_front(&mut self, count: u32) -> Self {
        let middle = self.rows.start + count.min(self.len());
        let front = Self { rows: self.rows.start..middle, ..self.clone() };
        self.rows.start = middle;
        front
    }

    /// The same rows with other tries.
    #[must_use]
    pub fn with_tries(self, tries: Tries) -> Self {
        Self { tries, ..self }
    }

    /// Its notifications, in order.
    pub fn notifications(&self) -> impl Iterator<Item = Notification<'_>> {
        self.rows.clone().map(|row| self.batch.notification(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &str) -> Message {
        Message { payload: payload.as_bytes().into(), options: PushOptions::default() }
    }

    fn tokens(count: u8) -> Tokens {
        let mut tokens = Tokens::default();
        (0..count).for_each(|n| tokens.push(&[n; 32]));
        tokens
    }

    #[test]
    fn a_paired_batch_gives_each_row_its_message() {
        let messages = vec![message("{}"), message("{\"a\":1}")];
        let batch = Batch::paired(Timestamp::default(), tokens(3), messages, vec![0, 1, 0]).unwrap();
        assert_eq!(&*batch.notification(1).message.payload, b"{\"a\":1}");
        assert_eq!(batch.notification(2).token, [2; 32]);
        assert_eq!(&*batch.notification(2).message.payload, b"{}");
    }

    #[test]
    fn a_batch_with_an_index_too_many_or_out_of_range_does_not_exist() {
        assert!(Batch::paired(Timestamp::default(), tokens(2), vec![message("{}")], vec![0]).is_none());
        assert!(Batch::paired(Timestamp::default(), tokens(1), vec![message("{}")], vec![1]).is_none());
    }

    #[test]
    fn a_span_is_cut_in_two_without_losing_a_row() {
        let batch = Arc::new(Batch::broadcast(Timestamp::default(), tokens(5), message("{}")));
        let mut rest = Span { id: BatchId(1), batch, rows: 1..5, tries: Tries::default() };
        let front = rest.take_front(3);
        assert_eq!((front.rows, rest.rows), (1..4, 4..5));
    }
}
