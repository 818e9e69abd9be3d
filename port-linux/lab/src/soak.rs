//! `mpt lab --soak`: full rate for a long time while links are cut in turn. Every byte is checked at its end, and both
//! ends' counters must add up: each packet was delivered, was lost on a link, or was dropped for a reason.

use std::fmt::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use port_linux::output;
use port_linux::report::{Counters, Dropped, Report};
use serde::Serialize;

use super::machine::Machine;
use super::memory;
use super::out::write;
use super::progress::Progress;
use super::quick::START;
use super::rate::Rate;
use super::stack::Stack;
use super::stopwatch::Stopwatch;
use super::topology::{Cut, Side, Topology};
use super::traffic::stream::{Amount, Flow, Payload, Transport, USUAL_CONGESTION};
use super::traffic::udp::Delivery;
use super::transfer;
use super::tunnel::{Options, Security, Tunnel};

/// A link is cut so often, one after the other, first by its carrier and the next time round silently.
const EVERY: Duration = Duration::from_secs(5);
/// And restored after so long.
const CUT: Duration = Duration::from_secs(2);
/// The rate of the datagrams that go each way beside the flow, in tc's units.
const DATAGRAMS: &str = "20mbit";
/// When all senders have ended, packets may still be under way for so long.
const UNDER_WAY: Duration = Duration::from_secs(5);
const GLANCE: Duration = Duration::from_millis(200);
/// Enough for one cut.
const LEAST: Duration = Duration::from_secs(8);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Links, and paths of the tunnel.
    pub links: u8,
    /// Rate of each; `None`: no limit.
    pub rate: Option<Rate>,
    /// How long.
    pub time: Duration,
    /// IP versions above and below.
    pub stack: Stack,
    /// `connection.policy`.
    pub policy: String,
    /// Whether it is sealed.
    pub security: Security,
    /// The flow's congestion control; `None`: the usual one.
    pub congestion: Option<&'static str>,
}

/// The packets of one direction, by what became of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Account {
    /// Packets that the sender took from its tunnel interface.
    taken: u64,
    /// Packets that the receiver delivered to its own.
    delivered: u64,
    /// Packets that the sender dropped from its ingress queue.
    dropped_in_queue: u64,
    /// Packets that did not come.
    lost: u64,
    /// Copies that the sender sent of packets that were lost.
    sent_again: u64,
    /// Datagrams that the receiver did not take, by reason; the same reasons in both directions.
    refused: Dropped,
}

impl Account {
    fn new(sender: &Report, receiver: &Report) -> Option<Self> {
        let (sender, receiver) = (sender.connections.first()?, receiver.connections.first()?);
        let (tx, rx): (&Counters, &Counters) = (&sender.counters, &receiver.counters);
        Some(Self {
            taken: tx.tx_packets,
            delivered: rx.rx_packets,
            dropped_in_queue: tx.tx_dropped,
            lost: rx.rx_lost,
            sent_again: tx.tx_resent,
            refused: receiver.dropped.clone(),
        })
    }

    /// What is not accounted for; less than zero: came from nowhere.
    fn missing(&self) -> i128 {
        i128::from(self.taken) - i128::from(self.delivered + self.dropped_in_queue + self.lost)
    }
}

/// Everything.
#[derive(Debug, Clone, Serialize)]
struct Outcome {
    format: u32,
    machine: Machine,
    policy: String,
    congestion: &'static str,
    stack: Stack,
    links: u8,
    seconds: f64,
    cuts: u32,
    /// Bytes of the flow, each checked.
    tcp_bytes: u64,
    tcp_mbit_s: f64,
    longest_gap_ms: f64,
    /// Datagrams there and back.
    udp: [Delivery; 2],
    /// There and back.
    packets: [Account; 2],
    /// The most memory that one end held, in MiB.
    peak_mib: Option<f64>,
}

impl Outcome {
    /// What is wrong.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (direction, account) in DIRECTIONS.iter().zip(&self.packets) {
            match account.missing() {
                0 => {}
                missing @ 1.. => faults.push(format!("{direction}: {missing} packets are not accounted for")),
                extra => faults.push(format!("{direction}: {} packets came from nowhere", -extra)),
            }
        }
        for (direction, udp) in DIRECTIONS.iter().zip(&self.udp) {
            for (count, what) in [(udp.duplicates, "came twice"), (udp.garbage, "were damaged")] {
                if count > 0 {
                    faults.push(format!("{direction}: {count} datagrams {what}"));
                }
            }
        }
        faults
    }
}

const DIRECTIONS: [&str; 2] = ["PC1 to PC2", "PC2 to PC1"];

/// Runs it. `mpt` is the program's path; the result goes to `out`, too.
///
/// # Errors
/// When something cannot be set up, the flow breaks or is damaged, or the counters do not add up; then after the
/// result was printed.
pub fn run(plan: &Plan, mpt: &Path, out: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let mut progress = Progress::new(plan.time + START);
    let net = Topology::build(plan.links, plan.rate)?;
    let options = Options { security: plan.security, ..Options::lab(plan.stack, plan.links, &plan.policy) };
    let tunnel = Tunnel::start(&net, mpt, options)?;
    let outcome = soak(plan, &net, &tunnel, &mut progress)?;
    progress.end();
    tunnel.stop()?;
    let document = serde_json::to_string_pretty(&outcome)? + "\n";
    if let Some(directory) = out {
        write(directory, "soak.json", &document)?;
    }
    let shown = if json { document } else { text(&outcome) };
    output::print(&shown)?;
    let faults = outcome.faults();
    if !faults.is_empty() {
        bail!("{}", faults.join("; "));
    }
    Ok(())
}

fn soak(plan: &Plan, net: &Topology, tunnel: &Tunnel, progress: &mut Progress) -> anyhow::Result<Outcome> {
    let time = plan.time.max(LEAST);
    let flow = Flow { payload: Payload::Pattern, congestion: plan.congestion, ..Transport::Tcp.into() };
    let rate = DATAGRAMS.parse().map_err(anyhow::Error::msg)?;
    let datagrams = |from: Side| {
        let to = from.peer().tunnel_address(plan.stack.inner());
        transfer::datagrams(net, from, to, rate, time, || Ok(()))
    };
    let mut cuts = 0;
    let (done, there, back) = thread::scope(|scope| {
        let there = scope.spawn(|| datagrams(Side::Pc1));
        let back = scope.spawn(|| datagrams(Side::Pc2));
        let pids = tunnel.pids();
        let done = transfer::run(net, tunnel.address(), flow, Amount::Time(time), &pids, |clock| {
            cuts = cut_in_turn(net, clock, time, progress)?;
            Ok(())
        });
        (done, there.join(), back.join())
    });
    let done = done?;
    let udp = [there, back].map(|udp| udp.expect("datagrams do not panic"));
    let [there, back] = udp;
    let peak_mib = tunnel.pids().into_iter().filter_map(memory::peak_mib).reduce(f64::max);
    Ok(Outcome {
        format: 1,
        machine: Machine::describe(),
        policy: plan.policy.clone(),
        congestion: plan.congestion.unwrap_or(USUAL_CONGESTION),
        stack: plan.stack,
        links: plan.links,
        seconds: time.as_secs_f64(),
        cuts,
        tcp_bytes: done.received.bytes,
        tcp_mbit_s: done.received.goodput_mbit_s,
        longest_gap_ms: done.received.longest_gap_ms,
        udp: [there.context("datagrams there")?, back.context("datagrams back")?],
        packets: accounts(net, tunnel)?,
        peak_mib,
    })
}

/// Cuts and restores until the time is nearly over, so that all links are whole at its end; returns how often.
fn cut_in_turn(
    net: &Topology,
    clock: Stopwatch,
    time: Duration,
    progress: &mut Progress,
) -> anyhow::Result<u32> {
    let until = |at: Duration| thread::sleep(at.saturating_sub(clock.elapsed()));
    for count in 0.. {
        let at = EVERY * count + EVERY - CUT;
        if at + EVERY > time {
            return Ok(count);
        }
        let link = u8::try_from(count % u32::from(net.links()))? + 1;
        let silently = count / u32::from(net.links()) % 2 == 1;
        let cut = if silently { Cut::Silent } else { Cut::Link };
        progress.begin(&format!("cut {}: link {link} ({cut})", count + 1), EVERY);
        until(at);
        net.cut(link, cut)?;
        until(at + CUT);
        net.restore(link, cut)?;
    }
    Ok(0)
}

/// Both directions, once nothing is under way any more.
fn accounts(net: &Topology, tunnel: &Tunnel) -> anyhow::Result<[Account; 2]> {
    let clock = Stopwatch::start();
    loop {
        let read = |status: Option<serde_json::Value>| serde_json::from_value(status?).ok();
        let [Some(pc1), Some(pc2)] = tunnel.status(net).map(read) else {
            bail!("`mpt status` does not answer")
        };
        let both = Account::new(&pc1, &pc2).zip(Account::new(&pc2, &pc1));
        let (there, back) = both.context("`mpt status` tells of no connection")?;
        if there.missing() == 0 && back.missing() == 0 || clock.elapsed() > UNDER_WAY {
            return Ok([there, back]);
        }
        thread::sleep(GLANCE);
    }
}

/// The table.
fn text(outcome: &Outcome) -> String {
    let Outcome { stack, links, policy, seconds, cuts, .. } = outcome;
    let mut text = format!(
        "{stack} through the tunnel, {links} links, policy {policy}, {seconds:.0} s, {cuts} cuts of {} s\n{}\n\n",
        CUT.as_secs(),
        outcome.machine
    );
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "TCP ({}): {:.2} GB, every byte as it was sent; {:.0} Mbit/s, longest pause {:.0} ms",
        outcome.congestion,
        outcome.tcp_bytes as f64 / 1e9,
        outcome.tcp_mbit_s,
        outcome.longest_gap_ms
    );
    for (direction, udp) in DIRECTIONS.iter().zip(&outcome.udp) {
        let Delivery { sent, lost, duplicates, garbage, .. } = udp;
        let _ = writeln!(
            text,
            "UDP, {direction}: {sent} sent, {lost} lost, {duplicates} twice, {garbage} damaged"
        );
    }
    let [there, back] = &outcome.packets;
    let _ = writeln!(text, "\n{:<28}  {:>14}  {:>14}", "packets", DIRECTIONS[0], DIRECTIONS[1]);
    let mut row = |name: &str, of: &dyn Fn(&Account) -> i128| {
        let _ = writeln!(text, "{name:<28}  {:>14}  {:>14}", of(there), of(back));
    };
    row("taken by the sender", &|account| account.taken.into());
    row("delivered by the receiver", &|account| account.delivered.into());
    row("lost on the way", &|account| account.lost.into());
    row("dropped from the queue", &|account| account.dropped_in_queue.into());
    row("not accounted for", &Account::missing);
    row("sent again", &|account| account.sent_again.into());
    for reason in there.refused.keys() {
        let of = |account: &Account| i128::from(account.refused.get(reason).copied().unwrap_or(0));
        if of(there) + of(back) > 0 {
            row(&format!("refused: {reason}"), &of);
        }
    }
    if let Some(peak) = outcome.peak_mib {
        let _ = writeln!(text, "\nMemory: at most {peak:.0} MiB");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        let refused = Dropped::from([("late".to_owned(), 3)]);
        Account { taken: 100, delivered: 90, dropped_in_queue: 4, lost: 6, sent_again: 2, refused }
    }

    fn outcome(there: Account) -> Outcome {
        let udp = || Delivery {
            sent: 10,
            received: 9,
            lost: 1,
            duplicates: 0,
            reordered: 0,
            garbage: 0,
            stream: super::super::traffic::meter::Received::default(),
        };
        Outcome {
            format: 1,
            machine: Machine::describe(),
            policy: "adaptive".to_owned(),
            congestion: "cubic",
            stack: Stack::V4OverV4,
            links: 4,
            seconds: 600.0,
            cuts: 119,
            tcp_bytes: 5_000_000_000,
            tcp_mbit_s: 66.7,
            longest_gap_ms: 40.0,
            udp: [udp(), udp()],
            packets: [there, account()],
            peak_mib: Some(20.0),
        }
    }

    #[test]
    fn packets_that_are_not_accounted_for_are_a_fault_and_so_are_too_many() {
        assert_eq!(outcome(account()).faults(), Vec::<String>::new());
        let fewer = outcome(Account { delivered: 89, ..account() }).faults();
        assert_eq!(fewer, ["PC1 to PC2: 1 packets are not accounted for"]);
        let more = outcome(Account { delivered: 95, ..account() }).faults();
        assert_eq!(more, ["PC1 to PC2: 5 packets came from nowhere"]);
    }

    #[test]
    fn datagrams_that_came_twice_or_damaged_are_faults() {
        let mut outcome = outcome(account());
        (outcome.udp[0].duplicates, outcome.udp[1].garbage) = (2, 1);
        let faults = outcome.faults();
        assert_eq!(faults, ["PC1 to PC2: 2 datagrams came twice", "PC2 to PC1: 1 datagrams were damaged"]);
    }

    #[test]
    fn the_table_shows_both_directions_and_each_reason() {
        let text = text(&outcome(account()));
        let row = |name: &str| text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        let cells = |name| row(name).map(|row| row.split_whitespace().rev().take(2).collect::<String>());
        assert_eq!(cells("lost on the way").as_deref(), Some("66"));
        assert_eq!(cells("refused: late").as_deref(), Some("33"));
    }
}
