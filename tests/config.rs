//! The configuration as an operator meets it: a file, variables, and what is said about them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use apnsd::config::{Config, Warning};
use apnsd::domain::app::Protocol;
use apnsd::domain::time::Timestamp;
use apnsd::service::Repeat;
use apnsd::store::{Durability, Kind};
use tempfile::TempDir;

/// 2027-01-01.
const NOW: Timestamp = Timestamp::from_secs(1_798_761_600);

/// A config file in a directory of its own.
struct File {
    directory: TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("apnsd.toml"), text).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The configuration with its warnings, or problems and warnings.
    fn load(&self, variables: &[(&str, &str)]) -> Result<(Config, Vec<String>), Vec<String>> {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let loaded = Config::load(Some(&self.path("apnsd.toml")), variables, NOW);
        let place = format!("{}/", self.directory.path().display());
        let show = |warning: &Warning| warning.to_string().replace(&place, "");
        match loaded {
            Ok((config, warnings)) => Ok((config, warnings.iter().map(show).collect())),
            Err(refused) => Err(refused.to_string().replace(&place, "").lines().map(str::to_owned).collect()),
        }
    }
}

fn load(text: &str) -> Config {
    let (config, warnings) = File::new(text).load(&[]).unwrap();
    assert_eq!(warnings, [""; 0]);
    config
}

fn warnings(text: &str) -> Vec<String> {
    File::new(text).load(&[]).unwrap().1
}

fn problems(text: &str) -> Vec<String> {
    File::new(text).load(&[]).unwrap_err()
}

#[test]
fn without_a_file_everything_has_its_default() {
    let (config, warnings) = Config::load(None, std::iter::empty(), NOW).unwrap();
    assert_eq!((config, warnings), (Config::default(), Vec::new()));
    assert_eq!(load(""), Config::default());
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = Config::default();
    assert_eq!(config.listen[0].to_string(), "127.0.0.1:7077");
    assert_eq!(config.state_dir, PathBuf::from("/var/lib/apnsd"));
    assert_eq!((config.limits.body, config.limits.depth), (67_108_864, 64));
    assert_eq!((config.limits.tokens_per_call, config.limits.queued), (100_000, 10_000_000));
    assert_eq!(config.limits.memory, 33_554_432);
    assert_eq!(config.http.header_timeout, Duration::from_secs(10));
    assert_eq!(config.http.body_timeout, Duration::from_secs(60));
    assert_eq!(config.http.keep_alive, Duration::from_secs(75));
    assert_eq!((config.store.kind, config.store.durability), (Kind::Sqlite, Durability::Full));
    assert_eq!(config.store.min_free, 268_435_456);
    assert_eq!(config.provision.certificate_dirs, ["/etc/apnsd/certs", "$CREDENTIALS_DIRECTORY"].map(PathBuf::from));
    assert_eq!((config.provision.strict, config.provision.repeat), (false, Repeat::Replace));
    assert_eq!(config.delivery.gateway.settle_after, Duration::from_secs(5));
    assert_eq!(config.delivery.gateway.idle_after, Duration::from_secs(1_800));
    assert_eq!(config.delivery.gateway.max_attempts, 5);
    assert_eq!(config.delivery.max_age, Duration::from_secs(86_400));
    assert_eq!(config.delivery.connect_timeout, Duration::from_secs(15));
    assert_eq!(config.delivery.gateway.request_deadline, Duration::from_secs(30));
    assert_eq!(config.delivery.gateway.goaway_drain, Duration::from_secs(30));
    assert_eq!(config.shutdown.deadline, Duration::from_secs(30));
    assert_eq!(config.retention.rejections, Duration::from_secs(2_592_000));
    assert_eq!(config.retention.feedback, Duration::from_secs(7_776_000));
    assert_eq!(config.retention.outcomes, 33_554_432);
    assert_eq!(config.log.level.to_string(), "info");
}

#[test]
fn keys_replace_defaults() {
    let config = load(
        r#"
        listen = ["127.0.0.1:8088", "unix:/run/apnsd.sock"]
        [limits]
        body = "1MiB"
        [delivery]
        settle_after = "250ms"
        [provision]
        repeat = "ignore"
        [retention]
        outcomes = 0
        [log]
        level = "warn,apnsd::gateway=debug"
        "#,
    );
    let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["127.0.0.1:8088", "unix:/run/apnsd.sock"]);
    assert_eq!(config.limits.body, 1_048_576);
    assert_eq!(config.delivery.gateway.settle_after, Duration::from_millis(250));
    assert_eq!(config.provision.repeat, Repeat::Ignore);
    assert_eq!(config.retention.outcomes, 0);
    assert_eq!(config.log.level.to_string(), "warn,apnsd::gateway=debug");
}

#[test]
fn all_problems_are_reported_at_once_with_line_key_and_cure() {
    let found = problems(
        r#"listen = ["0.0.0.0:7077"]
[limits]
depht = 32
body = "64MB"

[delivery]
settle_after = 5
max_attempts = 300
request_deadline = "soon"
[delivry]
max_age = "1h"
connect_timeout = "5s"
"#,
    );
    assert_eq!(
        found,
        [
            "apnsd.toml:1: listen: `0.0.0.0:7077` can be reached by others, and everybody may call: make a user with \
             `apnsd token create NAME`, demand certificates with tls.client_ca, or listen on 127.0.0.1",
            "apnsd.toml:3: limits.depht: is not known; did you mean `limits.depth`?",
            "apnsd.toml:4: limits.body: `MB` is not a unit of size: write a number with a unit (B, KiB, MiB, GiB), as \
             in \"64MiB\"",
            "apnsd.toml:7: delivery.settle_after: `5` has no unit: write a number with a unit (ms, s, m, h, d), as in \
             \"30s\"",
            "apnsd.toml:8: delivery.max_attempts: 300 is too large",
            "apnsd.toml:9: delivery.request_deadline: `soon` is not a duration: write a number with a unit (ms, s, m, \
             h, d), as in \"30s\"",
            "apnsd.toml:10: delivry: is not known; did you mean `delivery`?",
        ]
    );
}

#[test]
fn unknown_keys_are_pointed_to_where_they_belong() {
    assert_eq!(
        problems("settle_after = \"5s\"\nxyzzy = 1\nlog = 5\n[delivery.max_age]\nhours = 5\n[foo]\n"),
        [
            "apnsd.toml:1: settle_after: is not known; did you mean `delivery.settle_after`?",
            "apnsd.toml:2: xyzzy: is not known",
            "apnsd.toml:3: log: is a section, not a key",
            "apnsd.toml:4: delivery.max_age: is a key, not a section",
            "apnsd.toml:6: foo: is not known",
        ]
    );
}

#[test]
fn broken_lines_do_not_hide_other_problems() {
    let found = problems("[limits]\nbody = \ndepth = 0\nqueued = 1\nqueued = 2\n= 3\n");
    assert_eq!(
        found,
        [
            "apnsd.toml:2: not TOML: string values must be quoted, expected literal string",
            "apnsd.toml:3: limits.depth: needs a whole number from 1 on",
            "apnsd.toml:5: not TOML: duplicate key",
            "apnsd.toml:6: not TOML: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`",
        ]
    );
}

#[test]
fn a_list_that_is_not_closed_is_the_only_problem() {
    assert_eq!(problems("listen = [\n"), ["apnsd.toml:1: not TOML: unclosed array, expected `]`"]);
    let rest = "state_dir = \"/x\"\n[limits]\ndepht = 3\n[[app]]\nenvironment = \"mine\"\n";
    assert_eq!(
        problems(&format!("[[app]]\nx = 1\n[provision]\ncertificate_dirs = [\n  \"/certs\"\n{rest}")),
        ["apnsd.toml:6: not TOML: missing comma between array elements, expected `,` (within \
             `provision.certificate_dirs`, from line 4 on: is its end missing?)"]
    );
}

#[test]
fn a_broken_head_or_value_does_not_make_others_look_wrong() {
    assert_eq!(
        problems(
            "[limits\nbody = \"64\"\n[environments.mine]\ngateway = \n[[app]]\napp_id = \"one\"\nenvironment = \
             \"mine\"\n"
        ),
        [
            "apnsd.toml:1: not TOML: unclosed table, expected `]`",
            "apnsd.toml:4: not TOML: string values must be quoted, expected literal string",
        ]
    );
    let app = "[[app]]\napp_id = \"one\"\ncertificate = \"/dev/null\"\nenvironment = \"mine\"\n";
    assert_eq!(
        problems(&format!("[environments.mine]\ngateway = \"nonsense\"\n{app}")),
        [
            "apnsd.toml:2: environments.mine.gateway: `nonsense` does not begin with `binary://`, `https://` or `fcm://`",
            "warning: apnsd.toml:5: app[0].certificate: `/dev/null` cannot be read: not a regular file",
        ]
    );
}

#[test]
fn every_bad_entry_of_a_list_is_a_problem() {
    let syntax = "is not an address to listen on: write `127.0.0.1:7077`, `[::1]:7077`, `tls:0.0.0.0:7443` or \
                  `unix:/run/apnsd/apnsd.sock`";
    assert_eq!(
        problems("listen = [\"0.0.0.0:7077\",\"foo\",\"127.0.0.1:99999\"]\n"),
        [
            format!("apnsd.toml:1: listen: `foo` {syntax}"),
            format!("apnsd.toml:1: listen: `127.0.0.1:99999` {syntax}"),
            "apnsd.toml:1: listen: `0.0.0.0:7077` can be reached by others, and everybody may call: make a user with \
             `apnsd token create NAME`, demand certificates with tls.client_ca, or listen on 127.0.0.1"
                .to_owned(),
        ]
    );
    assert_eq!(
        problems("listen = [\"127.0.0.1:7077\", \"localhost:7077\", \"foo\", \"127.0.0.1:7077\"]\n"),
        [
            format!("apnsd.toml:1: listen: `foo` {syntax}"),
            "apnsd.toml:1: listen: `127.0.0.1:7077` is there twice: remove one".to_owned(),
        ]
    );
    assert_eq!(problems("listen = [\"foo\"]\n"), [format!("apnsd.toml:1: listen: `foo` {syntax}")]);
    assert_eq!(
        problems("[provision]\ncertificate_dirs = [\"\", 5]\n"),
        [
            "apnsd.toml:2: provision.certificate_dirs: needs a path",
            "apnsd.toml:2: provision.certificate_dirs: needs text in quotes, not integer",
        ]
    );
}

#[test]
fn sizes_need_a_unit() {
    const FORM: &str = "has no unit: write a number with a unit (B, KiB, MiB, GiB), as in \"64MiB\"";
    assert_eq!(
        problems("[limits]\nbody = 64\nmemory = \"32\"\n"),
        [format!("apnsd.toml:2: limits.body: `64` {FORM}"), format!("apnsd.toml:3: limits.memory: `32` {FORM}"),]
    );
}

#[test]
fn files_that_cannot_be_used_are_warnings() {
    let file = File::new(
        r#"[environments.mine]
gateway = "binary://127.0.0.1:1"
ca = "missing.pem"
[environments.yours]
gateway = "binary://127.0.0.1:1"
ca = "apnsd.toml"
[[app]]
app_id = "one"
certificate = "missing.pem"
environment = "mine"
[[app]]
app_id = "two"
certificate = "apnsd.toml"
environment = "mine"
[[app]]
app_id = "three"
certificate = "good.pem"
environment = "mine"
"#,
    );
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/credentials/rsa-pkcs8.pem");
    fs::copy(good, file.path("good.pem")).unwrap();
    let (config, warnings) = file.load(&[]).unwrap();
    let place = format!("{}/", file.directory.path().display());
    assert_eq!(config.apps.len(), 3);
    assert_eq!(
        warnings,
        [
            "apnsd.toml:3: environments.mine.ca: `missing.pem` cannot be read: No such file or directory (os error 2)",
            "apnsd.toml:6: environments.yours.ca: `apnsd.toml` holds no PEM certificate",
            "apnsd.toml:9: app[0].certificate: `missing.pem` cannot be read: No such file or directory (os error 2)",
            "apnsd.toml:13: app[1].certificate: `apnsd.toml`: neither PEM nor PKCS#12: PEM text has blocks `-----BEGIN \
             CERTIFICATE-----` and `-----BEGIN PRIVATE KEY-----`, and a .p12 file is passed as it is or as base64",
        ]
    );

    let later = Timestamp::from_secs(40_000_000_000);
    let (_, warnings) = Config::load(Some(&file.path("apnsd.toml")), std::iter::empty(), later).unwrap();
    let expired = warnings.last().unwrap().to_string().replace(&place, "");
    let expected = "apnsd.toml:17: app[2].certificate: `good.pem`: certificate `";
    assert!(expired.starts_with(expected) && expired.contains("` expired on "), "{expired}");
}

#[test]
fn warnings_stand_beside_problems() {
    assert_eq!(
        problems("[store]\nkind = \"memory\"\nmin_free = \"1GiB\"\n[limits]\ndepth = 0\n"),
        [
            "apnsd.toml:5: limits.depth: needs a whole number from 1 on",
            "warning: apnsd.toml:3: store.min_free: has no effect: store.kind is memory",
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let refused = Config::load(Some("/nonexistent/apnsd.toml".as_ref()), std::iter::empty(), NOW).unwrap_err();
    assert_eq!(refused.to_string(), "/nonexistent/apnsd.toml: cannot be read: No such file or directory (os error 2)");
}

#[test]
fn variables_override_the_file() {
    let file = File::new("[delivery]\nsettle_after = \"1s\"\n");
    let variables = [
        ("PATH", "/bin"),
        ("APNSD_URL", "http://127.0.0.1"),
        ("APNSD__DELIVERY__SETTLE_AFTER", "2s"),
        ("APNSD__LISTEN", "127.0.0.1:1, 127.0.0.1:2"),
        ("APNSD__PROVISION__STRICT", "true"),
        ("APNSD__LIMITS__QUEUED", "7"),
        ("APNSD__ENVIRONMENTS__SANDBOX_BINARY__GATEWAY", "binary://127.0.0.1:2195"),
        ("APNSD__ENVIRONMENTS__STAGING__GATEWAY", "binary://127.0.0.1:2197"),
    ];
    let (config, warnings) = file.load(&variables).unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(config.delivery.gateway.settle_after, Duration::from_secs(2));
    assert_eq!((config.listen.len(), config.provision.strict, config.limits.queued), (2, true, 7));
    assert_eq!(config.environments["sandbox-binary"].gateway.port, 2195);
    assert_eq!(config.environments["staging"].gateway.port, 2197);
}

#[test]
fn problems_of_variables_name_them() {
    let file = File::new("");
    let variables = [("APNSD__DELIVERY__SETTLE_AFTR", "1s"), ("APNSD__HTTP__KEEP_ALIVE", "75")];
    assert_eq!(
        file.load(&variables).unwrap_err(),
        [
            "APNSD__HTTP__KEEP_ALIVE: http.keep_alive: `75` has no unit: write a number with a unit (ms, s, m, h, d), \
             as in \"30s\"",
            "APNSD__DELIVERY__SETTLE_AFTR: delivery.settle_aftr: is not known; did you mean `delivery.settle_after`?",
        ]
    );
}

#[test]
fn what_has_no_effect_is_accepted_with_a_warning() {
    let found = warnings(
        r#"[store]
kind = "memory"
durability = "full"
min_free = "256MiB"
[environments.google]
gateway = "fcm://fcm.example"
"#,
    );
    const IN_MEMORY: &str = "has no effect: store.kind is memory";
    let expected = [
        format!("apnsd.toml:3: store.durability: {IN_MEMORY}"),
        format!("apnsd.toml:4: store.min_free: {IN_MEMORY}"),
        "apnsd.toml:6: environments.google.gateway: fcm gateways come in a later version; apps cannot use this one yet"
            .to_owned(),
    ];
    assert_eq!(found, expected);
}

#[test]
fn rows_of_environments_merge_over_the_built_in_ones() {
    let file = File::new(
        r#"
        [environments.sandbox]
        ca = "simulator/ca.pem"
        proxy = "http://me:secret@proxy:3128"
        [environments.sandbox-binary]
        ca = "simulator/ca.pem"
        [environments.production]
        gateway = "binary://127.0.0.1:2195"
        [environments.staging]
        gateway = "binary://[::1]:2195"
        feedback = "binary://127.0.0.1:2196"
        "#,
    );
    let (config, _) = file.load(&[]).unwrap();
    let row = |name: &str| config.environments[name].clone();
    assert_eq!(config.environments.len(), 6);
    assert_eq!(row("sandbox").gateway.to_string(), "https://api.sandbox.push.apple.com:443");
    assert_eq!(row("sandbox").proxy.as_ref().unwrap().to_string(), "http://proxy:3128");
    assert_eq!(row("sandbox-binary").feedback.as_ref().unwrap().host, "feedback.sandbox.push.apple.com");
    assert_eq!(row("sandbox").ca, Some(file.path("simulator/ca.pem")));
    assert_eq!((row("production").gateway.port, &row("production").feedback), (2195, &None));
    assert_eq!(row("staging").feedback.as_ref().unwrap().port, 2196);
    assert_eq!(&*row("staging").name, "staging");
    assert_eq!(row("fcm").gateway.protocol, Protocol::Fcm);
}

#[test]
fn bad_environments_are_refused() {
    assert_eq!(
        problems(
            "[environments.a]\nca = \"ca.pem\"\n[environments.b]\ngateway = \"http://x\"\n[environments.sandbox]\n\
             feedback = \"https://x\"\n"
        ),
        [
            "apnsd.toml:1: environments.a: has no gateway: add gateway = \"https://HOST\" or \"binary://HOST:2195\"",
            "apnsd.toml:4: environments.b.gateway: `http://x` does not begin with `binary://`, `https://` or `fcm://`",
            "apnsd.toml:6: environments.sandbox.feedback: `https://x:443` is no feedback service: its address begins \
             with `binary://`",
            "warning: apnsd.toml:2: environments.a.ca: `ca.pem` cannot be read: No such file or directory (os error 2)",
        ]
    );
}

#[test]
fn apps_are_read_in_order_with_paths_from_the_files_directory() {
    let file = File::new(
        r#"
        [[app]]
        app_id = "one"
        certificate = "certs/one.pem"
        environment = "sandbox"
        timeout = "3s"
        [[app]]
        app_id = "two"
        certificate = "/srv/two.pem"
        environment = "production"
        "#,
    );
    let (config, _) = file.load(&[]).unwrap();
    let [one, two] = config.apps.as_slice() else { panic!("two apps") };
    assert_eq!((one.app_id.as_str(), one.environment.as_str()), ("one", "sandbox"));
    assert_eq!((&one.certificate, one.timeout), (&file.path("certs/one.pem"), Some(Duration::from_secs(3))));
    assert_eq!((&two.certificate, two.timeout), (&PathBuf::from("/srv/two.pem"), None));
}

#[test]
fn credentials_of_every_kind_are_described_in_their_section() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/credentials");
    let text = format!(
        r#"[environments.mine]
gateway = "binary://127.0.0.1:2195"
[[app]]
app_id = "one"
certificate = "{data}/rsa-encrypted-pkcs1.pem"
environment = "mine"
passphrase_file = "one.pass"
topic = "com.example.app"
connections = 3
[[app]]
app_id = "two"
certificate = "{data}/signing-key.p8"
environment = "mine"
key_id = "ABC123DEFG"
team_id = "DEF123GHIJ"
"#
    );
    let file = File::new(&text);
    let found = || file.load(&[]).unwrap();
    let (config, warnings) = found();
    let binary = format!(
        "apnsd.toml:12: app[1].certificate: `{data}/signing-key.p8`: a provider token key (.p8) works over HTTP/2 alone, \
         and environment `mine` is a binary gateway: pass a push certificate and its key"
    );
    let missing =
        "apnsd.toml:7: app[0].passphrase_file: `one.pass` cannot be read: No such file or directory (os error 2)";
    assert_eq!(warnings, [missing, &binary]);
    let [one, two] = config.apps.as_slice() else { panic!("two apps") };
    assert_eq!((one.passphrase_file.clone(), one.connections), (Some(file.path("one.pass")), Some(3)));
    assert_eq!(one.topic.as_deref(), Some("com.example.app"));
    assert_eq!((two.key_id.as_deref(), two.team_id.as_deref()), (Some("ABC123DEFG"), Some("DEF123GHIJ")));
    fs::write(file.path("one.pass"), "secret\n").unwrap();
    assert_eq!(found().1, [binary]);
    fs::write(file.path("one.pass"), "other\n").unwrap();
    assert!(found().1[0].contains("app[0].certificate: `") && found().1[0].contains("the passphrase is wrong"));
    let bad = "[[app]]\napp_id = \"a\"\ncertificate = \"a.p8\"\nenvironment = \"sandbox\"\nkey_id = \"\"\nconnections = 1001\n";
    assert_eq!(
        problems(bad)[..2],
        [
            "apnsd.toml:5: app[0].key_id: is empty: leave it out, or write what Apple's developer account shows",
            "apnsd.toml:6: app[0].connections: 1001 is too many: at most 1000",
        ]
    );
}

#[test]
fn bad_apps_are_refused() {
    let found = problems(
        r#"[[app]]
app_id = "one"
certificate = """
-----BEGIN PRIVATE KEY-----
secret"""
environment = "sandbox"
[[app]]
app_id = "two"
certificate = "two.pem"
environment = "sandboks"
colour = "red"
[[app]]
app_id = "two"
certificate = "two.pem"
environment = "sandbox"
[[app]]
app_id = ""
"#,
    );
    assert_eq!(
        found,
        [
            "apnsd.toml:3: app[0].certificate: needs the path of a file: put the text into a file of its own",
            "apnsd.toml:11: app[1].colour: is not known",
            "apnsd.toml:13: app[2].app_id: `two` is there twice: an app has one entry",
            "apnsd.toml:16: app[3]: has no certificate: every [[app]] needs app_id, certificate and environment",
            "apnsd.toml:16: app[3]: has no environment: every [[app]] needs app_id, certificate and environment",
            "apnsd.toml:17: app[3].app_id: an app id has at least one character",
            "warning: apnsd.toml:9: app[1].certificate: `two.pem` cannot be read: No such file or directory (os error 2)",
            "warning: apnsd.toml:10: app[1].environment: `sandboks` is not an environment: use one of `fcm`, `production`, \
             `production-binary`, `sandbox`, `sandbox-binary`, or add its section",
            "warning: apnsd.toml:14: app[2].certificate: `two.pem` cannot be read: No such file or directory (os error 2)",
        ]
    );
    let single = problems("[app]\napp_id = \"one\"\n");
    assert_eq!(single, ["apnsd.toml:1: app: is a list of sections: head each of them [[app]], with two brackets"]);
}

#[test]
fn certificate_directories_start_at_the_files_directory() {
    let file = File::new("[provision]\ncertificate_dirs = [\".\", \"/srv\", \"$CREDENTIALS_DIRECTORY/apns\"]\n");
    let (config, _) = file.load(&[]).unwrap();
    let expected = [file.path("."), "/srv".into(), "$CREDENTIALS_DIRECTORY/apns".into()];
    assert_eq!(config.provision.certificate_dirs, expected);
}

#[test]
fn every_mistake_about_callers_is_told_with_its_cure() {
    let text = "listen = [\"0.0.0.0:7077\", \"tls:127.0.0.1:7443\"]\n\
                [[user]]\nname = \"a b\"\ntoken = \"secret\"\nmethods = [\"notfy\"]\napps = [\"\"]\n\
                [[user]]\nname = \"web\"\n[tls]\nkey = \"x.pem\"\n";
    let told = problems(text);
    for line in [
        "apnsd.toml:1: listen: `0.0.0.0:7077` can be reached by others, and everybody may call: make a user with `apnsd \
         token create NAME`, demand certificates with tls.client_ca, or listen on 127.0.0.1",
        "apnsd.toml:1: listen: `tls:127.0.0.1:7443` needs the section [tls] with certificate and key",
        "apnsd.toml:3: user[0].name: `a b` cannot be a name: use 1 to 64 letters, digits, `.`, `_` or `-`",
        "apnsd.toml:4: user[0].token: is not the hash of a token, `sha256:` and 64 hex digits: `apnsd token create NAME` \
         makes both",
        "apnsd.toml:5: user[0].methods: `notfy` is not a method; system.listMethods lists them all",
        "apnsd.toml:7: user[1]: has no token: `apnsd token create NAME` makes the section",
        "apnsd.toml:10: tls.key: is of no use without tls.certificate: add the PEM file of the daemon's certificate",
    ] {
        assert!(told.iter().any(|problem| problem == line), "{line}\n{told:#?}");
    }
    assert_eq!(told.len(), 8, "{told:#?}");
}

#[test]
fn a_token_is_of_one_user_and_not_empty() {
    let user = |name: &str, hash: &str| format!("[[user]]\nname = \"{name}\"\ntoken = \"sha256:{hash}\"\n");
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(
        problems(&[user("a", &"0".repeat(64)), user("b", &"0".repeat(64)), user("e", nothing)].concat()),
        [
            "apnsd.toml:6: user[1].token: is that of `a` too: `apnsd token create b` makes another",
            "apnsd.toml:9: user[2].token: is the hash of an empty token, which anybody has: `apnsd token create NAME` \
             makes one that nobody can guess",
        ]
    );
}

#[test]
fn files_of_tls_that_the_daemon_cannot_start_with_are_problems() {
    let pair = rcgen::generate_simple_self_signed(["push.example".to_owned()]).unwrap();
    let tls = |section: &str| {
        let file = File::new(&format!("listen = [\"tls:127.0.0.1:7443\"]\n[tls]\n{section}"));
        fs::write(file.path("pair.pem"), pair.cert.pem() + &pair.signing_key.serialize_pem()).unwrap();
        fs::write(file.path("cert.pem"), pair.cert.pem()).unwrap();
        let other = rcgen::generate_simple_self_signed(["push.example".to_owned()]).unwrap();
        fs::write(file.path("other.key"), other.signing_key.serialize_pem()).unwrap();
        fs::write(file.path("empty.pem"), "").unwrap();
        let place = format!("{}/", file.directory.path().display());
        file.load(&[]).map(|(_, warnings)| warnings).map_err(|told| told.join("\n").replace(&place, ""))
    };
    assert_eq!(tls("certificate = \"pair.pem\"\n"), Ok(Vec::new()));
    assert_eq!(
        tls("certificate = \"none.pem\"\n"),
        Err(
            "apnsd.toml:3: tls.certificate: none.pem cannot be read (No such file or directory (os error 2)): correct \
             tls.certificate, or let this user read it"
                .to_owned()
        )
    );
    assert_eq!(
        tls("certificate = \"cert.pem\"\n"),
        Err("apnsd.toml:3: tls.certificate: cert.pem has no unencrypted private key in PEM that can be read: correct tls.key"
            .to_owned())
    );
    let other = tls("certificate = \"cert.pem\"\nkey = \"other.key\"\n").unwrap_err();
    assert!(other.starts_with("apnsd.toml:4: tls.key: cert.pem and other.key cannot be used for TLS ("), "{other}");
    assert_eq!(
        tls("certificate = \"pair.pem\"\nclient_ca = \"empty.pem\"\n"),
        Err("apnsd.toml:4: tls.client_ca: empty.pem has no certificate in PEM that can be read: correct tls.client_ca"
            .to_owned())
    );
}

/// Ten mistakes of ten kinds.
const TEN_MISTAKES: &str = r#"listen = ["0.0.0.0:7077"]
state_dirs = "/var/lib/apnsd"
[unix]
group = "no-such-group"
mode = "rw-rw----"
[limits]
body = "64 MB"
[store]
durability = "yes"
[delivery]
settle_after = 5
[environments.relay]
gateway = "http://relay.example:2195"
[[app]]
app_id = "shop"
certificate = "shop.pem"
[[user]]
name = "web"
token = "secret"
"#;

/// What is said about each of them, after the name of the file.
const TEN_CURES: [&str; 10] = [
    "1: listen: `0.0.0.0:7077` can be reached by others, and everybody may call: make a user with `apnsd token create \
     NAME`, demand certificates with tls.client_ca, or listen on 127.0.0.1",
    "2: state_dirs: is not known; did you mean `state_dir`?",
    "4: unix.group: `no-such-group` is not a group of this machine: `getent group` lists them, `groupadd --system \
     no-such-group` makes one",
    "5: unix.mode: `rw-rw----` is not a mode: write three or four octal digits in quotes, as in \"0660\"",
    "7: limits.body: `MB` is not a unit of size: write a number with a unit (B, KiB, MiB, GiB), as in \"64MiB\"",
    "9: store.durability: `yes` is not one of `full`, `relaxed`, `none`",
    "11: delivery.settle_after: `5` has no unit: write a number with a unit (ms, s, m, h, d), as in \"30s\"",
    "13: environments.relay.gateway: `http://relay.example:2195` does not begin with `binary://`, `https://` or `fcm://`",
    "14: app[0]: has no environment: every [[app]] needs app_id, certificate and environment",
    "19: user[0].token: is not the hash of a token, `sha256:` and 64 hex digits: `apnsd token create NAME` makes both",
];

#[test]
fn ten_mistakes_in_a_file_are_told_in_one_run_each_with_its_line_and_its_cure() {
    let told = problems(TEN_MISTAKES);
    let expected = TEN_CURES.map(|line| format!("apnsd.toml:{line}"));
    assert_eq!(told, expected);
}

#[test]
fn check_config_tells_ten_mistakes_in_one_run_and_ends_with_the_code_of_a_bad_configuration() {
    let file = File::new(TEN_MISTAKES);
    let path = file.path("apnsd.toml");
    let mut check = Command::new(env!("CARGO_BIN_EXE_apnsd"));
    check.arg("check-config").arg("--config").arg(&path).env_remove("APNSD_CONFIG");
    let output = check.output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let told = String::from_utf8(output.stdout).unwrap();
    let place = format!("{}:", path.display());
    let missing: Vec<&str> = TEN_CURES.into_iter().filter(|cure| !told.contains(&format!("{place}{cure}\n"))).collect();
    assert_eq!(missing, [""; 0], "{told}");
    assert_eq!(told.lines().filter(|line| line.contains(&place)).count(), 10, "{told}");
}

#[test]
fn mode_and_group_of_unix_sockets_are_read() {
    let config = load("listen = [\"unix:/run/apnsd/apnsd.sock\"]\n[unix]\nmode = \"0620\"\ngroup = \"root\"\n");
    let group = config.unix.group.unwrap();
    assert_eq!((config.unix.mode, &*group.name, group.id), (0o620, "root", 0));
    assert_eq!((load("").unix.mode, load("").unix.group), (0o660, None));
    assert_eq!(
        problems("[unix]\nmode = 660\n"),
        ["apnsd.toml:2: unix.mode: needs text in quotes, not integer: write three or four octal digits in quotes, as \
             in \"0660\""]
    );
    let told = |mode: &str| problems(&format!("[unix]\nmode = \"{mode}\"\n")).remove(0);
    let nobody = "apnsd.toml:2: unix.mode: `0440` lets nobody call, who needs the permission to write: write \"0660\" or \"0600\"";
    assert_eq!(told("0440"), nobody);
    for bad in ["0668", "66", "1660", "00660", ""] {
        assert!(told(bad).contains("is not a mode: write three or four octal digits"), "{bad}");
    }
}

#[test]
fn a_socket_that_is_more_open_than_it_seems_is_warned_of() {
    let user = format!("[[user]]\nname = \"web\"\ntoken = \"sha256:{}\"\n", "0".repeat(64));
    let listen = "listen = [\"unix:/run/apnsd/apnsd.sock\"]\n[unix]\n";
    assert_eq!(
        warnings(&format!("{listen}mode = \"0666\"\n{user}")),
        ["apnsd.toml:3: unix.mode: lets every program of this machine call, and without a token, although there are \
             users: write \"0660\" and a unix.group"]
    );
    assert_eq!(
        warnings(&format!("{listen}mode = \"0600\"\ngroup = \"root\"\n")),
        ["apnsd.toml:4: unix.group: has no effect: unix.mode does not let the group write, so that it cannot connect"]
    );
    assert_eq!(
        warnings("[unix]\nmode = \"0600\"\n"),
        ["apnsd.toml:2: unix.mode: has no effect: `listen` names no unix socket (those of apnsd.socket have \
             SocketMode= and SocketGroup= there)"]
    );
}

#[test]
fn paths_and_names_have_only_what_can_be_seen_and_so_do_messages() {
    assert_eq!(
        problems("state_dir = \"/var/\\u0000lib\"\n[log]\nlevel = \"lo\\u0007ud\"\n")[0],
        "apnsd.toml:1: state_dir: has a NUL character, which no path can have: remove it"
    );
    let told = problems("[store]\nkind = \"sq\\u0000\\u001blite\"\n");
    assert_eq!(told, ["apnsd.toml:2: store.kind: `sq\\u{0}\\u{1b}lite` is not one of `sqlite`, `memory`"]);
    const CURE: &str = "needs a name that can be seen, as in [environments.staging]";
    assert_eq!(
        problems(
            "[environments.\"\"]\ngateway = \"https://localhost\"\n\
             [environments.\"a\\tb\"]\ngateway = \"https://localhost\"\n"
        ),
        [format!("apnsd.toml:1: environments.: {CURE}"), format!("apnsd.toml:3: environments.a\\tb: {CURE}")]
    );
}

#[test]
fn a_body_that_no_call_fits_into_is_a_problem() {
    const CURE: &str = "is less than any call needs: at least \"1KiB\"";
    assert_eq!(problems("limits.body = \"1023B\"\n"), [format!("apnsd.toml:1: limits.body: {CURE}")]);
    assert_eq!(load("limits.body = \"1KiB\"\n").limits.body, 1024);
}

#[test]
fn a_list_in_a_variable_may_be_written_as_in_the_file() {
    let listen = |value: &str| {
        let (config, _) = File::new("").load(&[("APNSD__LISTEN", value)]).unwrap();
        config.listen.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(listen("[\"127.0.0.1:1\", \"[::1]:2\"]"), ["127.0.0.1:1", "[::1]:2"]);
    assert_eq!(listen("[::1]:2, 127.0.0.1:1"), ["[::1]:2", "127.0.0.1:1"]);
    assert_eq!(
        File::new("").load(&[("APNSD__LISTEN", "[127.0.0.1:1]")]).unwrap_err(),
        [
            "APNSD__LISTEN: listen: `[127.0.0.1:1]` is not a list: write it as in the file, [\"…\", \"…\"], or with commas alone"
        ]
    );
}

#[test]
fn what_is_no_configuration_and_does_not_end_is_not_read_for_ever() {
    let refused = Config::load(Some("/dev/zero".as_ref()), std::iter::empty(), NOW).unwrap_err();
    assert_eq!(refused.to_string(), "/dev/zero: cannot be read: more than 16 MiB: is this the right file?");
}

#[test]
fn thousands_of_apps_and_users_are_read_and_each_problem_has_its_line() {
    let app = |at: usize| format!("[[app]]\napp_id = \"a{at}\"\ncertificate = \"/gone\"\nenvironment = \"sandbox\"\n");
    let user =
        |at: usize| format!("[[user]]\nname = \"u{at}\"\ntoken = \"sha256:{}\"\n", format!("{:08x}", at + 1).repeat(8));
    let text: String = (0..5_000).map(app).chain((0..5_000).map(user)).collect();
    let refused = problems(&format!("{text}[[app]]\nappid = \"a5000\"\n{}", user(4_999)));
    let told: Vec<&str> = refused.iter().map(String::as_str).filter(|line| !line.starts_with("warning: ")).collect();
    assert_eq!(
        told,
        [
            "apnsd.toml:35001: app[5000]: has no app_id: every [[app]] needs app_id, certificate and environment",
            "apnsd.toml:35001: app[5000]: has no certificate: every [[app]] needs app_id, certificate and environment",
            "apnsd.toml:35001: app[5000]: has no environment: every [[app]] needs app_id, certificate and environment",
            "apnsd.toml:35002: app[5000].appid: is not known; did you mean `app[5000].app_id`?",
            "apnsd.toml:35004: user[5000].name: `u4999` is there twice: a user has one entry",
        ]
    );
}

#[test]
fn an_empty_variable_names_no_file() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apnsd"));
    let output = command.args(["check-config"]).env("APNSD_CONFIG", "").output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(
        (output.status.code(), String::from_utf8(output.stdout).unwrap()),
        (Some(0), "no problems\n".to_owned())
    );
}
