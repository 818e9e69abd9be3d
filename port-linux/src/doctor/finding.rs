//! What a check finds, and how it is shown.

use serde::Serialize;

use super::facts::Facts;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The tunnel or a path of it does not work.
    Fault,
    /// It works worse than it could, or will not work after a change that is likely.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The path that it is about, as `CONNECTION/PATH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What is wrong.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// What mends it: a command, or what to change.
    pub mend: String,
}

impl Finding {
    /// One of a check that has yet to put its name on it.
    pub(super) fn new(
        severity: Severity,
        what: impl Into<String>,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { check: "", severity, path: None, what: what.into(), why: why.into(), mend: mend.into() }
    }

    /// It is about this path, `CONNECTION/PATH`.
    pub(super) fn about(self, path: String) -> Self {
        Self { path: Some(path), ..self }
    }

    /// As lines for people.
    pub(super) fn text(&self) -> String {
        format!(
            "{:<8} {}: {}\n         why: {}\n         do:  {}\n",
            self.severity.name(),
            self.check,
            self.what,
            self.why,
            self.mend
        )
    }
}

/// A check: a name, and a function that finds what is wrong.
pub(super) struct Check {
    /// Its name.
    pub(super) name: &'static str,
    /// Whether it looks at what the running tunnel says.
    pub(super) needs_tunnel: bool,
    /// What it finds: how bad, what, why, what mends it.
    pub(super) look: fn(&Facts) -> Vec<Finding>,
}

/// What some checks have found.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What is wrong, the worst first; of one severity, in the order of the checks.
    pub(super) findings: Vec<Finding>,
    /// How many checks were made.
    pub(super) made: usize,
    /// Names of checks that were left out, as they need a running tunnel.
    pub(super) left_out: Vec<&'static str>,
}

impl Outcome {
    /// Makes those of the checks that can be made.
    pub(super) fn of<'a>(checks: impl IntoIterator<Item = &'a Check>, facts: &Facts) -> Self {
        let mut outcome = Self::default();
        for check in checks {
            if check.needs_tunnel && facts.report.is_none() {
                outcome.left_out.push(check.name);
                continue;
            }
            outcome.made += 1;
            let found = (check.look)(facts).into_iter();
            outcome.findings.extend(found.map(|finding| Finding { check: check.name, ..finding }));
        }
        outcome.findings.sort_by_key(|finding| finding.severity);
        outcome
    }
}
