//! Checks the shape of the source tree: the layer table of `ARCHITECTURE.md`, module docs, the size of files and
//! functions, and that `lib.rs` maps every module.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a tree that cannot be read is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn every_module_keeps_to_its_layer() {
    let layers = layers();
    let mut problems = Vec::new();
    for source in sources() {
        let Some(allowed) = layers.get(&source.module) else {
            problems.push(format!("{}: module {} is not in the layer table", source.path, source.module));
            continue;
        };
        for import in crate_imports(&source.code) {
            if import.starts_with(char::is_uppercase) {
                problems.push(format!("{}: import {import} from the module that defines it", source.path));
            }
            if layers.contains_key(&import) && import != source.module && !allowed.contains(&import) {
                problems.push(format!("{}: {} may not import {import}", source.path, source.module));
            }
        }
    }
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn every_file_begins_with_its_docs_and_is_short() {
    let mut problems = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//!") {
            problems.push(format!("{}: no module docs on the first line", source.path));
        }
        let lines = source.code.lines().filter(|line| !line.trim().is_empty()).count();
        if lines > FILE_LINES_MAX {
            problems.push(format!("{}: {lines} lines of code, at most {FILE_LINES_MAX}", source.path));
        }
        for (name, lines) in long_functions(&source.code) {
            problems.push(format!("{}: fn {name} has {lines} lines, at most {FUNCTION_LINES_MAX}", source.path));
        }
        for banned in ["dbg!(", "todo!(", "unimplemented!(", ".unwrap()", "#[allow("] {
            if source.code.contains(banned) {
                problems.push(format!("{}: {banned} outside tests", source.path));
            }
        }
    }
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn codecs_and_protocol_rules_are_pure() {
    let pure = [
        "admin/page/chart.rs",
        "admin/page/history.rs",
        "admin/page/view.rs",
        "admin/page/words.rs",
        "delivery/state.rs",
        "domain/",
        "gateway/binary/frame.rs",
        "gateway/binary/limits.rs",
        "gateway/binary/ranges.rs",
        "gateway/binary/window",
        "gateway/http2/limit.rs",
        "gateway/http2/outcomes.rs",
        "gateway/http2/redial.rs",
        "gateway/http2/request.rs",
        "gateway/http2/response.rs",
        "gateway/http2/unsent.rs",
        "queue/retry.rs",
        "queue/wall.rs",
        "simulator/http2/answer.rs",
        "simulator/http2/behavior.rs",
        "simulator/http2/conversation/",
        "simulator/http2/frame",
        "simulator/http2/held.rs",
        "simulator/http2/hpack",
        "simulator/http2/judge.rs",
        "simulator/http2/request.rs",
        "simulator/http2/session",
        "simulator/http2/stream_limit.rs",
        "simulator/http2/topics.rs",
        "simulator/script/session",
        "store/outcomes/record.rs",
        "xmlrpc/",
    ];
    let sources = sources();
    for prefix in pure {
        let mut found = sources.iter().filter(|source| source.path.starts_with(prefix)).peekable();
        assert!(found.peek().is_some(), "{prefix} is not there");
        for source in found {
            assert!(!source.code.contains("tokio::"), "{} waits", source.path);
            assert!(!source.code.contains("std::net") && !source.code.contains("std::fs"), "{} does IO", source.path);
            assert!(!source.code.contains("Clock"), "{} reads the time", source.path);
        }
    }
}

#[test]
fn the_crate_docs_name_every_module() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for module in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        assert!(lib.contains(&format!("//! - [`{module}`]: ")), "lib.rs docs do not name {module}");
    }
}

#[test]
fn the_checks_can_fail() {
    assert_eq!(crate_imports("use crate::{queue::Queue, rpc};\ncrate::store::Store"), ["queue", "rpc", "store"]);
    let long = format!("fn long() {{\n{}}}\n", "    x();\n".repeat(FUNCTION_LINES_MAX));
    assert_eq!(long_functions(&long), [("long".to_owned(), FUNCTION_LINES_MAX + 2)]);
    assert!(std::panic::catch_unwind(|| parse_layers("rpc: queue\nqueue:")).is_err(), "rows name only rows above");
}

/// A file of the library, without tests and comments in `code`.
struct Source {
    path: String,
    module: String,
    text: String,
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn layers() -> BTreeMap<String, Vec<String>> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = page.split("```layers\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    parse_layers(table)
}

/// Reads rows of `module: imports # prose`. A row may name only rows above it, which keeps the graph without a cycle.
fn parse_layers(table: &str) -> BTreeMap<String, Vec<String>> {
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in table.lines().filter_map(|line| line.split('#').next()).filter(|line| !line.trim().is_empty()) {
        let (module, imports) = line.split_once(':').expect("a row is `module: imports`");
        let imports: Vec<String> = imports.split_whitespace().map(str::to_owned).collect();
        for import in &imports {
            assert!(rows.contains_key(import), "{module} imports {import}, which is not above it");
        }
        rows.insert(module.trim().to_owned(), imports);
    }
    rows
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut sources = Vec::new();
    for path in rust_files(&src) {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        let module = path.split(['/', '.']).next().unwrap().to_owned();
        if !["lib", "main"].contains(&&*module) {
            sources.push(Source { code: without_tests_and_comments(&text), path, module, text });
        }
    }
    assert!(sources.len() > 20, "the source tree was not found");
    sources
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let in_tests = path.components().any(|part| part.as_os_str() == "tests");
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !in_tests
            && !path.ends_with("tests.rs")
        {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Drops what follows `#[cfg(test)] mod … {` (tests go last in a file) and every line that is a comment.
fn without_tests_and_comments(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let opens_module = |next: &&str| next.contains("mod ") && next.trim_end().ends_with('{');
        if line.trim() == "#[cfg(test)]" && lines.peek().is_some_and(opens_module) {
            break;
        }
        code.push_str(if line.trim_start().starts_with("//") { "" } else { line });
        code.push('\n');
    }
    code
}

/// The first path segment after each `crate::`, also inside `use crate::{a::…, b}`.
fn crate_imports(code: &str) -> Vec<String> {
    let mut imports = Vec::new();
    for (at, found) in code.match_indices("crate::") {
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            None => imports.push(first_word(rest)),
            Some(group) => imports.extend(group_heads(group)),
        }
    }
    imports
}

/// First words of the items of a use group, up to its closing brace.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut at_item) = (1, true);
    for (offset, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' if depth == 1 => at_item = true,
            c if at_item && !c.is_whitespace() => {
                heads.push(first_word(&group[offset..]));
                at_item = false;
            }
            _ => (),
        }
    }
    heads
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Functions over the limit with their length, told by indentation, which rustfmt guarantees.
fn long_functions(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let is_qualifier = |word: &str| word.starts_with("pub") || ["async", "const", "crate)", "super)"].contains(&word);
    let mut long = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(at) = line.find("fn ").filter(|at| line[..*at].split_whitespace().all(is_qualifier)) else { continue };
        let closing = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
        let length = lines[start..].iter().position(|line| **line == closing).map_or(0, |end| end + 1);
        if length > FUNCTION_LINES_MAX && !line.trim_end().ends_with(';') {
            long.push((first_word(&line[at + 3..]), length));
        }
    }
    long
}
