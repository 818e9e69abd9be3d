//! What people are told of a connection and its paths, when it is news.

use std::time::Duration;

use mpt_proto::{DownReason, Event, Instant, Liveness, Mode, PathState};

use super::Peer;
use crate::events::{Journal, What};
use crate::report::{mode_name, reason_name};
use crate::worse::{PathLook, Told};

/// Between two looks at what limits the paths.
const LIMITS_EACH: Duration = Duration::from_secs(1);

/// What happened since the loop noted it last.
#[derive(Debug, Default)]
pub(super) struct News {
    /// With the path's name, if it happened to one.
    untold: Vec<(Option<String>, What)>,
    /// Whether the peer was last told to answer.
    is_up: bool,
}

impl News {
    /// Something happened to the connection.
    pub(super) fn push(&mut self, what: What) {
        self.untold.push((None, what));
    }

    /// Something happened to this path of it.
    pub(super) fn path(&mut self, name: &str, what: What) {
        self.untold.push((Some(name.to_owned()), what));
    }
}

impl Peer<'_> {
    /// Notes what happened, after the connection was settled.
    pub(super) fn tell_news(&mut self, journal: &mut Journal, now: Instant) {
        let is_up = self.told_up != 0;
        if std::mem::replace(&mut self.news.is_up, is_up) != is_up {
            self.news.push(if is_up { What::PeerUp } else { What::PeerDown });
        }
        for (path, what) in self.news.untold.drain(..) {
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
        match self.worse.look(&looks, self.connection.waiting() > 0, limit, now) {
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
            Event::LargeLost { path } => {
                let Some(path) = self.paths.get_mut(path.index()) else { return };
                if let Some(search) = &mut path.search {
                    path.doubted = true;
                    search.doubt(now);
                }
            }
            Event::Path { path, state } => {
                (self.sizes_changed, self.states_changed) = (true, true);
                let index = path.index();
                let bit = 1 << index;
                let was_up = self.told_up & bit != 0;
                if let Some(search) = self.paths.get_mut(index).and_then(|path| path.search.as_mut()) {
                    match state {
                        PathState::Up => search.resume(now),
                        PathState::Down(_) => search.pause(),
                    }
                }
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
