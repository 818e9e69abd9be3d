//! A host without an operating system: smoltcp over the tunnel over emulated links, in virtual time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use mpt_fuzz::link::{Link, LinkConfig};
use mpt_fuzz::rng::Rng;
use mpt_proto::adapt::smoltcp::{Datagrams, Tunnel};
use mpt_proto::{
    Config, Connection, Ecn, HEADROOM, Instant, PathConfig, PathId, PathSizes, PathState, ReassemblySlot,
    ReorderSlot, Storage,
};
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

/// One path, the same at both ends and in both directions. If a hop of it has an MTU, the ends search that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path {
    pub(crate) weight: u16,
    pub(crate) link: LinkConfig,
}

const WINDOW: usize = 1024;
const MTU: usize = 1400;
/// Bytes of a buffer of the adapter.
pub(crate) const ROOM: usize = HEADROOM + MTU;
/// The bandwidth-delay product of the widest pair of links used here, and less than a link's queue: what is lost
/// is lost by a link, on purpose. (smoltcp has no selective acknowledgements, and recovers badly from bursts.)
const SOCKET_BUFFER: usize = 64 * 1024;
const PORT: u16 = 80;
/// Bytes of datagrams that every link carries.
const LEAST: u16 = 548;

/// The links that leave each end.
type Network = Rc<RefCell<[Vec<Link>; 2]>>;

/// An end's view of the links.
struct Sockets {
    network: Network,
    end: usize,
    ids: Vec<PathId>,
}

impl Datagrams for Sockets {
    fn send(&mut self, path: PathId, datagram: &[u8], ecn: Ecn, now: Instant) {
        self.network.borrow_mut()[self.end][path.index()].send(datagram, ecn, now);
    }

    fn receive(&mut self, buffer: &mut [u8], now: Instant) -> Option<(PathId, usize, Ecn)> {
        let links = &mut self.network.borrow_mut()[1 - self.end];
        let (path, arrival) =
            links.iter_mut().zip(&self.ids).find_map(|(link, path)| Some((*path, link.receive(now)?)))?;
        buffer[..arrival.datagram.len()].copy_from_slice(&arrival.datagram);
        Some((path, arrival.datagram.len(), arrival.ecn()))
    }
}

/// A host: a tunnel, an interface on it, a TCP socket.
struct Host {
    tunnel: Tunnel<'static, 'static, Sockets>,
    interface: Interface,
    sockets: SocketSet<'static>,
    tcp: SocketHandle,
}

fn memory<T: Clone + Default>(len: usize) -> &'static mut [T] {
    vec![T::default(); len].leak()
}

fn address(end: usize) -> IpAddress {
    IpAddress::v4(10, 0, 0, u8::try_from(end).expect("0 or 1") + 1)
}

fn smoltcp_time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.as_micros()).expect("seconds"))
}

impl Host {
    fn new(end: usize, config: Config, paths: &[Path], network: &Network, now: Instant) -> Self {
        let storage = Storage::none()
            .with_reorder(memory::<ReorderSlot>(WINDOW + 1), memory(1600 * (WINDOW + 1)))
            .with_reassembly(memory::<ReassemblySlot>(2), memory(2 * 2000))
            .with_path_sizes(Box::leak(Box::<PathSizes>::default()));
        let mut connection = Connection::new(config, storage, now);
        let liveness = mpt_proto::Liveness::Probe(mpt_proto::Probing::LAB);
        let add = |path: &Path| {
            connection.add_path(PathConfig { weight: path.weight, liveness, ..PathConfig::default() }, now)
        };
        let ids: Vec<PathId> = paths.iter().map(add).collect::<Result<_, _>>().expect("sound paths");
        for (path, id) in paths.iter().zip(&ids).filter(|(path, _)| path.link.mtu.is_some()) {
            let seed = end as u64 + u64::from(path.weight);
            connection.search_size(*id, LEAST, seed, now).expect("a path that is probed");
        }
        let datagrams = Sockets { network: Rc::clone(network), end, ids };
        let mut tunnel = Tunnel::new(connection, datagrams, memory(ROOM), memory(ROOM));
        let mut settings = smoltcp::iface::Config::new(HardwareAddress::Ip);
        settings.random_seed = end as u64;
        let mut interface = Interface::new(settings, &mut tunnel, smoltcp_time(now));
        interface
            .update_ip_addrs(|all| all.push(IpCidr::new(address(end), 24)).expect("room for an address"));
        let buffer = || tcp::SocketBuffer::new(vec![0; SOCKET_BUFFER]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_congestion_control(tcp::CongestionControl::Cubic);
        let mut sockets = SocketSet::new(Vec::new());
        let tcp = sockets.add(socket);
        Self { tunnel, interface, sockets, tcp }
    }

    fn poll(&mut self, now: Instant) {
        self.interface.poll(smoltcp_time(now), &mut self.tunnel, &mut self.sockets);
    }

    fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let inner = self.interface.poll_at(smoltcp_time(now), &self.sockets);
        let inner =
            inner.map(|at| Instant::from_micros(u64::try_from(at.total_micros()).expect("after the start")));
        inner.into_iter().chain(self.tunnel.poll_timeout()).min()
    }

    /// Bytes of the largest datagram on the first path, and whether that is being searched.
    fn size(&self) -> (u16, bool) {
        let connection = self.tunnel.connection();
        let path = connection.paths().next().expect("a path");
        (connection.max_datagram(path).expect("it is there"), connection.seeks_size(path).expect("as well"))
    }

    fn is_up(&self) -> bool {
        let connection = self.tunnel.connection();
        connection.paths().all(|path| connection.path_state(path) == Ok(PathState::Up))
    }
}

/// Two hosts and the time.
pub(crate) struct World {
    hosts: [Host; 2],
    network: Network,
    now: Instant,
}

impl World {
    /// Bytes of the largest datagram that each host sends on the first path, and whether that is being searched.
    pub(crate) fn sizes(&self) -> [(u16, bool); 2] {
        [0, 1].map(|end| self.hosts[end].size())
    }

    /// Two hosts whose tunnel is up.
    pub(crate) fn new(seed: u64, config: &Config, paths: &[Path]) -> Self {
        let mut rng = Rng::new(seed);
        let mut links = || paths.iter().map(|path| Link::new(path.link, rng.next())).collect();
        let network = Rc::new(RefCell::new([links(), links()]));
        let now = Instant::from_micros(1_000_000);
        let hosts = [0, 1].map(|end| {
            let config = Config { seed: rng.next(), ..config.clone() };
            Host::new(end, config, paths, &network, now)
        });
        let mut world = Self { hosts, network, now };
        while !world.hosts.iter().all(Host::is_up) {
            world.step();
        }
        world
    }

    /// Cuts a path in both directions, or mends it.
    pub(crate) fn set_cut(&self, path: usize, is_cut: bool) {
        for links in self.network.borrow_mut().iter_mut() {
            links[path].set_cut(is_cut);
        }
    }

    /// Everything due now; then the time of the next event.
    fn step(&mut self) {
        for host in &mut self.hosts {
            host.poll(self.now);
        }
        let arrivals = self.network.borrow();
        let arrivals = arrivals.iter().flatten().filter_map(Link::poll_timeout).min();
        let now = self.now;
        let deadlines = self.hosts.iter_mut().filter_map(|host| host.deadline(now)).min();
        let next = arrivals.into_iter().chain(deadlines).min().expect("a tunnel always has a deadline");
        // smoltcp may name a moment that has passed; time goes on all the same.
        self.now = next.max(now + Duration::from_micros(1));
    }

    /// Sends up to `bytes` from the first host to the second by TCP, and returns how many arrived by the end of
    /// `time`, and how long it took if all did; `each` sees every step.
    pub(crate) fn transfer(
        &mut self,
        bytes: usize,
        time: Duration,
        mut each: impl FnMut(&Self, usize),
    ) -> (usize, Duration) {
        let start = self.now;
        let [client, server] = &mut self.hosts;
        server.sockets.get_mut::<tcp::Socket<'_>>(server.tcp).listen(PORT).expect("a fresh socket");
        let socket = client.sockets.get_mut::<tcp::Socket<'_>>(client.tcp);
        socket.connect(client.interface.context(), (address(1), PORT), 50_000).expect("a fresh socket");
        let (mut sent, mut received) = (0, 0);
        while received < bytes && self.now.since(start) < time {
            let [client, server] = &mut self.hosts;
            let socket = client.sockets.get_mut::<tcp::Socket<'_>>(client.tcp);
            if socket.can_send() && sent < bytes {
                sent += socket.send(|room| fill(room, sent, bytes)).expect("asked above");
            }
            let socket = server.sockets.get_mut::<tcp::Socket<'_>>(server.tcp);
            if socket.can_recv() {
                received += socket.recv(|data| check(data, received)).expect("asked above");
            }
            self.step();
            each(self, received);
        }
        (received, self.now.since(start))
    }
}

/// The byte at a place of the stream: any period of it is prime to packet sizes.
fn byte(at: usize) -> u8 {
    u8::try_from(at % 251).unwrap_or(0)
}

fn fill(room: &mut [u8], from: usize, until: usize) -> (usize, usize) {
    let len = room.len().min(until - from);
    for (index, place) in room[..len].iter_mut().enumerate() {
        *place = byte(from + index);
    }
    (len, len)
}

fn check(data: &mut [u8], from: usize) -> (usize, usize) {
    for (index, found) in data.iter().enumerate() {
        assert_eq!(*found, byte(from + index), "byte {} of the stream", from + index);
    }
    (data.len(), data.len())
}
