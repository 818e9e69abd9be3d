//! The course of a recording: what the core knew and had done, looked at again and again, and what that makes of each interval.

use std::time::Duration;

use mpt_proto::{Connection, Event, Instant, PathId, PathState, Stats};
use serde::Serialize;

use crate::recorder::play::Watch;
use crate::report::{mode_name, reason_name};

/// Between two looks, at first.
const LOOK: u64 = 100_000;
/// So many looks are kept: then every other is forgotten, and looks are half as many.
const LOOKS: usize = 20_000;

/// A part of a recording: microseconds since its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Part {
    pub(super) const fn contains(&self, at: u64) -> bool {
        self.from <= at && at <= self.to
    }
}

/// One look at a path.
#[derive(Debug, Clone)]
struct PathLook {
    id: PathId,
    state: PathState,
    sent: u64,
    came: u64,
    lost: u64,
    rate: u64,
    queue: u32,
    extra_delay: u32,
    jitter: u32,
    rtt: Option<u64>,
    phase: &'static str,
    limited_by: &'static str,
}

/// One look at the core.
#[derive(Debug, Clone)]
struct Look {
    at: u64,
    stats: Stats,
    held: usize,
    mode: &'static str,
    paths: Vec<PathLook>,
}

/// Looks at a core that is played.
#[derive(Debug)]
pub(super) struct Course {
    begin: u64,
    part: Part,
    each: u64,
    looks: Vec<Look>,
    /// Paths that there were, with their names.
    pub(super) paths: Vec<(PathId, String)>,
    /// What happened, and when.
    pub(super) events: Vec<(u64, String)>,
    now: u64,
}

/// An interval, as tables and JSON have it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    /// Microseconds since the beginning.
    pub(super) from_us: u64,
    pub(super) to_us: u64,
    /// How packets are sent at its end.
    pub(super) mode: &'static str,
    /// Bits a second of inner packets that were taken for sending, and that were delivered.
    pub(super) tx_bps: u64,
    pub(super) rx_bps: u64,
    /// Packets: not taken or dropped while they waited; sent again; given up at the receiver; waiting there for others at the end.
    pub(super) tx_dropped: u64,
    pub(super) tx_resent: u64,
    pub(super) rx_lost: u64,
    pub(super) rx_held: usize,
    pub(super) paths: Vec<PathRow>,
}

/// A path in an interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct PathRow {
    pub(super) name: String,
    /// `up`, or why it is down.
    pub(super) state: &'static str,
    /// Bits a second of datagrams, and the share of what was sent on all paths, in per cent.
    pub(super) tx_bps: u64,
    pub(super) tx_share: u64,
    pub(super) rx_bps: u64,
    /// Packets that did not arrive.
    pub(super) lost: u64,
    /// What is known of it at the end: bits a second that it carries, microseconds of queue, of delay beyond the fastest path, of noise, and of
    /// round trip.
    pub(super) rate_bps: u64,
    pub(super) queue_us: u32,
    pub(super) extra_delay_us: u32,
    pub(super) jitter_us: u32,
    pub(super) rtt_us: Option<u64>,
    pub(super) phase: &'static str,
    pub(super) limited_by: &'static str,
}

impl Course {
    /// Of a recording whose clock begins at `begin`.
    pub(super) fn new(begin: u64, part: Part) -> Self {
        let (looks, paths, events) = (Vec::new(), Vec::new(), Vec::new());
        Self { begin, part, each: LOOK, looks, paths, events, now: 0 }
    }

    fn look(&mut self, core: &Connection<'_>) {
        let paths = self.paths.iter().filter_map(|(id, _)| path_look(core, *id)).collect();
        let mode = core.mode().map_or("-", |mode| mode_name(mode).0);
        let look = Look { at: self.now, stats: core.stats(), held: core.held(), mode, paths };
        self.looks.push(look);
        if self.looks.len() >= LOOKS {
            let mut number = 0;
            self.looks.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.each *= 2;
        }
    }

    /// The name of a path.
    pub(super) fn name(&self, id: PathId) -> &str {
        self.paths.iter().rev().find(|(known, _)| *known == id).map_or("?", |(_, name)| name)
    }

    /// The names of all paths, each once.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (_, name) in &self.paths {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// Intervals of this length; without one, about twenty.
    pub(super) fn rows(&self, each: Option<Duration>) -> Vec<Row> {
        let (Some(first), Some(last)) = (self.looks.first(), self.looks.last()) else { return Vec::new() };
        let each = match each {
            Some(each) => u64::try_from(each.as_micros()).unwrap_or(u64::MAX).max(1),
            None => round(((last.at - first.at) / 20).max(LOOK)),
        };
        let mut rows = Vec::new();
        let mut since = first;
        for look in &self.looks[1..] {
            if look.at - since.at >= each || look.at == last.at {
                rows.push(self.row(since, look));
                since = look;
            }
        }
        rows
    }

    fn row(&self, since: &Look, until: &Look) -> Row {
        let (a, b) = (&since.stats, &until.stats);
        let time = until.at - since.at;
        let not_taken =
            |stats: &Stats| stats.tx_dropped + stats.tx_no_path + stats.tx_too_large + stats.tx_limited;
        let before = |path: &PathLook| since.paths.iter().find(|it| it.id == path.id);
        let sent = |path: &PathLook| path.sent - before(path).map_or(0, |it| it.sent);
        let all: u64 = until.paths.iter().map(sent).sum();
        let path = |path: &PathLook| PathRow {
            name: self.name(path.id).to_owned(),
            state: match path.state {
                PathState::Up => "up",
                PathState::Down(reason) => reason_name(reason),
            },
            tx_bps: bits(sent(path), time),
            tx_share: (sent(path) * 100).checked_div(all).unwrap_or(0),
            rx_bps: bits(path.came - before(path).map_or(0, |it| it.came), time),
            lost: path.lost.saturating_sub(before(path).map_or(0, |it| it.lost)),
            rate_bps: path.rate * 8,
            queue_us: path.queue,
            extra_delay_us: path.extra_delay,
            jitter_us: path.jitter,
            rtt_us: path.rtt,
            phase: path.phase,
            limited_by: path.limited_by,
        };
        Row {
            from_us: since.at,
            to_us: until.at,
            mode: until.mode,
            tx_bps: bits(b.tx_bytes - a.tx_bytes, time),
            rx_bps: bits(b.rx_bytes - a.rx_bytes, time),
            tx_dropped: not_taken(b) - not_taken(a),
            tx_resent: b.tx_resent - a.tx_resent,
            rx_lost: b.rx_lost.saturating_sub(a.rx_lost),
            rx_held: until.held,
            paths: until.paths.iter().map(path).collect(),
        }
    }
}

impl Watch for Course {
    fn time(&mut self, core: &Connection<'_>, now: Instant) {
        let at = now.as_micros().saturating_sub(self.begin);
        self.now = at;
        let is_due = self.looks.last().is_none_or(|last| at - last.at >= self.each);
        if is_due && self.part.contains(at) {
            self.look(core);
        }
    }

    fn path(&mut self, path: PathId, name: &str) {
        self.paths.push((path, name.to_owned()));
    }

    fn event(&mut self, event: Event, now: Instant) {
        let at = now.as_micros().saturating_sub(self.begin);
        if !self.part.contains(at) {
            return;
        }
        let what = match event {
            Event::Path { path, state: PathState::Up } => format!("{} is up", self.name(path)),
            Event::Path { path, state: PathState::Down(reason) } => {
                format!("{} is down: {}", self.name(path), reason_name(reason))
            }
            Event::Ecn { path, fault } => {
                let how =
                    if fault.is_some() { "does not carry ECN marks" } else { "carries ECN marks again" };
                format!("{} {how}", self.name(path))
            }
            Event::LargeLost { path } => format!("{} loses large datagrams", self.name(path)),
            Event::PathSize { path, size, is_found: true } => {
                format!("{} carries datagrams of {size} bytes", self.name(path))
            }
            Event::PeerStarted => "the peer started".to_owned(),
            _ => return,
        };
        self.events.push((at, what));
    }
}

fn path_look(core: &Connection<'_>, id: PathId) -> Option<PathLook> {
    let (state, stats) = (core.path_state(id).ok()?, core.path_stats(id).ok()?);
    let model = core.path_model(id).ok()?;
    let rtt = core.path_rtt(id).ok()?;
    Some(PathLook {
        id,
        state,
        sent: stats.tx_bytes,
        came: stats.rx_bytes,
        lost: model.lost,
        rate: model.rate.into(),
        queue: model.queue,
        extra_delay: model.extra_delay,
        jitter: model.jitter,
        rtt: rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        phase: model.phase.as_str(),
        limited_by: model.limited_by.as_str(),
    })
}

/// Bits a second.
fn bits(bytes: u64, micros: u64) -> u64 {
    let bits = u128::from(bytes) * 8_000_000 / u128::from(micros.max(1));
    u64::try_from(bits).unwrap_or(u64::MAX)
}

/// The next of 1, 2, 5, 10, 20 .. times [`LOOK`].
fn round(micros: u64) -> u64 {
    let steps = (0..).flat_map(|power| [1, 2, 5].map(|step: u64| step * LOOK * 10_u64.pow(power)));
    steps.take(36).find(|step| *step >= micros).unwrap_or(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_round_lengths() {
        assert_eq!([1, 100_000, 100_001, 3_000_000].map(round), [100_000, 100_000, 200_000, 5_000_000]);
    }
}
