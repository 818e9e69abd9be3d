//! Sends packets through the core, from one connection to another, and does nothing else: for counting instructions.
//!
//! `packets COUNT SIZE ORDER`: SIZE is that of the inner packet, ORDER `inorder`, or `swapped` when each second
//! datagram overtakes the one before it. Paths are four, weighted equally, without probes; time stands still, so that
//! every run does the same. `port-raspbian/count-instructions` divides the difference of two runs.

use std::env;

use anyhow::{Context, Result, ensure};
use mpt_proto::{
    Config, Connection, Ecn, HEADROOM, Instant, Liveness, PathConfig, PathId, ReassemblySlot, Received,
    ReorderConfig, ReorderSlot, Storage,
};

const PATHS: usize = 4;
const ROOM: usize = 1600;

/// A connection with memory for its default window.
fn connection(seed: u64, now: Instant) -> Result<(Connection<'static>, Vec<PathId>)> {
    let slots = usize::from(ReorderConfig::default().window) + 1;
    let storage = Storage::none()
        .with_reorder(vec![ReorderSlot::default(); slots].leak(), vec![0; slots * ROOM].leak())
        .with_reassembly(vec![ReassemblySlot::default(); 2].leak(), vec![0; 2 * ROOM].leak());
    let mut connection = Connection::new(Config { seed, ..Config::default() }, storage, now);
    let path = PathConfig { liveness: Liveness::Off, ..PathConfig::default() };
    let paths = (0..PATHS).map(|_| connection.add_path(path, now)).collect::<Result<_, _>>();
    Ok((connection, paths.map_err(|error| anyhow::anyhow!("{error:?}"))?))
}

/// An IPv4 packet (RFC 791) of UDP.
fn packet(size: usize) -> Vec<u8> {
    let mut packet = vec![0; size];
    let [high, low] = u16::try_from(size).unwrap_or(u16::MAX).to_be_bytes();
    packet[..20]
        .copy_from_slice(&[0x45, 0, high, low, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [count, size, order] = arguments.as_slice() else { anyhow::bail!("usage: packets COUNT SIZE ORDER") };
    let (count, size): (u32, usize) = (count.parse()?, size.parse().context("a size")?);
    ensure!((20..=1400).contains(&size), "20 to 1400 bytes");
    let swapped = order == "swapped";

    let now = Instant::from_micros(1_000_000);
    let (mut sender, _) = connection(1, now)?;
    let (mut receiver, ends) = connection(2, now)?;
    let mut buffer = vec![0; HEADROOM];
    buffer.extend(packet(size));
    let mut held: Option<(PathId, Vec<u8>)> = None;
    let mut spare = Vec::with_capacity(ROOM);
    let (mut delivered, mut bytes) = (0, 0);
    let mut arrive = |path: PathId, datagram: &mut [u8]| {
        if let Ok(Received::Packet(packet)) =
            receiver.decapsulate(ends[path.index()], datagram, Ecn::NotEct, now)
        {
            (delivered, bytes) = (delivered + 1, bytes + packet.len());
        }
        while let Some(packet) = receiver.poll_packet() {
            (delivered, bytes) = (delivered + 1, bytes + packet.len());
        }
        while receiver.poll_event().is_some() {}
    };
    for number in 0..count {
        let mut departures =
            sender.encapsulate(&mut buffer, now).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        while let Some(departure) = departures.next() {
            let mut datagram = std::mem::take(&mut spare);
            datagram.clear();
            datagram.extend_from_slice(departure.datagram);
            if swapped && number % 2 == 0 {
                held = Some((departure.path, datagram));
                continue;
            }
            arrive(departure.path, &mut datagram);
            spare = datagram;
            if let Some((path, mut datagram)) = held.take() {
                arrive(path, &mut datagram);
            }
        }
        while sender.poll_event().is_some() {}
    }
    // Every packet arrived, but the first that a fresh receiver waits before.
    ensure!(delivered == count, "{delivered} of {count} packets were delivered");
    ensure!(bytes == size * count as usize);
    Ok(())
}
