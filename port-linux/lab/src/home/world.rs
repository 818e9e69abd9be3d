//! A house, its providers, a rented server and a host of the Internet, as network namespaces.
//!
//! ```text
//!           ┌─ fibre ── router (NAT) ───────────────────────────┐
//! laptop ── home ─ dsl ── router (NAT) ── provider (NAT) ── Internet ── web
//!           └─ lte ── router (NAT, any port) ───────────────────┘ └── server
//! ```
//!
//! The links between the routers and the Internet have a rate. The house has IPv6 over fibre only; a leak would find its way there.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use port_linux::config::PORT;

use crate::host::{self, Host, wire};
use crate::rate::Rate;
use crate::topology::shape;

/// The web and name server. A network that nobody has (RFC 7526), and one for benchmarks (RFC 5180): mpt takes them for public ones.
pub(super) const WEB_V4: Ipv4Addr = Ipv4Addr::new(192, 88, 99, 10);
/// The same.
pub(super) const WEB_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 2, 0, 0, 0, 0x10);
/// The rented server.
pub(super) const SERVER_V4: Ipv4Addr = Ipv4Addr::new(192, 88, 99, 6);
/// The same.
pub(super) const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 6);

/// The interface of the house towards its LAN.
pub(super) const LAN: &str = "lan0";

/// The laptop in it.
pub(super) const LAPTOP: Ipv4Addr = Ipv4Addr::new(192, 168, 6, 2);

/// Where a resolver finds its servers.
const RESOLVER: &str = "/etc/resolv.conf";

/// The file for the laboratory that says so.
const OUR_RESOLVER: &str = "/run/mpt-home-resolv.conf";

/// The wire of a router to the house, and that to its provider.
const INSIDE: &str = "lan";
const OUTSIDE: &str = "wan";

/// A link of the house to the Internet.
#[derive(Debug)]
pub(super) struct Uplink {
    /// The device of the house.
    pub(super) device: &'static str,
    /// What translates addresses on the way.
    pub(super) nat: &'static str,
    /// Its rate in both directions.
    pub(super) rate: Rate,
    /// What DHCP and router advertisements give the house: addresses, and routers.
    addresses: &'static [&'static str],
    routers: &'static [&'static str],
    /// The router beside the house.
    router: Host,
    /// The router that the Internet sees, and its way out: of a double NAT another one.
    last: Host,
    gateway: &'static str,
}

/// All hosts.
#[derive(Debug)]
pub(super) struct World {
    /// The machine at home that has the links.
    pub(super) home: Host,
    /// A machine in its LAN, which knows nothing of mpt.
    pub(super) laptop: Host,
    /// The rented server.
    pub(super) server: Host,
    /// A host of the Internet.
    pub(super) web: Host,
    /// The links of the house, the best one first.
    pub(super) uplinks: [Uplink; 3],
}

impl World {
    /// Builds it. Everything can be reached at once, from the house over its best link.
    pub(super) fn build() -> anyhow::Result<Self> {
        let internet = Host::create("internet")?;
        let (home, laptop) = (Host::create("home")?, Host::create("laptop")?);
        let (server, web) = (Host::create("server")?, Host::create("web")?);
        let net = |address: &str, length: u8| format!("{address}/{length}");
        let (v4, v6) = (net(&SERVER_V4.to_string(), 30), net(&SERVER_V6.to_string(), 64));
        wire([
            (&internet, "server", &["192.88.99.5/30", "2001:2:0:1::1/64"]),
            (&server, "eth0", &[&v4, &v6]),
        ])?;
        let (v4, v6) = (net(&WEB_V4.to_string(), 30), net(&WEB_V6.to_string(), 64));
        wire([(&internet, "web", &["192.88.99.9/30", "2001:2:0:2::1/64"]), (&web, "eth0", &[&v4, &v6])])?;
        for (host, v4, v6) in
            [(&server, "192.88.99.5", "2001:2:0:1::1"), (&web, "192.88.99.9", "2001:2:0:2::1")]
        {
            host.run(&format!("ip route add default via {v4}"))?;
            host.run(&format!("ip route add default via {v6}"))?;
        }
        let lan = ["192.168.6.1/24", "fd00:6::1/64"];
        wire([(&home, LAN, &lan), (&laptop, "eth0", &["192.168.6.2/24", "fd00:6::2/64"])])?;
        laptop.run("ip route add default via 192.168.6.1")?;
        laptop.run("ip route add default via fd00:6::1")?;
        // A namespace may have the settings of the machine.
        for host in [&home, &server] {
            forward(host, false)?;
        }
        forward(&internet, true)?;
        let uplinks = [fibre(&home, &internet)?, dsl(&home, &internet)?, lte(&home, &internet)?];
        for uplink in &uplinks {
            watch(&uplink.router)?;
        }
        let world = Self { home, laptop, server, web, uplinks };
        world.give_addresses()?;
        Ok(world)
    }

    /// The house has addresses and routers on all its links, the best one first.
    pub(super) fn give_addresses(&self) -> anyhow::Result<()> {
        for (metric, Uplink { device, addresses, routers, .. }) in (1..).zip(&self.uplinks) {
            for address in *addresses {
                let detection = if address.contains(':') { "nodad" } else { "" };
                self.home.run(&format!("ip address add {address} dev {device} {detection}"))?;
            }
            for router in *routers {
                self.home
                    .run(&format!("ip route replace default via {router} dev {device} metric {metric}"))?;
            }
        }
        Ok(())
    }

    /// The house has none, as before DHCP has asked.
    pub(super) fn take_addresses(&self) -> anyhow::Result<()> {
        let flush = |uplink: &Uplink| format!("ip address flush dev {} scope global", uplink.device);
        self.uplinks.iter().try_for_each(|uplink| self.home.run(&flush(uplink)).map(drop))
    }

    /// What a host has of what mpt could change: routes, rules, tables of the firewall, addresses, forwarding.
    pub(super) fn state(host: &Host) -> anyhow::Result<String> {
        let mut state = String::new();
        for line in [
            "ip -4 route show table all",
            "ip -6 route show table all",
            "ip -4 rule",
            "ip -6 rule",
            "ip -brief address show scope global",
            "nft --stateless list ruleset",
            "sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding",
        ] {
            // The kernel goes on setting link-local routes, and those to groups, while it runs.
            for said in
                host.run(line)?.lines().filter(|said| !said.contains("fe80::") && !said.contains("ff00::"))
            {
                state += said.trim_end();
                state.push('\n');
            }
        }
        Ok(state)
    }

    /// What has left the house over its links since this was called last, other than to mpt on the server: packets, and where to.
    pub(super) fn leaked(&self) -> anyhow::Result<Vec<String>> {
        let mut leaked = Vec::new();
        for Uplink { device, router, .. } in &self.uplinks {
            let said = router.run("nft reset counter inet watch past")?;
            let packets = said.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
            let packets: u64 = packets.with_context(|| format!("no counter: {said}"))?.parse()?;
            if packets > 0 {
                let to = router.run("nft list set inet watch to_v4")?
                    + &router.run("nft list set inet watch to_v6")?;
                let to: Vec<&str> =
                    to.split("elements = {").skip(1).filter_map(|rest| rest.split('}').next()).collect();
                leaked.push(format!(
                    "{packets} packets over {device}, to {}",
                    to.concat().split_whitespace().collect::<Vec<_>>().join(" ")
                ));
                router.run("nft flush set inet watch to_v4")?;
                router.run("nft flush set inet watch to_v6")?;
            }
        }
        Ok(leaked)
    }
}

impl Uplink {
    /// Pulls the cable to the house, or plugs it in.
    pub(super) fn plug(&self, is_in: bool) -> anyhow::Result<()> {
        self.router.run(&format!("ip link set {INSIDE} {}", if is_in { "up" } else { "down" })).map(drop)
    }

    /// From now on the provider lets nothing through, or all again; nobody is told.
    pub(super) fn let_through(&self, passes: bool) -> anyhow::Result<()> {
        if passes {
            return self.last.run("nft delete table inet deaf").map(drop);
        }
        rules(
            &self.last,
            "table inet deaf { chain way { type filter hook forward priority 0; policy drop; }\n}\n",
        )
    }

    /// The router that the Internet sees starts anew: it forgets which port it has given to whom.
    pub(super) fn forget(&self) -> anyhow::Result<()> {
        let Self { last, gateway, .. } = self;
        // What `masquerade` has noted goes with the interface.
        last.run(&format!("ip link set {OUTSIDE} down"))?;
        last.run(&format!("ip link set {OUTSIDE} up"))?;
        last.run(&format!("ip route replace default via {gateway}")).map(drop)
    }
}

fn forward(host: &Host, is_router: bool) -> anyhow::Result<()> {
    let value = if is_router { "1" } else { "0" };
    host.sysctl("net.ipv4.ip_forward", value)?;
    host.sysctl("net.ipv6.conf.all.forwarding", value)
}

/// Loads rules for the firewall.
fn rules(host: &Host, text: &str) -> anyhow::Result<()> {
    let file = format!("/run/{}.nft", host.name());
    fs::write(&file, text)?;
    host.run(&format!("nft -f {file}")).map(drop)
}

/// Makes a router that translates addresses; `port`: what nft's `masquerade` is told of ports.
fn router(name: &str, port: &str) -> anyhow::Result<Host> {
    let router = Host::create(name)?;
    forward(&router, true)?;
    let masquerade = format!("oifname \"{OUTSIDE}\" masquerade {port};");
    rules(
        &router,
        &format!(
            "table ip nat {{ chain out {{ type nat hook postrouting priority srcnat; {masquerade} }}\n}}\n"
        ),
    )?;
    Ok(router)
}

/// Has a link a rate in both directions.
fn limit(rate: Rate, ends: [(&Host, &str); 2]) -> anyhow::Result<()> {
    ends.into_iter().try_for_each(|(host, device)| {
        host.run(&format!("tc qdisc add dev {device} root {}", shape(rate))).map(drop)
    })
}

fn mbit(rate: &str) -> anyhow::Result<Rate> {
    rate.parse().map_err(anyhow::Error::msg)
}

/// The best link, with IPv6.
fn fibre(home: &Host, internet: &Host) -> anyhow::Result<Uplink> {
    let (router, rate, gateway) = (router("fibre", "")?, mbit("40mbit")?, "192.88.99.17");
    let inside = ["192.168.1.1/24", "2001:2:0:3::1/64"];
    wire([(home, "fibre", &[]), (&router, INSIDE, &inside)])?;
    let outside = ["192.88.99.18/30", "2001:2:0:4::2/64"];
    wire([(internet, "fibre", &["192.88.99.17/30", "2001:2:0:4::1/64"]), (&router, OUTSIDE, &outside)])?;
    limit(rate, [(internet, "fibre"), (&router, OUTSIDE)])?;
    router.run(&format!("ip route add default via {gateway}"))?;
    router.run("ip route add default via 2001:2:0:4::1")?;
    internet.run("ip route add 2001:2:0:3::/64 via 2001:2:0:4::2")?;
    let last = router.clone();
    Ok(Uplink {
        device: "fibre",
        nat: "NAT",
        rate,
        addresses: &["192.168.1.10/24", "2001:2:0:3::10/64"],
        routers: &["192.168.1.1", "2001:2:0:3::1"],
        router,
        last,
        gateway,
    })
}

/// A router at home, and another one at the provider, which many houses share.
fn dsl(home: &Host, internet: &Host) -> anyhow::Result<Uplink> {
    let (router, last) = (router("dsl", "")?, router("provider", "random")?);
    let (rate, gateway) = (mbit("25mbit")?, "192.88.99.21");
    wire([(home, "dsl", &[]), (&router, INSIDE, &["192.168.2.1/24"])])?;
    wire([(&last, INSIDE, &["100.64.0.1/30"]), (&router, OUTSIDE, &["100.64.0.2/30"])])?;
    wire([(internet, "dsl", &["192.88.99.21/30"]), (&last, OUTSIDE, &["192.88.99.22/30"])])?;
    limit(rate, [(internet, "dsl"), (&last, OUTSIDE)])?;
    router.run("ip route add default via 100.64.0.1")?;
    last.run(&format!("ip route add default via {gateway}"))?;
    Ok(Uplink {
        device: "dsl",
        nat: "double NAT",
        rate,
        addresses: &["192.168.2.10/24"],
        routers: &["192.168.2.1"],
        router,
        last,
        gateway,
    })
}

/// A mobile network.
fn lte(home: &Host, internet: &Host) -> anyhow::Result<Uplink> {
    let (router, rate, gateway) = (router("lte", "fully-random")?, mbit("10mbit")?, "192.88.99.25");
    wire([(home, "lte", &[]), (&router, INSIDE, &["192.168.3.1/24"])])?;
    wire([(internet, "lte", &["192.88.99.25/30"]), (&router, OUTSIDE, &["192.88.99.26/30"])])?;
    limit(rate, [(internet, "lte"), (&router, OUTSIDE)])?;
    router.run(&format!("ip route add default via {gateway}"))?;
    let last = router.clone();
    Ok(Uplink {
        device: "lte",
        nat: "NAT with other ports each time",
        rate,
        addresses: &["192.168.3.10/24"],
        routers: &["192.168.3.1"],
        router,
        last,
        gateway,
    })
}

/// Has a router count what comes from the house, but for mpt's datagrams and what a link needs for itself.
fn watch(router: &Host) -> anyhow::Result<()> {
    let own = "nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report, mld2-listener-report";
    rules(
        router,
        &format!(
            "table inet watch {{\n\
             counter past {{ }}\n\
             set to_v4 {{ type ipv4_addr . inet_proto; flags dynamic; size 64; }}\n\
             set to_v6 {{ type ipv6_addr . inet_proto; flags dynamic; size 64; }}\n\
             chain in {{\n\
             type filter hook prerouting priority raw;\n\
             iifname != \"{INSIDE}\" accept\n\
             ip daddr {SERVER_V4} udp dport {PORT} accept\n\
             ip6 daddr {SERVER_V6} udp dport {PORT} accept\n\
             icmpv6 type {{ {own} }} accept\n\
             ip protocol igmp accept\n\
             counter name past\n\
             update @to_v4 {{ ip daddr . meta l4proto }}\n\
             update @to_v6 {{ ip6 daddr . meta l4proto }}\n\
             }}\n}}\n"
        ),
    )
}

/// Has every host here ask the name server of the Internet. Nothing outside of the laboratory sees that.
///
/// # Errors
/// When there is no file that could say so.
pub(super) fn ask_for_names_on_the_internet() -> anyhow::Result<()> {
    fs::write(OUR_RESOLVER, format!("nameserver {WEB_V4}\noptions timeout:2 attempts:2\n"))?;
    if Path::new(RESOLVER).exists() {
        return host::run(Command::new("mount").args(["--bind", OUR_RESOLVER, RESOLVER])).map(drop);
    }
    // A link into /run, as of systemd-resolved, leads nowhere here: /run is the laboratory's own, and empty.
    let target = fs::read_link(RESOLVER).ok().map(|target| Path::new("/etc").join(target));
    let target = target.filter(|target| ["/run", "/etc/../run"].iter().any(|run| target.starts_with(run)));
    let (target, directory) =
        target.as_ref().and_then(|target| Some((target, target.parent()?))).with_context(|| {
            format!("there is no {RESOLVER}, where curl looks for a name server: an empty file will do")
        })?;
    fs::create_dir_all(directory)?;
    fs::copy(OUR_RESOLVER, target).map(drop).with_context(|| format!("cannot write {}", target.display()))
}
