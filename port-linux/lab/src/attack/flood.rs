//! What somebody sends who can reach an end and wants to stop it, as fast as one processor core can.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use mpt_proto::{Instant, PathSet};
use mpt_seal::{Memory, PeerKeys, Portable, PresharedKey, PrivateKey, PublicKey, Sealer};
use port_linux::entropy::{self, SystemEntropy};
use port_linux::keys;
use port_linux::link::unspecified;
use serde::Serialize;

use crate::stopwatch::Stopwatch;
use crate::topology::Side;
use crate::tunnel;

/// So many different datagrams are sent in turn.
const DIFFERENT: usize = 500;
/// Between two handshakes of a sealer: longer than the life of an ephemeral key, so that each has its own.
const APART: Duration = Duration::from_secs(10);
/// Bytes of what is no handshake: a full datagram of data.
const DATA_LEN: usize = 1400;
/// So many datagrams leave between two looks at clock and answers.
const BATCH: usize = 64;

/// Who floods, by what they know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Flood {
    /// Nothing: random bytes
    Random,
    /// The form of data: an index of nobody's
    Data,
    /// The public key: each a handshake of its own, whose mac1 is right
    Initiations,
    /// What passed before: authentic initiations of the peer, older than its newest
    Replays,
}

impl Flood {
    /// What people read.
    pub fn label(self) -> &'static str {
        match self {
            Self::Random => "random bytes, 160",
            Self::Data => "data of unknown keys, 1400 bytes",
            Self::Initiations => "initiations of strangers, 160 bytes",
            Self::Replays => "old initiations of the peer, 160 bytes",
        }
    }

    /// Datagrams of this kind to PC2.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn datagrams(self) -> anyhow::Result<Vec<Vec<u8>>> {
        let to = tunnel::private_key(Side::Pc2).public();
        match self {
            Self::Random => random(160, &[]),
            Self::Data => random(DATA_LEN, &[0x30, 0x00, 0x88, 0xb6]),
            Self::Initiations => initiations(keys::private(&keys::random_private()?), to),
            Self::Replays => initiations(tunnel::private_key(Side::Pc1), to),
        }
    }
}

/// Random bytes behind these.
fn random(len: usize, head: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
    let one = |_| {
        let mut bytes = vec![0; len];
        entropy::fill(&mut bytes)?;
        bytes[..head.len()].copy_from_slice(head);
        Ok(bytes)
    };
    (0..DIFFERENT).map(one).collect()
}

/// Initiations of the owner of a private key, each with an ephemeral key of its own, at the beginning of 1970.
fn initiations(from: PrivateKey, to: PublicKey) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut memory = Memory::new(1, 2, 0, 1);
    let mut now = Instant::ZERO;
    let mut sealer = Sealer::new(from, 1, Portable, SystemEntropy, memory.lend(), now);
    let peer = sealer.add_peer(PeerKeys { public: to, preshared: PresharedKey::NONE })?;
    sealer.set_paths(peer, PathSet::of(0));
    let one = |number| {
        now = now + APART;
        sealer.initiate(peer, now);
        sealer.handle_timeout(number, now);
        let (_, _, datagram) = sealer.poll_transmit(now).context("no initiation")?;
        Ok(datagram.to_vec())
    };
    (1..=DIFFERENT as u64).map(one).collect()
}

/// What a flood was.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(super) struct Sent {
    /// Datagrams that left.
    pub datagrams: u64,
    /// Bytes that came back.
    pub answered_bytes: u64,
    /// How long it lasted, in seconds.
    pub seconds: f64,
}

/// Sends them in turn for so long.
///
/// # Errors
/// When there is no socket.
pub(super) fn send(datagrams: &[Vec<u8>], to: SocketAddr, time: Duration) -> anyhow::Result<Sent> {
    let socket = UdpSocket::bind((unspecified(to.is_ipv4()), 0))?;
    socket.set_nonblocking(true)?;
    let clock = Stopwatch::start();
    let (mut sent, mut answered_bytes) = (0, 0);
    let mut turn = datagrams.iter().cycle();
    while clock.elapsed() < time {
        for datagram in turn.by_ref().take(BATCH) {
            sent += u64::from(socket.send_to(datagram, to).is_ok());
        }
        answered_bytes += answers(&socket)?;
    }
    Ok(Sent { datagrams: sent, answered_bytes, seconds: clock.elapsed().as_secs_f64() })
}

/// Bytes that have come.
fn answers(socket: &UdpSocket) -> anyhow::Result<u64> {
    let (mut sum, mut bytes) = (0, [0; 2048]);
    loop {
        match socket.recv(&mut bytes) {
            Ok(len) => sum += len as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(sum),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_datagram_differs_and_has_the_form_of_its_kind() {
        for flood in Flood::value_variants() {
            let datagrams = flood.datagrams().unwrap();
            assert_eq!(datagrams.iter().collect::<HashSet<_>>().len(), DIFFERENT, "{flood:?}");
            let is_handshake = matches!(flood, Flood::Initiations | Flood::Replays);
            assert!(
                datagrams.iter().all(|bytes| mpt_seal::is_initiation(bytes) == is_handshake),
                "{flood:?}"
            );
        }
    }

    #[test]
    fn what_is_sent_and_answered_is_counted() {
        let there = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = there.local_addr().unwrap();
        let answer = std::thread::spawn(move || {
            let mut bytes = [0; 2048];
            let (_, from) = there.recv_from(&mut bytes).unwrap();
            there.send_to(&[1; 10], from).unwrap();
        });
        let sent = send(&[vec![7; 100]], to, Duration::from_millis(500)).unwrap();
        answer.join().unwrap();
        assert!(sent.datagrams > 0);
        assert_eq!(sent.answered_bytes, 10);
    }
}
