//! The queue's promises: order, expiry, bounds, and that no row is lost or doubled.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::domain::batch::{Message, PushOptions, Tries};
use crate::domain::token::Tokens;
use crate::store;

const WALL: Timestamp = Timestamp::from_secs(1_000_000);
const NOW: Instant = Instant::from_start(Duration::from_secs(10));

fn queue(settings: Settings) -> AppQueue {
    let store = Store::memory(&store::Settings::default());
    Queue::new(store, settings).open(AppId::parse("app").unwrap())
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

fn leased(queue: &AppQueue, rows_max: u32) -> Span {
    match queue.lease(rows_max, NOW, WALL) {
        Some(Leased::Send(span)) => span,
        other => panic!("nothing to send but {other:?}"),
    }
}

#[tokio::test]
async fn rows_go_out_in_the_order_of_commits() {
    let queue = queue(Settings::default());
    let first = queue.accept(batch(3)).await.unwrap();
    let second = queue.accept(batch(2)).await.unwrap();
    assert_eq!((leased(&queue, 2).id, leased(&queue, 9).rows), (first, 2..3));
    assert_eq!(leased(&queue, 9).id, second);
    assert_eq!(queue.lease(9, NOW, WALL), None);
}

#[tokio::test]
async fn what_is_given_back_goes_out_first_and_in_order() {
    let queue = queue(Settings::default());
    queue.accept(batch(4)).await.unwrap();
    let (a, b) = (leased(&queue, 1), leased(&queue, 2));
    queue.give_back(vec![a, b]);
    assert_eq!([leased(&queue, 9).rows, leased(&queue, 9).rows, leased(&queue, 9).rows], [0..1, 1..3, 3..4]);
}

#[tokio::test]
async fn a_deferred_row_holds_up_nobody_and_returns_when_it_is_due() {
    let queue = queue(Settings::default());
    queue.accept(batch(2)).await.unwrap();
    let due = NOW + Duration::from_secs(1);
    let first = leased(&queue, 1);
    queue.defer(first, due);
    assert_eq!(leased(&queue, 9).rows, 1..2);
    assert!(!queue.is_ready(NOW));
    assert_eq!(queue.next_due(), Some(due));
    assert!(queue.is_ready(due));
    assert!(matches!(queue.lease(9, due, WALL), Some(Leased::Send(span)) if span.rows == (0..1)));
}

#[tokio::test]
async fn rows_past_their_expiration_or_max_age_are_expired_and_not_sent() {
    let queue = queue(Settings { max_age: Duration::from_secs(100), ..Settings::default() });
    let soon = u32::try_from(WALL.as_secs() + 10).unwrap();
    queue.accept(batch_expiring(1, Some(soon))).await.unwrap();
    queue.accept(batch_expiring(1, Some(0))).await.unwrap();
    let wall = WALL.plus(Duration::from_secs(10));
    assert!(matches!(queue.lease(9, NOW, wall), Some(Leased::Expired(_))));
    let Some(Leased::Send(span)) = queue.lease(9, NOW, wall) else { panic!("expiration 0 does not expire here") };
    queue.give_back(vec![span]);
    assert!(matches!(queue.lease(9, NOW, WALL.plus(Duration::from_secs(100))), Some(Leased::Expired(_))));
}

#[tokio::test]
async fn a_full_queue_refuses_a_batch_whole_until_rows_are_settled() {
    let queue = queue(Settings { queued_max: 5, ..Settings::default() });
    queue.accept(batch(3)).await.unwrap();
    assert_eq!(queue.accept(batch(3)).await, Err(QueueError::Full { waiting: 3, queued_max: 5 }));
    let span = leased(&queue, 9);
    queue.settle(&span);
    queue.accept(batch(3)).await.unwrap();
}

#[tokio::test]
async fn memory_is_bounded_over_all_apps_and_given_back_with_the_last_row() {
    let settings = Settings { memory_max: batch(10).memory() + 10, ..Settings::default() };
    let queues = Queue::new(Store::memory(&store::Settings::default()), settings.clone());
    let one = queues.open(AppId::parse("one").unwrap());
    let other = queues.open(AppId::parse("other").unwrap());
    one.accept(batch(10)).await.unwrap();
    assert_eq!(other.accept(batch(10)).await, Err(QueueError::Memory(settings.memory_max)));
    let (head, tail) = (leased(&one, 9), leased(&one, 9));
    one.settle(&head);
    assert!(other.accept(batch(10)).await.is_err());
    one.settle(&tail);
    other.accept(batch(10)).await.unwrap();
}

#[tokio::test]
async fn an_app_whose_gateway_is_away_leaves_room_for_the_others() {
    let settings = Settings { memory_max: 100 * batch(10).memory(), ..Settings::default() };
    let queues = Queue::new(Store::memory(&store::Settings::default()), settings);
    let stuck = queues.open(AppId::parse("stuck").unwrap());
    let other = queues.open(AppId::parse("other").unwrap());
    let mut accepted = 0;
    while stuck.accept(batch(10)).await.is_ok() {
        accepted += 1;
    }
    assert_eq!(accepted, 50);
    for _ in 0..20 {
        other.accept(batch(10)).await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_queue_takes_no_more_and_gives_up_everything() {
    let queue = queue(Settings::default());
    queue.accept(batch(3)).await.unwrap();
    let span = leased(&queue, 1);
    queue.defer(span, NOW + Duration::from_secs(60));
    queue.close();
    assert_eq!(queue.accept(batch(1)).await, Err(QueueError::Closed));
    assert_eq!(queue.lease_all().iter().map(|span| span.rows.clone()).collect::<Vec<_>>(), [0..1, 1..3]);
}

#[tokio::test]
async fn a_change_before_the_wait_is_not_missed() {
    let queue = queue(Settings::default());
    queue.accept(batch(1)).await.unwrap();
    queue.changed().await;
}

#[tokio::test]
async fn rows_that_were_settled_too_early_come_back_to_the_front() {
    let queue = queue(Settings::default());
    queue.accept(batch(3)).await.unwrap();
    let mut span = leased(&queue, 2);
    queue.settle(&span);
    let first = span.take_front(1);
    queue.readmit(vec![first]);
    assert_eq!(queue.depth().waiting, 2);
    for rows in [0..1, 2..3] {
        let span = leased(&queue, 9);
        assert_eq!(span.rows, rows);
        queue.settle(&span);
    }
    assert_eq!(queue.depth(), Depth::default());
}

#[derive(Clone, Debug)]
enum Step {
    Accept(u8),
    Lease(u32),
    GiveBack,
    Defer(u64),
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1..20_u8).prop_map(Step::Accept),
        (1..30_u32).prop_map(Step::Lease),
        Just(Step::GiveBack),
        (0..3_u64).prop_map(Step::Defer),
        Just(Step::Settle),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    /// Whatever is done: a row is in exactly one place, and settled at most once.
    #[test]
    fn no_row_is_lost_or_doubled(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let queue = queue(Settings::default());
            let (mut accepted, mut settled) = (0_u64, BTreeSet::new());
            let mut held: Vec<Span> = Vec::new();
            for (second, step) in steps.into_iter().enumerate() {
                let now = NOW + Duration::from_secs(second as u64);
                match step {
                    Step::Accept(rows) => {
                        queue.accept(batch(rows)).await.unwrap();
                        accepted += u64::from(rows);
                    }
                    Step::Lease(rows) => {
                        if let Some(Leased::Send(span)) = queue.lease(rows, now, WALL) {
                            held.push(span.with_tries(Tries::default()));
                        }
                    }
                    Step::GiveBack => queue.give_back(std::mem::take(&mut held)),
                    Step::Defer(seconds) => {
                        if let Some(span) = held.pop() {
                            queue.defer(span, now + Duration::from_secs(seconds));
                        }
                    }
                    Step::Settle => {
                        if let Some(span) = held.pop() {
                            queue.settle(&span);
                            for row in span.rows.clone() {
                                prop_assert!(settled.insert((span.id, row)), "settled twice");
                            }
                        }
                    }
                }
                let held_rows: u64 = held.iter().map(|span| u64::from(span.len())).sum();
                let depth = queue.depth();
                prop_assert_eq!(depth.leased, held_rows);
                prop_assert_eq!(depth.waiting + depth.leased + settled.len() as u64, accepted);
            }
            queue.give_back(held);
            for span in queue.lease_all() {
                for row in span.rows.clone() {
                    prop_assert!(settled.insert((span.id, row)), "in two places");
                }
            }
            prop_assert_eq!(settled.len() as u64, accepted);
            Ok(())
        })?;
    }
}
