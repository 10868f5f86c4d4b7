//! `apnsd.send` and `apnsd.validate`, and what is checked of options.

use super::*;
use crate::domain::batch::PushOptions;
use crate::service::send::{Patience, SendOutcome, Sent};

const TIMEOUT: Duration = Duration::from_secs(10);

fn with_options(options: NotifyOptions) -> Notify<'static> {
    Notify { options, ..broadcast(&[TOKEN]) }
}

fn push_type(push_type: &str) -> NotifyOptions {
    NotifyOptions { push_type: PerRow::All(push_type.into()), ..NotifyOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_in_time_is_queued_under_ids_of_its_own() {
    let (service, app) = with_app().await;
    let began = service.0.clock.now();
    let sent = service.send(&app, broadcast(&[TOKEN, TOKEN]), TIMEOUT, &Patience::default()).await.unwrap();
    assert!(service.0.clock.now().since(began) >= TIMEOUT);
    assert!(sent.iter().all(|sent| (sent.outcome, sent.reason, sent.retry) == (SendOutcome::Queued, None, false)));
    assert_eq!(sent[0].token[..], [0xaa; 32]);
    assert!(sent[0].id.is_some() && sent[0].id != sent[1].id);
    let status = service.status(&app).unwrap();
    assert_eq!((status.accepted, status.waiting), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_rejected_while_its_caller_waits_is_told() {
    let (service, app) = with_app().await;
    let purge = async {
        while service.status(&app).unwrap().waiting == 0 {
            tokio::task::yield_now().await;
        }
        service.purge(&app).await.unwrap()
    };
    let began = service.0.clock.now();
    let patience = Patience::default();
    let (sent, purged) = tokio::join!(service.send(&app, broadcast(&[TOKEN]), TIMEOUT, &patience), purge);
    let told: Vec<_> = sent.unwrap().into_iter().map(|Sent { outcome, reason, .. }| (outcome, reason)).collect();
    assert_eq!((purged, told), (1, vec![(SendOutcome::Rejected, Some(crate::domain::outcome::Reason::Purged))]));
    assert!(service.0.clock.now().since(began) < TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_refused_meanwhile_lets_nobody_wait() {
    let (service, app) = with_app().await;
    let refused = async {
        while service.status(&app).unwrap().waiting == 0 {
            tokio::task::yield_now().await;
        }
        let settings = Settings::default();
        service.reload(environments(&["staging"], "binary://127.0.0.1:1"), settings, vec![]).await;
    };
    let began = service.0.clock.now();
    let patience = Patience::default();
    let (sent, ()) = tokio::join!(service.send(&app, broadcast(&[TOKEN]), TIMEOUT, &patience), refused);
    let sent = sent.unwrap();
    let cause = service.status(&app).unwrap().cause;
    assert!(cause.contains("not in the configuration"), "{cause}");
    assert_eq!((sent[0].outcome, sent[0].cause.as_deref()), (SendOutcome::Queued, Some(&*cause)));
    assert!(service.0.clock.now().since(began) < TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stops_lets_nobody_wait() {
    let (service, app) = with_app().await;
    service.stop_waiting();
    let began = service.0.clock.now();
    let sent = service.send(&app, broadcast(&[TOKEN]), TIMEOUT, &Patience::default()).await.unwrap();
    assert_eq!((sent[0].outcome, service.0.clock.now().since(began)), (SendOutcome::Queued, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_send_is_told_as_such_at_once() {
    let (service, app) = with_app().await;
    let named = with_options(NotifyOptions { request_id: Some("one".into()), ..NotifyOptions::default() });
    service.notify(&app, named.clone()).await.unwrap();
    let sent = service.send(&app, named, TIMEOUT, &Patience::default()).await.unwrap();
    assert_eq!((sent[0].outcome, sent[0].id), (SendOutcome::Repeated, None));
    assert_eq!(service.status(&app).unwrap().waiting, 1);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_call_is_accepted_whatever_would_refuse_it_now() {
    let (service, app) = with_app().await;
    let named = |id: &str| with_options(NotifyOptions { request_id: Some(id.into()), ..NotifyOptions::default() });
    service.notify(&app, named("one")).await.unwrap();
    let full: Vec<&str> = vec![TOKEN; 99];
    service.notify(&app, broadcast(&full)).await.unwrap();
    let repeated = async || {
        service.notify(&app, named("one")).await.unwrap();
        let sent = service.send(&app, named("one"), TIMEOUT, &Patience::default()).await.unwrap();
        assert_eq!((sent.len(), sent[0].outcome, sent[0].id), (1, SendOutcome::Repeated, None));
        let other = Notify { options: named("one").options, ..broadcast(&[TOKEN, TOKEN]) };
        let conflict = "request_id: another call with other content had this id within the last 15 minutes";
        assert_eq!(invalid(service.notify(&app, other).await.unwrap_err()), conflict);
        service.notify(&app, named("two")).await.unwrap_err()
    };
    let refusal = repeated().await;
    assert!(refusal.to_string().starts_with("the queue of this app is full"), "{refusal}");
    service.reload(environments(&["staging"], "binary://127.0.0.1:1"), Settings::default(), vec![]).await;
    assert!(matches!(repeated().await, ServiceError::NotConnected(_)));
    assert_eq!(service.status(&app).unwrap().waiting, 100);
}

#[tokio::test]
async fn a_send_of_more_than_a_thousand_is_refused() {
    let (service, app) = with_app().await;
    let text = invalid(service.send(&app, broadcast(&[TOKEN; 1001]), TIMEOUT, &Patience::default()).await.unwrap_err());
    let expected = "tokens: 1001 in one call, at most 1000 are allowed in apnsd.send; notify takes more";
    assert_eq!((text.as_str(), service.status(&app).unwrap().waiting), (expected, 0));
}

#[tokio::test]
async fn an_app_that_refuses_notify_refuses_send_and_validate_with_the_same_cause() {
    let service = service(Settings::default());
    service.provision(provision(pem(2020))).await.unwrap();
    let app = service.app("app").unwrap();
    let cause = service.notify(&app, broadcast(&[TOKEN])).await.unwrap_err();
    assert!(matches!(cause, ServiceError::NotConnected(_)));
    assert_eq!(service.send(&app, broadcast(&[TOKEN]), TIMEOUT, &Patience::default()).await, Err(cause.clone()));
    assert_eq!(service.validate(&app, &broadcast(&[TOKEN])), Err(cause));
}

#[tokio::test]
async fn a_dry_run_tells_what_all_notifications_have_in_common() {
    let (service, app) = with_app().await;
    let mut request = Notify {
        payloads: vec![b"{}"[..].into(), b"{\"a\":1}"[..].into()],
        payload_of: vec![0, 1, 0],
        ..broadcast(&[TOKEN, TOKEN, TOKEN])
    };
    request.options.priority = PerRow::Each(vec![5, 5, 10]);
    request.options.expiration = PerRow::All(7);
    request.options.topic = PerRow::All("com.x".into());
    let validated = service.validate(&app, &request).unwrap();
    assert_eq!((validated.notifications, validated.payloads, validated.payload_bytes), (3, 2, 7));
    let expected = PushOptions { expiration: Some(7), ..PushOptions::default() };
    assert_eq!(validated.options, expected, "the binary gateway has no topic, and priorities differ");
    assert_eq!(service.status(&app).unwrap().waiting, 0);
    request.tokens[1] = "12";
    assert_eq!(service.validate(&app, &request).unwrap_err(), service.notify(&app, request).await.unwrap_err());
}

#[tokio::test]
async fn a_dry_run_shows_what_each_protocol_sends() {
    let store = Store::memory(&store::Settings::default());
    let service = service_over(&store, &["sandbox"], Settings::default());
    let options = ProvisionOptions { topic: Some("com.example.app".into()), ..ProvisionOptions::default() };
    service.provision(Provision { options: Some(options), ..provision(pem(2040)) }).await.unwrap();
    let app = service.app("app").unwrap();
    let shown = |options| service.validate(&app, &with_options(options)).map(|validated| validated.options);
    let voip = || NotifyOptions { expiration: PerRow::All(7), ..push_type("voip") };
    let binary = PushOptions { expiration: Some(7), priority: Some(10), ..PushOptions::default() };
    assert_eq!(shown(voip()), Ok(binary));
    service.reload(environments(&["sandbox"], "https://127.0.0.1:1"), Settings::default(), vec![]).await;
    let http2 = PushOptions {
        expiration: Some(7),
        priority: Some(10),
        push_type: Some("voip".into()),
        topic: Some("com.example.app.voip".into()),
        collapse_id: None,
    };
    assert_eq!(shown(voip()), Ok(http2));
}

#[tokio::test]
async fn background_goes_with_priority_5_and_10_is_refused() {
    let (service, app) = with_app().await;
    let priority = |defaults: &NotifyOptions, options| {
        let batch = service.build(&app, defaults, &with_options(options))?;
        Ok(batch.messages()[0].options.priority)
    };
    let none = NotifyOptions::default();
    let urgent = NotifyOptions { priority: PerRow::All(10), ..none.clone() };
    assert_eq!(priority(&none, push_type("background")), Ok(Some(5)));
    assert_eq!(priority(&urgent, push_type("background")), Ok(Some(5)), "what the call says is nearer");
    assert_eq!(priority(&urgent, push_type("alert")), Ok(Some(10)));
    let lowest = NotifyOptions { priority: PerRow::All(1), ..push_type("background") };
    assert_eq!(priority(&none, lowest), Ok(Some(1)));
    let text = invalid(priority(&push_type("background"), urgent).unwrap_err());
    let expected = "options.priority: Apple refuses 10 with push_type background: give 5 or 1, or no priority";
    assert_eq!(text, expected);
    let mut each = with_options(push_type("background"));
    each.options.priority = PerRow::Each(vec![10]);
    let text = invalid(service.build(&app, &none, &each).unwrap_err());
    assert!(text.starts_with("options.priority[0]: "), "{text}");
}

#[tokio::test]
async fn voip_over_http2_may_be_longer() {
    let store = Store::memory(&store::Settings::default());
    let service = service_over(&store, &["sandbox"], Settings::default());
    service.reload(environments(&["sandbox"], "https://127.0.0.1:1"), Settings::default(), vec![]).await;
    service.provision(provision(pem(2040))).await.unwrap();
    let app = service.app("app").unwrap();
    let of = |bytes: usize, push_type: &[&str]| {
        let push_type = PerRow::Each(push_type.iter().map(|word| Arc::from(*word)).collect());
        let options = NotifyOptions { push_type, ..NotifyOptions::default() };
        let tokens = vec![TOKEN; 2];
        Notify { tokens, payloads: vec![vec![b'x'; bytes].into()], payload_of: vec![], options }
    };
    let build = |request| service.build(&app, &NotifyOptions::default(), &request).map(drop);
    assert_eq!(build(of(4096, &["alert", "voip"])), Ok(()));
    assert_eq!(build(of(5120, &["voip", "voip"])), Ok(()));
    let text = invalid(build(of(4097, &["voip", "alert"])).unwrap_err());
    assert_eq!(text, "notification 1: 4097 bytes of JSON, at most 4096 over http2");
    let text = invalid(build(of(5121, &["voip", "voip"])).unwrap_err());
    assert_eq!(text, "notification 0: 5121 bytes of JSON, at most 5120 over http2");
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_one_request_wait_for_a_minute_in_all() {
    let (service, app) = with_app().await;
    let (began, patience) = (service.0.clock.now(), Patience::default());
    for _ in 0..5 {
        let sent = service.send(&app, broadcast(&[TOKEN]), Duration::from_secs(45), &patience).await.unwrap();
        assert_eq!(sent[0].outcome, SendOutcome::Queued);
    }
    assert_eq!(service.0.clock.now().since(began).as_secs(), 60);
}
