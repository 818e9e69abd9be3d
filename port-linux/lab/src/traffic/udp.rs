//! Numbered UDP datagrams: shows what a path loses, repeats or reorders, which TCP would hide.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use port_linux::link::unspecified;
use serde::{Deserialize, Serialize};
use socket2::SockRef;

use super::PATIENCE;
use super::meter::{Meter, Received, mbit_per_second};
use super::pattern::Pattern;
use crate::rate::Rate;
use crate::stopwatch::Stopwatch;

/// Default payload: fits the smallest MTU that IPv6 allows, 1,280 bytes, with any headers.
pub const PAYLOAD: u16 = 1200;

/// Bytes of the number and the count; a [`Pattern`] follows, so that damage is seen.
const HEAD: usize = 16;

/// How often the sender looks whether datagrams are due.
const TICK: Duration = Duration::from_micros(500);

/// The most that is sent at once after the sender was kept from running, so that it never floods.
const MOST_AT_ONCE: u64 = 64;

/// In place of a number: the transfer is over, and the count of datagrams follows.
const END: u64 = u64::MAX;

/// The end is said so many times, so that it arrives.
const FAREWELLS: u32 = 10;
const FAREWELL_PAUSE: Duration = Duration::from_millis(20);

/// Most datagrams of one transfer: a receiver remembers each by one bit, at most 16 MiB.
const MOST: u64 = 1 << 27;

/// Receive buffer: a quarter of a second at 400 Mbit/s. Without privilege the kernel may give less.
const RECEIVE_BUFFER: usize = 12 << 20;

/// Which numbers came.
///
/// `received` = `distinct` + `duplicates`, and every number below `next` came or is missing.
#[derive(Debug, Default)]
struct Numbers {
    seen: Vec<u64>,
    next: u64,
    distinct: u64,
    duplicates: u64,
    reordered: u64,
    garbage: u64,
}

impl Numbers {
    fn record(&mut self, number: u64) {
        if number >= MOST {
            self.garbage += 1;
            return;
        }
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.duplicates += 1;
            return;
        }
        self.seen[word] |= bit;
        self.distinct += 1;
        if number < self.next {
            self.reordered += 1;
        }
        self.next = self.next.max(number + 1);
    }
}

/// What came of a transfer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Datagrams that were sent, as the sender says; or the highest number that came plus one, when its word
    /// was lost.
    pub sent: u64,
    /// Different datagrams that came.
    pub received: u64,
    /// Datagrams that did not come.
    pub lost: u64,
    /// Copies of datagrams that had already come.
    pub duplicates: u64,
    /// Datagrams that came after one with a higher number.
    pub reordered: u64,
    /// Datagrams that were not of this transfer, or not as they were sent.
    pub garbage: u64,
    /// Bytes and times.
    #[serde(flatten)]
    pub stream: Received,
}

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sent {
    /// Datagrams that the kernel took.
    pub sent: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Bytes over seconds, in Mbit/s.
    pub rate_mbit_s: f64,
}

/// A socket to receive on; port 0 takes a free one.
///
/// # Errors
/// When the address is not on this host or the port is taken.
pub fn bind(address: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    // Best effort: what is lost for want of a larger one shows in the result.
    let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    Ok(socket)
}

/// Waits at most `patience` for the first datagram and receives until the sender says that it was the last.
///
/// # Errors
/// When nothing comes in time, or for 20 s in between.
pub fn receive(socket: &UdpSocket, patience: Duration) -> anyhow::Result<Delivery> {
    let mut numbers = Numbers::default();
    let mut meter = Meter::default();
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let pattern = Pattern::new(buffer.len());
    let mut clock = None;
    socket.set_read_timeout(Some(patience).filter(|patience| *patience < Duration::MAX))?;
    let sent = loop {
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && clock.is_some() => break numbers.next,
            Err(error) => return Err(error).context("no datagrams came"),
        };
        if clock.is_none() {
            socket.set_read_timeout(Some(PATIENCE))?;
        }
        let at = clock.get_or_insert_with(Stopwatch::start).elapsed();
        let datagram = &buffer[..length];
        match parse(datagram) {
            Some((END, count)) => break count,
            Some((number, _)) if datagram[HEAD..] == *pattern.at(number, length - HEAD) => {
                numbers.record(number);
                meter.record(at, length);
            }
            _ => numbers.garbage += 1,
        }
    };
    let Numbers { next, distinct, duplicates, reordered, garbage, .. } = numbers;
    let sent = sent.max(next);
    let lost = sent - distinct;
    Ok(Delivery { sent, received: distinct, lost, duplicates, reordered, garbage, stream: meter.finish() })
}

/// Sends datagrams of `size` bytes at a steady rate of payload.
///
/// # Errors
/// When the kernel refuses one for another reason than a full queue.
pub fn send(address: SocketAddr, rate: Rate, size: u16, time: Duration) -> anyhow::Result<Sent> {
    let socket = UdpSocket::bind((unspecified(address.is_ipv4()), 0))?;
    socket.connect(address).with_context(|| format!("cannot send to {address}"))?;
    let mut datagram = vec![0; usize::from(size).max(HEAD)];
    let pattern = Pattern::new(datagram.len());
    let clock = Stopwatch::start();
    let (mut due, mut sent) = (0, 0);
    while clock.elapsed() < time && sent < MOST {
        let elapsed = u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX);
        let target = rate.bytes_in_us(elapsed) / datagram.len() as u64;
        for _ in 0..target.saturating_sub(due).min(MOST_AT_ONCE) {
            put(&mut datagram, sent, 0);
            let body = &mut datagram[HEAD..];
            body.copy_from_slice(pattern.at(sent, body.len()));
            match socket.send(&datagram) {
                Ok(_) => sent += 1,
                // The queue is full: the number goes to the next one, so that only the network's losses count.
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error).context("sending ended early"),
            }
        }
        due = target;
        thread::sleep(TICK);
    }
    let seconds = clock.elapsed().as_secs_f64();
    put(&mut datagram, END, sent);
    for _ in 0..FAREWELLS {
        // The receiver may have gone at the first one.
        let _ = socket.send(&datagram[..HEAD]);
        thread::sleep(FAREWELL_PAUSE);
    }
    if sent == 0 {
        bail!("not one datagram could be sent to {address}");
    }
    let bytes = sent * datagram.len() as u64;
    Ok(Sent { sent, bytes, seconds, rate_mbit_s: mbit_per_second(bytes, seconds) })
}

/// A full queue, or word of a port that is not open yet.
pub(super) fn is_passing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOBUFS | Errno::AGAIN | Errno::CONNREFUSED | Errno::INTR)
    )
}

/// Writes a number and, for [`END`], the count.
fn put(datagram: &mut [u8], number: u64, count: u64) {
    datagram[..8].copy_from_slice(&number.to_be_bytes());
    datagram[8..16].copy_from_slice(&count.to_be_bytes());
}

fn parse(datagram: &[u8]) -> Option<(u64, u64)> {
    let (number, rest) = datagram.split_first_chunk()?;
    let (count, _) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), u64::from_be_bytes(*count)))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn numbers(input: &[u64]) -> Numbers {
        let mut numbers = Numbers::default();
        input.iter().for_each(|number| numbers.record(*number));
        numbers
    }

    #[test]
    fn a_late_datagram_is_reordered_and_not_lost() {
        let Numbers { distinct, duplicates, reordered, next, .. } = numbers(&[0, 2, 3, 1, 4]);
        assert_eq!((distinct, duplicates, reordered, next), (5, 0, 1, 5));
    }

    #[test]
    fn a_copy_is_a_duplicate_and_not_reordered() {
        let Numbers { distinct, duplicates, reordered, .. } = numbers(&[0, 1, 2, 1, 2]);
        assert_eq!((distinct, duplicates, reordered), (3, 2, 0));
    }

    #[test]
    fn a_number_beyond_all_bounds_takes_no_memory() {
        let numbers = numbers(&[0, u64::MAX - 1, MOST]);
        assert_eq!((numbers.distinct, numbers.garbage, numbers.seen.len()), (1, 2, 1));
    }

    #[test]
    fn what_is_sent_over_loopback_comes_in_order_and_once() {
        let socket = bind((Ipv4Addr::LOCALHOST, 0).into()).expect("binds");
        let address = socket.local_addr().expect("an address");
        let rate = "8mbit".parse().expect("a rate");

        let sender = thread::spawn(move || send(address, rate, 1000, Duration::from_millis(200)));
        let delivery = receive(&socket, PATIENCE).expect("receives");
        let sent = sender.join().expect("no panic").expect("sends");

        assert_eq!((delivery.sent, delivery.received), (sent.sent, sent.sent));
        assert_eq!((delivery.duplicates, delivery.reordered, delivery.garbage), (0, 0, 0));
        assert!((150..=201).contains(&sent.sent), "{}", sent.sent);
    }
}
