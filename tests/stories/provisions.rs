//! Provisions that change under a running daemon: credential files, environments, sections of the configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use apnsd::client::ClientError;
use apnsd::config::{AppSection, Config};
use apnsd::domain::app::{Address, AppId, Environment};
use apnsd::shutdown::Shutdown;
use apnsd::simulator::journal::entry::{Event, Service};
use apnsd::simulator::script::Command;
use apnsd::simulator::script::fault::{Alert, ConnectFault};
use apnsd::simulator::{Settings, Simulator};
use apnsd::xmlrpc::value::Value;

use crate::world::{APP, PATIENCE, World, cause, member, text, token};

fn quick(config: &mut Config) {
    config.delivery.gateway.settle_after = Duration::from_millis(300);
}

fn tokens(count: usize) -> Vec<String> {
    (1..=count).map(|number| token("aa", number)).collect()
}

/// Puts a file in the place of another in one step, as certificate tools do.
fn replace_file(path: &Path, content: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Whom the gateway's connections were with, in their order.
fn subjects(world: &World) -> Vec<String> {
    let entries = world.simulator.journal().page(0, usize::MAX).entries;
    let subject = |event| match event {
        Event::Opened { service: Service::Gateway, subject, .. } => Some(subject),
        _ => None,
    };
    entries.into_iter().filter_map(|entry| subject(entry.event)).collect()
}

/// A world whose app has a file as its certificate.
async fn with_file() -> (World, PathBuf) {
    let world = World::start(quick).await;
    let path = world.simulator.certificates().dir.join("app.pem");
    replace_file(&path, &world.simulator.certificates().issue("com.example.v0").unwrap());
    world.provision(path.to_str().unwrap()).await.unwrap();
    world.wait_until_state("connected").await;
    (world, path)
}

async fn reload(world: &World, change: impl FnOnce(&mut Config)) {
    let mut config = world.config.clone();
    change(&mut config);
    tokio::time::timeout(PATIENCE, world.daemon.reload(&config)).await.unwrap().unwrap();
}

fn set_gateway(config: &mut Config, address: &str) {
    let row = Arc::clone(&config.environments["sandbox-binary"]);
    let gateway = Address::parse(&format!("binary://{address}")).unwrap();
    config.environments.insert("sandbox-binary".into(), Arc::new(Environment { gateway, ..(*row).clone() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_is_taken_up_by_itself_and_a_half_written_one_is_not() {
    let (world, path) = with_file().await;
    let renewed = world.simulator.certificates().issue("com.example.v1").unwrap();
    std::fs::write(&path, &renewed[..renewed.len() / 2]).unwrap();
    reload(&world, |_| ()).await;
    world.notify(&tokens(10)).await.unwrap();
    world.wait_until_arrived(&tokens(10)).await;
    replace_file(&path, &renewed);
    world.wait_until_status(|status| text(status, "subject").ends_with("com.example.v1")).await;
    world.notify(&tokens(20)).await.unwrap();
    world.wait_until_arrived(&tokens(20)).await;
    let subjects = subjects(&world);
    assert!(subjects[0].ends_with("v0") && subjects[1].ends_with("v1") && subjects.len() == 2, "{subjects:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_files_under_load_lose_nothing_and_each_connection_has_its_own() {
    let (world, path) = with_file().await;
    let all = tokens(2000);
    for (round, call) in all.chunks(100).enumerate() {
        world.notify(call).await.unwrap();
        let bundle = format!("com.example.v{}", round + 1);
        replace_file(&path, &world.simulator.certificates().issue(&bundle).unwrap());
        reload(&world, |_| ()).await;
    }
    world.wait_until_arrived(&all).await;
    assert_eq!(world.rejections_now().await, []);
    let mut subjects = subjects(&world);
    subjects.dedup();
    for (version, subject) in subjects.iter().enumerate() {
        assert!(subject.ends_with(&format!("com.example.v{version}")), "{subjects:?}");
    }
    assert_eq!(subjects.len(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_follows_its_environment_to_another_gateway() {
    let world = World::with_app(quick).await;
    world.wait_until_state("connected").await;
    let (outside, settings) = (Shutdown::new(), Settings::on_free_ports(&world.simulator.certificates().dir));
    let other = Simulator::start(settings, world.clock.clone(), &outside).await.unwrap();
    let address = other.binary_address().to_string();
    reload(&world, |config| set_gateway(config, &address)).await;
    world.notify(&tokens(5)).await.unwrap();
    let arrived = other.journal().wait_until(|summary| summary.accepted >= 5);
    assert!(tokio::time::timeout(PATIENCE, arrived).await.is_ok());
    assert_eq!(world.accepted(), [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_vanished_environment_goes_out_when_it_is_there_again() {
    let world = World::with_app(quick).await;
    world.simulator.script().command(Command::refuse(60_000)).unwrap();
    reload(&world, |config| set_gateway(config, "127.0.0.1:1")).await;
    world.notify(&tokens(7)).await.unwrap();
    reload(&world, |config| drop(config.environments.remove("sandbox-binary"))).await;
    let status = world.wait_until_state("refused").await;
    let cause = text(&status, "cause");
    assert!(cause.starts_with("environment `sandbox-binary` is not in the configuration"), "{cause}");
    let error = world.notify(&tokens(1)).await.unwrap_err();
    let sentence = cause.replacen("environment", "Environment", 1);
    let expected = format!("Connection to the APNS server could not be made. {sentence}");
    assert!(matches!(&error, ClientError::Fault(500, text) if *text == expected), "{error}");
    world.simulator.script().clear();
    reload(&world, |_| ()).await;
    world.wait_until_arrived(&tokens(7)).await;
    assert_eq!(world.accepted(), tokens(7), "in order, each once");
    assert_eq!(world.rejections_now().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_applies_new_sections_and_resumes_what_was_paused_by_itself() {
    let world = World::start(quick).await;
    world.simulator.script().command(Command::every([ConnectFault::Alert(Alert::Revoked)])).unwrap();
    let with_section = |config: &mut Config| {
        config.apps.push(AppSection {
            app_id: AppId::parse(APP).unwrap(),
            certificate: world.simulator.certificates().good.path.clone(),
            environment: "sandbox-binary".into(),
            timeout: None,
            topic: None,
            key_id: None,
            team_id: None,
            passphrase_file: None,
            connections: None,
        });
    };
    reload(&world, with_section).await;
    world.wait_until_state("paused").await;
    world.simulator.script().clear();
    reload(&world, with_section).await;
    let status = world.wait_until_state("connected").await;
    assert_eq!(text(&status, "secrets"), "");
    reload(&world, |_| ()).await;
    assert_eq!(member(&world.wait_until_state("connected").await, "environment"), member(&status, "environment"));
}

fn set_ca(config: &mut Config, ca: &Path) {
    let row = Arc::clone(&config.environments["sandbox-binary"]);
    config
        .environments
        .insert("sandbox-binary".into(), Arc::new(Environment { ca: Some(ca.to_owned()), ..(*row).clone() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_ca_is_taken_up_by_a_reload_a_resume_and_the_same_provision() {
    let world = World::start(quick).await;
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("trusted.pem");
    let certificates = world.simulator.certificates();
    for (round, step) in ["reload", "resume", "provision"].into_iter().enumerate() {
        replace_file(&ca, &certificates.wrong_ca.pem);
        reload(&world, |config| set_ca(config, &ca)).await;
        world.provision(&certificates.good.pem).await.unwrap();
        world.wait_until_status(|status| cause(status).contains("cannot be trusted")).await;
        replace_file(&ca, &certificates.ca.pem);
        match step {
            "reload" => reload(&world, |config| set_ca(config, &ca)).await,
            "resume" => drop(world.client.call("apnsd.resume", vec![Value::string(APP)]).await.unwrap()),
            _ => world.provision(&certificates.good.pem).await.unwrap(),
        }
        world.notify(&tokens(round + 1)[round..]).await.unwrap();
        world.wait_until_arrived(&tokens(round + 1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_cannot_be_read_leaves_the_connection_as_it_is() {
    let world = World::with_app(quick).await;
    world.wait_until_state("connected").await;
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("trusted.pem");
    for content in [None, Some("-----BEGIN CERTIFICATE-----"), Some("")] {
        if let Some(content) = content {
            std::fs::write(&ca, content).unwrap();
        }
        reload(&world, |config| set_ca(config, &ca)).await;
        world.wait_until_state("connected").await;
    }
    world.notify(&tokens(5)).await.unwrap();
    world.wait_until_arrived(&tokens(5)).await;
    assert_eq!(subjects(&world).len(), 1, "the connection is the first one");
}
