//! Sections of the config file that are of no use yet.

use std::path::Path;

use super::restarts::{Machine, assert_refused, ends, from_file, status};
use super::*;
use crate::service::sections::Pending;

/// 2027-01-15, when the certificates of tests/data are valid.
const VALID: Timestamp = Timestamp::from_secs(1_800_000_000);

async fn reload(service: &PushService, names: &[&str], section: Provision) {
    service.reload(environments(names, "binary://127.0.0.1:1"), Settings::default(), vec![section]).await;
}

fn in_staging(certificate: &Path) -> Provision {
    Provision { environment: "staging".into(), ..from_file(certificate) }
}

#[tokio::test]
async fn a_section_for_an_environment_that_does_not_exist_refuses_its_app_until_it_does() {
    let machine = Machine::with_disk();
    let section = in_staging(&machine.file("app.pem", pem(2040)));
    let first = machine.life_with(&["sandbox"], None).await;
    first.apply_sections(vec![section.clone()]).await;
    assert_refused(&first, "environment `staging` is not in the configuration: add [environments.staging]").await;
    let second = machine.life_with(&["sandbox"], None).await;
    assert_refused(&second, "environment `staging` is not in the configuration").await;
    reload(&second, &["sandbox", "staging"], section).await;
    assert_eq!((ends(&second).as_str(), status(&second).environment.as_str()), ("2040", "staging"));
}

#[tokio::test]
async fn an_app_that_works_stays_when_its_section_names_an_environment_that_does_not_exist() {
    let machine = Machine::with_disk();
    let path = machine.file("app.pem", pem(2040));
    let service = machine.life_with(&["sandbox"], None).await;
    service.apply_sections(vec![from_file(&path)]).await;
    service.apply_sections(vec![in_staging(&path)]).await;
    assert_eq!((ends(&service).as_str(), status(&service).environment.as_str()), ("2040", "sandbox"));
    service.retry_sections(|_| true).await;
    reload(&service, &["sandbox", "staging"], in_staging(&path)).await;
    assert_eq!(status(&service).environment, "staging");
}

#[tokio::test]
async fn a_section_whose_file_is_of_no_use_is_taken_up_when_the_file_is_good() {
    let machine = Machine::with_disk();
    let service = machine.life().await;
    service.apply_sections(vec![from_file(&machine.file("old.pem", pem(2040)))]).await;
    let new = machine.file("new.pem", "garbage");
    service.apply_sections(vec![from_file(&new)]).await;
    service.retry_sections(Pending::has_changed).await;
    assert_eq!(ends(&service), "2040");
    std::fs::write(&new, pem(2041)).unwrap();
    service.retry_sections(Pending::has_changed).await;
    assert_eq!(ends(&service), "2041");
    assert!(service.0.pending.is_empty());
    assert_eq!(ends(&machine.life().await), "2041");
}

#[tokio::test]
async fn a_section_with_a_passphrase_in_a_file_is_read_again_with_what_is_in_it_then() {
    let machine = Machine::with_disk();
    let encrypted = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/credentials/rsa-encrypted-pkcs8.pem");
    let passphrase = machine.file("app.pass", "wrong\n");
    let options = ProvisionOptions { passphrase_file: Some(passphrase.clone()), ..ProvisionOptions::default() };
    let section = Provision { options: Some(options), ..from_file(Path::new(encrypted)) };
    let service = machine.life().await;
    service.apply_sections(vec![section.clone()]).await;
    assert_refused(&service, "the passphrase is wrong").await;
    std::fs::remove_file(&passphrase).unwrap();
    service.resume(&service.app("app").unwrap()).await.unwrap_err();
    assert_refused(&service, "app.pass` cannot be read: No such file").await;
    machine.file("app.pass", "secret\n");
    service.0.clock.set_wall(VALID);
    service.resume(&service.app("app").unwrap()).await.unwrap();
    assert_eq!(status(&service).subject, "Apple Push Services: com.example.app");
    assert!(!machine.body().await.contains("secret\""), "the passphrase is in its file alone");
    assert!(machine.body().await.contains("app.pass"));
}

#[tokio::test]
async fn an_option_that_a_section_does_not_have_any_more_is_gone_and_defaults_of_callers_stay() {
    let machine = Machine::with_disk();
    let path = machine.file("app.pem", pem(2040));
    let service = machine.life().await;
    let with = |options| Provision { options: Some(options), ..from_file(&path) };
    let defaults = NotifyOptions { priority: PerRow::All(5), ..NotifyOptions::default() };
    service.apply_sections(vec![with(ProvisionOptions { topic: Some("com.x".into()), ..Default::default() })]).await;
    let call = ProvisionOptions { topic: Some("com.y".into()), notify: defaults.clone(), ..Default::default() };
    service.provision(with(call)).await.unwrap();
    service.apply_sections(vec![with(ProvisionOptions { connections: Some(2), ..Default::default() })]).await;
    let options = service.0.apps.get("app").unwrap().provisioned().unwrap().terms().unwrap().options.clone();
    assert_eq!(options, ProvisionOptions { connections: Some(2), notify: defaults, ..ProvisionOptions::default() });
}

#[tokio::test]
async fn a_section_that_could_not_be_kept_is_tried_again() {
    let machine = Machine::with_disk();
    let service = machine.life().await;
    machine.store.fail_commits(1);
    service.apply_sections(vec![from_file(&machine.file("app.pem", pem(2040)))]).await;
    assert!(service.app("app").is_err());
    service.retry_sections(|_| true).await;
    assert_eq!(ends(&machine.life().await), "2040");
}

#[tokio::test]
async fn an_app_that_was_deprovisioned_is_not_brought_back_by_a_section_that_waits() {
    let machine = Machine::with_disk();
    let service = machine.life().await;
    service.apply_sections(vec![from_file(&machine.file("old.pem", pem(2040)))]).await;
    service.apply_sections(vec![from_file(&machine.file("new.pem", "garbage"))]).await;
    service.deprovision(&service.app("app").unwrap()).await.unwrap();
    machine.file("new.pem", pem(2041));
    service.retry_sections(|_| true).await;
    assert!(service.app("app").is_err());
}
