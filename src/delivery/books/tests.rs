//! What outcomes do to the queue and the store, also while the store fails.

use tempfile::TempDir;

use super::*;
use crate::delivery::Delivery;
use crate::domain::apns::ApnsReason;
use crate::domain::batch::{Batch, BatchId, Message, PushOptions, Tries};
use crate::domain::feedback::Cursor;
use crate::domain::token::Tokens;
use crate::gateway;
use crate::queue::retry::Unknown;
use crate::queue::{self, Queue};
use crate::store::{self, Durability};

const WALL: Timestamp = Timestamp::from_secs(1_000_000);

fn origin() -> Origin {
    Origin { source: FeedbackSource { environment: "sandbox".into(), topic: "com.x".into() }, instead: None }
}

struct Place {
    dir: TempDir,
    clock: Clock,
    store: Store,
    queue: AppQueue,
    shutdown: Shutdown,
}

impl Place {
    async fn new() -> Self {
        Self::over(TempDir::new().unwrap()).await
    }

    async fn over(dir: TempDir) -> Self {
        let clock = Clock::with_wall(WALL);
        let settings = store::Settings {
            dir: dir.path().join("state"),
            durability: Durability::None,
            min_free: 0,
            // What is noted only is lost with the process.
            settle_flush: Duration::from_secs(24 * 60 * 60),
            ..store::Settings::default()
        };
        let store = Store::open(&settings, clock.clone()).unwrap();
        let queues = Queue::new(store.clone(), queue::Settings::default(), clock.clone());
        queues.recover().await.unwrap();
        let queue = queues.open(AppId::parse("app").unwrap());
        Self { dir, clock, store, queue, shutdown: Shutdown::new() }
    }

    /// As after the end of the process at any moment.
    async fn crashed(self) -> Self {
        let Self { dir, store, queue, .. } = self;
        drop((store, queue));
        Self::over(dir).await
    }

    fn books(&self) -> Books {
        let (store, clock, shutdown) = (self.store.clone(), self.clock.clone(), self.shutdown.clone());
        let delivery =
            Delivery { gateway: gateway::Settings::default().into(), unknown: Unknown::Resend, store, clock, shutdown };
        delivery.books(self.queue.clone(), Arc::default())
    }

    /// Accepts so many rows and hands them out.
    async fn leased(&self, rows: u32) -> Span {
        let mut tokens = Tokens::default();
        (0..rows).for_each(|row| tokens.push(&[row as u8; 32]));
        let message = Message { payload: b"{}"[..].into(), options: PushOptions::default() };
        self.queue.accept(Batch::broadcast(WALL, tokens, message), None).await.unwrap();
        self.books().lease(u32::MAX).await.unwrap()
    }

    async fn feedback(&self) -> Vec<FeedbackEntry> {
        self.store.feedback_after(&origin().source, Cursor(0), 10).await.unwrap().entries
    }

    async fn rejected(&self) -> Vec<(u32, &'static str)> {
        let app = AppId::parse("app").unwrap();
        let page = self.store.rejections_after(&app, Cursor(0), 10_000).await.unwrap();
        page.entries.into_iter().map(|entry| (entry.row, entry.reason.name())).collect()
    }

    /// Rows that are not settled on disk.
    async fn on_disk(&self) -> u64 {
        self.store.backlogs().await.unwrap().iter().map(|backlog| backlog.rows).sum()
    }
}

fn settled(span: Span, outcome: Outcome) -> Settled {
    Settled { span, outcome }
}

#[tokio::test(start_paused = true)]
async fn each_outcome_has_its_place_on_disk() {
    let place = Place::new().await;
    let mut span = place.leased(5).await;
    let after = Some(Duration::from_secs(60));
    let transient = Outcome::Retry(Retry::Transient { reason: Reason::ProcessingError, after });
    let outcomes = vec![
        settled(span.take_front(1), Outcome::Accepted),
        settled(span.take_front(1), Outcome::Rejected(Reason::InvalidToken)),
        settled(span.take_front(1), transient),
        settled(span, Outcome::Retry(Retry::NotProcessed)),
    ];
    let news = place.books().enter(outcomes, &origin()).await;
    let put_off = News::PutOff(Reason::ProcessingError, 1);
    assert_eq!(news, [News::Delivered, News::Rejected(Reason::InvalidToken, 1), put_off]);
    assert_eq!(place.rejected().await, [(1, "InvalidToken")]);
    assert_eq!((place.on_disk().await, place.queue.depth().waiting), (3, 3));
    assert_eq!(place.books().lease(9).await.unwrap().rows, 3..5);
    assert!(place.books().lease(9).await.is_none(), "the third is due in a minute");
}

#[tokio::test(start_paused = true)]
async fn a_dead_token_is_a_rejection_and_feedback_with_the_providers_time() {
    let place = Place::new().await;
    let mut span = place.leased(2).await;
    let (reason, since) = (Reason::Apns(ApnsReason::Unregistered), Timestamp::from_millis(1_600_000_000_123));
    let outcomes = vec![
        settled(span.take_front(1), Outcome::Unregistered { reason, since }),
        settled(span, Outcome::Rejected(Reason::Apns(ApnsReason::BadDeviceToken))),
    ];
    place.store.fail_commits(1);
    let news = place.books().enter(outcomes, &origin()).await;
    assert_eq!(news, [News::Delivered, News::Rejected(Reason::Apns(ApnsReason::BadDeviceToken), 1)]);
    assert_eq!(place.rejected().await, [(0, "Unregistered"), (1, "BadDeviceToken")]);
    assert_eq!(place.feedback().await, [FeedbackEntry { timestamp: since, token: [0; 32].into() }]);
    assert_eq!(place.on_disk().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_is_tried_until_it_is_kept_and_settled_only_then() {
    let place = Place::new().await;
    let span = place.leased(1).await;
    place.store.fail_commits(3);
    let before = place.clock.now();
    place.books().enter(vec![settled(span, Outcome::Rejected(Reason::InvalidToken))], &origin()).await;
    assert_eq!(place.clock.now().since(before), 3 * KEEP_RETRY);
    assert_eq!(place.rejected().await, [(0, "InvalidToken")]);
    assert_eq!(place.on_disk().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_was_rejected_does_not_come_back_after_a_crash() {
    let place = Place::new().await;
    let span = place.leased(2500).await;
    place.books().reject(vec![(span, Reason::EnvironmentChanged)]).await;
    let place = place.crashed().await;
    assert_eq!((place.on_disk().await, place.rejected().await.len()), (0, 2500));
}

#[tokio::test(start_paused = true)]
async fn what_waited_before_a_move_is_rejected_up_to_its_last_batch() {
    let place = Place::new().await;
    let span = place.leased(1).await;
    place.queue.give_back(vec![span]);
    let last = place.queue.newest();
    let later = place.leased(1).await;
    place.queue.give_back(vec![later]);
    let place = place.crashed().await;
    assert_eq!(place.books().reject_until(last, Reason::EnvironmentChanged).await, 1);
    assert_eq!((place.rejected().await, place.on_disk().await), (vec![(0, "EnvironmentChanged")], 1));
}

#[tokio::test(start_paused = true)]
async fn rows_to_be_tried_again_are_moved_as_soon_as_the_store_works() {
    let place = Place::new().await;
    let mut span = place.leased(2).await;
    place.store.fail_commits(2);
    let transient = || Outcome::Retry(Retry::Transient { reason: Reason::ProcessingError, after: None });
    let outcomes = vec![settled(span.take_front(1), transient()), settled(span, transient())];
    place.books().enter(outcomes, &origin()).await;
    assert_eq!((place.on_disk().await, place.queue.depth().leased), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stops_while_the_store_fails_leaves_the_rows_as_they_were() {
    let place = Place::new().await;
    let span = place.leased(2).await;
    place.store.fail_commits(1);
    place.shutdown.stop();
    place.books().enter(vec![settled(span, Outcome::Rejected(Reason::InvalidToken))], &origin()).await;
    assert_eq!(place.rejected().await, []);
    assert_eq!(place.on_disk().await, 2);
}

#[tokio::test(start_paused = true)]
async fn rows_presumed_delivered_too_early_are_durable_again_before_they_are_sent() {
    let place = Place::new().await;
    let span = place.leased(2).await;
    let mut late = span.clone();
    place.books().enter(vec![settled(span, Outcome::Presumed)], &origin()).await;
    assert_eq!(place.on_disk().await, 0);
    let rejected = settled(late.take_front(1), Outcome::Rejected(Reason::InvalidToken));
    let returned = settled(late, Outcome::Retry(Retry::NotProcessed));
    place.books().revise(vec![rejected, returned], &origin()).await;
    assert_eq!(place.rejected().await, [(0, "InvalidToken")]);
    assert_eq!(place.on_disk().await, 1);
    let again = place.books().lease(9).await.unwrap();
    assert_eq!((again.id, again.batch.notification(0).token), (BatchId(2), &[1; 32][..]));
}

#[tokio::test(start_paused = true)]
async fn counters_never_go_down_and_what_was_presumed_wrongly_counts_beside_its_new_outcome() {
    let place = Place::new().await;
    let (mut span, books) = (place.leased(4).await, place.books());
    let all = span.clone();
    place.clock.set_wall(WALL.plus(Duration::from_secs(2)));
    books.enter(vec![settled(all, Outcome::Presumed)], &origin()).await;
    let rejected = settled(span.take_front(1), Outcome::Rejected(Reason::InvalidToken));
    let accepted = settled(span.take_front(2), Outcome::Accepted);
    books.revise(vec![rejected, accepted], &origin()).await;
    let counters = &books.counters;
    assert_eq!((counters.presumed(), counters.revised(), counters.confirmed()), (4, 3, 2));
    assert_eq!(counters.rejected_for(), [(Reason::InvalidToken, 1)]);
    assert_eq!((counters.delivered(), counters.rejected()), (3, 1));
    let observed = counters.outcome_seconds().observed();
    assert_eq!((observed.count(), observed.sum), (7, 14.0));
}

#[tokio::test(start_paused = true)]
async fn what_expires_while_it_waits_is_rejected_without_a_connection() {
    let place = Place::new().await;
    let span = place.leased(3).await;
    place.queue.give_back(vec![span]);
    let mut books = place.books();
    books.expire(place.clock.now()).await;
    assert_eq!(place.rejected().await, []);
    let day = Duration::from_secs(24 * 60 * 60);
    place.clock.sleep(day).await;
    place.clock.set_wall(WALL.plus(day));
    books.expire(place.clock.now()).await;
    assert_eq!(place.rejected().await, [(0, "Expired"), (1, "Expired"), (2, "Expired")]);
    assert_eq!(place.on_disk().await, 0);
}

#[tokio::test(start_paused = true)]
async fn everything_that_waits_can_be_rejected_due_or_not() {
    let place = Place::new().await;
    let mut span = place.leased(3).await;
    let transient = Outcome::Retry(Retry::Transient { reason: Reason::ProcessingError, after: None });
    place.books().enter(vec![settled(span.take_front(1), transient)], &origin()).await;
    place.queue.give_back(vec![span]);
    assert_eq!(place.books().reject_all(Reason::Purged).await, (3, BatchId(1)));
    assert_eq!(place.rejected().await.len(), 3);
    assert_eq!((place.on_disk().await, place.queue.depth().waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_each_outcome_and_of_a_rejection_only_when_it_is_kept() {
    let place = Place::new().await;
    let mut span = place.leased(5).await;
    let books = place.books();
    let watch = books.watches.watch(&span.batch).unwrap();
    let since = Timestamp::from_secs(1_300_000_000);
    let transient = Outcome::Retry(Retry::Transient { reason: Reason::ProcessingError, after: None });
    let outcomes = vec![
        settled(span.take_front(1), Outcome::Accepted),
        settled(span.take_front(1), Outcome::Unregistered { reason: Reason::InvalidToken, since }),
        settled(span.take_front(1), transient),
        settled(span.take_front(1), Outcome::Retry(Retry::Unknown { alone: false })),
        settled(span, Outcome::Retry(Retry::NotProcessed)),
    ];
    books.enter(outcomes, &origin()).await;
    let known = watch.known();
    let told: Vec<Option<Logged>> = known.iter().map(|known| known.outcome).collect();
    let rejected = Some(Logged::Rejected(Reason::InvalidToken));
    let retried = Some(Logged::Retried(Reason::ProcessingError));
    assert_eq!(told, [Some(Logged::Accepted), rejected, retried, Some(Logged::Unknown), None]);
    assert_eq!(known[1].dead_since, Some(since));
}

#[tokio::test(start_paused = true)]
async fn what_the_app_is_to_blame_for_goes_back_to_the_front_and_is_logged() {
    let place = Place::new().await;
    let mut span = place.leased(5).await;
    let books = place.books();
    let watch = books.watches.watch(&span.batch).unwrap();
    let reason = Reason::Apns(ApnsReason::InvalidProviderToken);
    let outcomes = vec![
        settled(span.take_front(2), Outcome::Retry(Retry::Refused(reason))),
        settled(span, Outcome::Retry(Retry::NotProcessed)),
    ];
    assert_eq!(books.enter(outcomes, &origin()).await, []);
    let told: Vec<Option<Logged>> = watch.known().iter().map(|known| known.outcome).collect();
    let refused = Some(Logged::Retried(reason));
    assert_eq!(told, [refused, refused, None, None, None]);
    assert_eq!(books.counters.retried(), [(reason, 2)]);
    let front = books.lease(9).await.unwrap();
    assert_eq!((front.rows, front.tries), (0..2, Tries::default()));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_not_told_of_a_rejection_that_could_not_be_kept() {
    let place = Place::new().await;
    let span = place.leased(1).await;
    let books = place.books();
    let watch = books.watches.watch(&span.batch).unwrap();
    place.store.fail_commits(1);
    place.shutdown.stop();
    books.enter(vec![settled(span, Outcome::Rejected(Reason::InvalidToken))], &origin()).await;
    assert_eq!(watch.known()[0].outcome, None);
}
