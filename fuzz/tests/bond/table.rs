//! A table of figures and the bars they are held to, kept as a snapshot.

use std::fmt::Write as _;
use std::path::Path;

use crate::SUBJECT;
use crate::known;

/// Figures as text.
pub(crate) struct Table {
    name: &'static str,
    text: String,
    rows: Vec<Vec<String>>,
    /// Lines and columns of the bars that were missed.
    missed: Vec<(String, String)>,
}

/// One line.
pub(crate) struct Row<'t> {
    table: &'t mut Table,
    /// Its first cell and its cells of text.
    name: String,
    cells: Vec<String>,
}

impl Table {
    /// A table kept in a file of this name, about `what`.
    pub(crate) fn new(name: &'static str, what: &str, heads: &[&str]) -> Self {
        Self::about(name, what, &format!("Policy {:?}; ! marks a missed bar", SUBJECT.policy), heads)
    }

    /// As [`new`](Self::new), of another `subject`.
    pub(crate) fn about(name: &'static str, what: &str, subject: &str, heads: &[&str]) -> Self {
        let heads = heads.iter().map(|head| (*head).to_string()).collect();
        let text = format!("{what}\n{subject}\n\n");
        Self { name, text, rows: vec![heads], missed: Vec::new() }
    }

    pub(crate) fn row(&mut self, name: &str) -> Row<'_> {
        Row { table: self, name: name.to_string(), cells: vec![name.to_string()] }
    }

    /// Adds a line of text below the table.
    pub(crate) fn note(&mut self, text: &str) {
        self.rows.push(vec![text.to_string()]);
    }

    /// Compares with the bars, but for the misses that are known, and with the snapshot.
    pub(crate) fn check(mut self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter(|row| row.len() > 1).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let _ = match column {
                    0 => write!(line, "{cell:<width$}", width = widths[column]),
                    _ => write!(line, "  {cell:>width$}", width = widths[column]),
                };
            }
            self.text.push_str(line.trim_end());
            self.text.push('\n');
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/bond").join(self.name);
        if std::env::var_os("MPT_BLESS").is_some() {
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder for snapshots");
            std::fs::write(&file, &self.text).expect("a snapshot");
        }
        println!("{}", self.text);
        let known = || known::of(self.name).iter();
        let unknown = self.missed.iter().filter(|miss| !known().any(|it| it.is(miss)));
        let unknown: String =
            unknown.map(|(line, column)| format!("known({line:?}, {column:?}),\n")).collect();
        assert!(unknown.is_empty(), "missed, and not listed in known.rs:\n{unknown}\n{}", self.text);
        let mended: Vec<_> = known().filter(|known| !self.missed.iter().any(|miss| known.is(miss))).collect();
        assert!(mended.is_empty(), "listed in known.rs, but met:\n{mended:#?}\n\n{}", self.text);
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(self.text == expected, "\nis:\n{}\nwas:\n{expected}\nMPT_BLESS=1 takes it over", self.text);
    }
}

impl Row<'_> {
    pub(crate) fn value(mut self, value: f64, decimals: usize) -> Self {
        self.cells.push(format!("{value:.decimals$}"));
        self
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.name = format!("{}, {text}", self.name);
        self.cells.push(text.to_string());
        self
    }

    /// A value, or a dash.
    pub(crate) fn maybe(self, value: Option<f64>, decimals: usize) -> Self {
        match value {
            Some(value) => self.value(value, decimals),
            None => self.text("-"),
        }
    }

    /// A value that must be no less than a bar.
    pub(crate) fn at_least(self, value: f64, bar: f64, decimals: usize) -> Self {
        self.bar(Some(value), ">=", bar, value >= bar, decimals)
    }

    /// A value that must be no more than a bar.
    pub(crate) fn at_most(self, value: f64, bar: f64, decimals: usize) -> Self {
        self.bar(Some(value), "<=", bar, value <= bar, decimals)
    }

    /// A value that must be there, and be no more than a bar.
    pub(crate) fn within(self, value: Option<f64>, bar: f64, decimals: usize) -> Self {
        self.bar(value, "<=", bar, value.is_some_and(|value| value <= bar), decimals)
    }

    /// Ends the line.
    pub(crate) fn end(self) {
        self.table.rows.push(self.cells);
    }

    fn bar(mut self, value: Option<f64>, relation: &str, bar: f64, holds: bool, decimals: usize) -> Self {
        let value = value.map_or("-".to_string(), |value| format!("{value:.decimals$}"));
        let mark = if holds { ' ' } else { '!' };
        let cell = format!("{value}{mark} {relation} {bar}");
        if !holds {
            let column = self.table.rows[0][self.cells.len()].clone();
            self.table.missed.push((self.name.clone(), column));
        }
        self.cells.push(cell);
        self
    }
}
