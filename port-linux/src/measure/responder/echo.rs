//! Questions of `mpt ping`, sent back as they came, and of `mpt doctor`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::Duration;

use mpt_proto::Instant;

use super::Daemon;
use crate::clock::Clock;
use crate::measure::protocol::{Question, Refusal, answer, answer_program};

/// Answers to one peer, in a second and at once.
const RATE: f64 = 200.0;
/// See [`RATE`].
const BURST: f64 = 100.0;
/// Peers, and flows that are answered over a path of their own, that are remembered at a time.
const REMEMBERED: usize = 1024;
/// For how many seconds the answers to a flow are pinned to a path; they are pinned anew when half of it is over.
const PINNED: u16 = 60;
/// After a socket failed.
const PAUSE: Duration = Duration::from_millis(100);
/// The largest datagram.
const LARGEST: usize = 65_535;

/// Answers for ever.
pub(super) fn serve(socket: &UdpSocket, daemon: &Daemon) {
    let (clock, mut buffer) = (Clock::start(), vec![0; LARGEST]);
    let (mut rates, mut pins) = (Rates::default(), Pins::default());
    loop {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else {
            sleep(PAUSE);
            continue;
        };
        let message = &mut buffer[..len];
        let now = clock.now();
        let Some(question) = Question::read(message).filter(|_| daemon.known.contains(from.ip())) else {
            continue;
        };
        if !rates.allow(from.ip(), now) {
            continue;
        }
        match question {
            Question::OtherVersion => answer(message, Some(Refusal::Version)),
            Question::Program => answer_program(message, env!("CARGO_PKG_VERSION")),
            Question::Echo(echo) => {
                let pin = |path| daemon.pin(from, path, PINNED);
                answer(message, echo.path.and_then(|path| pins.hold(from, path, now, pin).err()));
            }
        }
        // One that cannot leave is lost, as others are.
        let _ = socket.send_to(message, from);
    }
}

/// How many answers peers may have now.
#[derive(Debug, Default)]
struct Rates(HashMap<IpAddr, (f64, Instant)>);

impl Rates {
    fn allow(&mut self, peer: IpAddr, now: Instant) -> bool {
        if self.0.len() >= REMEMBERED {
            // Those that were quiet for long enough have all they may have, as strangers have.
            self.0.retain(|_, (_, seen)| now.since(*seen).as_secs_f64() < BURST / RATE);
        }
        let (left, seen) = self.0.entry(peer).or_insert((BURST, now));
        *left = (*left + now.since(*seen).as_secs_f64() * RATE).min(BURST);
        *seen = now;
        let is_allowed = *left >= 1.0;
        *left -= if is_allowed { 1.0 } else { 0.0 };
        is_allowed
    }
}

/// The flows whose answers are pinned to a path, and until when.
#[derive(Debug, Default)]
struct Pins(HashMap<SocketAddr, (u8, Instant)>);

impl Pins {
    /// Sees to it that answers to a flow take this path: by `pin`, if they are not pinned for long enough already.
    fn hold(
        &mut self,
        to: SocketAddr,
        path: u8,
        now: Instant,
        pin: impl FnOnce(u8) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let renewed = now + Duration::from_secs(PINNED.into()) / 2;
        if self.0.get(&to).is_some_and(|(pinned, renew)| *pinned == path && now < *renew) {
            return Ok(());
        }
        self.0.retain(|_, (_, renew)| now < *renew);
        if self.0.len() >= REMEMBERED {
            return Err(Refusal::Busy);
        }
        pin(path)?;
        self.0.insert(to, (path, renewed));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_a_burst_and_then_so_many_answers_a_second() {
        let (mut rates, now) = (Rates::default(), Instant::ZERO);
        let peer = IpAddr::from([10, 0, 0, 2]);
        assert_eq!((0..1000).filter(|_| rates.allow(peer, now)).count(), 100);
        assert!(rates.allow(IpAddr::from([10, 0, 0, 3]), now), "another one");
        let later = now + Duration::from_millis(100);
        assert_eq!((0..1000).filter(|_| rates.allow(peer, later)).count(), 20);
        for host in 0..100_000u32 {
            rates.allow(IpAddr::from(host.to_be_bytes()), later + Duration::from_millis(host.into()));
        }
        assert!(rates.0.len() <= REMEMBERED, "{}", rates.0.len());
    }

    #[test]
    fn a_flow_is_pinned_once_and_again_before_its_time_is_over() {
        let (mut pins, begin) = (Pins::default(), Instant::ZERO);
        let from = SocketAddr::from(([10, 0, 0, 2], 5000));
        let mut count = 0;
        for second in 0..120 {
            let now = begin + Duration::from_secs(second);
            let pin = |_| {
                count += 1;
                Ok(())
            };
            pins.hold(from, 1, now, pin).unwrap();
        }
        assert_eq!(count, 4);
        assert_eq!(pins.hold(from, 2, begin, |_| Err(Refusal::Path)), Err(Refusal::Path), "another path");
    }
}
