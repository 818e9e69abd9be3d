//! Runs that several lines of a table are compared with, each made once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use mpt_fuzz::bond::case::{Case, Outcome};

/// How much virtual time a line has, and from when on it is measured.
pub(crate) const TIME: Duration = Duration::from_secs(30);
pub(crate) const WARM: Duration = Duration::from_secs(15);

/// What was run, by its text.
#[derive(Default)]
pub(crate) struct Runs(Mutex<HashMap<String, Outcome>>);

impl Runs {
    /// Runs a case, or remembers it.
    pub(crate) fn run(&self, case: &Case) -> Outcome {
        let text = case.to_string();
        let known = self.0.lock().expect("no thread panics").get(&text).cloned();
        known.unwrap_or_else(|| {
            let outcome = case.run();
            self.0.lock().expect("no thread panics").insert(text, outcome.clone());
            outcome
        })
    }
}

/// One flow with a name of the tables over these links, measured in the last half of 30 s.
pub(crate) fn case(links: &str, name: &str) -> Case {
    let flows = vec![name.to_lowercase()];
    Case { flows, time: TIME, warm: Some(WARM), ..Case::new(links) }
}
