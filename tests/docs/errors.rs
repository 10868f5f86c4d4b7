//! `docs/errors.md` against the source.

use std::collections::BTreeSet;
use std::process::Command;

use apnsd::domain::apns::ApnsReason;
use apnsd::domain::outcome::Reason;

use crate::source::{File, file, files, literals, says, variants};
use crate::text::{Page, pages};

/// Files whose errors no caller and no operator meets as they are: the configuration's come with line and cure, those of
/// records stand within the message of a damaged store.
const OTHER_PAGES: [&str; 7] = [
    "domain/proxy.rs",
    "listener/address.rs",
    "listener/unix.rs",
    "listener/user.rs",
    "store/record.rs",
    "store/sqlite/problem.rs",
    "telemetry/mod.rs",
];

/// What a call of a wrong number of arguments would be told, had that not been checked before.
const NEVER_SAID: [&str; 4] = [" takes ", "3 or 4 arguments", "an app id is needed", "the name of a method is needed"];

fn page() -> Page {
    pages().into_iter().find(|page| page.name == "docs/errors.md").expect("docs/errors.md is there")
}

/// The first cells of all tables of messages.
fn messages() -> Vec<String> {
    let page = page();
    let plain = page.rows(&["message"]).into_iter().map(|cells| cells[0].clone());
    let http = page.rows(&["status", "message"]).into_iter().map(|cells| cells[1].clone());
    plain.chain(http).collect()
}

/// Whether a text has words of its own, and is not one gap beside another.
fn has_words(text: &str) -> bool {
    text.split(|character: char| !character.is_ascii_alphabetic()).filter(|word| word.len() >= 2).count() >= 2
}

/// Every text with which the program refuses something.
fn texts(file: &File) -> BTreeSet<String> {
    let mut texts = file.texts_after(&["#[error("]);
    let is_of_calls = ["rpc/", "service/", "listener/", "admin/"].iter().any(|dir| file.name.starts_with(dir));
    if is_of_calls {
        let beginnings =
            ["bad_argument(", "InvalidArgument(", "try_later(", "TryLater(", ".fault(", "let text =", "let problem ="];
        texts.extend(file.texts_after(&beginnings));
    }
    if file.name.starts_with("cli/") {
        texts.extend(file.texts_after(&["Exit::Failed,", "Exit::Usage,", "Exit::Unreachable,", "Exit::Fault,"]));
    }
    texts.retain(|text| has_words(text) && !NEVER_SAID.iter().any(|never| text.contains(never)));
    // The command line wraps faults in this; the last are for names that the code knows and forgot.
    texts.retain(|text| text != "… (fault …)" && !text.ends_with(": unknown"));
    texts
}

#[test]
fn every_error_of_the_program_is_explained() {
    let explained: BTreeSet<String> = messages().into_iter().collect();
    let mut missing = Vec::new();
    for file in files().iter().filter(|file| !OTHER_PAGES.contains(&file.name.as_str())) {
        missing.extend(texts(file).into_iter().filter(|text| !explained.contains(text)).map(|text| {
            let name = &file.name;
            format!("{name}: {text}")
        }));
    }
    assert!(missing.is_empty(), "docs/errors.md does not explain:\n{}", missing.join("\n"));
}

#[test]
fn every_error_that_is_explained_exists() {
    let literals = literals(&files());
    let mut unknown = messages();
    unknown.retain(|text| !says(&literals, text));
    assert!(unknown.is_empty(), "docs/errors.md explains what the program does not say:\n{}", unknown.join("\n"));
}

#[test]
fn no_error_is_explained_twice() {
    let mut seen = BTreeSet::new();
    let twice: Vec<String> = messages().into_iter().filter(|text| !seen.insert(text.clone())).collect();
    assert_eq!(twice, Vec::<String>::new());
}

/// Name and status of the rows of a table of reasons.
fn reasons(head: &[&str]) -> BTreeSet<(String, String)> {
    let rows = page().rows(head);
    rows.into_iter().map(|cells| (cells[0].trim_matches('`').to_owned(), cells[1].clone())).collect()
}

#[test]
fn every_reason_is_explained_with_its_status_and_none_besides() {
    let with_status = reasons(&["reason", "status"]);
    let mut expected: BTreeSet<(String, String)> = ApnsReason::DOCUMENTED
        .iter()
        .map(|reason| (reason.name().to_owned(), reason.status().to_string()))
        .chain([(ApnsReason::Unknown(0).name().to_owned(), "any".to_owned())])
        .collect();
    for reason in (0..=u8::MAX).filter_map(Reason::from_binary_status) {
        let status = match reason {
            Reason::UnknownStatus(_) => "255, or any other".to_owned(),
            named => named.status().expect("a binary status").to_string(),
        };
        expected.insert((reason.name().to_owned(), status));
    }
    assert_eq!(with_status, expected);
    let explained = with_status.into_iter().chain(reasons(&["reason", "what it means"])).map(|(name, _)| name);
    let explained: BTreeSet<String> = explained.collect();
    let code = file("domain/outcome.rs");
    let mut names: BTreeSet<String> = variants(&code, "pub enum Reason {").into_iter().collect();
    names.remove("Apns");
    names.extend(variants(&file("domain/apns.rs"), "pub enum ApnsReason {"));
    names.remove("Unknown");
    names.insert("UnknownReason".to_owned());
    assert_eq!(explained, names);
}

#[test]
fn every_fault_code_is_explained_and_none_besides() {
    let code = file("rpc/fault.rs");
    let (_, rest) = code.split_once("pub const fn number(self) -> i32 {").expect("the codes are there");
    let (body, _) = rest.split_once("\n    }\n").expect("the codes end");
    let numbers =
        body.lines().filter_map(|line| line.split_once("=> ")).map(|(_, number)| number.trim_end_matches(','));
    let numbers: BTreeSet<String> = numbers.map(str::to_owned).filter(|number| number.parse::<i32>().is_ok()).collect();
    let explained: BTreeSet<String> =
        page().rows(&["code", "what it means"]).into_iter().map(|cells| cells[0].clone()).collect();
    assert_eq!(explained, numbers);
}

#[test]
fn every_exit_code_is_explained_in_the_words_of_the_help() {
    let help = Command::new(env!("CARGO_BIN_EXE_apnsd")).arg("--help").output().expect("apnsd runs");
    let help = String::from_utf8(help.stdout).expect("help is text");
    let (_, codes) = help.split_once("Exit codes:\n").expect("help has the exit codes");
    let line = |line: &str| {
        let (code, meaning) = line.trim().split_once("  ").expect("a code and its meaning");
        (code.to_owned(), meaning.replace('`', ""))
    };
    let told: BTreeSet<(String, String)> = codes.lines().map(line).collect();
    let rows = page().rows(&["code", "meaning"]);
    let explained: BTreeSet<(String, String)> =
        rows.into_iter().map(|cells| (cells[0].clone(), cells[1].replace('`', ""))).collect();
    assert_eq!(explained, told);
}

#[test]
fn every_http_status_that_refuses_is_explained_and_none_besides() {
    let names = [
        ("BAD_REQUEST", "400"),
        ("UNAUTHORIZED", "401"),
        ("FORBIDDEN", "403"),
        ("NOT_FOUND", "404"),
        ("METHOD_NOT_ALLOWED", "405"),
        ("REQUEST_TIMEOUT", "408"),
        ("PAYLOAD_TOO_LARGE", "413"),
        ("UNSUPPORTED_MEDIA_TYPE", "415"),
        ("MISDIRECTED_REQUEST", "421"),
        ("TOO_MANY_REQUESTS", "429"),
        ("INTERNAL_SERVER_ERROR", "500"),
        ("SERVICE_UNAVAILABLE", "503"),
    ];
    let mut answered = BTreeSet::new();
    for file in
        files().iter().filter(|file| ["rpc/", "listener/", "admin/"].iter().any(|dir| file.name.starts_with(dir)))
    {
        for (at, _) in file.code.match_indices("StatusCode::") {
            let name: String = file.code[at + "StatusCode::".len()..]
                .chars()
                .take_while(|letter| letter.is_ascii_uppercase() || *letter == '_')
                .collect();
            if !["", "OK"].contains(&name.as_str()) {
                let number = names.iter().find(|(known, _)| *known == name).map_or(name.as_str(), |(_, number)| number);
                answered.insert(number.to_owned());
            }
        }
    }
    let explained: BTreeSet<String> =
        page().rows(&["status", "message"]).into_iter().map(|cells| cells[0].clone()).collect();
    assert_eq!(explained, answered);
}

/// Source: `src/gateway/alert.rs`, whose names `docs/operations.md` explains.
#[test]
fn every_tls_alert_that_refuses_credentials_is_explained() {
    let code = file("gateway/alert.rs");
    let (_, rest) = code.split_once("fn blames_credentials").expect("the alerts are there");
    let (body, _) = rest.split_once("\n}").expect("the alerts end");
    let names = body.match_indices("AlertDescription::").map(|(at, found)| &body[at + found.len()..]);
    let names = names.map(|rest| rest.chars().take_while(char::is_ascii_alphanumeric).collect::<String>());
    let mut words: BTreeSet<String> = names.map(|name| in_words(&name)).collect();
    words.remove("unknown c a");
    words.insert("unknown certificate authority".to_owned());
    let page = pages().into_iter().find(|page| page.name == "docs/operations.md").expect("docs/operations.md is there");
    let rows = page.rows(&["alert"]);
    let explained: BTreeSet<String> = rows
        .into_iter()
        .flat_map(|cells| cells[0].split(", ").map(|alert| alert.replace('`', "")).collect::<Vec<_>>())
        .collect();
    assert_eq!(explained, words);
}

fn in_words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}
