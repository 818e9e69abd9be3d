//! Paths that a test may use only if somebody said so.

use crate::report::{ConnectionReport, PathReport};

/// Why a test of this path costs something; `None`: it does not. This is the only place that decides it.
pub(super) fn costs(path: &PathReport, connection: &ConnectionReport) -> Option<String> {
    let lowest = connection.paths.iter().map(|path| path.tier).min()?;
    (path.tier > lowest).then(|| format!("tier {}", path.tier))
}
