//! Prints the memory that a connection of four paths and a window of 64 packets takes, without and with the adaptive
//! policy.

use std::mem::size_of;

use mpt_proto::{
    AdaptiveState, CONTROL_MAX, Connection, FlowSlot, HEADROOM, PacketSlot, PathSizes, ReassemblySlot,
    ReorderSlot,
};

fn main() {
    // One slot more than the window, each with room for a packet of an Ethernet path.
    let (slots, packet, pieces, inner) = (65, 1464, 2, 1500);
    let rows = [
        ("connection, up to 16 paths", size_of::<Connection<'_>>()),
        ("reorder slots, window 64", slots * size_of::<ReorderSlot>()),
        ("reassembly slots, 2 packets", pieces * size_of::<ReassemblySlot>()),
        ("searches for sizes, 4 paths", size_of::<PathSizes<4>>()),
        ("buffers for control and headroom", CONTROL_MAX + HEADROOM),
    ];
    for (what, bytes) in rows {
        println!("{what:<34}{bytes:>8} B");
    }
    println!("{:<34}{:>8} B", "sum without packets", rows.iter().map(|(_, bytes)| bytes).sum::<usize>());
    println!("{:<34}{:>8} B", "packets lent", slots * packet + pieces * inner);
    // To send by the adaptive policy, beside that; to report to a peer that does, the first row is enough.
    let (kept, flows) = (64, 16);
    let rows = [
        ("adaptive state", size_of::<AdaptiveState>()),
        ("packet slots, 64 kept", kept * size_of::<PacketSlot>()),
        ("flow slots, 16 flows", flows * size_of::<FlowSlot>()),
        ("packets kept", kept * (HEADROOM + inner)),
    ];
    for (what, bytes) in rows {
        println!("{what:<34}{bytes:>8} B");
    }
}
