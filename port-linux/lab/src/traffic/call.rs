//! A call: 50 packets a second each way, numbered and stamped. Both hosts are on one machine and have one clock, so that
//! delays are known one way.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::paced::{Delays, GLANCE, LAST_ORDERS, paced};
use super::ping::{answerer, asker};
use crate::stopwatch::Stopwatch;

/// From one packet to the next: a frame of speech.
const PERIOD: Duration = Duration::from_millis(20);

/// Payload of UDP: packets of 200 bytes with IPv4, as of G.711 in RTP.
const SIZE: usize = 172;

/// RTP version 2 (RFC 3550 section 5.1), and payload type 0, G.711 (RFC 3551 section 6).
const RTP: [u8; 2] = [0x80, 0];

/// Bytes of RTP's header; number and stamp follow.
const HEADER: usize = 12;

/// More packets than a day has: what claims to be a later one is not ours.
const MOST_PACKETS: usize = 86_400 * 50;

/// What became of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Heard {
    /// Packets.
    pub sent: u64,
    /// Of these, never heard.
    pub lost: u64,
    /// Median of the delays one way, in milliseconds.
    pub p50_ms: f64,
    /// Their 95th percentile.
    pub p95_ms: f64,
    /// Their 99th percentile.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Heard {
    /// What was lost of what was sent, in per cent.
    pub fn lost_percent(&self) -> f64 {
        100.0 * self.lost as f64 / self.sent.max(1) as f64
    }
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Call {
    /// From PC1 to PC2, as the flow beside it.
    pub there: Heard,
    /// From PC2 to PC1.
    pub back: Heard,
}

/// Two sockets that call each other.
///
/// # Errors
/// When an address is not on its host, or there is no way to it. `host1` and `host2` do work on the hosts.
pub fn connect(
    to: IpAddr,
    host1: impl FnOnce(SocketAddr) -> anyhow::Result<UdpSocket>,
    host2: impl FnOnce(IpAddr) -> anyhow::Result<UdpSocket>,
) -> anyhow::Result<[UdpSocket; 2]> {
    let second = host2(to)?;
    let first = host1(second.local_addr()?)?;
    second.connect(first.local_addr()?)?;
    Ok([first, second])
}

/// The socket of who is called, on an address of this host.
///
/// # Errors
/// When the address is not on this host.
pub fn called(address: IpAddr) -> anyhow::Result<UdpSocket> {
    answerer(address)
}

/// The socket of the caller.
///
/// # Errors
/// When there is no way to the address.
pub fn caller(address: SocketAddr) -> anyhow::Result<UdpSocket> {
    asker(address)
}

/// Speaks both ways for `time`, between sockets that are connected with each other.
///
/// # Errors
/// When a socket fails, or not one packet is heard in a direction.
pub fn run(ends: &[UdpSocket; 2], time: Duration) -> anyhow::Result<Call> {
    let over = AtomicBool::new(false);
    for end in ends {
        end.set_read_timeout(Some(GLANCE))?;
    }
    let [one, two] = ends;
    let clock = Stopwatch::start();
    let (sent, delays) = thread::scope(|scope| {
        let listeners = [two, one].map(|end| scope.spawn(|| listen(end, &clock, &over)));
        let speakers = [one, two].map(|end| scope.spawn(|| speak(end, &clock, time)));
        let sent = speakers.map(|it| it.join().expect("a speaker does not panic"));
        thread::sleep(LAST_ORDERS);
        over.store(true, Ordering::Relaxed);
        (sent, listeners.map(|it| it.join().expect("a listener does not panic")))
    });
    let [there, back] = [heard(sent[0], &delays[0])?, heard(sent[1], &delays[1])?];
    Ok(Call { there, back })
}

fn heard(sent: u64, delays: &Delays) -> anyhow::Result<Heard> {
    let arrived = delays.count();
    anyhow::ensure!(arrived > 0, "not one of {sent} packets of the call arrived");
    let [p50_ms, p95_ms, p99_ms, max_ms] = [0.5, 0.95, 0.99, 1.0].map(|share| delays.ms(share));
    Ok(Heard { sent, lost: sent - arrived.min(sent), p50_ms, p95_ms, p99_ms, max_ms })
}

fn speak(socket: &UdpSocket, clock: &Stopwatch, time: Duration) -> u64 {
    paced(clock, PERIOD, time, |number, now| {
        let mut datagram = [0; SIZE];
        datagram[..2].copy_from_slice(&RTP);
        datagram[HEADER..HEADER + 8].copy_from_slice(&number.to_be_bytes());
        datagram[HEADER + 8..HEADER + 16].copy_from_slice(&now.to_be_bytes());
        // A full queue, or a path that is down: lost like any other.
        let _ = socket.send(&datagram);
    })
}

/// Delays of packets; each number counts once.
fn listen(socket: &UdpSocket, clock: &Stopwatch, over: &AtomicBool) -> Delays {
    let mut delays = Delays::default();
    let mut known = Vec::new();
    let mut datagram = [0; SIZE];
    while !over.load(Ordering::Relaxed) {
        let Ok(bytes) = socket.recv(&mut datagram) else { continue };
        let Some((fields, _)) =
            datagram[..bytes].get(HEADER..).and_then(|rest| rest.split_first_chunk::<16>())
        else {
            continue;
        };
        let [number, stamp] =
            [0, 8].map(|at| fields[at..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)));
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        if index >= MOST_PACKETS {
            continue;
        }
        if known.len() <= index {
            known.resize(index + 1, false);
        }
        if !std::mem::replace(&mut known[index], true) {
            delays.note(stamp, clock);
        }
    }
    delays
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn every_packet_over_loopback_is_heard_both_ways() {
        let ends = connect(Ipv4Addr::LOCALHOST.into(), caller, called).expect("sockets");
        let call = run(&ends, Duration::from_millis(190)).expect("a call");
        for heard in [call.there, call.back] {
            assert_eq!((heard.sent, heard.lost, heard.lost_percent()), (10, 0, 0.0));
            assert!(heard.p50_ms <= heard.p95_ms && heard.p95_ms <= heard.p99_ms, "{heard:?}");
            assert!(heard.p99_ms <= heard.max_ms, "{heard:?}");
        }
    }
}
