//! Errors that a person can act on: file, line, key, what was found, what is wrong, what is allowed.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::value::EXPECTED;

/// Why a configuration file was refused.
///
/// Displays as one line, `FILE:LINE: KEY = FOUND: WHAT IS WRONG; allowed: WHAT IS ALLOWED`, followed by the
/// line of the file with a mark below the place. The program exits with code 2 after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    message: String,
    /// Where in the text it is, if it is at one place.
    pub(super) at: Option<Range<usize>>,
    /// The key that is missing there, if that is the mistake.
    pub(super) missing: Option<String>,
    /// Its line; 0: it is about the file as a whole.
    pub(super) line: usize,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    fn new(message: String) -> Self {
        Self { message, at: None, missing: None, line: 0 }
    }

    /// The file could not be read at all.
    pub(super) fn unreadable(file: &str, error: &std::io::Error) -> Self {
        Self::new(format!("{file}: cannot be read: {error}; allowed: a file that this user may read"))
    }

    /// The file is not text.
    pub(super) fn not_text(file: &str, error: &std::string::FromUtf8Error) -> Self {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(good).filter(|&&byte| byte == b'\n').count();
        Self::new(format!("{file}:{line}: not text; allowed: TOML in UTF-8"))
    }

    /// What is wrong, without file, line and excerpt.
    pub(super) fn without_place(&self) -> &str {
        let first = self.message.lines().next().unwrap_or_default();
        first.split_once(": ").map_or(first, |(_, rest)| rest)
    }

    /// The same error with lines of advice below the excerpt.
    pub(super) fn with_advice(mut self, advice: &str) -> Self {
        self.message += advice;
        self
    }
}

/// Longest found value that a message repeats, in characters; the line itself is shown below.
const FOUND_MAX: usize = 60;

/// An example for each key that must be given.
const REQUIRED: [(&str, &str); 18] = [
    ("peers", "peers = \"/etc/mpt/peers\", a directory"),
    ("allowed_ips", "allowed_ips = [\"10.8.0.2\"]"),
    ("private_key_file", "private_key_file = \"/etc/mpt/mpt.key\", made by `mpt genkey -o /etc/mpt/mpt.key`"),
    ("tunnel", "[tunnel] with address = [\"10.0.0.1/24\"]"),
    ("address", "address = [\"10.0.0.1/24\"]"),
    ("peer", "peer = [\"10.0.0.2\"]"),
    ("connection.name", "name = \"office\""),
    ("name", "name = \"lte\""),
    ("local", "local = \"172.16.1.10\""),
    ("remote", "remote = \"172.16.1.20\""),
    ("proto", "proto = \"tcp\""),
    ("forward.port", "port = 8443, or \"8000-8010\""),
    ("to", "to = \"192.168.7.0/24\""),
    ("interval_ms", "interval_ms = 25"),
    ("idle_ms", "idle_ms = 100"),
    ("dead_ms", "dead_ms = 125"),
    ("path", "[[connection.path]]"),
    ("run", "run = [\"/usr/local/bin/tell\", \"--short\"]"),
];

/// The key that names the file with our private key.
pub(super) const PRIVATE_KEY_FILE: &str = "private_key_file";
/// The key that names the file with a pre-shared key.
pub(super) const PRESHARED_KEY_FILE: &str = "preshared_key_file";
/// Both. Without `_file` they might be followed by the secret itself.
const FILES_OF_SECRETS: [&str; 2] = [PRIVATE_KEY_FILE, PRESHARED_KEY_FILE];

/// A key and its value, as places in the text.
struct Place {
    /// With its tables: `connection.path.weight`.
    key: String,
    /// `None`: a table.
    value: Option<Range<usize>>,
}

/// The text of a file, for errors and warnings that quote it.
pub(super) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    root: DeTable<'a>,
    /// Whether the file is of another machine: the files that it names are not here.
    pub(super) is_elsewhere: bool,
    /// Where lines begin that the file does not have, in ascending order.
    added: &'a [usize],
}

impl<'a> Source<'a> {
    /// Reads the text as TOML, whatever its keys.
    pub(super) fn new(text: &'a str, file: &'a str) -> Result<Self, ConfigError> {
        Self::of_edited(text, file, false, &[])
    }

    /// The same for a text that has lines which the file does not have, beginning at `added`.
    pub(super) fn of_edited(
        text: &'a str,
        file: &'a str,
        is_elsewhere: bool,
        added: &'a [usize],
    ) -> Result<Self, ConfigError> {
        let source = |root| Self { file, text, root, is_elsewhere, added };
        match DeTable::parse(text) {
            Ok(root) => Ok(source(root.into_inner())),
            Err(error) => Err(source(DeTable::new()).refused(&error)),
        }
    }

    /// The innermost key at a place: its tables and name, and the place of its value unless it is a table.
    #[cfg(feature = "program")]
    pub(super) fn key_at(&self, at: &Range<usize>) -> Option<(String, Option<Range<usize>>)> {
        find(&self.root, at, "").map(|place| (place.key, place.value))
    }

    /// Where the names of paths stand, as `CONNECTION/PATH` and lines.
    #[cfg(feature = "program")]
    pub(super) fn path_lines(&self) -> Vec<(String, usize)> {
        let tables = |table: &DeTable<'a>, key: &str| -> Vec<DeTable<'a>> {
            let list = table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value.get_ref());
            let list = list.and_then(DeValue::as_array).into_iter().flatten();
            list.filter_map(|element| element.get_ref().as_table().cloned()).collect()
        };
        let name = |table: &DeTable<'a>| {
            let (_, value) = table.iter().find(|(name, _)| name.get_ref() == "name")?;
            Some((value.get_ref().as_str()?.to_owned(), self.line(&value.span())))
        };
        let mut lines = Vec::new();
        for connection in tables(&self.root, "connection") {
            let Some((of, _)) = name(&connection) else { continue };
            let paths = tables(&connection, "path");
            lines.extend(paths.iter().filter_map(name).map(|(path, line)| (format!("{of}/{path}"), line)));
        }
        lines
    }

    /// The line at a place, from 1.
    pub(super) fn line(&self, at: &Range<usize>) -> usize {
        let added = self.added.iter().filter(|&&begins| begins < at.start).count();
        1 + self.text.bytes().take(at.start).filter(|&byte| byte == b'\n').count() - added
    }

    /// A place, for the message about another one.
    pub(super) fn place(&self, at: &Range<usize>) -> String {
        format!("line {}", self.line(at))
    }

    /// The same for a message about another file.
    pub(super) fn full_place(&self, at: &Range<usize>) -> String {
        format!("{} {}", self.file, self.place(at))
    }

    /// An error at a place that has been read well but cannot be meant.
    pub(super) fn error(&self, at: &Range<usize>, problem: impl fmt::Display, allowed: &str) -> ConfigError {
        let mut message = format!("{}: {problem}; allowed: {allowed}", self.heading(at));
        self.excerpt(at, &mut message);
        ConfigError { at: Some(at.clone()), line: self.line(at), ..ConfigError::new(message) }
    }

    /// An error about the file as a whole.
    pub(super) fn error_in_file(&self, problem: &str, allowed: &str) -> ConfigError {
        ConfigError::new(format!("{}: {problem}; allowed: {allowed}", self.file))
    }

    /// A warning about a place: one line.
    pub(super) fn warning(&self, at: &Range<usize>, problem: impl fmt::Display) -> String {
        format!("{}: {problem}", self.heading(at))
    }

    /// A warning about the file as a whole: one line.
    pub(super) fn warning_in_file(&self, problem: &str) -> String {
        format!("{}: {problem}", self.file)
    }

    /// A file that a value names: relative to the directory of the configuration file.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        Path::new(self.file).parent().unwrap_or(Path::new("")).join(name)
    }

    /// The error for what the TOML reader or serde refused.
    pub(super) fn refused(&self, error: &toml::de::Error) -> ConfigError {
        let message = error.message();
        if let Some(key) = between_backticks(message, "missing field ") {
            return self.missing(key, error.span());
        }
        let (problem, expected) = message.split_once(EXPECTED).unwrap_or((message, ""));
        if let Some(key) = between_backticks(problem, "unknown field ") {
            if let Some(file) = FILES_OF_SECRETS.iter().find(|file| file.strip_suffix("_file") == Some(key)) {
                return self.secret(key, file, error.span().as_ref());
            }
            let keys: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            let hint = match closest(key, &keys) {
                Some(near) => format!(", did you mean `{near}`?"),
                // In TOML it belongs to the table above it.
                None if key == "security" => " in this table: it stands above the first one".to_owned(),
                None => String::new(),
            };
            return self.error_or_first_line(error.span(), &format!("unknown key{hint}"), &keys.join(", "));
        }
        // A number too large for serde's own integers is no other type to the reader of the message.
        let too_large = problem.starts_with("invalid type: integer") && expected.contains("a whole number");
        let problem = if problem.starts_with("invalid type") && !too_large {
            "wrong type"
        } else if problem.starts_with("invalid value: string") {
            "unknown word"
        } else if too_large || problem.starts_with("invalid value") {
            "out of range"
        } else {
            problem
        };
        let allowed = match expected {
            "" if problem == "duplicate key" => {
                "each key once in its table; several tables of one name as [[..]]".to_owned()
            }
            // An address or a word without quotes.
            "nothing" | "literal string" if problem != "extra `=`" => {
                "text in quotes, a number, true or false".to_owned()
            }
            "" => "TOML (https://toml.io) as docs/configuration.md describes it".to_owned(),
            "a boolean" => "true or false".to_owned(),
            "a sequence" => "a list: [..] of values, [[..]] of tables".to_owned(),
            words => words.to_owned(),
        };
        self.error_or_first_line(error.span(), problem, &allowed)
    }

    /// A secret in the configuration itself: the message goes to a log, and repeats nothing of it.
    fn secret(&self, key: &str, file: &str, at: Option<&Range<usize>>) -> ConfigError {
        let line = at.map_or(1, |at| self.line(at));
        let message = format!(
            "{}:{line}: {key}: a secret does not belong into the configuration; allowed: {file} = \"..\", a file that \
             only its owner may read",
            self.file
        );
        ConfigError { at: at.cloned(), line, ..ConfigError::new(message) }
    }

    /// The same, as the value of a key that is for something else.
    pub(super) fn secret_at(&self, at: &Range<usize>, file: &str) -> ConfigError {
        let key = find(&self.root, at, "").map(|place| place.key);
        self.secret(key.as_deref().unwrap_or(file), file, Some(at))
    }

    fn error_or_first_line(&self, at: Option<Range<usize>>, problem: &str, allowed: &str) -> ConfigError {
        match at {
            Some(at) => self.error(&at, problem, allowed),
            None => self.error_in_file(problem, allowed),
        }
    }

    fn missing(&self, key: &str, at: Option<Range<usize>>) -> ConfigError {
        let table = at.as_ref().and_then(|at| find(&self.root, at, "")).map(|place| place.key);
        let full = table.map_or(key.to_owned(), |table| format!("{table}.{key}"));
        let example = REQUIRED.iter().find(|(required, _)| *required == full || *required == key);
        let example = example.map_or(key, |(_, example)| example);
        let line = at.as_ref().map_or(1, |at| self.line(at));
        let mut message = format!("{}:{line}: {full}: missing; allowed: for example {example}", self.file);
        let at = at.filter(|at| at.start > 0 || at.end < self.text.len());
        if let Some(at) = &at {
            self.excerpt(at, &mut message);
        }
        ConfigError { message, at, missing: Some(key.to_owned()), line }
    }

    /// `FILE:LINE: KEY = FOUND`
    fn heading(&self, at: &Range<usize>) -> String {
        let mut heading = format!("{}:{}", self.file, self.line(at));
        if self.root.is_empty() {
            // The text is not TOML, so it has no keys; the line has to do.
            let _ = write!(heading, ": {}", shorten(self.line_at(at).trim()));
        } else if let Some(place) = find(&self.root, at, "") {
            let _ = write!(heading, ": {}", place.key);
            let exact =
                self.text.get(at.clone()).filter(|_| place.value.as_ref().is_some_and(|v| encloses(v, at)));
            if let Some(found) = exact.or_else(|| self.text.get(place.value?)) {
                let _ = write!(heading, " = {}", shorten(found));
            }
        }
        heading
    }

    fn line_start(&self, at: &Range<usize>) -> usize {
        self.text.get(..at.start).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1)
    }

    fn line_at(&self, at: &Range<usize>) -> &str {
        self.text.get(self.line_start(at)..).and_then(|rest| rest.lines().next()).unwrap_or_default()
    }

    /// The line of the file, and below it a mark.
    fn excerpt(&self, at: &Range<usize>, message: &mut String) {
        let content = self.line_at(at);
        let before = self.text.get(self.line_start(at)..at.start).unwrap_or_default();
        let marked = content.get(before.len()..).unwrap_or_default();
        let marked = marked.get(..at.len()).unwrap_or(marked);
        // A tab stays a tab, so that the mark stands below its place whatever the tab's width.
        let indent: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let number = self.line(at).to_string();
        let gutter = " ".repeat(number.len());
        let mark = "^".repeat(marked.chars().count().max(1));
        let _ = write!(message, "\n {number} | {content}\n {gutter} | {indent}{mark}");
    }
}

/// The innermost key whose name or value is at a place.
fn find(table: &DeTable, at: &Range<usize>, tables: &str) -> Option<Place> {
    for (key, value) in table {
        let name = key.get_ref();
        let name = if tables.is_empty() { name.to_string() } else { format!("{tables}.{name}") };
        let inside = match value.get_ref() {
            DeValue::Table(inner) => find(inner, at, &name),
            DeValue::Array(elements) => elements.iter().find_map(|element| match element.get_ref() {
                DeValue::Table(inner) => find(inner, at, &name).or_else(|| {
                    encloses(&element.span(), at).then(|| Place { key: name.clone(), value: None })
                }),
                _ => None,
            }),
            _ => None,
        };
        if inside.is_some() {
            return inside;
        }
        if encloses(&key.span(), at) || encloses(&value.span(), at) {
            let is_table = matches!(value.get_ref(), DeValue::Table(_));
            let value = (!is_table).then(|| value.span());
            return Some(Place { key: name, value });
        }
    }
    None
}

/// The first line of a value, as far as a message repeats it.
fn shorten(found: &str) -> String {
    let short: String = found.lines().next().unwrap_or_default().chars().take(FOUND_MAX).collect();
    if short.len() < found.len() { format!("{short} ...") } else { short }
}

fn encloses(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// The word between backticks after `prefix`.
fn between_backticks<'m>(message: &'m str, prefix: &str) -> Option<&'m str> {
    message.strip_prefix(prefix)?.strip_prefix('`')?.split('`').next()
}

/// The key that was probably meant: at most two letters away, and fewer than half of it.
fn closest<'k>(found: &str, keys: &[&'k str]) -> Option<&'k str> {
    let (distance, key) = keys.iter().map(|&key| (edit_distance(found, key), key)).min()?;
    (distance <= 2 && 2 * distance < key.len()).then_some(key)
}

/// How many letters have to be changed, added or taken away to make `b` of `a`.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let changed = diagonal + usize::from(from != to);
            diagonal = *cell;
            left = changed.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}
