//! Apps that change while the service runs: their options, their files, their environments.

use std::path::{Path, PathBuf};

use super::*;
use crate::domain::app::AppState;
use crate::service::standing::FileMarks;
use crate::service::terms::{Certificate, SectionDigest};

const KEY: &str = "-----BEGIN PRIVATE KEY-----";

fn settings(dir: &Path) -> Settings {
    Settings { certificate_dirs: vec![dir.to_owned()], ..Settings::default() }
}

/// A service with an app whose certificate is a file that ends in 2040.
async fn with_file() -> (PushService, App, tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.pem");
    std::fs::write(&path, pem(2040)).unwrap();
    let service = service(settings(dir.path()));
    service.provision(provision(path.to_str().unwrap())).await.unwrap();
    let app = service.app("app").unwrap();
    (service, app, dir, path)
}

fn ends(service: &PushService, app: &App) -> String {
    service.status(app).unwrap().expires.unwrap().to_string()[..4].to_owned()
}

async fn reload(service: &PushService, name: &str, gateway: &str) {
    service.reload(environments(&[name], gateway), Settings::default(), vec![]).await;
}

async fn reasons(service: &PushService) -> Vec<&'static str> {
    let page = service.rejections_after("app", Cursor(0)).await.unwrap();
    page.entries.iter().map(|rejection| rejection.reason.name()).collect()
}

#[tokio::test]
async fn a_provision_without_options_keeps_those_that_were_given_before() {
    let (service, first) = (service(Settings::default()), pem(2040));
    let notify = NotifyOptions { priority: PerRow::All(5), ..NotifyOptions::default() };
    let passphrase = Some("hush".to_owned());
    let options = ProvisionOptions { notify, passphrase, connections: Some(2), ..ProvisionOptions::default() };
    service.provision(Provision { options: Some(options.clone()), ..provision(first.clone()) }).await.unwrap();
    let timeout = Some(Duration::from_secs(30));
    service.provision(Provision { timeout, ..provision(first) }).await.unwrap();
    let terms = || Arc::clone(service.app("app").unwrap().0.provisioned().unwrap().terms().unwrap());
    assert_eq!((terms().timeout, &terms().options), (timeout, &options));
    service.provision(provision(pem(2041))).await.unwrap();
    let expected = ProvisionOptions { passphrase: None, ..options };
    assert_eq!(terms().options, expected, "the passphrase was the other certificate's");
    service.provision(Provision { options: Some(ProvisionOptions::default()), ..provision(pem(2042)) }).await.unwrap();
    assert_eq!(terms().options, ProvisionOptions::default());
}

#[tokio::test]
async fn a_text_that_is_far_too_long_is_not_stored() {
    let service = service(Settings::default());
    let text = invalid(service.provision(provision("x".repeat((1 << 20) + 1))).await.unwrap_err());
    assert!(text.starts_with("more than 1048576 bytes"), "{text}");
    assert!(service.app("app").is_err());
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_nothing_half_done() {
    let service = service(Settings::default());
    {
        let mut call = std::pin::pin!(service.provision(provision(pem(2040))));
        assert!(futures_util::poll!(&mut call).is_pending());
    }
    let kept = tokio::time::timeout(Duration::from_secs(60), async {
        while service.0.store.apps().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    });
    kept.await.unwrap();
    assert!(service.app("app").is_ok());
}

#[tokio::test]
async fn a_changed_file_is_taken_up_even_when_it_ends_earlier() {
    let (service, app, _dir, path) = with_file().await;
    std::fs::write(&path, pem(2035)).unwrap();
    service.look_at_files().await;
    assert_eq!(ends(&service, &app), "2035");
}

#[tokio::test]
async fn the_repeat_of_pyapns_concerns_callers_and_not_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.pem");
    std::fs::write(&path, pem(2040)).unwrap();
    let service = service(Settings { repeat: Repeat::Ignore, ..settings(dir.path()) });
    service.provision(provision(path.to_str().unwrap())).await.unwrap();
    std::fs::write(&path, pem(2041)).unwrap();
    service.look_at_files().await;
    assert_eq!(ends(&service, &service.app("app").unwrap()), "2041");
}

#[tokio::test]
async fn a_passphrase_file_that_is_corrected_is_taken_up_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let encrypted = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/credentials/rsa-encrypted-pkcs8.pem");
    let (certificate, passphrase) = (dir.path().join("app.pem"), dir.path().join("passphrase"));
    std::fs::copy(encrypted, &certificate).unwrap();
    std::fs::write(&passphrase, "wrong").unwrap();
    let service = service(settings(dir.path()));
    let options = ProvisionOptions { passphrase_file: Some(passphrase.clone()), ..ProvisionOptions::default() };
    let request = Provision { options: Some(options), ..provision(certificate.to_str().unwrap()) };
    let digest = SectionDigest::of(&request);
    service.provision_section(request, digest).await.unwrap();
    let cause = || service.status(&service.app("app").unwrap()).unwrap().cause;
    assert!(cause().contains("passphrase"), "{}", cause());
    std::fs::write(&passphrase, "secret").unwrap();
    service.look_at_files().await;
    // The certificate was made after the time of these tests.
    assert!(cause().contains("not valid before"), "{}", cause());
}

#[tokio::test]
async fn a_path_that_a_caller_passes_neither_forges_a_line_of_the_log_nor_fills_it() {
    let service = service(settings(Path::new("/nonexistent")));
    service.provision(provision(format!("/a\n\u{1b}[31m{}", "b".repeat(10_000)))).await.unwrap();
    let cause = service.status(&service.app("app").unwrap()).unwrap().cause;
    assert!(cause.contains("(it was `/a\u{fffd}\u{fffd}[31mbbb"), "{cause}");
    assert!(!cause.contains(char::is_control) && cause.len() < 1000, "{cause}");
}

/// The marks of a certificate that needs no passphrase.
fn marks(path: &Path) -> FileMarks {
    let certificate = Certificate::File { path: path.to_str().unwrap().to_owned(), unrestricted: false };
    FileMarks::of(&certificate, &ProvisionOptions::default())
}

#[tokio::test]
async fn a_file_of_no_use_changes_nothing_and_is_looked_into_once() {
    let (service, app, _dir, path) = with_file().await;
    let (new, other) = (pem(2041), pem(2042));
    let (certificate, _) = new.split_at(new.find(KEY).unwrap());
    let (_, key) = other.split_at(other.find(KEY).unwrap());
    let mismatched = format!("{certificate}{key}");
    for content in [&new[..new.len() / 2], &mismatched, "", &pem(2020)] {
        std::fs::write(&path, content).unwrap();
        service.look_at_files().await;
        assert_eq!(ends(&service, &app), "2040");
        assert_eq!(app.0.seen(), marks(&path));
        assert!(service.status(&app).unwrap().renewal.ends_with("; the present ones stay"));
    }
    std::fs::remove_file(&path).unwrap();
    service.look_at_files().await;
    assert_eq!((ends(&service, &app).as_str(), app.0.seen()), ("2040", FileMarks::default()));
    std::fs::write(&path, new).unwrap();
    service.look_at_files().await;
    assert_eq!((ends(&service, &app).as_str(), service.status(&app).unwrap().renewal.as_str()), ("2041", ""));
}

#[tokio::test]
async fn a_changed_file_does_not_bring_an_app_back_that_is_being_removed() {
    let (service, app, _dir, path) = with_file().await;
    std::fs::write(&path, pem(2041)).unwrap();
    let change = Arc::clone(&app.0.change).lock_owned().await;
    let mut take_up = std::pin::pin!(service.take_up_file(&app.0, marks(&path)));
    assert!(futures_util::poll!(&mut take_up).is_pending());
    app.0.set_provisioned(None);
    service.0.apps.remove("app");
    drop(change);
    take_up.await;
    assert!(service.app("app").is_err() && !app.0.is_provisioned());
}

#[tokio::test]
async fn an_environment_with_another_address_takes_its_apps_along() {
    let (service, app) = with_app().await;
    service.notify(&app, broadcast(&[TOKEN])).await.unwrap();
    reload(&service, "sandbox", "binary://127.0.0.1:2").await;
    let status = service.status(&app).unwrap();
    assert_eq!((&*status.gateway, status.waiting), ("binary://127.0.0.1:2", 1));
    assert_eq!(reasons(&service).await, [] as [&str; 0]);
}

#[tokio::test]
async fn an_environment_that_cannot_be_used_any_more_refuses_its_apps_and_keeps_what_waits() {
    let (service, app) = with_app().await;
    service.notify(&app, broadcast(&[TOKEN])).await.unwrap();
    for (name, gateway, words) in
        [("staging", "binary://127.0.0.1:1", "not in the configuration"), ("sandbox", "fcm://127.0.0.1", "speaks fcm")]
    {
        let worker = app.0.provisioned().unwrap().worker().unwrap().clone();
        reload(&service, name, gateway).await;
        let status = service.status(&app).unwrap();
        assert_eq!((status.state, status.waiting), (AppState::Refused, 1));
        assert!(worker.resume().await.is_err(), "it has ended");
        assert!(status.cause.contains(words), "{}", status.cause);
        let error = service.notify(&app, broadcast(&[TOKEN])).await.unwrap_err();
        assert_eq!(error, ServiceError::NotConnected(status.cause));
        reload(&service, "sandbox", "binary://127.0.0.1:1").await;
        assert_ne!(service.status(&app).unwrap().state, AppState::Refused);
    }
    service.notify(&app, broadcast(&[TOKEN])).await.unwrap();
    assert_eq!(service.status(&app).unwrap().waiting, 2);
}

#[tokio::test]
async fn what_waits_for_a_refused_app_is_rejected_when_it_moves_or_is_removed() {
    let (service, app) = with_app().await;
    service.notify(&app, broadcast(&[TOKEN])).await.unwrap();
    reload(&service, "staging", "binary://127.0.0.1:1").await;
    let moved = |certificate: String| Provision { environment: "staging".into(), ..provision(certificate) };
    service.provision(moved("garbage".into())).await.unwrap();
    assert_eq!(reasons(&service).await, [] as [&str; 0], "nothing is gained by moving to where it cannot be sent");
    service.provision(moved(pem(2040))).await.unwrap();
    assert_eq!(reasons(&service).await, ["EnvironmentChanged"]);
    service.notify(&app, broadcast(&[TOKEN])).await.unwrap();
    reload(&service, "sandbox", "binary://127.0.0.1:1").await;
    service.deprovision(&app).await.unwrap();
    assert_eq!(reasons(&service).await, ["EnvironmentChanged", "Deprovisioned"]);
}

#[tokio::test]
async fn a_reload_takes_over_how_callers_may_provision() {
    let (service, _app) = with_app().await;
    let strict = Settings { strict: true, ..Settings::default() };
    service.reload(environments(&["sandbox"], "binary://127.0.0.1:1"), strict, vec![]).await;
    invalid(service.provision(provision("garbage")).await.unwrap_err());
    let unknown = Provision { environment: "staging".into(), ..provision(pem(2040)) };
    assert!(matches!(service.provision(unknown).await, Err(ServiceError::InvalidEnvironment { .. })));
}
