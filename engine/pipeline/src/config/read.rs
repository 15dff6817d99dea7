//! Tables of a TOML document, read key by key, with everything that is wrong with them.
//!
//! Guarantees: a name that was asked for is known, every other one is refused with the nearest known;
//! nothing that a file contains reaches a message unescaped or at full length. Does not: know any key or
//! stop at the first problem.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, Problem};

/// Characters of a value or a name that a message shows.
const MAX_SHOWN_CHARS: usize = 60;
/// Similarity from which a name is worth asking about.
const NEAR: f64 = 0.8;

/// The text and what is wrong with it.
pub(super) struct Source<'d> {
    text: &'d str,
    line_starts: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
    unknown: RefCell<Vec<Unknown>>,
    /// Names asked for, by the shape of their table.
    known: RefCell<BTreeMap<String, Vec<&'static str>>>,
}

struct Unknown {
    path: String,
    /// Of the table that it stands in.
    shape: String,
    name: String,
    at: usize,
    is_table: bool,
}

impl<'d> Source<'d> {
    pub(super) fn new(text: &'d str) -> Self {
        let line_starts = std::iter::once(0)
            .chain(
                text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1),
            )
            .collect();
        Self {
            text,
            line_starts,
            problems: RefCell::default(),
            unknown: RefCell::default(),
            known: RefCell::default(),
        }
    }

    /// The document's root, or what is wrong with its syntax.
    pub(super) fn parse(&self) -> Option<Spanned<DeTable<'d>>> {
        match DeTable::parse(self.text) {
            Ok(root) => Some(root),
            Err(error) => {
                let message = error.message().lines().collect::<Vec<_>>().join(", ");
                self.refuse_at(error.span().map_or(self.text.len(), |span| span.start), message);
                None
            }
        }
    }

    /// Line and column of a byte, from 1.
    fn place(&self, at: usize) -> (usize, usize) {
        let at = (0..=at.min(self.text.len()))
            .rev()
            .find(|&at| self.text.is_char_boundary(at))
            .unwrap_or_default();
        let line = self.line_starts.partition_point(|&start| start <= at);
        (line, self.text[self.line_starts[line - 1]..at].chars().count() + 1)
    }

    /// A problem of a name or of the syntax.
    pub(super) fn refuse_at(&self, at: usize, message: String) {
        let (line, column) = self.place(at);
        self.push(Problem { line: Some(line), column: Some(column), message });
    }

    fn refuse_value(&self, at: Option<usize>, message: String) {
        self.push(Problem { line: at.map(|at| self.place(at).0), column: None, message });
    }

    fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    fn shown(&self, span: Range<usize>) -> String {
        shown(self.text.get(span).unwrap_or_default())
    }

    /// `value`, if nothing is wrong with it.
    pub(super) fn finish<T>(self, name: &str, value: Option<T>) -> Result<T, ConfigError> {
        let known = self.known.borrow();
        for Unknown { path, shape, name, at, is_table } in self.unknown.borrow().iter() {
            let noun = if *is_table { "table" } else { "key" };
            let hint = hint(&known, shape, name);
            self.refuse_at(*at, format!("{path}: unknown {noun}, {hint}"));
        }
        drop(known);
        let mut problems = self.problems.into_inner();
        // What has no place comes last.
        problems.sort_by_key(|problem| (problem.line.is_none(), problem.line, problem.column));
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => Err(ConfigError::Refused { name: name.to_owned(), problems }),
        }
    }
}

/// What the writer of an unknown name may have meant.
fn hint(known: &BTreeMap<String, Vec<&'static str>>, table: &str, name: &str) -> String {
    let names = known.get(table).map_or(&[][..], Vec::as_slice);
    if let Some(nearest) = nearest(names, name) {
        return format!("did you mean `{nearest}`?");
    }
    let elsewhere = known.iter().find(|(_, names)| names.contains(&name));
    if let Some((table, _)) = elsewhere {
        return if table.is_empty() {
            format!("[{name}] is a table of its own")
        } else {
            format!("it belongs to [{table}]")
        };
    }
    format!("known here: {}", names.join(", "))
}

/// The name most like the one given, if one is like it.
pub(super) fn nearest<'n>(names: &[&'n str], name: &str) -> Option<&'n str> {
    // Bounded: the comparison is quadratic, and a name may be as long as the file.
    let name: String = name.chars().take(MAX_SHOWN_CHARS).collect();
    let likeness = |known: &str| {
        let letters = strsim::jaro_winkler(known, &name);
        let contained = name.len() > 2 && (known.contains(&name) || name.contains(known));
        let shared =
            name.split('_').filter(|word| known.split('_').any(|other| other == *word)).count();
        // Most words shared, such as `ring_capacity_bytes` for `raw_ring_bytes`.
        let words = 5 * shared >= 3 * name.split('_').count().max(known.split('_').count());
        if contained || words { letters.max(0.9) } else { letters }
    };
    // Of equals the first, as the file has them.
    names
        .iter()
        .rev()
        .map(|&known| (known, likeness(known)))
        .filter(|&(_, likeness)| likeness >= NEAR)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(known, _)| known)
}

/// One table. What it is asked for and lacks has the value given as absent.
pub(super) struct Section<'s, 'd> {
    source: &'s Source<'d>,
    path: String,
    /// Where its names are known: tables of symbols share theirs.
    shape: String,
    /// Of its header.
    at: Option<usize>,
    table: Option<&'s DeTable<'d>>,
    asked: Vec<&'static str>,
    sound: bool,
}

impl<'s, 'd> Section<'s, 'd> {
    pub(super) fn root(source: &'s Source<'d>, table: &'s DeTable<'d>) -> Self {
        let (path, shape) = (String::new(), String::new());
        Self { source, path, shape, at: None, table: Some(table), asked: Vec::new(), sound: true }
    }

    /// The table of that name in this one.
    pub(super) fn section(&mut self, name: &'static str) -> Section<'s, 'd> {
        self.asked.push(name);
        let found = self.table.and_then(|table| table.get_key_value(name));
        self.child(name, join(&self.shape, name), found)
    }

    /// Every table in this one, whose names are values themselves.
    pub(super) fn sections(&self, shape: &str) -> Vec<(String, Section<'s, 'd>)> {
        let entries = self.table.into_iter().flat_map(|table| table.iter());
        entries
            .map(|(key, value)| {
                let name = key.get_ref().to_string();
                let section = self.child(&name, join(&self.shape, shape), Some((key, value)));
                (name, section)
            })
            .collect()
    }

    fn child(
        &self,
        name: &str,
        shape: String,
        found: Option<(&'s Key<'d>, &'s Spanned<DeValue<'d>>)>,
    ) -> Section<'s, 'd> {
        let path = join(&self.path, name);
        let at = found.map(|(key, _)| key.span().start);
        let table = found.and_then(|(_, value)| value.get_ref().as_table());
        if let (Some((_, value)), None) = (found, table) {
            let value = self.source.shown(value.span());
            self.source.refuse_value(at, format!("{path} = {value}: must be a table, [{path}]"));
        }
        let sound = found.is_some() == table.is_some();
        Section { source: self.source, path, shape, at, table, asked: Vec::new(), sound }
    }

    fn find(&self, name: &str) -> Option<(&'s Key<'d>, &'s Spanned<DeValue<'d>>)> {
        self.table?.get_key_value(name)
    }

    /// Whether the table has that key.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The value of a key, by its rule; `absent` where it is not written, which is a problem where there is
    /// none. After a problem the value is a placeholder, and [`Self::is_sound`] false.
    pub(super) fn get<T: Default>(
        &mut self,
        name: &'static str,
        absent: Option<T>,
        rule: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> T {
        self.asked.push(name);
        let value = match self.find(name) {
            Some((_, value)) => rule(value.get_ref()).map_err(|rule| self.refuse(name, &rule)).ok(),
            None => absent.or_else(|| {
                self.refuse(name, "missing, and it has no default");
                None
            }),
        };
        value.unwrap_or_default()
    }

    /// A problem with a key's value, or with its absence.
    pub(super) fn refuse(&mut self, name: &str, rule: &str) {
        self.sound = false;
        let path = join(&self.path, name);
        match self.find(name) {
            Some((key, value)) => {
                let value = self.source.shown(value.span());
                self.source
                    .refuse_value(Some(key.span().start), format!("{path} = {value}: {rule}"));
            }
            None => self.source.refuse_value(self.at, format!("{path}: {rule}")),
        }
    }

    /// A problem with the table's own name, or its absence.
    pub(super) fn refuse_name(&mut self, rule: &str) {
        self.sound = false;
        let message = format!("{}: {rule}", self.path);
        match self.at {
            Some(at) => self.source.refuse_at(at, message),
            None => self.source.refuse_value(None, message),
        }
    }

    /// Whether nothing is wrong with its values so far: rules that join several wait for that.
    pub(super) fn is_sound(&self) -> bool {
        self.sound
    }

    /// Refuses every key that was not asked for.
    pub(super) fn finish(self) {
        for (key, value) in self.table.into_iter().flat_map(|table| table.iter()) {
            if !self.asked.contains(&key.get_ref().as_ref()) {
                self.source.unknown.borrow_mut().push(Unknown {
                    path: join(&self.path, key.get_ref()),
                    shape: self.shape.clone(),
                    name: key.get_ref().to_string(),
                    at: key.span().start,
                    is_table: value.get_ref().is_table(),
                });
            }
        }
        self.source.known.borrow_mut().insert(self.shape, self.asked);
    }
}

type Key<'d> = Spanned<toml::de::DeString<'d>>;

fn join(path: &str, name: &str) -> String {
    let name = key_text(name);
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// A key as a message shows it.
fn key_text(name: &str) -> String {
    let bare = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if bare && name.len() <= MAX_SHOWN_CHARS {
        name.to_owned()
    } else {
        format!("\"{}\"", shown(name))
    }
}

/// One line of a text, escaped and cut.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == MAX_SHOWN_CHARS {
            shown.push('…');
            break;
        }
        // Quotes and backslashes stay as the file has them.
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}
