//! What goes wrong in the stream of notifications: B15, B17 to B20.

use apnsd::simulator::journal::entry::{Event, Side, Verdict};
use apnsd::simulator::script::Command;
use apnsd::simulator::script::fault::{Ending, StreamFault};
use tokio::net::TcpStream;

use super::lab::{End, Lab, frame, soon};

fn close(within_ms: u64, then: Ending) -> StreamFault {
    StreamFault::Close { within_ms, then }
}

#[tokio::test]
async fn a_connection_is_closed_right_after_the_handshake() {
    let lab = Lab::with_command(Command::next([close(50, Ending::Clean)])).await;
    let mut client = lab.connect().await;
    client.send(&frame(1, "")).await;
    assert_eq!(client.read_to_end().await, (vec![], End::CloseNotify));
    assert_eq!(lab.verdicts(1).await, [(Some(1), Verdict::Discarded)]);
    let mut next = lab.connect().await;
    next.send(&frame(2, "")).await;
    assert_eq!(lab.verdicts(2).await[1], (Some(2), Verdict::Accepted));
}

#[tokio::test]
async fn a_connection_is_reset_after_so_many_notifications() {
    let lab = Lab::with_command(Command::next([close(0, Ending::Reset)]).after(2)).await;
    let mut client = lab.connect().await;
    client.send(&[frame(1, ""), frame(2, ""), frame(3, "")].concat()).await;
    assert_eq!(client.read_to_end().await, (vec![], End::Reset));
    assert_eq!(lab.verdicts(3).await[1..], [(Some(2), Verdict::Accepted), (Some(3), Verdict::Discarded)]);
    let events = lab.events();
    lab.wait(|summary| summary.open == 0).await;
    assert_eq!(lab.events().last(), Some(&Event::Closed { by: Side::Server, how: "reset" }), "{events:?}");
}

#[tokio::test]
async fn tokens_close_and_reset_without_a_packet_and_get_lost() {
    let lab = Lab::start().await;
    for (prefix, end) in [("badb", End::Reset), ("badc", End::CloseNotify)] {
        let mut client = lab.connect().await;
        client.send(&[frame(1, "badd"), frame(2, prefix), frame(3, "")].concat()).await;
        assert_eq!(client.read_to_end().await, (vec![], end), "{prefix}");
    }
    let summary = lab.wait(|summary| summary.packets == 6).await;
    assert_eq!((summary.lost, summary.discarded), (2, 4));
}

#[tokio::test]
async fn the_next_notification_is_rejected_with_any_status() {
    let lab = Lab::with_command(Command::next([StreamFault::Reject(254)]).after(1)).await;
    let mut client = lab.connect().await;
    client.send(&[frame(1, ""), frame(2, "")].concat()).await;
    assert_eq!(client.read(6).await, [8, 254, 0, 0, 0, 2]);
}

#[tokio::test]
async fn reading_stops_and_goes_on_when_the_script_is_cleared() {
    let lab = Lab::with_command(Command::every([StreamFault::StopReading]).after(2)).await;
    let mut client = lab.connect().await;
    client.send(&[frame(1, ""), frame(2, ""), frame(3, "")].concat()).await;
    assert_eq!(lab.verdicts(2).await.len(), 2);
    client.send(&frame(4, "")).await;
    assert_eq!(lab.simulator.journal().summary().packets, 2);
    lab.simulator.script().clear();
    assert_eq!(lab.verdicts(4).await[3], (Some(4), Verdict::Accepted));
}

#[tokio::test]
async fn a_client_that_gives_up_on_a_stopped_connection_is_noticed() {
    let lab = Lab::with_command(Command::next([StreamFault::StopReading])).await;
    let mut client = lab.connect().await;
    client.send(&frame(1, "")).await;
    drop(client);
    lab.wait(|summary| summary.connections == 1 && summary.open == 0).await;
}

#[tokio::test]
async fn a_server_that_closed_its_side_reads_on() {
    let lab = Lab::with_command(Command::next([StreamFault::HalfClose]).after(1)).await;
    let mut client = lab.connect().await;
    client.send(&frame(1, "")).await;
    assert_eq!(client.read_to_end().await, (vec![], End::CloseNotify));
    client.send(&[frame(2, ""), frame(3, "bad0")].concat()).await;
    assert_eq!(lab.verdicts(3).await[1..], [(Some(2), Verdict::Accepted), (Some(3), Verdict::Rejected(8))]);
    drop(client);
    let summary = lab.wait(|summary| summary.open == 0).await;
    assert_eq!(summary.answered, 0);
}

#[tokio::test]
async fn notifications_are_lost_silently() {
    let lab = Lab::with_command(Command::next([StreamFault::Lose(100)])).await;
    let mut client = lab.connect().await;
    client.send(&[frame(1, ""), frame(2, "")].concat()).await;
    assert_eq!(lab.verdicts(2).await, [(Some(1), Verdict::Lost), (Some(2), Verdict::Lost)]);
    client.close().await;
    assert_eq!(client.read_to_end().await, (vec![], End::CloseNotify));
}

#[tokio::test]
async fn a_throttled_connection_reads_everything_in_the_end() {
    let lab = Lab::with_command(Command::next([StreamFault::Throttle(2000)])).await;
    let mut client = lab.connect().await;
    let frames: Vec<u8> = (1..=10).flat_map(|identifier| frame(identifier, "")).collect();
    client.send(&frames).await;
    // 200 bytes are read at a time, so that the first reading cannot hold more than two notifications.
    let first = lab.wait(|summary| summary.packets > 0).await;
    assert!(first.packets <= 2, "{first:?}");
    assert_eq!(lab.verdicts(10).await.len(), 10);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let lab = Lab::with_command(Command::next([StreamFault::IdleClose(20)])).await;
    assert_eq!(lab.connect().await.read_to_end().await, (vec![], End::CloseNotify));
}

#[tokio::test]
async fn the_first_write_after_an_idle_time_is_answered_with_a_reset() {
    let lab = Lab::with_command(Command::next([StreamFault::IdleReset(0)])).await;
    let mut client = lab.connect().await;
    client.send(&frame(1, "")).await;
    assert_eq!(client.read_to_end().await, (vec![], End::Reset));
}

#[tokio::test]
async fn a_refused_connection_is_refused_by_tcp_until_the_script_is_cleared() {
    let lab = Lab::start().await;
    let address = lab.simulator.binary_address();
    lab.command(Command::refuse(600_000));
    soon(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    lab.simulator.script().clear();
    soon(async { while TcpStream::connect(address).await.is_err() {} }).await;
    let mut client = lab.connect().await;
    client.send(&frame(1, "")).await;
    lab.wait(|summary| summary.accepted == 1).await;
}
