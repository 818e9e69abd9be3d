//! What people are told of a connection and its paths, when it is news.

use std::collections::VecDeque;
use std::time::Duration;

use mpt_proto::{DownReason, Event, Instant, Liveness, Mode, PathState};

use super::Peer;
use crate::events::{Journal, What};
use crate::report::{mode_name, reason_name};
use crate::worse::{PathLook, Told};

/// Between two looks at what limits the paths.
const LIMITS_EACH: Duration = Duration::from_secs(1);
/// So much of one connection is told at once: a start or a hand-over with all of its paths is less.
const AT_ONCE: u32 = 64;
/// After that one more each so often. A peer can make news with every datagram: log, history and hooks are not its to fill.
const NEWS_EACH: Duration = Duration::from_millis(500);

/// What happened since the loop noted it last.
#[derive(Debug, Default)]
pub(super) struct News {
    /// With the path's name, if it happened to one.
    untold: VecDeque<(Option<String>, What)>,
    /// When [`AT_ONCE`] may be told again.
    full_at: Instant,
    /// Whether the peer was last told to answer.
    is_up: bool,
}

impl News {
    /// Something happened to the connection.
    pub(super) fn push(&mut self, what: What) {
        self.add(None, what);
    }

    /// Something happened to this path of it.
    pub(super) fn path(&mut self, name: &str, what: What) {
        self.add(Some(name), what);
    }

    /// Where much waits, only the last of its kind does: it says how things are.
    fn add(&mut self, path: Option<&str>, what: What) {
        if self.untold.len() >= AT_ONCE as usize {
            self.untold.retain(|(other, before)| other.as_deref() != path || before.name() != what.name());
        }
        self.untold.push_back((path.map(str::to_owned), what));
    }

    /// What may be told now.
    fn next(&mut self, now: Instant) -> Option<(Option<String>, What)> {
        if self.untold.is_empty() || self.opens_at() > now {
            return None;
        }
        self.full_at = self.full_at.max(now) + NEWS_EACH;
        self.untold.pop_front()
    }

    /// From when on one may be told.
    fn opens_at(&self) -> Instant {
        self.full_at - NEWS_EACH * (AT_ONCE - 1)
    }

    /// When the next one that waits may be told.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.untold.is_empty()).then(|| self.opens_at())
    }
}

impl Peer<'_> {
    /// Notes what happened, after the connection was settled.
    pub(super) fn tell_news(&mut self, journal: &mut Journal, now: Instant) {
        let is_up = self.told_up != 0;
        if std::mem::replace(&mut self.news.is_up, is_up) != is_up {
            self.news.push(if is_up { What::PeerUp } else { What::PeerDown });
        }
        while let Some((path, what)) = self.news.next(now) {
            journal.note(now, Some(&self.config.name), path.as_deref(), what);
        }
    }

    /// Tells people how packets are sent, once it is known what the peer can.
    pub(super) fn tell_mode(&mut self, now: Instant) {
        let is_known = self.told_up != 0 && self.connection.peer_is_mpt();
        let mode = self.connection.mode().filter(|_| is_known);
        if let Some(mode) = self.mode.note(mode, now) {
            let (mode, reason) = mode_name(mode);
            self.news.push(What::Mode { mode: mode.to_owned(), reason: reason.map(str::to_owned) });
        }
    }

    /// Tells people what limits the paths, where that is unusual; looks now and then, as this is called for every packet.
    pub(super) fn tell_limits(&mut self, now: Instant) {
        if now.since(self.limits_at) < LIMITS_EACH {
            return;
        }
        self.limits_at = now;
        let is_adaptive = self.connection.mode() == Some(Mode::Adaptive);
        let paths = self.paths.iter().zip(&self.config.paths);
        for (index, ((path, config), news)) in paths.zip(&mut self.limits).enumerate() {
            let is_up = is_adaptive && self.told_up & (1 << index) != 0;
            let model = self.connection.path_model(path.id).ok().filter(|_| is_up);
            if let Some(what) = news.note(model.map(|model| model.limited_by), now) {
                self.news.path(&config.name, what);
            }
        }
    }

    /// Tells people when all paths together deliver less than the best one alone could, and when that is over; looks as seldom.
    pub(super) fn tell_worse(&mut self, now: Instant) {
        if self.connection.mode() != Some(Mode::Adaptive) || !self.worse.is_due(now) {
            return;
        }
        let looks: Vec<PathLook> = (0..self.paths.len())
            .filter(|path| self.told_up & (1 << path) != 0)
            .filter_map(|path| {
                let id = self.paths[path].id;
                let stats = self.connection.path_stats(id).ok()?;
                let model = self.connection.path_model(id).ok()?;
                Some(PathLook { path, sent: (stats.tx_datagrams, stats.tx_bytes), model })
            })
            .collect();
        let limit = self.config.limit.map(|bits| bits / 8);
        match self.worse.look(&looks, self.connection.waits(), limit, now) {
            None => {}
            Some(Told::Over(time)) => {
                let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                self.news.push(What::AsGoodAsBest { ms });
            }
            Some(Told::Worse { best, rate, delivered, limited_by }) => {
                let best = self.config.paths.get(best).map_or_else(String::new, |path| path.name.clone());
                let limited_by = limited_by.as_str().to_owned();
                let (rate_bps, delivered_bps) = (rate * 8, delivered * 8);
                self.news.push(What::WorseThanBest { best, rate_bps, delivered_bps, limited_by });
            }
        }
    }

    /// Tells people. That a path is down for another reason than before (silent, then without a link) is for
    /// who looks closely.
    pub(super) fn tell(&mut self, event: Event, now: Instant) {
        let peer = &self.config.name;
        match event {
            Event::PathSize { path, size, is_found } => self.follow_size(path.index(), size, is_found),
            Event::Path { path, state } => {
                (self.sizes_changed, self.states_changed) = (true, true);
                let index = path.index();
                let bit = 1 << index;
                let was_up = self.told_up & bit != 0;
                if let Some(path) = self.paths.get_mut(index) {
                    path.note_state(state, now);
                }
                if self.paths.get(index).is_none_or(|path| !path.is_there()) {
                    self.told_up &= !bit;
                    return;
                }
                let Some(path) = self.config.paths.get(index) else { return };
                match state {
                    PathState::Up if was_up => {}
                    PathState::Up => {
                        self.told_up |= bit;
                        self.news.path(&path.name, What::PathUp);
                    }
                    PathState::Down(reason) => {
                        self.told_up &= !bit;
                        self.path_went_down = true;
                        let missing = self.paths.get(index).and_then(|path| path.missing.as_ref());
                        let why = match (reason, missing) {
                            (DownReason::Link, Some(missing)) => missing.to_string(),
                            _ => explain(reason, path.liveness),
                        };
                        if was_up {
                            let reason = reason_name(reason).to_owned();
                            self.news.path(&path.name, What::PathDown { reason, why });
                        } else {
                            tracing::debug!("path {} of {peer} is still down: {why}", path.name);
                        }
                    }
                }
            }
            Event::Ecn { path, fault } => {
                if let Some(path) = self.paths.get_mut(path.index()) {
                    path.ecn_fault = fault;
                }
                let Some(path) = self.config.paths.get(path.index()) else { return };
                let what = fault.map_or(What::EcnCarried, |fault| What::EcnFault { fault: fault.into() });
                self.news.path(&path.name, what);
            }
            Event::PeerStarted => self.news.push(What::PeerStarted),
            _ => {}
        }
    }
}

fn explain(reason: DownReason, liveness: Liveness) -> String {
    match (reason, liveness) {
        (DownReason::Disabled, _) => "disabled".into(),
        (DownReason::Link, _) => "its link is down".into(),
        (DownReason::Unheard, _) => "the peer has not been heard on it yet".into(),
        (DownReason::Silent, Liveness::Probe(probing)) => {
            format!("silent for {} ms", probing.dead.as_millis())
        }
        (DownReason::Silent, Liveness::Off) => "silent".into(),
        (DownReason::Deaf, _) => "the peer does not hear us on it".into(),
        (other, _) => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(news: &mut News, seconds: u64) -> Vec<(Option<String>, What)> {
        std::iter::from_fn(|| news.next(Instant::ZERO + Duration::from_secs(seconds))).collect()
    }

    #[test]
    fn a_peer_that_starts_with_every_datagram_makes_two_news_a_second() {
        let mut news = News::default();
        let mut count = 0;
        for seconds in 1..=1000 {
            for _ in 0..500 {
                news.push(What::PeerStarted);
                count += told(&mut news, seconds).len();
            }
            assert!(news.untold.len() <= AT_ONCE as usize);
        }
        assert!((2000..2100).contains(&count), "{count}");
    }

    #[test]
    fn what_is_told_last_of_a_flapping_path_is_how_it_is() {
        let mut news = News::default();
        let mut seen = Vec::new();
        for _ in 0..10_000 {
            news.path("lte", What::PathUp);
            news.path("dsl", What::PathUp);
            news.path("lte", What::PathDown { reason: "deaf".into(), why: "it does not hear us".into() });
            seen.extend(told(&mut news, 1));
        }
        assert!(news.poll_timeout().is_some_and(|at| at > Instant::ZERO + Duration::from_secs(1)));
        seen.extend(told(&mut news, 2));
        assert!(seen.len() < 2 * AT_ONCE as usize);
        seen.extend(told(&mut news, 600));
        assert_eq!(news.poll_timeout(), None);
        let last =
            |path: &str| seen.iter().rfind(|(of, _)| of.as_deref() == Some(path)).map(|(_, it)| it.name());
        assert_eq!((last("lte"), last("dsl")), (Some("path_down"), Some("path_up")));
    }

    #[test]
    fn a_start_with_all_paths_is_told_at_once() {
        let mut news = News::default();
        for seconds in [1, 100, 200] {
            (0..AT_ONCE).for_each(|path| news.path(&path.to_string(), What::PathUp));
            assert_eq!(told(&mut news, seconds).len(), AT_ONCE as usize);
        }
    }
}
