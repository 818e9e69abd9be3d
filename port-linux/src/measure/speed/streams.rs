//! TCP connections to the responder that carry as much as they can for a while.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::scope;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use socket2::{SockRef, Socket};

use crate::clock::Clock;
use crate::measure::is_timeout;
use crate::measure::protocol::{Hello, SAMPLE_LEN, Sample, WELCOME_LEN, Way, welcomed};
use crate::measure::target::Target;

/// How long a connection may take to be made, and to be answered.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between two samples of what came, and two looks for those of the peer.
const SAMPLES: Duration = Duration::from_millis(50);
/// For how long flows are pinned beyond the time of the test.
const PINNED_BEYOND: Duration = Duration::from_secs(20);
/// Bytes that are read and written at once.
const BLOCK: usize = 128 << 10;

/// Several connections at once.
pub(super) struct Streams<'t> {
    pub(super) target: &'t Target,
    /// Over this path alone.
    pub(super) path: Option<&'t str>,
    pub(super) way: Way,
    pub(super) count: u8,
    pub(super) time: Duration,
    /// What is left out of it in the beginning.
    pub(super) start: Duration,
}

impl Streams<'_> {
    /// Runs them, and returns the bits a second that came out at the other end, all together.
    pub(super) fn run(&self) -> Result<f64> {
        let sockets: Vec<(Socket, u16)> =
            (0..self.count).map(|_| self.target.tcp()).collect::<Result<_>>()?;
        let ports: Vec<u16> = sockets.iter().map(|(_, port)| *port).collect();
        let pin = |path| self.target.pin(path, &ports, self.time + PINNED_BEYOND);
        let number = self.path.map(pin).transpose()?;
        let rate = scope(|scope| {
            let carry = |(socket, _)| scope.spawn(move || self.carry(socket, number));
            let running: Vec<_> = sockets.into_iter().map(carry).collect();
            let rates = running
                .into_iter()
                .map(|stream| stream.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
            // All have to end before an error is told.
            let rates: Vec<Result<f64>> = rates.collect();
            rates.into_iter().sum()
        });
        self.path.iter().for_each(|path| self.target.unpin(path, &ports));
        rate
    }

    /// One of them.
    fn carry(&self, socket: Socket, path: Option<u8>) -> Result<f64> {
        let mut stream = self.target.connect(socket, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // What waits when the time is over is of no use to anybody.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        let seconds = u16::try_from(self.time.as_secs()).unwrap_or(u16::MAX);
        stream.write_all(&Hello { way: self.way, path, seconds }.bytes())?;
        let mut welcome = [0; WELCOME_LEN];
        stream.read_exact(&mut welcome).map_err(|error| self.target.failed(&error))?;
        let name = &self.target.connection.name;
        match welcomed(welcome) {
            Some(Ok(())) => {}
            Some(Err(refusal)) => bail!("{name} {}", refusal.told()),
            None => bail!("what answers at {name} is no responder of mpt"),
        }
        let samples = match self.way {
            Way::Down => self.receive(&mut stream),
            Way::Up => self.send(&mut stream),
        };
        let samples = samples.context("a connection of the test was cut")?;
        Ok(rate(&samples, self.start, self.time))
    }

    fn receive(&self, stream: &mut TcpStream) -> Result<Vec<Sample>> {
        stream.set_read_timeout(Some(SAMPLES))?;
        let (clock, mut buffer, mut bytes) = (Clock::start(), vec![0; BLOCK], 0u64);
        let (mut samples, mut next) = (Vec::new(), Duration::ZERO);
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => bail!("the peer ended it"),
                Ok(count) => bytes += count as u64,
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error.into()),
            }
            let micros = clock.now().as_micros();
            let elapsed = Duration::from_micros(micros);
            if elapsed >= next {
                samples.push(Sample { micros, bytes });
                next = elapsed + SAMPLES;
            }
            if elapsed >= self.time {
                return Ok(samples);
            }
        }
    }

    fn send(&self, stream: &mut TcpStream) -> Result<Vec<Sample>> {
        stream.set_write_timeout(Some(SAMPLES))?;
        let (clock, block) = (Clock::start(), vec![0; BLOCK]);
        let elapsed = || Duration::from_micros(clock.now().as_micros());
        let (mut samples, mut next, mut arrived) = (Vec::new(), SAMPLES, Vec::new());
        while elapsed() < self.time {
            match stream.write(&block) {
                Err(error) if !is_timeout(&error) => return Err(error.into()),
                _ => {}
            }
            if elapsed() >= next {
                take_samples(stream, &mut arrived, &mut samples)?;
                next = elapsed() + SAMPLES;
            }
        }
        take_samples(stream, &mut arrived, &mut samples)?;
        Ok(samples)
    }
}

/// Takes the samples of the peer that are there.
fn take_samples(stream: &TcpStream, arrived: &mut Vec<u8>, samples: &mut Vec<Sample>) -> Result<()> {
    let mut buffer = [0; 1024];
    loop {
        match recv(stream, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => bail!("the peer ended it"),
            Ok((count, _)) => arrived.extend_from_slice(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let (whole, _) = arrived.as_chunks::<SAMPLE_LEN>();
    let count = whole.len();
    samples.extend(whole.iter().map(|bytes| Sample::read(*bytes)));
    arrived.drain(..count * SAMPLE_LEN);
    Ok(())
}

/// Bits a second between `start` and `end`.
fn rate(samples: &[Sample], start: Duration, end: Duration) -> f64 {
    let within = |sample: &&Sample| {
        let at = Duration::from_micros(sample.micros);
        at >= start && at <= end + SAMPLES
    };
    let mut counted = samples.iter().filter(within);
    let (Some(first), Some(last)) = (counted.next(), counted.next_back()) else { return 0.0 };
    #[allow(clippy::cast_precision_loss, reason = "both are below 2^52")]
    let (bytes, micros) =
        (last.bytes.saturating_sub(first.bytes) as f64, last.micros.saturating_sub(first.micros) as f64);
    if micros > 0.0 { 8e6 * bytes / micros } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_time_behind_the_start() {
        let at = |ms: u64, bytes| Sample { micros: ms * 1000, bytes };
        // Nothing in the first second, then 1 MB a second.
        let samples: Vec<Sample> =
            (0..50).map(|n| at(n * 100, (n * 100_000).saturating_sub(1_000_000))).collect();
        let (start, end) = (Duration::from_secs(1), Duration::from_secs(5));
        assert!((rate(&samples, start, end) - 8e6).abs() < 1.0);
        assert!(rate(&samples, Duration::ZERO, end) < 7e6);
        // What a peer says of times beyond the test is not believed.
        assert!((rate(&[&samples[..], &[at(60_000, 1 << 50)]].concat(), start, end) - 8e6).abs() < 1.0);
        assert_eq!([rate(&[], start, end), rate(&samples[..11], start, end)], [0.0; 2]);
        assert_eq!(rate(&[at(2000, 9), at(1500, 5)], start, end), 0.0, "made up");
    }
}
