//! Sections of the config file that are of no use yet.

use std::path::Path;

use super::restarts::{Machine, assert_refused, ends, from_file, status};
use super::*;
use crate::service::sections::Pending;

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
