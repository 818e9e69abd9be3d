//! What people are told of a connection and its paths, when it is news.

use std::time::Duration;

use mpt_proto::{DownReason, EcnFault, Event, Instant, Liveness, Mode, PathState};

use super::Peer;

/// Between two looks at what limits the paths.
const LIMITS_EACH: Duration = Duration::from_secs(1);

impl Peer<'_> {
    /// Tells people how packets are sent, once it is known what the peer can.
    pub(super) fn tell_mode(&mut self, now: Instant) {
        let is_known = self.told_up != 0 && self.connection.peer_is_mpt();
        let mode = self.connection.mode().filter(|_| is_known);
        if let Some(how) = self.mode.note(mode, now) {
            tracing::info!("packets to {} are sent {how}", self.config.name);
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
                tracing::info!("path {} of {} {what}", config.name, self.config.name);
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
                        tracing::info!("path {} of {peer} is up", path.name);
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
                            tracing::info!("path {} of {peer} is down: {why}", path.name);
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
                match fault {
                    Some(fault) => tracing::info!(
                        "path {} of {peer} {}: packets leave without ECN marks there",
                        path.name,
                        explain_ecn(fault)
                    ),
                    None => tracing::info!("path {} of {peer} carries ECN marks again", path.name),
                }
            }
            Event::PeerStarted => tracing::info!("{peer} has started"),
            _ => {}
        }
    }
}

pub(super) fn explain_ecn(fault: EcnFault) -> String {
    match fault {
        EcnFault::Lost => "drops datagrams with ECN marks".into(),
        EcnFault::Cleared => "changes ECN marks".into(),
        EcnFault::AllMarked => "marks all datagrams as having met congestion".into(),
        other => format!("does not carry ECN marks ({other:?})"),
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
