//! `mpt doctor`: what of this host, the configuration and the running tunnel is wrong, why it matters, and what mends it.
//!
//! Each check is a function of `Facts`, which are gathered once; it changes nothing.

mod facts;
mod finding;
mod gather;
mod host;
#[cfg(test)]
mod made_up;
mod paths;
mod peers;

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::config::Config;
use crate::output;
use facts::Facts;
use finding::{Check, Outcome};
pub use finding::{Finding, Severity};

/// What was found, as `--json` has it. Field names are stable.
#[derive(Debug, Serialize)]
struct Diagnosis {
    /// What is wrong, the worst first.
    findings: Vec<Finding>,
    /// What could not be looked at, and why.
    left_out: Vec<String>,
    /// Names of checks that were left out, as they need a running tunnel.
    checks_left_out: Vec<&'static str>,
    /// How many checks were made.
    checks: usize,
}

/// Runs `mpt doctor`. Returns whether nothing is wrong.
///
/// # Errors
/// When standard output takes nothing more.
pub fn doctor(config: Option<&Path>, socket: Option<&Path>, json: bool) -> Result<bool> {
    let (facts, left_out) = gather::gather(config, socket);
    let diagnosis = diagnose(&facts, left_out);
    let text = if json { serde_json::to_string(&diagnosis)? + "\n" } else { diagnosis.text() };
    output::print(&text)?;
    Ok(diagnosis.findings.is_empty())
}

/// What of this host is in the way of a configuration that may not run yet, the worst first.
///
/// # Errors
/// When netlink cannot be used at all.
pub fn of_host(config: &Config) -> Result<Vec<Finding>> {
    Ok(Outcome::of(&host::CHECKS, &gather::of_host(config)?).findings)
}

fn checks() -> impl Iterator<Item = &'static Check> {
    host::CHECKS.iter().chain(&paths::CHECKS).chain(&peers::CHECKS)
}

fn diagnose(facts: &Facts, left_out: Vec<String>) -> Diagnosis {
    let Outcome { findings, made, left_out: checks_left_out } = Outcome::of(checks(), facts);
    Diagnosis { findings, left_out, checks: made, checks_left_out }
}

impl Diagnosis {
    fn text(&self) -> String {
        let mut text: String = self.findings.iter().map(Finding::text).collect();
        text += &match self.findings.len() {
            0 => format!("nothing is wrong, by {} checks\n", self.checks),
            1 => format!("1 finding, by {} checks\n", self.checks),
            count => format!("{count} findings, by {} checks\n", self.checks),
        };
        for what in &self.left_out {
            text += &format!("not looked at: {what}\n");
        }
        if !self.checks_left_out.is_empty() {
            text += &format!("left out without a running tunnel: {}\n", output::list(&self.checks_left_out));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_check_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = checks().map(|check| check.name).collect();
        assert_eq!(names.len(), checks().count());
    }

    #[test]
    fn each_check_is_described_in_the_documents() {
        let text = include_str!("../../docs/server.md");
        for check in checks() {
            assert!(text.contains(&format!("`{}`", check.name)), "{} is not in docs/server.md", check.name);
        }
    }

    #[test]
    fn without_a_tunnel_it_says_which_checks_were_left_out_and_the_worst_comes_first() {
        let facts = Facts {
            errors: vec!["a.toml:1: wrong".into()],
            warnings: vec!["a.toml:2: odd".into()],
            ..Facts::default()
        };
        let diagnosis = diagnose(&facts, vec!["the running tunnel: no mpt is running.".into()]);
        let severities: Vec<Severity> = diagnosis.findings.iter().map(|finding| finding.severity).collect();
        assert_eq!(severities, [Severity::Fault, Severity::Warning]);
        let text = diagnosis.text();
        for part in [
            "fault    configuration: a.toml:1: wrong\n",
            "why: ",
            "do:  ",
            "2 findings, by ",
            "left out without a running tunnel: path_queue, no_answer",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(
            diagnose(&Facts::default(), Vec::new()).text().starts_with("nothing is wrong, by 12 checks\n")
        );
    }
}
