//! One measured transfer between the hosts.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use port_linux::link::unspecified;
use serde::Deserialize;

use super::cpu::{self, Cpu};
use super::rate::Rate;
use super::stopwatch::Stopwatch;
use super::topology::{Side, Topology};
use super::traffic::meter::Received;
use super::traffic::stream::{self, Amount, Flow};
use super::traffic::udp::{self, Delivery};
use super::traffic::{self, quic};

/// How long the receiver waits for the sender.
const CONNECT: Duration = Duration::from_secs(10);

/// A link counts as used when it carried at least this part of the mean of all: less is only control traffic.
const USED: f64 = 0.25;

/// Reads the length of a transfer: long enough that something is left without the first second.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let seconds = traffic::seconds(text)?;
    if seconds < 2.0 { Err("a transfer must last at least 2 seconds".to_owned()) } else { Ok(seconds) }
}

/// What a transfer showed.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// What the receiver measured.
    pub received: Received,
    /// From connecting until the receiver had all, in seconds.
    pub seconds: f64,
    /// CPU time in between.
    pub cpu: Cpu,
    /// Bytes that PC1 sent on each link meanwhile, with Ethernet headers.
    pub link_bytes: Vec<u64>,
    /// What the sender's connection counted, when the flow was QUIC.
    pub quic: Option<quic::Counts>,
}

impl Transfer {
    /// Bytes that PC1 sent on the links, with Ethernet headers, for each byte of payload that PC2 received.
    pub fn link_bytes_per_byte(&self) -> f64 {
        self.link_bytes.iter().sum::<u64>() as f64 / self.received.bytes.max(1) as f64
    }

    /// How many links carried a real share.
    pub fn links_used(&self) -> usize {
        let mean = self.link_bytes.iter().sum::<u64>() as f64 / self.link_bytes.len().max(1) as f64;
        self.link_bytes.iter().filter(|bytes| **bytes > 0 && **bytes as f64 >= USED * mean).count()
    }
}

/// Sends from PC1 to an address of PC2, while `meanwhile` runs in this thread. `processes` are the tunnel's, whose
/// CPU time is told apart.
///
/// # Errors
/// When a socket cannot be had, the transfer breaks, or `meanwhile` fails; then after the transfer's end.
pub fn run(
    net: &Topology,
    to: IpAddr,
    flow: impl Into<Flow>,
    amount: Amount,
    processes: &[u32],
    meanwhile: impl FnOnce(Stopwatch) -> anyhow::Result<()>,
) -> anyhow::Result<Transfer> {
    let flow = flow.into();
    // On every address: MPTCP's other subflows come to other addresses of PC2.
    let any = unspecified(to.is_ipv4());
    let listener = net.pc2.inside(|| stream::listen(SocketAddr::new(any, 0), flow.transport))??;
    let address = SocketAddr::new(to, listener.local_addr()?.port());
    let receive = || stream::receive(&listener, flow.payload, CONNECT);
    let (sent, transfer) =
        measure(net, processes, receive, || stream::send(address, flow, amount), meanwhile)?;
    Ok(Transfer { seconds: sent.seconds, ..transfer })
}

/// The same over QUIC.
///
/// # Errors
/// As [`run`], and when this program was built without QUIC.
pub fn quic(
    net: &Topology,
    to: IpAddr,
    flow: quic::Flow,
    amount: Amount,
    processes: &[u32],
    meanwhile: impl FnOnce(Stopwatch) -> anyhow::Result<()>,
) -> anyhow::Result<Transfer> {
    let listener = net.pc2.inside(|| quic::listen(SocketAddr::new(to, 0)))??;
    let (address, certificate) = (listener.local_addr()?, listener.certificate());
    let receive = || quic::receive(listener, flow.payload, CONNECT);
    let send = || quic::send(address, &certificate, flow, amount);
    let (sent, transfer) = measure(net, processes, receive, send, meanwhile)?;
    Ok(Transfer { seconds: sent.stream.seconds, quic: Some(sent.counts), ..transfer })
}

/// Has PC1 send and a thread receive, and measures what there is to measure of any flow; what `send` returned comes back.
fn measure<S: Send>(
    net: &Topology,
    processes: &[u32],
    receive: impl FnOnce() -> anyhow::Result<Received> + Send,
    send: impl FnOnce() -> anyhow::Result<S> + Send,
    meanwhile: impl FnOnce(Stopwatch) -> anyhow::Result<()>,
) -> anyhow::Result<(S, Transfer)> {
    let before = link_bytes(net)?;
    let cpu = cpu::Meter::start(processes)?;
    let clock = Stopwatch::start();
    let (received, sent, done) = thread::scope(|scope| {
        let receiver = scope.spawn(receive);
        let sender = scope.spawn(|| net.pc1.inside(send));
        let done = meanwhile(clock);
        (receiver.join(), sender.join(), done)
    });
    let cpu = cpu.read()?;
    // The sender's error says more when both fail.
    let sent = sent.expect("the sender does not panic")?.context("PC1")?;
    let received = received.expect("the receiver does not panic").context("PC2")?;
    done?;
    let link_bytes = link_bytes(net)?.iter().zip(before).map(|(after, before)| after - before).collect();
    let seconds = clock.elapsed().as_secs_f64();
    Ok((sent, Transfer { received, seconds, cpu, link_bytes, quic: None }))
}

/// Sends numbered datagrams from one host to an address of the other for so long, while `meanwhile` runs in this
/// thread.
///
/// # Errors
/// When a socket cannot be had, nothing arrives, or `meanwhile` fails; then after the transfer's end.
pub fn datagrams(
    net: &Topology,
    from: Side,
    to: IpAddr,
    rate: Rate,
    time: Duration,
    meanwhile: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Delivery> {
    let socket = net.host(from.peer()).inside(|| udp::bind((to, 0).into()))??;
    let address = socket.local_addr()?;
    let send = || udp::send(address, rate, udp::PAYLOAD, time);
    let (received, sent, done) = thread::scope(|scope| {
        let receiver = scope.spawn(|| udp::receive(&socket, CONNECT));
        let sender = scope.spawn(|| net.host(from).inside(send));
        let done = meanwhile();
        (receiver.join(), sender.join(), done)
    });
    // The sender's error says more when both fail.
    sent.expect("the sender does not panic")??;
    done?;
    received.expect("the receiver does not panic")
}

/// What iperf3 said of a transfer.
#[derive(Debug, Clone, Copy)]
pub struct Iperf3 {
    /// What the receiver got, in Mbit/s.
    pub goodput_mbit_s: f64,
    /// Bytes of payload in the whole time that CPU time was measured; of the first second, which iperf3 leaves out,
    /// as many as of another.
    pub bytes: f64,
    /// CPU time in between.
    pub cpu: Cpu,
}

/// Sends with the real iperf3, leaving out its first second.
///
/// # Errors
/// When iperf3 fails; the error carries what it said.
pub fn iperf3(net: &Topology, to: IpAddr, seconds: f64, processes: &[u32]) -> anyhow::Result<Iperf3> {
    let mut server = net.pc2.command("iperf3");
    server.args(["--server", "--one-off", "--bind", &to.to_string()]).stdout(std::process::Stdio::null());
    let mut server = net.pc2.spawn(&mut server)?;
    let clock = Stopwatch::start();
    while !net.pc2.run("ss -Hltn sport = :5201")?.contains("5201") {
        if clock.elapsed() > CONNECT || server.ended()?.is_some() {
            bail!("iperf3 does not listen on {to}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    let cpu = cpu::Meter::start(processes)?;
    let time = seconds.round().max(1.0);
    let json = net.pc1.run(&format!("iperf3 --client {to} --time {time} --omit 1 --json"))?;
    let cpu = cpu.read()?;
    server.wait(CONNECT)?;
    let goodput_mbit_s = parse_iperf3(&json)?;
    Ok(Iperf3 { goodput_mbit_s, bytes: goodput_mbit_s * 1e6 / 8.0 * (time + 1.0), cpu })
}

/// Mbit/s at the receiver.
fn parse_iperf3(json: &str) -> anyhow::Result<f64> {
    #[derive(Deserialize)]
    struct Output {
        end: End,
    }
    #[derive(Deserialize)]
    struct End {
        sum_received: Sum,
    }
    #[derive(Deserialize)]
    struct Sum {
        bits_per_second: f64,
    }
    let output: Output = serde_json::from_str(json).context("cannot read what iperf3 says")?;
    Ok(output.end.sum_received.bits_per_second / 1e6)
}

fn link_bytes(net: &Topology) -> anyhow::Result<Vec<u64>> {
    let counters = net.host(Side::Pc1).counters()?;
    let sent = |link| counters.get(&Topology::device(link)).map(|counters| counters.tx_bytes);
    (1..=net.links()).map(|link| sent(link).with_context(|| format!("PC1 has no link {link}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iperf3_is_read_at_the_receiver() {
        let json = r#"{"end":{"sum_sent":{"bytes":9},"sum_received":{"bytes":7,"bits_per_second":2.5e6}}}"#;
        assert_eq!(parse_iperf3(json).expect("read"), 2.5);
        assert!(parse_iperf3(r#"{"error":"no route"}"#).is_err());
    }
}
