//! The feedback service: F1 to F3.

use apnsd::simulator::feedback::command::{Clear, FeedbackCommand, FeedbackFault};
use apnsd::simulator::feedback::tuples::FeedbackTuple;
use apnsd::simulator::script::Connections;
use tokio::net::TcpStream;

use super::lab::{Client, End, Lab, frame, hex, soon, token};

fn tuple(timestamp: u32, token: &[u8]) -> FeedbackTuple {
    FeedbackTuple { timestamp, token: token.into() }
}

/// Tokens of 2 and 0 bytes: 8 and 6 bytes on the wire.
fn two() -> Vec<FeedbackTuple> {
    vec![tuple(0x5e0b_e100, &[0xab, 0xcd]), tuple(0xffff_ffff, &[])]
}

const TWO: &str = "5e0be100 0002 abcd  ffffffff 0000";

async fn lab(command: FeedbackCommand) -> Lab {
    let lab = Lab::start().await;
    lab.simulator.feedback(command).unwrap();
    lab
}

async fn faulty(faults: Vec<FeedbackFault>, clear: Clear) -> Lab {
    let command = FeedbackCommand { entries: two(), faults, clear: Some(clear), ..FeedbackCommand::default() };
    lab(command).await
}

async fn read(lab: &Lab) -> (Vec<u8>, End) {
    connect(lab).await.read_to_end().await
}

async fn connect(lab: &Lab) -> Client {
    lab.feedback_as(lab.good()).await
}

#[tokio::test]
async fn tuples_of_any_token_length_come_and_then_the_end() {
    let tokens = [vec![], vec![1; 32], vec![2; 64], vec![3; 100], vec![1; 32]];
    let entries = tokens.iter().zip([0, 1, 2, u32::MAX, 1]).map(|(token, time)| tuple(time, token)).collect();
    let lab = lab(FeedbackCommand { entries, ..FeedbackCommand::default() }).await;
    let expected = format!(
        "00000000 0000  00000001 0020 {}  00000002 0040 {}  ffffffff 0064 {}  00000001 0020 {}",
        "01".repeat(32),
        "02".repeat(64),
        "03".repeat(100),
        "01".repeat(32),
    );
    assert_eq!(read(&lab).await, (hex(&expected), End::CloseNotify));
    assert_eq!(read(&lab).await, (vec![], End::CloseNotify), "it was cleared by reading");
    let summary = lab.wait(|summary| summary.feedback_connections == 2).await;
    assert_eq!((summary.feedback_tuples, summary.connections), (5, 0));
}

#[tokio::test]
async fn a_dead_device_comes_back_as_feedback() {
    let lab = Lab::start().await;
    let mut client = lab.connect().await;
    client.send(&[frame(1, "dead"), frame(2, "")].concat()).await;
    lab.wait(|summary| summary.accepted == 2).await;
    let (bytes, _) = read(&lab).await;
    assert_eq!(bytes[4..], hex(&format!("0020 {}", token("dead"))));
}

#[tokio::test]
async fn every_app_has_its_own_list() {
    let lab = Lab::start().await;
    let app = "com.example.other".to_owned();
    assert_eq!(lab.simulator.feedback(FeedbackCommand { app, entries: two(), ..FeedbackCommand::default() }), Ok(2));
    assert_eq!(read(&lab).await.0, b"");
    let other = lab.simulator.certificates().issue("com.example.other").unwrap();
    assert_eq!(lab.feedback_as(&other).await.read_to_end().await.0, hex(TWO));
}

#[tokio::test]
async fn a_list_grows_or_is_replaced() {
    let lab = Lab::start().await;
    let entries = |replace| FeedbackCommand { entries: two(), replace, ..FeedbackCommand::default() };
    assert_eq!(lab.simulator.feedback(entries(false)), Ok(2));
    assert_eq!(lab.simulator.feedback(entries(false)), Ok(4));
    assert_eq!(lab.simulator.feedback(entries(true)), Ok(2));
}

#[tokio::test]
async fn a_list_is_cleared_when_it_was_told() {
    let cut = || vec![FeedbackFault::Cut(3)];
    let clears_though_cut = faulty(cut(), Clear::OnConnect).await;
    assert_eq!(read(&clears_though_cut).await.0, hex("5e0be1"));
    assert_eq!(read(&clears_though_cut).await.0, b"");

    let keeps_when_cut = faulty(cut(), Clear::OnComplete).await;
    assert_eq!(read(&keeps_when_cut).await.0, hex("5e0be1"));
    assert_eq!(read(&keeps_when_cut).await.0, hex(TWO));
}

#[tokio::test]
async fn a_list_is_cleared_by_a_clean_close_only() {
    let lab = faulty(vec![], Clear::OnCleanClose).await;
    let mut rude = connect(&lab).await;
    assert_eq!(rude.read_to_end().await.0, hex(TWO));
    drop(rude);
    lab.wait(|summary| summary.feedback_connections == 1 && summary.feedback_open == 0).await;
    let mut polite = connect(&lab).await;
    assert_eq!(polite.read_to_end().await.0, hex(TWO));
    polite.close().await;
    lab.wait(|summary| summary.feedback_connections == 2 && summary.feedback_open == 0).await;
    assert_eq!(read(&lab).await.0, b"");
}

#[tokio::test]
async fn a_list_is_cut_inside_a_tuple() {
    assert_eq!(
        read(&faulty(vec![FeedbackFault::Cut(10)], Clear::OnComplete).await).await.0,
        hex("5e0be100 0002 abcd ffff")
    );
}

#[tokio::test]
async fn a_list_comes_slowly() {
    let pause = FeedbackFault::Pause { after: 1, ms: 30 };
    let trickle = FeedbackFault::Trickle { bytes: 3, ms: 1 };
    let lab = faulty(vec![pause, trickle], Clear::OnComplete).await;
    assert_eq!(read(&lab).await, (hex(TWO), End::CloseNotify));
}

#[tokio::test]
async fn a_reset_follows_the_last_byte() {
    let lab = faulty(vec![FeedbackFault::Reset], Clear::OnComplete).await;
    let (bytes, end) = read(&lab).await;
    assert!(bytes == hex(TWO) || bytes.is_empty());
    assert_eq!(end, End::Reset);
}

#[tokio::test]
async fn the_server_never_closes() {
    let lab = faulty(vec![FeedbackFault::NeverClose], Clear::OnComplete).await;
    let mut client = connect(&lab).await;
    assert_eq!(client.read(14).await, hex(TWO));
    client.close().await;
    let (rest, end) = client.read_to_end().await;
    assert!(rest.is_empty() && end != End::CloseNotify);
}

#[tokio::test]
async fn faults_apply_to_every_connection_or_to_the_next() {
    let command = FeedbackCommand {
        entries: two(),
        faults: vec![FeedbackFault::Cut(1)],
        connections: Connections::Every,
        ..FeedbackCommand::default()
    };
    let lab = lab(command.clone()).await;
    for _ in 0..3 {
        assert_eq!(read(&lab).await.0, [0x5e]);
    }
    assert!(lab.simulator.feedback(FeedbackCommand { connections: Connections::Open, ..command }).is_err());
}

#[tokio::test]
async fn the_service_is_refused_by_tcp() {
    let lab = lab(FeedbackCommand { refuse_ms: Some(600_000), ..FeedbackCommand::default() }).await;
    let address = lab.simulator.feedback_address();
    soon(async { while TcpStream::connect(address).await.is_ok() {} }).await;
}

#[tokio::test]
async fn a_hundred_thousand_tuples_arrive() {
    let entries = vec![tuple(1, &[7; 32]); 100_000];
    let lab = lab(FeedbackCommand { entries, ..FeedbackCommand::default() }).await;
    assert_eq!(read(&lab).await.0.len(), 3_800_000);
}
