//! What goes wrong with the error packet, and after it: B6, B10 to B14, B21.

use apnsd::simulator::journal::entry::{Event, Verdict};
use apnsd::simulator::script::Command;
use apnsd::simulator::script::fault::{Delay, Ending, ErrorFault, Fault, StreamFault, WrongIdentifier};

use super::lab::{Client, End, Lab, frame, hex};

/// Sends three notifications, the second one bad, under these faults.
async fn one_bad(faults: impl IntoIterator<Item = impl Into<Fault>>) -> (Lab, Client) {
    let lab = Lab::with_command(Command::next(faults)).await;
    let mut client = lab.connect().await;
    client.send(&[frame(1, ""), frame(0x0102, "bad0"), frame(3, "")].concat()).await;
    (lab, client)
}

async fn bytes_and_end(faults: impl IntoIterator<Item = impl Into<Fault>>) -> (Vec<u8>, End) {
    one_bad(faults).await.1.read_to_end().await
}

const PACKET: [u8; 6] = [8, 8, 0, 0, 1, 2];

#[tokio::test]
async fn status_10_names_the_last_accepted_notification() {
    let lab = Lab::with_command(Command::next([StreamFault::Shutdown]).after(2)).await;
    let mut client = lab.connect().await;
    client.send(&[frame(1, ""), frame(2, ""), frame(3, "")].concat()).await;
    assert_eq!(client.read_to_end().await, (vec![8, 10, 0, 0, 0, 2], End::CloseNotify));
    assert_eq!(lab.verdicts(3).await[2], (Some(3), Verdict::Discarded));
}

#[tokio::test]
async fn status_10_on_all_open_connections_and_then_refused_is_a_maintenance_storm() {
    let lab = Lab::start().await;
    let mut clients = [lab.connect().await, lab.connect().await];
    lab.wait(|summary| summary.open == 2).await;
    let storm = Command { refuse_ms: Some(60_000), ..Command::open([StreamFault::Shutdown]) };
    assert_eq!(lab.command(storm), 2);
    for client in &mut clients {
        assert_eq!(client.read_to_end().await, (vec![8, 10, 0, 0, 0, 0], End::CloseNotify));
    }
}

#[tokio::test]
async fn the_packet_may_come_late_or_never() {
    let late = [Delay::FixedMs(50), Delay::RandomMs { from: 1, to: 20 }, Delay::Further(1)];
    for delay in late {
        assert_eq!(bytes_and_end([ErrorFault::Delay(delay)]).await, (PACKET.to_vec(), End::CloseNotify), "{delay:?}");
    }
    assert_eq!(bytes_and_end([ErrorFault::Delay(Delay::Never)]).await, (vec![], End::CloseNotify));
}

#[tokio::test]
async fn the_packet_waits_for_further_notifications() {
    let (lab, mut client) = one_bad([ErrorFault::Delay(Delay::Further(3))]).await;
    lab.wait(|summary| summary.discarded == 1).await;
    assert_eq!(lab.simulator.journal().summary().answered, 0);
    client.send(&[frame(4, ""), frame(5, "")].concat()).await;
    assert_eq!(client.read_to_end().await, (PACKET.to_vec(), End::CloseNotify));
}

#[tokio::test]
async fn the_connection_ends_in_every_way() {
    let after = |ending| [ErrorFault::Then(ending)];
    assert_eq!(bytes_and_end(after(Ending::Clean)).await, (PACKET.to_vec(), End::CloseNotify));
    assert_eq!(bytes_and_end(after(Ending::Fin)).await, (PACKET.to_vec(), End::Fin));
    assert_eq!(bytes_and_end(after(Ending::DrainMs(20))).await, (PACKET.to_vec(), End::CloseNotify));
    assert_eq!(bytes_and_end(after(Ending::ResetWithinMs(20))).await, (PACKET.to_vec(), End::Reset));
    let no_packet = [ErrorFault::Delay(Delay::Never), ErrorFault::Then(Ending::Reset)];
    assert_eq!(bytes_and_end(no_packet).await, (vec![], End::Reset));
}

#[tokio::test]
async fn a_reset_may_follow_the_packet_at_once() {
    let (lab, mut client) = one_bad([ErrorFault::Then(Ending::Reset)]).await;
    // Whether the packet survives the reset is up to the client's kernel.
    let (bytes, end) = client.read_to_end().await;
    assert!(bytes.is_empty() || bytes == PACKET);
    assert_eq!(end, End::Reset);
    lab.wait(|summary| summary.open == 0 && summary.answered == 1).await;
}

#[tokio::test]
async fn bytes_that_are_left_unread_make_the_kernel_reset() {
    let (lab, mut client) = one_bad([ErrorFault::Then(Ending::Unread)]).await;
    assert_eq!(client.read(6).await, PACKET);
    client.send(&frame(4, "")).await;
    assert_eq!(client.read_to_end().await, (vec![], End::Reset));
    lab.wait(|summary| summary.open == 0).await;
}

#[tokio::test]
async fn the_packet_is_disfigured_in_every_way() {
    let table = [
        (ErrorFault::Split { sizes: vec![1, 5], pause_ms: 1 }, "08 08 00000102"),
        (ErrorFault::Split { sizes: vec![1, 1, 1, 1, 1, 1], pause_ms: 1 }, "08 08 00000102"),
        (ErrorFault::Trailing(3), "08 08 00000102 a5a5a5"),
        (ErrorFault::Twice, "08 08 00000102 08 08 00000102"),
        (ErrorFault::Command(7), "07 08 00000102"),
        (ErrorFault::Status(254), "08 fe 00000102"),
        (ErrorFault::Cut(3), "08 08 00"),
        (ErrorFault::Identifier(WrongIdentifier::Zero), "08 08 00000000"),
        (ErrorFault::Identifier(WrongIdentifier::Forgotten), "08 08 00000001"),
        (ErrorFault::Identifier(WrongIdentifier::NeverSent), "08 08 000f4342"),
        (ErrorFault::Identifier(WrongIdentifier::ByteSwapped), "08 08 02010000"),
    ];
    for (fault, bytes) in table {
        let (lab, mut client) = one_bad([fault.clone()]).await;
        assert_eq!(client.read_to_end().await, (hex(bytes), End::CloseNotify), "{fault:?}");
        let sent = lab.events().into_iter().find_map(|event| match event {
            Event::Answered { bytes } => Some(bytes.into_vec()),
            _ => None,
        });
        assert_eq!(sent, Some(hex(bytes)), "{fault:?}");
    }
}

#[tokio::test]
async fn the_packet_names_a_notification_of_an_earlier_connection() {
    let lab = Lab::start().await;
    let mut first = lab.connect().await;
    first.send(&frame(0x2a, "")).await;
    first.close().await;
    lab.wait(|summary| summary.connections == 1 && summary.open == 0).await;

    lab.command(Command::next([ErrorFault::Identifier(WrongIdentifier::EarlierConnection)]));
    let mut second = lab.connect().await;
    second.send(&frame(5, "bad0")).await;
    assert_eq!(second.read(6).await, [8, 8, 0, 0, 0, 0x2a]);
}

#[tokio::test]
async fn a_zero_length_token_is_answered_with_identifier_0_as_a_quirk() {
    let lab = Lab::with_command(Command::next([StreamFault::ZeroTokenQuirk])).await;
    let mut client = lab.connect().await;
    client.send(&hex("02 00000018 03 0004 0000002b 01 0000 02 0000 04 0004 00000000 05 0001 0a")).await;
    assert_eq!(client.read_to_end().await, (vec![8, 2, 0, 0, 0, 0], End::CloseNotify));
}
