//! A small datagram every 10 ms and its echo: what a call or a game feels beside other traffic.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use port_linux::link::unspecified;
use serde::Serialize;

use super::paced::{Delays, GLANCE, LAST_ORDERS, paced};
use crate::stopwatch::Stopwatch;

/// From one to the next.
pub const PERIOD: Duration = Duration::from_millis(10);

/// Payload: a frame of a narrow-band voice codec.
const SIZE: usize = 60;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pings {
    /// Questions.
    pub sent: u64,
    /// Of these, without an answer.
    pub lost: u64,
    /// Median of the round trips, in milliseconds.
    pub p50_ms: f64,
    /// Their 99th percentile.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// Asks for so long from `asker`, which is connected to `answerer`, and has `answerer` echo.
///
/// # Errors
/// When a socket fails, or not one answer comes.
pub fn run(asker: &UdpSocket, answerer: &UdpSocket, time: Duration) -> anyhow::Result<Pings> {
    let over = AtomicBool::new(false);
    asker.set_read_timeout(Some(GLANCE))?;
    answerer.set_read_timeout(Some(GLANCE))?;
    let clock = Stopwatch::start();
    let (sent, trips) = thread::scope(|scope| {
        scope.spawn(|| echo(answerer, &over));
        let listener = scope.spawn(|| listen(asker, &clock, &over));
        let sent = ask(asker, &clock, time);
        thread::sleep(LAST_ORDERS);
        over.store(true, Ordering::Relaxed);
        (sent, listener.join().expect("the listener does not panic"))
    });
    let answered = trips.count();
    anyhow::ensure!(answered > 0, "not one of {sent} datagrams was answered");
    let [p50_ms, p99_ms, max_ms] = [0.5, 0.99, 1.0].map(|share| trips.ms(share));
    Ok(Pings { sent, lost: sent - answered.min(sent), p50_ms, p99_ms, max_ms })
}

/// A socket that echoes, on an address of this host.
///
/// # Errors
/// When the address is not on this host.
pub fn answerer(address: IpAddr) -> anyhow::Result<UdpSocket> {
    UdpSocket::bind((address, 0)).with_context(|| format!("cannot listen on {address}"))
}

/// A socket that asks another.
///
/// # Errors
/// When there is no way to the address.
pub fn asker(address: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((unspecified(address.is_ipv4()), 0))?;
    socket.connect(address).with_context(|| format!("cannot send to {address}"))?;
    Ok(socket)
}

fn ask(socket: &UdpSocket, clock: &Stopwatch, time: Duration) -> u64 {
    paced(clock, PERIOD, time, |_, now| {
        let mut datagram = [0; SIZE];
        datagram[..8].copy_from_slice(&now.to_be_bytes());
        // A full queue, or a path that is down: lost like any other.
        let _ = socket.send(&datagram);
    })
}

fn echo(socket: &UdpSocket, over: &AtomicBool) {
    let mut datagram = [0; SIZE];
    while !over.load(Ordering::Relaxed) {
        if let Ok((bytes, from)) = socket.recv_from(&mut datagram) {
            let _ = socket.send_to(&datagram[..bytes], from);
        }
    }
}

/// Round trips.
fn listen(socket: &UdpSocket, clock: &Stopwatch, over: &AtomicBool) -> Delays {
    let mut trips = Delays::default();
    let mut datagram = [0; SIZE];
    while !over.load(Ordering::Relaxed) {
        let Ok(bytes) = socket.recv(&mut datagram) else { continue };
        if let Some((sent, _)) = datagram[..bytes].split_first_chunk() {
            trips.note(u64::from_be_bytes(*sent), clock);
        }
    }
    trips
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn every_question_over_loopback_is_answered() {
        let answerer = answerer(Ipv4Addr::LOCALHOST.into()).expect("a socket");
        let asker = asker(answerer.local_addr().expect("an address")).expect("a socket");
        let pings = run(&asker, &answerer, Duration::from_millis(95)).expect("answers");
        assert_eq!((pings.sent, pings.lost), (10, 0));
        assert!(pings.p50_ms <= pings.p99_ms && pings.p99_ms <= pings.max_ms, "{pings:?}");
    }
}
