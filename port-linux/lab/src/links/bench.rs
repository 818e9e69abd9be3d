//! One measurement: a flow over one system, and pings beside it.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use super::{Plan, Protocol, System};
use crate::cpu::{self, Cpu};
use crate::ends::Ends;
use crate::quick::WARM_UP;
use crate::relay::link::Counts;
use crate::stopwatch::Stopwatch;
use crate::topology::{Side, Topology};
use crate::traffic::call::{self, Call};
use crate::traffic::ping::{self, Pings};
use crate::traffic::quic;
use crate::traffic::stream::{self, Amount, Transport};
use crate::transfer::{self, Transfer};
use crate::tunnel::{Options, Tunnel};
use crate::{limit, mptcp, wireguard};

/// How long an idle link is asked.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(2);

/// What measurements stand on.
pub(super) struct Bench<'a> {
    pub(super) plan: &'a Plan,
    pub(super) mpt: &'a Path,
    pub(super) net: &'a Topology,
}

/// A link with nothing but a ping on it: shows its delay, and how well the relay and this machine keep it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Idle {
    pub(super) link: u8,
    pub(super) ping: Pings,
}

/// One flow.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sample {
    pub(super) system: System,
    pub(super) congestion: &'static str,
    pub(super) limit_mbit_s: f64,
    /// Without the first second.
    pub(super) goodput_mbit_s: f64,
    /// Of the last half.
    pub(super) settled_mbit_s: f64,
    pub(super) ping: Pings,
    pub(super) cpu: Cpu,
    /// Share of all cores that the relay's thread took, the kernel's work for it included.
    pub(super) relay_cpu_percent: Option<f64>,
    pub(super) longest_gap_ms: f64,
    /// Bytes that PC1 sent on each link.
    pub(super) link_bytes: Vec<u64>,
    /// All of them, with Ethernet headers, for each byte of payload that PC2 received.
    pub(super) link_bytes_per_byte: f64,
    /// What became of the packets on each link, there and back.
    pub(super) link_packets: Vec<[Counts; 2]>,
    /// What `mpt status --json` said on PC1 and PC2 after the flow.
    pub(super) status: [Option<serde_json::Value>; 2],
    /// The call beside the flow, where there was one.
    pub(super) call: Option<Call>,
    /// What the sender's QUIC connection counted; `None` for TCP.
    pub(super) quic: Option<quic::Counts>,
    pub(super) interval_ms: u64,
    pub(super) intervals: Vec<u64>,
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
enum Flow {
    Kernel(stream::Flow),
    Quic(quic::Flow),
}

/// A system, ready to carry a flow. What there is of it ends with it.
pub(super) struct Carrier {
    tunnel: Option<Tunnel>,
    /// WireGuard above it.
    wireguard: Option<Ends>,
    flow: Flow,
    /// Where the flow goes.
    pub(super) to: IpAddr,
    /// Payload per byte on the wire through the tunnel; 0 without one.
    pub(super) share: f64,
}

impl Carrier {
    /// The tunnel's processes.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.tunnel.as_ref().map_or(Vec::new(), |tunnel| tunnel.pids().to_vec())
    }

    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.wireguard.map_or(Ok(()), Ends::stop)?;
        self.tunnel.map_or(Ok(()), Tunnel::stop)
    }
}

impl Bench<'_> {
    /// Pings a link on which nothing else is.
    pub(super) fn idle(&self, link: u8) -> anyhow::Result<Idle> {
        let to = Side::Pc2.address(link, self.plan.stack.inner());
        let ping = self.ping(to, IDLE_TIME)?;
        Ok(Idle { link, ping })
    }

    /// Measures a flow; `best` is the best single link, over which goes what MPTCP cannot carry.
    pub(super) fn measure(
        &self,
        system: System,
        congestion: &'static str,
        best: u8,
    ) -> anyhow::Result<Sample> {
        let carrier = self.carrier(system, congestion)?;
        let ping_to = match system {
            System::Mptcp | System::MptcpCall => Side::Pc2.address(best, self.plan.stack.inner()),
            _ => carrier.to,
        };
        let time = self.plan.time;
        let (mut pings, mut call) = (None, None);
        let has_call = system.flow() == Protocol::Call;
        let (relay, packets) = (self.relay_time(), self.packets());
        let clock = Stopwatch::start();
        let done = self.carry(&carrier, time, |clock| {
            std::thread::sleep(WARM_UP.saturating_sub(clock.elapsed()));
            let rest = time.saturating_sub(clock.elapsed());
            std::thread::scope(|scope| {
                let calling = has_call.then(|| scope.spawn(|| self.call(ping_to, rest)));
                pings = Some(self.ping(ping_to, rest)?);
                let called = calling.map(|it| it.join().expect("a call does not panic"));
                call = called.transpose().context("the call")?;
                Ok(())
            })
        })?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let percent = |time: Duration| 100.0 * time.as_secs_f64() / clock.elapsed().as_secs_f64() / cores;
        let relay_cpu_percent =
            self.relay_time().zip(relay).map(|(now, then)| percent(now.saturating_sub(then)));
        let since = |(now, then): ([Counts; 2], [Counts; 2])| [now[0].since(then[0]), now[1].since(then[1])];
        let link_packets = self.packets().into_iter().zip(packets).map(since).collect();
        let status = carrier.tunnel.as_ref().map_or([None, None], |tunnel| tunnel.status(self.net));
        let limit_mbit_s = self.plan.limit(system, carrier.share, None);
        carrier.stop()?;
        let Some(ping) = pings else { anyhow::bail!("the pings did not run") };
        let link_bytes_per_byte = done.link_bytes_per_byte();
        let Transfer { received, cpu, link_bytes, quic, .. } = done;
        Ok(Sample {
            system,
            congestion,
            limit_mbit_s,
            goodput_mbit_s: received.goodput(WARM_UP, time),
            settled_mbit_s: received.goodput(time / 2, time),
            ping,
            cpu,
            relay_cpu_percent,
            longest_gap_ms: received.longest_gap_ms,
            link_bytes,
            link_bytes_per_byte,
            link_packets,
            status,
            call,
            quic,
            interval_ms: received.interval_ms,
            intervals: received.intervals,
        })
    }

    /// Makes a system ready: for mpt, two fresh processes that know nothing of the links.
    pub(super) fn carrier(&self, system: System, congestion: &'static str) -> anyhow::Result<Carrier> {
        let Plan { stack, .. } = *self.plan;
        let version = stack.inner();
        let kernel = |transport: Transport| {
            Flow::Kernel(stream::Flow { congestion: Some(congestion), ..transport.into() })
        };
        let flow = match system.flow() {
            Protocol::Tcp | Protocol::Call | Protocol::Wireguard | Protocol::WireguardFitting => {
                kernel(Transport::Tcp)
            }
            Protocol::Quic => Flow::Quic(quic::Flow { congestion, ..quic::Flow::default() }),
        };
        let links = match system {
            System::Tcp { link }
            | System::Quic { link }
            | System::Plain { link, flow: Protocol::Tcp | Protocol::Quic | Protocol::Call } => {
                let to = Side::Pc2.address(link, version);
                return Ok(Carrier { tunnel: None, wireguard: None, flow, to, share: 0.0 });
            }
            System::Plain { link, flow: protocol } if protocol.is_wireguard() => {
                let fitting = limit::LINK_MTU - limit::wireguard_overhead(version);
                let mtu = if protocol == Protocol::Wireguard { wireguard::USUAL_MTU } else { fitting };
                let ends = wireguard::start(self.net, |side| side.address(link, version), mtu)?;
                let share = limit::wireguard(stack, mtu, None);
                return Ok(Carrier {
                    tunnel: None,
                    wireguard: Some(ends),
                    flow,
                    to: wireguard::ADDRESS,
                    share,
                });
            }
            System::Mptcp | System::MptcpCall => {
                mptcp::prepare(self.net, self.plan.count(), version)?;
                let to = Side::Pc2.address(1, version);
                let flow = kernel(Transport::Mptcp);
                return Ok(Carrier { tunnel: None, wireguard: None, flow, to, share: 0.0 });
            }
            System::Plain { link, .. } | System::MptAlone { link, .. } => link..=link,
            System::Mpt { .. } => 1..=self.plan.count(),
        };
        let options = Options {
            stack,
            links,
            policy: self.plan.policy.clone(),
            security: self.plan.security,
            liveness: None,
            slices: true,
            udp_in_order: self.plan.udp_in_order,
        };
        let tunnel = Tunnel::start(self.net, self.mpt, options)?;
        let to = tunnel.address();
        let mtu = match system.flow() {
            Protocol::Tcp | Protocol::Call => {
                let share = tunnel.limit(self.net)?;
                return Ok(Carrier { tunnel: Some(tunnel), wireguard: None, flow, to, share });
            }
            Protocol::Quic => {
                let share = tunnel.quic_limit(self.net)?;
                return Ok(Carrier { tunnel: Some(tunnel), wireguard: None, flow, to, share });
            }
            Protocol::Wireguard => wireguard::USUAL_MTU,
            Protocol::WireguardFitting => tunnel.wireguard_mtu(self.net)?,
        };
        let share = tunnel.wireguard_limit(self.net, mtu)?;
        let ends = wireguard::start(self.net, |side| side.tunnel_address(version), mtu)?;
        Ok(Carrier { tunnel: Some(tunnel), wireguard: Some(ends), flow, to: wireguard::ADDRESS, share })
    }

    /// Sends for so long, while `meanwhile` runs.
    pub(super) fn carry(
        &self,
        carrier: &Carrier,
        time: Duration,
        meanwhile: impl FnOnce(Stopwatch) -> anyhow::Result<()>,
    ) -> anyhow::Result<Transfer> {
        let (amount, pids) = (Amount::Time(time), carrier.pids());
        match carrier.flow {
            Flow::Kernel(flow) => transfer::run(self.net, carrier.to, flow, amount, &pids, meanwhile),
            Flow::Quic(flow) => transfer::quic(self.net, carrier.to, flow, amount, &pids, meanwhile),
        }
    }

    /// Pings PC2 from PC1.
    pub(super) fn ping(&self, to: IpAddr, time: Duration) -> anyhow::Result<Pings> {
        let answerer = self.net.pc2.inside(|| ping::answerer(to))??;
        let address = answerer.local_addr()?;
        let asker = self.net.pc1.inside(|| ping::asker(address))??;
        ping::run(&asker, &answerer, time)
    }

    /// Calls PC2 from PC1.
    fn call(&self, to: IpAddr, time: Duration) -> anyhow::Result<Call> {
        let caller = |address| self.net.pc1.inside(|| call::caller(address))?;
        let called = |address| self.net.pc2.inside(|| call::called(address))?;
        call::run(&call::connect(to, caller, called)?, time)
    }

    fn packets(&self) -> Vec<[Counts; 2]> {
        self.net.relay().map_or(Vec::new(), |relay| relay.report().links)
    }

    fn relay_time(&self) -> Option<Duration> {
        cpu::thread(self.net.relay()?.tid())
    }
}
