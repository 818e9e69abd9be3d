//! The last report, and what the ones before it give: rates and their course.

use std::collections::{BTreeMap, VecDeque};

use crate::rates::{Counted, Passed};
use crate::report::{ConnectionReport, PathReport, Report};

/// So many values of a course are kept: as many as a wide terminal shows.
const KEPT: usize = 240;

/// Losses and shares are those of so many looks: in one second there are few of them.
const WINDOW: usize = 10;

/// A connection's name, and a path's; the connection itself has none.
type Key = (String, Option<String>);

/// A report, and the courses that lead to it.
#[derive(Debug, Clone)]
pub(super) struct Tracked {
    report: Report,
    courses: BTreeMap<Key, Course>,
}

impl Tracked {
    /// From a first report, which gives no rate yet.
    pub(super) fn new(report: Report) -> Self {
        let mut tracked = Self { report: report.clone(), courses: BTreeMap::new() };
        tracked.follow(report);
        tracked
    }

    /// Takes the next report.
    pub(super) fn follow(&mut self, report: Report) {
        let at = report.tunnel.uptime_ms;
        let mut before = std::mem::take(&mut self.courses);
        for connection in &report.connections {
            let of_paths = connection.paths.iter().map(|path| (Some(&path.name), Counted::of_path(at, path)));
            let all = of_paths.chain([(None, Counted::of_connection(at, connection))]);
            for (path, counted) in all {
                let key = (connection.name.clone(), path.cloned());
                let mut course = before.remove(&key).unwrap_or_default();
                course.push(counted);
                self.courses.insert(key, course);
            }
        }
        self.report = report;
    }

    /// The daemon went away: what comes next is compared with nothing before.
    pub(super) fn interrupt(&mut self) {
        self.courses.clear();
    }

    /// The last report.
    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// How a path went, since it came.
    pub(super) fn path(&self, connection: &ConnectionReport, path: &PathReport) -> &Course {
        self.course(&(connection.name.clone(), Some(path.name.clone())))
    }

    /// How a connection went.
    pub(super) fn connection(&self, connection: &ConnectionReport) -> &Course {
        self.course(&(connection.name.clone(), None))
    }

    /// The share of a path in what its connection carried lately, in percent; `None` where nothing was, or it is not known.
    pub(super) fn share(&self, connection: &ConnectionReport, path: &PathReport) -> Option<u64> {
        let bytes =
            |path| self.path(connection, path).lately().map(|passed| passed.tx_bytes + passed.rx_bytes);
        let all: u64 = connection.paths.iter().filter_map(bytes).sum();
        (bytes(path)? * 100).checked_div(all)
    }

    fn course(&self, key: &Key) -> &Course {
        static NONE: Course = Course { counted: VecDeque::new() };
        self.courses.get(key).unwrap_or(&NONE)
    }
}

/// Counters of one path or connection, of the last looks.
#[derive(Debug, Clone, Default)]
pub(super) struct Course {
    counted: VecDeque<Counted>,
}

impl Course {
    fn push(&mut self, counted: Counted) {
        if self.counted.back().is_some_and(|last| counted.since(last).is_none()) {
            self.counted.clear();
        }
        if self.counted.len() > KEPT {
            self.counted.pop_front();
        }
        self.counted.push_back(counted);
    }

    /// What passed between the last two looks.
    pub(super) fn last(&self) -> Option<Passed> {
        self.over(1)
    }

    /// What passed in the last looks, ten of them at most.
    pub(super) fn lately(&self) -> Option<Passed> {
        self.over(WINDOW.min(self.counted.len().saturating_sub(1)))
    }

    fn over(&self, looks: usize) -> Option<Passed> {
        let then = self.counted.len().checked_sub(looks + 1)?;
        self.counted.back()?.since(self.counted.get(then)?)
    }

    /// A value of each look, the last one at the end.
    pub(super) fn values(&self, value: impl Fn(&Passed) -> u64) -> Vec<Option<u64>> {
        let pairs = self.counted.iter().zip(self.counted.iter().skip(1));
        pairs.map(|(earlier, later)| later.since(earlier).as_ref().map(&value)).collect()
    }
}
