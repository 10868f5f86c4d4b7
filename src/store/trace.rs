//! What became of the notifications for one device, gathered from everything that is kept.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::outcomes::{Entry, Logged};
use super::{FeedbackSource, Stored};
use crate::domain::app::AppId;
use crate::domain::batch::BatchId;
use crate::domain::feedback::{FeedbackEntry, Rejection};
use crate::domain::outcome::Reason;
use crate::domain::time::Timestamp;
use crate::domain::token::MaskedToken;

/// Fewest digits of a prefix: fewer would fit too many devices.
const DIGITS_MIN: usize = 4;
/// Most digits of a prefix, those of the longest token.
const DIGITS_MAX: usize = 200;

/// The first hex digits of a device token, or all of them.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenPrefix(Vec<u8>);

/// Why a text is not the beginning of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenPrefixError {
    /// Something else than a hex digit, a space, `<` or `>`.
    #[error("a token is given by its first hex digits, `{0}` is none")]
    NotHex(char),
    /// Too few digits, or too many.
    #[error("a token is given by its first 4 to 200 hex digits, here are {0}")]
    Digits(usize),
}

/// Whose events are looked for: those of these apps, by their ids, or everything where `None`.
#[derive(Clone, Debug, Default)]
pub struct Visible(Option<Arc<[String]>>);

impl Visible {
    /// Those of these apps alone.
    pub fn of(apps: &[String]) -> Self {
        Self(Some(apps.into()))
    }

    /// Whether an event is looked for; one without an app only where everything is.
    pub(super) fn shows(&self, app: Option<&AppId>) -> bool {
        self.0.as_ref().is_none_or(|apps| app.is_some_and(|app| apps.iter().any(|visible| visible == app.as_str())))
    }
}

/// Something that became of a notification, or what is known of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// When it happened; for what waits, when the call was accepted.
    pub timestamp: Timestamp,
    /// Whose notification it is. `None` for feedback, and where the log of outcomes is damaged.
    pub app: Option<AppId>,
    /// The first 8 hex digits of the token and an ellipsis.
    pub token: String,
    /// The batch it is in, and its row there, from 0; `None` for feedback. Rows that are tried again later go on in a
    /// batch of their own.
    pub row: Option<(BatchId, u32)>,
    /// What it is.
    pub event: Event,
}

/// What became of a notification, or what is known of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This became of it.
    Logged(Logged),
    /// It waits, or is on its way.
    Waiting,
    /// It waits for this time to be tried again.
    Due(Timestamp),
    /// The provider says that the device is gone.
    Feedback(FeedbackSource),
}

impl TokenPrefix {
    /// Reads 4 to 200 hex digits of any case; spaces, `<` and `>` are ignored.
    pub fn parse(text: &str) -> Result<Self, TokenPrefixError> {
        let digits = text.chars().filter(|c| !matches!(c, ' ' | '<' | '>'));
        let digits = digits.map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(c));
        let digits = digits.collect::<Result<Vec<u8>, char>>().map_err(TokenPrefixError::NotHex)?;
        match digits.len() {
            DIGITS_MIN..=DIGITS_MAX => Ok(Self(digits)),
            count => Err(TokenPrefixError::Digits(count)),
        }
    }

    /// Whether a token begins so.
    pub(super) fn matches(&self, token: &[u8]) -> bool {
        let mut digits = token.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        self.0.iter().all(|digit| digits.next() == Some(*digit))
    }

    /// Whether a token may begin so of which only the first bytes are known.
    pub(super) fn matches_start(&self, start: [u8; 4]) -> bool {
        Self(self.0[..self.0.len().min(8)].to_vec()).matches(&start)
    }

    /// Its whole bytes: every token that begins so has them.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
    }

    /// Its digits in upper case.
    pub(super) fn hex(&self) -> String {
        self.0.iter().filter_map(|digit| char::from_digit(u32::from(*digit), 16)).collect::<String>().to_uppercase()
    }
}

impl fmt::Debug for TokenPrefix {
    /// As masked as every token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenPrefix({})", MaskedToken(&self.bytes()))
    }
}

impl Traced {
    fn logged(entry: Entry) -> Self {
        Self {
            timestamp: entry.timestamp,
            app: entry.app,
            token: MaskedToken(&entry.token).to_string(),
            row: Some((entry.batch, entry.row)),
            event: Event::Logged(entry.outcome),
        }
    }

    pub(super) fn rejected(rejection: &Rejection) -> Self {
        Self {
            timestamp: rejection.timestamp,
            app: Some(rejection.app.clone()),
            token: MaskedToken(&rejection.token).to_string(),
            row: Some((rejection.batch, rejection.row)),
            event: Event::Logged(Logged::Rejected(rejection.reason)),
        }
    }

    pub(super) fn feedback(source: &FeedbackSource, entry: &FeedbackEntry) -> Self {
        Self {
            timestamp: entry.timestamp,
            app: None,
            token: MaskedToken(&entry.token).to_string(),
            row: None,
            event: Event::Feedback(source.clone()),
        }
    }

    fn waiting(app: &AppId, stored: &Stored, row: u32) -> Self {
        Self {
            timestamp: stored.batch.accepted_at(),
            app: Some(app.clone()),
            token: MaskedToken(stored.batch.notification(row).token).to_string(),
            row: Some((stored.id, row)),
            event: stored.due.map_or(Event::Waiting, Event::Due),
        }
    }
}

/// What is found on the way.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) prefix: TokenPrefix,
    pub(super) visible: Visible,
    /// How many events are looked for.
    pub(super) limit: usize,
    /// Newest first.
    waiting: Vec<Traced>,
    /// Rejections and feedback, each oldest first.
    kept: Vec<Traced>,
}

impl Search {
    pub(super) fn new(prefix: TokenPrefix, visible: Visible, limit: usize) -> Self {
        Self { prefix, visible, limit, waiting: Vec::new(), kept: Vec::new() }
    }

    /// Whether no more batches need to be looked at.
    pub(super) fn has_enough_waiting(&self) -> bool {
        self.waiting.len() >= self.limit
    }

    /// Takes the rows of a batch that wait; batches come by falling id.
    pub(super) fn add_waiting(&mut self, app: &AppId, stored: &Stored) {
        if !self.visible.shows(Some(app)) {
            return;
        }
        let rows = stored.rows.iter().rev().flat_map(|rows| rows.clone().rev());
        let rows = rows.filter(|row| self.prefix.matches(stored.batch.notification(*row).token));
        let room = self.limit.saturating_sub(self.waiting.len());
        self.waiting.extend(rows.take(room).map(|row| Traced::waiting(app, stored, row)));
    }

    /// Takes rejections or feedback, oldest first.
    pub(super) fn add_kept(&mut self, kept: impl IntoIterator<Item = Traced>) {
        self.kept.extend(kept);
    }

    /// Everything together: what happened, by its time, then what waits, which is the present. A rejection that was
    /// logged is not told twice.
    pub(super) fn finish(self, logged: Vec<Entry>) -> Vec<Traced> {
        let told: HashSet<(Option<(BatchId, u32)>, Reason)> = logged
            .iter()
            .filter_map(|entry| match entry.outcome {
                Logged::Rejected(reason) => Some((Some((entry.batch, entry.row)), reason)),
                Logged::Accepted | Logged::Presumed | Logged::Retried(_) | Logged::Unknown => None,
            })
            .collect();
        let kept = self.kept.into_iter().filter(|kept| match &kept.event {
            Event::Logged(Logged::Rejected(reason)) => !told.contains(&(kept.row, *reason)),
            Event::Logged(_) | Event::Waiting | Event::Due(_) | Event::Feedback(_) => true,
        });
        let mut all: Vec<Traced> = kept.collect();
        all.extend(logged.into_iter().map(Traced::logged));
        all.sort_by_key(|traced| traced.timestamp);
        all.extend(self.waiting.into_iter().rev());
        all.split_off(all.len().saturating_sub(self.limit))
    }
}
