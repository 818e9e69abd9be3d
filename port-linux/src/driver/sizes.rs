//! How large the datagrams of a path may be: as its interface has it, and as hops beyond it do.

use mpt_proto::{CONTROL_MAX, Claim, Instant};

use super::strangers::random;
use super::{Driver, PathMtu, Peer};
use crate::mtu::max_datagram;
use crate::socket::SendError;

impl Driver<'_> {
    /// The datagrams of a path whose interface came with another MTU than planned.
    pub(super) fn follow_mtu(&mut self, peer: usize, path: usize, interface_mtu: u32, now: Instant) {
        let configured = self.peers[peer].config.paths[path].mtu;
        let mtu = configured.unwrap_or(u16::try_from(interface_mtu).unwrap_or(u16::MAX));
        let tunnel_mtu = self.tunnel.mtu;
        let overhead = self.peers[peer].overhead();
        let Peer { config, paths, .. } = &mut self.peers[peer];
        let planned = &mut paths[path];
        let ceiling = max_datagram(mtu, planned.ends.local).min(planned.planned_datagram);
        if ceiling == planned.ceiling {
            return;
        }
        planned.ceiling = ceiling;
        planned.told_datagram = ceiling;
        if usize::from(ceiling) < usize::from(tunnel_mtu) + overhead {
            tracing::warn!(
                "path {} of {}: its interface has MTU {mtu}, so full packets are split on it; [tunnel] mtu = {} would \
                 avoid that",
                config.paths[path].name,
                config.name,
                usize::from(ceiling).saturating_sub(overhead)
            );
        }
        if let Some(search) = &mut planned.search {
            search.restart(ceiling, now);
        }
        self.mutate(peer, now, |peer| peer.follow_size(path, now));
    }

    /// Sends the padded probes that are due. What waits to leave must have left: a probe tells the peer what was
    /// sent before it.
    pub(super) fn probe_sizes(&mut self, now: Instant) {
        let Self { peers, sockets, .. } = self;
        for peer in peers {
            for path in 0..peer.paths.len() {
                let Peer { connection, paths, .. } = &mut *peer;
                let planned = &mut paths[path];
                let Some(search) = &mut planned.search else { continue };
                let is_due = search.poll_timeout().is_some_and(|deadline| deadline <= now);
                let Ok(stats) = connection.path_stats(planned.id) else { continue };
                if !is_due {
                    continue;
                }
                let Some(size) = search.handle_timeout(stats.tx_bytes, now) else {
                    peer.follow_size(path, now);
                    continue;
                };
                let rtt = connection.path_rtt(planned.id).ok().flatten();
                let mut buffer = [0; CONTROL_MAX];
                let socket = sockets[planned.socket].socket.as_ref();
                let stamp = search.stamp().or_else(random);
                if let (Some((socket, remote)), Some(stamp)) = (socket.zip(planned.remote), stamp)
                    && let Ok(probe) = connection.challenge(planned.id, stamp, &mut buffer, now)
                {
                    // A peer ignores what follows a message, and zeros do not change a checksum.
                    let mut padded = probe.datagram.to_vec();
                    padded.resize(usize::from(size).max(padded.len()), 0);
                    match socket.send(remote, &padded, padded.len(), probe.ecn) {
                        Err(SendError::TooBig) => search.handle_refused(now),
                        // Any other that does not leave is a lost one.
                        _ => search.handle_sent(stamp, rtt, now),
                    }
                } else {
                    search.pause();
                }
                peer.follow_size(path, now);
            }
        }
    }
}

impl Peer<'_> {
    /// Whether a datagram is the echo of a padded probe, which is not for the core: it did not make the stamp.
    pub(super) fn takes_echo(&mut self, path: usize, datagram: &[u8], now: Instant) -> bool {
        let Some(search) = self.paths.get_mut(path).and_then(|path| path.search.as_mut()) else {
            return false;
        };
        if datagram.len() > CONTROL_MAX {
            return false;
        }
        let Some(Claim { answers: Some(stamp), known: true, .. }) = self.connection.claim(datagram) else {
            return false;
        };
        let is_ours = search.handle_echo(stamp, now);
        if is_ours {
            self.follow_size(path, now);
        }
        is_ours
    }

    /// Lets the core send what passes.
    fn follow_size(&mut self, path: usize, now: Instant) {
        let overhead = self.overhead();
        let planned = &mut self.paths[path];
        let size = planned.search.as_ref().map_or(planned.ceiling, PathMtu::max_datagram);
        if size != planned.max_datagram {
            planned.max_datagram = size;
            if let Err(error) = self.connection.set_max_datagram(planned.id, size, now) {
                tracing::debug!("size of a path's datagrams: {error:?}");
            }
        }
        let found = planned.search.as_ref().is_some_and(PathMtu::is_settled);
        if found && size != planned.told_datagram {
            planned.told_datagram = size;
            let (path, peer) = (&self.config.paths[path].name, &self.config.name);
            if size == planned.ceiling {
                tracing::info!(
                    "path {path} of {peer} carries datagrams of {size} bytes again, as its interface does"
                );
            } else {
                tracing::warn!(
                    "path {path} of {peer}: datagrams of more than {size} bytes do not arrive, though its interface \
                     takes {}: packets of more than {} bytes are split on it",
                    planned.ceiling,
                    usize::from(size).saturating_sub(overhead)
                );
            }
        }
    }
}
