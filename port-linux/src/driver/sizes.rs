//! How large the datagrams of a path may be: as its interface has it, and as hops beyond it do.

use mpt_proto::{Handle, Instant, PathState};

use super::{Driver, Peer, PeerPath};
use crate::events::What;
use crate::mtu::{self, max_datagram};

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
        self.mutate(peer, now, |peer| {
            peer.sizes_changed = true;
            peer.set_max_datagram(path, ceiling, now);
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
}

impl Peer<'_> {
    /// The largest packet that leaves whole on every path that is up, but for those that are far narrower than the widest.
    fn common_packet(&self) -> Option<u16> {
        let is_up = |path: &&PeerPath| self.connection.path_state(path.id) == Ok(PathState::Up);
        let sizes = self.paths.iter().filter(is_up).map(|path| path.told_datagram);
        let overhead = u16::try_from(self.overhead()).unwrap_or(u16::MAX);
        Some(mpt_proto::common_size(sizes)?.saturating_sub(overhead))
    }

    /// The core sends datagrams of at most `size` bytes on a path from now on, which it has found, or surely pass while it searches.
    pub(super) fn follow_size(&mut self, path: usize, size: u16, is_found: bool) {
        let (overhead, sealing) = (self.overhead(), self.sealing());
        let Some(planned) = self.paths.get_mut(path) else { return };
        let size = size.saturating_add(sealing);
        planned.max_datagram = size;
        if !is_found || size == planned.told_datagram {
            return;
        }
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
