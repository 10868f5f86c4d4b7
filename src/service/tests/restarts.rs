//! Provisions over a restart: a second life of the service over the same store.

use std::path::{Path, PathBuf};

use super::*;
use crate::clock::Instant;
use crate::domain::app::AppState;
use crate::domain::feedback::FeedbackEntry;
use crate::service::status::AppStatus;
use crate::store::FeedbackSource;

/// What outlives the process: the store, and a directory with certificates and keys.
pub(super) struct Machine {
    pub(super) store: Store,
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { store: Store::memory(&store::Settings::default()), dir: tempfile::tempdir().unwrap() }
    }

    /// One whose store can fail.
    pub(super) fn with_disk() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = store::Settings {
            dir: dir.path().join("state"),
            durability: store::Durability::None,
            min_free: 0,
            ..store::Settings::default()
        };
        Self { store: Store::open(&settings, Clock::with_wall(NOW)).unwrap(), dir }
    }

    pub(super) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn settings(&self, key: Option<&Path>) -> Settings {
        Settings {
            certificate_dirs: vec![self.dir.path().to_owned()],
            seal_key: key.map(Path::to_owned),
            ..Settings::default()
        }
    }

    /// A life of the daemon, with both environments and no key.
    pub(super) async fn life(&self) -> PushService {
        self.life_with(&["sandbox", "staging"], None).await
    }

    pub(super) async fn life_with(&self, environments: &[&str], key: Option<&Path>) -> PushService {
        let service = service_over(&self.store, environments, self.settings(key));
        service.restore().await.unwrap();
        service
    }

    /// All bodies of the store.
    pub(super) async fn body(&self) -> String {
        let apps = self.store.apps().await.unwrap();
        apps.into_iter().map(|(_, body)| String::from_utf8(body).unwrap()).collect()
    }
}

pub(super) fn status(service: &PushService) -> AppStatus {
    service.status(&service.app("app").unwrap()).unwrap()
}

pub(super) fn ends(service: &PushService) -> String {
    status(service).expires.unwrap().to_string()[..4].to_owned()
}

pub(super) fn from_file(certificate: &Path) -> Provision {
    provision(certificate.to_str().unwrap())
}

pub(super) async fn assert_refused(service: &PushService, words: &str) {
    let app = service.app("app").unwrap();
    let cause = service.status(&app).unwrap().cause;
    assert!(cause.contains(words), "{cause}");
    for error in [
        service.notify(&app, broadcast(&[TOKEN])).await.unwrap_err(),
        service.feedback(&app, None).await.unwrap_err(),
        service.resume(&app).await.unwrap_err(),
    ] {
        assert_eq!(error, ServiceError::NotConnected(cause.clone()));
    }
}

#[tokio::test]
async fn an_app_comes_back_as_it_was() {
    let machine = Machine::new();
    let defaults = NotifyOptions { priority: PerRow::All(5), ..NotifyOptions::default() };
    let options = ProvisionOptions { notify: defaults.clone(), ..ProvisionOptions::default() };
    let timeout = Some(Duration::from_secs(30));
    let before = machine.life().await;
    before.provision(Provision { timeout, options: Some(options), ..provision(pem(2040)) }).await.unwrap();
    let after = machine.life().await;
    let AppStatus { app_id, environment, expires, secrets, .. } = status(&after);
    assert_eq!((app_id.as_str(), &*environment, secrets), ("app", "sandbox", "plain"));
    assert_eq!(expires, status(&before).expires);
    let app = after.app("app").unwrap();
    let provisioned = app.0.provisioned().unwrap();
    assert_eq!((provisioned.terms().unwrap().timeout, &provisioned.defaults), (timeout, &defaults));
    after.notify(&app, broadcast(&[TOKEN])).await.unwrap();
}

#[tokio::test]
async fn an_app_that_an_operator_paused_stays_paused_until_one_resumes() {
    let machine = Machine::new();
    let first = machine.life().await;
    first.provision(provision(pem(2040))).await.unwrap();
    first.pause(&first.app("app").unwrap()).await.unwrap();
    let second = machine.life().await;
    assert_eq!(status(&second).state, AppState::Paused);
    second.provision(provision(pem(2041))).await.unwrap();
    let third = machine.life().await;
    assert_eq!((status(&third).state, ends(&third).as_str()), (AppState::Paused, "2041"));
    third.notify(&third.app("app").unwrap(), broadcast(&[TOKEN])).await.unwrap();
    third.resume(&third.app("app").unwrap()).await.unwrap();
    assert_ne!(status(&machine.life().await).state, AppState::Paused);
}

#[tokio::test]
async fn a_clock_that_was_wrong_at_the_start_refuses_nobody_for_good() {
    let machine = Machine::new();
    machine.life().await.provision(provision(pem(2040))).await.unwrap();
    let after = service_over(&machine.store, &["sandbox"], machine.settings(None));
    after.0.clock.set_wall(Timestamp::from_secs(0));
    after.restore().await.unwrap();
    assert_refused(&after, "is not valid before 2000-01-01").await;
    after.0.clock.set_wall(NOW);
    after.for_each_app(|entry| after.retry(entry)).await;
    after.notify(&after.app("app").unwrap(), broadcast(&[TOKEN])).await.unwrap();
}

#[tokio::test]
async fn a_file_is_read_again_by_the_path_that_was_given() {
    let machine = Machine::new();
    let link = machine.dir.path().join("link.pem");
    std::os::unix::fs::symlink(machine.file("old.pem", pem(2040)), &link).unwrap();
    machine.life().await.provision(from_file(&link)).await.unwrap();
    assert!(!machine.body().await.contains("secrets"));
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(machine.file("new.pem", pem(2050)), &link).unwrap();
    let after = machine.life().await;
    assert_eq!((ends(&after).as_str(), status(&after).secrets), ("2050", ""));
}

#[tokio::test]
async fn secrets_are_sealed_with_the_key_and_without_it_the_app_waits_for_it() {
    let machine = Machine::new();
    let (key, other) = (machine.file("apnsd-key", [7; 32]), machine.file("other-key", [8; 32]));
    let before = machine.life_with(&["sandbox"], Some(&key)).await;
    before.provision(provision(pem(2040))).await.unwrap();
    assert_eq!(status(&before).secrets, "sealed");
    let sealed = machine.body().await;
    assert!(!sealed.contains("BEGIN"), "{sealed}");

    for (key, words) in [(None, "put the key file back"), (Some(&*other), "another key")] {
        let without = machine.life_with(&["sandbox"], key).await;
        assert_refused(&without, words).await;
        assert_eq!((status(&without).environment.as_str(), status(&without).secrets), ("sandbox", "sealed"));
        without.provision(provision("garbage")).await.unwrap();
        assert_refused(&without, words).await;
        assert_eq!(machine.body().await, sealed, "it stays as it is");
    }
    let back = machine.life_with(&["sandbox"], Some(&key)).await;
    back.notify(&back.app("app").unwrap(), broadcast(&[TOKEN])).await.unwrap();
}

#[tokio::test]
async fn a_key_that_appears_later_seals_what_was_plain() {
    let machine = Machine::new();
    machine.life().await.provision(provision(pem(2040))).await.unwrap();
    assert!(machine.body().await.contains("BEGIN"));
    let key = machine.file("apnsd-key", [7; 32]);
    let after = machine.life_with(&["sandbox"], Some(&key)).await;
    assert_eq!(status(&after).secrets, "sealed");
    assert!(!machine.body().await.contains("BEGIN"));
}

#[tokio::test]
async fn an_app_whose_file_is_gone_is_refused_and_starts_when_it_is_there_again() {
    let machine = Machine::new();
    let text = pem(2040);
    let path = machine.file("app.pem", &text);
    machine.life().await.provision(from_file(&path)).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let after = machine.life().await;
    assert_refused(
        &after,
        &format!("not readable: pass the PEM text or add the directory (it was `{}`)", path.display()),
    )
    .await;
    after.look_at_files().await;
    assert_refused(&after, "not readable").await;
    machine.file("app.pem", &text);
    after.look_at_files().await;
    after.notify(&after.app("app").unwrap(), broadcast(&[TOKEN])).await.unwrap();
}

#[tokio::test]
async fn an_app_whose_environment_is_gone_is_refused_until_it_is_there_again() {
    let machine = Machine::new();
    let request = Provision { environment: "staging".into(), ..provision(pem(2040)) };
    machine.life().await.provision(request).await.unwrap();
    let after = machine.life_with(&["sandbox"], None).await;
    assert_refused(&after, "environment `staging` is not in the configuration").await;
    let AppStatus { environment, protocol, gateway, .. } = status(&after);
    assert_eq!((&*environment, protocol, &*gateway), ("staging", None, ""));
    after.reload(environments(&["staging"], "binary://127.0.0.1:1"), machine.settings(None), vec![]).await;
    after.notify(&after.app("app").unwrap(), broadcast(&[TOKEN])).await.unwrap();
}

#[tokio::test]
async fn a_refused_app_is_still_there_after_a_restart_and_says_the_same() {
    let machine = Machine::new();
    machine.life().await.provision(provision(pem(2020))).await.unwrap();
    assert_refused(&machine.life().await, "expired on 2020-01-01").await;
}

#[tokio::test]
async fn a_record_of_a_newer_version_is_kept_until_a_caller_provisions_anew() {
    let machine = Machine::new();
    let (id, newer) = (AppId::parse("app").unwrap(), r#"{"version":2}"#);
    machine.store.put_app(&id, newer.into()).await.unwrap();
    let service = machine.life().await;
    service.apply_sections(vec![from_file(&machine.file("app.pem", pem(2040)))]).await;
    assert_refused(&service, "written by a newer apnsd").await;
    assert_eq!(machine.body().await, newer);
    service.provision(provision(pem(2040))).await.unwrap();
    assert_ne!(status(&machine.life().await).state, AppState::Refused);
}

#[tokio::test]
async fn a_section_applies_only_when_its_text_changed() {
    let machine = Machine::new();
    let sections = [2040, 2041].map(|year| vec![from_file(&machine.file(&format!("{year}.pem"), pem(year)))]);
    let first = machine.life().await;
    first.apply_sections(sections[0].clone()).await;
    assert_eq!(ends(&first), "2040");
    first.provision(provision(pem(2050))).await.unwrap();

    let second = machine.life().await;
    second.apply_sections(sections[0].clone()).await;
    assert_eq!(ends(&second), "2050", "a call after the section survives");
    second.apply_sections(sections[1].clone()).await;
    assert_eq!(ends(&second), "2041", "although it ends earlier: an operator wants it");
    second.apply_sections(vec![]).await;
    assert_eq!(ends(&second), "2041", "without a section it stays");
}

/// Callers may not name such a file, and one of no use refuses the app even where callers get an error.
#[tokio::test]
async fn a_section_may_name_any_file_also_after_a_restart() {
    let (machine, elsewhere) = (Machine::new(), Machine::new());
    let (good, bad) = (elsewhere.file("good.pem", pem(2040)), elsewhere.file("bad.pem", "garbage"));
    let strict = Settings { strict: true, ..machine.settings(None) };
    let service = service_over(&machine.store, &["sandbox"], strict);
    invalid(service.provision(from_file(&good)).await.unwrap_err());
    service.apply_sections(vec![from_file(&good), Provision { app_id: "bad".into(), ..from_file(&bad) }]).await;
    assert_eq!(service.status(&service.app("bad").unwrap()).unwrap().state, AppState::Refused);
    assert_ne!(status(&machine.life().await).state, AppState::Refused);
}

#[tokio::test]
async fn a_deprovisioned_app_stays_away_until_its_section_changes() {
    let machine = Machine::new();
    let path = machine.file("app.pem", pem(2040));
    let before = machine.life().await;
    before.apply_sections(vec![from_file(&path)]).await;
    before.deprovision(&before.app("app").unwrap()).await.unwrap();
    let after = machine.life().await;
    after.0.clock.set_wall(NOW.plus(Duration::from_secs(91 * 24 * 60 * 60)));
    after.apply_sections(vec![from_file(&path)]).await;
    assert!(after.app("app").is_err());
    after.apply_sections(vec![Provision { timeout: Some(Duration::from_secs(1)), ..from_file(&path) }]).await;
    assert!(after.app("app").is_ok());
    assert!(machine.life().await.app("app").is_ok());
}

#[tokio::test]
async fn feedback_of_a_deprovisioned_app_stays_readable_as_long_as_it_is_kept() {
    let machine = Machine::new();
    let before = machine.life().await;
    before.provision(provision(pem(2040))).await.unwrap();
    let source = FeedbackSource { environment: "sandbox".into(), topic: status(&before).subject.as_str().into() };
    let entry = FeedbackEntry { timestamp: NOW, token: [0xab].into() };
    machine.store.append_feedback(&source, vec![entry.clone()]).await.unwrap();
    before.deprovision(&before.app("app").unwrap()).await.unwrap();
    assert_eq!(before.feedback_after("app", Cursor(0)).await.unwrap().entries, std::slice::from_ref(&entry));

    let after = machine.life().await;
    assert_eq!(after.feedback_after("app", Cursor(0)).await.unwrap().entries, [entry]);
    assert_eq!(after.app("app").unwrap_err(), ServiceError::UnknownApp);
    assert_eq!(after.feedback_after("other", Cursor(0)).await.unwrap_err(), ServiceError::UnknownApp);

    after.0.clock.set_wall(NOW.plus(Duration::from_secs(91 * 24 * 60 * 60)));
    after.apply_sections(vec![]).await;
    assert_eq!(after.feedback_after("app", Cursor(0)).await.unwrap_err(), ServiceError::UnknownApp);
    assert_eq!(machine.body().await, "");
}

#[tokio::test]
async fn an_app_that_was_provisioned_again_is_not_forgotten_with_what_it_was() {
    let machine = Machine::new();
    let service = machine.life().await;
    service.provision(provision(pem(2040))).await.unwrap();
    service.deprovision(&service.app("app").unwrap()).await.unwrap();
    service.provision(provision(pem(2041))).await.unwrap();
    service.0.clock.set_wall(NOW.plus(Duration::from_secs(91 * 24 * 60 * 60)));
    service.apply_sections(vec![]).await;
    assert_eq!(ends(&machine.life().await), "2041");
}

#[tokio::test]
async fn feedback_of_a_refused_app_is_readable_with_a_cursor() {
    let machine = Machine::new();
    let path = machine.file("app.pem", pem(2040));
    machine.life().await.provision(from_file(&path)).await.unwrap();
    std::fs::remove_file(path).unwrap();
    let after = machine.life().await;
    assert_eq!(status(&after).state, AppState::Refused);
    assert_eq!(after.feedback_after("app", Cursor(0)).await.unwrap().entries, []);
}

/// The process ends after the move, before the gateway of the old environment has said what became of the row.
#[tokio::test]
async fn what_was_on_its_way_to_another_environment_is_never_sent_to_this_one() {
    let machine = Machine::new();
    let before = machine.life().await;
    before.provision(provision(pem(2040))).await.unwrap();
    let app = before.app("app").unwrap();
    before.pause(&app).await.unwrap();
    before.notify(&app, broadcast(&[TOKEN])).await.unwrap();
    let on_its_way = app.0.queue.lease(1, Instant::default(), NOW);
    assert!(on_its_way.is_some());
    before.provision(Provision { environment: "staging".into(), ..provision(pem(2040)) }).await.unwrap();
    before.notify(&app, broadcast(&[TOKEN])).await.unwrap();

    let after = machine.life().await;
    let page = after.rejections_after("app", Cursor(0)).await.unwrap();
    let rejected: Vec<_> = page.entries.iter().map(|entry| (entry.batch.0, entry.reason.name())).collect();
    assert_eq!(rejected, [(1, "EnvironmentChanged")]);
    assert_eq!(status(&after).waiting, 1);
}
