//! Questions to the responder at a steady pace, and the answers that come.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Result, bail};
use mpt_proto::Instant;

use super::is_timeout;
use super::protocol::{ECHO_LEN, Echo};
use super::target::Target;
use crate::clock::Clock;

/// Flows of a test are pinned to their path for this time, and anew when half of it is over.
const PINNED: Duration = Duration::from_secs(60);
/// Questions whose answers are still waited for; of those before, answers are ignored.
const OUTSTANDING: usize = 65_536;

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answered {
    /// Of which question.
    pub(super) sequence: u32,
    /// After which time.
    pub(super) delay: Duration,
    /// Bytes of the datagram.
    pub(super) len: usize,
}

/// Asks, and takes answers.
#[derive(Debug)]
pub(super) struct Pinger<'t> {
    target: &'t Target,
    socket: UdpSocket,
    /// Over this path alone, with the number by which the peer knows it, and until when it is pinned.
    path: Option<(String, u8, Instant)>,
    session: u32,
    next: u32,
    clock: Clock,
    outstanding: BTreeSet<u32>,
    message: Vec<u8>,
    arrived: Vec<u8>,
}

impl<'t> Pinger<'t> {
    /// For messages of `size` bytes, [`ECHO_LEN`] at least.
    ///
    /// # Errors
    /// The path is not up, or mpt or the kernel refuses.
    pub(super) fn new(target: &'t Target, path: Option<&str>, size: usize) -> Result<Self> {
        let path = path.map(|path| target.path(path).map(|path| path.name.clone())).transpose()?;
        if path.is_some() {
            target.fits(size)?;
        }
        let clock = Clock::start();
        let now = clock.now();
        let mut pinger = Self {
            target,
            socket: target.udp()?,
            path: path.map(|name| (name, 0, now)),
            session: fastrand::u32(..),
            next: 1,
            clock,
            outstanding: BTreeSet::new(),
            message: vec![0; size.max(ECHO_LEN)],
            arrived: vec![0; size.max(ECHO_LEN) + 1],
        };
        pinger.hold_pin(now)?;
        Ok(pinger)
    }

    /// Sees to it that questions take the path that is measured.
    fn hold_pin(&mut self, now: Instant) -> Result<()> {
        let port = self.socket.local_addr()?.port();
        if let Some((name, number, until)) =
            self.path.as_mut().filter(|(.., until)| *until < now + PINNED / 2)
        {
            *number = self.target.pin(name, &[port], PINNED)?;
            *until = now + PINNED;
        }
        Ok(())
    }

    /// The time, since the pinger was made.
    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// How many questions were sent.
    pub(super) const fn sent(&self) -> u32 {
        self.next - 1
    }

    /// Sends the next question.
    ///
    /// # Errors
    /// There is no responder, or the tunnel is gone. A question that cannot leave now is lost.
    pub(super) fn ask(&mut self) -> Result<()> {
        let now = self.now();
        self.hold_pin(now)?;
        let stamp = now.as_micros();
        let path = self.path.as_ref().map(|(_, number, _)| *number);
        Echo { path, session: self.session, sequence: self.next, stamp }.write(&mut self.message);
        self.outstanding.insert(self.next);
        if self.outstanding.len() > OUTSTANDING {
            self.outstanding.pop_first();
        }
        self.next = self.next.wrapping_add(1);
        match self.socket.send(&self.message) {
            Ok(_) => Ok(()),
            // It is the answer to an earlier one.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err(self.target.failed(&error)),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) => {
                bail!("{} bytes are more than a datagram may have here", self.message.len())
            }
            Err(error)
                if error.kind() == ErrorKind::AddrNotAvailable || error.kind() == ErrorKind::NotFound =>
            {
                Err(self.target.failed(&error))
            }
            Err(_) => Ok(()),
        }
    }

    /// The next answer that comes until then. `None`: none did, or a signal came. Each question is answered once.
    ///
    /// # Errors
    /// There is no responder, or it refuses.
    pub(super) fn wait(&mut self, until: Instant) -> Result<Option<Answered>> {
        loop {
            let left = until.since(self.now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left))?;
            let len = match self.socket.recv(&mut self.arrived) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    return Err(self.target.failed(&error));
                }
                Err(error) if is_timeout(&error) => return Ok(None),
                Err(error) => return Err(self.target.failed(&error)),
            };
            let now = self.now();
            let Some((echo, outcome)) = Echo::answered(&self.arrived[..len]) else { continue };
            if echo.session != self.session || !self.outstanding.remove(&echo.sequence) {
                continue;
            }
            if let Err(refusal) = outcome {
                bail!("{} {}", self.target.connection.name, refusal.told());
            }
            let delay = now.since(Instant::from_micros(echo.stamp));
            return Ok(Some(Answered { sequence: echo.sequence, delay, len }));
        }
    }
}

impl Drop for Pinger<'_> {
    fn drop(&mut self) {
        if let (Some((name, ..)), Ok(end)) = (&self.path, self.socket.local_addr()) {
            self.target.unpin(name, &[end.port()]);
        }
    }
}
