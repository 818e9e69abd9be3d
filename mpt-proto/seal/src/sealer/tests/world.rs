//! Two ends, paths with delays between them, and a hand that may do anything to what is under way.

use std::boxed::Box;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use core::time::Duration;

use mpt_proto::{Instant, PathSet};

use crate::cipher::{Cipher, Ciphers, NONCE_LEN, Offer, Portable, PortableKey, Suite, TAG_LEN};
use crate::keys::{PeerKeys, PresharedKey, PrivateKey};
use crate::reason::Reason;
use crate::sealer::{Entropy, Event, NotSealed, Opened, PeerId, Sealer};
use crate::testing::times;
use crate::{Memory, Source};

/// A generator with a seed.
#[derive(Clone)]
pub(super) struct Seeded(pub(super) fastrand::Rng);

impl Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}

/// Every key and nonce that was sealed with, of all ends of a test.
pub(super) type Used = Rc<RefCell<HashSet<([u8; 32], [u8; NONCE_LEN])>>>;

/// Ciphers that fail the test when a nonce is used twice with one key.
#[derive(Clone)]
pub(super) struct Checked {
    pub(super) used: Used,
}

pub(super) struct CheckedKey {
    inner: PortableKey,
    key: [u8; 32],
    used: Used,
}

impl Ciphers for Checked {
    type Key = CheckedKey;

    fn offered(&self) -> Offer {
        Portable.offered()
    }

    fn key(&self, suite: Suite, key: &[u8; 32]) -> CheckedKey {
        CheckedKey { inner: Portable.key(suite, key), key: *key, used: self.used.clone() }
    }
}

impl Cipher for CheckedKey {
    fn seal(&self, nonce: &[u8; NONCE_LEN], associated: &[u8], bytes: &mut [u8]) -> [u8; TAG_LEN] {
        assert!(self.used.borrow_mut().insert((self.key, *nonce)), "a nonce is used twice");
        self.inner.seal(nonce, associated, bytes)
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated: &[u8],
        bytes: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> bool {
        self.inner.open(nonce, associated, bytes, tag)
    }
}

pub(super) type TestSealer = Sealer<'static, Checked, Seeded>;

/// A sealer with memory that is never given back, as the test ends soon.
pub(super) fn sealer(
    key: u8,
    instance: u32,
    peers: usize,
    seed: u64,
    used: &Used,
    now: Instant,
) -> TestSealer {
    let storage = Box::leak(Box::new(Memory::new(peers, 8, 64, 8))).lend();
    let ciphers = Checked { used: used.clone() };
    Sealer::new(private(key), instance, ciphers, Seeded(fastrand::Rng::with_seed(seed)), storage, now)
}

pub(super) fn private(number: u8) -> PrivateKey {
    PrivateKey::from_bytes([number; 32])
}

pub(super) fn keys(number: u8, psk: u8) -> PeerKeys {
    PeerKeys { public: private(number).public(), preshared: PresharedKey::from_bytes([psk; 32]) }
}

pub(super) fn source(number: u8) -> Source {
    Source([number; 20])
}

/// Something on its way.
#[derive(Clone, Debug)]
pub(super) struct Flying {
    pub(super) to: usize,
    pub(super) path: u8,
    pub(super) bytes: Vec<u8>,
}

/// What the hand between the ends does with a datagram: when which datagrams arrive instead.
pub(super) type Hand = Box<dyn FnMut(&Flying, Instant) -> Vec<(Duration, Flying)>>;

/// One end.
pub(super) struct End {
    pub(super) sealer: TestSealer,
    pub(super) peer: PeerId,
    /// Microseconds that its clock is ahead of the true time; `None`: it has none.
    pub(super) clock: Option<u64>,
    /// Numbers of packets that were delivered, and how often.
    pub(super) got: BTreeMap<u32, u32>,
    /// Packets that were not sealed.
    pub(super) unsent: u64,
    pub(super) events: Vec<(Instant, Event)>,
    /// Bytes sent, of all kinds.
    pub(super) sent_bytes: usize,
}

/// Both ends, with two peers' keys 1 and 2.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) ends: [End; 2],
    pub(super) delays: Vec<Duration>,
    pub(super) hand: Option<Hand>,
    pub(super) used: Used,
    wires: BTreeMap<(Instant, u64), Flying>,
    order: u64,
    serial: u32,
}

/// When a test begins.
pub(super) const START: Instant = Instant::from_micros(1_000_000_000);

impl World {
    /// With paths of these delays in milliseconds.
    pub(super) fn new(delays: &[u64], seed: u64) -> Self {
        Self::with_keys(delays, seed, [keys(2, 9), keys(1, 9)])
    }

    pub(super) fn with_keys(delays: &[u64], seed: u64, peers: [PeerKeys; 2]) -> Self {
        let used = Used::default();
        let mut number = 0;
        let ends = peers.map(|keys| {
            number += 1;
            let sealer = sealer(number, number.into(), 2, seed * 2 + u64::from(number), &used, START);
            End::new(sealer, keys, delays.len())
        });
        Self {
            now: START,
            ends,
            delays: delays.iter().map(|ms| Duration::from_millis(*ms)).collect(),
            hand: None,
            used,
            wires: BTreeMap::new(),
            order: 0,
            serial: 0,
        }
    }

    /// The end is killed, and another process with its key is there at once.
    pub(super) fn restart(&mut self, end: usize, seed: u64) {
        let number = u8::try_from(end + 1).unwrap();
        let sealer = sealer(number, u32::try_from(100 + seed).unwrap(), 2, 1000 + seed, &self.used, self.now);
        let clock = self.ends[end].clock;
        let new = End::new(sealer, keys(2 - u8::try_from(end).unwrap(), 9), self.delays.len());
        let old = std::mem::replace(&mut self.ends[end], new);
        self.ends[end].clock = clock;
        self.ends[end].got = old.got;
    }

    fn fly(&mut self, flying: Flying) {
        let delay = self.delays[usize::from(flying.path)];
        let arrivals = match &mut self.hand {
            Some(hand) => hand(&flying, self.now),
            None => vec![(Duration::ZERO, flying)],
        };
        for (later, flying) in arrivals {
            self.order += 1;
            self.wires.insert((self.now + delay + later, self.order), flying);
        }
    }

    /// Sends the next packet on a path; what its number is.
    pub(super) fn send(&mut self, from: usize, path: u8) -> u32 {
        self.serial += 1;
        let mut packet = vec![0x10, 0, 8, 0];
        packet.extend(self.serial.to_be_bytes());
        packet.extend([0x45; 60]);
        if self.seal(from, path, &packet).is_err() {
            self.ends[from].unsent += 1;
        }
        self.serial
    }

    /// Sends a probe or an echo as the core would.
    pub(super) fn control(&mut self, from: usize, path: u8, first: u8) {
        let mut message = vec![0, 0, 0x88, 0xb5, first];
        message.extend([0; 27]);
        let _ = self.seal(from, path, &message);
    }

    fn seal(&mut self, from: usize, path: u8, clear: &[u8]) -> Result<(), NotSealed> {
        let end = &mut self.ends[from];
        let mut place = vec![0; end.sealer.sealed_len(clear, 1400).unwrap()];
        let sealed = end.sealer.seal(end.peer, path, clear, &mut place, self.now);
        if sealed.is_ok() {
            end.sent_bytes += place.len();
            self.fly(Flying { to: 1 - from, path, bytes: place });
        }
        sealed
    }

    /// Hands a datagram to an end; what comes back flies.
    fn arrive(&mut self, flying: Flying) {
        let Flying { to, path, mut bytes } = flying;
        let end = &mut self.ends[to];
        let from = source(path);
        let (mut reply, mut echo) = (None, false);
        match end.sealer.open(&from, Some((end.peer, path)), &mut bytes, self.now) {
            Opened::Clear { datagram, path: number, .. } => {
                assert_eq!(number, path, "a datagram is of the path that it left on");
                match datagram {
                    [0x10, 0, 0x08, 0, a, b, c, d, body @ ..] => {
                        assert!(body[..60] == [0x45; 60], "a packet is as it was");
                        *end.got.entry(u32::from_be_bytes([*a, *b, *c, *d])).or_default() += 1;
                    }
                    [0x10, 0, 0x88, 0xb5, 0, 0, 0, 0, first, ..] => echo = *first == 0x11,
                    other => panic!("nobody sent {other:?}"),
                }
            }
            Opened::Reply(answer) => reply = Some(answer.to_vec()),
            Opened::Consumed | Opened::Refused(_) => {}
        }
        if let Some(bytes) = reply {
            self.ends[to].sent_bytes += bytes.len();
            self.fly(Flying { to: 1 - to, path, bytes });
        }
        if echo {
            self.control(to, path, 0x12);
        }
    }

    /// Drains both ends.
    pub(super) fn drain(&mut self) {
        for from in 0..2 {
            loop {
                let end = &mut self.ends[from];
                if let Some((_, path, bytes)) = end.sealer.poll_transmit(self.now) {
                    let bytes = bytes.to_vec();
                    end.sent_bytes += bytes.len();
                    self.fly(Flying { to: 1 - from, path, bytes });
                } else if let Some(event) = end.sealer.poll_event() {
                    end.events.push((self.now, event));
                    if matches!(event, Event::Session { .. } | Event::Silent { .. }) {
                        for path in 0..u8::try_from(self.delays.len()).unwrap() {
                            self.control(from, path, 0x11);
                        }
                    }
                } else {
                    break;
                }
            }
        }
    }

    /// Lets time pass until `until`.
    pub(super) fn run_until(&mut self, until: Instant) {
        self.drain();
        loop {
            let wire = self.wires.keys().next().map(|(at, _)| *at);
            let timers = self.ends.iter().filter_map(|end| end.sealer.poll_timeout());
            let Some(next) = timers.chain(wire).min().filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            while let Some(entry) = self.wires.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let flying = entry.remove();
                self.arrive(flying);
                self.drain();
            }
            for end in &mut self.ends {
                let time = end.clock.map_or(0, |ahead| self.now.as_micros() + ahead);
                end.sealer.handle_timeout(time, self.now);
            }
            self.drain();
        }
        self.now = until;
    }

    pub(super) fn run_for(&mut self, ms: u64) {
        self.run_until(self.now + Duration::from_millis(ms));
    }

    /// Sends a packet from each of these ends in turn over all paths each `gap_ms`; the numbers of those that left.
    pub(super) fn load(&mut self, from: &[usize], gap_ms: u64, ms: u64) -> Vec<u32> {
        let (mut sent, paths) = (Vec::new(), self.delays.len());
        // Each packet takes a tenth of a second to interpret.
        let gap_ms = gap_ms.max(times(1, 50));
        for step in 0..ms / gap_ms {
            for end in from {
                let before = self.ends[*end].unsent;
                let path = u8::try_from(usize::try_from(step).unwrap() % paths).unwrap();
                let number = self.send(*end, path);
                if self.ends[*end].unsent == before {
                    sent.push(number);
                }
            }
            self.run_for(gap_ms);
        }
        sent
    }

    /// How many of these packets have come to neither end.
    pub(super) fn lost(&self, sent: &[u32]) -> usize {
        sent.iter().filter(|number| self.ends.iter().all(|end| !end.got.contains_key(number))).count()
    }

    /// A session in which both ends send.
    pub(super) fn up(delays: &[u64], seed: u64) -> Self {
        let mut world = Self::new(delays, seed);
        world.send(0, 0);
        world.run_for(3000);
        world.send(1, 0);
        world.run_for(3000);
        assert!(world.ends.iter().all(|end| end.is_up(world.now)), "both ends have keys");
        world
    }
}

/// Lets all datagrams pass and keeps a copy of each.
pub(super) fn record(world: &mut World) -> Rc<RefCell<Vec<Flying>>> {
    let kept = Rc::new(RefCell::new(Vec::new()));
    let hand = kept.clone();
    world.hand = Some(Box::new(move |flying, _| {
        hand.borrow_mut().push(flying.clone());
        vec![(Duration::ZERO, flying.clone())]
    }));
    kept
}

/// Lets all datagrams pass but those to an end that have one of these lengths, which are kept.
pub(super) fn withhold(world: &mut World, to: usize, lens: &'static [usize]) -> Rc<RefCell<Vec<Flying>>> {
    let kept = Rc::new(RefCell::new(Vec::new()));
    let hand = kept.clone();
    world.hand = Some(Box::new(move |flying, _| {
        if flying.to == to && lens.contains(&flying.bytes.len()) {
            hand.borrow_mut().push(flying.clone());
            return vec![];
        }
        vec![(Duration::ZERO, flying.clone())]
    }));
    kept
}

/// Hands a datagram to an end as if it came on a path of its peer: the answer, or why it is refused.
pub(super) fn hand_over(
    world: &mut World,
    to: usize,
    path: u8,
    bytes: &[u8],
) -> Result<Option<Vec<u8>>, Reason> {
    let end = &mut world.ends[to];
    match end.sealer.open(&source(path), Some((end.peer, path)), &mut bytes.to_vec(), world.now) {
        Opened::Reply(reply) => Ok(Some(reply.to_vec())),
        Opened::Refused(reason) => Err(reason),
        Opened::Clear { .. } | Opened::Consumed => Ok(None),
    }
}

/// The initiation that this end wants to send now.
pub(super) fn initiation(world: &mut World, end: usize) -> Vec<u8> {
    let now = world.now;
    let end = &mut world.ends[end];
    end.sealer.initiate(end.peer, now);
    end.sealer.handle_timeout(end.clock.map_or(0, |ahead| now.as_micros() + ahead), now);
    let bytes = end.sealer.poll_transmit(now).expect("it begins").2.to_vec();
    while end.sealer.poll_transmit(now).is_some() {}
    bytes
}

/// A packet of 20 bytes that this end seals now.
pub(super) fn sealed(world: &mut World, end: usize, path: u8) -> Vec<u8> {
    let packet = [&[0x10, 0, 8, 0, 0, 0, 0, 1][..], &[0x45; 20]].concat();
    let end = &mut world.ends[end];
    let mut place = vec![0; end.sealer.sealed_len(&packet, 1400).unwrap()];
    end.sealer.seal(end.peer, path, &packet, &mut place, world.now).unwrap();
    place
}

impl End {
    fn new(mut sealer: TestSealer, keys: PeerKeys, paths: usize) -> Self {
        let peer = sealer.add_peer(keys).unwrap();
        sealer.set_paths(peer, (0..paths).collect::<PathSet>());
        Self {
            sealer,
            peer,
            clock: Some(0),
            got: BTreeMap::new(),
            unsent: 0,
            events: Vec::new(),
            sent_bytes: 0,
        }
    }

    pub(super) fn is_up(&self, now: Instant) -> bool {
        self.sealer.status(self.peer, now).is_some_and(|status| status.suite.is_some())
    }

    pub(super) fn handshakes(&self, now: Instant) -> u32 {
        self.sealer.status(self.peer, now).map_or(0, |status| status.handshakes)
    }
}
