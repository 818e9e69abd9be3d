//! What was tried, what came of it, and how long it took.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::progress::Progress;
use crate::stopwatch::Stopwatch;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ended {
    /// As it should.
    Well,
    /// Otherwise.
    Failed,
    /// It cannot be tried here.
    NotTried,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    /// What was tried.
    pub(super) what: String,
    /// How it ended.
    pub(super) ended: Ended,
    /// What came of it, or what was wrong.
    pub(super) result: String,
    /// How long it took, or how long nothing came through; `None` where that says nothing.
    pub(super) seconds: Option<f64>,
}

/// What a step that ended well says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) result: String,
    pub(super) took: Took,
}

/// How long a step took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Took {
    /// From its beginning to its end.
    All,
    /// Something else.
    This(Duration),
    /// It lasts as long as it should.
    Nothing,
}

impl Said {
    /// The time is that of the whole step.
    pub(super) fn all(result: impl Into<String>) -> Self {
        Self { result: result.into(), took: Took::All }
    }

    /// The time is another one.
    pub(super) fn this(result: impl Into<String>, time: Duration) -> Self {
        Self { result: result.into(), took: Took::This(time) }
    }

    /// The time says nothing.
    pub(super) fn timeless(result: impl Into<String>) -> Self {
        Self { result: result.into(), took: Took::Nothing }
    }
}

/// The steps so far.
pub(super) struct Steps {
    rows: Vec<Row>,
    progress: Progress,
}

impl Steps {
    /// None yet; all of them are expected to take so long.
    pub(super) fn new(expected: Duration) -> Self {
        Self { rows: Vec::new(), progress: Progress::new(expected) }
    }

    /// Tries something that is expected to take so many seconds. Whether it ended well.
    pub(super) fn run(
        &mut self,
        what: &str,
        expected: f64,
        work: impl FnOnce() -> anyhow::Result<Said>,
    ) -> bool {
        self.progress.begin(what, Duration::from_secs_f64(expected));
        let clock = Stopwatch::start();
        let done = work();
        let all = clock.elapsed();
        let (ended, result, took) = match done {
            Ok(Said { result, took }) => (Ended::Well, result, took),
            Err(error) => (Ended::Failed, format!("{error:#}"), Took::All),
        };
        let seconds = match took {
            Took::All => Some(all.as_secs_f64()),
            Took::This(time) => Some(time.as_secs_f64()),
            Took::Nothing => None,
        };
        self.rows.push(Row { what: what.to_owned(), ended, result, seconds });
        ended == Ended::Well
    }

    /// Takes note of what cannot be tried, and why.
    pub(super) fn leave_out(&mut self, what: &str, why: &str) {
        let (what, result) = (what.to_owned(), why.to_owned());
        self.rows.push(Row { what, ended: Ended::NotTried, result, seconds: None });
    }

    /// All of them.
    pub(super) fn end(self) -> Vec<Row> {
        self.progress.end();
        self.rows
    }
}

/// The table for people, in Markdown.
pub(super) fn text(rows: &[Row]) -> String {
    let cells = rows.iter().map(|row| {
        let seconds = row.seconds.map_or_else(String::new, time);
        // A message may have several lines.
        let said = row.result.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        let said = match row.ended {
            Ended::Well => said,
            Ended::Failed => format!("FAILED: {said}"),
            Ended::NotTried => format!("not tried: {said}"),
        };
        [row.what.clone(), said, seconds]
    });
    let cells: Vec<[String; 3]> =
        [["what was tried", "result", "time"].map(str::to_owned)].into_iter().chain(cells).collect();
    let width = |column: usize| {
        let ended_well = |number: &usize| {
            number.checked_sub(1).and_then(|row| rows.get(row)).is_none_or(|row| row.ended == Ended::Well)
        };
        let lengths = (0..cells.len()).filter(|number| column != 1 || ended_well(number));
        lengths
            .filter_map(|number| cells.get(number))
            .map(|cells| cells[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let [first, second, third] = [0, 1, 2].map(width);
    let mut text = String::new();
    for (number, [what, said, seconds]) in cells.iter().enumerate() {
        let _ = writeln!(text, "| {what:<first$} | {said:<second$} | {seconds:>third$} |");
        if number == 0 {
            let _ = writeln!(text, "|{0:-<1$}|{0:-<2$}|{0:->3$}:|", "", first + 2, second + 2, third + 1);
        }
    }
    text
}

/// A time as people read it.
fn time(seconds: f64) -> String {
    if seconds < 0.9995 { format!("{:.0} ms", seconds * 1000.0) } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_a_line_and_a_failed_one_says_so() {
        let row = |what: &str, ended, result: &str, seconds| Row {
            what: what.into(),
            ended,
            result: result.into(),
            seconds,
        };
        let rows = [
            row("join", Ended::Well, "3 paths", Some(0.0415)),
            row("curl", Ended::Failed, "no answer:\n  a | b, and much more", Some(10.04)),
            row("QUIC", Ended::NotTried, "not built in", None),
        ];
        assert_eq!(
            text(&rows),
            "| what was tried | result  |   time |\n\
             |----------------|---------|-------:|\n\
             | join           | 3 paths |  42 ms |\n\
             | curl           | FAILED: no answer: a \\| b, and much more | 10.0 s |\n\
             | QUIC           | not tried: not built in |        |\n"
        );
    }
}
