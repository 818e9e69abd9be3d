//! The original's file format: sections, `key = value`, comments after `;` and `#`.

use std::fmt;
use std::str::FromStr;

use super::ImportError;

/// A file as it was read. What has been understood is taken out of it; what is left needs an explanation.
pub(super) struct Ini {
    /// Its name in messages.
    pub(super) file: String,
    sections: Vec<Section>,
}

/// `[name]` and its keys.
pub(super) struct Section {
    file: String,
    pub(super) name: String,
    /// Where it begins.
    pub(super) line: usize,
    pub(super) entries: Vec<Entry>,
}

/// `key = value`, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    file: String,
    line: usize,
    section: String,
    pub(super) key: String,
    pub(super) value: String,
    /// What stands after the first semicolon behind the value.
    pub(super) comment: String,
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        // A secret stays where it is.
        let value = if self.key == "auth_key" { "..." } else { &self.value };
        write!(out, "{}:{}: [{}] {} = {value}", self.file, self.line, self.section, self.key)
    }
}

impl Ini {
    /// Reads a file as the original does: names in any case, the last of two equal keys counts.
    pub(super) fn parse(text: &str, file: &str) -> Result<Self, ImportError> {
        let mut sections: Vec<Section> = Vec::new();
        let mut current = None;
        for (line, whole) in (1..).zip(text.lines()) {
            let (content, comment) = split_comment(whole);
            let wrong = |problem: &str| ImportError {
                message: format!(
                    "{file}:{line}: {content}: {problem}; allowed: [section], key = value, ; comment"
                ),
            };
            if content.is_empty() {
                continue;
            }
            if let Some(name) = content.strip_prefix('[') {
                let name =
                    name.strip_suffix(']').ok_or_else(|| wrong("the section has no closing bracket"))?;
                let name = name.trim().to_ascii_lowercase();
                let known = sections.iter().position(|section| section.name == name);
                current = known.or(Some(sections.len()));
                if known.is_none() {
                    sections.push(Section { file: file.to_owned(), name, line, entries: Vec::new() });
                }
                continue;
            }
            let (key, value) = content.split_once('=').ok_or_else(|| wrong("neither a section nor a key"))?;
            let section = current.and_then(|current| sections.get_mut(current));
            let section = section.ok_or_else(|| wrong("a key before the first section"))?;
            let key = key.trim().to_ascii_lowercase();
            section.entries.retain(|entry| entry.key != key);
            section.entries.push(Entry {
                file: file.to_owned(),
                line,
                section: section.name.clone(),
                key,
                value: value.trim().trim_matches(['"', '\'']).trim().to_owned(),
                comment: comment.trim().to_owned(),
            });
        }
        Ok(Self { file: file.to_owned(), sections })
    }

    /// Takes a section out; `None` if there is none.
    pub(super) fn take(&mut self, name: &str) -> Option<Section> {
        let index = self.sections.iter().position(|section| section.name == name)?;
        Some(self.sections.remove(index))
    }

    /// Takes a section out that has to be there.
    pub(super) fn require(&mut self, name: &str, why: &str) -> Result<Section, ImportError> {
        let message = format!("{}: [{name}]: missing; allowed: {why}", self.file);
        self.take(name).ok_or(ImportError { message })
    }

    /// The sections nobody took.
    pub(super) fn rest(self) -> impl Iterator<Item = Section> {
        self.sections.into_iter()
    }
}

impl Section {
    /// Where it begins, for messages.
    pub(super) fn place(&self) -> String {
        format!("{}:{}: [{}]", self.file, self.line, self.name)
    }

    /// Takes a key out.
    pub(super) fn take(&mut self, key: &str) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }

    /// Takes out a key with a number from `min` to `max`, and gives it with its entry; `default` if there is none.
    pub(super) fn number(
        &mut self,
        key: &str,
        default: u32,
        range: std::ops::RangeInclusive<u32>,
    ) -> Result<(u32, Option<Entry>), ImportError> {
        let Some(entry) = self.take(key) else { return Ok((default, None)) };
        match number(&entry.value) {
            Some(value) if range.contains(&value) => Ok((value, Some(entry))),
            value => {
                let problem = if value.is_some() { "out of range" } else { "not a whole number" };
                let allowed = format!("{} to {}, decimal or hexadecimal (0x..)", range.start(), range.end());
                Err(entry.refused(problem, &allowed))
            }
        }
    }

    /// The error for a key that has to be there.
    pub(super) fn missing(&self, key: &str, allowed: &str) -> ImportError {
        ImportError { message: format!("{} {key}: missing; allowed: {allowed}", self.place()) }
    }
}

impl Entry {
    /// The error for a value that makes no sense.
    pub(super) fn refused(&self, problem: impl fmt::Display, allowed: &str) -> ImportError {
        ImportError { message: format!("{self}: {problem}; allowed: {allowed}") }
    }

    /// The value as an address or a prefix.
    pub(super) fn parse<T: FromStr>(&self, allowed: &str) -> Result<T, ImportError> {
        self.value.parse().map_err(|_| self.refused("cannot be read", allowed))
    }
}

/// Cuts a line at the first `;` or `#` that no quotation marks enclose.
fn split_comment(line: &str) -> (&str, &str) {
    let mut quote = None;
    let start = line.char_indices().find(|&(_, c)| {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
        quote.is_none() && matches!(c, ';' | '#')
    });
    match start {
        Some((at, _)) => {
            let (content, comment) = line.split_at(at);
            (content.trim(), comment.get(1..).unwrap_or_default())
        }
        None => (line.trim(), ""),
    }
}

/// A number as C reads it: `0x80` is hexadecimal, `010` is octal.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}
