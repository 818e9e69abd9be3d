//! One path: its name and its life.
//!
//! | state | from | when |
//! |---|---|---|
//! | `Down(Unheard)` | the start | |
//! | `Up` | `Unheard`, `Silent`, `Deaf` | something is heard, and the peer says that it hears us |
//! | `Down(Silent)` | `Up`, `Deaf` | a probe is unanswered for the dead time, and nothing else is heard |
//! | `Down(Deaf)` | `Up`, `Unheard`, `Silent` | something is heard, but the peer says that it does not hear us |
//! | `Down(Disabled)`, `Down(Link)` | any | disabled, or the link below is down; `Silent` or `Unheard` after that |
//!
//! Each end judges what it hears on a path and says in every control message, on whatever path, which paths
//! it hears; a path is up when both directions work. So an end learns of a dead direction as soon as
//! either end notices. Anything valid that arrives counts as heard, so that probes lost in a full queue do
//! not bring a busy path down.

mod ecn;
mod mtu;
mod roaming;

use crate::config::{Liveness, PathConfig};
use crate::ecn::Ecn;
use crate::rng::Rng;
use crate::stats::PathStats;
use crate::time::{Instant, Micros};
use crate::wire::control::{Kind, Message};

use ecn::EcnCheck;
pub use ecn::EcnFault;
pub(crate) use mtu::PathMtu;
pub use roaming::{Roaming, RoamingStats, RoamingStep, Sighting};

/// Names a path of a connection. The id of a removed path never names another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub struct PathId {
    pub(crate) index: u8,
    pub(crate) generation: u8,
}

impl PathId {
    /// The path's number within its connection, 0 to 15: what the wire carries.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// Whether packets may take a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub enum PathState {
    /// Packets may take it.
    Up,
    /// No packets take it; probes do, unless it is disabled or its link is down.
    Down(DownReason),
}

impl PathState {
    /// Whether nothing comes back on the path, though its link works as far as is known.
    pub const fn is_silent(self) -> bool {
        matches!(self, Self::Down(DownReason::Silent | DownReason::Unheard | DownReason::Deaf))
    }
}

/// Why a path is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub enum DownReason {
    /// Disabled by [`Connection::set_enabled`](crate::Connection::set_enabled).
    Disabled,
    /// Its link is down, as [`Connection::handle_link`](crate::Connection::handle_link) said.
    Link,
    /// The peer has not been heard on it yet.
    Unheard,
    /// The peer was heard, but has been silent for the dead time.
    Silent,
    /// The peer says that it does not hear us on it.
    Deaf,
}

/// How long after the last packet a path counts as in use: a few round trips of a slow path, so that the pauses
/// of a busy TCP connection do not let its probes fall back to the idle interval.
pub(crate) const IN_USE: Micros = Micros(1_000_000);
/// A dead path is asked again that often while packets leave on others: it is wanted as soon as it works.
const WANTED: Micros = Micros(1_000_000);

/// A control message that is to be sent on a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    pub(crate) stamp: u32,
    /// Of an echo: the marks that the probe arrived with. `None`: it is a probe.
    pub(crate) arrived: Option<Ecn>,
    /// Of its outer header.
    pub(crate) ecn: Ecn,
    /// Bytes that its datagram is to have at least.
    pub(crate) padded_to: u16,
}

impl Due {
    /// A probe with this stamp.
    pub(crate) const fn probe(stamp: u32) -> Self {
        Self { stamp, arrived: None, ecn: Ecn::NotEct, padded_to: 0 }
    }
}

/// [`Probing`](crate::Probing), small.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
struct Timing {
    interval: Micros,
    idle: Micros,
    dead: Micros,
}

/// One path of a connection. A connection has room for 16, so its size counts.
#[derive(Debug)]
#[cfg_attr(feature = "state", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Path {
    pub(crate) id: PathId,
    /// As in [`PathConfig`].
    pub(crate) max_datagram: u16,
    /// `None`: it is not probed.
    timing: Option<Timing>,
    #[cfg_attr(feature = "state", serde(deserialize_with = "crate::state::path_stats"))]
    pub(crate) stats: PathStats,
    enabled: bool,
    link_up: bool,
    /// The number that the peer gives this path.
    pub(crate) peer_index: Option<u8>,
    /// Whether the peer hears us on it, as it last said.
    pub(crate) peer_hears: bool,
    /// What was last told by an event.
    pub(crate) told: PathState,
    /// Whether the peer was ever heard.
    heard_once: bool,
    /// Whether the peer is heard: at first no, then until it was silent for the dead time.
    hears: bool,
    /// When the first probe left that nothing heard has followed; [`Instant::NEVER`]: none did.
    waiting_since: Instant,
    /// When the next probe leaves.
    next_probe: Instant,
    /// When it leaves if the last one was answered and no packets flow.
    next_idle_probe: Instant,
    /// Waits double from one unanswered probe of a dead path to the next, up to the idle interval, or [`WANTED`].
    #[cfg_attr(
        feature = "state",
        serde(deserialize_with = "crate::state::at_most::<{ MAX_BACKOFF as u64 }, _, _>")
    )]
    backoff: u8,
    in_use_until: Instant,
    probe_due: bool,
    marked_probe_due: bool,
    /// How the probe arrived whose echo is due, and its stamp.
    echo_due: Option<Ecn>,
    echo_stamp: u32,
    ecn: EcnCheck,
}

impl Path {
    pub(crate) fn new(id: PathId, config: PathConfig, now: Instant) -> Self {
        let timing = match config.liveness {
            Liveness::Off => None,
            Liveness::Probe(probing) => Some(Timing {
                interval: probing.interval.into(),
                idle: probing.idle.into(),
                dead: probing.dead.into(),
            }),
        };
        Self {
            id,
            max_datagram: config.max_datagram,
            timing,
            stats: PathStats::default(),
            enabled: true,
            link_up: true,
            peer_index: None,
            peer_hears: false,
            told: PathState::Down(DownReason::Unheard),
            heard_once: false,
            hears: false,
            waiting_since: Instant::NEVER,
            next_probe: now,
            next_idle_probe: now,
            backoff: 0,
            in_use_until: Instant::ZERO,
            probe_due: false,
            marked_probe_due: false,
            echo_due: None,
            echo_stamp: 0,
            ecn: EcnCheck::default(),
        }
    }

    /// Whether probes are sent on it.
    const fn probing(&self) -> Option<Timing> {
        if self.enabled && self.link_up { self.timing } else { None }
    }

    pub(crate) const fn state(&self) -> PathState {
        let reason = if !self.enabled {
            DownReason::Disabled
        } else if !self.link_up {
            DownReason::Link
        } else if self.timing.is_none() {
            return PathState::Up;
        } else if !self.heard_once {
            DownReason::Unheard
        } else if !self.hears {
            DownReason::Silent
        } else if !self.peer_hears {
            DownReason::Deaf
        } else {
            return PathState::Up;
        };
        PathState::Down(reason)
    }

    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.state(), PathState::Up)
    }

    /// Whether packets of the peer may still arrive on it: what our control messages say of it.
    pub(crate) const fn hears(&self) -> bool {
        self.enabled && self.link_up && (self.hears || self.timing.is_none())
    }

    /// Something valid of the peer arrived on it.
    pub(crate) fn handle_heard(&mut self, now: Instant) {
        self.heard_once = true;
        self.hears = true;
        self.waiting_since = Instant::NEVER;
        self.backoff = 0;
        if !self.is_used(now) {
            self.next_probe = self.next_probe.max(self.next_idle_probe);
        }
    }

    /// A packet was sent or came on it: probes fall back to the short interval.
    pub(crate) fn handle_used(&mut self, now: Instant) {
        self.in_use_until = now + IN_USE;
        if let Some(probing) = self.probing() {
            self.next_probe = self.next_probe.min(now + probing.interval);
        }
    }

    /// Packets begin to leave on other paths: if this one is dead, it is wanted.
    pub(crate) fn handle_wanted(&mut self, now: Instant) {
        if let Some(probing) = self.probing().filter(|_| !self.hears) {
            self.next_probe = self.next_probe.min(now + probing.interval.max(WANTED));
        }
    }

    fn is_used(&self, now: Instant) -> bool {
        now < self.in_use_until
    }

    /// A control message of the peer came on it, with these marks on its outer header.
    pub(crate) fn handle_control(&mut self, message: &Message, ecn: Ecn, now: Instant) {
        self.peer_index = Some(message.path);
        match message.kind {
            // An echo is due. Of two probes that came together, one with marks tells more.
            Kind::Probe if ecn != Ecn::NotEct || self.echo_due.is_none_or(|due| due == Ecn::NotEct) => {
                (self.echo_due, self.echo_stamp) = (Some(ecn), message.stamp);
            }
            Kind::Probe => {}
            Kind::Echo => {
                self.stats.echoes = self.stats.echoes.saturating_add(1);
                self.ecn.handle_echo(message.stamp, message.arrived, now);
            }
        }
    }

    /// The marks of the outer header of a packet with these marks (RFC 6040 section 4.1). A path that is not probed cannot be
    /// tested, and carries what it is given.
    pub(crate) fn outer_ecn(&mut self, inner: Ecn) -> Ecn {
        if self.timing.is_none() { inner } else { self.ecn.outer(inner) }
    }

    /// What is wrong with ECN marks on the path, or `None` inside if nothing is any more; only when that is news.
    pub(crate) fn ecn_news(&mut self) -> Option<Option<EcnFault>> {
        self.ecn.news()
    }

    /// The peer is another process than before.
    pub(crate) fn handle_peer_started(&mut self) {
        self.peer_index = None;
        self.peer_hears = false;
    }

    /// The path may work again, or the peer should hear news: probe at once.
    pub(crate) fn probe_now(&mut self) {
        self.probe_due = self.probing().is_some();
    }

    /// Whether it is probed, as far as the caller decides.
    pub(crate) const fn is_probed(&self) -> bool {
        self.timing.is_some()
    }

    /// Whether datagrams may leave and arrive on it, as the caller decides.
    pub(crate) const fn is_enabled(&self) -> bool {
        self.enabled
    }

    pub(crate) fn set_enabled(&mut self, enabled: bool, now: Instant) {
        if core::mem::replace(&mut self.enabled, enabled) != enabled && enabled {
            self.revive(now);
        }
    }

    /// Whether the link below works, as the caller sees it.
    pub(crate) fn set_link(&mut self, is_up: bool, now: Instant) {
        if core::mem::replace(&mut self.link_up, is_up) != is_up && is_up {
            self.revive(now);
        }
    }

    /// The path starts anew after it was disabled or its link was down.
    fn revive(&mut self, now: Instant) {
        self.hears = false;
        self.peer_hears = false;
        self.waiting_since = Instant::NEVER;
        self.backoff = 0;
        self.next_probe = now;
        self.ecn.restart();
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; [`Instant::NEVER`]: nothing.
    pub(crate) fn deadline(&self) -> Instant {
        let Some(probing) = self.probing() else { return Instant::NEVER };
        // What is awaited never comes: nor is the path dead then.
        let dead = if self.hears { self.waiting_since + probing.dead } else { Instant::NEVER };
        dead.min(self.next_probe)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let Some(probing) = self.probing() else { return };
        if self.hears && self.waiting_since != Instant::NEVER && self.waiting_since + probing.dead <= now {
            self.hears = false;
        }
        if self.next_probe <= now {
            self.probe_due = true;
        }
    }

    /// What is to be sent now; sending it is assumed. `is_wanted`: packets leave, on whatever path.
    pub(crate) fn poll_due(&mut self, now: Instant, is_wanted: bool, rng: &mut Rng) -> Option<Due> {
        let probing = self.probing();
        if let Some(ecn) = self.echo_due.take().filter(|_| self.enabled && self.link_up) {
            return Some(Due { arrived: Some(ecn), ..Due::probe(self.echo_stamp) });
        }
        if core::mem::take(&mut self.marked_probe_due) && probing.is_some() {
            self.stats.probes = self.stats.probes.saturating_add(1);
            return Some(Due { ecn: Ecn::Ect0, ..Due::probe(self.ecn.stamp()) });
        }
        if !core::mem::take(&mut self.probe_due) {
            return None;
        }
        let probing = probing?;
        self.stats.probes = self.stats.probes.saturating_add(1);
        self.waiting_since = self.waiting_since.min(now);
        let wait = if self.hears || self.is_used(now) {
            probing.interval
        } else {
            let doubled = Micros(probing.interval.0.saturating_mul(1 << self.backoff));
            let longest = if is_wanted { WANTED.min(probing.idle) } else { probing.idle };
            let wait = doubled.min(longest.max(probing.interval));
            self.backoff = (self.backoff + 1).min(MAX_BACKOFF);
            wait
        };
        self.next_probe = now + jittered(wait, rng);
        self.next_idle_probe = now + jittered(probing.idle, rng);
        self.marked_probe_due = self.ecn.test(now);
        Some(Due::probe(now.stamp()))
    }
}

/// Shortest wait for the next probe, so that no setting makes a caller spin.
const MIN_WAIT: Micros = Micros(1000);

/// `wait`, a quarter of it more or less: RFC 8085 section 3.5 asks for jitter.
fn jittered(wait: Micros, rng: &mut Rng) -> Micros {
    let jitter = u32::try_from(rng.below(u64::from(wait.0 / 2))).unwrap_or(0);
    Micros((wait.0 - wait.0 / 4).saturating_add(jitter)).max(MIN_WAIT)
}

/// Doublings of the wait for a dead path; what bounds the wait is the idle interval or [`WANTED`].
const MAX_BACKOFF: u8 = 16;
