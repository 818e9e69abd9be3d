//! WireGuard in user space: over a link, for comparison, or inside a tunnel, as people have it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;

use super::ends::Ends;
use super::topology::{Side, Topology};

/// What to say where [`PROGRAMS`] are not there.
pub(super) const MISSING: &str = "WireGuard is not measured: wireguard-go and wg are not installed (apt install wireguard-go wireguard-tools)";

/// The programs that it takes: the tunnel, and the tool that sets it up.
pub(super) const PROGRAMS: [&str; 2] = ["wireguard-go", "wg"];

const PORT: u16 = 51_820;

/// How long PC2 may take to answer PC1: more than the round trip of the slowest link that can be had.
const ANSWER: Duration = Duration::from_millis(2500);

/// PC2's address in the tunnel.
pub(super) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));

/// The MTU that `wg-quick` gives an interface over Ethernet, with room for IPv6.
pub(super) const USUAL_MTU: u32 = 1420;

/// Starts both ends, each at an address, with this MTU, and waits until PC2 answers PC1.
///
/// # Errors
/// When a program fails, or the tunnel is not up in time.
pub(super) fn start(net: &Topology, address: impl Fn(Side) -> IpAddr, mtu: u32) -> anyhow::Result<Ends> {
    let mut tunnel = Ends::start(net, "wireguard-go", |side| {
        let mut command = net.host(side).command("wireguard-go");
        command.args(["-f", device(side)]).env("LOG_LEVEL", "error");
        command
    })?;
    let keys = [make_key(net, Side::Pc1)?, make_key(net, Side::Pc2)?];
    for (side, theirs) in [(Side::Pc1, &keys[1]), (Side::Pc2, &keys[0])] {
        // Its socket, through which `wg` speaks to it, is there once it runs.
        tunnel.wait(|| Ok(fs::exists(format!("/run/wireguard/{}.sock", device(side)))?))?;
        set_up(net, side, theirs, SocketAddr::new(address(side.peer()), PORT), mtu)?;
    }
    tunnel.wait(|| net.pc1.reaches(ADDRESS, ANSWER))?;
    Ok(tunnel)
}

/// Both ends share a directory of sockets: their interfaces need different names.
const fn device(side: Side) -> &'static str {
    match side {
        Side::Pc1 => "wg1",
        Side::Pc2 => "wg2",
    }
}

fn key_file(side: Side) -> String {
    format!("/run/{}.key", device(side))
}

/// Makes a private key in the side's file, and returns the public one.
fn make_key(net: &Topology, side: Side) -> anyhow::Result<String> {
    let file = key_file(side);
    fs::write(&file, net.host(side).run("wg genkey")?).with_context(|| format!("cannot write {file}"))?;
    let mut command = net.host(side).command("wg");
    command.arg("pubkey").stdin(fs::File::open(&file)?);
    Ok(crate::host::run(&mut command)?.trim().to_owned())
}

fn set_up(net: &Topology, side: Side, peer: &str, endpoint: SocketAddr, mtu: u32) -> anyhow::Result<()> {
    let (host, device, file) = (net.host(side), device(side), key_file(side));
    host.run(&format!(
        "wg set {device} private-key {file} listen-port {PORT} \
         peer {peer} endpoint {endpoint} allowed-ips 10.9.0.0/24"
    ))?;
    let last = if side == Side::Pc1 { 1 } else { 2 };
    host.run(&format!("ip address add 10.9.0.{last}/24 dev {device}"))?;
    host.run(&format!("ip link set {device} mtu {mtu} up"))?;
    Ok(())
}
