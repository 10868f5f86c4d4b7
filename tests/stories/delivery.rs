//! The main promise: 13 notifications, one of them bad: twelve arrive and exactly the bad one is reported, whatever
//! the gateway does with its error packet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::world::{World, thirteen, token};
use apnsd::config::Config;
use apnsd::simulator::journal::entry::Verdict;
use apnsd::simulator::script::Command;
use apnsd::simulator::script::fault::{Delay, Ending, ErrorFault, Fault};

/// How the 13 notifications come.
#[derive(Clone, Copy, Debug)]
enum Calls {
    Batch,
    Singles,
}

fn settle_after(span: Duration) -> impl FnOnce(&mut Config) {
    move |config| config.delivery.gateway.settle_after = span
}

/// Sends 13 with the seventh bad and checks that exactly it is rejected for `reason` and all others arrive in order.
async fn thirteen_with_one_bad(world: &World, calls: Calls, bad: &str, reason: &str) {
    let tokens = thirteen(bad);
    match calls {
        Calls::Batch => world.notify(&tokens).await.unwrap(),
        Calls::Singles => {
            for token in &tokens {
                world.notify(std::slice::from_ref(token)).await.unwrap();
            }
        }
    }
    let (bad, good): (Vec<String>, Vec<String>) = tokens.into_iter().partition(|token| token.starts_with(bad));
    world.wait_until_arrived(&good).await;
    assert_eq!(world.rejections(1).await, [(bad[0].clone(), reason.to_owned())]);
    let accepted: BTreeSet<String> = world.accepted().into_iter().collect();
    assert_eq!(accepted, good.into_iter().collect());
}

async fn with_error_packet(calls: Calls, faults: Vec<ErrorFault>) {
    let world = World::with_app(settle_after(Duration::from_secs(3))).await;
    if !faults.is_empty() {
        let faults: Vec<Fault> = faults.into_iter().map(Fault::from).collect();
        world.simulator.script().command(Command::every(faults)).unwrap();
    }
    thirteen_with_one_bad(&world, calls, "bad8", "InvalidToken").await;
    let twice = duplicates(world.accepted());
    assert!(twice.is_empty(), "an error packet says exactly what to send again: {twice:?}");
}

fn duplicates(tokens: Vec<String>) -> Vec<String> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    tokens.into_iter().for_each(|token| *counts.entry(token).or_default() += 1);
    counts.into_iter().filter(|(_, count)| *count > 1).map(|(token, _)| token).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_error_packet_costs_exactly_the_bad_one() {
    with_error_packet(Calls::Batch, vec![]).await;
    with_error_packet(Calls::Singles, vec![]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_packet_after_50_or_400_ms_costs_exactly_the_bad_one() {
    for ms in [50, 400] {
        with_error_packet(Calls::Batch, vec![ErrorFault::Delay(Delay::FixedMs(ms))]).await;
        with_error_packet(Calls::Singles, vec![ErrorFault::Delay(Delay::FixedMs(ms))]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_error_packet_costs_exactly_the_bad_one() {
    for sizes in [vec![1], vec![3], vec![1, 1, 1, 1, 1]] {
        let split = ErrorFault::Split { sizes, pause_ms: 20 };
        with_error_packet(Calls::Batch, vec![split.clone()]).await;
        with_error_packet(Calls::Singles, vec![split]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_packet_followed_by_a_reset_costs_exactly_the_bad_one() {
    with_error_packet(Calls::Batch, vec![ErrorFault::Then(Ending::ResetWithinMs(50))]).await;
    with_error_packet(Calls::Singles, vec![ErrorFault::Then(Ending::ResetWithinMs(50))]).await;
}

/// Without a packet nobody knows which one it was: rows are isolated until the bad one has stood alone at three closes.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_error_packet_the_bad_one_is_found_by_isolation() {
    for calls in [Calls::Batch, Calls::Singles] {
        let world = World::with_app(settle_after(Duration::from_millis(300))).await;
        thirteen_with_one_bad(&world, calls, "badc", "ConnectionClosed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_without_an_error_packet_is_isolated_too() {
    let world = World::with_app(settle_after(Duration::from_millis(300))).await;
    thirteen_with_one_bad(&world, Calls::Batch, "badb", "ConnectionClosed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_of_the_gateway_loses_and_doubles_nothing() {
    let world = World::with_app(settle_after(Duration::from_secs(3))).await;
    world.notify(&thirteen("bada")).await.unwrap();
    world.wait_until_accepted(13).await;
    assert_eq!(duplicates(world.accepted()), Vec::<String>::new());
    assert_eq!(world.rejections_now().await, []);
}

/// The packet about the first row comes when all six of its call are presumed delivered and five more are on the wire:
/// it is rejected after all, and the ten that the gateway discarded go out again in their order.
#[tokio::test(flavor = "multi_thread")]
async fn a_packet_later_than_settle_after_revises_what_was_presumed_and_keeps_the_order() {
    let world = World::start(settle_after(Duration::from_millis(300))).await;
    world.simulator.script().command(Command::next([ErrorFault::Delay(Delay::FixedMs(450))])).unwrap();
    world.provision(&world.simulator.certificates().good.pem).await.unwrap();
    let tokens: Vec<String> = (0..11).map(|number| token(if number == 0 { "bad8" } else { "aa" }, number)).collect();
    world.notify(&tokens[..6]).await.unwrap();
    world.wait_until_an_outcome().await;
    world.notify(&tokens[6..]).await.unwrap();
    world.wait_until_arrived(&tokens[1..]).await;
    assert_eq!(world.accepted(), tokens[1..]);
    assert_eq!(world.rejections(1).await, [(tokens[0].clone(), "InvalidToken".to_owned())]);
}

/// A hundred thousand with one in a hundred bad: every good one is accepted, none that came before a reported one twice,
/// every bad one is reported exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_bad_ones_among_a_hundred_thousand_are_each_reported_once() {
    const ROWS: usize = 100_000;
    let world = World::with_app(settle_after(Duration::from_secs(3))).await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut bad = BTreeSet::new();
    while bad.len() < ROWS / 100 {
        bad.insert(random.usize(..ROWS));
    }
    let tokens: Vec<String> = (0..ROWS).map(|row| token(if bad.contains(&row) { "bad8" } else { "aa" }, row)).collect();
    for call in tokens.chunks(10_000) {
        world.notify(call).await.unwrap();
    }
    let waited = world.simulator.journal().wait_until(|summary| summary.accepted >= (ROWS - bad.len()) as u64);
    tokio::time::timeout(Duration::from_secs(300), waited).await.expect("all good ones arrive");

    let mut rejected = world.rejections(bad.len()).await;
    rejected.sort();
    let expected: Vec<(String, String)> =
        bad.iter().map(|row| (token("bad8", *row), "InvalidToken".to_owned())).collect();
    assert_eq!(rejected, expected);
    let accepted = world.accepted();
    assert_eq!(accepted.len(), ROWS - bad.len(), "an error packet says exactly what to send again");
    assert!(accepted.is_sorted(), "rows go out in their order");
    assert_eq!(duplicates(accepted), Vec::<String>::new());
    assert_eq!(world.received(|verdict| verdict == Verdict::Rejected(8)).len(), bad.len());
}
