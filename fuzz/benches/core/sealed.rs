//! What sealed mode costs for a datagram, for a handshake, and for what is refused.

use std::time::{Duration, Instant as Wall};

use mpt_fuzz::rng::Rng;
use mpt_fuzz::sealed::{START, Seeded, memory, peer, private, source};
use mpt_proto::{Instant, PathSet};
use mpt_seal::{Ciphers, Memory, Offer, Opened, PeerId, Portable, Reason, Sealer, Suite};
use port_linux::ciphers::NativeCiphers;

/// Bytes of clear datagrams.
const LENS: [usize; 3] = [64, 512, 1_432];
/// Datagrams between two looks at the clock: fewer than a replay window has bits.
const BATCH: usize = 128;
/// So few that wrong handshakes of one moment stay below what a sealer looks at in a second.
const ROUNDS: usize = 101;

/// Some ciphers, and only the suite to measure of them.
#[derive(Clone, Copy)]
struct Only<C>(C, Suite);

impl<C: Ciphers> Ciphers for Only<C> {
    type Key = C::Key;

    fn offered(&self) -> Offer {
        Offer::CHACHA.with(self.1)
    }

    fn key(&self, suite: Suite, key: &[u8; 32]) -> C::Key {
        self.0.key(suite, key)
    }
}

struct End<'m, C: Ciphers> {
    sealer: Sealer<'m, C, Seeded>,
    peer: PeerId,
}

impl<'m, C: Ciphers> End<'m, C> {
    fn new(number: u8, theirs: u8, ciphers: C, memory: &'m mut Memory<C::Key>) -> Self {
        let entropy = Seeded(Rng::new(number.into()));
        let mut sealer = Sealer::new(private(number), number.into(), ciphers, entropy, memory.lend(), START);
        let peer = sealer.add_peer(peer(theirs)).expect("there is room");
        sealer.set_paths(peer, PathSet::of(0));
        Self { sealer, peer }
    }

    fn initiate(&mut self, now: Instant) -> Vec<u8> {
        self.sealer.initiate(self.peer, now);
        self.sealer.handle_timeout(now.as_micros(), now);
        self.sealer.poll_transmit(now).expect("it begins").2.to_vec()
    }

    fn respond(&mut self, initiation: &mut [u8], now: Instant) -> Vec<u8> {
        match self.sealer.open(&source(0), None, initiation, now) {
            Opened::Reply(reply) => reply.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn finish(&mut self, response: &mut [u8], now: Instant) {
        assert!(matches!(self.sealer.open(&source(0), None, response, now), Opened::Consumed));
    }

    fn seal(&mut self, clear: &[u8], now: Instant) -> Vec<u8> {
        let mut place = vec![0; self.sealer.sealed_len(clear, 1_500).expect("it may be sealed")];
        self.sealer.seal(self.peer, 0, clear, &mut place, now).expect("there are keys");
        place
    }

    fn open(&mut self, sealed: &mut [u8], now: Instant) {
        assert!(matches!(self.sealer.open(&source(0), None, sealed, now), Opened::Clear { .. }));
    }

    /// Nanoseconds until this is refused for that reason.
    fn refuse(&mut self, datagram: &[u8], reason: Reason, now: Instant) -> f64 {
        let mut copies = vec![datagram.to_vec(); BATCH];
        least(|| {
            copies.iter_mut().for_each(|copy| copy.copy_from_slice(datagram));
            let began = wall();
            for copy in &mut copies {
                let opened = self.sealer.open(&source(0), None, copy, now);
                assert!(matches!(opened, Opened::Refused(got) if got == reason), "{opened:?}");
            }
            began.elapsed()
        })
    }
}

#[allow(clippy::disallowed_methods, reason = "what is measured is the time that the machine takes")]
fn wall() -> Wall {
    Wall::now()
}

/// Nanoseconds for each of a batch, in the quickest of many rounds.
fn least(mut round: impl FnMut() -> Duration) -> f64 {
    let least = (0..ROUNDS).map(|_| round()).min().unwrap_or_default();
    least.as_nanos() as f64 / BATCH as f64
}

/// A clear datagram: an IP packet behind GRE header and sequence number.
fn clear(len: usize) -> Vec<u8> {
    let mut clear = vec![0x10, 0, 8, 0, 0, 0, 0, 1, 0x45];
    clear.resize(len, 7);
    clear
}

/// Nanoseconds to seal and to open datagrams of these lengths.
fn data<C: Ciphers + Copy>(ciphers: C) -> [[f64; 2]; LENS.len()] {
    let mut memory = [(); 2].map(|()| memory(1));
    let [one, other] = memory.each_mut();
    let (mut a, mut b) = (End::new(1, 2, ciphers, one), End::new(2, 1, ciphers, other));
    let response = b.respond(&mut a.initiate(START), START);
    a.finish(&mut response.clone(), START);
    LENS.map(|len| {
        let clear = clear(len);
        let mut places = vec![a.seal(&clear, START); BATCH];
        let mut opening = Duration::MAX;
        let sealing = least(|| {
            let began = wall();
            for place in &mut places {
                a.sealer.seal(a.peer, 0, &clear, place, START).expect("there are keys");
            }
            let sealed = began.elapsed();
            let began = wall();
            for place in &mut places {
                b.open(place, START);
            }
            opening = opening.min(began.elapsed());
            sealed
        });
        [sealing, opening.as_nanos() as f64 / BATCH as f64]
    })
}

/// Microseconds of a handshake at the end that begins it and at the other.
fn handshake() -> [f64; 2] {
    let mut memory = [(); 2].map(|()| memory(1));
    let [one, other] = memory.each_mut();
    let (mut a, mut b) = (End::new(1, 2, Portable, one), End::new(2, 1, Portable, other));
    let (mut now, mut times) = (START, [Duration::MAX; 2]);
    for _ in 0..ROUNDS {
        now = now + Duration::from_secs(1);
        let began = wall();
        let mut initiation = a.initiate(now);
        let sent = began.elapsed();
        let began = wall();
        let mut response = b.respond(&mut initiation, now);
        let answered = began.elapsed();
        let began = wall();
        a.finish(&mut response, now);
        let finished = began.elapsed();
        b.open(&mut a.seal(&clear(64), now), now);
        a.open(&mut b.seal(&clear(64), now), now);
        times = [times[0].min(sent + finished), times[1].min(answered)];
    }
    times.map(|time| time.as_nanos() as f64 / 1_000.0)
}

/// What is refused, and the nanoseconds that it costs.
fn refusals() -> Vec<(&'static str, f64)> {
    let mut memory = [(); 3].map(|()| memory(1));
    let [one, other, third] = memory.each_mut();
    let (mut a, mut b) = (End::new(1, 2, Portable, one), End::new(2, 1, Portable, other));
    let response = b.respond(&mut a.initiate(START), START);
    a.finish(&mut response.clone(), START);
    let mut sealed = a.seal(&clear(LENS[2]), START);
    let good = sealed.clone();
    b.open(&mut sealed, START);
    let mut unknown = good.clone();
    unknown[4] ^= 1;
    let mut forged = good.clone();
    forged[11] ^= 0x40;
    let mut stranger = End::new(3, 2, Portable, third);
    let by_name = stranger.initiate(START);
    let mut by_chance = by_name.clone();
    by_chance[130] ^= 1;
    let mut rows = vec![
        ("unknown index", b.refuse(&unknown, Reason::UnknownIndex, START)),
        ("replayed", b.refuse(&good, Reason::Replayed, START)),
        ("wrong tag, 1,432 bytes", b.refuse(&forged, Reason::BadTag, START)),
        ("clear", b.refuse(&clear(LENS[2]), Reason::Clear, START)),
        ("initiation, wrong mac1", b.refuse(&by_chance, Reason::BadMac, START)),
    ];
    // A new second for each batch, so that the budget is not spent.
    let mut now = START;
    let mut copies = vec![by_name.clone(); BATCH];
    let unknown_peer = least(|| {
        now = now + Duration::from_secs(2);
        copies.iter_mut().for_each(|copy| copy.copy_from_slice(&by_name));
        let began = wall();
        for copy in &mut copies {
            let opened = b.sealer.open(&source(0), None, copy, now);
            assert!(matches!(opened, Opened::Refused(Reason::UnknownPeer)));
        }
        began.elapsed()
    });
    rows.push(("initiation, right mac1, no peer", unknown_peer));
    let cookie = least(|| {
        now = now + Duration::from_secs(3);
        for _ in 0..=300 {
            let _ = b.sealer.open(&source(0), None, &mut by_name.clone(), now);
        }
        copies.iter_mut().for_each(|copy| copy.copy_from_slice(&by_name));
        let began = wall();
        for copy in &mut copies {
            assert!(matches!(b.sealer.open(&source(0), None, copy, now), Opened::Reply(_)));
        }
        began.elapsed()
    });
    rows.push(("initiation, asked for a cookie", cookie));
    for _ in 0..2000 {
        let _ = b.sealer.open(&source(0), None, &mut by_name.clone(), now);
    }
    rows.push(("initiation, beyond all budgets", b.refuse(&by_name, Reason::Busy, now)));
    rows
}

/// Prints the tables.
pub(crate) fn print() {
    println!("| sealed mode | cipher | seal 64, ns | 512 | 1,432 | open 64, ns | 512 | 1,432 |");
    println!("|---|---|---|---|---|---|---|---|");
    for suite in [Suite::ChaCha20Poly1305, Suite::Aes256Gcm] {
        let rows =
            [("Rust", data(Only(Portable, suite))), ("port-linux", data(Only(NativeCiphers::new(), suite)))];
        for (name, times) in rows {
            let [seal, open] =
                [0, 1].map(|which| times.map(|time| format!("{:.0}", time[which])).join(" | "));
            println!("| {name} | {suite} | {seal} | {open} |");
        }
    }
    let [initiator, responder] = handshake();
    println!("\nA handshake: {initiator:.0} us at the end that begins it, {responder:.0} us at the other.\n");
    println!("| refused | ns |\n|---|---|");
    for (name, time) in refusals() {
        println!("| {name} | {time:.0} |");
    }
}
