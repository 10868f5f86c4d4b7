//! `/metrics` with a whole daemon and a simulated Apple, and what is made of it: the table in `docs/metrics.md`, the
//! dashboard, the alerts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use apnsd::admin::metrics::catalogue::{Kind, Metric, OF_APPS, OF_PROCESS};
use apnsd::client::Client;
use apnsd::clock::Clock;
use apnsd::config::Config;
use apnsd::daemon::Daemon;
use apnsd::listener::user::{Limits, Token, User};
use apnsd::shutdown::Shutdown;
use apnsd::simulator::{Settings, Simulator};
use apnsd::xmlrpc::value::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing that is waited for takes as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A simulator and a daemon on it.
struct World {
    simulator: Simulator,
    daemon: Daemon,
    clock: Clock,
    authorization: String,
    _dir: tempfile::TempDir,
}

impl World {
    async fn start(configure: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let settings = Settings::on_free_ports(dir.path());
        let simulator = Simulator::start(settings, clock.clone(), &Shutdown::new()).await.unwrap();
        let (mut config, _) =
            Config::load(Some(simulator.config_file()), std::iter::empty(), clock.timestamp()).unwrap();
        config.listen = vec!["127.0.0.1:0".parse().unwrap()];
        configure(&mut config);
        let daemon = Daemon::start(&config, clock.clone()).await.unwrap();
        Self { simulator, daemon, clock, authorization: String::new(), _dir: dir }
    }

    fn address(&self) -> String {
        self.daemon.addresses()[0].to_string()
    }

    async fn call(&self, method: &str, arguments: Vec<Value<'static>>) -> Result<Value<'static>, String> {
        let client = Client::new(&format!("http://{}", self.address()), PATIENCE).unwrap();
        client.call(method, arguments).await.map_err(|error| error.to_string())
    }

    /// Provisions an app with the simulator's certificate.
    async fn provision(&self, app: &str, environment: &'static str) {
        let pem = self.simulator.certificates().good.pem.clone();
        let arguments = vec![string(app), string(&pem), Value::string(environment)];
        self.call("provision", arguments).await.unwrap();
    }

    /// Provisions an app with the simulator's key.
    async fn provision_key(&self, app: &str) {
        let key = &self.simulator.certificates().provider_keys.good;
        let options = [("key_id", key.key_id), ("team_id", key.team_id), ("topic", "com.example.app")];
        let options = options.map(|(name, text)| (name.into(), string(text)));
        let arguments = vec![
            string(app),
            string(&key.file.pem),
            Value::string("sandbox"),
            Value::Nil,
            Value::structure(options.to_vec()),
        ];
        self.call("provision", arguments).await.unwrap();
    }

    /// Sends a notification to each token, and waits for what becomes of them.
    async fn send(&self, app: &str, tokens: &[&str]) {
        let tokens = tokens.iter().map(|token| string(&format!("{token:a<64}"))).collect();
        let alert =
            Value::structure(vec![("aps".into(), Value::structure(vec![("alert".into(), Value::string("Hello"))]))]);
        self.call("apnsd.send", vec![string(app), Value::Array(tokens), alert]).await.unwrap();
    }

    async fn get(&self, header: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        let authorization = &self.authorization;
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}{header}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        (head.to_lowercase(), body.to_owned())
    }

    async fn page(&self) -> String {
        self.get("").await.1
    }

    /// The page, once it has a line.
    async fn page_with(&self, wanted: &str) -> String {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let page = self.page().await;
                if page.lines().any(|line| line == wanted) {
                    return page;
                }
                self.clock.sleep(Duration::from_millis(20)).await;
            }
        });
        match found.await {
            Ok(page) => page,
            Err(_) => panic!("no `{wanted}` in:\n{}", self.page().await),
        }
    }
}

fn string(text: &str) -> Value<'static> {
    Value::string(text.to_owned())
}

#[track_caller]
fn assert_lines(page: &str, wanted: &[&str]) {
    for line in wanted {
        assert!(page.lines().any(|found| found == *line), "no `{line}` in:\n{page}");
    }
}

/// The value of a series.
fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in:\n{page}")).parse().unwrap()
}

#[tokio::test]
async fn what_became_of_notifications_over_http2_is_counted_by_app_blame_and_reason() {
    let world = World::start(|_| ()).await;
    world.provision("shop", "sandbox").await;
    world.provision("other", "sandbox").await;
    world.send("shop", &["aa", "bad8", "bb", "dead"]).await;
    let page = world.page().await;
    assert_lines(
        &page,
        &[
            "apnsd_notifications_accepted_total{app=\"shop\"} 4",
            "apnsd_notifications_accepted_total{app=\"other\"} 0",
            "apnsd_notifications_outcomes_total{app=\"shop\",outcome=\"accepted\",blame=\"none\",reason=\"none\"} 2",
            "apnsd_notifications_outcomes_total{app=\"shop\",outcome=\"rejected\",blame=\"token\",reason=\"BadDeviceToken\"} 1",
            "apnsd_notifications_outcomes_total{app=\"shop\",outcome=\"rejected\",blame=\"token\",reason=\"Unregistered\"} 1",
            "apnsd_notification_outcome_seconds_count{app=\"shop\"} 4",
            "apnsd_notification_outcome_seconds_bucket{le=\"+Inf\",app=\"shop\"} 4",
            "apnsd_queue_notifications{app=\"shop\"} 0.0",
            "apnsd_queue_oldest_age_seconds{app=\"shop\"} 0.0",
            "apnsd_app_state{app=\"shop\",state=\"connected\"} 1.0",
            "apnsd_app_state{app=\"shop\",state=\"refused\"} 0.0",
            "apnsd_connections{app=\"shop\"} 1.0",
            "apnsd_connections_opened_total{app=\"shop\"} 1",
            "apnsd_calls_total{method=\"apnsd.send\",fault=\"none\"} 1",
            "apnsd_ready 1.0",
        ],
    );
    assert_eq!(value(&page, "apnsd_stream_limit{app=\"shop\"}"), 1000.0);
    assert!(value(&page, "apnsd_store_commit_seconds_count") >= 3.0, "two provisions and a call");
    let expiry = value(&page, "apnsd_certificate_expiry_timestamp_seconds{app=\"shop\"}");
    assert!(expiry > world.clock.timestamp().as_secs() as f64, "{expiry}");
    assert!(!page.contains("apnsd_provider_token_issued_timestamp_seconds{app=\"shop\"}"), "it uses a certificate");
}

#[tokio::test]
async fn silence_of_the_binary_gateway_is_told_apart_from_acceptance_and_each_end_has_its_cause() {
    let configure = |config: &mut Config| config.delivery.gateway.settle_after = Duration::from_millis(200);
    let world = World::start(configure).await;
    world.provision("old", "sandbox-binary").await;
    let alert = || Value::structure(vec![("aps".into(), Value::structure(Vec::new()))]);
    let token = |begin: &str| string(&format!("{begin:a<64}"));
    let notify = |tokens| world.call("notify", vec![string("old"), Value::Array(tokens), alert()]);
    notify(vec![token("aa"), token("bad8")]).await.unwrap();
    world.page_with("apnsd_connections_ended_total{app=\"old\",cause=\"error\"} 1").await;
    notify(vec![token("bb"), token("cc")]).await.unwrap();
    let presumed =
        "apnsd_notifications_outcomes_total{app=\"old\",outcome=\"presumed\",blame=\"none\",reason=\"none\"} 2";
    let page = world.page_with(presumed).await;
    assert_lines(
        &page,
        &[
            "apnsd_notifications_outcomes_total{app=\"old\",outcome=\"accepted\",blame=\"none\",reason=\"none\"} 1",
            "apnsd_notifications_outcomes_total{app=\"old\",outcome=\"rejected\",blame=\"token\",reason=\"InvalidToken\"} 1",
            "apnsd_notifications_revised_total{app=\"old\"} 0",
            "apnsd_connections_opened_total{app=\"old\"} 2",
            "apnsd_connections{app=\"old\"} 1.0",
        ],
    );
}

#[tokio::test]
async fn connections_that_the_provider_ends_and_answers_that_may_pass_are_counted() {
    let world = World::start(|_| ()).await;
    world.provision_key("keyed").await;
    // Accepted, and then the server goes away.
    world.send("keyed", &["bada"]).await;
    let page = world.page_with("apnsd_connections_ended_total{app=\"keyed\",cause=\"shutdown\"} 1").await;
    let issued = value(&page, "apnsd_provider_token_issued_timestamp_seconds{app=\"keyed\"}");
    let age = world.clock.timestamp().as_secs() as f64 - issued;
    assert!((0.0..3600.0).contains(&age), "{age}");
    assert!(!page.contains("apnsd_certificate_expiry_timestamp_seconds{app=\"keyed\"}"), "a key has no end");
    let arguments = vec![string("keyed"), string(&format!("{:a<64}", "bad1")), Value::structure(Vec::new())];
    world.call("notify", arguments).await.unwrap();
    let retried =
        "apnsd_notifications_retried_total{app=\"keyed\",blame=\"provider\",reason=\"InternalServerError\"} 1";
    world.page_with(retried).await;
    world.page_with("apnsd_queue_deferred_notifications{app=\"keyed\"} 1.0").await;
}

#[tokio::test]
async fn calls_are_counted_by_method_and_fault() {
    let world = World::start(|_| ()).await;
    world
        .call("notify", vec![Value::string("nobody"), string(&"a".repeat(64)), Value::string("{}")])
        .await
        .unwrap_err();
    world.call("made.up", Vec::new()).await.unwrap_err();
    world.call("feedback", Vec::new()).await.unwrap_err();
    let call = |method: &str| Value::structure(vec![("methodName".into(), string(method))]);
    let calls = Value::Array(vec![call("apnsd.apps"), call("apnsd.apps")]);
    world.call("system.multicall", vec![calls]).await.unwrap();
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\n<").await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    assert_lines(
        &world.page().await,
        &[
            "apnsd_calls_total{method=\"notify\",fault=\"404\"} 1",
            "apnsd_calls_total{method=\"notify\",fault=\"none\"} 0",
            "apnsd_calls_total{method=\"unknown\",fault=\"8001\"} 1",
            "apnsd_calls_total{method=\"feedback\",fault=\"8002\"} 1",
            "apnsd_calls_total{method=\"system.multicall\",fault=\"none\"} 1",
            "apnsd_calls_total{method=\"apnsd.apps\",fault=\"none\"} 2",
            "apnsd_calls_total{method=\"none\",fault=\"8002\"} 1",
        ],
    );
}

#[tokio::test]
async fn the_series_of_an_app_go_with_it_and_its_name_is_escaped() {
    let world = World::start(|_| ()).await;
    world.provision("a \"quoted\\ näme", "sandbox").await;
    world.provision("gone", "sandbox").await;
    assert_lines(&world.page().await, &["apnsd_notifications_accepted_total{app=\"a \\\"quoted\\\\ näme\"} 0"]);
    world.call("apnsd.deprovision", vec![Value::string("gone")]).await.unwrap();
    let page = world.page().await;
    assert!(page.contains("quoted") && !page.contains("gone"), "{page}");
}

#[tokio::test]
async fn a_user_of_one_app_sees_its_series_and_nothing_else() {
    let token = Token::generate().unwrap();
    let user = User {
        name: "web".into(),
        token: token.hash(),
        apps: Some(vec!["two".into()]),
        methods: None,
        limits: Limits::default(),
    };
    let all = Token::generate().unwrap();
    let operator =
        User { name: "operator".into(), token: all.hash(), apps: None, methods: None, limits: Limits::default() };
    let mut world = World::start(|config| config.users = vec![user, operator]).await;
    let (pem, client) = (world.simulator.certificates().good.pem.clone(), format!("http://operator:{}", all.reveal()));
    let client = Client::new(&format!("{client}@{}", world.address()), PATIENCE).unwrap();
    for app in ["one", "two"] {
        client.call("provision", vec![string(app), string(&pem), Value::string("sandbox")]).await.unwrap();
    }
    world.authorization = format!("Authorization: Bearer {}\r\n", token.reveal());
    let page = world.page().await;
    let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(samples.len() > 20 && samples.iter().all(|line| line.contains("app=\"two\"")), "{page}");
    world.authorization = format!("Authorization: Bearer {}\r\n", all.reveal());
    let page = world.page().await;
    assert!(page.contains("app=\"one\"") && page.contains("process_resident_memory_bytes "), "{page}");
}

#[tokio::test]
async fn all_metrics_are_on_the_page_in_open_metrics_or_the_older_format() {
    let world = World::start(|_| ()).await;
    world.provision("shop", "sandbox").await;
    world.provision_key("keyed").await;
    world.send("shop", &["aa"]).await;
    world.send("keyed", &["aa"]).await;
    let (head, page) = world.get("").await;
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
    assert!(page.ends_with("\n# EOF\n"), "{page}");
    let (head, classic) = world.get("Accept: text/plain;version=0.0.4\r\n").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    let types: Vec<&str> = classic.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let kind = |metric: &Metric| if metric.kind == Kind::Info { "gauge" } else { metric.kind.name() };
    let expected: Vec<String> = metrics().map(|metric| format!("{} {}", metric.name, kind(metric))).collect();
    assert_eq!(types, expected);
    check_with_promtool(&["check", "metrics"], Some(&classic));
}

/// What reads the page in the end.
#[tokio::test]
async fn prometheus_reads_it_and_answers_every_query_of_the_dashboard() {
    let world = World::start(|_| ()).await;
    world.provision("shop", "sandbox").await;
    world.send("shop", &["aa"]).await;
    let prometheus = Prometheus::start(&world.address());
    let accepted = "apnsd_notifications_outcomes_total{app=\"shop\",outcome=\"accepted\"}";
    prometheus.wait_for(&world.clock, accepted).await;
    // It takes two looks before there are rates.
    prometheus.wait_for(&world.clock, "rate(apnsd_notifications_accepted_total[5m])").await;
    for query in queries(&dashboard()) {
        // Those that show what goes wrong only show nothing here. A look that came too late hides all of them for a while.
        match query.contains("> 0") {
            true => assert!(prometheus.answer(&query).is_some(), "it does not answer {query}"),
            false => prometheus.wait_for(&world.clock, &query).await,
        }
    }
}

/// Prometheus with the alerts, looking at a daemon once a second. Killed with the test.
struct Prometheus {
    process: Child,
    url: String,
    dir: tempfile::TempDir,
}

impl Prometheus {
    fn start(address: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s}}\nrule_files: ['{}']\nscrape_configs: [{{job_name: apnsd, static_configs: \
             [{{targets: ['{address}']}}]}}]\n",
            alerts().display(),
        );
        fs::write(dir.path().join("prometheus.yml"), config).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let process = Command::new(tool("prometheus"))
            .current_dir(dir.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { process, url: format!("http://127.0.0.1:{port}"), dir }
    }

    /// What it answers to a query; `None` when it does not, as before it has started.
    fn answer(&self, query: &str) -> Option<String> {
        let output = Command::new(tool("promtool")).args(["query", "instant", &self.url, query]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    async fn wait_for(&self, clock: &Clock, query: &str) {
        let found = tokio::time::timeout(PATIENCE, async {
            while self.answer(query).is_none_or(|answer| answer.is_empty()) {
                clock.sleep(Duration::from_millis(200)).await;
            }
        });
        let log = || fs::read_to_string(self.dir.path().join("log")).unwrap();
        assert!(found.await.is_ok(), "nothing for {query}: {}", log());
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_table_in_the_docs_is_complete() {
    let page = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let row = |metric: &Metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |", metric.name, metric.kind.name(), labels.join(", "), metric.help)
    };
    assert_eq!(rows, metrics().map(row).collect::<Vec<_>>());
}

#[test]
fn alerts_are_well_formed_and_fire_when_they_should() {
    let file = alerts();
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(unknown_names(&text), BTreeSet::new());
    check_with_promtool(&["check", "rules", file.to_str().unwrap()], None);
    let tests = root().join("tests/data/prometheus-alerts-test.yml");
    check_with_promtool(&["test", "rules", tests.to_str().unwrap()], None);
}

#[test]
fn every_query_of_the_dashboard_is_well_formed_and_of_metrics_that_exist() {
    let dashboard = dashboard();
    let queries = queries(&dashboard);
    assert!(queries.len() > 10, "{queries:?}");
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let variables: Vec<String> =
        variables.filter_map(|one| one["query"]["query"].as_str().map(str::to_owned)).collect();
    assert_eq!(variables.len(), 2, "{variables:?}");
    assert_eq!(unknown_names(&(queries.join("\n") + &variables.join("\n"))), BTreeSet::new());
    // As rules.
    let mut rules = "groups: [{name: dashboard, rules: [\n".to_owned();
    for (number, query) in queries.iter().enumerate() {
        rules += &format!("{{record: 'query:{number}', expr: {}}},\n", serde_json::Value::from(query.as_str()));
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.yml");
    fs::write(&file, rules + "]}]\n").unwrap();
    check_with_promtool(&["check", "rules", file.to_str().unwrap()], None);
}

/// By Grafana's classic dashboard model, which every version since 8 imports.
#[test]
fn the_dashboard_is_one_that_grafana_imports() {
    let dashboard = dashboard();
    let keys: BTreeSet<&str> = dashboard.as_object().unwrap().keys().map(String::as_str).collect();
    let known =
        "annotations description editable panels refresh schemaVersion tags templating time timezone title uid version";
    assert_eq!(keys, known.split(' ').collect());
    let uid = dashboard["uid"].as_str().unwrap();
    assert!((8..=40).contains(&uid.len()), "{uid}");
    let variable = serde_json::json!({"type": "prometheus", "uid": "${datasource}"});
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        assert!(["stat", "timeseries"].contains(&panel["type"].as_str().unwrap()), "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title} is wider than the grid");
        for (x, y) in (0..place("w")).flat_map(|x| (0..place("h")).map(move |y| (x, y))) {
            assert!(cells.insert((place("x") + x, place("y") + y)), "{title} lies on another panel");
        }
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        assert!(panel["options"].is_object() && panel["description"].is_string(), "{title}");
        assert_eq!(panel["datasource"], variable, "{title}");
        let targets = panel["targets"].as_array().unwrap();
        let names: BTreeSet<&str> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert_eq!(names.len(), targets.len(), "{title}: two queries of one name");
        assert!(targets.iter().all(|target| target["datasource"] == variable), "{title}");
    }
}

fn dashboard() -> serde_json::Value {
    let text = fs::read_to_string(root().join("config/grafana-dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The queries of all panels, with what Grafana puts in for a viewer who has picked nothing.
fn queries(dashboard: &serde_json::Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries = targets.map(|target| target["expr"].as_str().unwrap());
    let put_in = [("$__rate_interval", "5m"), ("$__range", "1h"), ("$instance", ".*"), ("$app", ".*")];
    queries
        .map(|query| put_in.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value)))
        .collect()
}

fn metrics() -> impl Iterator<Item = &'static Metric> {
    OF_APPS.iter().chain(OF_PROCESS).copied()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn alerts() -> PathBuf {
    root().join("config/prometheus-alerts.yml")
}

/// Words that look like metrics of ours and are none.
fn unknown_names(text: &str) -> BTreeSet<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words =
        text.split(|c: char| !is_word(c)).filter(|word| word.starts_with("apnsd_") || word.starts_with("process_"));
    let is_known = |word: &&str| {
        metrics().any(|metric| {
            let of_histogram =
                |suffix| metric.kind == Kind::Histogram && word.strip_suffix(suffix) == Some(metric.name);
            metric.name == *word || ["_bucket", "_sum", "_count"].into_iter().any(of_histogram)
        })
    };
    words.filter(|word| !is_known(word)).collect()
}

/// One of Prometheus' programs: installed, or where `make tools` has put it.
#[track_caller]
fn tool(program: &str) -> PathBuf {
    let places = [PathBuf::from(program), root().join("target/tools/usr/bin").join(program)];
    let is_there = |path: &PathBuf| {
        let found = Command::new(path).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    };
    let found = places.into_iter().find(is_there);
    found.unwrap_or_else(|| panic!("{program} is missing: `make tools` fetches it, Debian has it in `prometheus`"))
}

/// Has Prometheus' own tool look at something. What it says.
#[track_caller]
fn check_with_promtool(arguments: &[&str], input: Option<&str>) -> String {
    let mut command = Command::new(tool("promtool"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.unwrap_or_default().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}:\n{said}\n{}", input.unwrap_or_default());
    String::from_utf8(output.stdout).unwrap()
}
