//! Lists of dead tokens, whole and cut off.

use super::*;
use crate::domain::feedback::FeedbackEntry;
use crate::gateway::binary::feedback::{FeedbackError, FeedbackRead, read_feedback};

/// A tuple of the Binary Provider API: 2020-01-01T00:00:00Z, 32 bytes of token.
fn tuple() -> Vec<u8> {
    let mut tuple = vec![0x5e, 0x0b, 0xe1, 0x00, 0x00, 0x20];
    tuple.extend([0xcd; 32]);
    tuple
}

fn entry() -> FeedbackEntry {
    FeedbackEntry { timestamp: Timestamp::from_secs(1_577_836_800), token: Box::new([0xcd; 32]) }
}

/// Reads what the server sends in these pieces before it ends the connection.
async fn read(pieces: &[&[u8]], end: impl AsyncFnOnce(TlsStream<TcpStream>)) -> Result<FeedbackRead, FeedbackError> {
    let server = Server::start().await;
    let (route, clock) = (server.route(), Clock::system());
    let serve = async {
        let mut peer = server.accept().await;
        for piece in pieces {
            peer.write_all(piece).await.unwrap();
            peer.flush().await.unwrap();
        }
        end(peer).await;
    };
    let both = async { tokio::join!(read_feedback(&route, &clock), serve).0 };
    tokio::time::timeout(AT_MOST, both).await.unwrap()
}

async fn goodbye(mut peer: TlsStream<TcpStream>) {
    peer.shutdown().await.unwrap();
}

async fn fin(peer: TlsStream<TcpStream>) {
    drop(peer.into_inner());
}

#[tokio::test]
async fn a_list_is_read_to_its_end_however_it_is_cut_into_pieces() {
    let tuple = tuple();
    let complete = |entries| Ok(FeedbackRead { entries, incomplete: None });
    assert_eq!(read(&[&tuple, &tuple], goodbye).await, complete(vec![entry(), entry()]));
    assert_eq!(read(&[&tuple[..5], &tuple[5..6], &tuple[6..], &tuple], fin).await, complete(vec![entry(), entry()]));
    assert_eq!(read(&[], goodbye).await, complete(vec![]));
    assert_eq!(read(&[], fin).await, complete(vec![]));
}

#[tokio::test]
async fn a_cut_off_list_keeps_its_whole_entries_and_says_so() {
    let tuple = tuple();
    let read = read(&[&tuple, &tuple[..20]], goodbye).await.unwrap();
    assert_eq!(read.entries, [entry()]);
    assert_eq!(read.incomplete.unwrap(), "the connection ended 20 bytes into an entry");
}

#[tokio::test]
async fn a_reset_keeps_what_was_read_and_is_an_error_where_nothing_was() {
    let tuple = tuple();
    let reset = async |peer| reset(peer);
    let cut = read(&[&tuple], reset).await.unwrap();
    assert_eq!(cut.entries, [entry()]);
    assert!(cut.incomplete.unwrap().contains("reset"));
    let error = read(&[], reset).await.unwrap_err();
    assert!(matches!(error, FeedbackError::Closed(CloseCause::Dead(_))), "{error:?}");
}

#[tokio::test]
async fn a_service_that_falls_silent_is_given_up() {
    let server = Server::start().await;
    let mut route = server.route();
    route.connect_timeout = Duration::from_millis(500);
    let clock = Clock::system();
    let serve = async {
        let mut peer = server.accept().await;
        peer.write_all(&tuple()).await.unwrap();
        peer.flush().await.unwrap();
        peer
    };
    let both = async { tokio::join!(read_feedback(&route, &clock), serve).0 };
    let read = tokio::time::timeout(AT_MOST, both).await.unwrap().unwrap();
    assert_eq!(read.entries, [entry()]);
    assert_eq!(read.incomplete.unwrap(), "the feedback service was silent for 0.5 s");
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_an_error_with_the_cause() {
    let server = Server::start().await;
    let (mut route, address, clock) = (server.route(), server.address(), Clock::system());
    let mut environment = (*route.environment).clone();
    environment.feedback = None;
    let error = {
        let route = crate::gateway::Route { environment: environment.into(), ..route.clone() };
        read_feedback(&route, &clock).await.unwrap_err()
    };
    assert_eq!(error.to_string(), "environment `test` has no `feedback` address");

    let listener = server.listener;
    drop(listener);
    route.connect_timeout = Duration::from_secs(5);
    let error = read_feedback(&route, &clock).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("feedback service: {address}: TCP connection: ")), "{error}");
}
