//! The express line: before all others, in memory only, an ordinary batch on disk.

use super::*;
use crate::queue::intake::EXPRESS_BYTES;

async fn accept_express(queue: &AppQueue, batch: Batch) -> BatchId {
    match queue.accept_express(batch, None).await {
        Ok(Commit::Accepted(id)) => id,
        other => panic!("not accepted but {other:?}"),
    }
}

fn leased_express(queue: &AppQueue) -> Option<Span> {
    match queue.lease_express(u32::MAX, NOW, WALL) {
        Some(Leased::Send(span)) => Some(span),
        None => None,
        Some(Leased::Expired(span)) => panic!("expired {span:?}"),
    }
}

#[tokio::test]
async fn the_express_line_is_handed_out_by_itself() {
    let queue = queue(Settings::default());
    let ordinary = accept(&queue, batch(2)).await;
    let express = accept_express(&queue, batch(3)).await;
    assert!(queue.has_express());
    assert_eq!(queue.depth().waiting, 5);
    assert_eq!(leased_express(&queue).unwrap().id, express);
    assert_eq!((queue.has_express(), leased_express(&queue)), (false, None));
    assert_eq!(leased(&queue, 9).id, ordinary);
}

#[tokio::test]
async fn what_comes_back_untried_is_express_again_and_what_was_tried_is_not() {
    let queue = queue(Settings::default());
    accept(&queue, batch(1)).await;
    let id = accept_express(&queue, batch(3)).await;
    let mut span = leased_express(&queue).unwrap();
    let unknown = span.take_front(1).with_tries(Tries { unknown: 1, ..Tries::default() });
    queue.give_back(vec![unknown, span]);
    assert_eq!(leased_express(&queue).unwrap().rows, 1..3);
    assert_eq!((leased(&queue, 9).id, leased_express(&queue)), (id, None), "before all others");
}

#[tokio::test]
async fn a_line_that_is_given_up_waits_before_the_others_in_its_order() {
    let queue = queue(Settings::default());
    accept(&queue, batch(1)).await;
    let (one, two) = (accept_express(&queue, batch(2)).await, accept_express(&queue, batch(1)).await);
    let Some(Leased::Send(head)) = queue.lease_express(1, NOW, WALL) else { panic!("nothing") };
    queue.demote_express();
    assert_eq!((leased(&queue, 9).rows, leased(&queue, 9).id), (1..2, two));
    queue.give_back(vec![head]);
    assert_eq!((leased(&queue, 9).id, leased_express(&queue)), (one, None));
}

#[tokio::test(start_paused = true)]
async fn it_does_not_wait_for_what_is_on_disk_and_is_not_read_twice() {
    let on_disk = OnDisk::new();
    let (_store, queue) = on_disk.start().await;
    let first = accept(&queue, batch(1)).await;
    let spilled = accept(&queue, batch(1)).await;
    let express = accept_express(&queue, batch(2)).await;
    let last = accept(&queue, batch(1)).await;
    assert_eq!(leased_express(&queue).unwrap().id, express);
    assert_eq!(drained(&queue).await, [first, spilled, last]);
    assert_eq!((queue.depth().waiting, queue.depth().leased), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn on_disk_it_is_a_batch_like_any_other() {
    let on_disk = OnDisk::new();
    let (store, queue) = on_disk.start().await;
    let first = accept(&queue, batch(1)).await;
    let express = accept_express(&queue, batch(2)).await;
    leased_express(&queue).unwrap();
    drop((store, queue));
    let (_store, queue) = on_disk.start().await;
    assert_eq!((queue.has_express(), drained(&queue).await), (false, vec![first, express]));
}

#[tokio::test]
async fn one_that_a_read_brought_before_it_was_announced_is_express_all_the_same() {
    let on_disk = OnDisk::new();
    let (_store, queue) = on_disk.start().await;
    let id = accept(&queue, batch(2)).await;
    assert!(queue.announce(Line::Express, id, Arc::new(batch(2)), None));
    assert_eq!(leased_express(&queue).unwrap().rows, 0..2);
    assert_eq!((queue.depth().leased, queue.lease(9, NOW, WALL)), (2, None));
}

#[tokio::test]
async fn beyond_the_memory_bound_it_takes_a_little_and_then_waits_with_the_others() {
    let on_disk = OnDisk::new();
    let (_store, queue) = on_disk.start().await;
    accept(&queue, batch(1)).await;
    let mut count = 0;
    while queue.state().waiting.express_bytes() < EXPRESS_BYTES {
        accept_express(&queue, batch(200)).await;
        count += 1;
    }
    let last = accept_express(&queue, batch(1)).await;
    for _ in 0..count {
        assert_ne!(leased_express(&queue).unwrap().id, last);
    }
    assert_eq!(leased_express(&queue), None);
    assert_eq!(drained(&queue).await.last(), Some(&last));
}

#[tokio::test]
async fn rows_of_it_expire_and_can_be_rejected_like_others() {
    let queue = queue(Settings { max_age: Duration::from_secs(50), ..Settings::default() });
    let express = accept_express(&queue, batch(1)).await;
    let ordinary = accept(&queue, batch(1)).await;
    assert_eq!(queue.lease_expired(NOW, WALL), None);
    assert_eq!(queue.lease_expired(NOW, WALL.plus(Duration::from_secs(50))).unwrap().id, express);
    let express = accept_express(&queue, batch(1)).await;
    let all: Vec<BatchId> = queue.lease_all(queue.newest()).await.unwrap().iter().map(|span| span.id).collect();
    assert_eq!(all, [express, ordinary]);
}
