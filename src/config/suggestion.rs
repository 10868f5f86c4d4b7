//! What an unknown key was meant to be: a known one that is spelled nearly so, or stands in another section.

use std::collections::{BTreeMap, BTreeSet};

/// Nothing is like a key that is longer, and to compare it takes its time.
const KEY_BYTES_MAX: usize = 200;

/// The known keys and sections, those of every `[[app]]` as one.
pub(super) struct Shapes<'a> {
    /// By the key without its number, `app[].topic`: the first that has this shape.
    first: BTreeMap<String, &'a str>,
    /// What was found for a shape before: one mistake may stand in each of very many tables.
    found: BTreeMap<String, Option<String>>,
}

impl<'a> Shapes<'a> {
    pub(super) fn of(known: &'a BTreeSet<String>) -> Self {
        let mut first = BTreeMap::new();
        let sections = known.iter().filter_map(|known| known.rsplit_once('.')).map(|(section, _)| section);
        for key in known.iter().map(String::as_str).chain(sections) {
            first.entry(shape(key).0).or_insert(key);
        }
        Self { first, found: BTreeMap::new() }
    }

    /// The known key or section that is most like this one, if there is any.
    pub(super) fn like(&mut self, key: &str) -> Option<String> {
        if key.len() > KEY_BYTES_MAX {
            return None;
        }
        let (shape, number) = shape(key);
        let found = match self.found.get(&shape) {
            Some(found) => found.clone(),
            None => {
                let found = self.shape_like(&shape);
                self.found.insert(shape, found.clone());
                found
            }
        }?;
        match number {
            Some(number) if found.contains("[]") => Some(found.replacen("[]", &format!("[{number}]"), 1)),
            _ => self.first.get(&found).map(|known| (*known).to_owned()),
        }
    }

    fn shape_like(&self, shape: &str) -> Option<String> {
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let moved = self.first.keys().find(|known| last(known) == last(shape));
        let depth = |key: &str| key.matches('.').count();
        let close = self.first.keys().filter(|known| depth(known) == depth(shape));
        let close = close.map(|known| (distance(known, shape), known)).min();
        let close = close.filter(|(distance, _)| *distance <= (shape.len() / 3).clamp(1, 3)).map(|(_, known)| known);
        moved.or(close).cloned()
    }
}

/// A key without the number in its brackets, and that number.
fn shape(key: &str) -> (String, Option<&str>) {
    let split = || {
        let (before, rest) = key.split_once('[')?;
        let (number, after) = rest.split_once(']')?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| (format!("{before}[]{after}"), Some(number)))
    };
    split().unwrap_or_else(|| (key.to_owned(), None))
}

/// Levenshtein's distance: insertions, deletions and replacements of a character.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, left) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, right) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(key: &str) -> Option<String> {
        let known = ["app", "app[0].app_id", "app[0].topic", "app[7].app_id", "app[7].topic", "log.level"];
        let known: BTreeSet<String> = known.map(str::to_owned).into();
        Shapes::of(&known).like(key)
    }

    #[test]
    fn a_key_of_a_table_of_many_is_suggested_in_the_same_table() {
        assert_eq!(like("app[7].appid").as_deref(), Some("app[7].app_id"));
        assert_eq!(like("app[0].topics").as_deref(), Some("app[0].topic"));
    }

    #[test]
    fn a_key_is_suggested_where_it_belongs() {
        assert_eq!(like("topic").as_deref(), Some("app[0].topic"));
        assert_eq!(like("app[7].level").as_deref(), Some("log.level"));
        assert_eq!(like("lok.level").as_deref(), Some("log.level"));
        assert_eq!(like("colour"), None);
    }
}
