//! Requests, answers, and what becomes of rows.

use super::*;

#[tokio::test]
async fn a_notification_goes_out_as_the_provider_api_wants_it_and_is_accepted() {
    let server = Server::start().await;
    let mut gateway = server.gateway();
    let mut peer = connected(&server, &mut gateway, 100).await;
    assert_eq!(gateway.send(span(1, 1)), None);
    assert_eq!(gateway.in_flight(), 1);
    let mut events = Vec::new();
    let request = beside(&mut gateway, &mut events, peer.request()).await;
    let work = async {
        let mut answered = pin!(answer(request, 200, ""));
        let mut run = pin!(peer.run());
        tokio::select! {
            answered = &mut answered => answered,
            () = &mut run => unreachable!(),
        }
    };
    let (head, body) = beside(&mut gateway, &mut events, work).await;
    assert_eq!(head.method, "POST");
    assert_eq!(head.uri.to_string(), format!("https://{}/3/device/{}", server.address(), "00".repeat(32)));
    let mut names: Vec<_> = head.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["apns-expiration", "apns-id", "apns-priority", "apns-push-type", "apns-topic", "authorization"]);
    assert_eq!(head.headers["apns-id"], "07070707-0707-4707-8707-070707070707");
    assert_eq!(head.headers["apns-topic"], "com.example.app");
    assert_eq!(body, br#"{"aps":{"alert":"hi"}}"#);
    assert_eq!(settled(&mut gateway, &mut peer, 1).await, [Outcome::Accepted]);
    assert_eq!((gateway.in_flight(), events), (0, Vec::new()));
}
