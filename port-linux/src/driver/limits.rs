//! Telling people what limits a path, where it is something that they can do something about.

use std::time::Duration;

use mpt_proto::{Instant, LimitedBy};

/// Between two things that are told of one path.
const APART: Duration = Duration::from_secs(10);

/// What was told of a path, and when.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LimitNews {
    told: Option<LimitedBy>,
    told_at: Option<Instant>,
}

impl LimitNews {
    /// The path, which is up, is limited by this now; `None`: it is down, or not measured. Returns what people should be told of it.
    pub(super) fn note(&mut self, limit: Option<LimitedBy>, now: Instant) -> Option<&'static str> {
        let Some(limit) = limit else {
            self.told = None;
            return None;
        };
        let limit = Some(limit).filter(|limit| begins(*limit).is_some());
        if limit == self.told || self.told_at.is_some_and(|at| now.since(at) < APART) {
            return None;
        }
        let before = self.told;
        (self.told, self.told_at) = (limit, Some(now));
        limit.and_then(begins).or_else(|| before.and_then(ends))
    }
}

fn begins(limit: LimitedBy) -> Option<&'static str> {
    match limit {
        LimitedBy::Outage => Some("seems to have stopped to deliver"),
        LimitedBy::Policer => Some("is limited by a policer: what exceeds a rate is dropped on the way"),
        LimitedBy::OtherTraffic => Some("competes with other traffic that keeps its link's queue full"),
        _ => None,
    }
}

fn ends(limit: LimitedBy) -> Option<&'static str> {
    match limit {
        LimitedBy::Outage => Some("delivers again"),
        LimitedBy::Policer => Some("is not limited by a policer any more"),
        LimitedBy::OtherTraffic => Some("does not compete with other traffic any more"),
        _ => None,
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
                (1, begins(LimitedBy::Policer).unwrap()),
                (12, ends(LimitedBy::Policer).unwrap()),
                (23, begins(LimitedBy::Outage).unwrap()),
                (40, begins(LimitedBy::OtherTraffic).unwrap()),
            ]
        );
    }
}
