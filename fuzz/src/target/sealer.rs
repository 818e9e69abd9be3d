//! Two sealers, and a network, callers and clocks that do whatever they like.
//!
//! The model knows every datagram that was ever sent. A packet may come out where it was sent to, on its path, as it was,
//! once, within the life of its keys, and never after one that a later process of its sender sealed. Nobody is answered but
//! who repeats a true initiation. When the harm ends, packets flow again.

use std::collections::HashSet;
use std::time::Duration;

use arbitrary::Arbitrary;
use mpt_proto::{Instant, PathSet};
use mpt_seal::{Event, Memory, NotSealed, Opened, PeerId};

use crate::sealed::{self, START, Watched, WatchedKey, WatchedSealer, memory, peer, source};
use crate::target::operations;

/// Paths between the two.
const PATHS: u8 = 3;
/// Processes of both ends together.
const PROCESSES: usize = 10;
/// Datagrams under way at most; more are lost.
const IN_FLIGHT: usize = 64;
/// Places for peers of each end.
const PEERS: usize = 3;
/// What one drain hands out at most: an initiation for each path and three events, of each peer.
const MOST_AT_ONCE: usize = PEERS * (16 + 3);
/// Keys are erased at this age.
const LIFE: Duration = Duration::from_secs(180);
/// An initiation without mac2: that has a meaning only where a cookie is asked for.
const MEANING: usize = 144;

#[derive(Debug, Arbitrary)]
enum Op {
    Send {
        end: bool,
        path: u8,
        len: u8,
    },
    Probe {
        end: bool,
        path: u8,
    },
    /// One of the datagrams under way arrives.
    Deliver {
        which: u8,
    },
    DeliverAll,
    Lose {
        which: u8,
    },
    /// One that was ever sent arrives, at the end that it was for or at its sender, from another path or not.
    Replay {
        which: u16,
        reflect: bool,
        path: Option<u8>,
    },
    /// One that was ever sent arrives with a change.
    Mutate {
        which: u16,
        at: u16,
        change: u8,
        cut: Option<u8>,
    },
    /// The head of one and the tail of another.
    Splice {
        head: u16,
        tail: u16,
        at: u8,
    },
    /// Milliseconds.
    Wait(u8),
    /// Seconds, with deadlines kept or without.
    WaitLong {
        seconds: u8,
        keeps: bool,
    },
    Timeout {
        end: bool,
    },
    Initiate {
        end: bool,
    },
    SetPaths {
        end: bool,
        paths: u8,
    },
    Remove {
        end: bool,
    },
    Add {
        end: bool,
    },
    /// Another peer, which never speaks.
    AddOther {
        end: bool,
    },
    RemoveOther {
        end: bool,
    },
    /// Another process takes an end's place.
    Restart {
        end: bool,
    },
    /// The clock of an end is set.
    Clock {
        end: bool,
        seconds: u16,
    },
}

/// What was sent.
#[derive(Debug, Clone)]
struct Datagram {
    to: usize,
    path: u8,
    bytes: Vec<u8>,
    /// Of a packet: its number.
    serial: Option<u32>,
    /// The sender's process.
    process: usize,
    at: Instant,
}

struct End<'m> {
    sealer: WatchedSealer<'m>,
    peer: Option<PeerId>,
    other: Option<PeerId>,
    process: usize,
    /// Seconds since 1970.
    clock: u64,
    /// The latest process of the peer of which a packet came.
    heard: usize,
}

struct World<'m> {
    ends: Vec<End<'m>>,
    memory: std::slice::IterMut<'m, Memory<WatchedKey>>,
    ciphers: Watched,
    now: Instant,
    network: Vec<Datagram>,
    kept: Vec<Datagram>,
    came: HashSet<u32>,
    serial: u32,
    processes: usize,
}

/// Does whatever the bytes say.
///
/// # Panics
/// A fault was found.
pub fn sealer(data: &[u8]) {
    let mut memory: Vec<_> = (0..PROCESSES).map(|_| memory(PEERS)).collect();
    let mut world = World {
        ends: Vec::new(),
        memory: memory.iter_mut(),
        ciphers: Watched::default(),
        now: START,
        network: Vec::new(),
        kept: Vec::new(),
        came: HashSet::new(),
        serial: 0,
        processes: 0,
    };
    for end in 0..2 {
        let new = world.begin(end).expect("there is memory");
        world.ends.push(new);
    }
    for op in operations::<Op>(data) {
        world.apply(&op);
        world.drain();
    }
    world.recover();
}

impl<'m> World<'m> {
    /// A new process of an end.
    fn begin(&mut self, end: usize) -> Option<End<'m>> {
        let memory = self.memory.next()?;
        self.processes += 1;
        let number = if end == 0 { 1 } else { 2 };
        let instance = u32::try_from(self.processes).unwrap_or(u32::MAX);
        let mut sealer = sealed::sealer(number, instance, self.ciphers.clone(), memory, self.now);
        let peer = sealer.add_peer(peer(3 - number)).expect("there is room");
        sealer.set_paths(peer, (0..usize::from(PATHS)).collect());
        let clock = self.now.as_micros() / 1_000_000;
        Some(End { sealer, peer: Some(peer), other: None, process: self.processes, clock, heard: 0 })
    }

    fn post(&mut self, datagram: Datagram) {
        if self.network.len() < IN_FLIGHT {
            self.network.push(datagram.clone());
        }
        self.kept.push(datagram);
    }

    fn known(&self, which: u16) -> Option<&Datagram> {
        self.kept.get(usize::from(which).checked_rem(self.kept.len())?)
    }

    fn take(&mut self, which: u8) -> Option<Datagram> {
        let at = usize::from(which).checked_rem(self.network.len())?;
        Some(self.network.remove(at))
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Send { end, path, len } => {
                self.send(end.into(), path % PATHS, len.into());
            }
            Op::Probe { end, path } => {
                let clear = [&[0, 0, 0x88, 0xb5, 0x11][..], &[0; 27]].concat();
                self.seal(end.into(), path % PATHS, &clear, None);
            }
            Op::Deliver { which } => {
                if let Some(Datagram { to, path, bytes, .. }) = self.take(which) {
                    self.arrive(to, path, bytes);
                }
            }
            Op::DeliverAll => self.deliver_all(),
            Op::Lose { which } => {
                self.take(which);
            }
            Op::Replay { which, reflect, path } => {
                if let Some(Datagram { to, path: own, bytes, .. }) = self.known(which).cloned() {
                    self.arrive(
                        if reflect { 1 - to } else { to },
                        path.map_or(own, |path| path % PATHS),
                        bytes,
                    );
                }
            }
            Op::Mutate { which, at, change, cut } => {
                if let Some(Datagram { to, path, mut bytes, .. }) = self.known(which).cloned() {
                    let at = usize::from(at) % bytes.len();
                    bytes[at] ^= change;
                    if let Some(cut) = cut {
                        bytes.truncate(cut.into());
                    }
                    self.arrive(to, path, bytes);
                }
            }
            Op::Splice { head, tail, at } => {
                if let Some((head, tail)) = self.known(head).zip(self.known(tail)) {
                    let at = usize::from(at).min(head.bytes.len()).min(tail.bytes.len());
                    let (to, path) = (head.to, tail.path);
                    let bytes = [&head.bytes[..at], &tail.bytes[at..]].concat();
                    self.arrive(to, path, bytes);
                }
            }
            Op::Wait(ms) => self.pass(Duration::from_millis(ms.into()), true),
            Op::WaitLong { seconds, keeps } => self.pass(Duration::from_secs(seconds.into()), keeps),
            Op::Timeout { end } => self.time_out(end.into()),
            Op::Initiate { end } => {
                let end = &mut self.ends[usize::from(end)];
                if let Some(peer) = end.peer {
                    end.sealer.initiate(peer, self.now);
                }
            }
            Op::SetPaths { end, paths } => {
                let end = &mut self.ends[usize::from(end)];
                if let Some(peer) = end.peer {
                    let paths = (0..PATHS).filter(|path| paths & (1 << path) != 0);
                    end.sealer.set_paths(peer, paths.map(usize::from).collect());
                }
            }
            Op::Remove { end } => {
                let end = &mut self.ends[usize::from(end)];
                if let Some(peer) = end.peer.take() {
                    end.sealer.remove_peer(peer);
                    assert!(end.sealer.status(peer, self.now).is_none());
                }
            }
            Op::Add { end } => self.add(end.into()),
            Op::AddOther { end } => {
                let end = &mut self.ends[usize::from(end)];
                if let (None, Ok(other)) = (end.other, end.sealer.add_peer(peer(7))) {
                    end.other = Some(other);
                    end.sealer.set_paths(other, PathSet::of(5));
                    end.sealer.initiate(other, self.now);
                }
            }
            Op::RemoveOther { end } => {
                let end = &mut self.ends[usize::from(end)];
                if let Some(other) = end.other.take() {
                    end.sealer.remove_peer(other);
                }
            }
            Op::Restart { end } => {
                if let Some(new) = self.begin(end.into()) {
                    let heard = self.ends[usize::from(end)].heard;
                    self.ends[usize::from(end)] = End { heard, ..new };
                }
            }
            Op::Clock { end, seconds } => self.ends[usize::from(end)].clock = seconds.into(),
        }
    }

    fn add(&mut self, end: usize) {
        let end = &mut self.ends[end];
        let number = if end.sealer.public() == peer(1).public { 2 } else { 1 };
        match (end.peer, end.sealer.add_peer(peer(number))) {
            (None, Ok(new)) => {
                end.sealer.set_paths(new, (0..usize::from(PATHS)).collect());
                end.peer = Some(new);
            }
            (before, result) => assert!(before.is_some() && result.is_err(), "a peer is known once"),
        }
    }

    /// A packet leaves, if there are keys; its number if it did.
    fn send(&mut self, from: usize, path: u8, len: usize) -> Option<u32> {
        self.serial += 1;
        let serial = self.serial;
        let mut clear = vec![0x10, 0, 0x08, 0];
        clear.extend(serial.to_be_bytes());
        clear.push(0x45);
        clear.resize(9 + len, 0x77);
        self.seal(from, path, &clear, Some(serial)).then_some(serial)
    }

    fn seal(&mut self, from: usize, path: u8, clear: &[u8], serial: Option<u32>) -> bool {
        let (now, end) = (self.now, &mut self.ends[from]);
        let Some(peer) = end.peer else { return false };
        let mut place = vec![0; end.sealer.sealed_len(clear, 1400).expect("it may be sealed")];
        let sealed = end.sealer.seal(peer, path, clear, &mut place, now);
        if let Err(reason) = sealed {
            assert_eq!(reason, NotSealed::NoSession);
            assert!(place.iter().all(|byte| *byte == 0), "nothing that may leave");
            return false;
        }
        let process = end.process;
        self.post(Datagram { to: 1 - from, path, bytes: place, serial, process, at: now });
        true
    }

    fn deliver_all(&mut self) {
        for Datagram { to, path, bytes, .. } in std::mem::take(&mut self.network) {
            self.arrive(to, path, bytes);
        }
    }

    /// Bytes arrive at an end from the other end of a path.
    fn arrive(&mut self, to: usize, path: u8, mut bytes: Vec<u8>) {
        let Self { ends, now, kept, .. } = self;
        let (now, original) = (*now, bytes.clone());
        let end = &mut ends[to];
        let from = end.peer.map(|peer| (peer, path));
        match end.sealer.open(&source(path), from, &mut bytes, now) {
            Opened::Clear { peer, path, datagram, .. } => {
                assert_eq!(Some(peer), end.peer);
                let sent = kept.iter().find(|sent| sent.bytes == original).expect("nobody else has the keys");
                assert_eq!((sent.to, sent.path), (to, path));
                assert!(now.since(sent.at) < LIFE, "it is older than its keys may be");
                assert!(sent.process >= end.heard, "its sender is gone");
                end.heard = sent.process;
                if let Some(serial) = sent.serial {
                    assert_eq!(datagram[4..9], [&serial.to_be_bytes()[..], &[0x45]].concat());
                    assert!(self.came.insert(serial), "it came before");
                }
            }
            Opened::Reply(reply) => {
                let is_true = |sent: &Datagram| {
                    sent.to == to
                        && sent.bytes.len() == 160
                        && original.len() == 160
                        && sent.bytes[..MEANING] == original[..MEANING]
                };
                assert!(reply.len() < original.len());
                assert!(kept.iter().any(is_true), "a stranger is answered");
                let (bytes, process) = (reply.to_vec(), end.process);
                self.post(Datagram { to: 1 - to, path, bytes, serial: None, process, at: now });
            }
            Opened::Consumed => {
                let is_known = |sent: &Datagram| sent.to == to && sent.bytes == original;
                assert!(kept.iter().any(is_known), "a stranger is believed");
            }
            Opened::Refused(_) => {}
        }
        self.drain();
    }

    /// Lets time pass, with all deadlines kept or with none.
    fn pass(&mut self, time: Duration, keeps: bool) {
        let until = self.now + time;
        loop {
            let next = self.ends.iter().filter_map(|end| end.sealer.poll_timeout()).min();
            let Some(next) = next.filter(|next| keeps && *next <= until) else { break };
            self.set_time(self.now.max(next));
            (0..2).for_each(|end| self.time_out(end));
        }
        self.set_time(until);
    }

    fn set_time(&mut self, now: Instant) {
        for end in &mut self.ends {
            end.clock += now.since(self.now).as_secs();
        }
        self.now = now;
    }

    fn time_out(&mut self, end: usize) {
        let end = &mut self.ends[end];
        end.sealer.handle_timeout(end.clock * 1_000_000, self.now);
        assert!(
            end.sealer.poll_timeout().is_none_or(|next| next > self.now),
            "a deadline that stays makes a caller spin"
        );
        self.drain();
    }

    fn drain(&mut self) {
        for from in 0..2 {
            let (mut handed_out, mut probes) = (0, false);
            loop {
                let (now, end) = (self.now, &mut self.ends[from]);
                if let Some((peer, path, bytes)) = end.sealer.poll_transmit(now) {
                    let (bytes, process) = (bytes.to_vec(), end.process);
                    if Some(peer) == end.peer {
                        self.post(Datagram { to: 1 - from, path, bytes, serial: None, process, at: now });
                    }
                } else if let Some(event) = end.sealer.poll_event() {
                    probes |= matches!(event, Event::Session { .. } | Event::Silent { .. });
                } else {
                    break;
                }
                handed_out += 1;
                assert!(handed_out <= MOST_AT_ONCE, "it hands out things without end");
            }
            for path in (0..PATHS).filter(|_| probes) {
                let clear = [&[0, 0, 0x88, 0xb5, 0x11][..], &[0; 27]].concat();
                self.seal(from, path, &clear, None);
            }
        }
    }

    /// The network is honest from now on, and both ends send: soon all arrives.
    fn recover(&mut self) {
        self.network.clear();
        for end in 0..2 {
            if self.ends[end].peer.is_none() {
                self.add(end);
            }
            let end = &mut self.ends[end];
            let peer = end.peer.expect("it was added");
            end.sealer.set_paths(peer, (0..usize::from(PATHS)).collect());
        }
        let mut last = Vec::new();
        for step in 0..160u8 {
            last = [0, 1].map(|end| self.send(end, step % PATHS, 20)).to_vec();
            self.deliver_all();
            self.pass(Duration::from_millis(50), true);
            self.deliver_all();
        }
        for serial in last {
            assert!(serial.is_some_and(|serial| self.came.contains(&serial)), "packets do not flow again");
        }
    }
}
