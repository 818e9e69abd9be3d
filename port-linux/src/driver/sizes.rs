//! How large the datagrams of a path may be: as its interface has it, and as hops beyond it do.

use mpt_proto::{CONTROL_MAX, Claim, Handle, Instant, PathMtu, PathState};

use super::outside::Outside;
use super::strangers::random;
use super::{Driver, Peer, PeerPath};
use crate::events::What;
use crate::mtu::{self, max_datagram};
use crate::socket::SendError;

impl Driver<'_> {
    /// The datagrams of a path whose interface came with another MTU than planned.
    pub(super) fn follow_mtu(&mut self, peer: Handle, path: usize, interface_mtu: u32, now: Instant) {
        let configured = self.peers[peer].config.paths[path].mtu;
        let mtu = configured.unwrap_or(u16::try_from(interface_mtu).unwrap_or(u16::MAX));
        let (tunnel_mtu, follows) = (self.tunnel.mtu, self.tunnel_mtu.is_some());
        let overhead = self.peers[peer].overhead();
        let Peer { config, paths, .. } = &mut self.peers[peer];
        let planned = &mut paths[path];
        let ceiling = max_datagram(mtu, planned.ends.local).min(planned.planned_datagram);
        if ceiling == planned.ceiling {
            return;
        }
        planned.ceiling = ceiling;
        planned.told_datagram = ceiling;
        let (path_name, name) = (&config.paths[path].name, &config.name);
        let packet = usize::from(ceiling).saturating_sub(overhead);
        if follows {
            tracing::info!("path {path_name} of {name}: its interface has MTU {mtu}");
        } else if packet < usize::from(tunnel_mtu) {
            tracing::warn!(
                "path {path_name} of {name}: its interface has MTU {mtu}, so full packets take other paths or are split; \
                 [tunnel] mtu = {packet} would avoid that"
            );
        }
        if let Some(search) = &mut planned.search {
            search.restart(ceiling, now);
        }
        self.mutate(peer, now, |peer| {
            peer.sizes_changed = true;
            peer.follow_size(path, now);
        });
    }

    /// Lets the tunnel's MTU follow what the paths carry.
    pub(super) fn follow_sizes(&mut self, now: Instant) {
        let Some(follower) = &mut self.tunnel_mtu else { return };
        if std::mem::take(&mut self.sizes_changed) {
            // What one of many peers, which may be anybody's, carries is not for all of them: its large packets are split.
            let sizes = self.peers.fixed().filter_map(Peer::common_packet);
            follower.handle_sizes(sizes.min(), now);
        }
        let Some(mtu) = follower.handle_timeout(now) else { return };
        let name = &self.tunnel.name;
        if let Err(error) = (follower.set)(name, mtu) {
            tracing::warn!("{error:#}: packets that do not fit a path take others, or are split");
            self.tunnel_mtu = None;
            return;
        }
        let what = What::TunnelMtu { interface: name.clone(), mtu, before: self.tunnel.mtu };
        self.journal.note(now, None, None, what);
        self.tunnel.mtu = mtu;
        self.inside.mtu = mtu;
    }

    /// Sends the probes of a connection that are due. What waits to leave must have left: a probe tells the peer what was sent before it.
    pub(super) fn probe_sizes(&mut self, peer: Handle, now: Instant) {
        let Self { peers, outside, .. } = self;
        let Some(peer) = peers.get_mut(peer) else { return };
        for path in 0..peer.paths.len() {
            let is_due = |search: &PathMtu| search.poll_timeout().is_some_and(|deadline| deadline <= now);
            if peer.paths[path].search.as_ref().is_some_and(is_due) {
                peer.probe_size(path, outside, now);
                peer.follow_size(path, now);
            }
        }
    }
}

impl Peer<'_> {
    /// Sends a small probe and a padded one on a path, if they are due.
    fn probe_size(&mut self, path: usize, outside: &mut Outside<'_>, now: Instant) {
        let Self { handle, connection, paths, .. } = self;
        let planned = &mut paths[path];
        let to = planned.destination().filter(|_| outside.is_open(planned.socket));
        let Some(search) = &mut planned.search else { return };
        // What arrived before the look began is taken out, and says nothing.
        if let Ok(Some(size)) = connection.take_carried(planned.id) {
            search.handle_carried(size, now);
        }
        let Ok(sent) = connection.path_stats(planned.id).map(|stats| stats.tx_bytes) else { return };
        let Some(size) = search.handle_timeout(sent, now) else { return };
        let (small, padded) = search.stamps();
        let (Some(to), Some(small), Some(padded)) = (to, small.or_else(random), padded.or_else(random))
        else {
            return search.pause();
        };
        let rtt = connection.path_rtt(planned.id).ok().flatten();
        let mut send = |stamp: u32, size: usize| {
            let mut buffer = [0; CONTROL_MAX];
            let probe = connection.challenge(planned.id, stamp, &mut buffer, now).ok()?;
            outside.send_alone(*handle, planned, (planned.socket, to), &probe, size, now)
        };
        // The small one first: of two that arrive together the peer answers the last.
        let outcome = (send(small, 0), send(padded, size.into()));
        let Some(search) = &mut planned.search else { return };
        match outcome {
            (Some(Ok(())), Some(Ok(()))) => search.handle_sent((small, padded), rtt, now),
            (Some(Ok(())), Some(Err(SendError::TooBig))) => search.handle_refused(now),
            _ => search.handle_unsent(now),
        }
    }

    /// The largest packet that leaves whole on every path that is up, but for those that are far narrower than the widest.
    fn common_packet(&self) -> Option<u16> {
        let is_up = |path: &&PeerPath| self.connection.path_state(path.id) == Ok(PathState::Up);
        let sizes = self.paths.iter().filter(is_up).map(|path| path.told_datagram);
        let overhead = u16::try_from(self.overhead()).unwrap_or(u16::MAX);
        Some(mpt_proto::common_size(sizes)?.saturating_sub(overhead))
    }

    /// Whether a control message of the peer is the echo of a padded probe, which is not for the core: it did not make the stamp.
    pub(super) fn takes_echo(&mut self, path: usize, claim: Claim, now: Instant) -> bool {
        let search = self.paths.get_mut(path).and_then(|path| path.search.as_mut());
        let Some((search, stamp)) = search.zip(claim.answers) else { return false };
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
        let is_answered = planned.search.as_ref().is_none_or(PathMtu::is_at_rest);
        if size != planned.max_datagram || planned.doubted && is_answered {
            planned.doubted = false;
            self.set_max_datagram(path, size, now);
        }
        let planned = &mut self.paths[path];
        let found = planned.search.as_ref().is_some_and(PathMtu::is_settled);
        if found && size != planned.told_datagram {
            planned.told_datagram = size;
            self.sizes_changed = true;
            let (path, peer) = (&self.config.paths[path].name, &self.config.name);
            if size == planned.ceiling {
                tracing::info!(
                    "path {path} of {peer} carries datagrams of {size} bytes again, as its interface does"
                );
            } else {
                tracing::warn!(
                    "path {path} of {peer}: datagrams of more than {size} bytes do not arrive, though its interface \
                     takes {}: packets of more than {} bytes take other paths, or are split. The path's key mtu = {} saves the search",
                    planned.ceiling,
                    usize::from(size).saturating_sub(overhead),
                    mtu::of_datagram(size, planned.ends.remote)
                );
            }
        }
    }
}
