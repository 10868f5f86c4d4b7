//! Correct behaviour: B1 to B6 of the protocol reference.

use std::time::Duration;

use apnsd::domain::token::token_hex;
use apnsd::simulator::journal::entry::{Event, Service, Side, Verdict};

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::lab::{End, Lab, frame, hex, token};

const PAYLOAD: &str = "7b22617073223a7b7d7d";
const SENTINEL: &str = "02 00000018 03 0004 0000002b 01 0000 02 0000 04 0004 00000000 05 0001 0a";

fn simple(prefix: &str) -> Vec<u8> {
    hex(&format!("00 0020 {} 000a {PAYLOAD}", token(prefix)))
}

fn enhanced(identifier: u32, prefix: &str) -> Vec<u8> {
    hex(&format!("01 {identifier:08x} 5e0be100 0020 {} 000a {PAYLOAD}", token(prefix)))
}

#[tokio::test]
async fn good_notifications_of_all_commands_are_accepted_in_silence() {
    let lab = Lab::start().await;
    let mut client = lab.connect().await;
    client.send(&[simple(""), enhanced(7, ""), frame(8, "")].concat()).await;
    let accepted = Verdict::Accepted;
    assert_eq!(lab.verdicts(3).await, [(None, accepted), (Some(7), accepted), (Some(8), accepted)]);
    client.close().await;
    assert_eq!(client.read_to_end().await, (vec![], End::CloseNotify));
}

#[tokio::test]
async fn the_journal_holds_what_was_sent() {
    let lab = Lab::start().await;
    let mut client = lab.connect().await;
    client.send(&enhanced(7, "c0ffee")).await;
    client.close().await;
    lab.wait(|summary| summary.connections == 1 && summary.open == 0).await;

    let peer = client.stream.get_ref().0.local_addr().unwrap();
    let events = lab.events();
    let subject = "Apple Push Services: com.example.app".to_owned();
    let leaf = CertificateDer::from_pem_slice(lab.simulator.certificates().good.pem.as_bytes()).unwrap();
    let fingerprint = token_hex(digest(&SHA256, &leaf).as_ref());
    assert_eq!(events[0], Event::Opened { service: Service::Gateway, peer, tls: "TLSv1.3", subject, fingerprint });
    let Event::Notification(notification) = &events[1] else { panic!("{events:?}") };
    assert_eq!(notification.token.as_deref(), Some(&hex(&token("c0ffee"))[..]));
    assert_eq!(notification.payload.as_deref(), Some(&br#"{"aps":{}}"#[..]));
    assert_eq!((notification.command, notification.expiration, notification.priority), (1, Some(0x5e0b_e100), None));
    assert_eq!(events[2], Event::Closed { by: Side::Client, how: "close_notify and FIN" });
}

#[tokio::test]
async fn a_stream_is_read_however_it_is_cut() {
    let lab = Lab::start().await;
    let mut client = lab.connect().await;
    for byte in [frame(1, ""), simple(""), frame(2, "")].concat() {
        client.send(&[byte]).await;
    }
    assert_eq!(lab.verdicts(3).await.len(), 3);
    let many: Vec<u8> = (3..=1002).flat_map(|identifier| frame(identifier, "")).collect();
    client.send(&many).await;
    let summary = lab.wait(|summary| summary.packets == 1003).await;
    assert_eq!((summary.accepted, summary.bytes), (1003, 47 + 1002 * 71));
}

#[tokio::test]
async fn an_error_is_named_and_what_follows_is_discarded() {
    let lab = Lab::start().await;
    let mut client = lab.connect().await;
    client.send(&[frame(1, ""), frame(2, "bad0"), frame(3, "")].concat()).await;
    assert_eq!(client.read_to_end().await, (vec![8, 8, 0, 0, 0, 2], End::CloseNotify));
    client.send(&frame(4, "")).await;
    let expected = [
        (Some(1), Verdict::Accepted),
        (Some(2), Verdict::Rejected(8)),
        (Some(3), Verdict::Discarded),
        (Some(4), Verdict::Discarded),
    ];
    assert_eq!(lab.verdicts(4).await, expected);
    drop(client);
    let summary = lab.wait(|summary| summary.open == 0).await;
    assert_eq!((summary.accepted, summary.rejected, summary.discarded, summary.answered), (1, 1, 2, 1));
}

#[tokio::test]
async fn every_rule_has_its_status() {
    let long = "22".repeat(2049);
    let table = [
        (hex("02 0000000c 03 0004 00000001 02 0002 7b7d"), [8, 2, 0, 0, 0, 1]),
        (hex(SENTINEL), [8, 2, 0, 0, 0, 0x2b]),
        (hex("02 0000000f 03 0004 00000001 01 0002 abcd 02 0000"), [8, 5, 0, 0, 0, 1]),
        (hex(&format!("02 0000002a 03 0004 00000001 01 0020 {}", token(""))), [8, 4, 0, 0, 0, 1]),
        (hex(&format!("02 0000082e 03 0004 00000001 01 0020 {} 02 0801 {long}", token(""))), [8, 7, 0, 0, 0, 1]),
        (enhanced(1, "bad3"), [8, 3, 0, 0, 0, 1]),
        (hex("02 0000000a 03 0004 00000001 09 0000"), [8, 128, 0, 0, 0, 1]),
        (hex("47 45 54 20 2f"), [8, 128, 0, 0, 0, 0]),
    ];
    let lab = Lab::start().await;
    for (bytes, answer) in table {
        let mut client = lab.connect().await;
        client.send(&bytes).await;
        assert_eq!(client.read_to_end().await, (answer.to_vec(), End::CloseNotify), "{bytes:02x?}");
    }
}

#[tokio::test]
async fn payload_limits_are_settings() {
    let lab = Lab::with(|settings| apnsd::simulator::Settings { legacy_limit: 9, frame_limit: 10, ..settings }).await;
    let mut client = lab.connect().await;
    client.send(&[frame(1, ""), enhanced(2, "")].concat()).await;
    assert_eq!(client.read(6).await, [8, 7, 0, 0, 0, 2]);
}

#[tokio::test]
async fn a_command_0_error_closes_without_a_packet() {
    let lab = Lab::start().await;
    let mut client = lab.connect().await;
    client.send(&[frame(1, ""), simple("bad0")].concat()).await;
    assert_eq!(client.read_to_end().await, (vec![], End::CloseNotify));
    assert_eq!(lab.verdicts(2).await[1], (None, Verdict::Rejected(8)));
}

#[tokio::test]
async fn a_client_that_closed_its_side_still_gets_its_error() {
    let lab = Lab::start().await;
    let mut client = lab.connect().await;
    client.send(&[frame(1, ""), frame(2, "bad5")].concat()).await;
    client.close().await;
    assert_eq!(client.read_to_end().await, (vec![8, 5, 0, 0, 0, 2], End::CloseNotify));
}

#[tokio::test]
async fn counting_only_keeps_counts_and_no_entries() {
    let lab = Lab::with(|settings| apnsd::simulator::Settings { count_only: true, ..settings }).await;
    let mut client = lab.connect().await;
    let frames: Vec<u8> = (1..=5000).flat_map(|identifier| frame(identifier, "")).chain(frame(5001, "bad0")).collect();
    client.send(&frames).await;
    assert_eq!(client.read(6).await, [8, 8, 0, 0, 0x13, 0x89]);
    let summary = lab.wait(|summary| summary.packets == 5001).await;
    assert_eq!((summary.accepted, summary.rejected, summary.connections), (5000, 1, 1));
    assert_eq!(lab.events(), []);
}

#[tokio::test]
async fn it_stops_promptly_with_open_connections() {
    let lab = Lab::start().await;
    let mut client = lab.connect().await;
    client.send(&frame(1, "")).await;
    lab.verdicts(1).await;
    let mut half_a_request = TcpStream::connect(lab.simulator.control_address()).await.unwrap();
    half_a_request.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(lab.shutdown.finish(Duration::from_secs(10)).await);
    let (rest, end) = client.read_to_end().await;
    assert!(rest.is_empty() && end != End::CloseNotify);
}
