//! Telling people how an adaptive connection sends: a mode that lasts, once.

use std::time::Duration;

use mpt_proto::{Instant, Mode};

/// A mode is told when it has lasted for so long: after a silence there are no reports for a moment.
const LASTING: Duration = Duration::from_secs(1);

/// What was told, and what may have to be.
#[derive(Debug, Default)]
pub(super) struct ModeNews {
    told: Option<Mode>,
    candidate: Option<(Mode, Instant)>,
}

impl ModeNews {
    /// The mode is this one now. Returns what people should be told.
    pub(super) fn note(&mut self, mode: Option<Mode>, now: Instant) -> Option<Mode> {
        let Some(mode) = mode.filter(|mode| self.told != Some(*mode)) else {
            self.candidate = None;
            return None;
        };
        let since = match self.candidate {
            Some((candidate, since)) if candidate == mode => since,
            _ => now,
        };
        self.candidate = Some((mode, since));
        if now.since(since) < LASTING {
            return None;
        }
        self.told = Some(mode);
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_told_once_when_it_lasts_and_a_short_one_never() {
        let mut news = ModeNews::default();
        let mut told = Vec::new();
        let modes = [
            (0, Mode::PeerCannot),
            (200, Mode::Adaptive),
            (1100, Mode::Adaptive),
            (1200, Mode::Adaptive),
            (9000, Mode::NoReports),
            (9500, Mode::Adaptive),
            (9900, Mode::NoReports),
            (10_800, Mode::NoReports),
            (10_900, Mode::NoReports),
            (20_000, Mode::NoReports),
        ];
        for (ms, mode) in modes {
            if news.note(Some(mode), Instant::from_micros(ms * 1000)).is_some() {
                told.push((ms, mode));
            }
        }
        assert_eq!(told, [(1200, Mode::Adaptive), (10_900, Mode::NoReports)]);
    }

    #[test]
    fn another_policy_has_nothing_to_tell() {
        let mut news = ModeNews::default();
        for seconds in 0..9 {
            assert_eq!(news.note(None, Instant::from_micros(seconds * 1_000_000)), None);
        }
    }
}
