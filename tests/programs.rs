//! The program as it runs for real: demo, simulator and daemon as processes of their own, stopped by signals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

fn apnsd(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apnsd"));
    command.args(args).env_remove("APNSD_URL").env_remove("APNSD_CONFIG").env("NO_COLOR", "1");
    command
}

fn run(args: &[&str]) -> Output {
    apnsd(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A program that runs until it is told to stop. Killed if the test fails before that.
struct Running {
    child: Child,
}

impl Running {
    fn start(mut command: Command) -> Self {
        Self { child: command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap() }
    }

    fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().unwrap())
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Sends SIGTERM and waits; the exit code, and what was still to be read on standard error.
    fn terminate(mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        let code = self.child.wait().unwrap().code();
        let mut rest = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut rest).unwrap();
        }
        (code, rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
    }
}

/// Reads lines until one has the word, and gives what follows it up to white space.
fn word_after(lines: &mut impl Iterator<Item = std::io::Result<String>>, word: &str) -> String {
    for line in lines {
        let line = line.unwrap();
        if let Some((_, rest)) = line.split_once(word) {
            return rest.split_whitespace().next().unwrap_or_default().to_owned();
        }
    }
    panic!("it never said {word}");
}

#[test]
fn the_demo_delivers_what_is_good_over_both_protocols_and_rejects_exactly_what_is_bad() {
    let output = stdout(&run(&["demo"]));
    assert_eq!(output.matches("accepted   ").count(), 10, "{output}");
    assert_eq!(output.matches("rejected: invalid token (8)").count(), 1, "{output}");
    assert_eq!(output.matches("rejected: BadDeviceToken (400)").count(), 2, "{output}");
    assert_eq!(output.matches("rejected: Unregistered (410)").count(), 2, "{output}");
    let shown =
        ["3    bad80303…  invalid token (8)", "8    bad80808…  BadDeviceToken", "13   bad80d0d…  BadDeviceToken"];
    let gone = ["5    dead0505…  20", "10   dead0a0a…  20", "15   dead0f0f…  20"];
    assert!(shown.iter().chain(&gone).all(|line| output.contains(line)), "{output}");
    assert!(output.contains("Result: all 9 good ones arrived; 5 were rejected, the bad ones and over HTTP/2 the dead; feedback knows all 3 dead."), "{output}");
    assert_eq!(output.lines().rev().take_while(|line| !line.starts_with("Go on:")).count(), 3);
}

#[test]
fn simulator_daemon_and_command_line_work_as_processes_and_stop_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("simulator");
    let any = "127.0.0.1:0";
    let args = [
        "simulate",
        "--binary",
        any,
        "--feedback",
        any,
        "--http2",
        any,
        "--control",
        any,
        "--dir",
        path.to_str().unwrap(),
    ];
    let mut simulator = Running::start(apnsd(&args));
    let mut lines = simulator.stdout().lines();
    let config = word_after(&mut lines, "configuration");
    assert!(Path::new(&config).is_absolute(), "{config}");

    let mut serve = apnsd(&["serve", "--config", &config, "--listen", any]);
    serve.env("APNSD__DELIVERY__SETTLE_AFTER", "200ms");
    let mut daemon = Running::start(serve);
    let mut log = BufReader::new(daemon.child.stderr.take().unwrap()).lines();
    let url = format!("http://{}", word_after(&mut log, "listening address="));

    let certificate = path.join("good.pem");
    let provision = ["provision", "myapp", certificate.to_str().unwrap(), "sandbox-binary"];
    stdout(&run(&[&provision[..], &["--url", &url]].concat()));
    let (good, bad) = ("aa".repeat(32), format!("bad8{}", "0".repeat(60)));
    let notify = ["notify", "myapp", "--token", &good, "--token", &bad, "--alert", "Hello", "--url", &url];
    stdout(&run(&notify));
    wait_for(|| {
        let status = stdout(&run(&["status", "myapp", "--json", "--url", &url]));
        status.contains("\"delivered\": 1,") && status.contains("\"rejected\": 1,")
    });
    let rejections = stdout(&run(&["rejections", "myapp", "--url", &url]));
    assert!(rejections.contains("invalid token (8)"), "{rejections}");

    let (code, _) = daemon.terminate();
    assert_eq!(code, Some(0));
    let rest: String = log.map(|line| line.unwrap() + "\n").collect();
    assert!(rest.contains("rejected: invalid token (8)") && rest.contains("token=bad80000…"), "{rest}");
    assert!(!rest.contains(&bad) && !rest.contains("Hello"), "tokens and payloads stay out of the log: {rest}");
    assert!(rest.contains("stopped"), "{rest}");
    let (code, _) = simulator.terminate();
    assert_eq!(code, Some(0));
    let summary = lines.map(|line| line.unwrap() + "\n").collect::<String>();
    assert!(summary.contains("1 accepted"), "{summary}");
}

#[test]
fn a_hangup_takes_over_the_configuration_and_a_bad_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let simulated = dir.path().join("simulator");
    let any = "127.0.0.1:0";
    let args = [
        "simulate",
        "--binary",
        any,
        "--feedback",
        any,
        "--http2",
        any,
        "--control",
        any,
        "--dir",
        simulated.to_str().unwrap(),
    ];
    let mut simulator = Running::start(apnsd(&args));
    let base = std::fs::read_to_string(word_after(&mut simulator.stdout().lines(), "configuration")).unwrap();
    let config = dir.path().join("apnsd.toml");
    let write = |more: &str| std::fs::write(&config, format!("{base}{more}")).unwrap();
    write("");
    let mut daemon = Running::start(apnsd(&["serve", "--config", config.to_str().unwrap(), "--listen", any]));
    let mut log = BufReader::new(daemon.child.stderr.take().unwrap()).lines();
    let url = format!("http://{}", word_after(&mut log, "listening address="));
    let status = |app: &str| run(&["status", app, "--json", "--url", &url]);
    assert!(!status("myapp").status.success());

    let section =
        "[[app]]\napp_id = \"myapp\"\ncertificate = \"simulator/good.pem\"\nenvironment = \"sandbox-binary\"\n";
    write(section);
    daemon.signal("HUP");
    word_after(&mut log, "reloaded");
    assert!(stdout(&status("myapp")).contains("\"environment\": \"sandbox-binary\""));

    write("[[app]]\napp_id = \"other\"\n[nonsense]\nkey = 1\n");
    daemon.signal("HUP");
    word_after(&mut log, "nonsense: is not known");
    word_after(&mut log, "not reloaded");
    stdout(&status("myapp"));
    assert!(!status("other").status.success());

    write(&format!("{}[limits]\ndepth = 32\n[log]\nlevel = \"debug\"\n", section.replace("sandbox", "production")));
    daemon.signal("HUP");
    assert_eq!(word_after(&mut log, "a change of "), "[limits]");
    word_after(&mut log, "reloaded");
    assert!(stdout(&status("myapp")).contains("\"environment\": \"production-binary\""));
    word_after(&mut log, "DEBUG");

    assert_eq!(daemon.terminate().0, Some(0));
    assert_eq!(simulator.terminate().0, Some(0));
}

/// Asks again and again; each question is a process, so that this does not spin.
fn wait_for(mut done: impl FnMut() -> bool) {
    let start = monotonic();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never came");
    }
}

#[expect(clippy::disallowed_methods, reason = "a deadline of a test against real processes")]
fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}
