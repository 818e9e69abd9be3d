//! Progress on standard error: one line that changes on a terminal, one line per step elsewhere.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use super::stopwatch::Stopwatch;

/// Counts steps by the time that each is expected to take.
#[derive(Debug)]
pub struct Progress {
    clock: Stopwatch,
    terminal: bool,
    all: Duration,
    done: Duration,
    step: Duration,
}

impl Progress {
    /// Starts; all steps together are expected to take that long.
    pub fn new(all: Duration) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { clock: Stopwatch::start(), terminal, all, done: Duration::ZERO, step: Duration::ZERO }
    }

    /// The step before is done; now begins one that is expected to take that long.
    pub fn begin(&mut self, what: &str, takes: Duration) {
        self.done += self.step;
        self.step = takes;
        let line = line(what, self.done, self.all, self.clock.elapsed());
        let mut stderr = io::stderr().lock();
        // Nobody is harmed when it cannot be shown.
        let _ = if self.terminal { write!(stderr, "\r\x1b[K{line}") } else { writeln!(stderr, "{line}") };
        let _ = stderr.flush();
    }

    /// Clears the line.
    pub fn end(self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, done: Duration, all: Duration, elapsed: Duration) -> String {
    let share = (done.as_secs_f64() / all.as_secs_f64().max(1e-9)).min(1.0);
    // What was expected of the steps so far and what they took tells what the others will take.
    let pace = if done.is_zero() { 1.0 } else { elapsed.as_secs_f64() / done.as_secs_f64() };
    let left = all.saturating_sub(done).mul_f64(pace).as_secs();
    let mut text = format!("[{:3.0} %] {what}", share * 100.0);
    let _ = match left {
        0 => Ok(()),
        1..=99 => write!(text, " (about {left} s left)"),
        _ => write!(text, " (about {} min left)", left.div_ceil(60)),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_rest_is_estimated_from_what_the_steps_took_so_far() {
        assert_eq!(line("a", s(0), s(60), s(0)), "[  0 %] a (about 60 s left)");
        assert_eq!(line("b", s(30), s(60), s(45)), "[ 50 %] b (about 45 s left)");
        assert_eq!(line("c", s(60), s(600), s(60)), "[ 10 %] c (about 9 min left)");
        assert_eq!(line("d", s(60), s(60), s(60)), "[100 %] d");
    }
}
