//! `mpt lab --links`: unequal links, emulated by the relay. How much of their sum one flow of TCP, QUIC or WireGuard gets and what a
//! call beside it feels, over the best link alone, over kernel MPTCP (TCP only) and over the tunnel, interleaved in one
//! run; then each link is cut and restored in turn.

mod bench;
mod cuts;
mod figures;
mod table;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use port_linux::output;
use serde::{Serialize, Serializer};

use self::bench::{Bench, Idle, Sample};
use self::cuts::Series;
use super::machine::Machine;
use super::out::write;
use super::progress::Progress;
use super::quick::START;
use super::relay;
use super::relay::link::Link;
use super::sample::{Summary, summary};
use super::stack::Stack;
use super::topology::{Cut, Topology};
use super::traffic::call::{Call, Heard};
use super::tunnel::Security;
use super::{cpu, limit, mptcp, namespace, wireguard};

/// The congestion controls that are measured.
pub(super) const CONGESTION: [&str; 2] = ["cubic", "bbr"];

/// The protocol of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP, the kernel's
    Tcp,
    /// QUIC, by quinn
    Quic,
    /// TCP inside wireguard-go, with its usual MTU, and then with one that fits
    Wireguard,
    /// TCP inside wireguard-go with an MTU that fits: no packet of it must be cut
    #[value(skip)]
    WireguardFitting,
    /// TCP, the kernel's, with a call beside it
    Call,
}

impl Protocol {
    /// All.
    pub const ALL: [Self; 5] = [Self::Tcp, Self::Quic, Self::Wireguard, Self::WireguardFitting, Self::Call];

    /// By which name it is asked for.
    pub const fn asked_for(self) -> Self {
        match self {
            Self::WireguardFitting => Self::Wireguard,
            other => other,
        }
    }

    /// Whether it needs wireguard-go.
    const fn is_wireguard(self) -> bool {
        matches!(self, Self::Wireguard | Self::WireguardFitting)
    }

    /// Whether the kernel's TCP sends.
    const fn is_tcp(self) -> bool {
        !matches!(self, Self::Quic)
    }

    /// What it adds to the label of a system that carries it.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Tcp => "",
            Self::Quic => ", QUIC",
            Self::Wireguard => ", WireGuard",
            Self::WireguardFitting => ", WireGuard, MTU fits",
            Self::Call => ", call",
        }
    }
}

/// A part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// TCP, or what --flow says, over each link without a tunnel
    #[value(alias = "quic")]
    Tcp,
    /// Kernel MPTCP over all links (with --flow tcp and call)
    Mptcp,
    /// The tunnel over the best link alone
    Alone,
    /// The tunnel over all links
    Mpt,
    /// Each link cut in turn, under MPTCP and the tunnel
    Cuts,
    /// The same under the tunnel only
    MptCuts,
}

impl Part {
    /// All but what is in another one.
    pub const ALL: [Self; 5] = [Self::Tcp, Self::Mptcp, Self::Alone, Self::Mpt, Self::Cuts];
}

/// What is measured.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The links.
    pub links: Vec<Link>,
    /// IP versions above and below the tunnel.
    pub stack: Stack,
    /// Length of each transfer.
    #[serde(serialize_with = "in_seconds")]
    pub time: Duration,
    /// How often everything is measured.
    pub repeats: u32,
    /// The tunnel's policy.
    pub policy: String,
    /// Whether the tunnel is sealed.
    pub security: Security,
    /// How links are cut.
    pub cut: Cut,
    /// What losses and jitter follow from.
    pub seed: u64,
    /// What is measured; kernel MPTCP only over as many links as it can use, and cuts only of several links.
    pub parts: Vec<Part>,
    /// The protocols of the flows.
    pub flows: Vec<Protocol>,
    /// The congestion controls, as the kernel calls them.
    pub congestion: Vec<&'static str>,
    /// Whether the tunnel keeps UDP packets in order, too.
    pub udp_in_order: bool,
}

fn in_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// Who carries the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum System {
    /// TCP over one link.
    Tcp { link: u8 },
    /// QUIC over one link.
    Quic { link: u8 },
    /// Anything else over one link.
    Plain { link: u8, flow: Protocol },
    /// Kernel MPTCP over all links.
    Mptcp,
    /// The same, with a call beside it on the best link.
    MptcpCall,
    /// The tunnel over one link.
    MptAlone { link: u8, flow: Protocol },
    /// The tunnel over all links.
    Mpt { flow: Protocol },
}

impl System {
    /// A flow over one link, without a tunnel.
    const fn plain(flow: Protocol, link: u8) -> Self {
        match flow {
            Protocol::Tcp => Self::Tcp { link },
            Protocol::Quic => Self::Quic { link },
            flow => Self::Plain { link, flow },
        }
    }

    /// The link, where there is one and no tunnel.
    const fn plain_link(self) -> Option<u8> {
        match self {
            Self::Tcp { link } | Self::Quic { link } | Self::Plain { link, .. } => Some(link),
            Self::Mptcp | Self::MptcpCall | Self::MptAlone { .. } | Self::Mpt { .. } => None,
        }
    }

    /// The protocol of what it carries.
    const fn flow(self) -> Protocol {
        match self {
            Self::Tcp { .. } | Self::Mptcp => Protocol::Tcp,
            Self::Quic { .. } => Protocol::Quic,
            Self::MptcpCall => Protocol::Call,
            Self::Plain { flow, .. } | Self::MptAlone { flow, .. } | Self::Mpt { flow } => flow,
        }
    }

    /// Kernel MPTCP with such a flow.
    const fn mptcp(flow: Protocol) -> Option<Self> {
        match flow {
            Protocol::Tcp => Some(Self::Mptcp),
            Protocol::Call => Some(Self::MptcpCall),
            Protocol::Quic | Protocol::Wireguard | Protocol::WireguardFitting => None,
        }
    }

    fn label(self) -> String {
        let of = Protocol::suffix;
        match self {
            Self::Tcp { link } => format!("TCP, link {link}"),
            Self::Quic { link } => format!("QUIC, link {link}"),
            Self::Plain { link, flow: Protocol::Call } => format!("TCP, link {link}, call"),
            Self::Plain { link, flow } => format!("link {link}{}", of(flow)),
            Self::Mptcp => "kernel MPTCP, all links".to_owned(),
            Self::MptcpCall => "kernel MPTCP, all links, call".to_owned(),
            Self::MptAlone { link, flow } => format!("mpt, link {link} alone{}", of(flow)),
            Self::Mpt { flow } => format!("mpt, all links{}", of(flow)),
        }
    }
}

impl Plan {
    /// The most payload that the links leave to a system after headers and losses, in Mbit/s, without the links that
    /// are `cut`. `tunnel` is the payload per byte on the wire
    /// of a tunnel, mpt's or WireGuard's.
    fn limit(&self, system: System, tunnel: f64, cut: Option<u8>) -> f64 {
        let version = self.stack.inner();
        let share = match system {
            System::Tcp { .. } | System::Plain { flow: Protocol::Call, .. } => limit::tcp(version),
            System::Quic { .. } => limit::quic(version),
            System::Mptcp | System::MptcpCall => limit::mptcp(version),
            System::Plain { .. } | System::MptAlone { .. } | System::Mpt { .. } => tunnel,
        };
        let used = |number: u8| match system {
            System::Tcp { link }
            | System::Quic { link }
            | System::Plain { link, .. }
            | System::MptAlone { link, .. } => number == link,
            System::Mptcp | System::MptcpCall | System::Mpt { .. } => Some(number) != cut,
        };
        let passes =
            (1..).zip(&self.links).filter(|(number, _)| used(*number)).map(|(_, link)| link.passes());
        share * passes.sum::<f64>() / 1e6
    }

    /// The number of links.
    fn count(&self) -> u8 {
        u8::try_from(self.links.len()).unwrap_or(u8::MAX)
    }

    /// How long all of it takes with these flows.
    fn duration(&self, flows: &[(Protocol, &'static str)]) -> Duration {
        let links = u32::from(self.count());
        let plain = u32::from(self.has(Part::Tcp));
        let each = |&(flow, _): &(Protocol, _)| {
            let systems = u32::try_from(self.systems(flow, 1).len()).unwrap_or(0);
            self.repeats * (systems + plain) + plain * (links - 1)
        };
        let flows = flows.iter().map(each).sum::<u32>();
        let series = self.repeats * u32::try_from(self.series().len()).unwrap_or(0);
        bench::IDLE_TIME * links + (self.time + START) * flows + (cuts::duration(self) + START) * series
    }

    /// Whether that part is wanted, and makes sense with these links.
    fn has(&self, part: Part) -> bool {
        let sensible = match part {
            Part::Tcp | Part::Mpt => true,
            Part::Mptcp => self.count() <= mptcp::MOST_LINKS,
            Part::Alone | Part::Cuts | Part::MptCuts => self.count() > 1,
        };
        sensible && self.parts.contains(&part)
    }

    /// The systems that carry such a flow beside the links alone, when `best` is the best of these.
    fn systems(&self, flow: Protocol, best: u8) -> Vec<System> {
        let systems = [
            System::mptcp(flow).filter(|_| self.has(Part::Mptcp)),
            self.has(Part::Alone).then_some(System::MptAlone { link: best, flow }),
            self.has(Part::Mpt).then_some(System::Mpt { flow }),
        ];
        systems.into_iter().flatten().collect()
    }

    /// Under which systems links are cut: those that carry TCP or QUIC and nothing else.
    fn series(&self) -> Vec<System> {
        let mptcp = self.has(Part::Cuts) && self.count() <= mptcp::MOST_LINKS;
        let mpt = self.has(Part::Cuts) || self.has(Part::MptCuts);
        let of =
            |&flow: &Protocol| [(mptcp && flow == Protocol::Tcp, System::Mptcp), (mpt, System::Mpt { flow })];
        let flows = self.flows.iter().filter(|flow| matches!(flow, Protocol::Tcp | Protocol::Quic));
        flows.flat_map(of).filter_map(|(wanted, system)| wanted.then_some(system)).collect()
    }

    /// The flows that are measured, by protocol and congestion control, when the kernel's TCP lacks those that are
    /// `missing`.
    fn flows(&self, missing: &[&'static str]) -> Vec<(Protocol, &'static str)> {
        let all = self.congestion.iter().flat_map(|name| self.flows.iter().map(move |flow| (*flow, *name)));
        all.filter(|(flow, name)| !flow.is_tcp() || !missing.contains(name)).collect()
    }

    /// The link that should be the best, as long as none was measured.
    fn widest(&self) -> u8 {
        let numbered = (1..).zip(&self.links);
        numbered.max_by(|one, other| one.1.passes().total_cmp(&other.1.passes())).map_or(1, |link| link.0)
    }
}

/// A system's measurements with one congestion control.
#[derive(Debug, Clone, Serialize)]
struct Row {
    system: System,
    congestion: &'static str,
    limit_mbit_s: f64,
    goodput_mbit_s: Summary,
    /// Of the last half of the transfer: a flow may need half a minute to spread over unequal links.
    settled_mbit_s: Summary,
    /// Goodput to that of the same protocol over the best link, if that was measured.
    to_best: Option<f64>,
    ping_p50_ms: Summary,
    ping_p99_ms: Summary,
    cpu_percent: Summary,
    relay_cpu_percent: Option<Summary>,
    /// Bytes that PC1 sent on the links, with Ethernet headers, for each byte of payload that PC2 received.
    link_bytes_per_byte: Summary,
    /// QUIC packets that the sender declared lost, in per cent of those sent.
    quic_lost_percent: Option<Summary>,
    /// The call beside the flow, there and back.
    call: Option<[CallRow; 2]>,
    samples: Vec<Sample>,
}

/// One direction of a call.
#[derive(Debug, Clone, Copy, Serialize)]
struct CallRow {
    lost_percent: Summary,
    p50_ms: Summary,
    p95_ms: Summary,
    p99_ms: Summary,
}

impl CallRow {
    /// `None` for no calls.
    fn of(calls: &[Heard]) -> Option<Self> {
        let sum = |value: fn(&Heard) -> f64| summary(calls.iter().map(value));
        Some(Self {
            lost_percent: sum(Heard::lost_percent)?,
            p50_ms: sum(|heard| heard.p50_ms)?,
            p95_ms: sum(|heard| heard.p95_ms)?,
            p99_ms: sum(|heard| heard.p99_ms)?,
        })
    }
}

/// Everything.
#[derive(Debug, Clone, Serialize)]
struct Outcome {
    format: u32,
    machine: Machine,
    background_percent: f64,
    plan: Plan,
    /// Congestion controls of TCP that this kernel does not have.
    missing: Vec<&'static str>,
    /// What was not measured, and why.
    skipped: Vec<&'static str>,
    idle: Vec<Idle>,
    rows: Vec<Row>,
    series: Vec<Series>,
    relay: relay::Report,
}

/// Runs it. `mpt` is the program's path; files are written into `out`, if there is one.
///
/// # Errors
/// When something cannot be set up or a transfer breaks.
pub fn run(plan: &Plan, mpt: &Path, out: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let known = "/proc/sys/net/ipv4/tcp_available_congestion_control";
    let known = fs::read_to_string(known).with_context(|| format!("cannot read {known}"))?;
    let is_missing = |name: &&str| known.split_whitespace().all(|word| word != *name);
    let mut plan = plan.clone();
    let mut skipped = Vec::new();
    if plan.flows.iter().any(|flow| flow.is_wireguard())
        && !wireguard::PROGRAMS.into_iter().all(namespace::is_installed)
    {
        plan.flows.retain(|flow| !flow.is_wireguard());
        skipped.push(wireguard::MISSING);
    }
    let plan = &plan;
    let has_tcp = plan.flows.iter().any(|flow| flow.is_tcp());
    let missing: Vec<_> =
        plan.congestion.iter().copied().filter(|name| has_tcp && is_missing(name)).collect();
    let flows = plan.flows(&missing);
    let background_percent = cpu::background()?;
    let net = Topology::emulate(&plan.links, plan.seed)?;
    let mut run = Run {
        bench: Bench { plan, mpt, net: &net },
        progress: Progress::new(plan.duration(&flows)),
        samples: Vec::new(),
        series: Vec::new(),
    };
    let idle = (1..=plan.count()).map(|link| run.idle(link)).collect::<Result<_, _>>()?;
    for _ in 0..plan.repeats {
        for (flow, congestion) in &flows {
            run.flows(*flow, congestion)?;
        }
        run.cuts()?;
    }
    run.progress.end();
    let outcome = Outcome {
        format: 1,
        machine: Machine::describe(),
        background_percent,
        plan: plan.clone(),
        missing,
        skipped,
        idle,
        rows: rows(&run.samples),
        series: run.series,
        relay: net.relay().context("emulated links have a relay")?.report(),
    };
    let text = serde_json::to_string_pretty(&outcome)? + "\n";
    if let Some(directory) = out {
        write(directory, "links.json", &text)?;
        if let Some(figure) = figures::goodput(&outcome)? {
            write(directory, "links-goodput.svg", &figure)?;
        }
        if let Some(figure) = figures::cuts(&outcome)? {
            write(directory, "links-cuts.svg", &figure)?;
        }
    }
    output::print(&if json { text } else { table::text(&outcome) })?;
    Ok(())
}

/// One run while it goes.
struct Run<'a> {
    bench: Bench<'a>,
    progress: Progress,
    samples: Vec<Sample>,
    series: Vec<Series>,
}

impl Run<'_> {
    fn idle(&mut self, link: u8) -> anyhow::Result<Idle> {
        self.progress.begin(&format!("link {link}, idle"), bench::IDLE_TIME);
        self.bench.idle(link)
    }

    /// One flow over each system, one after the other.
    fn flows(&mut self, flow: Protocol, congestion: &'static str) -> anyhow::Result<()> {
        // Which link is the best is found out in the first repeat; after it, this one stands for its kind.
        let plan = self.bench.plan;
        if plan.has(Part::Tcp) {
            let singles = best(&self.samples, flow, congestion).map_or(1..=plan.count(), |best| best..=best);
            for link in singles {
                self.flow(System::plain(flow, link), congestion)?;
            }
        }
        let link = best(&self.samples, flow, congestion).unwrap_or_else(|| plan.widest());
        for system in plan.systems(flow, link) {
            self.flow(system, congestion)?;
        }
        Ok(())
    }

    fn flow(&mut self, system: System, congestion: &'static str) -> anyhow::Result<()> {
        let what = format!("{congestion}, {}", system.label());
        self.progress.begin(&what, self.bench.plan.time + START);
        let best = best(&self.samples, system.flow(), congestion).unwrap_or_else(|| self.bench.plan.widest());
        self.samples.push(self.bench.measure(system, congestion, best).context(what)?);
        Ok(())
    }

    /// A flow over each system that has several links, which are cut in turn.
    fn cuts(&mut self) -> anyhow::Result<()> {
        for system in self.bench.plan.series() {
            let what = format!("each link is cut in turn, {}", system.label());
            self.progress.begin(&what, cuts::duration(self.bench.plan) + START);
            self.series.push(cuts::measure(&self.bench, system).context(what)?);
        }
        Ok(())
    }
}

/// The link over which TCP or QUIC is fastest; `None` before it was measured.
fn best(samples: &[Sample], flow: Protocol, congestion: &str) -> Option<u8> {
    let single = |sample: &Sample| {
        let link = sample.system.plain_link()?;
        let is_it = sample.system.flow() == flow && sample.congestion == congestion;
        is_it.then_some((sample.goodput_mbit_s, link))
    };
    samples.iter().filter_map(single).max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, link)| link)
}

/// The samples by system and congestion control, in the order in which they first came.
fn rows(samples: &[Sample]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for first in samples {
        let Sample { system, congestion, limit_mbit_s, .. } = *first;
        if rows.iter().any(|row| row.system == system && row.congestion == congestion) {
            continue;
        }
        let of = |system| {
            let same = move |sample: &&Sample| sample.system == system && sample.congestion == congestion;
            samples.iter().filter(same)
        };
        let sum = |value: fn(&Sample) -> f64| summary(of(system).map(value));
        let flow = system.flow();
        let best = best(samples, flow, congestion).and_then(|link| {
            let goodputs = of(System::plain(flow, link)).map(|sample| sample.goodput_mbit_s);
            summary(goodputs)
        });
        // There is at least `first` to be summed up.
        let (
            Some(goodput_mbit_s),
            Some(settled_mbit_s),
            Some(ping_p50_ms),
            Some(ping_p99_ms),
            Some(cpu_percent),
            Some(link_bytes_per_byte),
        ) = (
            sum(|sample| sample.goodput_mbit_s),
            sum(|sample| sample.settled_mbit_s),
            sum(|sample| sample.ping.p50_ms),
            sum(|sample| sample.ping.p99_ms),
            sum(|sample| sample.cpu.percent),
            sum(|sample| sample.link_bytes_per_byte),
        )
        else {
            continue;
        };
        rows.push(Row {
            system,
            congestion,
            limit_mbit_s,
            goodput_mbit_s,
            settled_mbit_s,
            to_best: best.map(|best| goodput_mbit_s.median / best.median),
            ping_p50_ms,
            ping_p99_ms,
            cpu_percent,
            relay_cpu_percent: summary(of(system).filter_map(|sample| sample.relay_cpu_percent)),
            link_bytes_per_byte,
            quic_lost_percent: summary(
                of(system).filter_map(|sample| sample.quic.map(|counts| counts.lost_percent())),
            ),
            call: calls(&of(system).filter_map(|sample| sample.call).collect::<Vec<_>>()),
            samples: of(system).cloned().collect(),
        });
    }
    rows
}

/// Calls, there and back.
fn calls(calls: &[Call]) -> Option<[CallRow; 2]> {
    let of = |direction: fn(&Call) -> Heard| CallRow::of(&calls.iter().map(direction).collect::<Vec<_>>());
    Some([of(|call| call.there)?, of(|call| call.back)?])
}

#[cfg(test)]
mod tests;
