//! The command line as a shell sees it: the real program against a daemon that is a script of literal answers, and
//! where it matters against a real one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod credentials;
mod long;
mod provisions;
mod queue;
mod send;
mod shell;
mod status;
mod token;
mod trace;
mod world;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Stdio;

use shell::{Daemon, NIL, apnsd, array, ask, members, read_request, run, stderr, stdout};

#[test]
fn notify_sends_one_payload_to_all_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    let [first, second] = ["bb", "cc"].map(|digits| digits.repeat(32));
    fs::write(&file, format!("# staff\n{first}\n\n  {second}\r\n  # end\n")).unwrap();
    let (printed, asked) = ask(
        &[
            "notify",
            "myapp",
            "--token",
            "aa",
            "--tokens",
            file.to_str().unwrap(),
            "--alert",
            "Hällo",
            "--badge",
            "2",
            "--priority",
            "5",
            "--collapse-id",
            "score",
            "--request-id",
            "r1",
        ],
        NIL,
    );
    assert_eq!(printed, "3 notifications accepted for myapp\n");
    assert_eq!(
        asked.replace(&first, "bb").replace(&second, "cc"),
        "<?xml version='1.0'?><methodCall><methodName>notify</methodName><params>\
         <param><value><string>myapp</string></value></param>\
         <param><value><array><data><value><string>aa</string></value><value><string>bb</string></value>\
         <value><string>cc</string></value></data></array></value></param>\
         <param><value><string>{\"aps\":{\"alert\":\"Hällo\",\"badge\":2}}</string></value></param>\
         <param><value><struct><member><name>priority</name><value><int>5</int></value></member>\
         <member><name>collapse_id</name><value><string>score</string></value></member>\
         <member><name>request_id</name><value><string>r1</string></value></member></struct></value></param>\
         </params></methodCall>"
    );
}

#[test]
fn a_payload_goes_out_as_it_was_written() {
    let payload = r#"{"z": null, "a": 1.0, "n": 18446744073709551615, "aps": {}}"#;
    let (printed, asked) = ask(&["notify", "myapp", "--token", "aa", "--payload", payload], NIL);
    assert_eq!(printed, "1 notification accepted for myapp\n");
    let expected = r#"<string>{"z":null,"a":1.0,"n":18446744073709551615,"aps":{}}</string>"#;
    assert!(asked.contains(expected), "{asked}");
}

#[test]
fn provision_sends_the_text_of_the_file_and_options() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("myapp.pem");
    fs::write(&file, "-----BEGIN CERTIFICATE-----").unwrap();
    let args = ["provision", "myapp", file.to_str().unwrap(), "sandbox", "--connect-timeout", "3s", "--force"];
    let (printed, asked) = ask(&args, NIL);
    assert_eq!(printed, "`myapp` is provisioned for sandbox; `apnsd status myapp` shows whether it connects\n");
    let expected = "<methodName>provision</methodName><params><param><value><string>myapp</string></value></param>\
        <param><value><string>-----BEGIN CERTIFICATE-----</string></value></param>\
        <param><value><string>sandbox</string></value></param><param><value><int>3</int></value></param>\
        <param><value><struct><member><name>force</name><value><boolean>1</boolean></value></member></struct></value>\
        </param></params>";
    assert!(asked.contains(expected), "{asked}");
}

#[test]
fn provision_can_leave_reading_the_file_to_the_daemon() {
    let (_, asked) = ask(&["provision", "myapp", "/srv/myapp.pem", "sandbox", "--path"], NIL);
    assert!(asked.contains("<value><string>/srv/myapp.pem</string></value>"), "{asked}");
    assert!(asked.contains("<value><nil/></value>"), "{asked}");
}

#[test]
fn a_file_that_is_of_no_use_is_refused_by_its_name() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/credentials/push.cer");
    let output = run(&["provision", "myapp", file, "sandbox"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("push.cer`: a certificate alone, in DER (.cer): "), "{}", stderr(&output));
}

#[test]
fn apps_are_a_table() {
    let app = |name: &str, state: &str, waiting: &str, cause: &str| {
        let [waiting, in_flight] = [waiting, "0"].map(|number| format!("<int>{number}</int>"));
        let gateway = "binary://127.0.0.1:2195";
        members(&[
            ("app_id", name),
            ("environment", "production"),
            ("protocol", "binary"),
            ("gateway", gateway),
            ("state", state),
            ("cause", cause),
            ("waiting", &waiting),
            ("in_flight", &in_flight),
            ("news", "<boolean>1</boolean>"),
        ])
    };
    let apps = array(&[app("one", "connected", "7", ""), app("another", "refused", "1000", "certificate expired")]);
    let (printed, asked) = ask(&["apps"], &apps);
    assert_eq!(
        printed,
        "\
APP ID   ENVIRONMENT  PROTOCOL  STATE      WAITING  IN FLIGHT  CAUSE                NEWS
one      production   binary    connected        7          0                       yes
another  production   binary    refused       1000          0  certificate expired  yes
"
    );
    assert!(asked.contains("<methodName>apnsd.apps</methodName><params></params>"), "{asked}");
    let (printed, _) = ask(&["apps"], &array(&[]));
    assert_eq!(printed, "no apps yet: add one with `apnsd provision`\n");
}

#[test]
fn status_is_a_sheet_or_json() {
    let since = "<dateTime.iso8601>20110313T07:06:40</dateTime.iso8601>";
    let app = members(&[("app_id", "myapp"), ("cause", ""), ("since", since), ("in_flight", "<int>3</int>")]);
    let (printed, asked) = ask(&["status", "myapp"], &app);
    assert_eq!(printed, "app id     myapp\nsince      2011-03-13 07:06:40 UTC\nin flight  3\n");
    assert!(asked.contains("<methodName>apnsd.status</methodName>"), "{asked}");
    let (printed, _) = ask(&["status", "myapp", "--json"], &app);
    let expected = "{\n  \"app_id\": \"myapp\",\n  \"cause\": \"\",\n  \"since\": \"2011-03-13T07:06:40Z\",\n  \
        \"in_flight\": 3\n}\n";
    assert_eq!(printed, expected);
}

#[test]
fn rejections_are_a_table_with_the_cursor_to_go_on_with() {
    let rejection = members(&[
        ("app_id", "myapp"),
        ("token", "bad0"),
        ("reason", "InvalidToken"),
        ("status", "<int>8</int>"),
        ("text", "invalid token (8)"),
        ("timestamp", "<dateTime.iso8601>20110313T07:06:40</dateTime.iso8601>"),
        ("batch", "b1"),
        ("row", "<int>6</int>"),
    ]);
    let answer = members(&[("rejections", &array(&[rejection])), ("cursor", "17")]);
    let (printed, asked) = ask(&["rejections", "myapp", "--after", "16"], &answer);
    assert_eq!(
        printed,
        "\
TIMESTAMP                TOKEN  REASON             BATCH  ROW
2011-03-13 07:06:40 UTC  bad0   invalid token (8)  b1       6

those that follow: apnsd rejections myapp --after 17
"
    );
    assert!(asked.contains("<value><string>myapp</string></value></param><param><value><string>16<"), "{asked}");
    let none = members(&[("rejections", &array(&[])), ("cursor", "0")]);
    assert_eq!(ask(&["rejections", "myapp"], &none).0, "no rejections\n");
    assert_eq!(ask(&["rejections", "myapp", "--after", "16"], &none).0, "no rejections after 16\n");
}

#[test]
fn feedback_is_a_table_of_times_and_tokens() {
    let pair = array(&["<dateTime.iso8601>20110313T07:06:40</dateTime.iso8601>".to_owned(), "dead".to_owned()]);
    let (printed, asked) = ask(&["feedback", "myapp"], &array(&[pair]));
    assert_eq!(printed, "TIMESTAMP                TOKEN\n2011-03-13 07:06:40 UTC  dead\n");
    assert!(asked.contains("<methodName>feedback</methodName>"), "{asked}");
    assert_eq!(ask(&["feedback", "myapp"], &array(&[])).0, "no new feedback\n");
}

#[test]
fn steering_verbs_call_their_method_and_say_what_is_now() {
    let resumed = "is resumed; `apnsd status myapp` shows whether the gateway takes it";
    for (verb, said) in [("pause", "is paused"), ("resume", resumed), ("deprovision", "is removed")] {
        let (printed, asked) = ask(&[verb, "myapp"], NIL);
        assert_eq!(printed, format!("myapp {said}\n"));
        assert!(asked.contains(&format!("<methodName>apnsd.{verb}</methodName>")), "{asked}");
    }
}

#[test]
fn every_failure_has_its_exit_code() {
    let fault = members(&[("faultCode", "<int>404</int>"), ("faultString", "The app_id\u{7f} is unknown.")]);
    let text = format!("<methodResponse><fault><value>{fault}</value></fault></methodResponse>");
    let daemon = Daemon::new(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
    let output = run(&["status", "myapp", "--url", &daemon.url]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(4), ""));
    assert_eq!(stderr(&output), "apnsd: The app_id  is unknown. (fault 404)\n`apnsd apps` lists what is provisioned\n");
    daemon.request();

    for (answer, said) in [
        ("404 Not Found", "HTTP status 404: nope; is this the URL of an apnsd? check --url"),
        ("413 Payload Too Large", "HTTP status 413: nope"),
        ("403 Forbidden", "HTTP status 403: nope"),
        ("429 Too Many Requests", "HTTP status 429: nope"),
        ("405 Method Not Allowed", "HTTP status 405; is this the URL of an apnsd? check --url"),
    ] {
        let body = if answer.starts_with("405") { "" } else { "nope" };
        let daemon = Daemon::new(format!("HTTP/1.1 {answer}\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        let output = run(&["apps", "--url", &daemon.url]);
        assert_eq!((output.status.code(), stderr(&output)), (Some(3), &*format!("apnsd: {said}\n")));
        daemon.request();
    }
    let daemon = Daemon::new("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>".to_owned());
    let output = run(&["apps", "--url", &daemon.url]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).starts_with("apnsd: the answer is not XML-RPC ("), "{}", stderr(&output));
    assert!(stderr(&output).ends_with("); is this the URL of an apnsd? check --url\n"), "{}", stderr(&output));
    daemon.request();

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run(&["apps", "--url", &format!("http://{nobody}")]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("; start the daemon with `apnsd serve`, or name the"), "{}", stderr(&output));

    let output = apnsd(&["resume"]).env("APNSD_URL", "http://127.0.0.1:1").output().unwrap();
    assert!(stderr(&output).contains("\nUsage: apnsd resume <APP>\n"), "{}", stderr(&output));

    for wrong in [&["notify", "myapp"][..], &["apps", "--url", "localhost"], &["nothing"], &[]] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn notify_without_token_or_with_a_bad_payload_calls_nobody() {
    let output = run(&["notify", "myapp", "--tokens", "/dev/null", "--alert", "x"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "apnsd: there is no token in the file: write one a line\n");
    let output = run(&["notify", "myapp", "--token", "aa", "--payload", "[1]"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("a payload is a JSON object"), "{}", stderr(&output));
}

#[test]
fn a_bad_line_of_a_file_of_tokens_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    let good = "aa".repeat(32);
    for (line, said) in [
        ("abcd", "a token has 32 to 100 bytes, this one has 2"),
        ("abc", "a hex token has an even number of digits, this one has 3"),
        ("nonsense", "neither hex digits nor the base64 of 32 bytes"),
    ] {
        fs::write(&file, format!("# head\n{good}\n\n{line}\n{good}\n")).unwrap();
        let file = file.to_str().unwrap();
        let output = run(&["notify", "myapp", "--token", &good, "--tokens", file, "--alert", "x"]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
        assert_eq!(stderr(&output), format!("apnsd: {file}:4: {said}\n"));
    }
}

#[test]
fn a_bad_number_says_what_is_wanted() {
    for (flag, value, said) in [
        ("--badge", "x", "'--badge <NUMBER>': a badge is a whole number from 0 to 4294967295; 0 removes it"),
        ("--badge", "-1", "'--badge <NUMBER>': a badge is a whole number from 0 to 4294967295; 0 removes it"),
        (
            "--expiration",
            "tomorrow",
            "'--expiration <UNIX_SECONDS>': an expiration is in whole seconds since 1970, as `date +%s` prints them",
        ),
        ("--priority", "high", "'--priority <NUMBER>': a priority is 10, 5 or 1"),
    ] {
        let output = run(&["notify", "myapp", "--token", "aa", "--alert", "x", flag, value]);
        assert_eq!(output.status.code(), Some(2));
        let expected = format!("error: invalid value '{value}' for {said}\n");
        assert!(stderr(&output).starts_with(&expected), "{}", stderr(&output));
    }
}

#[test]
fn provision_says_at_once_what_the_daemon_could_not_use() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notes.txt");
    let file = file.to_str().unwrap();
    let neither = "neither PEM nor PKCS#12: PEM text has blocks `-----BEGIN CERTIFICATE-----` and `-----BEGIN PRIVATE \
        KEY-----`, and a .p12 file is passed as it is or as base64";
    let empty =
        "the credentials are empty: pass the PEM text of certificate and key, or the absolute path of such a file";
    for (content, told) in [("shopping list\n", neither), ("\n", empty), ("\u{e4}", neither)] {
        fs::write(file, content).unwrap();
        let output = run(&["provision", "myapp", file, "sandbox"]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stderr(&output), format!("apnsd: `{file}`: {told}\n"));
    }
    let output = run(&["provision", "myapp", "myapp.pem", "sandbox", "--path"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output), "apnsd: --path needs an absolute path, as the daemon sees it\n");
    for (timeout, said) in [
        ("1500ms", "`1500ms` is not in whole seconds: write 1s or longer, as in \"5s\""),
        ("500ms", "`500ms` is not in whole seconds: write 1s or longer, as in \"5s\""),
        ("5", "`5` has no unit: write a number with a unit (ms, s, m, h, d), as in \"30s\""),
    ] {
        let output = run(&["provision", "myapp", file, "sandbox", "--connect-timeout", timeout]);
        assert_eq!(output.status.code(), Some(2));
        let expected = format!("error: invalid value '{timeout}' for '--connect-timeout <DURATION>': {said}\n");
        assert!(stderr(&output).starts_with(&expected), "{}", stderr(&output));
    }
}

#[test]
fn check_config_reports_everything_and_tells_by_its_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("apnsd.toml");
    let file = file.to_str().unwrap();
    fs::write(file, "[store]\nkind = \"memory\"\ndurability = \"none\"\n").unwrap();
    let output = run(&["check-config", "--config", file]);
    assert_eq!(output.status.code(), Some(0));
    let warning = "store.durability: has no effect: store.kind is memory";
    assert_eq!(stdout(&output), format!("warning: {file}:3: {warning}\n1 warning; the daemon would start\n"));

    fs::write(file, "listen = [\"tls:127.0.0.1:0\"]\n[tls]\ncertificate = \"none.pem\"\n").unwrap();
    for verb in ["check-config", "serve"] {
        let output = run(&[verb, "--config", file]);
        let said = format!("{}{}", stdout(&output), stderr(&output));
        assert!(said.contains(&format!("{file}:3: tls.certificate: ")), "{said}");
        assert_eq!(output.status.code(), Some(78), "{verb}");
    }

    fs::write(file, "lisen = []\n[limits]\ndepth = 0\n[store]\nkind = \"memory\"\nmin_free = \"1GiB\"\n").unwrap();
    let output = run(&["check-config", "--config", file]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(78), ""));
    let unknown = format!("{file}:1: lisen: is not known; did you mean `listen`?\n");
    let depth = format!("{file}:3: limits.depth: needs a whole number from 1 on\n");
    let warning = format!("warning: {file}:6: store.min_free: has no effect: store.kind is memory\n");
    assert_eq!(stdout(&output), format!("{unknown}{depth}{warning}"));

    let output = apnsd(&["check-config", "--json"]).env("APNSD__LIMITS__DEPTH", "0").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let problem = &json["problems"][0];
    assert_eq!((&problem["variable"], &problem["key"]), (&"APNSD__LIMITS__DEPTH".into(), &"limits.depth".into()));
}

#[test]
fn the_daemon_does_not_start_with_a_bad_configuration() {
    let mut serve = apnsd(&["serve"]);
    serve.env("APNSD__LIMITS__DEPTH", "0").env("APNSD__HTTP__X", "1");
    let output = serve.output().unwrap();
    assert_eq!((output.status.code(), stdout(&output)), (Some(78), ""));
    assert_eq!(
        stderr(&output),
        "apnsd: the configuration has problems\nAPNSD__LIMITS__DEPTH: limits.depth: needs a whole number from 1 on\n\
         APNSD__HTTP__X: http.x: is not known\n"
    );
    assert_eq!(run(&["serve", "--listen", "7077"]).status.code(), Some(2));
}

#[test]
fn a_certificate_for_a_configuration_is_told_once() {
    let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/credentials/ec-sec1.pem");
    let output = run(&["serve", "--config", pem]);
    assert_eq!(output.status.code(), Some(78));
    let told = stderr(&output);
    assert!(told.contains(":1: not TOML: ") && told.lines().count() == 2, "{told}");
}

#[test]
fn a_reader_who_has_seen_enough_is_no_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut child = apnsd(&["apps", "--url", &url]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    read_request(&mut stream);
    drop(child.stdout.take());
    let text = "<methodResponse><params><param><value>x</value></param></params></methodResponse>";
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}

#[test]
fn the_help_names_every_exit_code() {
    let output = run(&["--help"]);
    let help = stdout(&output);
    for code in ["   0  ", "   1  ", "   2  ", "   3  ", "   4  ", "  65  ", "  75  ", "  78  "] {
        assert!(help.contains(code), "{help}");
    }
}

#[test]
fn the_simulator_introduces_the_environment_that_it_plays() {
    let any = "127.0.0.1:0";
    for (environment, http2, binary, advised) in [
        ("production", "(environment production)", "(production-binary)", "good.pem production"),
        ("sandbox", "(environment sandbox)", "(sandbox-binary)", "good.pem sandbox"),
        ("both", "(environments sandbox and production)", "(sandbox-binary and production-binary)", "good.pem sandbox"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut simulate = apnsd(&["simulate", "--environment", environment, "--binary", any, "--feedback", any]);
        simulate.args(["--http2", any, "--control", any, "--dir"]).arg(directory.path());
        let mut child = simulate.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut said = Vec::new();
        for line in lines {
            let is_last = line.starts_with("and give it an app:");
            said.push(line);
            if is_last {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(said[0].ends_with(http2) && said[1].ends_with(binary), "{said:?}");
        assert!(said.last().unwrap().ends_with(advised), "{said:?}");
    }
}

#[test]
fn a_state_directory_that_cannot_be_used_is_told_with_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let mut serve = apnsd(&["serve", "--listen", "127.0.0.1:0"]);
    let output = serve.env("APNSD__STATE_DIR", file.join("state")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(told.contains("file/state") && told.contains("`state_dir`"), "{told}");
}
