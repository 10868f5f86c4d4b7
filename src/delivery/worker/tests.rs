//! When the worker looks again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::*;
use crate::clock::Clock;
use crate::credentials;
use crate::delivery::Delivery;
use crate::domain::app::{Address, AppId, AppState, Environment};
use crate::domain::batch::{Batch, Message, PushOptions};
use crate::domain::token::Tokens;
use crate::gateway::{Route, Settings};
use crate::queue::Queue;
use crate::queue::retry::Unknown;
use crate::store::{self, Store};

/// A worker whose gateway nobody listens at.
fn worker() -> Worker {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
    let gateway = Address::parse("binary://127.0.0.1:1").unwrap();
    let route = Route {
        app: AppId::parse("app").unwrap(),
        environment: Arc::new(Environment { name: "sandbox".into(), gateway, feedback: None, ca: None, proxy: None }),
        credentials: Arc::new(credentials::parse(pem.as_bytes(), &credentials::CredentialOptions::default()).unwrap()),
        connect_timeout: Duration::from_secs(1),
        topic: None,
        connections: 1,
        meter: Arc::default(),
    };
    let (clock, store) = (Clock::system(), Store::memory(&store::Settings::default()));
    let queues = Queue::new(store.clone(), crate::queue::Settings::default(), clock.clone());
    let queue = queues.open(route.app.clone());
    let express = Express::new(route.clone(), Settings::default().into(), clock.clone());
    let gateway = Gateway::new(route, &Settings::default().into(), clock.clone()).unwrap();
    let shutdown = Shutdown::new();
    let delivery = Delivery {
        gateway: Settings::default().into(),
        unknown: Unknown::Resend,
        store,
        clock,
        shutdown: shutdown.clone(),
    };
    let (_, mailbox) = mpsc::channel(1);
    Worker::new(gateway, express, delivery.books(queue, Arc::default()), mailbox, shutdown).0
}

#[tokio::test(start_paused = true)]
async fn a_due_row_that_cannot_be_sent_wakes_nobody_again_and_again() {
    let mut worker = worker();
    let mut tokens = Tokens::default();
    tokens.push(&[1; 32]);
    let message = Message { payload: b"{}"[..].into(), options: PushOptions::default() };
    let (clock, queue) = (worker.books.clock.clone(), worker.books.queue.clone());
    queue.accept(Batch::broadcast(clock.timestamp(), tokens, message), None).await.unwrap();
    let in_a_minute = clock.now() + Duration::from_secs(60);
    worker.state.pause();
    assert!(queue.is_ready(clock.now()), "the row is due");
    assert_eq!(worker.act().await, Some(in_a_minute), "an operator's pause has no end to wait for, but rows expire");

    worker.state.resume(clock.now());
    worker.act().await;
    assert_eq!(worker.act().await, Some(in_a_minute), "while it connects, the connection is what it waits for");
}

/// A batch of one row in the express line, and a first connection that stands.
async fn with_express_row() -> Worker {
    let mut worker = worker();
    let mut tokens = Tokens::default();
    tokens.push(&[1; 32]);
    let message = Message { payload: b"{}"[..].into(), options: PushOptions::default() };
    let batch = Batch::broadcast(worker.books.clock.timestamp(), tokens, message);
    worker.books.queue.accept_express(batch, None).await.unwrap();
    worker.state.connecting(worker.books.clock.now());
    worker.state.connected(worker.books.clock.now());
    worker
}

#[tokio::test(start_paused = true)]
async fn where_the_second_connection_fails_its_rows_are_the_first_of_the_others() {
    let mut worker = with_express_row().await;
    worker.act().await;
    assert!(!worker.express.is_closed() && worker.books.queue.has_express(), "it waits for the connection");
    let event = worker.express.event().await;
    assert!(matches!(&event, Event::Closed(Closed { cause: CloseCause::Unreachable(_), .. })), "{event:?}");
    worker.on_express(event).await;
    worker.act().await;
    assert!(worker.express.is_closed() && !worker.books.queue.has_express());
    assert_eq!(worker.books.lease(9).await.map(|span| span.rows), Some(0..1));
    assert_eq!(
        (worker.state.shown(), worker.state.cause()),
        (AppState::Connected, ""),
        "that says nothing about the first"
    );
}

#[tokio::test(start_paused = true)]
async fn a_paused_app_opens_no_second_connection_and_closes_the_one_it_has() {
    let mut worker = with_express_row().await;
    worker.state.pause();
    worker.act().await;
    assert!(worker.express.is_closed());

    let mut worker = with_express_row().await;
    worker.act().await;
    worker.express.connected();
    worker.state.pause();
    worker.act().await;
    let event = worker.express.event().await;
    assert!(matches!(&event, Event::Closed(Closed { cause: CloseCause::Retired { .. }, .. })), "{event:?}");
    worker.on_express(event).await;
    worker.act().await;
    assert!(worker.express.is_closed() && worker.books.queue.has_express());
}

#[tokio::test(start_paused = true)]
async fn the_next_second_connection_comes_a_quarter_of_a_second_after_the_last() {
    let mut worker = with_express_row().await;
    let opened = worker.books.clock.now();
    worker.act().await;
    worker.express.retire();
    let event = worker.express.event().await;
    worker.on_express(event).await;
    assert_eq!(worker.act().await, Some(opened + Duration::from_millis(250)));
    assert!(worker.express.is_closed());
    worker.books.clock.sleep(Duration::from_millis(250)).await;
    worker.act().await;
    assert!(!worker.express.is_closed());
}
