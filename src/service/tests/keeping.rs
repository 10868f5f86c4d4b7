//! What the store could not keep: nothing of it is there, or it is kept later.

use super::restarts::{Machine, ends, from_file, status};
use super::*;
use crate::domain::app::AppState;

fn later(result: Result<(), ServiceError>) -> String {
    match result {
        Err(ServiceError::TryLater(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_end_of_a_certificate_is_told_at_a_provision_and_later() {
    let (service, app) = with_app().await;
    let told = || app.0.told_expiry();
    assert_eq!(told(), None);
    let day = |secs| service.0.clock.set_wall(Timestamp::from_secs(secs));
    // The certificate ends on 2040-01-01.
    day(2_208_988_800 - 7 * 24 * 60 * 60 - 1);
    service.provision(provision(pem(2040))).await.unwrap();
    let at_the_provision = told();
    assert!(at_the_provision.is_some());
    service.look_at_expiry();
    assert_eq!(told(), at_the_provision);
    day(2_208_988_800 - 7 * 24 * 60 * 60);
    service.look_at_expiry();
    assert!(told().is_some() && told() != at_the_provision);
}

#[tokio::test]
async fn a_new_app_that_cannot_be_kept_is_nowhere() {
    let machine = Machine::with_disk();
    let service = machine.life().await;
    for certificate in [pem(2040), pem(2020)] {
        machine.store.fail_commits(1);
        let text = later(service.provision(provision(certificate)).await);
        assert!(text.starts_with("the change of the app could not be kept: "), "{text}");
        assert_eq!(service.app("app").unwrap_err(), ServiceError::UnknownApp);
    }
    assert!(machine.life().await.app("app").is_err());
    service.provision(provision(pem(2041))).await.unwrap();
    assert_eq!(ends(&machine.life().await), "2041");
}

#[tokio::test]
async fn a_key_of_no_use_is_try_later_and_nothing_is_changed_or_stored_in_the_clear() {
    let machine = Machine::with_disk();
    let key = machine.file("apnsd-key", "short");
    let service = machine.life_with(&["sandbox"], Some(&key)).await;
    for _ in 0..2 {
        let text = later(service.provision(provision(pem(2040))).await);
        assert!(text.contains("at least 16 are needed"), "{text}");
        assert!(service.app("app").is_err());
    }
    assert_eq!(machine.body().await, "");
    service.provision(from_file(&machine.file("app.pem", pem(2040)))).await.unwrap();
    later(service.provision(provision(pem(2041))).await);
    assert_eq!(ends(&service), "2040");
    assert!(!status(&service).cause.contains("kept"), "{}", status(&service).cause);
}

#[tokio::test]
async fn new_credentials_of_an_app_that_works_are_kept_as_soon_as_the_store_works() {
    let machine = Machine::with_disk();
    let service = machine.life().await;
    service.provision(provision(pem(2040))).await.unwrap();
    machine.store.fail_commits(2);
    let text = later(service.provision(provision(pem(2041))).await);
    service.for_each_app(|entry| service.keep_again(entry)).await;
    assert_eq!(ends(&service), "2041");
    assert!(status(&service).cause.contains(&text), "{}", status(&service).cause);
    let app = service.app("app").unwrap();
    service.notify(&app, broadcast(&[TOKEN])).await.unwrap();
    assert_eq!(ends(&machine.life().await), "2040");

    service.for_each_app(|entry| service.keep_again(entry)).await;
    assert!(!status(&service).cause.contains("could not be kept"));
    assert_eq!((ends(&machine.life().await).as_str(), status(&machine.life().await).waiting), ("2041", 1));
}

#[tokio::test]
async fn an_app_stays_as_it_was_when_other_terms_of_the_same_credentials_cannot_be_kept() {
    let machine = Machine::with_disk();
    let (service, certificate) = (machine.life().await, pem(2040));
    service.provision(provision(certificate.clone())).await.unwrap();
    machine.store.fail_commits(1);
    let timeout = Some(Duration::from_secs(30));
    later(service.provision(Provision { timeout, ..provision(certificate) }).await);
    let app = service.app("app").unwrap();
    assert_eq!(app.0.provisioned().unwrap().terms().unwrap().timeout, None);
    assert_eq!(app.0.unkept(), None);
}

#[tokio::test]
async fn a_pause_that_could_not_be_kept_holds_and_is_kept_later() {
    let machine = Machine::with_disk();
    let service = machine.life().await;
    service.provision(provision(pem(2040))).await.unwrap();
    let app = service.app("app").unwrap();
    machine.store.fail_commits(1);
    later(service.pause(&app).await);
    assert!(app.0.provisioned().unwrap().terms().unwrap().is_paused);
    service.for_each_app(|entry| service.keep_again(entry)).await;
    assert_eq!(status(&machine.life().await).state, AppState::Paused);
}

#[tokio::test]
async fn a_refused_app_can_be_paused_and_then_starts_paused() {
    let machine = Machine::with_disk();
    let path = machine.file("app.pem", pem(2020));
    let service = machine.life().await;
    service.provision(from_file(&path)).await.unwrap();
    service.pause(&service.app("app").unwrap()).await.unwrap();
    assert_eq!(status(&service).state, AppState::Refused);
    machine.file("app.pem", pem(2040));
    service.look_at_files().await;
    let app = service.app("app").unwrap();
    assert!(app.0.provisioned().unwrap().terms().unwrap().is_paused);
    service.0.apps.iter().for_each(|entry| assert!(entry.provisioned().unwrap().worker().is_ok()));
    assert_eq!(status(&machine.life().await).state, AppState::Paused);
}

#[tokio::test]
async fn a_pause_and_a_resume_never_mix() {
    let machine = Machine::with_disk();
    let service = machine.life().await;
    service.provision(provision(pem(2040))).await.unwrap();
    let app = service.app("app").unwrap();
    let change = app.0.change.lock().await;
    let mut pause = std::pin::pin!(service.pause(&app));
    assert!(futures_util::poll!(&mut pause).is_pending());
    tokio::task::yield_now().await;
    assert_ne!(status(&service).state, AppState::Paused, "the worker is told within the change");
    drop(change);
    pause.await.unwrap();
    assert_eq!(status(&machine.life().await).state, AppState::Paused);
}
