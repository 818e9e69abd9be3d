//! What it costs to write a connection's state down while it is busy.

use std::time::{Duration, Instant as Wall};

use mpt_proto::{Connection, Instant, Policy};
use serde::{Serialize, Serializer};

use super::{BATCH, End, Memory, TICK, Wire, packets};

/// Without addresses, as a recorder writes it.
struct Saved<'a>(&'a Connection<'a>);

impl Serialize for Saved<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.save(&|_, addresses| addresses.fill(0), serializer)
    }
}

/// The quickest of some, and the bytes.
#[allow(clippy::disallowed_methods, reason = "what is measured is the time that the machine takes")]
fn saved(connection: &Connection<'_>) -> (Duration, usize) {
    let once = || {
        let began = Wall::now();
        let state = postcard::to_allocvec(&Saved(connection)).expect("a vector takes all");
        (began.elapsed(), state.len())
    };
    (0..31).map(|_| once()).min().expect("31 of them")
}

/// Prints a table of states: of a connection that has just begun, that is busy, and that keeps as many packets as it can.
pub(super) fn print() {
    let window = 4_096;
    let (mut here, mut there) = (Memory::new(window), Memory::new(window));
    let mut now = Instant::from_micros(1_000_000);
    let mut a = End::new(Policy::Adaptive, 1, 4, window, now, &mut here);
    let mut b = End::new(Policy::Adaptive, 2, 4, window, now, &mut there);
    let mut packets = packets();
    println!("| state of a connection with 4 paths | bytes | time, us |");
    println!("|---|---|---|");
    let row = |what: &str, connection: &Connection<'_>| {
        let (time, bytes) = saved(connection);
        println!("| {what} | {bytes} | {} |", time.as_micros());
    };
    row("new", &a.connection);
    for _ in 0..15_000 {
        now = now + TICK;
        a.turn(&mut b.out, &mut packets, now);
        b.turn(&mut a.out, &mut [], now);
    }
    row("busy, with a round trip of a millisecond", &a.connection);
    // Nothing comes back any more.
    for _ in 0..5_000 / BATCH {
        now = now + TICK;
        a.turn(&mut Wire::default(), &mut packets, now);
    }
    row("keeps 4,096 packets", &a.connection);
}
