//! `apnsd bench` with counts so small that it says nothing about speed: what it prints, and that it leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn bench(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apnsd"));
    // A variable for the daemon must not reach the one that is measured.
    command.arg("bench").args(args).arg("--dir").arg(dir).env("APNSD__LISTEN", "nonsense");
    command
}

/// A run that measures as little as it can.
fn small(dir: &Path, args: &[&str]) -> Output {
    let tiny = ["--seconds", "0.05", "--depth", "100", "--apps", "2"];
    let output = bench(dir, &[&tiny, args].concat()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn keys(report: &Value) -> BTreeSet<&str> {
    report["figures"].as_array().unwrap().iter().map(|figure| figure["key"].as_str().unwrap()).collect()
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn every_scenario_gives_its_figures_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let report: Value = serde_json::from_slice(&small(dir.path(), &["--json", "-"]).stdout).unwrap();
    assert_eq!(report["format"], 1);
    assert_eq!(report["settings"]["depth"], 100);
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
    for fact in ["processor", "kernel", "file_system", "version", "profile"] {
        assert_ne!(report["machine"][fact].as_str().unwrap(), "", "{fact}");
    }
    let expected = "limit.sync limit.http.1 limit.http.8 limit.http.64 limit.http.new limit.frames \
        limit.frames.simulator limit.http2.1 limit.http2.4 \
        calls.1.rate calls.8.rate calls.64.rate calls.new.rate calls.8.delivered calls.8.p50 calls.8.p99 calls.8.p999 \
        calls.8.cpu calls.8.cpu.gateway calls.8.cpu.callers calls.8.peak \
        tokens.equal.accepted tokens.equal.delivered tokens.broadcast.delivered tokens.distinct.delivered tokens.equal.cpu \
        beside.p99 beside.bulk http2.1.rate http2.1.ratio http2.4.rate http2.1.cpu \
        latency.gateway.p50 latency.gateway.p99 latency.answer.p50 memory.fresh memory.large \
        depth.shallow.accept depth.deep.accept depth.accept.ratio depth.deliver.ratio depth.deep.memory depth.deep.ready \
        depth.deep.first apps.memory apps.open";
    let keys = keys(&report);
    let missing: Vec<&str> = expected.split_whitespace().filter(|key| !keys.contains(key)).collect();
    assert_eq!(missing, [""; 0], "{report:#}");
    for figure in report["figures"].as_array().unwrap() {
        assert!(figure["value"].as_f64().unwrap().is_finite(), "{figure}");
        assert!(figure["unit"].is_string() && figure["what"].is_string(), "{figure}");
    }
    let figure = |key| report["figures"].as_array().unwrap().iter().find(|figure| figure["key"] == key).unwrap();
    assert_eq!(figure("calls.8.rate")["target"]["at_least"], 20_000.0);
    assert_eq!(figure("calls.8.rate")["limit"]["key"], "limit.http.8");
    assert_eq!(figure("beside.p99")["target"]["at_most"], 5.0);
    assert_eq!(figure("apps.open")["value"], 1.0);
    assert!(is_empty(dir.path()));
}

#[test]
fn named_scenarios_alone_make_a_table_of_a_line_a_figure() {
    let dir = tempfile::tempdir().unwrap();
    let file = tempfile::tempdir().unwrap();
    let json = file.path().join("bench.json");
    let output = small(dir.path(), &["latency", "--json", json.to_str().unwrap()]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with(concat!("apnsd ", env!("CARGO_PKG_VERSION"), " (")), "{table}");
    let line = |key: &str| table.lines().filter(|line| line.trim_start().starts_with(key)).count();
    assert_eq!((line("latency.gateway.p99 "), line("calls.")), (1, 0), "{table}");
    assert_eq!(table.contains("this is a debug build"), cfg!(debug_assertions), "{table}");
    let report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert!(keys(&report).iter().all(|key| key.starts_with("latency.")));
}

#[test]
fn the_list_names_every_scenario() {
    let output = bench(Path::new("."), &["--list"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["calls", "tokens", "beside", "http2", "latency", "memory", "depth", "apps"]);
}

/// Killed if the test fails before it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended where the test went well.
        let _ = self.0.kill();
    }
}

/// Whether a process has this text in its command line.
fn somebody_runs_with(text: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    // Processes come and go while they are looked at.
    let mut lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).contains(text))
}

#[test]
fn an_interrupt_ends_its_processes_and_removes_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = bench(dir.path(), &["calls", "--seconds", "600"]);
    let mut bench = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    // The simulator runs once a scenario begins.
    let mut line = String::new();
    BufReader::new(bench.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("apnsd: calls: "), "{line}");
    let own = format!("{}/apnsd-bench-", dir.path().display());
    assert!(somebody_runs_with(&own));
    let pid = bench.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(bench.0.wait().unwrap().code(), Some(1));
    assert!(is_empty(dir.path()));
    assert!(!somebody_runs_with(&own));
}
