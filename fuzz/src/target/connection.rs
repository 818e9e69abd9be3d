//! Two connections, and a network and a caller that do whatever they like.

use std::time::Duration;

use arbitrary::Arbitrary;
use mpt_proto::{
    CONTROL_MAX, Config, Connection, Ecn, HEADROOM, Instant, Link, Liveness, PathConfig, PathId, PathSizes,
    Policy, Probing, ReassemblySlot, Received, ReorderConfig, ReorderSlot, Storage, Unsent,
};

use crate::log::Log;
use crate::packet::Stamp;
use crate::target::operations;

pub(super) const SLOTS: usize = 17;
pub(super) const CELL: usize = 200;
/// Paths of each end that are searched for what they carry, how much surely passes, and what interfaces take.
const SEARCHED: usize = 3;
const LEAST: u16 = 60;
const INTERFACE: usize = 220;
/// Runs start here, so that times before the start exist.
const START: Instant = Instant::from_micros(1_000_000);
/// Datagrams that the network keeps at most; more are lost.
const IN_FLIGHT: usize = 64;
/// No drain hands out more than this: a packet for each slot, a probe and an echo for each path, the 32 signs of life
/// that each new path is shown, and so on.
const MOST_AT_ONCE: usize = 100 + 16 * 32;

#[derive(Debug, Arbitrary)]
struct Setup {
    policy: u8,
    checksum: bool,
    key: Option<u32>,
    window: u8,
    paths_in_order: bool,
    paths: [PathChoice; 3],
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub(super) struct PathChoice {
    liveness: u8,
    weight: u16,
    rank: u8,
    max_datagram: u8,
}

impl PathChoice {
    fn config(self) -> PathConfig {
        let liveness = match self.liveness % 3 {
            0 => Liveness::Off,
            1 => Liveness::Probe(Probing::INTERNET),
            _ => Liveness::Probe(Probing::LAB),
        };
        PathConfig {
            weight: self.weight % 10_000 + 1,
            rank: self.rank,
            tier: self.rank % 3,
            max_datagram: u16::from(self.max_datagram),
            liveness,
        }
    }
}

#[derive(Debug, Arbitrary)]
pub(super) enum Op {
    Send {
        end: bool,
        len: u8,
        ecn: u8,
    },
    /// One of the datagrams under way arrives.
    Deliver {
        which: u8,
        ecn: u8,
    },
    /// All of them do, in order.
    DeliverAll,
    /// One arrives and stays under way.
    Duplicate {
        which: u8,
    },
    Lose {
        which: u8,
    },
    /// One arrives with a changed byte.
    Corrupt {
        which: u8,
        at: u8,
        change: u8,
    },
    Inject {
        end: bool,
        path: u8,
        bytes: Vec<u8>,
    },
    Wait(u16),
    Timeout {
        end: bool,
    },
    /// Time is said to have gone back.
    Back {
        end: bool,
    },
    SetLink {
        end: bool,
        path: u8,
        up: bool,
    },
    SetEnabled {
        end: bool,
        path: u8,
        enabled: bool,
    },
    Remove {
        end: bool,
        path: u8,
    },
    Add {
        end: bool,
        path: PathChoice,
    },
    /// From now on the caller drains, or forgets to and takes one packet each time it is told so again.
    Drain {
        end: bool,
        drains: bool,
    },
}

pub(super) struct Datagram {
    pub(super) to: usize,
    pub(super) path: usize,
    pub(super) bytes: Vec<u8>,
    pub(super) ecn: Ecn,
}

pub(super) struct World<'m> {
    pub(super) ends: [Connection<'m>; 2],
    /// Every id that was ever given out: stale ones must stay errors.
    ids: [Vec<PathId>; 2],
    pub(super) network: Vec<Datagram>,
    pub(super) now: Instant,
    sent: [u64; 2],
    logs: [Log; 2],
    pub(super) drains: [bool; 2],
    /// Whether nothing happened that could make a packet come twice, change or come out of order.
    pub(super) is_honest: bool,
}

/// Does whatever the bytes say.
///
/// # Panics
/// The core panicked, kept something from being true that must be, or handed out things without end.
pub fn connection(data: &[u8]) {
    let Some((setup, rest)) = data.split_at_checked(40) else { return };
    let Some(setup) = operations::<Setup>(setup).next() else { return };
    let policies = &Policy::ALL[1..];
    let config = Config {
        seed: 1,
        policy: policies[usize::from(setup.policy) % policies.len()],
        checksum: setup.checksum,
        key: setup.key,
        reorder: ReorderConfig {
            window: u16::from(setup.window),
            paths_in_order: setup.paths_in_order,
            ..ReorderConfig::default()
        },
        ..Config::default()
    };
    let mut slots = [[ReorderSlot::default(); SLOTS]; 2];
    let mut bytes = [[0; SLOTS * CELL]; 2];
    let mut reassembly_slots = [[ReassemblySlot::default(); 2]; 2];
    let mut reassembly_bytes = [[0; 600]; 2];
    let [slots_a, slots_b] = &mut slots;
    let [bytes_a, bytes_b] = &mut bytes;
    let [reassembly_a, reassembly_b] = &mut reassembly_slots;
    let [pieces_a, pieces_b] = &mut reassembly_bytes;
    let (mut sizes_a, mut sizes_b) = (PathSizes::<SEARCHED>::default(), PathSizes::<SEARCHED>::default());
    let storage_a = Storage::none().with_reorder(slots_a, bytes_a).with_reassembly(reassembly_a, pieces_a);
    let storage_b = Storage::none().with_reorder(slots_b, bytes_b).with_reassembly(reassembly_b, pieces_b);
    let storage_a = storage_a.with_path_sizes(&mut sizes_a);
    let storage_b = storage_b.with_path_sizes(&mut sizes_b);
    let mut world = World::new(config, [storage_a, storage_b], setup.paths);
    for op in operations::<Op>(rest) {
        world.apply(op);
        world.check();
    }
}

impl<'m> World<'m> {
    pub(super) fn new(config: Config, storage: [Storage<'m>; 2], paths: [PathChoice; 3]) -> Self {
        let [a, b] = storage;
        let mut world = Self {
            ends: [
                Connection::new(config.clone(), a, START),
                Connection::new(Config { seed: 2, ..config }, b, START),
            ],
            ids: Default::default(),
            network: Vec::new(),
            now: START,
            sent: [0; 2],
            logs: Default::default(),
            drains: [true; 2],
            is_honest: true,
        };
        for path in paths {
            (0..2).for_each(|end| world.add(end, path));
        }
        world
    }

    fn add(&mut self, end: usize, path: PathChoice) {
        if let Ok(id) = self.ends[end].add_path(path.config(), self.now) {
            self.ids[end].push(id);
            // The network drops what is too large for nobody, and an interface refuses it.
            let _ = self.ends[end].search_size(id, LEAST, end as u64, self.now);
        }
        self.drain(end);
    }

    /// Any id that was ever given out, stale or not.
    fn id(&self, end: usize, path: u8) -> Option<PathId> {
        self.ids[end].get(usize::from(path).checked_rem(self.ids[end].len())?).copied()
    }

    fn take(&mut self, which: u8) -> Option<Datagram> {
        let at = usize::from(which).checked_rem(self.network.len())?;
        Some(self.network.remove(at))
    }

    fn post(&mut self, from: usize, path: PathId, bytes: &[u8], ecn: Ecn) {
        if self.network.len() < IN_FLIGHT {
            self.network.push(Datagram { to: 1 - from, path: path.index(), bytes: bytes.to_vec(), ecn });
        }
    }

    pub(super) fn apply(&mut self, op: Op) {
        match op {
            Op::Send { end, len, ecn } => self.send(end.into(), usize::from(len) * 3, Ecn::from_bits(ecn)),
            Op::Deliver { which, ecn } => {
                if let Some(datagram) = self.take(which) {
                    self.arrive(Datagram { ecn: Ecn::from_bits(ecn), ..datagram });
                }
            }
            Op::DeliverAll => {
                for datagram in std::mem::take(&mut self.network) {
                    self.arrive(datagram);
                }
            }
            Op::Duplicate { which } => {
                if let Some(datagram) = self.take(which) {
                    self.network.push(Datagram { bytes: datagram.bytes.clone(), ..datagram });
                    self.arrive(datagram);
                }
            }
            Op::Lose { which } => {
                self.take(which);
            }
            Op::Corrupt { which, at, change } => {
                if let Some(mut datagram) = self.take(which) {
                    self.is_honest = false;
                    let at = usize::from(at).checked_rem(datagram.bytes.len());
                    if let Some(byte) = at.and_then(|at| datagram.bytes.get_mut(at)) {
                        *byte ^= change;
                    }
                    self.arrive(datagram);
                }
            }
            Op::Inject { end, path, bytes } => {
                self.is_honest = false;
                let (to, path, ecn) = (usize::from(end), usize::from(path % 4), Ecn::NotEct);
                let _ = self.ends[to].claim(&bytes);
                self.arrive(Datagram { to, path, bytes, ecn });
            }
            Op::Wait(ms) => self.now = self.now + Duration::from_millis(u64::from(ms)),
            Op::Timeout { end } => self.time_out(end.into(), self.now),
            Op::Back { end } => self.time_out(end.into(), Instant::ZERO),
            Op::SetLink { end, path, up } => {
                let link = if up { Link::Up } else { Link::Down };
                self.on_path(end.into(), path, |end, id, now| {
                    let _ = end.handle_link(id, link, now);
                });
            }
            Op::SetEnabled { end, path, enabled } => {
                self.on_path(end.into(), path, |end, id, now| {
                    let _ = end.set_enabled(id, enabled, now);
                });
            }
            Op::Remove { end, path } => {
                self.on_path(end.into(), path, |end, id, now| {
                    let _ = end.remove_path(id, now);
                });
            }
            Op::Add { end, path } => self.add(end.into(), path),
            Op::Drain { end, drains } => {
                self.drains[usize::from(end)] = drains;
                // A caller that does not drain breaks the contract: order is not promised, only sanity.
                self.is_honest &= drains;
                if !drains && let Some(packet) = self.ends[usize::from(end)].poll_packet() {
                    self.logs[usize::from(end)].note(packet, self.now);
                }
                self.drain(end.into());
            }
        }
    }

    pub(super) fn time_out(&mut self, end: usize, now: Instant) {
        // A packet that leaves at the first may end a long silence: then the other paths give signs of life at the second.
        for _ in 0..2 {
            self.ends[end].handle_timeout(now);
            self.drain(end);
            let is_due = self.ends[end].poll_timeout().is_some_and(|next| next <= now);
            if !(is_due && self.drains[end] && now == self.now) {
                return;
            }
        }
        panic!("a deadline that stays makes a caller spin");
    }

    /// A stale id is an error, and that is all it is.
    fn on_path(&mut self, end: usize, path: u8, change: impl FnOnce(&mut Connection<'_>, PathId, Instant)) {
        if let Some(id) = self.id(end, path) {
            change(&mut self.ends[end], id, self.now);
            self.drain(end);
        }
    }

    pub(super) fn send(&mut self, from: usize, len: usize, ecn: Ecn) {
        let stamp = Stamp { serial: self.sent[from], sent: self.now };
        self.sent[from] += 1;
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(&stamp.packet(len, ecn));
        let mut datagrams = Vec::new();
        if let Ok(mut departures) = self.ends[from].encapsulate(&mut buffer, self.now) {
            while let Some(departure) = departures.next() {
                datagrams.push((departure.path, departure.datagram.to_vec(), departure.ecn));
                assert!(datagrams.len() <= 32 * 16);
            }
        }
        for (path, bytes, ecn) in datagrams {
            let state = self.ends[from].path_state(path);
            assert_eq!(state, Ok(mpt_proto::PathState::Up), "only paths that are up are taken");
            self.post(from, path, &bytes, ecn);
        }
        self.drain(from);
    }

    pub(super) fn arrive(&mut self, mut datagram: Datagram) {
        let end = datagram.to;
        let Some(id) = self.ids[end].iter().rev().find(|id| id.index() == datagram.path).copied() else {
            return;
        };
        if let Ok(Received::Packet(packet)) =
            self.ends[end].decapsulate(id, &mut datagram.bytes, datagram.ecn, self.now)
        {
            self.logs[end].note(packet, self.now);
        }
        self.drain(end);
    }

    fn drain(&mut self, end: usize) {
        if !self.drains[end] {
            return;
        }
        let mut handed_out = 0;
        let mut count = || {
            handed_out += 1;
            assert!(handed_out < MOST_AT_ONCE, "it hands out things without end");
        };
        while let Some(packet) = self.ends[end].poll_packet() {
            self.logs[end].note(packet, self.now);
            count();
        }
        let mut buffer = [0; CONTROL_MAX];
        while let Some(departure) = self.ends[end].poll_transmit(&mut buffer) {
            count();
            let path = departure.path;
            let mut room = [0; INTERFACE];
            match departure.padded(&mut room).map(<[u8]>::to_vec) {
                Some(bytes) => self.post(end, path, &bytes, Ecn::NotEct),
                None => {
                    let unsent = self.ends[end].handle_unsent(path, Unsent::TooLarge, self.now);
                    assert_eq!(unsent, Ok(()), "its path is there");
                }
            }
        }
        while self.ends[end].poll_event().is_some() {
            count();
        }
    }

    pub(super) fn check(&self) {
        for (end, connection) in self.ends.iter().enumerate() {
            assert!(connection.held() < SLOTS);
            let log = &self.logs[end];
            assert_eq!(connection.stats().rx_packets, (log.len() + log.broken()) as u64);
            if self.is_honest {
                assert_eq!((log.duplicates(), log.broken()), (0, 0));
            }
        }
    }
}
