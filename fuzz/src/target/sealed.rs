//! Datagrams for a sealer: whatever bytes they are, what is not authentic changes nothing but a counter.

use std::time::Duration;

use arbitrary::Arbitrary;
use blake2::Blake2sMac;
use blake2::Digest;
use blake2::digest::{KeyInit, Mac, consts::U16};
use mpt_proto::{Instant, PathSet};
use mpt_seal::{Memory, OVERHEAD, Opened, PeerId, Reason};

use crate::sealed::{START, Watched, WatchedKey, WatchedSealer, memory, peer, sealer, source};
use crate::target::operations;

/// Datagrams of one run at most: fewer than would make a sealer ask for cookies.
const MOST: usize = 64;
/// The lengths of the four handshake datagrams.
const LENS: [usize; 4] = [160, 92, 68, 60];

/// What becomes of a datagram before it arrives.
#[derive(Debug, Arbitrary)]
enum Change {
    Set { at: u8, to: u8 },
    Flip { at: u8, bit: u8 },
    Cut { len: u8 },
    Append { count: u8, byte: u8 },
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        let place = |at: u8| usize::from(at).checked_rem(len);
        match *self {
            Self::Set { at, to } => {
                if let Some(byte) = place(at).and_then(|at| bytes.get_mut(at)) {
                    *byte = to;
                }
            }
            Self::Flip { at, bit } => {
                if let Some(byte) = place(at).and_then(|at| bytes.get_mut(at)) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Self::Cut { len } => bytes.truncate(len.into()),
            Self::Append { count, byte } => bytes.resize(len + usize::from(count), byte),
        }
    }
}

#[derive(Debug, Arbitrary)]
struct Arrival {
    to: u8,
    /// Which of the true datagrams it is made of; another one: it is made of `bytes`.
    base: u8,
    changes: Vec<Change>,
    bytes: Vec<u8>,
    /// Whether its sender knows the public key of who gets it, and so makes the mac of an initiation right.
    has_mac1: bool,
    path: Option<u8>,
}

/// One end and its peer.
struct End<'m> {
    number: u8,
    sealer: WatchedSealer<'m>,
    peer: PeerId,
}

impl<'m> End<'m> {
    fn new(number: u8, theirs: u8, ciphers: &Watched, memory: &'m mut Memory<WatchedKey>) -> Self {
        let mut sealer = sealer(number, number.into(), ciphers.clone(), memory, START);
        let peer = sealer.add_peer(peer(theirs)).expect("there is room");
        sealer.set_paths(peer, PathSet::of(0));
        Self { number, sealer, peer }
    }

    fn initiate(&mut self, now: Instant) -> Vec<u8> {
        self.sealer.initiate(self.peer, now);
        self.sealer.handle_timeout(now.as_micros(), now);
        self.sealer.poll_transmit(now).expect("it begins").2.to_vec()
    }

    /// What a caller can see of it.
    fn state(&mut self, now: Instant) -> String {
        assert!(self.sealer.poll_transmit(now).is_none() && self.sealer.poll_event().is_none());
        format!("{:?} {:?}", self.sealer.status(self.peer, now), self.sealer.poll_timeout())
    }

    fn refused(&self) -> u64 {
        Reason::ALL.into_iter().map(|reason| self.sealer.stats().refused(reason)).sum()
    }

    fn seal(&mut self, path: u8, clear: &[u8], limit: usize, now: Instant) -> Option<Vec<u8>> {
        let mut place = vec![0xee; self.sealer.sealed_len(clear, limit)?];
        self.sealer.seal(self.peer, path, clear, &mut place, now).expect("there are keys");
        Some(place)
    }
}

fn reply(opened: Opened<'_>) -> Vec<u8> {
    match opened {
        Opened::Reply(reply) => reply.to_vec(),
        other => panic!("no answer: {other:?}"),
    }
}

/// Both ends get a session by an initiation and a response, which are returned.
fn meet<'m>(from: &mut End<'m>, to: &mut End<'m>, now: Instant) -> [Vec<u8>; 2] {
    let initiation = from.initiate(now);
    let response = reply(to.sealer.open(&source(0), None, &mut initiation.clone(), now));
    assert!(matches!(from.sealer.open(&source(0), None, &mut response.clone(), now), Opened::Consumed));
    exchange(from, to, now);
    exchange(to, from, now);
    for end in [from, to] {
        while end.sealer.poll_event().is_some() {}
    }
    [initiation, response]
}

/// A packet crosses.
fn exchange(from: &mut End<'_>, to: &mut End<'_>, now: Instant) {
    let packet = [&[0x10, 0, 8, 0, 1, 2, 3, 4][..], &[0x45; 21]].concat();
    let mut sealed = from.seal(0, &packet, 1400, now).expect("a packet");
    match to.sealer.open(&source(0), None, &mut sealed, now) {
        Opened::Clear { datagram, .. } => assert_eq!(datagram[..packet.len()], packet),
        other => panic!("{other:?}"),
    }
}

/// The mac1 of an initiation to the owner of a private key, by who knows the public one.
fn mac1(to: u8, bytes: &[u8]) -> [u8; 16] {
    let public = crate::sealed::private(to).public();
    let key = blake2::Blake2s256::new().chain_update(b"mpt mac1").chain_update(public.as_bytes()).finalize();
    let mut state = Blake2sMac::<U16>::new_from_slice(&key).expect("a key of 32 bytes");
    Mac::update(&mut state, bytes);
    state.finalize().into_bytes().into()
}

/// Handshake datagrams to ends with a session and to one with a handshake under way.
///
/// # Panics
/// A fault was found.
pub fn handshake_datagram(data: &[u8]) {
    let ciphers = Watched::default();
    let mut memory = [(); 4].map(|()| memory(1));
    let mut number = 0;
    // Two that have met, one that waits for the answer of another which has sent it.
    let mut ends = memory.each_mut().map(|memory| {
        number += 1;
        End::new(number, [0, 2, 1, 4, 3][usize::from(number)], &ciphers, memory)
    });
    let [a, b, c, d] = &mut ends;
    let [first, second] = meet(a, b, START);
    let third = c.initiate(START);
    let fourth = reply(d.sealer.open(&source(0), None, &mut third.clone(), START));
    let known = [first, second, third, fourth];
    let mut now = START;
    for arrival in operations::<Arrival>(data).take(MOST) {
        let Arrival { to, base, changes, mut bytes, has_mac1, path } = arrival;
        if let Some(known) = known.get(usize::from(base % 8)) {
            bytes.clone_from(known);
        } else {
            // The form is right, and what it says is anything.
            let kind = base % 4;
            let content = bytes;
            bytes = vec![0x20, 0, 0x88, 0xb5, 0, 0, 0, 0, 0x21 + kind, 0, 0, 0];
            bytes.extend(content);
            bytes.resize(LENS[usize::from(kind)], 0x40);
        }
        for change in &changes {
            change.apply(&mut bytes);
        }
        let place = usize::from(to % 4);
        let end = &mut ends[place];
        if has_mac1 && bytes.len() == 160 {
            let mac = mac1(end.number, &bytes[..128]);
            bytes[128..144].copy_from_slice(&mac);
        }
        // An initiation means the same whatever its mac2 is, while no cookie is asked for. Its copy gets the same response, until the
        // keys are in use.
        let same = |known: &Vec<u8>| known.len() == 160 && bytes.len() == 160 && known[..144] == bytes[..144];
        let (is_copy, is_used) = (place == 3 && same(&known[2]), place == 1 && same(&known[0]));
        if place == 2 && bytes == known[3] {
            // The answer that it waits for comes when all is over.
            continue;
        }
        let (state, refused) = (end.state(now), end.refused());
        let path = path.map(|path| (end.peer, path));
        match end.sealer.open(&source(0), path, &mut bytes.clone(), now) {
            Opened::Refused(_) => {
                assert!(!is_copy);
                assert_eq!(end.refused(), refused + 1);
            }
            Opened::Reply(reply) if is_copy => assert_eq!(reply, known[3]),
            // The time is not newer than that of the initiation before: its own.
            Opened::Reply(reply) => assert!(is_used && reply.len() == LENS[3]),
            other => panic!("{other:?}"),
        }
        assert_eq!(end.state(now), state);
    }
    // A wrong answer may have held up the true one a little.
    now = now + Duration::from_millis(5);
    let [a, b, c, d] = &mut ends;
    exchange(a, b, now);
    exchange(b, a, now);
    assert!(matches!(c.sealer.open(&source(0), None, &mut known[3].clone(), now), Opened::Consumed));
    exchange(c, d, now);
    exchange(d, c, now);
}

#[derive(Debug, Arbitrary)]
struct Sealed {
    from: bool,
    path: u8,
    /// A GRE header with a sequence number, or without.
    sequence: Option<[u8; 4]>,
    payload: Vec<u8>,
    limit: u16,
    /// What arrives before the true one; none: nothing.
    changes: Vec<Change>,
    /// The true one gets lost.
    is_lost: bool,
}

/// Data datagrams: whatever is sealed comes out as it was, once; a changed one does not.
///
/// # Panics
/// A fault was found.
pub fn sealed_datagram(data: &[u8]) {
    let ciphers = Watched::default();
    let mut memory = [(); 2].map(|()| memory(1));
    let [one, other] = memory.each_mut();
    let mut ends = [End::new(1, 2, &ciphers, one), End::new(2, 1, &ciphers, other)];
    let [a, b] = &mut ends;
    meet(a, b, START);
    let now = START;
    for sealed in operations::<Sealed>(data).take(MOST) {
        let Sealed { from, path, sequence, payload, limit, changes, is_lost } = sealed;
        let (from, to, path) = (usize::from(from), usize::from(!from), path % 16);
        let mut clear = match sequence {
            Some(number) => [&[0x10, 0, 0x12, 0x34][..], &number].concat(),
            None => vec![0, 0, 0x12, 0x34],
        };
        clear.extend_from_slice(&payload);
        let sealed = ends[from].seal(path, &clear, limit.into(), now).expect("a header that may be sealed");
        let bare = payload.len() + 8 + OVERHEAD;
        assert!(sealed.len() >= bare && sealed.len() <= (bare + 15).min(bare.max(limit.into())));
        let end = &mut ends[to];
        let (state, mut refused) = (end.state(now), end.refused());
        let mut changed = sealed.clone();
        changes.iter().for_each(|change| change.apply(&mut changed));
        if changed != sealed {
            let opened = end.sealer.open(&source(path), None, &mut changed, now);
            assert!(matches!(opened, Opened::Refused(_)), "{opened:?}");
            refused += 1;
            assert_eq!((end.refused(), end.state(now)), (refused, state.clone()));
        }
        if is_lost {
            continue;
        }
        let ether_type: Option<[u8; 2]> = payload.first().and_then(|first| match first >> 4 {
            4 => Some([0x08, 0]),
            6 => Some([0x86, 0xdd]),
            1 | 8 | 9 => Some([0x88, 0xb5]),
            14 | 15 => Some([0x88, 0xb6]),
            _ => None,
        });
        let mut arriving = sealed.clone();
        match end.sealer.open(&source(path), None, &mut arriving, now) {
            Opened::Clear { peer, path: number, is_newest, datagram } => {
                assert_eq!((peer, number, is_newest), (end.peer, path, true));
                assert_eq!(
                    (datagram[..2].as_ref(), Some([datagram[2], datagram[3]])),
                    (&[0x10, 0][..], ether_type)
                );
                assert_eq!(datagram[4..8], sequence.unwrap_or_default());
                assert_eq!(datagram[8..8 + payload.len()], payload);
                assert!(datagram[8 + payload.len()..].iter().all(|byte| *byte == 0));
            }
            opened => assert!(matches!(opened, Opened::Refused(Reason::Content)) && ether_type.is_none()),
        }
        let mut again = sealed;
        let opened = end.sealer.open(&source(path), None, &mut again, now);
        assert!(matches!(opened, Opened::Refused(Reason::Replayed)));
        end.state(now);
    }
    let [a, b] = &mut ends;
    exchange(a, b, now);
    exchange(b, a, now);
}
