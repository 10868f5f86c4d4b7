//! What the source says: texts of errors, variants of enums.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::text::root;

/// A file of `src/`, without its tests.
pub(crate) struct File {
    /// Its path from `src/`.
    pub(crate) name: String,
    /// Its text up to the tests.
    pub(crate) code: String,
}

/// What stands in texts for parts that differ.
const GAP: char = '…';

/// All files but the simulator's and those of tests.
pub(crate) fn files() -> Vec<File> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    files.retain(|file| !file.name.starts_with("simulator/") && !file.name.contains("tests"));
    files.sort_by(|one, other| one.name.cmp(&other.name));
    files
}

fn collect(dir: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(dir).expect("a directory of the source can be read") {
        let path = entry.expect("a directory of the source can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a file of the source can be read");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            let name = path.strip_prefix(root().join("src")).expect("it is below src").display().to_string();
            files.push(File { name, code });
        }
    }
}

/// One file.
pub(crate) fn file(name: &str) -> String {
    fs::read_to_string(root().join("src").join(name)).expect("the file is there")
}

impl File {
    /// The texts that follow one of these beginnings, `format!(` in between or not, as a page shows them.
    pub(crate) fn texts_after(&self, beginnings: &[&str]) -> BTreeSet<String> {
        let mut texts = BTreeSet::new();
        for beginning in beginnings {
            for (at, _) in self.code.match_indices(beginning) {
                let rest = self.code[at + beginning.len()..].trim_start();
                let rest = rest.strip_prefix("format!(").unwrap_or(rest).trim_start();
                texts.extend(rest.strip_prefix('"').and_then(literal).map(|text| shown(&text)));
            }
        }
        texts
    }
}

/// The content of a string literal that begins here.
fn literal(code: &str) -> Option<String> {
    let mut content = String::new();
    let mut chars = code.chars();
    loop {
        match chars.next()? {
            '"' => return Some(content),
            '\\' => match chars.next()? {
                // The next line goes on behind its indentation.
                '\n' => chars = chars.as_str().trim_start().chars(),
                'n' => (),
                escaped => content.push(escaped),
            },
            character => content.push(character),
        }
    }
}

/// A text with gaps for its placeholders.
fn shown(template: &str) -> String {
    let mut text = String::new();
    let mut depth = 0_u32;
    for character in template.chars() {
        match character {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && !text.ends_with(GAP) {
                    text.push(GAP);
                }
            }
            character if depth == 0 => text.push(character),
            _ => (),
        }
    }
    text
}

/// Whether a text of a page can come from this code: all of its pieces between gaps are there.
pub(crate) fn says(literals: &str, text: &str) -> bool {
    text.split(GAP).map(str::trim).filter(|piece| !piece.is_empty()).all(|piece| literals.contains(piece))
}

/// All string literals of all files, and lines of documentation left out.
pub(crate) fn literals(files: &[File]) -> String {
    let mut all = String::new();
    for file in files {
        let code: Vec<&str> = file.code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        let mut rest = code.as_str();
        while let Some(at) = rest.find('"') {
            // A quotation mark as a character.
            if rest[..at].ends_with('\'') || rest[..at].ends_with("'\\") {
                rest = &rest[at + 1..];
                continue;
            }
            let Some(content) = literal(&rest[at + 1..]) else { break };
            all.push_str(&content);
            all.push('\n');
            all.push_str(&shown(&content));
            all.push('\n');
            rest = &rest[at + 1 + end(&rest[at + 1..])..];
        }
    }
    all
}

/// Bytes of a literal up to and with its closing mark.
fn end(code: &str) -> usize {
    let mut is_escaped = false;
    for (at, character) in code.char_indices() {
        match character {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    code.len()
}

/// The names of an enum's variants.
pub(crate) fn variants(code: &str, declaration: &str) -> Vec<String> {
    let (_, rest) = code.split_once(declaration).expect("the enum is there");
    let (body, _) = rest.split_once("\n}").expect("the enum ends");
    let name = |line: &str| -> Option<String> {
        let line = line.strip_prefix("    ")?;
        let name: String = line.chars().take_while(char::is_ascii_alphanumeric).collect();
        name.starts_with(|first: char| first.is_ascii_uppercase()).then_some(name)
    };
    body.lines().filter_map(name).collect()
}
