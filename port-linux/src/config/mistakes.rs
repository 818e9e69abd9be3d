//! All mistakes of a file, as far as reading can go on: each is put right in a copy of the text, which is read again.
//!
//! A key that may be left out is removed; one that must be there gets a value that is in nobody's way. Reading ends where a mistake
//! follows from one before, or cannot be put right without guessing.

use std::collections::HashSet;
use std::ops::Range;

use super::error::{ConfigError, Source};
use super::{Config, check};

/// Nobody reads more of them at once.
const MOST: usize = 50;

/// What reading a file brought.
#[derive(Debug)]
pub struct Mistakes {
    /// The configuration, if the file has no mistake.
    pub config: Option<Config>,
    /// What is wrong, in the order of the lines.
    pub errors: Vec<ConfigError>,
    /// Whether there may be more.
    pub may_be_more: bool,
}

impl Mistakes {
    /// Looks for all mistakes in `text`; `file` is the name that messages begin with. With `is_elsewhere`, files that it names are not read.
    pub fn find(text: &str, file: &str, is_elsewhere: bool) -> Self {
        let mut edited =
            Edited { text: text.to_owned(), added: Vec::new(), mended: HashSet::new(), is_elsewhere };
        let mut errors: Vec<ConfigError> = Vec::new();
        loop {
            let error = match edited.read(file) {
                Ok(config) => {
                    let config = errors.is_empty().then_some(config);
                    errors.sort_by_key(|error| error.line);
                    return Self { config, errors, may_be_more: false };
                }
                Err(error) => error,
            };
            let next = edited.mend(&error, file);
            // What follows from another mistake says nothing new.
            if next != Next::Follows || errors.is_empty() {
                errors.push(error);
            }
            if next != Next::GoOn || errors.len() >= MOST {
                errors.sort_by_key(|error| error.line);
                return Self { config: None, errors, may_be_more: true };
            }
        }
    }
}

/// The lines where the names of a file's paths stand, by `CONNECTION/PATH`.
pub fn path_lines(text: &str, file: &str) -> Vec<(String, usize)> {
    Source::new(text, file).map(|source| source.path_lines()).unwrap_or_default()
}

#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    /// The mistake follows from one that was put right.
    Follows,
    /// It cannot be put right.
    Stop,
}

/// The text as it would be without the mistakes.
struct Edited {
    text: String,
    /// Where lines begin that the file does not have.
    added: Vec<usize>,
    /// Keys that were put right, by their line in the text and name.
    mended: HashSet<(usize, String)>,
    is_elsewhere: bool,
}

impl Edited {
    fn read(&self, file: &str) -> Result<Config, ConfigError> {
        let source = Source::of_edited(&self.text, file, self.is_elsewhere, &self.added)?;
        let tables = toml::from_str(&self.text).map_err(|error| source.refused(&error))?;
        check::config(tables, &source)
    }

    /// Puts a mistake right.
    fn mend(&mut self, error: &ConfigError, file: &str) -> Next {
        let Some(at) = &error.at else { return Next::Stop };
        let Ok(source) = Source::of_edited(&self.text, file, self.is_elsewhere, &self.added) else {
            return self.mend_syntax(at);
        };
        if let Some(key) = &error.missing {
            return self.add(key.rsplit('.').next().unwrap_or(key), at);
        }
        let Some((key, Some(value))) = source.key_at(at) else { return Next::Stop };
        let name = key.rsplit('.').next().unwrap_or(&key).to_owned();
        if !self.mended.insert((self.line(&value), name.clone())) {
            return Next::Follows;
        }
        if name.ends_with("_key_file") && !self.is_elsewhere {
            // The others may not be there, either.
            self.is_elsewhere = true;
            return Next::GoOn;
        }
        match self.sample(&name, &value) {
            Some(sample) => self.replace(&value, &sample),
            None => {
                let begins = self
                    .text
                    .get(..value.start)
                    .and_then(|before| before.rfind('\n'))
                    .map_or(0, |end| end + 1);
                self.replace(&(begins..value.end), "");
            }
        }
        Next::GoOn
    }

    /// A line that is no TOML is left out, unless that may change what the lines below mean.
    fn mend_syntax(&mut self, at: &Range<usize>) -> Next {
        let begins = self.text.get(..at.start).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
        let line = self.text.get(begins..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let Some((name, _)) = line.split_once('=').filter(|_| !line.contains("\"\"\"")) else {
            return Next::Stop;
        };
        let name = name.trim().to_owned();
        if name.starts_with('[') || !self.mended.insert((self.line(at), name.clone())) {
            return Next::Stop;
        }
        let mended = self.sample(&name, at).map_or(String::new(), |sample| format!("{name} = {sample}"));
        self.replace(&(begins..begins + line.len()), &mended);
        Next::GoOn
    }

    /// Adds a key that is missing in the table whose head is at this place.
    fn add(&mut self, key: &str, at: &Range<usize>) -> Next {
        let head = self.text.get(at.start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let line = self.line(at);
        let was_removed = self.mended.iter().any(|(_, name)| name == key);
        let Some(sample) = self.sample(key, at).filter(|_| head.starts_with('[') && !was_removed) else {
            return if was_removed { Next::Follows } else { Next::Stop };
        };
        let begins = at.start + head.len() + 1;
        if begins > self.text.len() || !self.mended.insert((line, format!("+{key}"))) {
            return Next::Stop;
        }
        let added = format!("{key} = {sample}\n");
        self.text.insert_str(begins, &added);
        self.added.iter_mut().filter(|place| **place >= begins).for_each(|place| *place += added.len());
        self.added.push(begins);
        self.added.sort_unstable();
        Next::GoOn
    }

    /// A value for a key that must be there, which is in nobody's way; `None`: it may be left out.
    fn sample(&self, key: &str, at: &Range<usize>) -> Option<String> {
        let number = self.mended.len() % 250 + 1;
        let is_v6 = match key {
            "local" => self.has_v6(at, "remote"),
            "remote" => self.has_v6(at, "local"),
            _ => false,
        };
        Some(match key {
            "name" => format!("\"mistake{number}\""),
            "address" => "[\"198.18.255.1/24\"]".to_owned(),
            "peer" => format!("[\"198.18.255.{}\"]", number.max(2)),
            "local" if is_v6 => format!("\"2001:db8:ff::{number:x}\""),
            "remote" if is_v6 => format!("\"2001:db8:fe::{number:x}\""),
            "local" => format!("\"198.18.254.{number}\""),
            "remote" => format!("\"198.18.253.{number}\""),
            "public_key" => {
                format!("\"{}\"", crate::keys::encode(&[u8::try_from(number).unwrap_or(1); 32]).as_str())
            }
            "to" => format!("\"198.19.{number}.0/24\""),
            _ => return None,
        })
    }

    /// Whether another key of the table at this place has an address of IPv6.
    fn has_v6(&self, at: &Range<usize>, key: &str) -> bool {
        let before = self.text.get(..at.start).unwrap_or_default();
        let begins = before.rfind("\n[").unwrap_or(0);
        let rest = self.text.get(begins + 1..).unwrap_or_default();
        let table = rest.find("\n[").and_then(|end| rest.get(..end)).unwrap_or(rest);
        let mut values = table.lines().filter_map(|line| line.split_once('='));
        values.any(|(name, value)| name.trim() == key && value.contains(':'))
    }

    /// Lines stay where they are.
    fn replace(&mut self, at: &Range<usize>, with: &str) {
        let Some(old) = self.text.get(at.clone()) else { return };
        let mut new = with.to_owned();
        new.extend(old.chars().filter(|letter| *letter == '\n'));
        let (before, after) = (at.len(), new.len());
        for place in self.added.iter_mut().filter(|place| **place > at.start) {
            *place = *place + after - before;
        }
        self.text.replace_range(at.clone(), &new);
    }

    fn line(&self, at: &Range<usize>) -> usize {
        self.text.bytes().take(at.start).filter(|&byte| byte == b'\n').count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> (Vec<usize>, bool) {
        let mistakes = Mistakes::find(text, "mpt.toml", true);
        assert_eq!(mistakes.config.is_some(), mistakes.errors.is_empty());
        for error in mistakes.errors.iter().filter(|error| error.line > 0) {
            assert!(error.to_string().starts_with(&format!("mpt.toml:{}: ", error.line)), "{error}");
        }
        (mistakes.errors.iter().map(|error| error.line).collect(), mistakes.may_be_more)
    }

    const GOOD: &str = "[security]
private_key_file = \"not-here.key\"
[tunnel]
address = [\"10.0.0.1/24\"]
[[connection]]
name = \"pc2\"
peer = [\"10.0.0.2\"]
public_key = \"3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\"
[[connection.path]]
name = \"one\"
local = \"192.0.2.1\"
remote = \"192.0.2.2\"
[[connection.path]]
name = \"two\"
local = \"2001:db8::1\"
remote = \"2001:db8::2\"
";

    #[test]
    fn a_file_of_another_machine_needs_no_key_files() {
        assert_eq!(lines(GOOD), (vec![], false));
        let here = Mistakes::find(GOOD, "mpt.toml", false);
        assert_eq!(here.errors.len(), 1);
        assert!(
            here.errors[0].to_string().contains("mpt.toml:2: security.private_key_file"),
            "{:?}",
            here.errors
        );
    }

    #[test]
    fn every_key_alone_is_found_in_its_line_and_nothing_else() {
        let all: Vec<&str> = GOOD.lines().collect();
        for (number, line) in
            all.iter().enumerate().filter(|(_, line)| line.contains('=') && !line.contains("_file"))
        {
            let mut bad = all.clone();
            let broken = format!("{} = \"?!\"", line.split_once(" =").unwrap().0);
            bad[number] = &broken;
            assert_eq!(lines(&(bad.join("\n") + "\n")).0, [number + 1], "{broken}");
        }
    }

    #[test]
    fn many_mistakes_are_all_found_each_once() {
        let bad = GOOD
            .replace("address = [\"10.0.0.1/24\"]", "address = [\"10.0.0.1/24\"]\nmtu = 7\nqueeue = 3")
            .replace("name = \"pc2\"", "name = \"pc2\"\npolicy = \"best\"")
            .replace("local = \"192.0.2.1\"", "local = \"192.0.2.257\"\nweight = 0")
            .replace("remote = \"2001:db8::2\"", "remote = 2001:db8::2\ntier = -1");
        assert_eq!(lines(&bad), (vec![5, 6, 9, 14, 15, 20, 21], false), "{bad}");
    }

    #[test]
    fn what_is_missing_is_found_and_does_not_move_the_lines_below() {
        let bad = GOOD
            .replace("peer = [\"10.0.0.2\"]\n", "")
            .replace("name = \"one\"\n", "")
            .replace("remote = \"2001:db8::2\"", "remote = \"2001:db8::2\"\nrank = 999");
        assert_eq!(lines(&bad), (vec![5, 8, 15], false), "{bad}");
    }

    #[test]
    fn what_is_no_toml_or_no_file_of_mpt_ends_soon_with_what_is_known() {
        for (text, count) in [("", 1), ("[tunnel", 1), ("{\"tunnel\": 3}", 1), ("[[connection]]\n", 1)] {
            let mistakes = Mistakes::find(text, "mpt.toml", true);
            assert!(
                mistakes.errors.len() >= count && mistakes.errors.len() <= 3,
                "{text}: {:?}",
                mistakes.errors
            );
        }
    }
}
