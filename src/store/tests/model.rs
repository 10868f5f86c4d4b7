//! Random operations on both kinds of store give the same answers, with clean ends and crashes between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::store::outcomes::tests::logged;
use crate::store::record::tests::batches;

#[derive(Clone, Debug)]
enum Step {
    Commit(usize, Batch, Option<(u8, u8)>),
    Settle(Rows),
    Defer(Rows, Tries, Duration),
    Readmit(Rows),
    Load(usize, u64, usize),
    LoadDue(usize, Duration, u64, Duration, usize),
    Backlogs,
    Log(Rows, Logged),
    Trace(Option<Rows>, usize, usize),
    Keep(Entry),
    Wait(Duration),
    Reopen,
    Crash,
}

/// Apps, rejections and feedback.
#[derive(Clone, Debug)]
enum Entry {
    PutApp(usize, Vec<u8>),
    RemoveApp(usize),
    Reject(Vec<(usize, u32)>),
    Rejections(usize, u64, usize),
    Feed(usize, Vec<u8>),
    Feedback(usize, u64, usize),
    MoveCursor(usize, usize, u64),
}

/// Some rows of some batch that was committed.
#[derive(Clone, Debug)]
struct Rows {
    batch: prop::sample::Index,
    start: prop::sample::Index,
    len: u32,
}

fn steps() -> impl Strategy<Value = Step> {
    let rows = || (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..30_u32);
    let rows = move || rows().prop_map(|(batch, start, len)| Rows { batch, start, len });
    let tries = any::<(u8, u8, u8)>().prop_map(|(unknown, alone, transient)| Tries { unknown, alone, transient });
    let app = || 0..3_usize;
    let due = || (0..6_u64).prop_map(|minutes| Duration::from_secs(minutes * 60));
    let wait = prop_oneof![0..40 * 60_u64, 0..100 * 24 * 60 * 60_u64].prop_map(Duration::from_secs);
    prop_oneof![
        6 => (app(), batches(), option::of((0..3_u8, 0..2_u8))).prop_map(|(app, batch, key)| Step::Commit(app, batch, key)),
        6 => rows().prop_map(Step::Settle),
        3 => (rows(), tries, due()).prop_map(|(rows, tries, due)| Step::Defer(rows, tries, due)),
        1 => rows().prop_map(Step::Readmit),
        2 => (app(), 0..20_u64, 0..4000_usize).prop_map(|(app, after, bytes)| Step::Load(app, after, bytes)),
        2 => (app(), due(), 0..20_u64, due(), 0..4000_usize)
            .prop_map(|(app, due, id, until, bytes)| Step::LoadDue(app, due, id, until, bytes)),
        1 => Just(Step::Backlogs),
        3 => (rows(), logged()).prop_map(|(rows, outcome)| Step::Log(rows, outcome)),
        2 => (option::of(rows()), 4..64_usize, 0..30_usize)
            .prop_map(|(rows, digits, limit)| Step::Trace(rows, digits, limit)),
        10 => entries().prop_map(Step::Keep),
        1 => wait.prop_map(Step::Wait),
        1 => Just(Step::Reopen),
        2 => Just(Step::Crash),
    ]
}

fn entries() -> impl Strategy<Value = Entry> {
    let app = || 0..3_usize;
    prop_oneof![
        1 => (app(), vec(any::<u8>(), 0..9)).prop_map(|(app, body)| Entry::PutApp(app, body)),
        1 => app().prop_map(Entry::RemoveApp),
        2 => vec((app(), any::<u32>()), 0..7).prop_map(Entry::Reject),
        2 => (app(), 0..20_u64, 0..9_usize).prop_map(|(app, cursor, limit)| Entry::Rejections(app, cursor, limit)),
        1 => (app(), vec(any::<u8>(), 0..7)).prop_map(|(source, entries)| Entry::Feed(source, entries)),
        2 => (app(), 0..20_u64, 0..9_usize).prop_map(|(source, cursor, limit)| Entry::Feedback(source, cursor, limit)),
        1 => (app(), app(), 0..20_u64).prop_map(|(app, source, cursor)| Entry::MoveCursor(app, source, cursor)),
    ]
}

/// Both stores, and what is on disk of the one that has a disk.
struct Pair {
    place: Place,
    memory: Store,
    sqlite: Option<Store>,
    /// Every batch ever committed, by its id.
    batches: Vec<(AppId, Span)>,
    /// The rows of each batch whose settlement is not written.
    unsettled: BTreeMap<BatchId, BTreeSet<u32>>,
    /// Settled since notes were last written.
    settled: Vec<Span>,
    moved: Vec<(AppId, FeedbackSource, Cursor)>,
}

const APPS: [&str; 3] = ["one", "two", "three"];

impl Pair {
    fn new() -> Self {
        let place = Place::new();
        let (memory, sqlite) = (place.memory(), Some(place.open()));
        let (batches, settled, moved) = (Vec::new(), Vec::new(), Vec::new());
        Self { place, memory, sqlite, batches, unsettled: BTreeMap::new(), settled, moved }
    }

    fn sqlite(&self) -> &Store {
        self.sqlite.as_ref().unwrap()
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Commit(name, batch, key) => self.commit(&app(APPS[name]), Arc::new(batch), key).await,
            Step::Settle(rows) => {
                if let Some((_, span)) = self.choose(&rows) {
                    self.memory.settle(&span);
                    self.sqlite().settle(&span);
                    self.settled.push(span);
                }
            }
            Step::Defer(rows, tries, due) => {
                let due = self.place.clock.timestamp().plus(due);
                self.requeue(&rows, tries, Some(due)).await;
            }
            Step::Readmit(rows) => self.requeue(&rows, Tries::default(), None).await,
            Step::Load(name, after, bytes) => {
                let (app, after) = (app(APPS[name]), BatchId(after));
                let loaded = self.sqlite().load(&app, after, bytes).await;
                assert_eq!(loaded, self.memory.load(&app, after, bytes).await);
                self.notes_are_written();
            }
            Step::LoadDue(name, due, id, until, bytes) => {
                let (app, now) = (app(APPS[name]), self.place.clock.timestamp());
                let (after, until) = ((now.plus(due), BatchId(id)), now.plus(until));
                let loaded = self.sqlite().load_due(&app, after, until, bytes).await;
                assert_eq!(loaded, self.memory.load_due(&app, after, until, bytes).await);
                let loaded = self.sqlite().load_due(&app, BEGINNING, until, bytes).await;
                assert_eq!(loaded, self.memory.load_due(&app, BEGINNING, until, bytes).await);
                self.notes_are_written();
            }
            Step::Backlogs => {
                assert_eq!(self.sqlite().backlogs().await, self.memory.backlogs().await);
                self.notes_are_written();
            }
            Step::Log(rows, outcome) => {
                if let Some((app, span)) = self.choose(&rows) {
                    let now = self.place.clock.timestamp();
                    self.memory.log_outcome(&app, &span, outcome, now);
                    self.sqlite().log_outcome(&app, &span, outcome, now);
                }
            }
            Step::Trace(rows, digits, limit) => self.trace(rows, digits, limit).await,
            Step::Keep(entry) => self.keep(entry).await,
            Step::Wait(span) => self.place.clock.set_wall(self.place.clock.timestamp().plus(span)),
            Step::Reopen => {
                self.sqlite().close().await.unwrap();
                self.notes_are_written();
                self.sqlite = None;
                self.sqlite = Some(self.place.open());
            }
            Step::Crash => self.crash().await,
        }
        self.compare_cursors_and_apps().await;
    }

    async fn keep(&mut self, entry: Entry) {
        match entry {
            Entry::PutApp(name, body) => {
                self.memory.put_app(&app(APPS[name]), body.clone()).await.unwrap();
                self.sqlite().put_app(&app(APPS[name]), body).await.unwrap();
            }
            Entry::RemoveApp(name) => {
                self.memory.remove_app(&app(APPS[name])).await.unwrap();
                self.sqlite().remove_app(&app(APPS[name])).await.unwrap();
            }
            Entry::Reject(rows) => {
                let rejections: Vec<_> = rows.iter().map(|(name, row)| rejection(&app(APPS[*name]), *row)).collect();
                self.memory.reject(rejections.clone(), &[]).await.unwrap();
                self.sqlite().reject(rejections, &[]).await.unwrap();
            }
            Entry::Rejections(name, cursor, limit) => {
                let (app, cursor) = (app(APPS[name]), Cursor(cursor));
                let page = self.sqlite().rejections_after(&app, cursor, limit).await;
                assert_eq!(page, self.memory.rejections_after(&app, cursor, limit).await);
            }
            Entry::Feed(topic, entries) => {
                let entries: Vec<_> = entries.into_iter().map(feedback).collect();
                self.memory.append_feedback(&source(APPS[topic]), entries.clone()).await.unwrap();
                self.sqlite().append_feedback(&source(APPS[topic]), entries).await.unwrap();
            }
            Entry::Feedback(topic, cursor, limit) => {
                let (source, cursor) = (source(APPS[topic]), Cursor(cursor));
                let page = self.sqlite().feedback_after(&source, cursor, limit).await;
                assert_eq!(page, self.memory.feedback_after(&source, cursor, limit).await);
            }
            Entry::MoveCursor(name, topic, cursor) => {
                let moved = (app(APPS[name]), source(APPS[topic]), Cursor(cursor));
                self.memory.move_feedback_cursor(&moved.0, &moved.1, moved.2);
                self.sqlite().move_feedback_cursor(&moved.0, &moved.1, moved.2);
                self.moved.push(moved);
            }
        }
    }

    async fn commit(&mut self, app: &AppId, batch: Arc<Batch>, key: Option<(u8, u8)>) {
        let key = key.map(|(id, content)| super::key(id, content));
        let committed = self.sqlite().commit(app, &batch, key).await.unwrap();
        assert_eq!(Ok(committed), self.memory.commit(app, &batch, key).await);
        if let Commit::Accepted(id) = committed {
            self.hold(app, span(id, &batch, 0..batch.rows()));
        }
    }

    async fn trace(&mut self, rows: Option<Rows>, digits: usize, limit: usize) {
        let chosen = rows.and_then(|rows| self.choose(&rows));
        let token = chosen.map(|(_, span)| span.batch.notification(span.rows.start).token.to_vec());
        let hex = crate::domain::token::token_hex(&token.unwrap_or(vec![7; 32]));
        let Ok(prefix) = TokenPrefix::parse(&hex[..digits.min(hex.len())]) else { return };
        let found = self.sqlite().trace(prefix.clone(), Visible::default(), limit).await;
        assert_eq!(found, self.memory.trace(prefix, Visible::default(), limit).await);
        self.notes_are_written();
    }

    async fn requeue(&mut self, rows: &Rows, tries: Tries, due: Option<Timestamp>) {
        let Some((app, span)) = self.choose(rows) else { return };
        let span = span.with_tries(tries);
        let moved = match due {
            Some(due) => (self.sqlite().defer(&app, &span, due).await, self.memory.defer(&app, &span, due).await),
            None => (
                self.sqlite().readmit_then(&app, &span, |_| ()).await,
                self.memory.readmit_then(&app, &span, |_| ()).await,
            ),
        };
        assert_eq!(moved.0, moved.1);
        self.leave(&span);
        self.hold(&app, moved.0.unwrap());
    }

    async fn crash(&mut self) {
        self.sqlite = None;
        self.sqlite = Some(self.place.open());
        let mut found = BTreeMap::new();
        for name in APPS {
            for stored in all(self.sqlite(), &app(name)).await {
                found.insert(stored.id, stored.rows.into_iter().flatten().collect::<BTreeSet<u32>>());
            }
        }
        assert_eq!(found, self.unsettled, "what was not settled on disk comes back, and nothing else");
        self.settled.iter().for_each(|span| self.sqlite().settle(span));
        self.moved.iter().for_each(|(app, source, cursor)| self.sqlite().move_feedback_cursor(app, source, *cursor));
    }

    async fn compare_cursors_and_apps(&self) {
        for (app, source) in APPS.iter().flat_map(|name| APPS.map(|topic| (app(name), source(topic)))) {
            let cursor = self.sqlite().feedback_cursor(&app, &source).await;
            assert_eq!(cursor, self.memory.feedback_cursor(&app, &source).await);
        }
        assert_eq!(self.sqlite().apps().await, self.memory.apps().await);
    }

    fn choose(&self, rows: &Rows) -> Option<(AppId, Span)> {
        let (app, whole) = self.batches.get(rows.batch.index(self.batches.len().max(1)))?;
        let start = u32::try_from(rows.start.index(whole.rows.len())).unwrap();
        let end = whole.rows.end.min(start + rows.len);
        Some((app.clone(), Span { rows: start..end, ..whole.clone() }))
    }

    fn hold(&mut self, app: &AppId, span: Span) {
        self.unsettled.insert(span.id, span.rows.clone().collect());
        self.batches.push((app.clone(), span));
    }

    fn leave(&mut self, span: &Span) {
        let Some(rows) = self.unsettled.get_mut(&span.id) else { return };
        rows.retain(|row| !span.rows.contains(row));
        if rows.is_empty() {
            self.unsettled.remove(&span.id);
        }
    }

    fn notes_are_written(&mut self) {
        std::mem::take(&mut self.settled).iter().for_each(|span| self.leave(span));
        self.moved.clear();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_kinds_give_the_same_answers(steps in vec(steps(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new();
            for step in steps {
                pair.step(step).await;
            }
            for name in APPS {
                assert_eq!(fresh(pair.sqlite(), &app(name)).await, fresh(&pair.memory, &app(name)).await);
                assert_eq!(deferred(pair.sqlite(), &app(name)).await, deferred(&pair.memory, &app(name)).await);
            }
        });
    }
}
