//! When the worker looks again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::*;
use crate::clock::Clock;
use crate::credentials;
use crate::domain::app::{Address, AppId, Environment};
use crate::domain::batch::{Batch, Message, PushOptions};
use crate::domain::token::Tokens;
use crate::gateway::{Route, Settings};
use crate::queue::Queue;
use crate::store::{self, Store};

/// A worker whose gateway nobody listens at.
fn worker() -> Worker {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
    let gateway = Address::parse("binary://127.0.0.1:1").unwrap();
    let route = Route {
        app: AppId::parse("app").unwrap(),
        environment: Arc::new(Environment { name: "sandbox".into(), gateway, feedback: None, ca: None }),
        credentials: Arc::new(credentials::parse(pem.as_bytes()).unwrap()),
        connect_timeout: Duration::from_secs(1),
    };
    let (clock, store) = (Clock::system(), Store::memory(&store::Settings::default()));
    let queue = Queue::new(store.clone(), crate::queue::Settings::default()).open(route.app.clone());
    let gateway = Gateway::new(route.clone(), &Settings::default(), clock.clone()).unwrap();
    let books = Books { app: route.app, queue, store, counters: Arc::default(), clock, attempts_max: 5 };
    let (_, mailbox) = mpsc::channel(1);
    Worker::new(gateway, "sandbox".into(), books, mailbox, Shutdown::new()).0
}

#[tokio::test]
async fn a_due_row_that_cannot_be_sent_wakes_nobody_again_and_again() {
    let mut worker = worker();
    let mut tokens = Tokens::default();
    tokens.push(&[1; 32]);
    let message = Message { payload: b"{}"[..].into(), options: PushOptions::default() };
    let (clock, queue) = (worker.books.clock.clone(), worker.books.queue.clone());
    queue.accept(Batch::broadcast(clock.timestamp(), tokens, message)).await.unwrap();
    let span = worker.books.lease(1).await.unwrap();
    queue.defer(span, clock.now());
    worker.state.pause();
    assert!(queue.is_ready(clock.now()), "the row is due");
    assert_eq!(worker.act().await, None, "an operator's pause has no end to wait for");

    worker.state.resume(clock.now());
    worker.act().await;
    assert_eq!(worker.act().await, None, "while it connects, the connection is what it waits for");
}
