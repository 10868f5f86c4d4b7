//! The queue's promises: order, expiry, bounds, and that no row is lost or doubled; over the store in memory, and over
//! SQLite with too little memory for what waits.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::domain::batch::{Batch, Message, PushOptions, Tries};
use crate::domain::feedback::Cursor;
use crate::domain::outcome::Reason;
use crate::domain::token::Tokens;
use crate::store::{self, Commit, RequestKey};

mod express;

const WALL: Timestamp = Timestamp::from_secs(1_000_000);
const NOW: Instant = Instant::from_start(Duration::from_secs(10));
const SECOND: Duration = Duration::from_secs(1);

fn app(name: &str) -> AppId {
    AppId::parse(name).unwrap()
}

fn queues(settings: Settings) -> Queue {
    let clock = Clock::with_wall(WALL);
    Queue::new(Store::memory(&store::Settings::default()), settings, clock)
}

fn queue(settings: Settings) -> AppQueue {
    queues(settings).open(app("app"))
}

/// A queue on disk with a clock that can be set.
struct OnDisk {
    dir: TempDir,
    clock: Clock,
    settings: Settings,
}

impl OnDisk {
    /// So little memory that two batches of a row do not fit.
    fn new() -> Self {
        let settings = Settings { memory_max: batch(1).memory() + 1, ..Settings::default() };
        Self { dir: TempDir::new().unwrap(), clock: Clock::with_wall(WALL), settings }
    }

    async fn start(&self) -> (Store, AppQueue) {
        let durability = store::Durability::None;
        let dir = self.dir.path().join("state");
        let settings = store::Settings { dir, durability, min_free: 0, ..store::Settings::default() };
        let store = Store::open(&settings, self.clock.clone()).unwrap();
        let queue = Queue::new(store.clone(), self.settings.clone(), self.clock.clone());
        queue.recover().await.unwrap();
        (store, queue.open(app("app")))
    }
}

fn batch(rows: u8) -> Batch {
    batch_expiring(rows, None)
}

fn batch_expiring(rows: u8, expiration: Option<u32>) -> Batch {
    let mut tokens = Tokens::default();
    (0..rows).for_each(|row| tokens.push(&[row; 32]));
    let options = PushOptions { expiration, ..PushOptions::default() };
    Batch::broadcast(WALL, tokens, Message { payload: b"{}"[..].into(), options })
}

/// Accepts a batch; its id.
async fn accept(queue: &AppQueue, batch: Batch) -> BatchId {
    match queue.accept(batch, None).await {
        Ok(Commit::Accepted(id)) => id,
        other => panic!("not accepted but {other:?}"),
    }
}

fn leased(queue: &AppQueue, rows_max: u32) -> Span {
    match queue.lease(rows_max, NOW, WALL) {
        Some(Leased::Send(span)) => span,
        other => panic!("nothing to send but {other:?}"),
    }
}

/// As after a transient error.
fn tried(span: Span) -> Span {
    let tries = Tries { transient: span.tries.transient + 1, ..span.tries };
    span.with_tries(tries)
}

/// Reads on and hands out the next rows.
async fn next(queue: &AppQueue) -> Option<Span> {
    let now = queue.0.shared.clock.now();
    while queue.wants_load(now, true) {
        queue.load(true).await;
    }
    match queue.lease(u32::MAX, now, WALL) {
        Some(Leased::Send(span)) => Some(span),
        None => None,
        Some(Leased::Expired(span)) => panic!("expired {span:?}"),
    }
}

/// Everything that is due now, in order, settled.
async fn drained(queue: &AppQueue) -> Vec<BatchId> {
    let mut ids = Vec::new();
    while let Some(span) = next(queue).await {
        queue.settle(&span);
        ids.push(span.id);
    }
    ids
}

#[tokio::test]
async fn rows_go_out_in_the_order_of_commits() {
    let queue = queue(Settings::default());
    let first = accept(&queue, batch(3)).await;
    let second = accept(&queue, batch(2)).await;
    assert_eq!((leased(&queue, 2).id, leased(&queue, 9).rows), (first, 2..3));
    assert_eq!(leased(&queue, 9).id, second);
    assert_eq!(queue.lease(9, NOW, WALL), None);
}

#[tokio::test]
async fn what_is_given_back_goes_out_first_and_in_order() {
    let queue = queue(Settings::default());
    accept(&queue, batch(4)).await;
    let (a, b) = (leased(&queue, 1), leased(&queue, 2));
    queue.give_back(vec![a, b]);
    assert_eq!([leased(&queue, 9).rows, leased(&queue, 9).rows, leased(&queue, 9).rows], [0..1, 1..3, 3..4]);
}

#[tokio::test(start_paused = true)]
async fn a_deferred_row_holds_up_nobody_and_returns_when_it_is_due() {
    let queue = queue(Settings::default());
    accept(&queue, batch(2)).await;
    let first = leased(&queue, 1);
    let clock = queue.0.shared.clock.clone();
    queue.defer(&first, SECOND).await.unwrap();
    assert_eq!(leased(&queue, 9).rows, 1..2);
    let due = clock.now() + SECOND;
    assert_eq!(queue.next_look(), Some(due));
    assert!(!queue.wants_load(clock.now(), true));
    clock.set_wall(WALL.plus(SECOND));
    clock.sleep_until(Some(due)).await;
    assert_eq!(next(&queue).await.unwrap().batch.notification(0).token, [0; 32]);
    assert_eq!(queue.next_look(), None);
}

#[tokio::test]
async fn rows_past_their_expiration_or_max_age_are_expired_and_not_sent() {
    let queue = queue(Settings { max_age: Duration::from_secs(50), ..Settings::default() });
    let soon = u32::try_from(WALL.as_secs() + 10).unwrap();
    accept(&queue, batch_expiring(1, Some(soon))).await;
    accept(&queue, batch_expiring(1, Some(0))).await;
    let wall = WALL.plus(Duration::from_secs(10));
    assert!(matches!(queue.lease(9, NOW, wall), Some(Leased::Expired(_))));
    let Some(Leased::Send(span)) = queue.lease(9, NOW, wall) else { panic!("expiration 0 does not expire here") };
    queue.give_back(vec![span]);
    assert_eq!(queue.lease_expired(NOW, wall), None);
    assert!(queue.lease_expired(NOW, WALL.plus(Duration::from_secs(50))).is_some());
}

#[tokio::test]
async fn after_a_step_of_the_wall_clock_nothing_expires_for_a_while() {
    let queue = queue(Settings { max_age: Duration::from_secs(50), ..Settings::default() });
    accept(&queue, batch(1)).await;
    let span = leased(&queue, 9);
    queue.give_back(vec![span]);
    let wall = WALL.plus(Duration::from_secs(86_400));
    assert_eq!(queue.lease_expired(NOW, wall), None);
    let later = NOW + Duration::from_secs(600);
    assert!(matches!(queue.lease(9, later, wall.plus(Duration::from_secs(600))), Some(Leased::Expired(_))));
}

#[tokio::test]
async fn a_full_queue_refuses_a_batch_whole_until_rows_are_settled() {
    let queue = queue(Settings { queued_max: 5, ..Settings::default() });
    accept(&queue, batch(3)).await;
    assert_eq!(queue.accept(batch(3), None).await, Err(QueueError::Full { waiting: 3, queued_max: 5 }));
    let span = leased(&queue, 9);
    queue.settle(&span);
    accept(&queue, batch(3)).await;
}

#[tokio::test]
async fn without_a_disk_memory_is_bounded_over_all_apps_while_rows_wait() {
    let settings = Settings { memory_max: batch(10).memory() + 10, ..Settings::default() };
    let queues = queues(settings.clone());
    let (one, other) = (queues.open(app("one")), queues.open(app("other")));
    accept(&one, batch(10)).await;
    assert_eq!(other.accept(batch(10), None).await, Err(QueueError::Memory(settings.memory_max)));
    let (head, tail) = (leased(&one, 9), leased(&one, 9));
    one.settle(&head);
    one.give_back(vec![tail]);
    assert!(other.accept(batch(10), None).await.is_err());
    leased(&one, 9);
    accept(&other, batch(10)).await;
}

#[tokio::test]
async fn an_app_whose_gateway_is_away_leaves_room_for_the_others() {
    let queues = queues(Settings { memory_max: 100 * batch(10).memory(), ..Settings::default() });
    let (stuck, other) = (queues.open(app("stuck")), queues.open(app("other")));
    let mut accepted = 0;
    while stuck.accept(batch(10), None).await.is_ok() {
        accepted += 1;
    }
    assert_eq!(accepted, 50);
    for _ in 0..20 {
        accept(&other, batch(10)).await;
    }
}

#[tokio::test]
async fn a_closed_queue_takes_no_more_and_gives_up_everything() {
    let on_disk = OnDisk::new();
    let (store, queue) = on_disk.start().await;
    accept(&queue, batch(3)).await;
    accept(&queue, batch(2)).await;
    let span = tried(leased(&queue, 1));
    queue.defer(&span, Duration::from_secs(60)).await.unwrap();
    queue.close();
    assert_eq!(queue.accept(batch(1), None).await, Err(QueueError::Closed));
    let mut rows = Vec::new();
    loop {
        let spans = queue.lease_all(queue.newest()).await.unwrap();
        if spans.is_empty() {
            break;
        }
        spans.iter().for_each(|span| queue.settle(span));
        rows.extend(spans.into_iter().map(|span| span.rows));
    }
    assert_eq!(rows, [1..3, 0..1, 0..2]);
    assert_eq!(store.backlogs().await.unwrap(), [], "nothing is left of the call that was refused");
}

#[tokio::test]
async fn a_change_before_the_wait_is_not_missed() {
    let queue = queue(Settings::default());
    accept(&queue, batch(1)).await;
    queue.changed().await;
}

#[tokio::test]
async fn rows_that_were_settled_too_early_come_back_to_the_front() {
    let queue = queue(Settings::default());
    accept(&queue, batch(3)).await;
    let mut span = leased(&queue, 2);
    queue.settle(&span);
    let first = span.take_front(1);
    let readmitted = queue.readmit(&first).await.unwrap();
    queue.prepend(readmitted.into_iter().collect());
    assert_eq!(queue.depth().waiting, 2);
    for token in [0, 2] {
        let span = leased(&queue, 9);
        assert_eq!(span.batch.notification(span.rows.start).token, [token; 32]);
        queue.settle(&span);
    }
    assert_eq!(queue.depth(), Depth::default());
}

#[tokio::test]
async fn a_request_that_was_accepted_before_is_not_queued_again() {
    let queue = queue(Settings::default());
    let key = |content| Some(RequestKey { id: [1; 16], content: [content; 16] });
    assert!(matches!(queue.accept(batch(1), key(1)).await, Ok(Commit::Accepted(_))));
    assert_eq!(queue.accept(batch(1), key(1)).await, Ok(Commit::Repeated));
    assert_eq!(queue.accept(batch(1), key(2)).await, Ok(Commit::Conflict));
    assert_eq!(queue.depth().waiting, 1);
}

#[tokio::test]
async fn what_does_not_fit_into_memory_waits_on_disk_and_goes_out_in_order() {
    let on_disk = OnDisk::new();
    let (_store, queue) = on_disk.start().await;
    let mut accepted = Vec::new();
    for _ in 0..20 {
        accepted.push(accept(&queue, batch(1)).await);
    }
    assert_eq!(queue.depth(), Depth { waiting: 20, oldest: Some(WALL), ..Depth::default() });
    let first = leased(&queue, 9);
    assert!(queue.lease(9, NOW, WALL).is_none(), "the others are not in memory");
    queue.settle(&first);
    let rest = drained(&queue).await;
    assert_eq!([vec![first.id], rest].concat(), accepted);
    assert_eq!(queue.depth(), Depth::default());
    let next = accept(&queue, batch(1)).await;
    assert_eq!(leased(&queue, 9).id, next, "it stays in memory again");
}

#[tokio::test]
async fn rows_readmitted_while_others_wait_on_disk_go_out_once_and_first() {
    let on_disk = OnDisk::new();
    let (_store, queue) = on_disk.start().await;
    let first = accept(&queue, batch(1)).await;
    let second = accept(&queue, batch(1)).await;
    let span = leased(&queue, 9);
    assert_eq!(span.id, first);
    queue.settle(&span);
    let readmitted = queue.readmit(&span).await.unwrap().unwrap();
    let again = readmitted.id;
    queue.prepend(vec![readmitted]);
    let third = accept(&queue, batch(1)).await;
    assert_eq!(drained(&queue).await, [again, second, third]);
}

#[tokio::test(start_paused = true)]
async fn after_a_start_what_was_not_settled_goes_out_in_order_and_what_was_deferred_when_it_is_due() {
    let on_disk = OnDisk::new();
    let (store, queue) = on_disk.start().await;
    let first = accept(&queue, batch(3)).await;
    let second = accept(&queue, batch(1)).await;
    let (settled, deferred) = (leased(&queue, 1), leased(&queue, 1));
    queue.settle(&settled);
    queue.defer(&tried(deferred), SECOND).await.unwrap();
    store.close().await.unwrap();
    drop((store, queue));

    let (_store, queue) = on_disk.start().await;
    let next_due = Some(WALL.plus(SECOND));
    assert_eq!(queue.depth(), Depth { waiting: 3, leased: 0, deferred: 1, next_due, oldest: Some(WALL) });
    let span = next(&queue).await.unwrap();
    assert_eq!((span.id, span.rows.clone()), (first, 2..3));
    queue.settle(&span);
    assert_eq!(drained(&queue).await, [second]);
    on_disk.clock.set_wall(WALL.plus(SECOND));
    let due = queue.next_look().unwrap();
    on_disk.clock.sleep_until(Some(due)).await;
    assert_eq!(next(&queue).await.unwrap().batch.notification(0).token, [1; 32]);
}

#[tokio::test]
async fn a_batch_that_is_committed_while_its_app_is_removed_is_rejected_like_those_before() {
    let on_disk = OnDisk::new();
    let (store, queue) = on_disk.start().await;
    let id = accept(&queue, batch(2)).await;
    queue.close();
    let late = Arc::new(batch(2));
    assert!(!queue.announce(Line::Ready, BatchId(id.0 + 1), Arc::clone(&late), None));
    queue.reject_late(Span { id, rows: 0..2, batch: late, tries: Tries::default() }).await.unwrap();
    let page = store.rejections_after(&app("app"), Cursor(0), 9).await.unwrap();
    let rejected: Vec<_> = page.entries.iter().map(|entry| (entry.row, entry.reason)).collect();
    assert_eq!(rejected, [(0, Reason::Deprovisioned), (1, Reason::Deprovisioned)]);
    assert_eq!(store.backlogs().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn after_everything_was_rejected_rows_are_due_when_they_should_be() {
    let on_disk = OnDisk::new();
    let (_store, queue) = on_disk.start().await;
    accept(&queue, batch(1)).await;
    queue.defer(&tried(leased(&queue, 1)), Duration::from_secs(300)).await.unwrap();
    for _ in 0..2 {
        for span in queue.lease_all(queue.newest()).await.unwrap() {
            queue.settle(&span);
        }
    }
    accept(&queue, batch(1)).await;
    queue.defer(&tried(leased(&queue, 1)), SECOND).await.unwrap();
    assert_eq!(queue.depth().next_due, Some(WALL.plus(SECOND)));
    on_disk.clock.set_wall(WALL.plus(SECOND));
    on_disk.clock.sleep(SECOND).await;
    assert!(next(&queue).await.is_some(), "and are found then");
}

#[tokio::test]
async fn without_room_in_memory_only_an_app_that_may_send_reads_on() {
    let on_disk = OnDisk::new();
    let (_store, queue) = on_disk.start().await;
    accept(&queue, batch(1)).await;
    accept(&queue, batch(1)).await;
    let first = leased(&queue, 1);
    queue.settle(&first);
    assert!(queue.is_ready(NOW), "it has something to connect for");
    assert!(!queue.wants_load(NOW, false));
    assert!(queue.wants_load(NOW, true));
}

#[tokio::test]
async fn apps_that_cannot_send_do_not_take_the_same_memory_at_the_same_time() {
    let on_disk = OnDisk { settings: Settings { memory_max: 1 << 20, ..Settings::default() }, ..OnDisk::new() };
    let (_store, one) = on_disk.start().await;
    let other = Queue(Arc::clone(&one.0.shared)).open(app("other"));
    let payload: Arc<[u8]> = vec![b' '; 1 << 20].into();
    for queue in [&one, &other] {
        let mut tokens = Tokens::default();
        tokens.push(&[7; 32]);
        let message = Message { payload: Arc::clone(&payload), options: PushOptions::default() };
        let filler = one.0.shared.memory.share().take(1);
        accept(queue, Batch::broadcast(WALL, tokens, message)).await;
        drop(filler);
    }
    futures_util::join!(one.load(false), other.load(false));
    assert_eq!([&one, &other].map(AppQueue::is_in_memory), [true, false]);
    assert!(other.is_ready(NOW));
}

#[tokio::test]
async fn calls_at_the_same_time_do_not_pass_the_bound_together() {
    let on_disk = OnDisk { settings: Settings { queued_max: 100, ..Settings::default() }, ..OnDisk::new() };
    let (_store, queue) = on_disk.start().await;
    let calls = (0..12).map(|_| queue.accept(batch(40), None));
    let accepted = join_all(calls).await.into_iter().filter(Result::is_ok).count();
    assert_eq!((accepted, queue.depth().waiting), (2, 80));
}

#[derive(Clone, Debug)]
enum Step {
    Accept(Line, u8),
    Lease(Line, u32),
    Demote,
    GiveBack,
    Defer(u64),
    Readmit,
    Settle,
    Load,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let line = prop_oneof![3 => Just(Line::Ready), 1 => Just(Line::Express)];
    let step = prop_oneof![
        4 => (line.clone(), 1..20_u8).prop_map(|(line, rows)| Step::Accept(line, rows)),
        4 => (line, 1..30_u32).prop_map(|(line, rows)| Step::Lease(line, rows)),
        1 => Just(Step::Demote),
        1 => Just(Step::GiveBack),
        1 => (0..3_u64).prop_map(Step::Defer),
        1 => Just(Step::Readmit),
        2 => Just(Step::Settle),
        3 => Just(Step::Load),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Settles everything that waits; how many rows that were.
async fn settle_all(queue: &AppQueue) -> u64 {
    let mut rows = 0;
    loop {
        let spans = queue.lease_all(queue.newest()).await.unwrap();
        if spans.is_empty() {
            return rows;
        }
        for span in spans {
            queue.settle(&span);
            rows += u64::from(span.len());
        }
    }
}

/// Takes the steps. Whatever is done: a row is in exactly one place, and settled as often as it was accepted.
async fn no_row_is_lost_or_doubled(queue: AppQueue, clock: Clock, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut accepted, mut settled) = (0_u64, 0_u64);
    let mut seen = BTreeSet::new();
    let mut held: Vec<Span> = Vec::new();
    let mut fresh_ids = Vec::new();
    for step in steps {
        match step {
            Step::Accept(line, rows) => {
                let Ok(Commit::Accepted(id)) = queue.accept_in(line, batch(rows), None).await else {
                    panic!("refused")
                };
                // Those of the express line may overtake and be overtaken.
                if line == Line::Express {
                    seen.insert(id);
                }
                accepted += u64::from(rows);
            }
            Step::Lease(line, rows) => {
                let leased = match line {
                    Line::Ready => queue.lease(rows, NOW, WALL),
                    Line::Express => queue.lease_express(rows, NOW, WALL),
                };
                if let Some(Leased::Send(span)) = leased {
                    if span.tries == Tries::default() && span.rows.start == 0 && seen.insert(span.id) {
                        fresh_ids.push(span.id);
                    }
                    held.push(span);
                }
            }
            Step::Demote => queue.demote_express(),
            Step::GiveBack => queue.give_back(std::mem::take(&mut held)),
            Step::Defer(seconds) => {
                if let Some(span) = held.pop() {
                    queue.defer(&tried(span), Duration::from_secs(seconds)).await.unwrap();
                }
            }
            Step::Settle => {
                if let Some(span) = held.pop() {
                    queue.settle(&span);
                    settled += u64::from(span.len());
                }
            }
            Step::Readmit => {
                if let Some(span) = held.pop() {
                    queue.settle(&span);
                    let tries = Tries { unknown: 1, ..span.tries };
                    let readmitted = queue.readmit(&span.with_tries(tries)).await.unwrap();
                    queue.prepend(readmitted.into_iter().collect());
                }
            }
            Step::Load => {
                clock.set_wall(clock.timestamp().plus(SECOND));
                clock.sleep(SECOND).await;
                if queue.wants_load(clock.now(), true) {
                    queue.load(true).await;
                }
            }
        }
        let held_rows: u64 = held.iter().map(|span| u64::from(span.len())).sum();
        let depth = queue.depth();
        prop_assert_eq!(depth.leased, held_rows);
        prop_assert_eq!(depth.waiting + depth.leased + settled, accepted);
    }
    prop_assert!(fresh_ids.is_sorted(), "fresh rows overtook each other: {fresh_ids:?}");
    queue.give_back(held);
    settled += settle_all(&queue).await;
    prop_assert_eq!(settled, accepted);
    prop_assert_eq!(queue.depth(), Depth::default());
    Ok(())
}

fn run(test: impl Future<Output = Result<(), TestCaseError>>) -> Result<(), TestCaseError> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test)
}

proptest! {
    #[test]
    fn in_memory_no_row_is_lost_or_doubled(steps in steps()) {
        run(async {
            let clock = Clock::with_wall(WALL);
            let store = Store::memory(&store::Settings::default());
            let queue = Queue::new(store, Settings::default(), clock.clone()).open(app("app"));
            no_row_is_lost_or_doubled(queue, clock, steps).await
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn on_disk_no_row_is_lost_or_doubled(steps in steps()) {
        run(async {
            let on_disk = OnDisk::new();
            let (_store, queue) = on_disk.start().await;
            no_row_is_lost_or_doubled(queue, on_disk.clock.clone(), steps).await
        })?;
    }
}
