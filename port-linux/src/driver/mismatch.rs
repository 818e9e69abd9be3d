//! What a peer sends and this end cannot take because one of the two is set up otherwise: people are told once of each
//! reason, with what mends it. Of strangers there are counters.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use mpt_proto::wire::gre::{self, Protocol};
use mpt_proto::{Claim, DropReason};
use mpt_seal::Reason;

use super::outside::Origin;
use super::{Driver, Peer};
use crate::events::What;

/// Between two lines about strangers who know this server's public key.
const STRANGERS_EACH: Duration = Duration::from_secs(3600);

/// Where the bits of [`DropReason`] begin in `told_refused`, behind those of [`Reason`].
const DROPS: u32 = 16;
const _: () = assert!(Reason::ALL.len() <= 16 && DropReason::ALL.len() <= 16, "each has a bit");

impl Driver<'_> {
    /// Tells people that datagrams from the address of a peer are refused by the layer that seals.
    pub(super) fn tell_refused(&mut self, origin: Origin, reason: Reason) {
        let Origin { socket, source, .. } = origin;
        tracing::trace!("a datagram from {source} is refused: {reason:?}");
        let sender = self.outside.sockets.get(socket).and_then(|shared| shared.senders.find(source));
        let Some(peer) = sender.and_then(|sender| self.peers.get_mut(sender.peer)) else {
            return self.tell_stranger(origin, reason);
        };
        let why = match reason {
            Reason::Clear => {
                "sends in the clear: it needs [security] with a key of its own and our public key, or this end security = \"none\""
            }
            Reason::BadMac => "has another public key for us than ours, which `mpt check` prints here",
            Reason::UnknownPeer => {
                "proves a key that is no connection's: public_key is to be what `mpt check` prints there"
            }
            Reason::BadResponse => {
                "has another pre-shared key, or only one end has one: preshared_key_file is to have the same content at both"
            }
            _ => return,
        };
        peer.problem = Some(why.into());
        peer.tell_once(reason as u32, source);
    }

    /// Somebody who knows this server's public key has a key that is no peer's: a line that was replaced, or a peer that was removed.
    fn tell_stranger(&mut self, Origin { source, listens, .. }: Origin, reason: Reason) {
        if reason != Reason::UnknownPeer || !listens {
            return;
        }
        let now = self.clock.now();
        if self.strangers_told_until.is_some_and(|until| now < until) {
            return;
        }
        self.strangers_told_until = Some(now + STRANGERS_EACH);
        tracing::warn!(
            "somebody at {source} knows this server's public key, and proves a key that no peer here has: a line that `mpt peer renew` \
             replaced, or a peer that was removed. It gets no answer. `mpt peer renew NAME` makes a new line"
        );
    }

    /// A datagram of mpt that no connection of its socket understands, from an address that is no path's remote end.
    pub(super) fn tell_foreign(&mut self, origin: Origin, datagram: &[u8]) {
        let is_sealed = mpt_seal::is_initiation(datagram);
        let theirs = key_of(datagram);
        let is_meant = |peer: &&Peer<'_>| {
            peer.uses_socket(origin.socket)
                && peer.paths_up() == 0
                && (is_sealed || theirs.is_some_and(|key| key != peer.config.key))
        };
        let Some(peer) = self.peers.iter().find(is_meant).map(|peer| peer.handle) else { return };
        let Some(peer) = self.peers.get_mut(peer) else { return };
        if is_sealed {
            peer.tell_sealed(origin.source);
        } else {
            peer.tell_dropped(DropReason::WrongKey, datagram, origin.source);
        }
    }
}

impl Peer<'_> {
    /// Tells people of `self.problem`, once for each reason, which is a bit of `told_refused`.
    fn tell_once(&mut self, reason: u32, source: SocketAddr) {
        let bit = 1 << reason;
        if self.told_refused & bit == 0 {
            self.told_refused |= bit;
            let why = self.problem.clone().unwrap_or_default().into_owned();
            self.news.push(What::PeerRefused { from: source, why });
        }
    }

    /// A datagram of the peer was dropped. Tells people, where that is a fault which they can mend.
    pub(super) fn tell_dropped(&mut self, reason: DropReason, datagram: &[u8], source: SocketAddr) {
        let bit = DROPS + reason as u32;
        if self.told_refused & (1 << bit) != 0 {
            return;
        }
        let why: Cow<'static, str> = match reason {
            DropReason::WrongKey => match key_of(datagram) {
                Some(theirs) => keys_differ(theirs, self.config.key).into(),
                None => return,
            },
            DropReason::BadChecksum => "sends what is damaged on the way, as its GRE checksum says".into(),
            DropReason::BadVersion | DropReason::BadFlags | DropReason::UnknownProtocol => {
                "sends what is not GRE in UDP as mpt speaks it: another program has this port there, or `remote_port` is not mpt's".into()
            }
            DropReason::BadInner => {
                "sends packets that are no IP packets, or are damaged: another program has this port there, or checksum = true at both ends \
                 shows what is damaged on the way"
                    .into()
            }
            DropReason::BadControl => {
                "sends control messages that cannot be understood: `sequence` is to be the same at both ends, and the versions of mpt alike".into()
            }
            DropReason::TooLarge => "sends packets larger than there is room for: `tunnel.mtu` is to be the same at both ends".into(),
            _ => return,
        };
        self.problem = Some(why);
        self.tell_once(bit, source);
    }

    /// Tells people that the peer wants to begin a handshake for which there is no key here.
    pub(super) fn tell_sealed(&mut self, source: SocketAddr) {
        const WHY: &str = "has keys and seals, which security = \"none\" does not understand: give this end [security] and public_key, or \
            security = \"none\" to the peer";
        self.problem = Some(WHY.into());
        self.tell_once(Reason::Clear as u32, source);
    }

    /// Tells people, once, that somebody speaks this protocol from an unexpected address, and that no path follows it there: a
    /// port or an address that is another one than in the configuration, a NAT, or a path too few.
    pub(super) fn hint(&mut self, Origin { socket, source, .. }: Origin, claim: Claim) {
        if self.hinted {
            return;
        }
        let name = &self.config.name;
        let mut on_socket = self.paths.iter().zip(&self.config.paths).filter(|(path, _)| path.is_on(socket));
        if on_socket.clone().any(|(path, _)| path.roaming.is_some()) {
            let is_numbered =
                |path: &super::PeerPath| self.connection.peer_number(path.id) == Ok(Some(claim.path));
            if !claim.known || self.paths_up() < self.paths_known() || self.paths.iter().any(is_numbered) {
                return;
            }
            self.hinted = true;
            tracing::warn!(
                "{name}: the peer has more paths than this end: it sends from {source}, too. Another [[connection.path]] here takes that \
                 one, with remote = \"{}\" and the same `local`",
                any_like(source)
            );
            return;
        }
        let at_address = on_socket.find_map(|(path, config)| {
            let expected = path.remote.filter(|remote| remote.ip() == source.ip())?;
            let is_heard = self.connection.path_stats(path.id).is_ok_and(|stats| stats.rx_datagrams > 0);
            Some((config, expected, is_heard))
        });
        if at_address.as_ref().is_some_and(|(.., is_heard)| *is_heard) {
            // It tries other ports, as we do not seem to hear it.
            return;
        }
        self.hinted = true;
        match at_address {
            Some((config, expected, _)) => tracing::warn!(
                "{name}: the peer sends from port {} of {}, and path {} expects port {}: set `remote_port` to that one, or `port` of the peer. \
                 If a NAT in between changes it, roaming = true follows",
                source.port(),
                source.ip(),
                config.name,
                expected.port()
            ),
            None => tracing::warn!(
                "{name}: an mpt with the right key sends from {source}, which is no path's remote end. If that is the peer, set `remote` of its \
                 path to that address; where the address changes, as behind a NAT, roaming = true follows it, and remote = \"{}\" \
                 learns where it is",
                any_like(source)
            ),
        }
    }
}

/// The GRE key of a datagram that mpt may have sent in the clear; `Some(None)`: it has none. What is sealed has other numbers there.
fn key_of(datagram: &[u8]) -> Option<Option<u32>> {
    if mpt_seal::is_initiation(datagram) {
        return None;
    }
    let header = gre::parse(datagram).ok()?;
    (header.protocol != Protocol::Fragment).then_some(header.key)
}

fn keys_differ(theirs: Option<u32>, ours: Option<u32>) -> String {
    let say = |key: Option<u32>| key.map_or("none".to_owned(), |key| key.to_string());
    format!(
        "has the GRE key {}, and this end {}: `key` is to be the same at both ends",
        say(theirs),
        say(ours)
    )
}

/// The address that stands for any of the same IP version.
fn any_like(address: SocketAddr) -> &'static str {
    if address.is_ipv4() { "0.0.0.0" } else { "::" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_clear_datagrams_alone() {
        let control = |flags: u8, rest: &[u8]| [&[flags, 0, 0x88, 0xb5], rest].concat();
        assert_eq!(key_of(&control(0x20, &[0, 0, 0, 8])), Some(Some(8)));
        assert_eq!(key_of(&control(0, &[])), Some(None));
        // An index and a counter, as sealed datagrams have them, and an empty one.
        assert_eq!(key_of(&[0x30, 0, 0x88, 0xb6, 1, 2, 3, 4, 0, 0, 0, 1]), None);
        assert_eq!(key_of(&[]), None);
        assert_eq!(
            keys_differ(Some(8), None),
            "has the GRE key 8, and this end none: `key` is to be the same at both ends"
        );
    }
}
