//! Keys of the configuration.

use std::collections::BTreeSet;
use std::fs;

use apnsd::config::Config;
use apnsd::domain::time::Timestamp;

use crate::text::{pages, root};

/// 2027-01-01.
const NOW: Timestamp = Timestamp::from_secs(1_798_761_600);

/// Sections and keys (`delivery.settle_after`, `app.topic`) of `config/apnsd.toml`, which another test holds complete.
fn known() -> (BTreeSet<String>, BTreeSet<String>) {
    let text = fs::read_to_string(root().join("config/apnsd.toml")).expect("the shipped configuration can be read");
    let (mut sections, mut keys) = (BTreeSet::new(), BTreeSet::new());
    let mut section = String::new();
    for line in text.lines() {
        let line = line.strip_prefix('#').unwrap_or(line).trim_start();
        let name: String =
            line.chars().take_while(|letter| letter.is_ascii_lowercase() || "_.-[]".contains(*letter)).collect();
        if name.starts_with('[') {
            section = name.trim_matches(['[', ']']).split('.').next().unwrap_or_default().to_owned();
            sections.insert(section.clone());
        } else if !name.is_empty() && line[name.len()..].starts_with(" =") {
            keys.insert(if section.is_empty() { name } else { format!("{section}.{name}") });
        } else if name == "ca" || name == "proxy" {
            keys.insert(format!("environments.{name}"));
        }
    }
    (sections, keys)
}

#[test]
fn every_key_that_is_named_exists() {
    let (sections, keys) = known();
    let is_word = |text: &str| text.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
    let mut unknown = Vec::new();
    for page in pages() {
        for span in page.spans() {
            // `store.durability = "full"` names a key as well.
            let key = span.split(" = ").next().unwrap_or_default();
            if let Some(inner) = span.strip_prefix('[').and_then(|span| span.strip_suffix(']')) {
                let section = inner.trim_matches(['[', ']']).split('.').next().unwrap_or_default();
                if is_word(section) && !sections.contains(section) {
                    unknown.push(format!("{}: `{span}`", page.name));
                }
            } else if let Some((section, name)) = key.split_once('.')
                && sections.contains(section)
                && is_word(name)
                && !keys.contains(key)
                // A file and not a key.
                && !["toml", "rs"].contains(&name)
            {
                unknown.push(format!("{}: `{span}`", page.name));
            }
        }
    }
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn every_piece_of_configuration_is_one() {
    let mut problems = Vec::new();
    let mut count = 0;
    for page in pages() {
        for block in page.blocks().iter().filter(|block| block.language == "toml") {
            count += 1;
            let dir = tempfile::tempdir().expect("a directory for the file");
            let path = dir.path().join("apnsd.toml");
            fs::write(&path, block.lines.join("\n")).expect("the file can be written");
            let refused = Config::load(Some(&path), std::iter::empty(), NOW).err();
            // The files that an example names are not here.
            let told = refused.into_iter().flat_map(|refused| refused.problems);
            let told = told.filter(|problem| !problem.text.contains(" cannot be read ("));
            problems.extend(told.map(|problem| format!("{}: {problem}", page.name)));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count > 0);
}
