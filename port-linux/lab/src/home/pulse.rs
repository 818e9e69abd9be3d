//! What somebody at home notices: a small datagram every 10 ms to a host of the Internet, which sends it back.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;

use super::internet::ECHO;
use super::world::WEB_V4;
use crate::host::Host;
use crate::stopwatch::Stopwatch;

/// From one question to the next.
const PERIOD: Duration = Duration::from_millis(10);
/// How long an answer is waited for at a time.
const GLANCE: Duration = Duration::from_millis(2);

/// A question that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trip {
    asked: Duration,
    answered: Duration,
}

/// Asks until it is dropped. Moments count from its start.
#[derive(Debug)]
pub(super) struct Pulse {
    clock: Stopwatch,
    trips: Arc<Mutex<Vec<Trip>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    /// Starts on a host.
    pub(super) fn start(host: &Host) -> anyhow::Result<Self> {
        // Not connected: each datagram takes the way that there is when it leaves.
        let socket = host.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?.context("a socket")?;
        socket.set_read_timeout(Some(GLANCE))?;
        let (clock, trips, over) = (Stopwatch::start(), Arc::default(), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (trips, over) = (Arc::clone(&trips), Arc::clone(&over));
            thread::spawn(move || ask(&socket, clock, &trips, &over))
        };
        Ok(Self { clock, trips, over, thread: Some(thread) })
    }

    /// This moment.
    pub(super) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// When the first question that was asked since a moment was answered. `None`: none was within `patience` of now.
    pub(super) fn answered_since(&self, moment: Duration, patience: Duration) -> Option<Duration> {
        let until = self.now() + patience;
        loop {
            let first =
                self.trips().iter().filter(|trip| trip.asked >= moment).map(|trip| trip.answered).min();
            if first.is_some() || self.now() > until {
                return first;
            }
            thread::sleep(PERIOD);
        }
    }

    /// The longest time between two answers from a moment until now.
    pub(super) fn longest_gap(&self, since: Duration) -> Duration {
        longest_gap(&self.trips(), since, self.now())
    }

    fn trips(&self) -> std::sync::MutexGuard<'_, Vec<Trip>> {
        self.trips.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has no errors and does not panic.
            let _ = thread.join();
        }
    }
}

fn ask(socket: &UdpSocket, clock: Stopwatch, trips: &Mutex<Vec<Trip>>, over: &AtomicBool) {
    let (mut next, mut buffer) = (Duration::ZERO, [0; 64]);
    while !over.load(Ordering::Relaxed) {
        let now = clock.elapsed();
        if now >= next {
            let stamp = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).to_be_bytes();
            // Where there is no way, it is lost like any other.
            let _ = socket.send_to(&stamp, (WEB_V4, ECHO));
            next = (next + PERIOD).max(now);
        }
        let Ok((bytes, _)) = socket.recv_from(&mut buffer) else { continue };
        if let Some(stamp) = buffer.get(..bytes).and_then(<[u8]>::first_chunk) {
            let trip =
                Trip { asked: Duration::from_nanos(u64::from_be_bytes(*stamp)), answered: clock.elapsed() };
            trips.lock().unwrap_or_else(PoisonError::into_inner).push(trip);
        }
    }
}

fn longest_gap(trips: &[Trip], since: Duration, now: Duration) -> Duration {
    let answers = trips.iter().map(|trip| trip.answered).filter(|answered| *answered > since);
    let (mut last, mut longest) = (since, Duration::ZERO);
    for answered in answers.chain([now]) {
        longest = longest.max(answered.saturating_sub(last));
        last = answered;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_begins_at_the_moment_and_ends_now() {
        let ms = Duration::from_millis;
        let trip = |at| Trip { asked: ms(at - 5), answered: ms(at) };
        let trips = [trip(10), trip(500), trip(510), trip(520), trip(700)];
        assert_eq!(longest_gap(&trips, ms(505), ms(710)), ms(180));
        assert_eq!(longest_gap(&trips, ms(505), ms(2000)), ms(1300));
        assert_eq!(longest_gap(&trips, ms(100), ms(710)), ms(400));
        assert_eq!(longest_gap(&[], ms(100), ms(110)), ms(10));
    }
}
