//! Two connections joined by wires, for the tests.

use super::*;
use crate::connection::sizes::Unsent;
use crate::wire::HEADROOM;

pub(super) const MS: Duration = Duration::from_millis(1);

/// Two connections, and wires between them that carry at once what is not cut.
pub(super) struct Pair {
    pub(super) ends: [Connection<'static>; 2],
    pub(super) paths: Vec<[PathId; 2]>,
    pub(super) cut: PathSet,
    pub(super) now: Instant,
    /// What each end delivered.
    pub(super) delivered: [Vec<Vec<u8>>; 2],
    pub(super) events: [Vec<Event>; 2],
    /// The datagrams that left, with the end they left and the path.
    pub(super) sent: Vec<(usize, usize, Vec<u8>)>,
    /// Datagrams of this end with extension headers are lost.
    pub(super) mute: Option<usize>,
    /// Largest datagram that a hop of path 0 lets pass, in bytes.
    pub(super) mtu: usize,
    /// Padded datagrams of more bytes do not leave, and why.
    pub(super) refuses: Option<(u16, Unsent)>,
    /// What a hop does to the marks of a datagram on path 0; `None`: it drops it.
    pub(super) hop: fn(Ecn) -> Option<Ecn>,
}

pub(super) fn storage() -> Storage<'static> {
    Storage::none()
        .with_reorder(vec![ReorderSlot::default(); 33].leak(), vec![0; 33 * 1600].leak())
        .with_reassembly(vec![ReassemblySlot::default(); 4].leak(), vec![0; 4 * 4000].leak())
        .with_flow_pins(vec![FlowPin::default(); 4].leak())
}

pub(super) fn lab() -> PathConfig {
    PathConfig { liveness: Liveness::Probe(Probing::LAB), ..PathConfig::default() }
}

impl Pair {
    pub(super) fn new(config: &Config, paths: &[PathConfig]) -> Self {
        Self::with([config, config], [storage(), storage()], paths)
    }

    pub(super) fn with(configs: [&Config; 2], storage: [Storage<'static>; 2], paths: &[PathConfig]) -> Self {
        let now = Instant::from_micros(1_000_000);
        let end =
            |seed, config: &Config, storage| Connection::new(Config { seed, ..config.clone() }, storage, now);
        let [a, b] = storage;
        let mut pair = Self {
            ends: [end(1, configs[0], a), end(2, configs[1], b)],
            paths: Vec::new(),
            cut: PathSet::default(),
            now,
            delivered: Default::default(),
            events: Default::default(),
            sent: Vec::new(),
            mute: None,
            mtu: usize::MAX,
            refuses: None,
            hop: Some,
        };
        for path in paths {
            let ids = [0, 1].map(|end| pair.ends[end].add_path(*path, now).unwrap());
            pair.paths.push(ids);
        }
        pair
    }

    pub(super) fn up(config: &Config, paths: usize) -> Self {
        let mut pair = Self::new(config, &vec![lab(); paths]);
        pair.run(20);
        assert!((0..paths).all(|path| pair.states(path) == [PathState::Up; 2]));
        pair
    }

    pub(super) fn states(&self, path: usize) -> [PathState; 2] {
        [0, 1].map(|end| self.ends[end].path_state(self.paths[path][end]).unwrap())
    }

    pub(super) fn carry(
        &mut self,
        from: usize,
        path: PathId,
        datagram: &[u8],
        ecn: Ecn,
    ) -> Received<'static> {
        self.sent.push((from, path.index(), datagram.to_vec()));
        let is_muted = self.mute == Some(from) && adaptive::header(datagram).is_some();
        let is_too_large = path.index() == 0 && datagram.len() > self.mtu;
        if self.cut.contains(path.index()) || is_muted || is_too_large {
            return Received::Consumed;
        }
        let ecn = if path.index() == 0 { (self.hop)(ecn) } else { Some(ecn) };
        let Some(ecn) = ecn else { return Received::Consumed };
        let to = 1 - from;
        let arrival = self.paths[path.index()][to];
        let datagram = Box::leak(datagram.to_vec().into_boxed_slice());
        let received = self.ends[to].decapsulate(arrival, datagram, ecn, self.now).unwrap();
        if let Received::Packet(packet) = received {
            self.delivered[to].push(packet.to_vec());
        }
        self.drain(to);
        received
    }

    pub(super) fn drain(&mut self, end: usize) {
        while let Some(packet) = self.ends[end].poll_packet() {
            self.delivered[end].push(packet.to_vec());
        }
        let mut buffer = [0; CONTROL_MAX];
        while let Some(departure) = self.ends[end].poll_transmit(&mut buffer) {
            let (path, ecn, mut room) = (departure.path, departure.ecn, [0; 9000]);
            if let Some((_, why)) = self.refuses.filter(|(most, _)| departure.padded_to > *most) {
                self.ends[end].handle_unsent(path, why, self.now).unwrap();
                continue;
            }
            let datagram = departure.padded(&mut room).unwrap().to_vec();
            let _ = self.carry(end, path, &datagram, ecn);
        }
        while let Some(event) = self.ends[end].poll_event() {
            self.events[end].push(event);
        }
    }

    /// Lets `ms` milliseconds pass.
    pub(super) fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now = self.now + MS;
            for end in 0..2 {
                if self.ends[end].poll_timeout().is_some_and(|deadline| deadline <= self.now) {
                    self.ends[end].handle_timeout(self.now);
                }
                self.drain(end);
            }
        }
    }

    /// The datagrams that carry a packet, with their paths.
    pub(super) fn encapsulate(
        &mut self,
        from: usize,
        packet: &[u8],
    ) -> Result<Vec<(PathId, Vec<u8>, Ecn)>, EncapsulateError> {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(packet);
        let mut departures = self.ends[from].encapsulate(&mut buffer, self.now)?;
        let mut all = Vec::new();
        while let Some(departure) = departures.next() {
            all.push((departure.path, departure.datagram.to_vec(), departure.ecn));
        }
        Ok(all)
    }

    pub(super) fn send(&mut self, from: usize, packet: &[u8]) -> Vec<usize> {
        let datagrams = self.encapsulate(from, packet).unwrap();
        datagrams
            .into_iter()
            .map(|(path, datagram, ecn)| {
                let _ = self.carry(from, path, &datagram, ecn);
                path.index()
            })
            .collect()
    }
}

pub(super) fn packet(len: usize, mark: u8) -> Vec<u8> {
    let mut packet = vec![mark; len];
    packet[..20].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet[2..4].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}
