//! The paper's bench: PC1 and PC2, back to back over N links, each shaped to a rate in both directions.
//!
//! | device | interface | IPv4 | IPv6 |
//! |---|---|---|---|
//! | PC1 | `eth1` to `ethN` | 172.16.i.10/24 | 2001:db8:acad:i::10/64 |
//! | PC2 | `eth1` to `ethN` | 172.16.i.20/24 | 2001:db8:acad:i::20/64 |
//!
//! A link is a veth pair. Each end has a token bucket (tc-tbf), which sees a frame without preamble, check sequence
//! and gap: 1,514 bytes of the 1,538 that a packet of 1,500 costs on a real Ethernet. tbf could be told to add them,
//! but adds them once to what may be a whole batch of packets (GSO); so the rate is lowered by as much instead, which
//! is exact for full packets, and those are what fills a link. TCP over one link of 100 Mbit/s measures 94.1 Mbit/s,
//! as on real wires.
//!
//! [`Topology::emulate`] builds the same hosts with links that have a delay, losses and a queue elsewhere than in the
//! sending host: tap interfaces in place of veth pairs, and a [`Relay`] between them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, ensure};
use port_linux::tun::tap;

use super::host::Host;
use super::limit::FRAME_OVERHEAD;
use super::rate::Rate;
use super::relay::Relay;
use super::relay::link::{Link, MAX_LINKS};
use super::stack::Version;
use super::traffic::stream::USUAL_CONGESTION;

/// A full frame as tbf sees it: 1,500 bytes and the Ethernet header.
const FRAME: u32 = 1_514;

/// The bucket holds what passes in this time, so that a timer which fires this late costs no throughput.
const BURST_US: u64 = 2_600;

/// The queue holds what passes in this time: a common depth for a router, deep enough for TCP to fill the link at
/// the few milliseconds of round trip that the other queues cause, shallow enough to keep probes on time.
const QUEUE_US: u64 = 20_000;

/// Bounds of bucket and queue in bytes: several full packets even on the slowest link.
const LEAST_BURST: u64 = 4 * 1_538;
const LEAST_QUEUE: u64 = 32 * 1_538;

/// TCP buffer limits (least, initial, most) in the namespaces: one flow can fill the links at 16 times the largest
/// delay here (4 links of 100 Mbit/s, 20 ms: 1 MB), and Gigabit links too.
const TCP_BUFFERS: &str = "4096 131072 33554432";

/// Frames that a tap interface keeps until the relay takes them: more than a host sends while a thread of it has the
/// processor to itself.
const TAP_QUEUE: u32 = 4096;

/// One of the two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The paper's PC1: it starts the connections and sends.
    Pc1,
    /// The paper's PC2: it serves and receives.
    Pc2,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Pc1, Self::Pc2];

    /// The other one.
    pub const fn peer(self) -> Self {
        match self {
            Self::Pc1 => Self::Pc2,
            Self::Pc2 => Self::Pc1,
        }
    }

    /// Its address on a link, counted from 1.
    pub const fn address(self, link: u8, version: Version) -> IpAddr {
        let (v4, v6) = match self {
            Self::Pc1 => (10, 0x10),
            Self::Pc2 => (20, 0x20),
        };
        match version {
            Version::V4 => IpAddr::V4(Ipv4Addr::new(172, 16, link, v4)),
            Version::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xacad, link as u16, 0, 0, 0, v6)),
        }
    }

    /// Its address on the tunnel interface.
    pub const fn tunnel_address(self, version: Version) -> IpAddr {
        let last = match self {
            Self::Pc1 => 1,
            Self::Pc2 => 2,
        };
        match version {
            Version::V4 => IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)),
            Version::V6 => IpAddr::V6(Ipv6Addr::new(0xfec, 0, 0, 0, 0, 0, 1, last as u16)),
        }
    }

    /// The MAC address of its end of a link; fixed, so that neighbours need no discovery.
    fn mac(self, link: u8) -> String {
        let host = match self {
            Self::Pc1 => 1,
            Self::Pc2 => 2,
        };
        format!("02:00:00:00:{link:02x}:{host:02x}")
    }
}

/// How a link is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cut {
    /// PC2's end is set down and PC1 sees the carrier go, as when a cable is pulled; with --links both see it go
    Link,
    /// Both ends send on, and nothing arrives: as when a switch or a radio in between fails
    Silent,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link => "link",
            Self::Silent => "silent",
        })
    }
}

/// A MAC address that nobody has: what is sent there leaves at the link's rate, and the receiver ignores it.
const NOBODY: &str = "02:00:00:00:ff:ff";

/// The two hosts and their links. It vanishes with its namespaces.
#[derive(Debug)]
pub struct Topology {
    /// PC1.
    pub pc1: Host,
    /// PC2.
    pub pc2: Host,
    links: u8,
    /// What the links go through; `None` for veth pairs.
    relay: Option<Relay>,
}

impl Topology {
    /// Builds the hosts and `links` links (1 to 16), shaped to `rate` or unshaped, and waits for nothing: addresses
    /// and neighbours are usable at once.
    ///
    /// # Errors
    /// When `ip` or `tc` fail; and outside of [`super::namespace`], where only root could do it.
    pub fn build(links: u8, rate: Option<Rate>) -> anyhow::Result<Self> {
        ensure!((1..=MAX_LINKS).contains(&links), "{links} links: 1 to {MAX_LINKS} are possible");
        let net = Self::hosts(links)?;
        for link in 1..=links {
            net.add_link(link, rate)?;
        }
        Ok(net)
    }

    /// Builds the hosts and links that a relay emulates, at most 16; what is random about them follows from `seed`.
    /// Addresses and neighbours are usable at once.
    ///
    /// # Errors
    /// As [`build`](Self::build), and when there can be no tap interface.
    pub fn emulate(links: &[Link], seed: u64) -> anyhow::Result<Self> {
        let mut net = Self::hosts(u8::try_from(links.len())?)?;
        for side in Side::BOTH {
            // Else a flow begins with what the kernel learnt from the one before it. Before Linux 4.15 a namespace
            // could not choose.
            let _ = net.host(side).sysctl("net.ipv4.tcp_no_metrics_save", "1");
        }
        let mut wires = Vec::new();
        for (number, link) in (1..).zip(links) {
            wires.push((*link, net.add_emulated_link(number)?));
        }
        net.relay = Some(Relay::start(wires, seed)?);
        Ok(net)
    }

    /// The hosts, without links.
    fn hosts(links: u8) -> anyhow::Result<Self> {
        ensure!((1..=MAX_LINKS).contains(&links), "{links} links: 1 to {MAX_LINKS} are possible");
        let net = Self { pc1: Host::create("PC1")?, pc2: Host::create("PC2")?, links, relay: None };
        for side in Side::BOTH {
            let host = net.host(side);
            host.sysctl("net.ipv4.tcp_rmem", TCP_BUFFERS)?;
            host.sysctl("net.ipv4.tcp_wmem", TCP_BUFFERS)?;
            // For programs that do not choose themselves. Kernels without it, or whose administrator allows namespaces
            // only others, keep their own.
            let _ = host.sysctl("net.ipv4.tcp_congestion_control", USUAL_CONGESTION);
        }
        Ok(net)
    }

    /// The relay that the links go through; `None` for veth pairs.
    pub fn relay(&self) -> Option<&Relay> {
        self.relay.as_ref()
    }

    /// The number of links.
    pub fn links(&self) -> u8 {
        self.links
    }

    /// The host on a side.
    pub fn host(&self, side: Side) -> &Host {
        match side {
            Side::Pc1 => &self.pc1,
            Side::Pc2 => &self.pc2,
        }
    }

    /// The name of a link's interface, the same on both sides.
    pub fn device(link: u8) -> String {
        format!("eth{link}")
    }

    /// Breaks a link.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn cut(&self, link: u8, cut: Cut) -> anyhow::Result<()> {
        if let Some(relay) = &self.relay {
            relay.set_cut(usize::from(link - 1), true);
            return if cut == Cut::Link { self.set_carrier(link, "off") } else { Ok(()) };
        }
        match cut {
            Cut::Link => {
                let device = Self::device(link);
                self.pc2.run(&format!("ip link set {device} down"))?;
            }
            Cut::Silent => {
                for side in Side::BOTH {
                    self.set_neighbour(side, link, NOBODY)?;
                }
            }
        }
        Ok(())
    }

    /// Repairs a link that was broken in that way.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn restore(&self, link: u8, cut: Cut) -> anyhow::Result<()> {
        if let Some(relay) = &self.relay {
            relay.set_cut(usize::from(link - 1), false);
            return if cut == Cut::Link { self.set_carrier(link, "on") } else { Ok(()) };
        }
        if cut == Cut::Link {
            let device = Self::device(link);
            self.pc2.run(&format!("ip link set {device} up"))?;
        }
        for side in Side::BOTH {
            self.set_neighbour(side, link, &side.peer().mac(link))?;
        }
        Ok(())
    }

    /// Has the kernel hand over one TCP segment at a time. A shaper then drops single packets where it would drop
    /// batches, so that kernel TCP and MPTCP fill the links better, at several times the CPU time.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn take_single_packets(&self) -> anyhow::Result<()> {
        for link in 1..=self.links() {
            for side in Side::BOTH {
                self.host(side).run(&format!("ip link set {} gso_max_segs 1", Self::device(link)))?;
            }
        }
        Ok(())
    }

    /// Whether the links take large segments of TCP and UDP whole, as a veth does by itself, or the kernel cuts them
    /// first, as for a network card that cannot.
    ///
    /// # Errors
    /// When `ethtool` is missing or fails.
    pub fn take_large_segments(&self, whole: bool) -> anyhow::Result<()> {
        let word = if whole { "on" } else { "off" };
        for link in 1..=self.links() {
            for side in Side::BOTH {
                let device = Self::device(link);
                self.host(side)
                    .run(&format!("ethtool -K {device} tso {word} gso {word} tx-udp-segmentation {word}"))
                    .context("links that take no large segments need `ethtool`: apt install ethtool")?;
            }
        }
        Ok(())
    }

    fn add_link(&self, link: u8, rate: Option<Rate>) -> anyhow::Result<()> {
        let device = Self::device(link);
        let (mac1, mac2) = (Side::Pc1.mac(link), Side::Pc2.mac(link));
        self.pc1.run(&format!(
            "ip link add {device} address {mac1} type veth peer name {device} address {mac2} netns {}",
            self.pc2.name()
        ))?;
        for side in Side::BOTH {
            if let Some(rate) = rate {
                self.host(side).run(&format!("tc qdisc add dev {device} root {}", shape(rate)))?;
            }
            self.set_up(side, link)?;
        }
        Ok(())
    }

    /// Makes both interfaces of a link that is emulated; their descriptors are its ends.
    fn add_emulated_link(&self, link: u8) -> anyhow::Result<[OwnedFd; 2]> {
        let device = Self::device(link);
        let end = |side: Side| {
            let host = self.host(side);
            let end = host.inside(|| tap(&device))??;
            let mac = side.mac(link);
            host.run(&format!("ip link set {device} address {mac} txqueuelen {TAP_QUEUE}"))?;
            self.set_up(side, link)?;
            anyhow::Ok(end)
        };
        Ok([end(Side::Pc1)?, end(Side::Pc2)?])
    }

    /// Gives an interface its addresses and its neighbour, and sets it up.
    fn set_up(&self, side: Side, link: u8) -> anyhow::Result<()> {
        let (host, device) = (self.host(side), Self::device(link));
        let v4 = side.address(link, Version::V4);
        let v6 = side.address(link, Version::V6);
        // An interface that is set down would lose its IPv6 addresses, unlike its IPv4 ones.
        host.sysctl(&format!("net.ipv6.conf.{device}.keep_addr_on_down"), "1")?;
        host.run(&format!("ip address add {v4}/24 dev {device}"))?;
        host.run(&format!("ip address add {v6}/64 dev {device} nodad"))?;
        host.run(&format!("ip link set {device} up"))?;
        self.set_neighbour(side, link, &side.peer().mac(link))
    }

    /// Plugs the cable of an emulated link in or pulls it: both hosts see the carrier come or go.
    fn set_carrier(&self, link: u8, carrier: &str) -> anyhow::Result<()> {
        for side in Side::BOTH {
            self.host(side).run(&format!("ip link set {} carrier {carrier}", Self::device(link)))?;
        }
        Ok(())
    }

    /// Tells a side which MAC address its peer has on a link.
    fn set_neighbour(&self, side: Side, link: u8, mac: &str) -> anyhow::Result<()> {
        let device = Self::device(link);
        for version in [Version::V4, Version::V6] {
            let peer = side.peer().address(link, version);
            let line = format!("ip neighbour replace {peer} lladdr {mac} dev {device} nud permanent");
            self.host(side).run(&line)?;
        }
        Ok(())
    }
}

/// The token bucket for a rate, in tc's words.
pub(super) fn shape(rate: Rate) -> String {
    let burst = rate.bytes_in_us(BURST_US).max(LEAST_BURST);
    let limit = rate.bytes_in_us(QUEUE_US).max(LEAST_QUEUE);
    let seen = u128::from(rate.bits_per_second()) * u128::from(FRAME) / u128::from(FRAME + FRAME_OVERHEAD);
    format!("tbf rate {seen}bit burst {burst} limit {limit}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::namespace;

    #[test]
    fn addresses_are_those_of_the_paper() {
        assert_eq!(Side::Pc1.address(3, Version::V4).to_string(), "172.16.3.10");
        assert_eq!(Side::Pc2.address(4, Version::V6).to_string(), "2001:db8:acad:4::20");
        assert_eq!(Side::Pc1.tunnel_address(Version::V4).to_string(), "10.0.0.1");
        assert_eq!(Side::Pc2.tunnel_address(Version::V6).to_string(), "fec::1:2");
    }

    #[test]
    fn the_queue_of_a_slow_link_still_holds_packets() {
        let slow = "64kbit".parse().expect("a rate");
        assert_eq!(shape(slow), "tbf rate 63001bit burst 6152 limit 49216");
    }

    #[test]
    fn a_cut_link_carries_nothing_until_it_is_restored() {
        namespace::test("topology::tests::a_cut_link_carries_nothing_until_it_is_restored", || {
            let net = Topology::build(2, Some(Rate::FAST_ETHERNET))?;
            let reaches =
                |link, version| net.pc1.reaches(Side::Pc2.address(link, version), Duration::from_millis(500));
            for cut in [Cut::Link, Cut::Silent] {
                for version in [Version::V4, Version::V6] {
                    assert!(reaches(2, version)?, "{cut:?} {version}: whole");
                    net.cut(2, cut)?;
                    assert!(!reaches(2, version)?, "{cut:?} {version}: cut");
                    assert!(reaches(1, version)?, "{cut:?} {version}: the other link");
                    net.restore(2, cut)?;
                    assert!(reaches(2, version)?, "{cut:?} {version}: restored");
                }
            }
            Ok(())
        });
    }
}
