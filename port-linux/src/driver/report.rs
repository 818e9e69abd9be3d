//! Answers to commands from the control socket.

use std::net::SocketAddr;

use mpt_proto::{DropReason, Handle, Mode, PathState};
use mpt_seal::Reason;

use super::{Driver, Peer, Role, SharedSocket};
use crate::control::{Answer, Command};
use crate::data::Level;
use crate::events;
use crate::keys;
use crate::memory::MemorySize;
use crate::report::{
    ConnectionReport, Counters, Dropped, ModelReport, PathReport, Report, SealReport, SocketReport, State,
    TunnelReport, VERSION, find_path, mode_name, reason_name,
};

impl Driver<'_> {
    pub(super) fn answer(&mut self, command: &Command) -> Answer {
        match command {
            Command::Status => Answer::Report(self.report().into()),
            // Who asks for it has read no configuration.
            Command::Reload => Answer::error("this tunnel is set up by the program that it is part of"),
            Command::PathUp { path } => self.set_role(path, Role::Member),
            Command::PathDown { path } => self.set_role(path, Role::Unused),
            Command::PathSpare { path } => self.set_role(path, Role::Spare),
            Command::DataSet { path, bytes } => {
                self.answer_data(path, |meter, clock| meter.set(*bytes, clock))
            }
            Command::DataAdd { path, bytes } => self.answer_data(path, |meter, _| meter.add(*bytes)),
            Command::PathAdd { connection, new } => self.answer_added(connection, new),
            Command::PathRemove { path } => self.answer_removed(path),
            Command::Pin { path, flows, seconds } => self.answer_pin(path, flows, *seconds),
            Command::RecordStart { connection, bytes } => {
                self.answer_record_start(connection.as_deref(), *bytes)
            }
            Command::RecordStop { connection } => self.answer_record_stop(connection.as_deref()),
            Command::RecordState { connection, flush } => {
                self.answer_record_state(connection.as_deref(), *flush)
            }
        }
    }

    fn set_role(&mut self, wanted: &str, role: Role) -> Answer {
        let (peer, path) = match self.find_path(wanted) {
            Ok(found) => found,
            Err(error) => return Answer::error(error),
        };
        let now = self.clock.now();
        let config = &self.peers[peer].config;
        let (connection, path_name) = (config.name.clone(), config.paths[path].name.clone());
        // The hand has the last word.
        self.data.note_hand(&connection, &path_name);
        let name = format!("{connection}/{path_name}");
        match self.mutate(peer, now, |peer| peer.set_role(path, role, now)) {
            Ok(()) => {
                let peer = &mut self.peers[peer];
                peer.roles.insert(peer.config.paths[path].name.clone(), role);
                Answer::Path { version: VERSION, path: name, enabled: peer.is_enabled(path) }
            }
            Err(_) => Answer::error(format!("{name} does not exist any more")),
        }
    }

    /// The path called `wanted`, as its connection and its place there.
    pub(super) fn find_path(&self, wanted: &str) -> Result<(Handle, usize), String> {
        let of =
            |peer: &'_ Peer<'_>, index: usize| peer.paths.get(index).is_some_and(super::PeerPath::is_there);
        let paths = self.peers.iter().flat_map(|peer| {
            let paths = peer.config.paths.iter().enumerate().filter(move |(index, _)| of(peer, *index));
            paths.map(|(index, path)| ((peer.handle, index), peer.config.name.as_str(), path.name.as_str()))
        });
        find_path(paths, wanted)
    }

    fn report(&self) -> Report {
        let drops = [
            ("no_route", self.drops.no_route),
            ("link_scoped", self.drops.link_scoped),
            ("tun_read", self.inside.drops.tun_read),
            ("tun_write", self.inside.drops.tun_write),
            ("slices", self.inside.orphans()),
        ];
        let drops = drops.into_iter().map(|(name, count)| (name.to_owned(), count));
        let refused = self.outside.stats().into_iter().flat_map(|stats| {
            let refused = Reason::ALL.into_iter().map(|reason| (reason.name(), stats.refused(reason)));
            refused.chain([("seal_no_keys", stats.not_sealed)])
        });
        let dropped = drops.chain(refused.map(|(name, count)| (name.to_owned(), count))).collect();
        let uptime = self.clock.now().as_micros() / 1000;
        Report {
            version: VERSION,
            tunnel: TunnelReport {
                name: self.tunnel.name.clone(),
                addresses: self.tunnel.addresses.iter().map(ToString::to_string).collect(),
                mtu: self.tunnel.mtu,
                uptime_ms: uptime,
                program: env!("CARGO_PKG_VERSION").to_owned(),
                clock_steps: self.stamps.steps(),
                dropped,
            },
            connections: self.peers.iter().map(|peer| self.report_connection(peer)).collect(),
            events: self.journal.kept().cloned().collect(),
        }
    }

    fn report_connection(&self, peer: &Peer<'_>) -> ConnectionReport {
        let stats = peer.connection.stats();
        let mut dropped: Dropped = DropReason::ALL
            .into_iter()
            .map(|reason| (reason.name().to_owned(), stats.dropped(reason)))
            .collect();
        dropped.insert("wrong_source".into(), peer.drops.wrong_source);
        dropped.insert("wrong_inner_source".into(), peer.drops.wrong_inner_source);
        dropped.insert("bad_slice".into(), peer.drops.bad_slice);
        dropped.insert("limit".into(), peer.incoming.dropped);
        let (mode, mode_reason) = peer.connection.mode().map(mode_name).unzip();
        let known = (0..peer.paths.len()).filter(|index| peer.is_known(*index));
        let paths = known.filter_map(|index| self.report_path(peer, index)).collect();
        let (uplink_share_bps, downlink_share_bps) = self.outside.shares(peer.handle, self.clock.now());
        ConnectionReport {
            name: peer.config.name.clone(),
            peer: peer.config.peer.clone(),
            standby_of: peer.config.standby.as_ref().map(|standby| standby.of.clone()),
            used: self.is_used(&peer.config.name),
            policy: peer.config.policy.name().into(),
            mode: mode.map(str::to_owned),
            mode_reason: mode_reason.flatten().map(str::to_owned),
            peer_is_mpt: peer.connection.peer_is_mpt(),
            seal: self.outside.status(peer.handle, self.clock.now()).map(|status| SealReport {
                public_key: keys::encode(status.public.as_bytes()).as_str().to_owned(),
                cipher: status.suite.map(|suite| suite.name().to_owned()),
                keys_age_ms: status.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
                handshakes: status.handshakes,
            }),
            problem: peer.problem().map(str::to_owned),
            limit_bps: peer.config.limit,
            memory_bytes: peer.memory.map(MemorySize::to_send).filter(|bytes| *bytes > 0),
            uplink_share_bps,
            downlink_share_bps,
            asked_bps: peer.connection.asked().map(|bytes| u64::from(bytes) * 8),
            counters: Counters::from(&stats),
            worse_than_best_ms: u64::try_from(peer.worse.total().as_millis()).unwrap_or(u64::MAX),
            dropped,
            paths,
        }
    }

    fn report_path(&self, peer: &Peer<'_>, index: usize) -> Option<PathReport> {
        let (path, config) = (peer.paths.get(index)?, peer.config.paths.get(index)?);
        let stats = peer.connection.path_stats(path.id).ok()?;
        let (state, reason) = match peer.connection.path_state(path.id).ok()? {
            PathState::Up => (State::Up, None),
            PathState::Down(reason) => (State::Down, Some(reason_name(reason).to_owned())),
        };
        let rtt = peer.connection.path_rtt(path.id).ok()?;
        let model = peer.connection.path_model(path.id).ok()?;
        let is_adaptive = peer.connection.mode() == Some(Mode::Adaptive);
        let data = self.data.report(&peer.config.name, &config.name);
        let level = data.as_ref().map(|data| data.level);
        Some(PathReport {
            name: config.name.clone(),
            local: {
                let shared = self.outside.sockets.get(path.socket)?;
                let bound = shared.bound.unwrap_or(shared.local);
                path.reply_from.map_or(bound, |address| SocketAddr::new(address, bound.port()))
            },
            remote: path.remote,
            device: config.device.clone(),
            state,
            reason,
            role: Some(peer.role(index).name().to_owned()),
            waits_for: path
                .portal_found()
                .map(ToString::to_string)
                .or_else(|| path.missing.as_ref().map(ToString::to_string))
                .or_else(|| {
                    let is_used_up = level == Some(Level::Reached) && !peer.is_enabled(index);
                    is_used_up.then(|| "its data plan is used up: see `mpt data`".to_owned())
                }),
            portal: path.portal_found().cloned(),
            access: path.portal_access(self.clock.now()),
            problem: peer
                .silence(index, self.outside.is_sealed(), self.clock.now())
                .filter(|silence| !silence.is_of_connection() && path.portal_found().is_none())
                .map(|silence| silence.to_string()),
            rtt_us: rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
            weight: config.weight,
            tier: path.tier,
            rank: config.rank,
            model: is_adaptive.then(|| ModelReport::new(path.tier(), &model)),
            max_datagram: path.max_datagram,
            ceiling: path.ceiling,
            seeks_size: peer.connection.seeks_size(path.id).unwrap_or(false),
            ecn: path.ecn_fault.map(|fault| events::EcnFault::from(fault).to_string()),
            socket: self.outside.sockets.get(path.socket).and_then(|shared| self.report_socket(shared)),
            tx_datagrams: stats.tx_datagrams,
            tx_bytes: stats.tx_bytes,
            rx_datagrams: stats.rx_datagrams,
            rx_bytes: stats.rx_bytes,
            probes: stats.probes.into(),
            echoes: stats.echoes.into(),
            downs: stats.downs.into(),
            not_sent: path.not_sent,
            roaming: path.roaming.as_ref().map(|roaming| roaming.stats().into()),
            data,
        })
    }

    fn report_socket(&self, shared: &SharedSocket) -> Option<SocketReport> {
        let (buffers, segments) = shared.granted()?;
        Some(SocketReport {
            receive_buffer: buffers.0 as u64,
            send_buffer: buffers.1 as u64,
            wanted_buffer: self.maker.buffer as u64,
            segments: segments as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn find(wanted: &str) -> Result<(usize, usize), String> {
        let path = |name: &str, subnet: u8| {
            format!(
                "[[connection.path]]\nname = \"{name}\"\nlocal = \"10.1.{subnet}.1\"\nremote = \"10.1.{subnet}.2\"\n"
            )
        };
        let connection =
            |name: &str, last: u8| format!("[[connection]]\nname = \"{name}\"\npeer = [\"10.0.0.{last}\"]\n");
        let text = format!(
            "[tunnel]\naddress = [\"10.0.0.1/24\"]\n{}{}{}{}{}",
            connection("pc2", 2),
            path("dsl", 1),
            path("lte", 2),
            connection("pc3", 3),
            path("lte", 3)
        );
        let config = Config::parse(&text, "test").unwrap();
        let paths = config.connections.iter().enumerate().flat_map(|(peer, connection)| {
            let paths = connection.paths.iter().enumerate();
            paths.map(move |(index, path)| ((peer, index), connection.name.as_str(), path.name.as_str()))
        });
        find_path(paths, wanted)
    }

    #[test]
    fn a_path_is_found_by_its_name_or_its_full_name() {
        assert_eq!(find("dsl"), Ok((0, 0)));
        assert_eq!(find("pc2/lte"), Ok((0, 1)));
        assert_eq!(find("pc3/lte"), Ok((1, 0)));
    }

    #[test]
    fn an_ambiguous_or_unknown_name_is_an_error_that_says_what_there_is() {
        assert_eq!(find("lte"), Err("several paths are named lte; say pc2/lte or pc3/lte".into()));
        assert_eq!(find("wlan"), Err("no path is named wlan; there are pc2/dsl, pc2/lte, pc3/lte".into()));
    }
}
