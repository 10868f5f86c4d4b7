//! Pages in Markdown: their lines, code and tables.

use std::fs;
use std::path::{Path, PathBuf};

/// A page.
pub(crate) struct Page {
    /// Its path from the root of the repository.
    pub(crate) name: String,
    /// All of it.
    pub(crate) text: String,
}

/// A line within a code block.
pub(crate) struct Code<'a> {
    /// What follows the opening fence: `console`, `toml`, …
    pub(crate) language: &'a str,
    /// The lines of the block.
    pub(crate) lines: Vec<&'a str>,
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and everything in `docs/`.
pub(crate) fn pages() -> Vec<Page> {
    let mut paths: Vec<PathBuf> = vec![root().join("README.md")];
    let docs = fs::read_dir(root().join("docs")).expect("docs/ can be read");
    paths.extend(docs.map(|entry| entry.expect("docs/ can be read").path()));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    let page = |path: PathBuf| Page {
        name: path.strip_prefix(root()).expect("it is below the root").display().to_string(),
        text: fs::read_to_string(&path).expect("a page can be read"),
    };
    paths.into_iter().map(page).collect()
}

impl Page {
    /// Its blocks of code.
    pub(crate) fn blocks(&self) -> Vec<Code<'_>> {
        let mut blocks: Vec<Code<'_>> = Vec::new();
        let mut is_open = false;
        for line in self.text.lines() {
            match line.trim_start().strip_prefix("```") {
                Some(language) if !is_open => {
                    is_open = true;
                    blocks.push(Code { language, lines: Vec::new() });
                }
                Some(_) => is_open = false,
                None if is_open => blocks.last_mut().expect("one is open").lines.push(line),
                None => (),
            }
        }
        blocks
    }

    /// What is not in blocks of code, line by line.
    pub(crate) fn prose(&self) -> Vec<&str> {
        let mut is_open = false;
        let mut prose = Vec::new();
        for line in self.text.lines() {
            match line.trim_start().starts_with("```") {
                true => is_open = !is_open,
                false if !is_open => prose.push(line),
                false => (),
            }
        }
        prose
    }

    /// Pieces of code within its prose. They may go on in the next line.
    pub(crate) fn spans(&self) -> Vec<String> {
        let prose = self.prose();
        let paragraphs = prose.split(|line| line.trim().is_empty() || line.starts_with('|'));
        let rows = prose.iter().filter(|line| line.starts_with('|')).map(|line| (*line).to_owned());
        paragraphs
            .map(|lines| lines.join(" "))
            .chain(rows)
            .flat_map(|text| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    /// The cells of every row of the tables whose head has these names first.
    pub(crate) fn rows(&self, head: &[&str]) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let mut is_wanted = false;
        let mut is_in_table = false;
        for line in self.prose() {
            let Some(inner) = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
                is_in_table = false;
                continue;
            };
            let cells: Vec<String> = inner.split('|').map(|cell| cell.trim().replace('\\', "")).collect();
            if !is_in_table {
                is_in_table = true;
                is_wanted = cells.iter().zip(head).filter(|(cell, name)| cell == name).count() == head.len();
            } else if is_wanted && !cells[0].starts_with("---") {
                rows.push(cells);
            }
        }
        rows
    }
}
