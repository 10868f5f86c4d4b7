//! `export` and `import`.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use apnsd::clock::Clock;
use apnsd::domain::app::AppId;
use apnsd::store::{Kind, Settings, Store};
use serde_json::{Value as Json, json};

use crate::shell::{apnsd, run, stderr, stdout};
use crate::world::World;

/// A state directory as a daemon leaves it, with these apps and bodies.
fn state(dir: &Path, apps: &[(&str, Json)]) {
    let settings = Settings { kind: Kind::Sqlite, dir: dir.to_owned(), ..Settings::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(&settings, Clock::system()).unwrap();
        for (app, body) in apps {
            store.put_app(&AppId::parse(app).unwrap(), body.to_string().into_bytes()).await.unwrap();
        }
        store.close().await.unwrap();
    });
}

fn by_text(certificate: &str) -> Json {
    let (options, secrets) = (json!({"defaults": {"priority": 5}}), json!({"certificate": certificate}));
    json!({"version": 1, "app": {"environment": "sandbox", "timeout": 15000, "options": options, "since": 0,
        "secrets": secrets}})
}

fn by_path(path: &str) -> Json {
    json!({"version": 1, "app": {"environment": "sandbox", "certificate": path, "since": 0}})
}

#[test]
fn secrets_are_exported_only_on_demand_and_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = dir.path().to_str().unwrap();
    state(dir.path(), &[("one", by_path("/a.pem")), ("two", by_text("-----BEGIN PRIVATE KEY-----"))]);
    let output = run(&["export", "--state-dir", state_dir]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let one = json!({"app_id": "one", "environment": "sandbox", "certificate": "/a.pem"});
    let two = json!({"app_id": "two", "environment": "sandbox", "timeout": 15, "options": {"priority": 5},
        "omitted": ["certificate"]});
    let printed: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, json!({"apnsd": 1, "apps": [one, two]}));

    let config = dir.path().join("apnsd.toml");
    fs::write(&config, format!("state_dir = \"{state_dir}\"\n")).unwrap();
    let output = run(&["export", "--secrets", "two", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let warning = "apnsd: warning: this has private keys or passphrases in it: let nobody else read it\n";
    assert_eq!(stderr(&output), warning);
    let printed: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["apps"][0]["certificate"], "-----BEGIN PRIVATE KEY-----");
    assert_eq!(printed["apps"].as_array().unwrap().len(), 1);
}

#[test]
fn an_export_that_is_not_whole_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let state_dir = dir.path().to_str().unwrap();
    let output = run(&["export", "--state-dir", state_dir]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    let nothing = format!(
        "apnsd: there is no store in {state_dir}: name the daemon's state directory with --state-dir, or its \
         configuration with --config\n"
    );
    assert_eq!(stderr(&output), nothing);

    let sealed = json!({"version": 1, "app": {"environment": "sandbox", "since": 0, "secrets": "c2VhbGVk"}});
    state(dir.path(), &[("one", by_path("/a.pem")), ("two", sealed)]);
    let mut export = apnsd(&["export", "--state-dir", state_dir, "--secrets"]);
    let output = export.env_remove("CREDENTIALS_DIRECTORY").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(told.starts_with("apnsd: two is left out: its secrets are sealed and there is no $CREDENTIALS_"), "{told}");
    assert!(told.ends_with("apnsd: 1 of the apps could not be read\n"), "{told}");
    let printed: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["apps"].as_array().unwrap().len(), 1);
    assert!(run(&["export", "--state-dir", state_dir]).status.success());
    let output = run(&["export", "--state-dir", state_dir, "three"]);
    assert_eq!(stderr(&output), "apnsd: there is no app `three`; provisioned are: one, two\n");
}

#[test]
fn what_was_exported_can_be_imported_and_one_failure_does_not_stop_the_rest() {
    let world = World::start();
    let good = fs::read_to_string(world.certificate()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    state(dir.path(), &[("one", by_path("/nowhere.pem")), ("two", by_text(&good))]);
    let state_dir = dir.path().to_str().unwrap();
    let export = |more: &[&str]| {
        let file = dir.path().join("apps.json");
        fs::write(&file, run(&[&["export", "--state-dir", state_dir], more].concat()).stdout).unwrap();
        file.display().to_string()
    };
    let output = world.run(&["import", &export(&[])]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "apnsd: 2 of 2 apps could not be provisioned\n");
    let [one, two] = stdout(&output).lines().collect::<Vec<_>>()[..] else { panic!("{output:?}") };
    assert!(one.starts_with("one: not provisioned: certificate path is not under certificate_dirs ("), "{one}");
    assert!(two.starts_with("two: not provisioned: its certificate was left out by the export: export again"), "{two}");

    let file = export(&["--secrets"]);
    let dry = world.run(&["import", "--dry-run", &file]);
    let planned = "one: would be provisioned for sandbox with /nowhere.pem\n\
        two: would be provisioned for sandbox with the text of its certificate\n";
    assert_eq!((dry.status.code(), stdout(&dry)), (Some(0), planned));
    assert_eq!(world.done(&["apps"]), "no apps yet: add one with `apnsd provision`\n");

    let output = world.run(&["import", &file, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let results: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(results[0]["result"], "failed");
    assert!(results[0]["error"].as_str().unwrap().ends_with("(fault 8002)"), "{results}");
    assert_eq!(results[1], json!({"app_id": "two", "environment": "sandbox", "result": "provisioned"}));
    let status: Json = serde_json::from_str(&world.done(&["status", "two", "--json"])).unwrap();
    assert_eq!(status["environment"], "sandbox");
    assert_eq!(world.done(&["import", &export(&["--secrets", "two"])]), "two: provisioned for sandbox\n");
}

#[test]
fn apps_of_pyapns_are_imported_from_its_file_and_its_directory() {
    let world = World::start();
    let dir = tempfile::tempdir().unwrap();
    let app = |id: &str| json!({"app_id": id, "cert": "push.pem", "environment": "sandbox", "timeout": 15});
    let apps = dir.path().join("apps");
    fs::create_dir(&apps).unwrap();
    let config = json!({"port": 7077, "autoprovision": [app("one")], "apps_path": apps});
    let file = dir.path().join("pyapns.json");
    fs::write(&file, config.to_string()).unwrap();
    fs::write(apps.join("two.json"), app("two").to_string()).unwrap();
    fs::copy(world.certificate(), dir.path().join("push.pem")).unwrap();
    let output = world.run(&["import", "--pyapns", file.to_str().unwrap()]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(1), "apnsd: 1 of 2 apps could not be provisioned\n"));
    let (one, two) = stdout(&output).split_once('\n').unwrap();
    assert_eq!(one, "one: provisioned for sandbox");
    assert!(two.starts_with("two: not provisioned: ") && two.contains("apps/push.pem"), "{two}");

    fs::write(apps.join("two.json"), app("two").to_string().replace("push.pem", "../push.pem")).unwrap();
    assert_eq!(world.done(&["import", "--pyapns", apps.to_str().unwrap()]), "two: provisioned for sandbox\n");
    let planned = world.done(&["import", "--pyapns", "--paths", "--dry-run", apps.to_str().unwrap()]);
    let path = apps.join("../push.pem");
    assert_eq!(planned, format!("two: would be provisioned for sandbox with {}\n", path.display()));
}

#[test]
fn a_renewal_that_the_daemon_refused_shows_in_status_and_apps() {
    let world = World::start();
    let [good, expired] = ["good.pem", "expired.pem"].map(|name| world.certificate().with_file_name(name));
    world.done(&["provision", "myapp", good.to_str().unwrap(), "sandbox"]);
    world.old_client("myapp", &fs::read_to_string(&expired).unwrap());
    let shown = world.done(&["status", "myapp"]);
    let line = shown.lines().find(|line| line.starts_with("renewal ")).unwrap_or_default();
    assert!(line.contains("new credentials of 2") && line.contains(" were refused: certificate `"), "{shown}");
    assert!(line.ends_with("; the present ones stay"), "{shown}");
    assert!(world.done(&["apps"]).contains(" were refused: certificate `"));
    world.done(&["provision", "myapp", good.to_str().unwrap(), "sandbox"]);
    assert!(!world.done(&["status", "myapp"]).contains("renewal"));
}

#[test]
fn a_dry_run_tells_a_certificate_that_has_expired() {
    let world = World::start();
    let dir = tempfile::tempdir().unwrap();
    let [good, expired] = ["good.pem", "expired.pem"].map(|name| world.certificate().with_file_name(name));
    let app = |id: &str, path: &Path| json!({"app_id": id, "environment": "sandbox", "certificate": path});
    let text = fs::read_to_string(&expired).unwrap();
    let apps = [app("one", &expired), app("two", Path::new(&text)), app("three", &good)];
    let file = dir.path().join("apps.json");
    fs::write(&file, json!({"apnsd": 1, "apps": apps}).to_string()).unwrap();
    let output = run(&["import", "--dry-run", file.to_str().unwrap()]);
    assert_eq!(stderr(&output), "apnsd: 2 of 3 apps could not be provisioned\n");
    let told = stdout(&output);
    assert_eq!(told.matches(": not provisioned: certificate `").count(), 2, "{told}");
    assert_eq!((told.matches("` expired on ").count(), told.matches("would be").count()), (2, 1), "{told}");
}

#[test]
fn a_dry_run_tells_an_environment_that_the_configuration_does_not_have() {
    let dir = tempfile::tempdir().unwrap();
    let app = |id: &str, environment: &str| json!({"app_id": id, "cert": "/a.pem", "environment": environment});
    let file = dir.path().join("pyapns.json");
    fs::write(&file, json!({"autoprovision": [app("one", "relay"), app("two", "sandbox")]}).to_string()).unwrap();
    let import = ["import", "--pyapns", "--paths", "--dry-run", file.to_str().unwrap()];
    let output = run(&import);
    assert_eq!((output.status.code(), stderr(&output)), (Some(1), "apnsd: 1 of 2 apps could not be provisioned\n"));
    let planned = "two: would be provisioned for sandbox with /a.pem\n";
    let refused = "one: not provisioned: `relay` is not an environment: there are `fcm`, `production`, \
                   `production-binary`, `sandbox`, `sandbox-binary`; --config names the file that has others\n";
    assert_eq!(stdout(&output), format!("{refused}{planned}"));

    let config = dir.path().join("apnsd.toml");
    fs::write(&config, "[environments.relay]\ngateway = \"https://relay.example\"\n").unwrap();
    let output = run(&[&import[..], &["--config", config.to_str().unwrap()]].concat());
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert_eq!(stdout(&output), format!("one: would be provisioned for relay with /a.pem\n{planned}"));
}

#[test]
fn an_import_stops_where_the_daemon_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apps.json");
    let app = |id: &str| json!({"app_id": id, "environment": "sandbox", "certificate": "/a.pem"});
    fs::write(&file, json!({"apnsd": 1, "apps": [app("one"), app("two")]}).to_string()).unwrap();
    let nobody = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let output = run(&["import", file.to_str().unwrap(), "--url", &nobody]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(3), ""));
    assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
    let output = run(&["import", dir.path().join("nosuch.json").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).ends_with("nosuch.json: No such file or directory (os error 2)\n"), "{output:?}");
    assert_eq!(run(&["import", "x", "--paths"]).status.code(), Some(2));
}
