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
    pub(super) look: fn(&Facts) -> Vec<Found>,
}

/// What a check found, without its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) severity: Severity,
    pub(super) path: Option<String>,
    pub(super) what: String,
    pub(super) why: String,
    pub(super) mend: String,
}

impl Found {
    pub(super) fn new(
        severity: Severity,
        what: impl Into<String>,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { severity, path: None, what: what.into(), why: why.into(), mend: mend.into() }
    }

    /// It is about this path, `CONNECTION/PATH`.
    pub(super) fn about(self, path: String) -> Self {
        Self { path: Some(path), ..self }
    }
}

impl Check {
    /// What is wrong, as far as this check knows.
    pub(super) fn findings(&self, facts: &Facts) -> Vec<Finding> {
        let found = (self.look)(facts).into_iter();
        let named = |Found { severity, path, what, why, mend }| Finding {
            check: self.name,
            severity,
            path,
            what,
            why,
            mend,
        };
        found.map(named).collect()
    }
}
