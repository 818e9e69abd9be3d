//! Control messages from an address that belongs to no path: what they claim, and how the caller, who alone knows
//! addresses, finds out whether the peer is there.

use crate::connection::{CONTROL_MAX, Connection, Departure, UnknownPath};
use crate::path::{Due, PathId};
use crate::time::Instant;
use crate::wire::control::{Kind, Message};
use crate::wire::gre::{self, Protocol};

/// What a control message from an unknown address says of itself. None of it is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Claim {
    /// The number that its sender gives the path it travels on, 0 to 15.
    pub path: u8,
    /// The stamp of the probe that it answers; `None`: it is a probe itself.
    pub answers: Option<u32>,
    /// Whether it carries the instance number of the peer that is being talked to; otherwise it is of a peer that
    /// has restarted, of the first one, or of anybody.
    pub known: bool,
}

impl Connection<'_> {
    /// Reads a datagram that came from an address that belongs to no path, and changes nothing. `None` if it is no
    /// control message with this connection's key, or an old one.
    ///
    /// The peer may have got another address (a NAT forgot its mapping, a modem dialled in again). Before a caller
    /// believes that, it sends there what [`challenge`](Self::challenge) makes, with a stamp that nobody can guess,
    /// and waits for a claim from there whose [`answers`](Claim::answers) is that stamp (as RFC 9000 section 8.2
    /// has it). Then it sends the path's datagrams to the new address, and calls [`probe`](Self::probe).
    pub fn claim(&self, datagram: &[u8]) -> Option<Claim> {
        let header = gre::parse(datagram).ok()?;
        if header.key != self.layout.key || header.protocol != Protocol::Control {
            return None;
        }
        let message = Message::parse(datagram.get(header.len..)?).ok()?;
        let known = self.identity.claims(&message)?;
        let answers = (message.kind == Kind::Echo).then_some(message.stamp);
        Some(Claim { path: message.path, answers, known })
    }

    /// A probe of `path` that carries `stamp`, to be sent to an address that claims to be the peer's. Whoever answers
    /// with the same stamp receives what is sent there.
    ///
    /// # Errors
    /// There is no such path.
    pub fn challenge<'b>(
        &mut self,
        path: PathId,
        stamp: u32,
        buffer: &'b mut [u8; CONTROL_MAX],
        now: Instant,
    ) -> Result<Departure<'b>, UnknownPath> {
        self.tick(now);
        let index = self.paths.find(path)?.id.index();
        self.emit_control(index, Due::probe(stamp), buffer).ok_or(UnknownPath)
    }

    /// Probes `path` at once, unless it is disabled, its link is down, or it is never probed: the peer's address on
    /// it has changed, or it is asked whether it has.
    ///
    /// # Errors
    /// There is no such path.
    pub fn probe(&mut self, path: PathId, now: Instant) -> Result<(), UnknownPath> {
        self.tick(now);
        self.paths.probe(path)
    }

    /// The number that the peer gives a path, once it was heard on it.
    ///
    /// # Errors
    /// There is no such path.
    pub fn peer_number(&self, path: PathId) -> Result<Option<u8>, UnknownPath> {
        self.paths.find(path).map(|path| path.peer_index)
    }
}

#[cfg(test)]
mod tests;
