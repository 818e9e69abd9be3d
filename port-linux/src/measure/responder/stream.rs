//! TCP connections of `mpt speed`: what comes is counted, or as much is sent as the connection takes.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use mpt_proto::Instant;
use socket2::SockRef;

use super::Daemon;
use crate::clock::Clock;
use crate::measure::is_timeout;
use crate::measure::protocol::{HELLO_LEN, Hello, Refusal, Sample, Way, welcome};

/// TCP connections that carry tests at a time.
const CARRYING: Bound = Bound { of_one: 16, of_all: 32 };
/// Those that are to be told that there are too many already.
const REFUSED: Bound = Bound { of_one: 4, of_all: 16 };
/// How long a connection may take to say what it is for, and may take nothing of what is sent.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two samples.
const SAMPLES: Duration = Duration::from_millis(100);
/// What a test may take beyond its time: the first round trips, and what waits on the way in the end.
const GRACE: Duration = Duration::from_secs(3);
/// For how many seconds the flow is pinned beyond the time of the test.
const PINNED_BEYOND: u16 = 10;
/// After no connection could be taken.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes that are read and written at once.
const BLOCK: usize = 128 << 10;

/// Takes connections for ever.
pub(super) fn serve(listener: &TcpListener, daemon: &Daemon) {
    let open = Open::default();
    loop {
        let Ok((stream, from)) = listener.accept() else {
            sleep(PAUSE);
            continue;
        };
        let Some(place) = daemon.known.contains(from.ip()).then(|| open.take(from.ip())).flatten() else {
            continue;
        };
        let daemon = daemon.clone();
        let work = move || {
            // It was cut: so ends every test.
            let _ = carry(stream, &daemon, &place);
        };
        // Without a thread, the connection is closed.
        let _ = std::thread::Builder::new().name("stream".into()).spawn(work);
    }
}

/// One connection, to its end.
fn carry(mut stream: TcpStream, daemon: &Daemon, place: &Place) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut hello = [0; HELLO_LEN];
    stream.read_exact(&mut hello)?;
    let Some(hello) = Hello::read(hello) else { return Ok(()) };
    let from = stream.peer_addr()?;
    let granted = hello.and_then(|hello| match hello.path {
        _ if place.is_refused => Err(Refusal::Busy),
        Some(path) => daemon.pin(from, path, hello.seconds + PINNED_BEYOND).map(|()| hello),
        None => Ok(hello),
    });
    stream.write_all(&welcome(granted.err()))?;
    let Ok(hello) = granted else { return Ok(()) };
    // What waits when the time is over is of no use to anybody.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    let clock = Clock::start();
    let end = clock.now() + Duration::from_secs(hello.seconds.into()) + GRACE;
    let outcome = match hello.way {
        Way::Up => receive(&mut stream, &clock, end),
        Way::Down => send(&mut stream, &clock, end),
    };
    // The pin ends by itself, too.
    let _ = hello.path.map(|path| daemon.pin(from, path, 0));
    outcome
}

/// Takes what comes until `end`, and tells how much it was.
fn receive(stream: &mut TcpStream, clock: &Clock, end: Instant) -> io::Result<()> {
    stream.set_read_timeout(Some(SAMPLES))?;
    let (begin, mut buffer, mut bytes) = (clock.now(), vec![0; BLOCK], 0u64);
    let mut next = begin;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => bytes += count as u64,
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error),
        }
        let now = clock.now();
        if now >= end {
            return Ok(());
        }
        if now >= next {
            next = now + SAMPLES;
            let micros = now.as_micros() - begin.as_micros();
            stream.write_all(&Sample { micros, bytes }.bytes())?;
        }
    }
}

/// Sends until `end`.
fn send(stream: &mut TcpStream, clock: &Clock, end: Instant) -> io::Result<()> {
    let block = vec![0; BLOCK];
    while clock.now() < end {
        // How much it takes is seen at the other end.
        let _ = stream.write(&block)?;
    }
    Ok(())
}

/// How many connections of a kind may be open at a time.
struct Bound {
    of_one: usize,
    of_all: usize,
}

impl Bound {
    /// Whether a peer that has `mine` of the `all` that are open may have another one. A peer never has more than are free then, so that
    /// a few peers cannot take all.
    fn admits(&self, mine: usize, all: usize) -> bool {
        mine < self.of_one.min(self.of_all.saturating_sub(all))
    }
}

/// The connections that are open, by peer: those that carry tests, and those that are refused.
#[derive(Debug, Clone, Default)]
struct Open(Arc<Mutex<HashMap<IpAddr, [usize; 2]>>>);

/// A place among them, which is free again when this is dropped.
#[derive(Debug)]
struct Place {
    open: Open,
    peer: IpAddr,
    /// There are too many already, which it is to be told.
    is_refused: bool,
}

impl Open {
    /// A place for a connection of this peer; `None`: it is to be closed at once.
    fn take(&self, peer: IpAddr) -> Option<Place> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = open.get(&peer).copied().unwrap_or_default();
        let all = |kind: usize| open.values().map(|counts| counts[kind]).sum();
        let kind = [CARRYING, REFUSED]
            .iter()
            .enumerate()
            .position(|(kind, bound)| bound.admits(mine[kind], all(kind)))?;
        open.entry(peer).or_default()[kind] += 1;
        Some(Place { open: self.clone(), peer, is_refused: kind == 1 })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = open.get_mut(&self.peer) {
            mine[usize::from(self.is_refused)] -= 1;
            if *mine == [0, 0] {
                open.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn a_peer_has_so_many_places_and_leaves_some_to_others() {
        let open = Open::default();
        let take = |last: u8| -> Vec<Place> { (0..100).map_while(|_| open.take(peer(last))).collect() };
        let counts = |places: &[Place]| {
            let refused = places.iter().filter(|place| place.is_refused).count();
            [places.len() - refused, refused]
        };
        let places = [2, 3, 4, 5].map(take);
        assert_eq!(places.each_ref().map(|it| counts(it)), [[16, 4], [8, 4], [4, 4], [2, 2]]);
        assert!(!open.take(peer(6)).unwrap().is_refused, "another one finds a place");
        let all: Vec<Vec<Place>> = (6..=255).map(take).collect();
        let sum =
            places.iter().chain(&all).map(|it| counts(it)).fold([0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
        assert_eq!(sum, [CARRYING.of_all, REFUSED.of_all]);
        drop((places, all));
        assert!(open.0.lock().unwrap().is_empty());
        assert!(!open.take(peer(4)).unwrap().is_refused);
    }
}
