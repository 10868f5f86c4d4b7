//! The program as a shell runs it, and a daemon that answers from a script.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread::{self, JoinHandle};

/// A daemon that answers one call.
pub(crate) struct Daemon {
    pub(crate) url: String,
    request: JoinHandle<String>,
}

impl Daemon {
    /// Answers with this value.
    pub(crate) fn answering(value: &str) -> Self {
        Self::new(answer(value))
    }

    pub(crate) fn new(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let request = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
            request
        });
        Self { url, request }
    }

    /// What it was asked.
    pub(crate) fn request(self) -> String {
        self.request.join().unwrap()
    }
}

/// A daemon that answers one call after the other, each on a connection of its own; an empty answer closes it without one.
pub(crate) struct Script {
    pub(crate) url: String,
    requests: JoinHandle<Vec<String>>,
}

impl Script {
    pub(crate) fn new(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = move |answer: String| {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
            request
        };
        Self { url, requests: thread::spawn(move || answers.into_iter().map(answer).collect()) }
    }

    /// What it was asked; waits until it was asked everything.
    pub(crate) fn requests(self) -> Vec<String> {
        self.requests.join().unwrap()
    }
}

/// A value as a whole answer.
pub(crate) fn answer(value: &str) -> String {
    response(&format!("<params><param><value>{value}</value></param></params>"))
}

/// A fault as a whole answer.
pub(crate) fn fault(code: u32, text: &str) -> String {
    let fault = members(&[("faultCode", &format!("<int>{code}</int>")), ("faultString", text)]);
    response(&format!("<fault><value>{fault}</value></fault>"))
}

fn response(content: &str) -> String {
    let text = format!("<?xml version='1.0'?>\n<methodResponse>{content}</methodResponse>\n");
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

pub(crate) fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(b"</methodCall>\n") {
        let length = stream.read(&mut buffer).unwrap();
        assert_ne!(length, 0, "the request ended early");
        request.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(request).unwrap()
}

pub(crate) fn apnsd(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apnsd"));
    command.args(args).env_remove("APNSD_URL").env_remove("APNSD_CONFIG").env("NO_COLOR", "1");
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    apnsd(args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// Runs a verb against a daemon with this answer: what it printed, and what it asked, without white space.
pub(crate) fn ask(args: &[&str], answer: &str) -> (String, String) {
    let daemon = Daemon::answering(answer);
    let output = apnsd(args).env("APNSD_URL", &daemon.url).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let request = daemon.request();
    let body = request.split_once("\r\n\r\n").unwrap().1.lines().map(str::trim).collect();
    (stdout(&output).to_owned(), body)
}

pub(crate) const NIL: &str = "<nil/>";

/// A struct in XML, its values already in XML.
pub(crate) fn members(members: &[(&str, &str)]) -> String {
    let member = |(name, value): &(&str, &str)| format!("<member><name>{name}</name><value>{value}</value></member>");
    format!("<struct>{}</struct>", members.iter().map(member).collect::<String>())
}

pub(crate) fn array(items: &[String]) -> String {
    let items: String = items.iter().map(|item| format!("<value>{item}</value>")).collect();
    format!("<array><data>{items}</data></array>")
}
