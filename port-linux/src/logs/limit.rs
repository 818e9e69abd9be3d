//! Few lines of a kind a minute, so that a path that comes and goes all the time does not fill a disk.

use std::collections::HashMap;
use std::time::Duration;

use mpt_proto::Instant;
use tracing::callsite::Identifier;

use super::line::Line;

/// Lines of one event of one path that are written in a [`WINDOW`]: enough to see that it comes and goes.
const OF_AN_EVENT: u32 = 5;
/// Lines from one place of the program that are written in a [`WINDOW`]: a list of mistakes at the start is longer than a few.
const OF_A_PLACE: u32 = 30;
/// How long lines of one kind are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Kinds that are remembered until it is looked which of them are over.
const KINDS: usize = 1024;

/// What makes lines one kind: an event of a path, or the place in the program.
#[derive(Debug, PartialEq, Eq, Hash, Clone)]
enum Kind {
    Event([Option<String>; 3]),
    Place(Identifier),
}

#[derive(Debug)]
struct Window {
    until: Instant,
    written: u32,
    left_out: u64,
    /// The last one that was left out.
    last: Option<Line>,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Write,
    LeaveOut {
        /// Whether no line of any kind was left out before that people have not been told of.
        is_first: bool,
    },
}

/// The kinds of the last minute.
#[derive(Debug, Default)]
pub(super) struct Limits {
    windows: HashMap<Kind, Window>,
    look_at: usize,
    /// Windows in which something was left out.
    full: usize,
}

impl Limits {
    pub(super) fn judge(&mut self, line: &Line, place: &Identifier, now: Instant) -> Verdict {
        if self.windows.len() >= self.look_at.max(KINDS) {
            self.windows.retain(|_, window| window.until > now || window.left_out > 0);
            self.look_at = self.windows.len() * 2;
        }
        let is_event = line.place[0].is_some();
        let kind = if is_event { Kind::Event(line.place.clone()) } else { Kind::Place(place.clone()) };
        let most = if is_event { OF_AN_EVENT } else { OF_A_PLACE };
        let new = || Window { until: now + WINDOW, written: 0, left_out: 0, last: None };
        let window = self.windows.entry(kind).or_insert_with(new);
        if window.until <= now && window.left_out == 0 {
            *window = new();
        }
        if window.written < most {
            window.written += 1;
            return Verdict::Write;
        }
        let is_first = self.full == 0;
        self.full += usize::from(window.left_out == 0);
        window.left_out += 1;
        window.last = Some(line.clone());
        Verdict::LeaveOut { is_first }
    }

    /// When people are to be told next what was left out.
    pub(super) fn next(&self) -> Option<Instant> {
        self.windows.values().filter(|window| window.left_out > 0).map(|window| window.until).min()
    }

    /// Lines that say what was left out in windows that are over: the last one of each kind, and how many there were.
    pub(super) fn take_left_out(&mut self, now: Instant) -> Vec<Line> {
        let over = |window: &Window| window.until <= now && window.left_out > 0;
        let told = self.windows.values().filter(|window| over(window)).filter_map(|window| {
            let last = window.last.as_ref()?;
            let seconds = WINDOW.as_secs();
            let message = match window.left_out {
                1 => last.message.clone(),
                more => format!("{} (the last of {more} lines of its kind within {seconds} s)", last.message),
            };
            Some(Line { message, ..last.clone() })
        });
        let mut told: Vec<Line> = told.collect();
        told.sort_by(|one, other| one.place.cmp(&other.place));
        self.windows.retain(|_, window| !over(window));
        self.full -= told.len().min(self.full);
        told
    }
}

#[cfg(test)]
mod tests {
    use tracing::callsite::{Callsite, Identifier};
    use tracing::subscriber::Interest;

    use super::super::line::tests::line;
    use super::*;

    struct Somewhere;

    impl Callsite for Somewhere {
        fn set_interest(&self, _: Interest) {}

        fn metadata(&self) -> &tracing::Metadata<'_> {
            unreachable!("only its address counts")
        }
    }

    static SOMEWHERE: Somewhere = Somewhere;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_path_that_flaps_for_an_hour_fills_no_disk_and_its_last_state_is_told() {
        let (mut limits, place) = (Limits::default(), Identifier(&SOMEWHERE));
        let (mut written, mut told) = (0, Vec::new());
        for second in 0..3600 {
            let event = if second % 2 == 0 { "path_down" } else { "path_up" };
            let line = line(&format!("{event} at {second}"), [Some(event), Some("vps"), Some("lte")]);
            told.extend(limits.take_left_out(at(second)));
            written += usize::from(limits.judge(&line, &place, at(second)) == Verdict::Write);
        }
        assert!((570..=600).contains(&written), "{written}");
        assert!((110..=120).contains(&told.len()), "{}", told.len());
        assert_eq!(told[0].message, "path_down at 58 (the last of 25 lines of its kind within 60 s)");
        assert_eq!(limits.next().is_some(), limits.full > 0);
        assert_eq!(limits.take_left_out(at(9999)).len(), 2);
        assert_eq!((limits.next(), limits.full), (None, 0));
    }

    #[test]
    fn other_paths_and_other_events_are_other_kinds_and_lists_at_the_start_are_whole() {
        let (mut limits, place) = (Limits::default(), Identifier(&SOMEWHERE));
        let mut judge = |line: &Line| limits.judge(line, &place, at(1));
        for path in ["a", "b"] {
            for event in ["path_up", "path_down"] {
                let line = line("it", [Some(event), Some("vps"), Some(path)]);
                let verdicts: Vec<Verdict> = (0..6).map(|_| judge(&line)).collect();
                assert!(verdicts[..5].iter().all(|verdict| *verdict == Verdict::Write));
                let is_first = (path, event) == ("a", "path_up");
                assert_eq!(verdicts[5], Verdict::LeaveOut { is_first });
            }
        }
        assert!((0..30).all(|_| judge(&line("this peer is left out", [None; 3])) == Verdict::Write));
        assert_ne!(judge(&line("this peer is left out", [None; 3])), Verdict::Write);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut limits, place) = (Limits::default(), Identifier(&SOMEWHERE));
        for number in 0..100_000_u64 {
            let name = number.to_string();
            let line = line("it", [Some("peer_up"), Some(&name), None]);
            limits.judge(&line, &place, at(number / 10));
        }
        assert!(limits.windows.len() <= 2 * KINDS, "{}", limits.windows.len());
    }
}
