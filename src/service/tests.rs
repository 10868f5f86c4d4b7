//! The verbs over a real queue and real workers whose gateway is out of reach.

use std::sync::Arc;

use super::request::{Notify, NotifyOptions, PerRow, Provision, ProvisionOptions};
use super::*;
use crate::domain::app::{Address, AppState};
use crate::domain::time::Timestamp;
use crate::queue::retry::Unknown;
use crate::shutdown::Shutdown;
use crate::{gateway, queue, store};

mod changes;
mod keeping;
mod restarts;
mod sections;
mod sending;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const TOKEN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn service(settings: Settings) -> PushService {
    service_over(&Store::memory(&store::Settings::default()), &["sandbox", "staging"], settings)
}

fn service_over(store: &Store, names: &[&str], settings: Settings) -> PushService {
    let (store, clock) = (store.clone(), Clock::with_wall(NOW));
    let settings_of_queue = queue::Settings { queued_max: 100, ..queue::Settings::default() };
    let queue = Queue::new(store.clone(), settings_of_queue, clock.clone());
    let delivery = Delivery {
        gateway: gateway::Settings::default().into(),
        unknown: Unknown::Resend,
        store,
        clock,
        shutdown: Shutdown::new(),
    };
    PushService::new(environments(names, "binary://127.0.0.1:1"), queue, delivery, settings)
}

fn environments(names: &[&str], gateway: &str) -> Environments {
    let row = |name: &&str| {
        let gateway = Address::parse(gateway).unwrap();
        let name: Arc<str> = (*name).into();
        (Arc::clone(&name), Arc::new(Environment { name, gateway, feedback: None, ca: None, proxy: None }))
    };
    names.iter().map(row).collect()
}

/// A certificate with its key that ends at a year, and is valid at `NOW` if that is 2024 or later.
fn pem(ends: i32) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(ends, 1, 1);
    format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn provision(certificate: impl Into<String>) -> Provision {
    Provision {
        app_id: "app".into(),
        certificate: certificate.into(),
        environment: "sandbox".into(),
        timeout: None,
        options: None,
    }
}

async fn with_app() -> (PushService, App) {
    let service = service(Settings::default());
    service.provision(provision(pem(2040))).await.unwrap();
    let app = service.app("app").unwrap();
    (service, app)
}

fn broadcast<'a>(tokens: &[&'a str]) -> Notify<'a> {
    Notify {
        tokens: tokens.to_vec(),
        payloads: vec![br#"{"aps":{}}"#[..].into()],
        payload_of: vec![],
        options: NotifyOptions::default(),
    }
}

fn invalid(error: ServiceError) -> String {
    match error {
        ServiceError::InvalidArgument(text) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_unknown_environment_is_told_with_those_that_exist() {
    let service = service(Settings::default());
    let request = Provision { environment: "test".into(), ..provision(pem(2040)) };
    let text = "Invalid environment provided `test`. Valid environments are `sandbox` and `production`. Also \
                configured: `staging`";
    assert_eq!(service.provision(request).await.unwrap_err().to_string(), text);
    assert!(matches!(service.app("app"), Err(ServiceError::UnknownApp)));
}

#[tokio::test]
async fn a_bad_certificate_makes_a_refused_app_that_says_why() {
    let service = service(Settings::default());
    service.provision(provision(pem(2020))).await.unwrap();
    let app = service.app("app").unwrap();
    let status = service.status(&app).unwrap();
    assert_eq!(status.state, AppState::Refused);
    assert!(status.cause.contains("2020-01-01"), "{}", status.cause);
    let ended = Timestamp::from_secs(1_577_836_800);
    assert_eq!((status.subject.as_str(), status.expires), ("rcgen self signed cert", Some(ended)));
    let error = service.notify(&app, broadcast(&[TOKEN])).await.unwrap_err();
    let sentence = status.cause[..1].to_uppercase() + &status.cause[1..];
    assert_eq!(error.to_string(), format!("Connection to the APNS server could not be made. {sentence}"));
}

#[tokio::test]
async fn with_options_or_in_strict_mode_a_bad_certificate_is_an_error_and_no_app() {
    let service_strict = service(Settings { strict: true, ..Settings::default() });
    invalid(service_strict.provision(provision(pem(2020))).await.unwrap_err());
    assert!(service_strict.app("app").is_err());

    let service = service(Settings::default());
    let request = Provision { options: Some(ProvisionOptions::default()), ..provision("garbage") };
    invalid(service.provision(request).await.unwrap_err());
    assert!(service.app("app").is_err());
}

#[tokio::test]
async fn a_bad_certificate_does_not_take_the_place_of_a_good_one() {
    let (service, app) = with_app().await;
    service.provision(provision("garbage")).await.unwrap();
    assert_ne!(service.status(&app).unwrap().state, AppState::Refused);
    service.notify(&app, broadcast(&[TOKEN])).await.unwrap();
}

#[tokio::test]
async fn a_renewal_that_was_refused_is_told_until_one_is_accepted() {
    let (service, app) = with_app().await;
    let renewal = || service.status(&app).unwrap().renewal;
    assert_eq!(renewal(), "");
    service.provision(provision(pem(2020))).await.unwrap();
    let told = renewal();
    let begins = "new credentials of 2023-11-14T22:13:20Z were refused: certificate `";
    assert!(told.starts_with(begins) && told.ends_with(" and provision again; the present ones stay"), "{told}");
    let with_options = Provision { options: Some(ProvisionOptions::default()), ..provision("garbage") };
    invalid(service.provision(with_options).await.unwrap_err());
    assert_eq!(renewal(), told, "a caller who was told needs no other notice");
    service.provision(provision(pem(2041))).await.unwrap();
    assert_eq!(renewal(), "");
}

#[tokio::test]
async fn a_certificate_that_ends_earlier_needs_force() {
    let (service, app) = with_app().await;
    let with_force = |force| Provision {
        options: Some(ProvisionOptions { force, ..ProvisionOptions::default() }),
        ..provision(pem(2030))
    };
    let text = invalid(service.provision(with_force(false)).await.unwrap_err());
    assert!(text.contains("ends on 2030-01-01T00:00:00Z, earlier than the present one (2040-01-01"), "{text}");
    service.provision(provision(pem(2031))).await.unwrap();
    assert_eq!(service.status(&app).unwrap().expires.unwrap().to_string(), "2040-01-01T00:00:00Z");
    service.provision(with_force(true)).await.unwrap();
    assert_eq!(service.status(&app).unwrap().expires.unwrap().to_string(), "2030-01-01T00:00:00Z");
}

#[tokio::test]
async fn repeat_ignore_keeps_the_first_provision_as_pyapns_did() {
    let service = service(Settings { repeat: Repeat::Ignore, ..Settings::default() });
    service.provision(provision(pem(2040))).await.unwrap();
    service.provision(provision(pem(2050))).await.unwrap();
    let app = service.app("app").unwrap();
    assert_eq!(service.status(&app).unwrap().expires.unwrap().to_string(), "2040-01-01T00:00:00Z");
}

#[tokio::test]
async fn what_waits_for_another_environment_is_rejected_when_the_app_moves() {
    let (service, app) = with_app().await;
    service.notify(&app, broadcast(&[TOKEN, TOKEN])).await.unwrap();
    service.provision(Provision { environment: "staging".into(), ..provision(pem(2040)) }).await.unwrap();
    let page = service.rejections_after("app", Cursor(0)).await.unwrap();
    let reasons: Vec<&str> = page.entries.iter().map(|rejection| rejection.reason.name()).collect();
    assert_eq!(reasons, ["EnvironmentChanged", "EnvironmentChanged"]);
    assert_eq!(service.status(&app).unwrap().environment, "staging");
}

#[tokio::test]
async fn a_deprovisioned_app_is_unknown_and_its_waiting_rows_are_rejections() {
    let (service, app) = with_app().await;
    service.notify(&app, broadcast(&[TOKEN])).await.unwrap();
    service.deprovision(&app).await.unwrap();
    assert!(matches!(service.app("app"), Err(ServiceError::UnknownApp)));
    assert!(matches!(service.notify(&app, broadcast(&[TOKEN])).await, Err(ServiceError::UnknownApp)));
    let page = service.rejections_after("app", Cursor(0)).await.unwrap();
    assert_eq!(page.entries[0].reason.name(), "Deprovisioned");
    assert!(matches!(service.rejections_after("other", Cursor(0)).await, Err(ServiceError::UnknownApp)));
}

#[tokio::test]
async fn a_provision_that_waited_for_the_removal_of_its_app_is_found() {
    let (service, app) = with_app().await;
    let change = Arc::clone(&app.0.change).lock_owned().await;
    let (again, request) = (service.clone(), provision(pem(2040)));
    #[expect(clippy::disallowed_methods, reason = "joined below")]
    let again = tokio::spawn(async move { again.provision(request).await });
    while Arc::strong_count(&app.0.change) < 3 {
        tokio::task::yield_now().await;
    }
    app.0.set_provisioned(None);
    service.0.apps.remove("app");
    drop(change);
    again.await.unwrap().unwrap();
    service.notify(&service.app("app").unwrap(), broadcast(&[TOKEN])).await.unwrap();
}

#[tokio::test]
async fn one_bad_token_or_payload_is_named_and_nothing_is_queued() {
    let (service, app) = with_app().await;
    let text = invalid(service.notify(&app, broadcast(&[TOKEN, "abcd"])).await.unwrap_err());
    assert_eq!(text, "token 1: a token has 32 to 100 bytes, this one has 2");
    let long = Notify {
        payloads: vec![b"{}"[..].into(), vec![b'x'; 2049].into()],
        payload_of: vec![0, 0, 1],
        ..broadcast(&[TOKEN, TOKEN, TOKEN])
    };
    let text = invalid(service.notify(&app, long).await.unwrap_err());
    assert_eq!(text, "notification 2: 2049 bytes of JSON, at most 2048 over binary");
    assert_eq!(service.status(&app).unwrap().waiting, 0);
}

#[tokio::test]
async fn a_full_queue_is_try_later() {
    let (service, app) = with_app().await;
    service.notify(&app, broadcast(&[TOKEN; 60])).await.unwrap();
    let error = service.notify(&app, broadcast(&[TOKEN; 60])).await.unwrap_err();
    assert!(matches!(&error, ServiceError::TryLater(text) if text.contains("60 notifications wait, 100 may")));
    assert_eq!(service.status(&app).unwrap().waiting, 60);
}

#[tokio::test]
async fn a_repeated_request_id_is_accepted_once() {
    let (service, app) = with_app().await;
    let mut request = broadcast(&[TOKEN]);
    request.options.request_id = Some("one".into());
    service.notify(&app, request.clone()).await.unwrap();
    service.notify(&app, request.clone()).await.unwrap();
    assert_eq!(service.status(&app).unwrap().waiting, 1);
    request.tokens.push(TOKEN);
    invalid(service.notify(&app, request).await.unwrap_err());
}

#[tokio::test]
async fn options_come_from_the_row_the_call_the_app_and_the_daemon_in_this_order() {
    let (service, app) = with_app().await;
    let defaults = NotifyOptions { priority: PerRow::All(5), topic: PerRow::All("t".into()), ..Default::default() };
    let mut request = broadcast(&[TOKEN, TOKEN, TOKEN]);
    request.options.priority = PerRow::Each(vec![10, 1, 10]);
    let batch = service.build(&app, &defaults, &request).unwrap();
    assert_eq!(batch.messages().len(), 2, "equal ones are shared");
    let options = |row| batch.notification(row).message.options.clone();
    assert_eq!([options(0).priority, options(1).priority, options(2).priority], [Some(10), Some(1), Some(10)]);
    assert_eq!(options(1).topic.as_deref(), Some("t"));
    let day = 24 * 60 * 60;
    assert_eq!(options(0).expiration, Some(u32::try_from(NOW.as_secs() + day).unwrap()));
}
