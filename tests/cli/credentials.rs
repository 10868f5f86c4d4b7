//! `check`, `convert`, and `provision` of what is not plain PEM. The files are those of `tests/data/credentials`.

use std::fs;
use std::io::{Read as _, Write as _, copy};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::thread;

use serde_json::{Value as Json, json};

use crate::shell::{NIL, apnsd, ask, run, stderr, stdout};
use crate::world::World;

fn data(name: &str) -> String {
    format!("{}/tests/data/credentials/{name}", env!("CARGO_MANIFEST_DIR"))
}

const SIGNING_KEY: [&str; 4] = ["--key-id", "ABC123DEFG", "--team-id", "DEF123GHIJ"];

#[test]
fn check_says_what_a_certificate_is() {
    let output = run(&["check", &data("push.p12")]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let lines: Vec<&str> = stdout(&output).lines().collect();
    assert_eq!(
        lines[..5],
        [
            "kind          certificate",
            "subject       Apple Push Services: com.example.app",
            "team          ABCDE12345",
            "topics        com.example.app, com.example.app.voip, com.example.app.complication",
            "environments  sandbox, production",
        ]
    );
    let names: Vec<&str> = lines[5..].iter().map(|line| line[..14].trim()).collect();
    assert_eq!(names, ["valid from", "valid until", "days left", "key matches", "chain"]);

    let output = run(&["check", &data("push.p12"), "--topic", "com.example.other", "--json"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(1), ""));
    let found: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["key_matches"], &found["chain"], &found["usable"]), (&json!(true), &json!(1), &json!(false)));
    let problem = "certificate `Apple Push Services: com.example.app` is not for the topic `com.example.other`, but for \
        com.example.app, com.example.app.voip, com.example.app.complication: correct the option `topic` or leave it out";
    assert_eq!(found["problems"], json!([problem]));
}

#[test]
fn check_says_what_is_wrong_with_what_is_of_no_use() {
    for (args, told) in [
        (&["rsa-1024.pem"][..], "problem: a private key of a kind that TLS cannot use: "),
        (&["rsa-encrypted-pkcs8.pem"], "problem: the private key is encrypted: pass the option `passphrase` (on the "),
        (&["push.cer"], "problem: a certificate alone, in DER (.cer): "),
    ] {
        let output = apnsd(&["check", &data(args[0])]).env_remove("APNSD_PASSPHRASE").output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(1), ""));
        assert!(stdout(&output).starts_with(told), "{}", stdout(&output));
    }
    let output = run(&["check", &data("signing-key.p8"), "--connect", "production"]);
    let expected = "kind        provider token key\nconnection  not tried\n\
        problem: a provider token key (.p8) needs the option `key_id` and the option `team_id`, 10 letters and digits \
        each, as Apple's developer account shows them (key_id: Keys; team_id: Membership details)\n\
        problem: a provider token key (.p8) works for every app of its team: pass the option `topic`, the app's bundle \
        id, as in com.example.app\n";
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), expected));
    let output = run(&[&["check", &data("signing-key.p8")][..], &SIGNING_KEY].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("DEF123GHIJ\nproblem: a provider token key (.p8) works for every app"),
        "{output:?}"
    );
    let output = run(&[&["check", &data("signing-key.p8"), "--topic", "com.example.app"][..], &SIGNING_KEY].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = run(&["check", "nosuch.pem"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
    assert_eq!(stderr(&output), "apnsd: `nosuch.pem` cannot be read: No such file or directory (os error 2)\n");
    let output =
        run(&[&["check", &data("signing-key.p8"), "--connect", "production-binary"][..], &SIGNING_KEY].concat());
    assert_eq!(output.status.code(), Some(1));
    let expected = "kind        provider token key\nkey id      ABC123DEFG\nteam        DEF123GHIJ\n\
        connection  not tried\n\
        problem: a provider token key (.p8) works over HTTP/2 alone, and environment `production-binary` is a binary \
        gateway: pass a push certificate and its key\n";
    assert_eq!(stdout(&output), expected);
    let output = run(&["check", &data("push.p12"), "--connect", "staging"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "apnsd: `staging` is not an environment: use one of `production`, `production-binary`, `sandbox`, \
        `sandbox-binary`, or name a configuration with --config\n";
    assert_eq!(stderr(&output), expected);
}

#[test]
fn a_passphrase_comes_from_a_file_a_pipe_or_a_variable() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passphrase");
    fs::write(&file, "secret\n").unwrap();
    let encrypted = data("rsa-encrypted-pkcs1.pem");
    let check = |more: &[&str]| {
        let mut check = apnsd(&[&["check", &encrypted][..], more].concat());
        check.env_remove("APNSD_PASSPHRASE");
        check
    };
    let code = |output: Output| output.status.code();
    assert_eq!(code(check(&["--passphrase-file", file.to_str().unwrap()]).output().unwrap()), Some(0));
    assert_eq!(code(check(&[]).env("APNSD_PASSPHRASE", "secret").output().unwrap()), Some(0));
    let stdin = fs::File::open(&file).unwrap();
    assert_eq!(code(check(&["--passphrase-file", "-"]).stdin(stdin).output().unwrap()), Some(0));
    let wrong = check(&[]).env("APNSD_PASSPHRASE", "other").output().unwrap();
    let told = "problem: the passphrase is wrong: pass that which the file was exported with in the option `passphrase` (on \
        the command line --passphrase-file, ";
    assert!(stdout(&wrong).starts_with(told), "{wrong:?}");
    fs::write(&file, "secret\nother\n").unwrap();
    let lines = check(&["--passphrase-file", file.to_str().unwrap()]).output().unwrap();
    let told = format!(
        "apnsd: {}: a passphrase is one line, and this has more: leave the passphrase alone in it\n",
        file.display()
    );
    assert_eq!((lines.status.code(), stderr(&lines)), (Some(1), &*told));
}

#[test]
fn standard_input_is_not_read_for_two_things() {
    for verb in [&["check", "-"][..], &["convert", "-", "out.pem"], &["provision", "myapp", "-", "sandbox"]] {
        let output = run(&[verb, &["--passphrase-file", "-"]].concat());
        let told = "apnsd: both the credentials and --passphrase-file are to be read from standard input: name a file for \
            one of them\n";
        assert_eq!((output.status.code(), stderr(&output)), (Some(2), told));
    }
}

/// Runs a program on a terminal of its own, types when it asks for a passphrase, and tells whether the terminal showed
/// what was typed, before and while it asked and after it ended, and how it ended.
const TERMINAL: &str = r#"
import os, pty, signal, sys, termios
keys, program = os.fsencode(sys.argv[1]), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    # Whoever runs this in the background may have it ignored.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(program[0], program)
signal.alarm(60)
shows = lambda: bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
told, said = [], b""
while b"Passphrase of" not in said:
    said += os.read(terminal, 1024)
told.append(shows())
os.write(terminal, keys)
_, status = os.waitpid(pid, 0)
told.append(shows())
print(*told, os.waitstatus_to_exitcode(status))
"#;

#[test]
fn a_passphrase_is_typed_unseen_and_ctrl_c_ends_the_question() {
    let typed = |keys: &str| {
        let mut python = Command::new("python3");
        python.args(["-c", TERMINAL, keys, env!("CARGO_BIN_EXE_apnsd"), "check"]);
        let output = python.arg(data("rsa-encrypted-pkcs1.pem")).env_remove("APNSD_PASSPHRASE").output().unwrap();
        stdout(&output).to_owned() + stderr(&output)
    };
    assert_eq!(typed("secret\n"), "False True 0\n");
    assert_eq!(typed("other\n"), "False True 1\n");
    // Killed by SIGINT.
    assert_eq!(typed("\x03"), "False True -2\n");
    assert_eq!(typed("sec\x03"), "False True -2\n");
}

#[test]
fn convert_writes_plain_pem_for_the_user_alone_and_replaces_nothing_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.pem");
    let path = out.to_str().unwrap();
    for (input, label) in [("push.p12", "PRIVATE KEY"), ("rsa-encrypted-pkcs1.pem", "RSA PRIVATE KEY")] {
        let mut convert = apnsd(&["convert", &data(input), path, "--force"]);
        let output = convert.env("APNSD_PASSPHRASE", "secret").output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
        let told = format!("{path} has certificate `Apple Push Services: com.example.app` (until ");
        assert!(stdout(&output).starts_with(&told), "{}", stdout(&output));
        let text = fs::read_to_string(&out).unwrap();
        assert!(text.starts_with("-----BEGIN CERTIFICATE-----\n"), "{text}");
        assert!(text.contains(&format!("-----END CERTIFICATE-----\n-----BEGIN {label}-----\n")), "{text}");
        assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(run(&["check", path]).status.code(), Some(0));
    }
    fs::write(&out, "precious").unwrap();
    let output = run(&["convert", &data("push.p12"), path]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), format!("apnsd: {path} is there already: --force replaces it\n"));
    assert_eq!(fs::read_to_string(&out).unwrap(), "precious");
    fs::remove_file(&out).unwrap();
    assert_eq!(run(&["convert", &data("push.p12"), path]).status.code(), Some(0));
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["out.pem"], "nothing else is left");
    let output = run(&["convert", &data("signing-key.p8"), path, "--force"]);
    assert_eq!(stderr(&output), "apnsd: a provider token key (.p8) needs no conversion: use it as it is\n");
}

#[test]
fn provision_sends_a_p12_as_base64_and_what_belongs_to_a_key() {
    let (_, asked) = ask(&["provision", "myapp", &data("push.p12"), "sandbox"], NIL);
    assert!(asked.contains("<value><string>MII") && asked.contains("<value><struct></struct></value>"), "{asked}");
    assert!(!asked.contains("passphrase"), "{asked}");
    let more = ["--topic", "com.example.app", "--connections", "3"];
    let key = data("signing-key.p8");
    let (_, asked) = ask(&[&["provision", "myapp", &key, "sandbox"][..], &SIGNING_KEY, &more].concat(), NIL);
    assert!(asked.contains("<value><string>-----BEGIN PRIVATE KEY-----"), "{asked}");
    let member = |name: &str, value: &str| format!("<member><name>{name}</name><value>{value}</value></member>");
    let options = [
        member("topic", "<string>com.example.app</string>"),
        member("key_id", "<string>ABC123DEFG</string>"),
        member("team_id", "<string>DEF123GHIJ</string>"),
        member("connections", "<int>3</int>"),
    ];
    assert!(asked.contains(&format!("<struct>{}</struct>", options.concat())), "{asked}");
    assert_eq!(run(&["provision", "a", "b", "c", "--connections", "0"]).status.code(), Some(2));
}

#[test]
fn provision_sends_a_passphrase_only_where_it_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("passphrase");
    fs::write(&file, "secret").unwrap();
    let with = |name: &str| {
        let path = data(name);
        ask(&["provision", "a", &path, "sandbox", "--passphrase-file", file.to_str().unwrap()], NIL).1
    };
    let member = "<member><name>passphrase</name><value><string>secret</string></value></member>";
    assert!(with("rsa-encrypted-pkcs8.pem").contains(member));
    assert!(!with("rsa-pkcs8.pem").contains("passphrase"));
}

#[test]
fn the_gateway_is_asked_whether_it_takes_a_certificate() {
    let world = World::start();
    let dir = world.certificate().parent().unwrap().to_owned();
    let config = dir.join("apnsd.toml");
    let check = |name: &str, config: &str| {
        let file = dir.join(name);
        run(&["check", file.to_str().unwrap(), "--connect", "sandbox-binary", "--config", config])
    };
    let told = |name: &str| {
        let output = check(name, config.to_str().unwrap());
        (output.status.code(), stdout(&output).lines().last().unwrap().to_owned())
    };
    let (code, line) = told("good.pem");
    assert!(code == Some(0) && line.starts_with("connection    binary://127.0.0.1:"), "{line}");
    assert!(line.ends_with(") takes the certificate"), "{line}");
    let over_http2 = |name: &str| {
        let file = dir.join(name);
        let output =
            run(&["check", file.to_str().unwrap(), "--connect", "production", "--config", config.to_str().unwrap()]);
        (
            output.status.code(),
            stdout(&output).lines().find(|line| line.starts_with("connection")).unwrap_or("").to_owned(),
        )
    };
    for (name, made_for) in
        [("development", "development only"), ("production", "production only"), ("good", "development and production")]
    {
        let (code, line) = over_http2(&format!("{name}.pem"));
        let proven = format!(
            ") takes the certificate in the handshake; topic and environment are judged with the first notification \
             (environment `production`, certificate for {made_for})"
        );
        assert!(code == Some(0) && line.ends_with(&proven), "{name}: {line}");
    }
    let refused = "problem: the gateway refused the credentials";
    let early = format!("{refused}: certificate expired: that is what gateways say of one that is not valid yet, too");
    assert_eq!(told("not-yet-valid.pem"), (Some(1), early));
    let expired = format!("{refused}: certificate expired: renew it in Apple's developer account");
    assert_eq!(told("expired.pem"), (Some(1), expired));
    let (code, line) = told("wrong-ca.pem");
    assert!(code == Some(1) && line.starts_with(&format!("{refused}: unknown certificate authority: ")), "{line}");

    let (proxy, asked) = proxy();
    let through = dir.join("proxied.toml");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace(
        "[environments.sandbox-binary]",
        &format!("[environments.sandbox-binary]\nproxy = \"http://me:secret@{proxy}\""),
    );
    fs::write(&through, text).unwrap();
    let output = check("good.pem", through.to_str().unwrap());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = stdout(&output).lines().last().unwrap();
    assert!(told.ends_with(&format!(" ({proxy}) takes the certificate")), "{told}");
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("CONNECT 127.0.0.1:"), "{asked}");
    assert!(asked.contains("\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n"), "{asked}");
    let output = check("good.pem", through.to_str().unwrap());
    assert!(stdout(&output).contains(&format!("proxy http://{proxy}: TCP connection: ")), "{output:?}");
    assert!(!stdout(&output).contains("secret"), "{output:?}");
}

#[test]
fn a_p12_is_provisioned_with_its_passphrase() {
    let world = World::start();
    let dir = tempfile::tempdir().unwrap();
    let p12 = dir.path().join("good.p12");
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs12", "-export", "-passout", "pass:secret", "-in"]).arg(world.certificate());
    assert!(openssl.arg("-out").arg(&p12).status().unwrap().success(), "openssl is needed");
    let p12 = p12.to_str().unwrap();
    let refused = world.run(&["provision", "myapp", p12, "sandbox"]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(stderr(&refused).contains("pass the option `passphrase`"), "{refused:?}");
    let passphrase = dir.path().join("passphrase");
    fs::write(&passphrase, "secret\n").unwrap();
    world.done(&["provision", "myapp", p12, "sandbox", "--passphrase-file", passphrase.to_str().unwrap()]);
    let token = "aa".repeat(32);
    world.done(&["notify", "myapp", "--token", &token, "--alert", "x"]);
    let status = world.done(&["status", "myapp", "--json"]);
    let status: Json = serde_json::from_str(&status).unwrap();
    assert_eq!(status["secrets"], "plain", "{status}");
    assert!(world.done(&["apps"]).starts_with("APP ID"));
}

/// A proxy for one connection; what it is asked.
fn proxy() -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = move || {
        let (mut client, _) = listener.accept().unwrap();
        drop(listener);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut server = TcpStream::connect(head.split(' ').nth(1).unwrap()).unwrap();
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let up = thread::spawn(move || {
            // Either side may reset the connection at its end.
            let _ = copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Write);
        });
        let _ = copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
        up.join().unwrap();
        head
    };
    (address, thread::spawn(serve))
}
