//! Telling people what limits a path, where it is something that they can do something about.

use std::time::Duration;

use mpt_proto::{Instant, LimitedBy};

use crate::events::{Limit, What};

/// Between two things that are told of one path.
const APART: Duration = Duration::from_secs(10);

/// What was told of a path, and when.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LimitNews {
    told: Option<Limit>,
    told_at: Option<Instant>,
}

impl LimitNews {
    /// The path, which is up, is limited by this now; `None`: it is down, or not measured. Returns what people should be told of it.
    pub(super) fn note(&mut self, limit: Option<LimitedBy>, now: Instant) -> Option<What> {
        let Some(limit) = limit else {
            self.told = None;
            return None;
        };
        let limit = Limit::unusual(limit);
        if limit == self.told || self.told_at.is_some_and(|at| now.since(at) < APART) {
            return None;
        }
        let before = self.told;
        (self.told, self.told_at) = (limit, Some(now));
        let begins = limit.map(|by| What::PathLimited { by });
        begins.or_else(|| before.map(|by| What::PathFreed { by }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_limits_a_path_is_told_once_when_it_begins_and_ends_and_not_too_often() {
        let mut news = LimitNews::default();
        let seen = [
            (0, Some(LimitedBy::Application)),
            (1, Some(LimitedBy::Policer)),
            (2, Some(LimitedBy::Policer)),
            (3, Some(LimitedBy::Bandwidth)),
            (5, Some(LimitedBy::Policer)),
            (12, Some(LimitedBy::Queue)),
            (13, Some(LimitedBy::Outage)),
            (14, Some(LimitedBy::Delay)),
            (23, Some(LimitedBy::Outage)),
            (40, Some(LimitedBy::OtherTraffic)),
            // That it is down is told as such.
            (60, None),
            (61, Some(LimitedBy::Bandwidth)),
        ];
        let told: Vec<_> = seen
            .into_iter()
            .filter_map(|(s, limit)| Some((s, news.note(limit, Instant::from_micros(s * 1_000_000))?)))
            .collect();
        assert_eq!(
            told,
            [
                (1, What::PathLimited { by: Limit::Policer }),
                (12, What::PathFreed { by: Limit::Policer }),
                (23, What::PathLimited { by: Limit::Outage }),
                (40, What::PathLimited { by: Limit::OtherTraffic }),
            ]
        );
    }
}
