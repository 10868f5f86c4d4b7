//! `feedback`: dead tokens, handed out once to callers of the plain verb, again and again to those with a cursor.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::entry::{Entry, Provisioned, Standing};
use super::error::ServiceError;
use super::{App, PAGE_MAX, PushService};
use crate::delivery::feedback_source;
use crate::domain::feedback::{Cursor, FeedbackEntry, Page};
use crate::gateway::Route;
use crate::store::FeedbackSource;

/// How often the feedback service is asked in the background, once a caller has asked for an app.
const POLL_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// Most entries of one answer, some 20 MB of XML; the next call gets the rest.
const ENTRIES_MAX: usize = 100_000;

/// Answers of an app that are remembered by the id of their call, so that a lost one can be given again.
const ANSWERS_MAX: usize = 16;

/// What `feedback` has answered lately to calls that named themselves, the newest first.
#[derive(Debug, Default)]
pub(super) struct Answered(VecDeque<Answer>);

#[derive(Debug)]
struct Answer {
    request_id: String,
    source: FeedbackSource,
    /// Where its entries began.
    from: Cursor,
}

impl Answered {
    /// Where the entries began that a call with this id was given.
    fn from(&self, request_id: &str, source: &FeedbackSource) -> Option<Cursor> {
        let same = |answer: &&Answer| answer.request_id == request_id && answer.source == *source;
        self.0.iter().find(same).map(|answer| answer.from)
    }

    fn remember(&mut self, answer: Answer) {
        self.0.retain(|other| other.request_id != answer.request_id);
        self.0.truncate(ANSWERS_MAX - 1);
        self.0.push_front(answer);
    }
}

/// Feedback that is about to be handed to a caller. Dropped without its receipt being confirmed, it stays unread:
/// the next call gets it again. Holds the app's turn: one plain `feedback` call per app at a time.
#[derive(Debug)]
pub struct FeedbackHandout {
    entries: Vec<FeedbackEntry>,
    receipt: Receipt,
}

impl FeedbackHandout {
    /// The entries, oldest first, and the receipt that must be confirmed once the whole answer has left the process.
    pub fn into_parts(self) -> (Vec<FeedbackEntry>, Receipt) {
        (self.entries, self.receipt)
    }
}

/// Confirms that an answer with feedback has left the process.
pub struct Receipt(Option<Box<dyn FnOnce() + Send>>);

impl Receipt {
    fn new(confirm: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(confirm)))
    }

    /// The whole answer has left the process: these entries are not handed out again.
    pub fn handed_out(mut self) {
        if let Some(confirm) = self.0.take() {
            confirm();
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Receipt")
    }
}

impl PushService {
    /// Takes the app's turn, asks the feedback service, and collects what was not handed out before, up to
    /// 100,000 entries. What is stored is
    /// handed out even when the service is out of reach; an error only when there is nothing then.
    ///
    /// A call that names itself and is made again, because its answer was lost, gets once more what it was given, with
    /// what has come since. The daemon remembers the latest few calls of an app, until it ends.
    pub async fn feedback(&self, app: &App, request_id: Option<String>) -> Result<FeedbackHandout, ServiceError> {
        let entry = &app.0;
        let mut turn = Arc::clone(&entry.feedback_turn).lock_owned().await;
        let provisioned = entry.provisioned().ok_or(ServiceError::UnknownApp)?;
        let (route, source) = way(&provisioned)?;
        let polled = self.0.delivery.poll_feedback(&route, &source).await;
        self.poll_in_background(entry);
        let store = self.0.store.clone();
        let given = request_id.as_deref().and_then(|request_id| turn.from(request_id, &source));
        let cursor = match given {
            Some(from) => from,
            None => store.feedback_cursor(&entry.id, &source).await.map_err(ServiceError::try_later)?,
        };
        let page = store.feedback_after(&source, cursor, ENTRIES_MAX).await.map_err(ServiceError::try_later)?;
        if let (Err(error), true) = (polled, page.entries.is_empty()) {
            return Err(ServiceError::TryLater(format!("Connection to the APNS server could not be made. {error}")));
        }
        let id = entry.id.clone();
        let receipt = Receipt::new(move || {
            store.move_feedback_cursor(&id, &source, page.next);
            if let Some(request_id) = request_id {
                turn.remember(Answer { request_id, source, from: cursor });
            }
        });
        Ok(FeedbackHandout { entries: page.entries, receipt })
    }

    /// Feedback after a cursor; changes nothing. Also that of an app which cannot be used or was deprovisioned.
    pub async fn feedback_after(&self, app_id: &str, cursor: Cursor) -> Result<Page<FeedbackEntry>, ServiceError> {
        let source = match self.app(app_id) {
            Ok(App(entry)) => {
                self.poll_in_background(&entry);
                let provisioned = entry.provisioned().ok_or(ServiceError::UnknownApp)?;
                match provisioned.basis.feedback_source() {
                    Some(source) => source,
                    None => way(&provisioned)?.1,
                }
            }
            Err(unknown) => {
                let removed = self.0.removed.get(app_id).and_then(|removed| removed.feedback.clone());
                removed.ok_or(unknown)?
            }
        };
        self.0.store.feedback_after(&source, cursor, PAGE_MAX).await.map_err(ServiceError::try_later)
    }

    /// Asks the app's feedback service from now on, until the app is removed or the daemon stops.
    fn poll_in_background(&self, entry: &Arc<Entry>) {
        if entry.polled.swap(true, Ordering::Relaxed) {
            return;
        }
        let (service, entry) = (self.clone(), Arc::clone(entry));
        self.0.delivery.shutdown.spawn(async move {
            let shutdown = service.0.delivery.shutdown.clone();
            loop {
                tokio::select! {
                    () = service.0.clock.sleep(POLL_INTERVAL) => (),
                    () = shutdown.requested() => return,
                }
                let Some(provisioned) = entry.provisioned() else { return };
                let Ok((route, source)) = way(&provisioned) else { continue };
                tokio::select! {
                    polled = service.0.delivery.poll_feedback(&route, &source) => {
                        if let Err(error) = polled {
                            tracing::warn!(app = %entry.id, "feedback service: {error}");
                        }
                    }
                    () = shutdown.requested() => return,
                }
            }
        });
    }
}

/// How an app reaches its environment, and whose feedback it reads.
fn way(provisioned: &Provisioned) -> Result<(Route, FeedbackSource), ServiceError> {
    match &provisioned.standing {
        Standing::Accepted { route, .. } => Ok((route.clone(), feedback_source(route))),
        Standing::Refused(refusal) => Err(ServiceError::NotConnected(refusal.cause.clone())),
    }
}
