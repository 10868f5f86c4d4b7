//! Requests with and without credentials, in paused time: a refusal takes its second at once.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::to_bytes;
use axum::routing::get;
use axum::{Extension, body::Body};
use tower::ServiceExt as _;

use super::*;
use crate::listener::user::Limits;

/// "web:apnsd_secret" and "other:apnsd_secret" in base64.
const WEB: &str = "Basic d2ViOmFwbnNkX3NlY3JldA==";
const OTHER: &str = "Basic b3RoZXI6YXBuc2Rfc2VjcmV0";

fn user(name: &str, token: &str) -> User {
    User { name: name.into(), token: TokenHash::of(token), apps: None, methods: None, limits: Limits::default() }
}

/// Says who called.
fn guarded(users: Vec<User>) -> (Auth, Router) {
    let hello = |user: Option<Extension<Arc<User>>>| async move {
        user.map_or_else(|| "anybody".to_owned(), |Extension(user)| user.name.clone())
    };
    let auth = Auth::new(users, Clock::system());
    (auth.clone(), auth.guard(Router::new().fallback(get(hello))))
}

async fn ask(router: &Router, peer: Peer, authorization: Option<&str>) -> (u16, String) {
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(peer);
    if let Some(value) = authorization {
        request.headers_mut().insert(header::AUTHORIZATION, value.parse().unwrap());
    }
    let answer = router.clone().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let challenged = answer.headers().contains_key(header::WWW_AUTHENTICATE);
    assert_eq!(challenged, status == 401);
    let body = to_bytes(answer.into_body(), 1000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

const REMOTE: Peer = Peer::Tcp(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));

#[tokio::test]
async fn without_users_everybody_may_call() {
    let (_, router) = guarded(vec![]);
    assert_eq!(ask(&router, REMOTE, None).await, (200, "anybody".to_owned()));
    assert_eq!(ask(&router, REMOTE, Some("Basic nonsense")).await, (200, "anybody".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn with_users_only_they_may_call() {
    let (_, router) = guarded(vec![user("api", "apnsd_another"), user("web", "apnsd_secret")]);
    assert_eq!(ask(&router, REMOTE, Some(WEB)).await, (200, "web".to_owned()));
    assert_eq!(ask(&router, REMOTE, Some("bearer apnsd_another")).await, (200, "api".to_owned()));
    for wrong in [
        OTHER,
        "Bearer apnsd_Secret",
        "Bearer",
        "Basic",
        "Basic d2Vi",
        "Basic !!!",
        "Basic d2ViOg==",
        "Digest username=web",
        "Bearer apnsd_secret, x",
    ] {
        assert_eq!(ask(&router, REMOTE, Some(wrong)).await.0, 401, "{wrong}");
    }
    let (status, text) = ask(&router, REMOTE, None).await;
    assert_eq!(status, 401);
    assert!(text.contains("http://user:token@host/"), "{text}");
}

#[tokio::test]
async fn a_unix_socket_is_guarded_by_its_mode_alone() {
    let (_, router) = guarded(vec![user("web", "apnsd_secret")]);
    assert_eq!(ask(&router, Peer::Unix, None).await, (200, "anybody".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn users_change_while_connections_stay() {
    let (auth, router) = guarded(vec![user("web", "apnsd_secret")]);
    assert_eq!(ask(&router, REMOTE, Some(WEB)).await.0, 200);
    auth.replace(vec![user("web", "apnsd_renewed")]);
    assert_eq!(ask(&router, REMOTE, Some(WEB)).await.0, 401);
    assert_eq!(ask(&router, REMOTE, Some("Bearer apnsd_renewed")).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_wrong_tokens_is_turned_away_and_holds_up_nobody() {
    let (auth, router) = guarded(vec![user("web", "apnsd_secret")]);
    let flood = futures_util::future::join_all((0..1000).map(|_| ask(&router, REMOTE, Some("Bearer wrong"))));
    let good = async {
        // The flood begins first: join polls in order.
        assert_eq!(ask(&router, REMOTE, Some(WEB)).await.0, 200);
        // As browsers begin: they know of no token before they are asked for one.
        let at_once = tokio::time::timeout(REFUSAL_DELAY / 2, ask(&router, REMOTE, None)).await;
        assert_eq!(at_once.expect("no delay").0, 401);
    };
    let (answers, ()) = futures_util::future::join(flood, good).await;
    let turned_away = answers.iter().filter(|(status, _)| *status == 429).count();
    assert_eq!(turned_away, 1000 - REFUSALS_WAITING_MAX);
    assert_eq!(answers.iter().filter(|(status, _)| *status == 401).count(), REFUSALS_WAITING_MAX);
    assert_eq!(ask(&router, REMOTE, Some("Bearer wrong")).await.0, 401);
    assert_eq!(auth.failed().counts().collect::<Vec<_>>(), [("none", 1), ("wrong", 1001)]);
}
