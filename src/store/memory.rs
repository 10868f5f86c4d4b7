//! The store in memory, lost when the process ends: the model that every durable kind must agree with.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::log::Log;
use super::outcomes::{Entry, Logged, Ring};
use super::progress::Progress;
use super::record::excerpt;
use super::requests::{Turn, turn};
use super::trace::{Search, TokenPrefix, Traced, Visible};
use super::{Backlog, Commit, Due, FeedbackSource, RequestKey, Settings, Stored};
use crate::clock::Clock;
use crate::domain::app::AppId;
use crate::domain::batch::{Batch, BatchId, Span, Tries};
use crate::domain::feedback::{Cursor, FeedbackEntry, Page, Rejection};
use crate::domain::time::Timestamp;

/// Everything, behind one lock that is never held across a wait.
#[derive(Debug)]
pub struct Memory {
    settings: Settings,
    clock: Clock,
    records: Mutex<Records>,
    outcomes: Mutex<Ring>,
}

/// Bytes of outcomes that are logged at most: memory is dearer than the disk.
const OUTCOMES_BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, Default)]
struct Records {
    apps: BTreeMap<AppId, Vec<u8>>,
    newest: u64,
    batches: BTreeMap<BatchId, Held>,
    requests: Requests,
    rejections: HashMap<AppId, Log<Rejection>>,
    feedback: HashMap<FeedbackSource, Log<FeedbackEntry>>,
    cursors: HashMap<(AppId, FeedbackSource), Cursor>,
}

/// A batch with rows that are not settled.
#[derive(Debug)]
struct Held {
    app: AppId,
    batch: Arc<Batch>,
    progress: Progress,
    due: Option<Timestamp>,
    tries: Tries,
}

/// Content of the calls that named themselves, in two generations.
#[derive(Debug, Default)]
struct Requests {
    began: Timestamp,
    present: HashMap<(AppId, [u8; 16]), [u8; 16]>,
    previous: HashMap<(AppId, [u8; 16]), [u8; 16]>,
}

impl Memory {
    pub(super) fn new(settings: &Settings, clock: Clock) -> Self {
        let outcomes = usize::try_from(settings.trace_max.min(OUTCOMES_BYTES_MAX)).unwrap_or(usize::MAX);
        Self { settings: settings.clone(), clock, records: Mutex::default(), outcomes: Mutex::new(Ring::new(outcomes)) }
    }

    pub(super) fn put_app(&self, app: &AppId, body: Vec<u8>) {
        self.records().apps.insert(app.clone(), body);
    }

    pub(super) fn remove_app(&self, app: &AppId) {
        self.records().apps.remove(app);
    }

    pub(super) fn apps(&self) -> Vec<(AppId, Vec<u8>)> {
        self.records().apps.iter().map(|(app, body)| (app.clone(), body.clone())).collect()
    }

    pub(super) fn commit_then(
        &self,
        app: &AppId,
        batch: &Arc<Batch>,
        request: Option<RequestKey>,
        then: impl FnOnce(BatchId),
    ) -> Commit {
        let now = self.clock.timestamp();
        let mut records = self.records();
        if let Some(request) = request
            && let Some(before) = records.requests.enter(app, request, now)
        {
            return request.again(before);
        }
        let id = records.hold(app, Arc::clone(batch), None, Tries::default());
        then(id);
        Commit::Accepted(id)
    }

    pub(super) fn requested(&self, app: &AppId, request: RequestKey) -> Option<[u8; 16]> {
        self.records().requests.find(app, request, self.clock.timestamp())
    }

    pub(super) fn settle(&self, span: &Span) {
        self.records().settle(span);
    }

    pub(super) fn requeue(&self, app: &AppId, span: &Span, due: Option<Timestamp>, then: impl FnOnce(BatchId)) -> Span {
        let batch = Arc::new(excerpt(&span.batch, span.rows.clone()));
        let mut records = self.records();
        records.settle(span);
        let id = records.hold(app, Arc::clone(&batch), due, span.tries);
        then(id);
        Span { id, rows: 0..batch.rows(), batch, tries: span.tries }
    }

    pub(super) fn load(&self, app: &AppId, after: BatchId, bytes_max: usize) -> Vec<Stored> {
        let mut bytes = 0;
        let mut stored = Vec::new();
        let records = self.records();
        let later = records.batches.range(BatchId(after.0.saturating_add(1))..);
        for (id, held) in later.filter(|(_, held)| held.app == *app && held.due.is_none()) {
            stored.push(held.stored(*id));
            bytes += held.batch.memory();
            if bytes >= bytes_max {
                break;
            }
        }
        stored
    }

    pub(super) fn load_due(&self, app: &AppId, after: (Timestamp, BatchId), until: Timestamp, bytes_max: usize) -> Due {
        let records = self.records();
        let deferred = records.batches.iter().filter(|(_, held)| held.app == *app);
        let deferred = deferred.filter_map(|(id, held)| Some(((held.due?, *id), held)));
        let later: BTreeMap<_, _> = deferred.filter(|(place, _)| *place > after).collect();
        let (mut stored, mut bytes) = (Vec::new(), 0);
        for ((due, id), held) in later {
            if due > until || (bytes >= bytes_max && !stored.is_empty()) {
                return Due { stored, next: Some(due) };
            }
            bytes += held.batch.memory();
            stored.push(held.stored(id));
        }
        Due { stored, next: None }
    }

    pub(super) fn backlogs(&self) -> Vec<Backlog> {
        let mut backlogs: BTreeMap<AppId, Backlog> = BTreeMap::new();
        for (id, held) in &self.records().batches {
            let app = held.app.clone();
            let oldest = held.batch.accepted_at();
            let empty = Backlog { app: app.clone(), rows: 0, deferred: 0, oldest, newest: BatchId(0), next_due: None };
            let backlog = backlogs.entry(app).or_insert(empty);
            let left = u64::from(held.progress.left());
            backlog.rows += left;
            backlog.oldest = backlog.oldest.min(oldest);
            match held.due {
                None => backlog.newest = *id,
                Some(due) => {
                    backlog.next_due = Some(backlog.next_due.map_or(due, |next| next.min(due)));
                    backlog.deferred += left;
                }
            }
        }
        backlogs.into_values().collect()
    }

    pub(super) fn reject(&self, rejections: Vec<Rejection>, spans: &[Span]) {
        let now = self.clock.timestamp();
        let mut records = self.records();
        spans.iter().for_each(|span| records.settle(span));
        for rejection in rejections {
            let log = records.rejections.entry(rejection.app.clone());
            log.or_insert_with(|| Log::new(self.settings.rejections_max, self.settings.first_cursor))
                .append(now, rejection);
        }
    }

    pub(super) fn rejections_after(&self, app: &AppId, cursor: Cursor, limit: usize) -> Page<Rejection> {
        let mut records = self.records();
        page(records.rejections.get_mut(app), self.cutoff(self.settings.rejections_age), cursor, limit)
    }

    pub(super) fn latest_rejections(&self, app: &AppId, limit: usize) -> Vec<Rejection> {
        let mut records = self.records();
        records.rejections.get_mut(app).map_or_else(Vec::new, |log| {
            log.trim(self.cutoff(self.settings.rejections_age));
            log.latest(limit)
        })
    }

    pub(super) fn append_feedback(&self, source: &FeedbackSource, entries: Vec<FeedbackEntry>) {
        let now = self.clock.timestamp();
        let mut records = self.records();
        let log = records.feedback.entry(source.clone());
        let log = log.or_insert_with(|| Log::new(self.settings.feedback_max, self.settings.first_cursor));
        entries.into_iter().for_each(|entry| log.append(now, entry));
    }

    pub(super) fn feedback_after(&self, source: &FeedbackSource, cursor: Cursor, limit: usize) -> Page<FeedbackEntry> {
        let mut records = self.records();
        page(records.feedback.get_mut(source), self.cutoff(self.settings.feedback_age), cursor, limit)
    }

    pub(super) fn feedback_cursor(&self, app: &AppId, source: &FeedbackSource) -> Cursor {
        let records = self.records();
        records.cursors.get(&(app.clone(), source.clone())).copied().unwrap_or_default()
    }

    pub(super) fn move_feedback_cursor(&self, app: &AppId, source: &FeedbackSource, cursor: Cursor) {
        self.records().cursors.insert((app.clone(), source.clone()), cursor);
    }

    pub(super) fn log_outcome(&self, app: &AppId, span: &Span, outcome: Logged, at: Timestamp) {
        self.outcomes().log(app, span, outcome, at);
    }

    pub(super) fn trace(&self, prefix: TokenPrefix, visible: Visible, limit: usize) -> Vec<Traced> {
        let is_visible = |entry: &Entry| visible.shows(entry.app.as_ref());
        let logged = self.outcomes().find(|start| prefix.matches_start(start), is_visible, limit);
        let mut search = Search::new(prefix, visible, limit);
        let mut records = self.records();
        records.trim(self.cutoff(self.settings.rejections_age), self.cutoff(self.settings.feedback_age));
        records.search(&mut search);
        drop(records);
        search.finish(logged)
    }

    fn cutoff(&self, age: Duration) -> Timestamp {
        self.clock.timestamp().minus(age)
    }

    /// A panic elsewhere leaves the records whole: every change is one statement.
    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outcomes(&self) -> MutexGuard<'_, Ring> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    /// Keeps a batch behind all others. One without rows is done at once.
    fn hold(&mut self, app: &AppId, batch: Arc<Batch>, due: Option<Timestamp>, tries: Tries) -> BatchId {
        self.newest += 1;
        let id = BatchId(self.newest);
        let progress = Progress::new(batch.rows());
        if progress.left() > 0 {
            self.batches.insert(id, Held { app: app.clone(), batch, progress, due, tries });
        }
        id
    }

    fn settle(&mut self, span: &Span) {
        let Some(held) = self.batches.get_mut(&span.id) else { return };
        held.progress.settle(span.rows.clone());
        if held.progress.left() == 0 {
            self.batches.remove(&span.id);
        }
    }
}

impl Records {
    fn trim(&mut self, rejections: Timestamp, feedback: Timestamp) {
        self.rejections.values_mut().for_each(|log| log.trim(rejections));
        self.feedback.values_mut().for_each(|log| log.trim(feedback));
    }

    fn search(&self, search: &mut Search) {
        let rejections: BTreeMap<_, _> = self.rejections.iter().collect();
        let mut found: Vec<Traced> = rejections
            .into_values()
            .flat_map(Log::iter)
            .filter(|rejection| search.visible.shows(Some(&rejection.app)) && search.prefix.matches(&rejection.token))
            .map(Traced::rejected)
            .collect();
        search.add_kept(newest(&mut found, search.limit));
        let by_name = self.feedback.iter().map(|(source, log)| ((&source.environment, &source.topic), (source, log)));
        let mut found: Vec<Traced> = BTreeMap::from_iter(by_name)
            .into_values()
            .flat_map(|(source, log)| log.iter().map(move |entry| (source, entry)))
            .filter(|(_, entry)| search.visible.shows(None) && search.prefix.matches(&entry.token))
            .map(|(source, entry)| Traced::feedback(source, entry))
            .collect();
        search.add_kept(newest(&mut found, search.limit));
        for (id, held) in self.batches.iter().rev() {
            search.add_waiting(&held.app, &held.stored(*id));
        }
    }
}

/// The last ones by their time, oldest first.
fn newest(found: &mut Vec<Traced>, limit: usize) -> Vec<Traced> {
    found.sort_by_key(|traced| traced.timestamp);
    found.split_off(found.len().saturating_sub(limit))
}

impl Held {
    fn stored(&self, id: BatchId) -> Stored {
        let Self { batch, progress, due, tries, .. } = self;
        Stored { id, batch: Arc::clone(batch), rows: progress.unsettled(), due: *due, tries: *tries }
    }
}

impl Requests {
    /// Remembers a call; the content of the one that had its name before, if there was one.
    fn enter(&mut self, app: &AppId, request: RequestKey, now: Timestamp) -> Option<[u8; 16]> {
        match turn(self.began, now) {
            Turn::Keep => (),
            Turn::Rotate => {
                self.previous = std::mem::take(&mut self.present);
                self.began = now;
            }
            Turn::Drop => *self = Self { began: now, ..Self::default() },
        }
        let before = self.find(app, request, now);
        if before.is_none() {
            self.present.insert((app.clone(), request.id), request.content);
        }
        before
    }

    /// The content of the call that has this name, if there is one.
    fn find(&self, app: &AppId, request: RequestKey, now: Timestamp) -> Option<[u8; 16]> {
        let key = (app.clone(), request.id);
        let present = || self.present.get(&key).copied();
        match turn(self.began, now) {
            Turn::Keep => present().or_else(|| self.previous.get(&key).copied()),
            Turn::Rotate => present(),
            Turn::Drop => None,
        }
    }
}

fn page<T: Clone>(log: Option<&mut Log<T>>, cutoff: Timestamp, cursor: Cursor, limit: usize) -> Page<T> {
    match log {
        None => Page { entries: Vec::new(), next: Cursor::default() },
        Some(log) => {
            log.trim(cutoff);
            log.after(cursor, limit)
        }
    }
}
