//! The peers: event loops of the port, with a pair of sockets for a tunnel device.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use mpt_proto::wire::checksum;
use port_linux::config::{Config, PORT};
use port_linux::keys::{self, KeyBytes, encode};
use port_linux::link::{Interface, Interfaces};
use port_linux::run::hosted::{self, Host};
use port_linux::socket::Maker;
use port_linux::wake::Waker;
use rustix::event::{Timespec, epoll};

use super::{PACKET, SERVER, SINK};
use crate::ahead;
use crate::stack::Version;
use crate::stopwatch::Stopwatch;
use crate::topology::{Side, Topology};

/// The first UDP port of a peer.
const FIRST_PORT: u16 = 20_000;
/// Peers are in the networks 172.N.0.0/16, N being this and the link's number.
const NETWORKS: u8 = 20;
/// Bytes of buffer of a peer's sockets.
const BUFFER: usize = 256 << 10;
/// Between two pings of the quiet peer.
const PING_INTERVAL: Duration = Duration::from_millis(20);
/// Longest round trip of the histogram, in tenths of a millisecond.
const LONGEST: usize = 50_000;
/// Bytes of an IPv4 header without options.
const IPV4: usize = 20;
/// The protocol numbers of IPv4.
const ICMP: u8 = 1;
const UDP: u8 = 17;

/// Private keys of the server and of all peers.
pub(super) struct Keys {
    pub(super) server: KeyBytes,
    pub(super) peers: Vec<KeyBytes>,
}

impl Keys {
    pub(super) fn new(peers: u16) -> anyhow::Result<Self> {
        let peers = (0..peers).map(|_| keys::random_private()).collect::<Result<_, _>>()?;
        Ok(Self { server: keys::random_private()?, peers })
    }
}

/// The tunnel address of a peer.
pub(super) fn address(number: u16) -> Ipv4Addr {
    let [_, _, c, d] = (u32::from(SERVER) + 1 + u32::from(number)).to_be_bytes();
    Ipv4Addr::new(10, 8, c, d)
}

/// The address of a peer on a link: each has its own, as peers in different places have.
fn outer(number: u16, link: u8) -> Ipv4Addr {
    let [c, d] = (number + 1).to_be_bytes();
    Ipv4Addr::new(172, NETWORKS + link, c, d)
}

/// Gives PC1 the addresses of all peers, and tells PC2 the way to them.
fn prepare(net: &Topology) -> anyhow::Result<()> {
    for link in 1..=super::LINKS {
        let network = format!("172.{}.0.0/16", NETWORKS + link);
        let router = Side::Pc1.address(link, Version::V4);
        net.pc1.run(&format!("ip route add local {network} dev eth{link}"))?;
        net.pc2.run(&format!("ip route add {network} via {router} dev eth{link}"))?;
    }
    Ok(())
}

/// Round trips in tenths of a millisecond, and pings without an answer.
pub(super) struct Trips {
    pub(super) histogram: Vec<u64>,
    pub(super) lost: u32,
}

/// All peers. They end when this is dropped.
pub(super) struct Crowd {
    /// Our ends of their tunnel devices.
    devices: Arc<Vec<UnixDatagram>>,
    received: Arc<Vec<AtomicU64>>,
    pongs: Mutex<mpsc::Receiver<(u16, Duration)>>,
    since: Stopwatch,
    stops: Vec<UnixStream>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
    ends: Arc<AtomicBool>,
    ahead: bool,
}

impl Crowd {
    pub(super) fn start(net: &Topology, keys: &Keys, directory: &Path, ahead: bool) -> anyhow::Result<Self> {
        prepare(net)?;
        let links: Vec<Interface> = net.pc1.inside(Interfaces::now)??.iter().cloned().collect();
        let server = encode(keys::private(&keys.server).public().as_bytes());
        let (mut devices, mut stops, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        for (number, key) in (0u16..).zip(&keys.peers) {
            let file = directory.join(format!("p{number}.key"));
            keys::create(&file, key)?;
            let config = Config::parse(&text(number, &file.display().to_string(), server.as_str()), "peer")?;
            let (ours, theirs) = UnixDatagram::pair()?;
            let (stop, stopped) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let own = (1..=super::LINKS).filter_map(|link| {
                let it = links.iter().find(|it| it.name == Topology::device(link))?;
                Some(Interface { addresses: vec![outer(number, link).into()], ..it.clone() })
            });
            let (network, interfaces) = (net.pc1.clone(), Interfaces::from(own.collect::<Vec<_>>()));
            // The last one is the quiet one.
            let runs_ahead = ahead && usize::from(number) + 1 == keys.peers.len();
            let work = move || {
                network.inside(move || {
                    if runs_ahead {
                        ahead::this_thread();
                    }
                    member(&config, theirs.into(), stopped, interfaces)
                })?
            };
            threads.push(std::thread::Builder::new().stack_size(1 << 20).spawn(work)?);
            devices.push(ours);
            stops.push(stop);
        }
        let (sender, pongs) = mpsc::channel();
        let received: Vec<AtomicU64> = devices.iter().map(|_| AtomicU64::new(0)).collect();
        let (devices, received) = (Arc::new(devices), Arc::new(received));
        let (ends, since) = (Arc::new(AtomicBool::new(false)), Stopwatch::start());
        {
            let (devices, received, ends) = (Arc::clone(&devices), Arc::clone(&received), Arc::clone(&ends));
            threads.push(std::thread::spawn(move || {
                if ahead {
                    ahead::this_thread();
                }
                read_all(&devices, &received, &sender, since, &ends)
            }));
        }
        Ok(Self { devices, received, pongs: Mutex::new(pongs), since, stops, threads, ends, ahead })
    }

    /// Bytes of inner packets that each has received.
    pub(super) fn received(&self) -> Vec<u64> {
        self.received.iter().map(|bytes| bytes.load(Ordering::Relaxed)).collect()
    }

    /// Lets the first `senders` send in turn, a packet each `interval`.
    pub(super) fn send(&self, senders: u16, interval: Duration, time: Duration) {
        let packets: Vec<Vec<u8>> = (0..senders).map(datagram).collect();
        pace(time, interval, |turn| {
            let number = turn % packets.len();
            // What the peer does not take is lost, as behind any router.
            let _ = self.devices[number].send(&packets[number]);
        });
    }

    /// Lets the last peer ping the server while `work` is done.
    pub(super) fn ping(&self, time: Duration, work: impl FnOnce() + Send) -> anyhow::Result<Trips> {
        let pongs = self.pongs.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        while pongs.try_recv().is_ok() {}
        let device = self.devices.last().context("no peer")?;
        let number = u16::try_from(self.devices.len() - 1)?;
        let mut sent = HashMap::new();
        std::thread::scope(|scope| -> anyhow::Result<()> {
            let working = scope.spawn(work);
            let sent = &mut sent;
            let pinging = scope.spawn(move || {
                let mut sequence = 0;
                if self.ahead {
                    ahead::this_thread();
                }
                pace(time, PING_INTERVAL, |_| {
                    sequence += 1;
                    sent.insert(sequence, self.since.elapsed());
                    let _ = device.send(&echo_request(number, sequence));
                });
            });
            pinging.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
            working.join().map_err(|_| anyhow::anyhow!("a thread panicked"))
        })?;
        std::thread::sleep(Duration::from_secs(1));
        let mut histogram = vec![0; LONGEST + 1];
        for (sequence, came) in pongs.try_iter() {
            if let Some(left) = sent.remove(&sequence) {
                let tenths = came.saturating_sub(left).as_micros() / 100;
                histogram[usize::try_from(tenths).unwrap_or(LONGEST).min(LONGEST)] += 1;
            }
        }
        Ok(Trips { histogram, lost: u32::try_from(sent.len())? })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stops.clear();
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // What went wrong was seen by the server.
            let _ = thread.join();
        }
    }
}

fn text(number: u16, key_file: &str, server: &str) -> String {
    let mut text = format!(
        "[security]\nprivate_key_file = \"{key_file}\"\n[tunnel]\naddress = [\"{}/16\"]\nmtu = 1400\n[[connection]]\nname = \"server\"\n\
         peer = [\"{SERVER}\"]\npublic_key = \"{server}\"\nport = {}\nremote_port = {PORT}\nadaptive.memory_mb = 1\n",
        address(number),
        FIRST_PORT + number
    );
    for link in 1..=super::LINKS {
        let (ours, theirs) = (outer(number, link), Side::Pc2.address(link, Version::V4));
        text += &format!(
            "[[connection.path]]\nname = \"{link}\"\ndevice = \"eth{link}\"\nlocal = \"{ours}\"\nremote = \"{theirs}\"\n"
        );
    }
    text
}

/// One peer, until it is stopped.
fn member(config: &Config, device: OwnedFd, stop: UnixStream, interfaces: Interfaces) -> anyhow::Result<()> {
    let bell = Waker::new()?;
    let (sender, changes) = mpsc::channel();
    sender.send(interfaces)?;
    bell.wake();
    let (_asking, queries) = mpsc::channel();
    let maker = Maker::new(BUFFER);
    let host = Host { device, maker, adaptive_memory: 1 << 20, interfaces: changes, queries, bell, stop };
    hosted::run(config, host, || {})
}

/// Reads what comes out of all tunnels.
fn read_all(
    devices: &[UnixDatagram],
    received: &[AtomicU64],
    pongs: &mpsc::Sender<(u16, Duration)>,
    since: Stopwatch,
    ends: &AtomicBool,
) -> anyhow::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, device) in (0..).zip(devices) {
        epoll::add(&epoll, device.as_fd(), epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
    }
    let mut events = Vec::with_capacity(256);
    let mut buffer = [0; 2048];
    let wait = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    while !ends.load(Ordering::Relaxed) {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait))?;
        for event in &events {
            let number = usize::try_from(event.data.u64())?;
            let Some((device, bytes)) = devices.get(number).zip(received.get(number)) else { continue };
            while let Ok(len) = device.recv(&mut buffer) {
                bytes.fetch_add(len as u64, Ordering::Relaxed);
                let packet = &buffer[..len];
                if packet.get(9) == Some(&ICMP) && packet.get(IPV4) == Some(&0) {
                    let sequence = packet.get(IPV4 + 6..IPV4 + 8).and_then(|bytes| bytes.first_chunk());
                    if let Some(sequence) = sequence {
                        let _ = pongs.send((u16::from_be_bytes(*sequence), since.elapsed()));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Bytes that came from each of the first `senders` peers, until it is told to stop.
pub(super) fn count(sink: &UdpSocket, senders: u16, stop: &AtomicBool) -> Vec<u64> {
    let mut bytes = vec![0; senders.into()];
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((len, SocketAddr::V4(source))) = sink.recv_from(&mut buffer) {
            let number = u32::from(*source.ip()).wrapping_sub(u32::from(SERVER) + 1);
            if let Some(count) = usize::try_from(number).ok().and_then(|number| bytes.get_mut(number)) {
                *count += (len + IPV4 + 8) as u64;
            }
        }
    }
    bytes
}

/// Sends to the first `peers` in turn, a packet each `interval`.
pub(super) fn spread(source: &UdpSocket, peers: u16, interval: Duration, time: Duration) {
    let payload = [0; PACKET - IPV4 - 8];
    let to: Vec<SocketAddr> =
        (0..peers).map(|number| SocketAddr::new(IpAddr::V4(address(number)), SINK)).collect();
    pace(time, interval, |turn| {
        // A full queue is what is measured.
        let _ = source.send_to(&payload, to[turn % to.len()]);
    });
}

/// Calls `turn` once each `interval`, several at once where sleeping takes longer.
fn pace(time: Duration, interval: Duration, mut turn: impl FnMut(usize)) {
    let since = Stopwatch::start();
    let mut done = 0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds by a short interval")]
    let due_at = |time: Duration| (time.as_secs_f64() / interval.as_secs_f64()) as usize;
    while since.elapsed() < time {
        let due = due_at(since.elapsed());
        (done..due).for_each(&mut turn);
        done = due.max(done);
        std::thread::sleep(interval.clamp(Duration::from_millis(1), PING_INTERVAL));
    }
}

/// An IPv4 packet of a peer to the server.
fn packet(number: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(IPV4 + payload.len()).unwrap_or(u16::MAX);
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet.extend_from_slice(&address(number).octets());
    packet.extend_from_slice(&SERVER.octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// A datagram of the load; no UDP checksum, as IPv4 allows.
fn datagram(number: u16) -> Vec<u8> {
    let mut payload = vec![0; PACKET - IPV4];
    payload[..2].copy_from_slice(&SINK.to_be_bytes());
    payload[2..4].copy_from_slice(&SINK.to_be_bytes());
    let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    payload[4..6].copy_from_slice(&len.to_be_bytes());
    packet(number, UDP, &payload)
}

fn echo_request(number: u16, sequence: u16) -> Vec<u8> {
    let mut payload = vec![0; 64];
    payload[0] = 8;
    payload[6..8].copy_from_slice(&sequence.to_be_bytes());
    let sum = checksum(&payload);
    payload[2..4].copy_from_slice(&sum.to_be_bytes());
    packet(number, ICMP, &payload)
}
