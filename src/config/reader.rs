//! From a file and variables to values: finds each key in both, and reports every problem with its place.
//!
//! The file is flattened into entries first (`delivery.settle_after`), the variables are appended to them, the later
//! one wins. An entry that nobody read is an unknown key.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem, Refused, Warning};
use super::suggestion::Shapes;
use super::value::{Raw, items};

/// A key with its value and where that came from.
struct Entry<'a> {
    /// `delivery.settle_after`; `app[0].app_id` for the first `[[app]]`.
    key: String,
    /// `None` for the head of a section.
    value: Option<Raw<'a>>,
    place: Place,
    read: bool,
}

/// All that was configured, and what came of reading it.
pub(super) struct Reader<'a> {
    entries: Vec<Entry<'a>>,
    /// Where in `entries` each key stands, in their order: there may be very many, and each key is looked for.
    index: BTreeMap<String, Vec<usize>>,
    known: BTreeSet<String>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
    base: PathBuf,
    /// The file is TOML to its end. Where it is not, nothing can be said about what is missing or in a wrong section.
    whole: bool,
}

/// In front of every variable that stands for a key: `APNSD__DELIVERY__SETTLE_AFTER`.
const VARIABLE_PREFIX: &str = "APNSD__";

impl<'a> Reader<'a> {
    /// Takes the variables whose names begin with `APNSD__`; what comes later overrides what was before.
    pub(super) fn new(variables: impl Iterator<Item = (String, String)>) -> Self {
        let entry = |(name, value): (String, String)| {
            let key = name.strip_prefix(VARIABLE_PREFIX)?.to_ascii_lowercase().replace("__", ".");
            Some(Entry { key, value: Some(Raw::Text(value)), place: Place::Variable(name), read: false })
        };
        let mut reader = Self {
            entries: variables.filter_map(entry).collect(),
            index: BTreeMap::new(),
            known: BTreeSet::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            base: PathBuf::new(),
            whole: true,
        };
        reader.make_index();
        reader
    }

    fn make_index(&mut self) {
        self.index.clear();
        for (at, entry) in self.entries.iter().enumerate() {
            self.index.entry(entry.key.clone()).or_default().push(at);
        }
    }

    /// Takes the content of the file; every error of its syntax becomes a problem.
    pub(super) fn file(&mut self, path: &Path, text: &'a str) {
        self.base = path.parent().unwrap_or(Path::new("")).to_owned();
        let (root, mut errors) = DeTable::parse_recoverable(text);
        self.whole = errors.is_empty();
        let lines = Lines::of(text);
        let mut entries = Vec::new();
        flatten(root.into_inner(), "", &mut entries, &|offset| Place::Line(path.to_owned(), lines.number(offset)));
        let mut values: Vec<&(Entry<'_>, Range<usize>)> =
            entries.iter().filter(|(entry, _)| entry.value.is_some()).collect();
        values.sort_by_key(|(_, span)| span.start);
        // Lines where something broken begins. A list that is not closed reaches to the end: one error is enough.
        let mut broken = BTreeSet::new();
        let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
        errors.sort_by_key(start);
        for error in errors {
            let at = start(&error);
            let before = &values[..values.partition_point(|(_, span)| span.start <= at)];
            let within = before.last().filter(|(_, span)| at <= span.end);
            let first = lines.number(within.map_or(at, |(_, span)| span.start));
            if !broken.insert(first) {
                continue;
            }
            let mut message = format!("not TOML: {}", error.message().replace('\n', ", "));
            if let Some((entry, _)) = within.filter(|_| first != lines.number(at)) {
                message += &format!(" (within `{}`, from line {first} on: is its end missing?)", entry.key);
            }
            let place = Place::Line(path.to_owned(), lines.number(at));
            self.problems.push(Problem { place, key: String::new(), text: message });
        }
        // What is left of a broken line says nothing more.
        entries.retain(|(entry, _)| !matches!(&entry.place, Place::Line(_, line) if broken.contains(line)));
        if entries.is_empty() {
            // Another kind of file.
            self.problems.truncate(1);
        }
        self.entries.splice(0..0, entries.into_iter().map(|(entry, _)| entry));
        self.make_index();
    }

    /// Reads a key into its place, which holds the default; says whether it was set.
    pub(super) fn read<T>(&mut self, key: &str, target: &mut T, parse: impl Fn(&Raw<'a>) -> Result<T, String>) -> bool {
        self.read_all(key, target, |raw| match parse(raw) {
            Ok(value) => (Some(value), Vec::new()),
            Err(text) => (None, vec![text]),
        })
    }

    /// Reads a list; every bad item is a problem of its own. The good ones are taken, so that they can be judged too.
    pub(super) fn read_list<T>(
        &mut self,
        key: &str,
        target: &mut Vec<T>,
        parse: impl Fn(&Raw<'a>) -> Result<T, String>,
    ) -> bool {
        self.read_all(key, target, |raw| {
            let items = match items(raw) {
                Ok(items) => items,
                Err(text) => return (None, vec![text]),
            };
            let (mut good, mut bad) = (Vec::new(), Vec::new());
            for item in &items {
                match parse(item) {
                    Ok(value) => good.push(value),
                    Err(text) => bad.push(text),
                }
            }
            // Without any good item the list is not empty, but bad.
            (Some(good).filter(|good| !good.is_empty() || bad.is_empty()), bad)
        })
    }

    /// Reads a key with a parser that gives the value, where there is one, and all that is wrong with it.
    fn read_all<T>(&mut self, key: &str, target: &mut T, parse: impl Fn(&Raw<'a>) -> (Option<T>, Vec<String>)) -> bool {
        self.known.insert(key.to_owned());
        let mut set = false;
        for at in self.index.get(key).into_iter().flatten() {
            let entry = &mut self.entries[*at];
            let Some(raw) = &entry.value else { continue };
            entry.read = true;
            set = true;
            let (value, texts) = parse(raw);
            if let Some(value) = value {
                *target = value;
            }
            let problem = |text| Problem { place: entry.place.clone(), key: key.to_owned(), text };
            self.problems.extend(texts.into_iter().map(problem));
        }
        set
    }

    /// Passes over whatever stands in a section; says whether there was anything.
    pub(super) fn skip_section(&mut self, section: &str) -> bool {
        self.known.insert(section.to_owned());
        let within = self.within(section);
        for at in &within {
            self.entries[*at].read = true;
        }
        !within.is_empty()
    }

    /// The sections directly under a key: names of environments.
    pub(super) fn sections_under(&self, key: &str) -> BTreeSet<String> {
        let name = |(under, _): (&String, _)| {
            let rest = under.strip_prefix(key)?.strip_prefix('.')?;
            Some(rest.split_once('.').map_or(rest, |(name, _)| name).to_owned())
        };
        below(&self.index, key).filter_map(name).collect()
    }

    /// Lets a variable reach a section whose name has a `-`, which no variable's name can have.
    pub(super) fn rename_variables(&mut self, from: &str, to: &str) {
        let is_variable = |at: &usize| matches!(self.entries[*at].place, Place::Variable(_));
        let named: Vec<usize> = self.within(from).into_iter().filter(is_variable).collect();
        for at in &named {
            self.entries[*at].key.replace_range(..from.len(), to);
        }
        if !named.is_empty() {
            self.make_index();
        }
    }

    /// How many tables an array of them has: `app` for `[[app]]`.
    pub(super) fn tables(&self, key: &str) -> usize {
        (0..).take_while(|at| self.index.contains_key(&format!("{key}[{at}]"))).count()
    }

    /// A problem with a key, at the place that its value came from.
    pub(super) fn refuse(&mut self, key: &str, text: impl Into<String>) {
        if let Some(place) = self.place(key) {
            self.problem(place, key, text.into());
        }
    }

    /// A problem with what a key lacks. Part of a file says nothing about what stands in the rest.
    pub(super) fn refuse_lack(&mut self, key: &str, text: impl Into<String>) {
        if self.whole {
            self.refuse(key, text);
        }
    }

    /// A warning about a key, at the place that its value came from.
    pub(super) fn warn(&mut self, key: &str, text: impl Into<String>) {
        if let Some(place) = self.place(key) {
            self.warnings.push(Warning(Problem { place, key: key.to_owned(), text: text.into() }));
        }
    }

    /// A warning about what a key lacks. Part of a file says nothing about what stands in the rest.
    pub(super) fn warn_lack(&mut self, key: &str, text: impl Into<String>) {
        if self.whole {
            self.warn(key, text);
        }
    }

    /// A path as the file means it: a relative one starts at the file's directory.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        match path.starts_with("$CREDENTIALS_DIRECTORY") {
            true => path.to_owned(),
            false => self.base.join(path),
        }
    }

    /// What came of it, once every key was read: warnings alone, or with all problems.
    pub(super) fn finish(mut self) -> Result<Vec<Warning>, Refused> {
        let mut shapes = Shapes::of(&self.known);
        let mut unknown: Vec<(Place, String, String)> = Vec::new();
        let mut sections = BTreeSet::new();
        for entry in self.entries.iter().filter(|entry| !entry.read && !self.leads_to_known(&entry.key)) {
            // A key in an unknown section is not worth a line of its own.
            if !prefixes(&entry.key).any(|section| sections.contains(section)) {
                sections.insert(&*entry.key);
                unknown.push((entry.place.clone(), entry.key.clone(), self.suggest(&entry.key, &mut shapes)));
            }
        }
        for entry in self.entries.iter().filter(|entry| entry.value.is_some() && self.leads_to_known(&entry.key)) {
            unknown.push((entry.place.clone(), entry.key.clone(), "is a section, not a key".to_owned()));
        }
        // Below a broken line, a key may seem to stand in another section than it does.
        unknown.retain(|(place, _, _)| self.whole || matches!(place, Place::Variable(_)));
        for (place, key, text) in unknown {
            self.problem(place, &key, text);
        }
        self.problems.sort_by_key(Problem::order);
        self.warnings.sort_by_key(|warning| warning.0.order());
        match self.problems.is_empty() {
            true => Ok(self.warnings),
            false => Err(Refused { problems: self.problems, warnings: self.warnings }),
        }
    }

    /// The known keys that were not set.
    #[cfg(test)]
    pub(super) fn unset(&self) -> impl Iterator<Item = &str> {
        let is_set = |key: &str| self.index.contains_key(key);
        self.known.iter().map(String::as_str).filter(move |key| !is_set(key))
    }

    fn problem(&mut self, place: Place, key: &str, text: String) {
        self.problems.push(Problem { place, key: key.to_owned(), text });
    }

    /// The value that counts is the last; a section stands where it begins.
    fn place(&self, key: &str) -> Option<Place> {
        let exact = self.index.get(key).and_then(|entries| entries.last()).copied();
        let at = exact.or_else(|| self.within(key).into_iter().next())?;
        Some(self.entries[at].place.clone())
    }

    /// The entries that are this section or stand in it, in their order.
    fn within(&self, section: &str) -> Vec<usize> {
        let exact = self.index.get(section).into_iter();
        let mut found: Vec<usize> =
            exact.chain(below(&self.index, section).map(|(_, entries)| entries)).flatten().copied().collect();
        found.sort_unstable();
        found
    }

    /// Whether known keys stand under this one, so that it is a section.
    fn leads_to_known(&self, key: &str) -> bool {
        let under = format!("{key}.");
        self.known.range(under.clone()..).next().is_some_and(|known| known.starts_with(&under))
    }

    fn suggest(&self, key: &str, shapes: &mut Shapes<'_>) -> String {
        if self.known.contains(key) {
            return "is a key, not a section".to_owned();
        }
        match shapes.like(key) {
            Some(known) => format!("is not known; did you mean `{known}`?"),
            None => "is not known".to_owned(),
        }
    }
}

/// Appends each entry with its span, from the start of its key to the end of its value.
fn flatten<'a>(
    table: DeTable<'a>,
    prefix: &str,
    entries: &mut Vec<(Entry<'a>, Range<usize>)>,
    place: &impl Fn(usize) -> Place,
) {
    let entry = |key: &str, value, span: Range<usize>| {
        (Entry { key: key.to_owned(), value, place: place(span.start), read: false }, span)
    };
    for (name, value) in table {
        let span = name.span().start..value.span().end;
        let key =
            if prefix.is_empty() { name.into_inner().into_owned() } else { format!("{prefix}.{}", name.get_ref()) };
        match value.into_inner() {
            DeValue::Table(table) => {
                entries.push(entry(&key, None, span));
                flatten(table, &key, entries, place);
            }
            DeValue::Array(array) if !array.is_empty() && array.iter().all(|item| item.get_ref().is_table()) => {
                for (at, table) in array.into_iter().enumerate() {
                    let key = format!("{key}[{at}]");
                    entries.push(entry(&key, None, table.span()));
                    if let DeValue::Table(table) = table.into_inner() {
                        flatten(table, &key, entries, place);
                    }
                }
            }
            value => entries.push(entry(&key, Some(Raw::Toml(value)), span)),
        }
    }
}

/// The keys that stand in a section.
fn below<'a>(
    index: &'a BTreeMap<String, Vec<usize>>,
    section: &str,
) -> impl Iterator<Item = (&'a String, &'a Vec<usize>)> {
    let under = format!("{section}.");
    index.range(under.clone()..).take_while(move |(key, _)| key.starts_with(&under))
}

/// A key and the sections that it stands in.
fn prefixes(key: &str) -> impl Iterator<Item = &str> {
    key.match_indices('.').map(|(at, _)| &key[..at]).chain([key])
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// The line of an offset, from 1.
    fn number(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}
