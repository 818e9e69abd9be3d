//! What a busy connection costs beside idle ones that lie in the same [`Endpoint`], and what an idle one costs when it is due.

use std::hint::black_box;
use std::time::{Duration, Instant as Wall};

use mpt_proto::{
    CONTROL_MAX, Config, Connection, Endpoint, Handle, Instant, Liveness, PathConfig, Policy, Probing, Slot,
    Storage, Timed,
};

use super::{BATCH, End, Memory, ROUND, ROUNDS, TICK, WARM_UP, Wire, packets};

type Owned<'m> = Box<End<'m>>;
type Host<'m> = Endpoint<Owned<'m>, Vec<Slot<Owned<'m>>>>;

/// An idle one probes so seldom that none is due while the busy one is measured.
const SELDOM: Probing = Probing {
    interval: Duration::from_secs(60),
    idle: Duration::from_secs(60),
    dead: Duration::from_secs(60),
};
/// Wake-ups of a round in which nothing or little is to be done.
const WAKE_UPS: usize = 1_000;

impl Timed for Owned<'_> {
    fn poll_timeout(&self) -> Option<Instant> {
        self.connection.poll_timeout()
    }
}

fn idle<'m>(seed: u64, now: Instant) -> Owned<'m> {
    let mut connection = Connection::new(Config { seed, ..Config::default() }, Storage::none(), now);
    let path = PathConfig { liveness: Liveness::Probe(SELDOM), ..PathConfig::default() };
    let paths = (0..2).map(|_| connection.add_path(path, now).expect("a sound path")).collect();
    // The first probe is due at once.
    connection.handle_timeout(now);
    Box::new(End { connection, paths, out: Wire::default(), delivered: 0, spent: Duration::ZERO })
}

/// Drains all that was touched.
fn drain<'m>(host: &mut Host<'m>, mut then: impl FnMut(&mut Host<'m>, Handle)) {
    let mut control = [0; CONTROL_MAX];
    while let Some((handle, end)) = host.next_touched() {
        while end.connection.poll_packet().is_some() {}
        while let Some(departure) = end.connection.poll_transmit(&mut control) {
            black_box(departure.datagram);
        }
        while end.connection.poll_event().is_some() {}
        then(host, handle);
    }
}

/// The end of a wake-up.
fn settle(host: &mut Host<'_>) {
    drain(host, Endpoint::settled);
    black_box(host.poll_timeout());
}

/// Nanoseconds of the quickest of many rounds, for each of the things that a round does.
#[allow(clippy::disallowed_methods, reason = "what is measured is the time that the machine takes")]
fn quickest(each: usize, mut round: impl FnMut()) -> f64 {
    let once = |_| {
        let began = Wall::now();
        round();
        began.elapsed()
    };
    let least = (0..ROUNDS).map(once).min().expect("some rounds");
    least.as_nanos() as f64 / each as f64
}

/// Nanoseconds: of a packet of the busy one, of a wake-up of its that brings nothing, of a wake-up of an idle one that probes, and of the same without
/// the deadlines of all: what its connection takes by itself, which was not looked at for as long as there are others.
#[allow(clippy::disallowed_methods, reason = "what is measured is the time that the machine takes")]
fn measure(others: usize) -> [f64; 4] {
    let (mut here, mut there) = (Memory::new(1_024), Memory::new(1_024));
    let mut now = Instant::from_micros(1_000_000);
    let mut host = Host::new(Vec::new());
    host.add_slots(others + 1);
    let insert = |host: &mut Host<'_>, end| -> Handle { host.insert(end).ok().expect("room for all") };
    for seed in 0..others as u64 {
        // One after the other, as they would have come.
        let end = idle(seed, now + Duration::from_millis(seed));
        insert(&mut host, end);
    }
    let a = End::new(Policy::Adaptive, 1, 4, 1_024, now, &mut here);
    let busy = host.insert(Box::new(a)).ok().expect("room for all");
    let mut b = End::new(Policy::Adaptive, 2, 4, 1_024, now, &mut there);
    settle(&mut host);
    let mut packets = packets();
    let mut spent = Duration::ZERO;
    let mut batches = |host: &mut Host<'_>, count: usize| {
        spent = Duration::ZERO;
        for _ in 0..count {
            now = now + TICK;
            let began = Wall::now();
            while let Some(due) = host.next_due(now) {
                assert_eq!(due, busy, "idle ones are not due yet");
            }
            host.get_mut(busy).expect("it is there").turn(&mut b.out, &mut packets, now);
            while let Some((handle, _)) = host.next_touched() {
                host.settled(handle);
            }
            black_box(host.poll_timeout());
            spent += began.elapsed();
            let a = host.get_mut(busy).expect("it is there");
            b.turn(&mut a.out, &mut [], now);
        }
        spent
    };
    batches(&mut host, WARM_UP as usize);
    let packet = (0..ROUNDS).map(|_| batches(&mut host, ROUND)).min().expect("some rounds");
    let packet = packet.as_nanos() as f64 / (ROUND * BATCH) as f64;
    let nothing = quickest(WAKE_UPS, || {
        for _ in 0..WAKE_UPS {
            black_box(host.get_mut(busy));
            settle(&mut host);
        }
    });
    host.remove(busy);
    let probe = quickest(WAKE_UPS, || {
        for _ in 0..WAKE_UPS {
            let now = host.poll_timeout().expect("idle ones probe");
            while let Some(due) = host.next_due(now) {
                host.get_mut(due).expect("it is there").connection.handle_timeout(now);
            }
            settle(&mut host);
        }
    });
    let idle: Vec<Handle> = host.iter().map(|(handle, _)| handle).collect();
    let mut next = idle.iter().cycle();
    let alone = quickest(WAKE_UPS, || {
        for handle in next.by_ref().take(WAKE_UPS) {
            let connection = &mut host.get_mut(*handle).expect("it is there").connection;
            let now = connection.poll_timeout().expect("idle ones probe");
            connection.handle_timeout(now);
            drain(&mut host, |_, _| {});
        }
    });
    [packet, nothing, probe, alone]
}

/// Prints the table.
pub(super) fn print() {
    println!(
        "| idle ones beside it | packet, ns | wake-up without any, ns | idle one that probes, ns | of that its own, ns |"
    );
    println!("|---|---|---|---|---|");
    for others in [1, 10, 100, 1_000, 10_000] {
        let [packet, nothing, probe, alone] = measure(others);
        println!("| {others} | {packet:.0} | {nothing:.0} | {probe:.0} | {alone:.0} |");
    }
}
